"""What a sign asks for over HTTP, and how it reads the answer. Pure.

Source: ESP8266httpUpdate.cpp:165-187 of core 3.1.2, HTTPUpdate.cpp of the ESP32 core
(version 1); docs/wire-device.md (version 2).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_HEAD_BYTES = 8192
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: |$)")


@dataclass(frozen=True, slots=True)
class Sketch:
    """What the updater of the first kind says of the sign that it runs on."""

    chip: str
    mac: str
    """Twelve hexadecimal digits."""
    version: str
    free_bytes: int
    size_bytes: int
    md5: str


def request(host: str, path: str, start: int) -> bytes:
    """Ask for an image, from a byte on, as a sign of the second kind does."""
    wanted = f"Range: bytes={start}-\r\n" if start else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{wanted}\r\n"
    ).encode()


def old_request(host: str, path: str, sketch: Sketch) -> bytes:
    """Ask for an update as the chip's own updater does."""
    mac = ":".join(re.findall("..", sketch.mac.upper()))
    if sketch.chip == "esp8266":
        lines = [
            "User-Agent: ESP8266-http-Update",
            "Connection: close",
            f"x-ESP8266-Chip-ID: {int(sketch.mac[-6:], 16)}",
            f"x-ESP8266-STA-MAC: {mac}",
            f"x-ESP8266-AP-MAC: {mac}",
            f"x-ESP8266-free-space: {sketch.free_bytes}",
            f"x-ESP8266-sketch-size: {sketch.size_bytes}",
            f"x-ESP8266-sketch-md5: {sketch.md5}",
            "x-ESP8266-chip-size: 4194304",
            "x-ESP8266-sdk-version: 2.2.2-dev(38a443e)",
            "x-ESP8266-mode: sketch",
            f"x-ESP8266-version: {sketch.version}",
        ]
    else:
        lines = [
            "User-Agent: ESP32-http-Update",
            "Connection: close",
            "Cache-Control: no-cache",
            f"x-ESP32-STA-MAC: {mac}",
            f"x-ESP32-AP-MAC: {mac}",
            f"x-ESP32-free-space: {sketch.free_bytes}",
            f"x-ESP32-sketch-size: {sketch.size_bytes}",
            f"x-ESP32-sketch-md5: {sketch.md5}",
            f"x-ESP32-sketch-sha256: {'0' * 64}",
            "x-ESP32-chip-size: 4194304",
            "x-ESP32-sdk-version: v4.4.7",
            "x-ESP32-mode: sketch",
            f"x-ESP32-version: {sketch.version}",
        ]
    head = [f"GET {path} HTTP/1.0", f"Host: {host}", *lines]
    return "".join(f"{line}\r\n" for line in [*head, ""]).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def length_bytes(self) -> int | None:
        """How long the body is; None: that cannot be told beforehand."""
        length = self.headers.get("content-length", "")
        plain = not {"transfer-encoding", "content-encoding"} & self.headers.keys()
        return int(length) if plain and length.isdecimal() else None


def answer(head: bytes) -> Answer | None:
    """Read the head of an answer, without the empty line; None: it is none."""
    first, *lines = head.split(b"\r\n")
    if (status := _STATUS.match(first)) is None:
        return None
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return Answer(
        int(status[1]), {name.lower(): value.strip() for name, _, value in pairs}
    )
