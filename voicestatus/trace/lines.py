"""The lines of a trace: JSON objects, a header first. Pure.

Times are seconds since the recording began. What is recorded is all that goes into the
sessions, and so all that a replay needs; `send` and what ended a connection by itself
are there to compare with.
"""

from typing import Annotated, Final

import msgspec

from voicestatus.core.ids import GuildId
from voicestatus.core.presence import Restored

FORMAT: Final = 1

# Bounds of what a replay takes: a trace comes from others, and may be anything.
_MAX_SHARDS: Final = 1 << 16
_YEARS_S: Final = 1e8
_Count = Annotated[int, msgspec.Meta(ge=1, le=_MAX_SHARDS)]
_Shard = Annotated[int, msgspec.Meta(ge=0, lt=_MAX_SHARDS)]
_Time = Annotated[float, msgspec.Meta(ge=0, le=_YEARS_S)]


class _Line(msgspec.Struct, tag_field="kind", frozen=True, rename="camel"):
    pass


class Header(_Line, frozen=True, tag="trace"):
    """Whose trace it is, and the settings that a replay needs."""

    format: int
    version: str
    started: Annotated[int, msgspec.Meta(ge=0, le=1 << 34)]
    """Unix time."""
    intents: int
    shards: _Count
    guilds: tuple[GuildId, ...]
    """Those of GUILD_ID."""
    count_bots: bool
    count_afk: bool
    unknown_policy: str
    unknown_after_s: _Time


class _Moment(_Line, frozen=True):
    t: _Time
    shard: _Shard


class Picture(_Moment, frozen=True, tag="picture"):
    """What was known of a shard before its first connection."""

    restored: Restored


class Open(_Moment, frozen=True, tag="open"):
    """A connection stands; it identifies, or resumes at `seq`."""

    jitter: Annotated[float, msgspec.Meta(ge=0, lt=1)]
    seq: int | None
    syncing: bool


class Receive(_Moment, frozen=True, tag="receive"):
    """A whole message; null: it was none of a Gateway's."""

    message: msgspec.Raw


class Wake(_Moment, frozen=True, tag="wake"):
    """A session was woken, as it had asked to be."""


class Send(_Moment, frozen=True, tag="send"):
    """Something was sent."""

    op: int


class Close(_Moment, frozen=True, tag="close"):
    """A connection ended; `cause` is a `session.Cause`."""

    cause: str
    code: int | None


Moment = Picture | Open | Receive | Wake | Send | Close
Line = Header | Moment

encode = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Line).decode
"""
:raises msgspec.MsgspecError: or ValueError, when it is no line of a trace.
"""
