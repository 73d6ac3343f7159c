"""The devices' wire, version 1: bytes to values and values to bytes. Pure.

docs/wire-device.md describes it; tests/fixtures/wire-device-v1.txt holds it as bytes.
"""

from urllib.parse import parse_qsl

from voicestatus.core.errors import ProtocolError
from voicestatus.core.ids import ChannelId, GuildId
from voicestatus.core.lights import Light, Scope


def text_frame(text: bytes) -> bytes:
    """Frame a short text for a peer: one frame, unmasked, not compressed.

    Source: RFC 6455 5.2; up to 125 bytes.
    """
    return bytes((0x81, len(text))) + text


ON = text_frame(b"1")
OFF = text_frame(b"0")
OK = text_frame(b"OK")
NOAUTH = text_frame(b"NOAUTH")
PING = b"\x89\x00"
PONG = b"\x8a\x00"
CLOSE = b"\x88\x00"
"""A close without a code, as the original's `ws.close()` sends it."""
GOING_AWAY = b"\x88\x02\x03\xe9"

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


def parse_auth(text: bytes) -> bytes | None:
    """Return the token of an `AUTH:<token>`, None if it is anything else.

    White space around it is dropped, as devices drop it around what they receive.
    """
    text = text.strip()
    if not text.startswith(_AUTH):
        return None
    token = text[len(_AUTH) :].strip()
    return token if 0 < len(token) <= MAX_TOKEN_BYTES else None


def scope_of(query: str) -> Scope:
    """Read `guild=ID` or `channel=ID` from a URL's query; other keys are ignored.

    :raises ProtocolError: the text names the key that is malformed or too much.
    """
    if not query:
        return Scope()
    found: dict[str, int] = {}
    for key, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
        if key not in {"guild", "channel"}:
            continue
        if key in found:
            raise ProtocolError(f"{key} is given more than once")
        found[key] = _id(key, value)
    if len(found) > 1:
        raise ProtocolError("guild and channel are given together; one is enough")
    guild, channel = found.get("guild"), found.get("channel")
    return Scope(
        None if guild is None else GuildId(guild),
        None if channel is None else ChannelId(channel),
    )


def _id(key: str, text: str) -> int:
    # A length first: int() of a long text costs its square. isdecimal() alone takes
    # digits of other scripts.
    if len(text) <= len(str(_MAX_ID)) and text.isascii() and text.isdecimal():
        number = int(text)
        if 0 < number <= _MAX_ID:
            return number
    raise ProtocolError(f"{key} is not an id")
