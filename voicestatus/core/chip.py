"""The chips that a sign may have, by the names that devices and manifests give them."""

from enum import Enum
from typing import Literal

Updater = Literal["esp8266", "esp32"]
"""What an old device takes for its own chip: it calls every chip but the first one so.

Source: legacy firmware main.cpp:663-675.
"""


class Chip(Enum):
    """A family of chips for which images are built."""

    ESP8266 = "esp8266", 0x8266
    ESP32 = "esp32", 0
    ESP32S2 = "esp32s2", 2
    ESP32S3 = "esp32s3", 9
    ESP32C3 = "esp32c3", 5
    HOST = "host", 0xFFF0
    """No chip: the device program that runs on a computer."""

    def __init__(self, title: str, code: int) -> None:
        self.title = title
        self.code = code
        """In a manifest. Source: Espressif's chip ids, where there is one."""

    @property
    def updater(self) -> Updater:
        """What an offer to an old device calls it."""
        return "esp8266" if self is Chip.ESP8266 else "esp32"

    @classmethod
    def named(cls, title: str) -> "Chip | None":
        return next((chip for chip in cls if chip.title == title), None)

    @classmethod
    def coded(cls, code: int) -> "Chip | None":
        return next((chip for chip in cls if chip.code == code), None)
