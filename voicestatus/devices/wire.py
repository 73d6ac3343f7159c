"""The devices' wire: bytes to values and values to bytes. Pure.

docs/wire-device.md describes it; tests/fixtures/wire-device-v*.txt hold it as bytes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl

from msgspec import (
    UNSET,
    DecodeError,
    Meta,
    Struct,
    UnsetType,
    ValidationError,
    convert,
)
from msgspec.json import Decoder, Encoder

from voicestatus.core.chip import Chip
from voicestatus.core.errors import ProtocolError
from voicestatus.core.lights import EVERYTHING, Light, RuleText


def text_frame(text: bytes) -> bytes:
    """Frame a text for a peer: one frame, unmasked, not compressed.

    Source: RFC 6455 5.2; up to 65,535 bytes.
    """
    size = len(text)
    length = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return b"\x81" + length + text


def texts_in(frames: bytes) -> Iterator[str]:
    """Take apart what `text_frame` made."""
    while frames:
        start, size = 2, frames[1]
        if size == 126:
            start, size = 4, int.from_bytes(frames[2:4], "big")
        yield frames[start : start + size].decode()
        frames = frames[start + size :]


ON = text_frame(b"1")
OFF = text_frame(b"0")
OK = text_frame(b"OK")
NOAUTH = text_frame(b"NOAUTH")
PING = b"\x89\x00"
PONG = b"\x8a\x00"
CLOSE = b"\x88\x00"
"""A close without a code, as the original's `ws.close()` sends it."""
GOING_AWAY = b"\x88\x02\x03\xe9"
REMOVED = b"\x88\x02\x03\xf0"
"""1008: the connection is one that the server does not want."""
COME_BACK = b"\x88\x02\x03\xf4"
"""1012: the server starts anew; devices of version 2 come back spread over 10 s.
Source: IANA's registry of codes."""
TRY_LATER = b"\x88\x02\x03\xf5"
"""1013: the server can not tell yet who this is. Source: IANA's registry of codes."""

MAX_MESSAGE_BYTES = 4096
MAX_TOKEN_BYTES = 512
"""Far above what a portal takes (139); Source: firmware main.cpp, `tokenBuf[140]`."""

_MAX_ID = 2**64 - 1
_AUTH = b"AUTH:"


def frame_of(light: Light) -> bytes | None:
    """Return what a sign is sent for this light; None: it is told nothing."""
    if not light.known:
        return None
    return ON if light.on else OFF


def rich_frame_of(light: Light) -> bytes | None:
    """Return the same for a device with the capability `light`: two texts."""
    if not light.known:
        return None
    shown = LightShown(
        light.on, light.count, light.pattern, light.color, light.brightness
    )
    return (ON if light.on else OFF) + text_frame(encode(shown))


def parse_auth(text: bytes) -> bytes | None:
    """Return the token of an `AUTH:<token>`, None if it is anything else.

    White space around it is dropped, as devices drop it around what they receive.
    """
    text = text.strip()
    if not text.startswith(_AUTH):
        return None
    token = text[len(_AUTH) :].strip()
    return token if 0 < len(token) <= MAX_TOKEN_BYTES else None


def rule_of(query: str) -> RuleText:
    """Read `guild=ID` or `channel=ID` from a URL's query; other keys are ignored.

    :raises ProtocolError: the text names the key that is malformed or too much.
    """
    if not query:
        return EVERYTHING
    found: dict[str, int] = {}
    for key, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
        if key not in {"guild", "channel"}:
            continue
        if key in found:
            raise ProtocolError(f"{key} is given more than once")
        found[key] = _number(key, value)
    if len(found) > 1:
        raise ProtocolError("guild and channel are given together; one is enough")
    for key, number in found.items():
        return RuleText(f'{{"{key}s":["{number}"]}}')
    return EVERYTHING


def _number(key: str, text: str) -> int:
    # A length first: int() of a long text costs its square. isdecimal() alone takes
    # digits of other scripts.
    if len(text) <= len(str(_MAX_ID)) and text.isascii() and text.isdecimal():
        number = int(text)
        if 0 < number <= _MAX_ID:
            return number
    raise ProtocolError(f"{key} is not an id")


# ---- version 2: what a device says -------------------------------------------------

# Nothing that a terminal, a log or a page would take for more than text.
_PRINTABLE = (
    r"^[^\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]*$"
    r"(?!\n)"
)
Word = Annotated[str, Meta(max_length=32, pattern=_PRINTABLE)]
Line = Annotated[str, Meta(max_length=64, pattern=_PRINTABLE)]
DeviceId = Annotated[
    str, Meta(min_length=1, max_length=64, pattern=r"^(?!conn-)[A-Za-z0-9._:-]+$(?!\n)")
]
Natural = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Hello(Struct, tag="hello", frozen=True, kw_only=True):
    """A device says who it is, after `OK`."""

    id: DeviceId
    """Of its hardware: it stays the same for ever."""
    v: Annotated[int, Meta(ge=2)] = 2
    chip: Word = ""
    board: Word = ""
    fw: Word = ""
    """Its firmware's version, for people."""
    build: Natural | None = None
    """Its firmware's version, for comparing."""
    name: Line = ""
    caps: Annotated[tuple[Word, ...], Meta(max_length=32)] = ()
    """What it can do besides `1` and `0`: `light`, `ota-ed25519` and so on."""
    boot: Word = ""
    """Why it started: `power`, `ota`, `trial`, `rollback`, `crash`."""


class Status(Struct, tag="status", frozen=True, kw_only=True, rename="camel"):
    """A device says how it is, once a minute."""

    uptime_s: Natural | None = None
    rssi_dbm: Annotated[int, Meta(ge=-200, le=100)] | None = None
    heap_free_b: Natural | None = None
    fw: Word = ""


class OtaReport(Struct, tag="ota", frozen=True, kw_only=True):
    """A device says how far an update is."""

    release: Line = ""
    phase: Word = ""
    progress: Annotated[int, Meta(ge=0, le=100)] | None = None
    error: Annotated[str, Meta(max_length=256)] | None = None


FromDevice = Hello | Status | OtaReport


class _Kind(Struct):
    type: str


_decode = Decoder(FromDevice).decode
_decode_kind = Decoder(_Kind).decode
_WHERE = re.compile(r"^(.*?)(?: - at `\$\.?([^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(\w+)`")


def decode(text: bytes) -> FromDevice:
    """Read what a device says. Keys that are not known are ignored.

    :raises ProtocolError: the text names the key that is wrong, as `hello.id …`.
    """
    try:
        message: FromDevice = _decode(text)
    except ValidationError as e:
        raise ProtocolError(_what_is_wrong(text, str(e))) from None
    except (DecodeError, RecursionError):
        raise ProtocolError("this is not JSON") from None
    return message


def _what_is_wrong(text: bytes, error: str) -> str:
    try:
        kind = _decode_kind(text).type
    except (DecodeError, RecursionError):
        return "type is missing"
    if kind not in {"hello", "status", "ota"}:
        return "type is none that is known"
    if missing := _MISSING.search(error):
        return f"{kind}.{missing[1]} is missing"
    where = _WHERE.match(error)
    if not where or not where[2]:
        return f"{kind} is malformed"
    if "matching regex" in error:
        return f"{kind}.{where[2]} has characters that it may not have"
    return f"{kind}.{where[2]}: {where[1]}"


# ---- version 2: what the server says -----------------------------------------------


class Welcome(Struct, tag="welcome", frozen=True, kw_only=True):
    """The answer to a hello: who the device is to the server."""

    v: int = 2
    device: str
    """Its id, or `conn-…` for a stranger."""
    token: str | UnsetType = UNSET
    """Once, when it enrols or its token is replaced: it is stored and used from now."""

    def __repr__(self) -> str:
        return f"Welcome(device={self.device!r})"


class LightShown(Struct, tag="light", frozen=True):
    """What to show, to devices with the capability `light`."""

    on: bool
    count: int
    pattern: str
    color: str
    brightness: int


class Problem(Struct, tag="error", frozen=True):
    """What was wrong with what the device said."""

    code: str
    message: str


class Identify(Struct, tag="identify", frozen=True, forbid_unknown_fields=True):
    """A command: make yourself seen for so long."""

    seconds: Annotated[int, Meta(ge=1, le=60)] = 5


class Reboot(Struct, tag="reboot", frozen=True, forbid_unknown_fields=True):
    """A command: start anew."""


class Config(Struct, tag="config", frozen=True):
    """A command: take these settings; every key besides `type` is one."""


ToDevice = Welcome | LightShown | Problem | Identify | Reboot | Config
Command = Identify | Reboot | Config
MAX_COMMAND_BYTES = 1024

encode = Encoder().encode


def command_text(command: Mapping[str, object]) -> bytes:
    """Return a command as its text.

    :raises ProtocolError: it is none, or too long.
    """
    given: Any = dict(command)
    try:
        known = convert(given, Command)
        text = encode(given if isinstance(known, Config) else known)
    except (ValidationError, TypeError, ValueError, RecursionError) as e:
        raise ProtocolError(f"command: {e}") from None
    if len(text) > MAX_COMMAND_BYTES:
        raise ProtocolError(f"command: more than {MAX_COMMAND_BYTES} bytes")
    return text


# ---- updates -----------------------------------------------------------------------

OTA_CAPABILITY = "ota-ed25519"
"""Of devices that check a release's signature before they take it."""
MAX_OLD_OFFER_BYTES = 511
"""Old devices take offers apart in 768 bytes (main.cpp:652); this fits for sure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A release that a device is to fetch from `path`, and install."""

    release: str
    path: str
    md5: str
    chip: Chip
    version: str
    size_bytes: int
    sha256: str
    manifest: str
    """What was signed, and the signature, in base64."""


class _Ota(Struct, tag="ota", frozen=True):
    release: str
    url: str
    md5: str
    chip: str
    version: str
    size: int
    sha256: str
    manifest: str


class _OldOta(Struct, tag="ota", frozen=True):
    url: str
    md5: str
    chip: str


def offer_text(offer: Offer, server: str) -> bytes:
    """Say it to a device of version 2, which takes only the path of the address.

    `server` is the address before it, such as `https://signs.example`, or empty.
    """
    return encode(
        _Ota(
            offer.release,
            server + offer.path,
            offer.md5,
            offer.chip.updater,
            offer.version,
            offer.size_bytes,
            offer.sha256,
            offer.manifest,
        )
    )


def old_offer_text(offer: Offer, server: str) -> bytes:
    """Say it to a device of version 1.

    It always has an MD5: an ESP8266 keeps the one of a failed update until it starts
    anew, and would check the next update against that. Source: main.cpp:521-524,
    ESP8266httpUpdate.cpp:225-230.

    :raises ProtocolError: it is longer than such a device can read.
    """
    old = _OldOta(server + offer.path, offer.md5, offer.chip.updater)
    text = encode(old)
    if len(text) > MAX_OLD_OFFER_BYTES:
        raise ProtocolError(
            f"the offer has {len(text)} bytes; an old device reads"
            f" {MAX_OLD_OFFER_BYTES}"
        )
    return text


def old_probe_text(address: str) -> bytes:
    """Ask a device of version 1 to ask for an update. Source: main.cpp:637-645."""
    return f"OTA:{address}".encode()
