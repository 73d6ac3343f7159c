"""Bytes of the Gateway to values and back. Pure.

Source: Discord docs, Gateway and Gateway Events (API v10, JSON encoding).
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from voicestatus.core.errors import ProtocolError
from voicestatus.core.features import PORTAL
from voicestatus.core.guild import Channel, Voice
from voicestatus.core.guild_news import GuildNews, InviteDeleted, MemberJoined
from voicestatus.core.ids import ChannelId, GuildId, RoleId, UserId
from voicestatus.core.presence import (
    ChannelDeleted,
    ChannelUpserted,
    Event,
    GuildArrived,
    GuildRemoved,
    GuildUnavailable,
    GuildUpdated,
    MemberRemoved,
    VoiceUpdated,
)
from voicestatus.discord import cdn

VERSION: Final = 10
MAX_SEND_BYTES: Final = 4096
"""Source: Gateway, "Sending Events": more closes the connection with 4002."""
HIDDEN: Final = 1 << 17
"""Channel flag: we may not see this channel; its name is a placeholder."""
_INTERVAL_BOUNDS_S: Final = (0.1, 3600.0)
ROLE_SETS: Final = 4096
"""Sets of roles that are kept so that equal ones are one: it saves memory, no more."""

# ---- what the Gateway says ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """Op 10: heartbeats are wanted this often."""

    interval_s: float


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Op 1: one is wanted at once."""


@dataclass(frozen=True, slots=True)
class HeartbeatAck:
    """Op 11."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Op 7: come back on another connection and resume."""


@dataclass(frozen=True, slots=True)
class InvalidSession:
    """Op 9."""

    resumable: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """READY: a session has begun."""

    me: UserId
    guilds: frozenset[GuildId]
    session_id: str
    resume_url: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """RESUMED: what was missed has been replayed."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Op 0. `body` is None for what we do not use, and for what is malformed."""

    seq: int | None
    name: str
    body: Event | GuildNews | Ready | Resumed | None
    fault: str | None = None
    """Why the body, or a part of it, was left out; holds no value of it."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """An opcode that we do not know; Discord sends undocumented ones."""

    op: int


Message = (
    Hello | Heartbeat | HeartbeatAck | Reconnect | InvalidSession | Dispatch | Unknown
)

# ---- payloads: only what is used; what may be missing or null has a default --------

# Text as a rule, but a JSON integer where Discord hands back an id it did not know.
_Snowflake = Annotated[int, msgspec.Meta(ge=0)]
_Flag = bool | None


class _Struct(msgspec.Struct, gc=False):
    """A payload. It lives for one call and holds no cycles."""


class _Hello(_Struct):
    heartbeat_interval: float


class _User(_Struct):
    id: _Snowflake
    bot: _Flag = False


# Of these anything is taken: no light is lost because a name is none.
class _Account(_User):
    username: Any = None
    global_name: Any = None
    avatar: Any = None


class _Member(_Struct):
    user: _Account | None = None
    nick: Any = None
    avatar: Any = None
    # Decoded for those in voice alone: a large guild tells thousands.
    roles: msgspec.Raw = msgspec.Raw(b"null")


class _Voice(_Struct):
    user_id: _Snowflake
    channel_id: _Snowflake | None = None
    guild_id: _Snowflake | None = None
    member: _Member | None = None
    deaf: _Flag = False
    mute: _Flag = False
    self_deaf: _Flag = False
    self_mute: _Flag = False
    self_stream: _Flag = False
    self_video: _Flag = False
    suppress: _Flag = False
    request_to_speak_timestamp: str | None = None


class _Channel(_Struct):
    id: _Snowflake
    type: int
    guild_id: _Snowflake | None = None
    name: str | None = None
    parent_id: _Snowflake | None = None
    position: int | None = None
    flags: int | None = None


class _GuildRef(_Struct):
    id: _Snowflake
    unavailable: _Flag = False


class _Guild(_GuildRef):
    name: str | None = None
    afk_channel_id: _Snowflake | None = None


class _WholeGuild(_Guild):
    channels: list[_Channel] | None = None
    voice_states: list[_Voice] | None = None
    members: list[_Member] | None = None


class _LooseGuild(_Guild):
    channels: list[msgspec.Raw] | None = None
    voice_states: list[msgspec.Raw] | None = None
    members: list[msgspec.Raw] | None = None


class _Ready(_Struct):
    session_id: str
    resume_gateway_url: str
    user: _User
    guilds: list[_GuildRef]


class _SomeMember(_Struct):
    guild_id: _Snowflake
    user: _User


class _Invite(_Struct):
    channel_id: _Snowflake
    code: str
    guild_id: _Snowflake | None = None


class _Anything(_Struct):
    """An object of which nothing is wanted."""


class _Envelope(_Struct):
    op: int
    t: str | None = None
    s: int | None = None
    d: msgspec.Raw = msgspec.Raw(b"null")


class _VoiceEnvelope(_Struct):
    op: int
    t: str
    d: _Voice
    s: int | None = None


class _GuildEnvelope(_Struct):
    op: int
    t: str
    d: _WholeGuild
    s: int | None = None


_T = TypeVar("_T")
_NO_ROLES: Final[frozenset[RoleId]] = frozenset()


def _decoder(shape: type[_T]) -> msgspec.json.Decoder[_T]:
    # Not strict: ids come as text.
    return msgspec.json.Decoder(shape, strict=False)


_decode_envelope = _decoder(_Envelope).decode
_decode_hello = _decoder(_Hello).decode
_decode_ids = msgspec.json.Decoder(list[_Snowflake] | None, strict=False).decode
_decode_flag = msgspec.json.Decoder(bool | None, strict=False).decode

# ---- payloads to events ------------------------------------------------------------


def _voice(state: _Voice, member: _Member | None, guild: GuildId) -> Voice | None:
    if state.channel_id is None:
        return None
    id_ = UserId(state.user_id)
    user = None if member is None else member.user
    return Voice(
        id_,
        ChannelId(state.channel_id),
        user is not None and bool(user.bot),
        bool(state.mute),
        bool(state.deaf),
        bool(state.self_mute),
        bool(state.self_deaf),
        bool(state.self_stream),
        bool(state.self_video),
        bool(state.suppress),
        state.request_to_speak_timestamp is not None,
        _NO_ROLES if member is None else _roles(bytes(member.roles)),
        "" if member is None or user is None else _name(member, user),
        None if member is None or user is None else _avatar(guild, id_, member, user),
    )


def _name(member: _Member, user: _Account) -> str:
    """Return what the guild shows: the first of the three that says anything."""
    shown = _text(member.nick) or _text(user.global_name) or _text(user.username)
    return shown or ""


def _avatar(guild: GuildId, id_: UserId, member: _Member, user: _Account) -> str | None:
    there = cdn.member_avatar(guild, id_, _text(member.avatar))
    return there or cdn.user_avatar(id_, _text(user.avatar))


def _text(value: Any) -> str | None:
    return value if value and isinstance(value, str) else None


@lru_cache(maxsize=ROLE_SETS)
def _roles(text: bytes) -> frozenset[RoleId]:
    """Read a member's roles; few sets are many people's, and each is kept once."""
    roles = _decode_ids(text)
    return _one_of(frozenset(map(RoleId, roles))) if roles else _NO_ROLES


@lru_cache(maxsize=ROLE_SETS)
def _one_of(roles: frozenset[RoleId]) -> frozenset[RoleId]:
    return roles


def _channel_id(snowflake: int | None) -> ChannelId | None:
    return None if snowflake is None else ChannelId(snowflake)


def _channel(channel: _Channel) -> Channel:
    return Channel(
        ChannelId(channel.id),
        channel.name or "",
        channel.type,
        _channel_id(channel.parent_id),
        channel.position or 0,
        bool((channel.flags or 0) & HIDDEN),
    )


def _ready(ready: _Ready, _shard: int) -> Ready:
    return Ready(
        UserId(ready.user.id),
        frozenset(GuildId(guild.id) for guild in ready.guilds),
        ready.session_id,
        ready.resume_gateway_url,
    )


def _resumed(_resumed: _Anything, _shard: int) -> Resumed:
    return Resumed()


def _guild_create(guild: _WholeGuild, shard: int) -> Event:
    if guild.unavailable:
        return GuildUnavailable(GuildId(guild.id))
    # `voice_states` come without their members here: joined by the user's id.
    members = {m.user.id: m for m in guild.members or () if m.user}
    states = guild.voice_states or ()
    id_ = GuildId(guild.id)
    voices = (_voice(v, members.get(v.user_id), id_) for v in states)
    return GuildArrived(
        shard,
        id_,
        guild.name or "",
        _channel_id(guild.afk_channel_id),
        tuple(map(_channel, guild.channels or ())),
        tuple(voice for voice in voices if voice is not None),
        frozenset(UserId(v.user_id) for v in states if v.user_id not in members),
    )


def _guild_update(guild: _Guild, _shard: int) -> Event:
    afk_channel = _channel_id(guild.afk_channel_id)
    return GuildUpdated(GuildId(guild.id), guild.name or "", afk_channel)


def _guild_delete(guild: _GuildRef, _shard: int) -> Event:
    # Without the key (or with false): removed. With true: an outage.
    if guild.unavailable:
        return GuildUnavailable(GuildId(guild.id))
    return GuildRemoved(GuildId(guild.id))


def _channel_upsert(channel: _Channel, _shard: int) -> Event | None:
    if channel.guild_id is None:
        return None
    return ChannelUpserted(GuildId(channel.guild_id), _channel(channel))


def _channel_delete(channel: _Channel, _shard: int) -> Event | None:
    if channel.guild_id is None:
        return None
    return ChannelDeleted(GuildId(channel.guild_id), ChannelId(channel.id))


def _voice_update(state: _Voice, _shard: int) -> Event | None:
    if state.guild_id is None:  # a call between users
        return None
    # A member may be missing: then whether it is a bot is not said, nor are its roles.
    user = state.member.user if state.member else None
    bot = None if user is None else bool(user.bot)
    guild = GuildId(state.guild_id)
    voice = _voice(state, state.member, guild)
    return VoiceUpdated(guild, UserId(state.user_id), voice, bot)


def _member_gone(gone: _SomeMember, _shard: int) -> Event:
    return MemberRemoved(GuildId(gone.guild_id), UserId(gone.user.id))


def _member_added(new: _SomeMember, _shard: int) -> GuildNews:
    return MemberJoined(GuildId(new.guild_id), UserId(new.user.id))


def _invite_deleted(gone: _Invite, _shard: int) -> GuildNews | None:
    if gone.guild_id is None:  # into a group of users
        return None
    return InviteDeleted(GuildId(gone.guild_id), ChannelId(gone.channel_id), gone.code)


_Body = Event | GuildNews | Ready | Resumed | None
_Reader = Callable[[msgspec.Raw, int], _Body]


def _reader(shape: type[_T], make: Callable[[_T, int], _Body]) -> _Reader:
    decode = _decoder(shape).decode
    return lambda raw, shard: make(decode(raw), shard)


_READERS: Final[Mapping[str, _Reader]] = MappingProxyType(
    {
        "READY": _reader(_Ready, _ready),
        "RESUMED": _reader(_Anything, _resumed),
        "GUILD_CREATE": _reader(_WholeGuild, _guild_create),
        "GUILD_UPDATE": _reader(_Guild, _guild_update),
        "GUILD_DELETE": _reader(_GuildRef, _guild_delete),
        "CHANNEL_CREATE": _reader(_Channel, _channel_upsert),
        "CHANNEL_UPDATE": _reader(_Channel, _channel_upsert),
        "CHANNEL_DELETE": _reader(_Channel, _channel_delete),
        "VOICE_STATE_UPDATE": _reader(_Voice, _voice_update),
        "GUILD_MEMBER_ADD": _reader(_SomeMember, _member_added),
        "GUILD_MEMBER_REMOVE": _reader(_SomeMember, _member_gone),
        "GUILD_BAN_ADD": _reader(_SomeMember, _member_gone),
        "INVITE_DELETE": _reader(_Invite, _invite_deleted),
    }
)

# ---- decoding ----------------------------------------------------------------------


_VOICE_PREFIX: Final = b'{"t":"VOICE_STATE_UPDATE","s":'
_GUILD_PREFIX: Final = b'{"t":"GUILD_CREATE","s":'
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec raises; ValueError where the text is not UTF-8."""
_decode_loose_guild = _decoder(_LooseGuild).decode
_decode_one_channel = _decoder(_Channel).decode
_decode_one_voice = _decoder(_Voice).decode
_decode_member = _decoder(_Member).decode
_decode_voice = _decoder(_VoiceEnvelope).decode
_decode_guild = _decoder(_GuildEnvelope).decode


def decode(data: bytes, shard: int = 0) -> Message:
    """Read one message; `shard` is written into the events that name theirs.

    :raises ProtocolError: when it is not a Gateway message at all. A dispatch with an
        envelope in order but a wrong body is a Dispatch with a `fault` instead.
    """
    # Discord writes `t` first: what comes often or is large is read in one pass.
    # Whatever that pass does not like is read again below, which tells why.
    try:
        if data.startswith(_VOICE_PREFIX):
            voice = _decode_voice(data)
            return Dispatch(voice.s, voice.t, _voice_update(voice.d, shard))
        if data.startswith(_GUILD_PREFIX):
            guild = _decode_guild(data)
            return Dispatch(guild.s, guild.t, _guild_create(guild.d, shard))
    except _UNREADABLE:
        pass
    try:
        return _message(_decode_envelope(data), shard)
    except _UNREADABLE as e:
        raise ProtocolError(f"not a Gateway message: {_why(e)}") from None


def _message(envelope: _Envelope, shard: int) -> Message:
    match envelope.op:
        case 0:
            return _dispatch(envelope, shard)
        case 1:
            return Heartbeat()
        case 7:
            return Reconnect()
        case 9:
            return InvalidSession(bool(_decode_flag(envelope.d)))
        case 10:
            interval_s = _decode_hello(envelope.d).heartbeat_interval / 1000
            shortest, longest = _INTERVAL_BOUNDS_S
            if not shortest <= interval_s <= longest:
                raise ProtocolError("Hello names an impossible heartbeat interval")
            return Hello(interval_s)
        case 11:
            return HeartbeatAck()
        case op:
            return Unknown(op)


def _dispatch(envelope: _Envelope, shard: int) -> Dispatch:
    name = envelope.t or ""
    read = _READERS.get(name)
    if read is None:
        return Dispatch(envelope.s, name, None)
    try:
        return Dispatch(envelope.s, name, read(envelope.d, shard))
    except _UNREADABLE as e:
        fault = _why(e)
    body = _guild_in_parts(envelope.d, shard) if name == "GUILD_CREATE" else None
    return Dispatch(envelope.s, name, body, fault)


def _guild_in_parts(raw: msgspec.Raw, shard: int) -> Event | None:
    """Read a GUILD_CREATE without its broken parts: no other one will come."""
    try:
        loose = _decode_loose_guild(raw)
    except _UNREADABLE:
        return None
    whole = _WholeGuild(
        id=loose.id,
        unavailable=loose.unavailable,
        name=loose.name,
        afk_channel_id=loose.afk_channel_id,
        channels=_readable(loose.channels, _decode_one_channel),
        voice_states=_readable(loose.voice_states, _decode_one_voice),
        members=_readable(loose.members, _decode_one_member),
    )
    return _guild_create(whole, shard)


def _decode_one_member(raw: msgspec.Raw) -> _Member:
    member = _decode_member(raw)
    _decode_ids(member.roles)
    return member


def _readable(
    parts: list[msgspec.Raw] | None, decode_one: Callable[[msgspec.Raw], _T]
) -> list[_T]:
    read: list[_T] = []
    for part in parts or ():
        with suppress(*_UNREADABLE):
            read.append(decode_one(part))
    return read


def _why(error: Exception) -> str:
    """Name the fault without the data: msgspec names types and a path of fields."""
    if isinstance(error, msgspec.MsgspecError):
        return str(error)
    return "too deep" if isinstance(error, RecursionError) else "not UTF-8"


# ---- encoding ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """What Identify and Resume show of us. No repr: it holds the token."""

    token: str
    intents: int
    shard: tuple[int, int] = (0, 1)


_PROPERTIES: Final = MappingProxyType(
    {"os": "linux", "browser": "voicestatus", "device": "voicestatus"}
)


def identify(login: Login) -> bytes:
    """Op 2."""
    return _encode(
        2,
        {
            "token": login.token,
            "intents": login.intents,
            "properties": dict(_PROPERTIES),
            "compress": False,
            "shard": list(login.shard),
        },
    )


def resume(login: Login, session_id: str, seq: int) -> bytes:
    """Op 6."""
    return _encode(6, {"token": login.token, "session_id": session_id, "seq": seq})


def heartbeat(seq: int | None) -> bytes:
    """Op 1."""
    return _encode(1, seq)


def _encode(op: int, data: Any) -> bytes:
    payload = msgspec.json.encode({"op": op, "d": data})
    if len(payload) > MAX_SEND_BYTES:
        raise ProtocolError(f"op {op} would be {len(payload)} bytes long")
    return payload


def address(url: str, compress: str | None) -> str:
    """Return a Gateway URL with our query; both kinds are delivered without one.

    :raises ProtocolError: when it is not an address of a WebSocket.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"ws", "wss"} and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ProtocolError("the Gateway's address is not ws:// or wss://")
    query = {"v": str(VERSION), "encoding": "json"}
    if compress is not None:
        query["compress"] = compress
    return urlunsplit(
        (parts.scheme, parts.netloc, parts.path or "/", urlencode(query), "")
    )


# ---- close codes -------------------------------------------------------------------


class Verdict(Enum):
    """What a close code allows."""

    RESUME = "resume"
    IDENTIFY = "identify"
    STOP = "stop"


# Source: Discord docs, Opcodes and Status Codes, "Gateway Close Event Codes".
_VERDICTS: Final = MappingProxyType(
    {
        4003: Verdict.IDENTIFY,  # not authenticated
        4004: Verdict.STOP,  # authentication failed
        4005: Verdict.IDENTIFY,  # already authenticated
        4007: Verdict.IDENTIFY,  # invalid seq
        4009: Verdict.IDENTIFY,  # session timed out
        4010: Verdict.STOP,  # invalid shard
        4011: Verdict.STOP,  # sharding required
        4012: Verdict.STOP,  # invalid API version
        4013: Verdict.STOP,  # invalid intents
        4014: Verdict.STOP,  # disallowed intents
    }
)
RATE_LIMITED: Final = 4008
SHARDING_REQUIRED: Final = 4011
DISALLOWED_INTENTS: Final = 4014


def verdict(code: int | None) -> Verdict:
    """Say what a close code allows; None: the connection was just lost.

    1000 and 1001 from the server: a resume is worth the try; op 9 follows if not.
    """
    return Verdict.RESUME if code is None else _VERDICTS.get(code, Verdict.RESUME)


def advice(code: int, intents: int) -> str:
    """Tell the owner, in one sentence, what to change after a STOP."""
    match code:
        case 4004:
            return (
                "Discord refuses the bot token: set DISCORD_TOKEN to the bot's own; a "
                f"new one is made at {PORTAL} > Bot > Reset Token"
            )
        case 4010 | 4011:
            return (
                "The bot is in too many servers for so few shards: set SHARDS=auto, or "
                "a higher number"
            )
        case 4012:
            return (
                f"Discord no longer serves version {VERSION} of its Gateway: update "
                "voicestatus"
            )
        case 4013 | 4014:
            return (
                f"Discord does not know the intents asked for ({intents}), or calls "
                "them privileged now: update voicestatus"
            )
        case _:
            return f"Discord closed the connection for good (code {code})"
