"""What the updaters that chips ship with say of themselves when they ask. Pure.

Source: ESP8266httpUpdate.cpp:165-187 (core 3.1.2), HTTPUpdate.cpp (ESP32 core).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from voicestatus.core.chip import Updater
from voicestatus.core.errors import ProtocolError
from voicestatus.core.release import Release

MAX_TEXT = 64
_FAMILIES: tuple[Updater, ...] = ("esp8266", "esp32")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_NUMBER = re.compile(r"[0-9]{1,10}")
_DIGESTS = {"md5": re.compile(r"[0-9a-f]{32}"), "sha256": re.compile(r"[0-9a-f]{64}")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a device says that asks with its chip's own updater.

    Nothing of it is proven. What it leaves out is empty, or None.
    """

    family: Updater
    """`esp32` stands for every chip but the ESP8266."""
    mac: str
    """Six pairs of lower-case hexadecimal digits with colons."""
    version: str
    free_bytes: int | None
    sketch_bytes: int | None
    sketch_md5: str
    sketch_sha256: str
    """As the ESP32 counts it: of the running image's own digest."""
    chip_bytes: int | None
    sdk: str


def facts_of(headers: Mapping[str, str]) -> Facts | None:
    """Read a request's headers, which have lower-case names; None: no such updater.

    :raises ProtocolError: when no updater says that, or asks for more than a sketch.
    """
    asking = [name for name in _FAMILIES if f"x-{name}-sta-mac" in headers]
    if not asking:
        return None
    if len(asking) > 1:
        raise ProtocolError("it is of two families at once")
    (family,) = asking
    said = _Said(headers, f"x-{family}-")
    if said.text("mode") != "sketch":
        raise ProtocolError("it asks for something else than a sketch")
    mac = said.text("sta-mac").lower()
    if not _MAC.fullmatch(mac):
        raise ProtocolError("its MAC is none")
    return Facts(
        family=family,
        mac=mac,
        version=said.text("version"),
        free_bytes=said.number("free-space"),
        sketch_bytes=said.number("sketch-size"),
        sketch_md5=said.digest("md5"),
        sketch_sha256=said.digest("sha256"),
        chip_bytes=said.number("chip-size"),
        sdk=said.text("sdk-version"),
    )


def obstacle(facts: Facts | None, release: Release) -> str | None:
    """Tell why it must not be given this release; None: it may.

    No such updater checks a signature, so an admin has to have allowed it.
    """
    if not release.legacy:
        return "it is not allowed for devices that check no signature"
    return None if facts is None else misfit(facts, release)


def misfit(facts: Facts, release: Release) -> str | None:
    """Tell why a release is of no use to who says that; None: it may be."""
    if facts.sketch_md5 == release.md5:
        return "it runs that already"
    if facts.family != release.chip.updater:
        return "it has another chip"
    if facts.free_bytes is not None and facts.free_bytes < release.size_bytes:
        return "it has no room for it"
    return None


class _Said:
    """The headers of one family."""

    def __init__(self, headers: Mapping[str, str], prefix: str) -> None:
        self._headers, self._prefix = headers, prefix

    def text(self, name: str) -> str:
        text = self._headers.get(self._prefix + name, "").strip()
        if len(text) > MAX_TEXT or not (text.isascii() and text.isprintable()):
            raise ProtocolError(f"its {name} is no short text")
        return text

    def number(self, name: str) -> int | None:
        text = self.text(name)
        if not text:
            return None
        if not _NUMBER.fullmatch(text):
            raise ProtocolError(f"its {name} is no number")
        return int(text)

    def digest(self, kind: str) -> str:
        text = self.text(f"sketch-{kind}").lower()
        if text and not _DIGESTS[kind].fullmatch(text):
            raise ProtocolError(f"its sketch-{kind} is none")
        return text
