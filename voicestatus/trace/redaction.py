"""Gateway messages without secrets, ids and names. Pure.

What is not named here is left out: no field that Discord adds tomorrow is in a trace.
What is malformed stays malformed in the same place, so that it is read alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec

from voicestatus.core.guild import Channel, Guild, Picture, Voice
from voicestatus.core.ids import ChannelId, GuildId, RoleId, UserId
from voicestatus.discord.gateway.wire import HIDDEN

LARGEST: Final = 1 << 48
"""Of a plain number. No sequence comes near it, and no snowflake lies below it but
those of Discord's first minutes."""
SESSION_ID: Final = "session"
RESUME_URL: Final = "wss://trace.invalid"
OTHER: Final = "OTHER"
"""Stands for the name of any event that the wire does not read."""
_MARK: Final = "-"
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
_TIMESTAMP_SHIFT: Final = 22


class Pseudonyms:
    """Other ids and names for those that are met: always the same for the same one.

    They are counted in the order of their first use, which is all that they tell. A
    guild stays with its shard, for each id keeps `(id >> 22) % shards`.
    """

    def __init__(self, shards: int = 1) -> None:
        self._shards = shards
        self._ids: dict[int, int] = {}
        self._names: dict[str, str] = {}

    def id(self, snowflake: int) -> int:
        found = self._ids.get(snowflake)
        if found is None:
            shard = (snowflake >> _TIMESTAMP_SHIFT) % self._shards
            place = (len(self._ids) + 1) * self._shards + shard
            found = self._ids[snowflake] = place << _TIMESTAMP_SHIFT
        return found

    def name(self, name: str) -> str:
        return self._names.setdefault(name, f"name {len(self._names) + 1}")

    def picture(self, guild: Guild) -> tuple[Picture, tuple[Voice, ...]]:
        """Return what is known of a guild, and its people."""
        picture = replace(
            guild.picture,
            guild=GuildId(self.id(guild.id)),
            name=self.name(guild.name),
            afk_channel=self._channel_id(guild.afk_channel),
            channels=tuple(map(self._channel, guild.channels.values())),
        )
        return picture, tuple(map(self._voice, guild.voices.values()))

    def _channel(self, channel: Channel) -> Channel:
        return replace(
            channel,
            id=ChannelId(self.id(channel.id)),
            name=self.name(channel.name),
            parent=self._channel_id(channel.parent),
        )

    def _voice(self, voice: Voice) -> Voice:
        return replace(
            voice,
            user=UserId(self.id(voice.user)),
            channel=ChannelId(self.id(voice.channel)),
            roles=frozenset(RoleId(self.id(role)) for role in voice.roles),
            name="",
            avatar_url=None,
        )

    def _channel_id(self, channel: ChannelId | None) -> ChannelId | None:
        return None if channel is None else ChannelId(self.id(channel))


_Cut = Callable[[msgspec.Raw, Pseudonyms], object]
"""Reads a part of a message and returns what of it may be told."""

# ---- values ------------------------------------------------------------------------


def _value(
    shape: object, tell: Callable[[Any, Pseudonyms], object], unreadable: object = "?"
) -> _Cut:
    """Cut out one value; `unreadable` stands for what the wire cannot read, either."""
    decode: Callable[[msgspec.Raw], Any] = msgspec.json.Decoder(
        shape, strict=False
    ).decode

    def cut(raw: msgspec.Raw, names: Pseudonyms) -> object:
        try:
            value = decode(raw)
        except _UNREADABLE:
            return unreadable
        return None if value is None else tell(value, names)

    return cut


def _bounded(number: int, _names: Pseudonyms) -> int:
    return max(-LARGEST, min(number, LARGEST))


def _list(item: _Cut) -> _Cut:
    def tell(items: list[msgspec.Raw], names: Pseudonyms) -> object:
        return [item(each, names) for each in items]

    return _value(list[msgspec.Raw] | None, tell)


def _object(**cuts: _Cut) -> _Cut:
    def tell(parts: dict[str, msgspec.Raw], names: Pseudonyms) -> object:
        return {
            key: cut(parts[key], names) for key, cut in cuts.items() if key in parts
        }

    return _value(dict[str, msgspec.Raw] | None, tell)


_ID = _value(
    Annotated[int, msgspec.Meta(ge=0)] | None,
    lambda id_, names: str(names.id(id_)),
)
_FLAG = _value(bool | None, lambda flag, _: flag)
_NUMBER = _value(int | None, _bounded)
_FLAGS = _value(int | None, lambda flags, _: flags & HIDDEN)
_SPAN_MS = _value(float, lambda span, _: max(-1.0, min(span, 1e9)))
# Something that is no text stands for what should be one and is none.
_NAME = _value(str | None, lambda name, names: names.name(name), False)
_SOME_TEXT = _value(str | None, lambda *_: _MARK, False)
_SESSION_ID = _value(str | None, lambda *_: SESSION_ID, False)
_RESUME_URL = _value(str | None, lambda *_: RESUME_URL, False)

# ---- messages ----------------------------------------------------------------------

_USER = _object(id=_ID, bot=_FLAG)
_MEMBER = _object(user=_USER, roles=_list(_ID))
_VOICE = _object(
    guild_id=_ID,
    channel_id=_ID,
    user_id=_ID,
    member=_MEMBER,
    deaf=_FLAG,
    mute=_FLAG,
    self_deaf=_FLAG,
    self_mute=_FLAG,
    self_stream=_FLAG,
    self_video=_FLAG,
    suppress=_FLAG,
    request_to_speak_timestamp=_SOME_TEXT,
)
_CHANNEL = _object(
    id=_ID,
    type=_NUMBER,
    guild_id=_ID,
    name=_NAME,
    parent_id=_ID,
    position=_NUMBER,
    flags=_FLAGS,
)
_GUILD_REF = _object(id=_ID, unavailable=_FLAG)
_GUILD = {"id": _ID, "unavailable": _FLAG, "name": _NAME, "afk_channel_id": _ID}
_SOME_MEMBER = _object(guild_id=_ID, user=_USER)

EVENTS: Final[Mapping[str, _Cut]] = MappingProxyType(
    {
        "READY": _object(
            session_id=_SESSION_ID,
            resume_gateway_url=_RESUME_URL,
            user=_USER,
            guilds=_list(_GUILD_REF),
        ),
        "RESUMED": _object(),
        "GUILD_CREATE": _object(
            **_GUILD,
            channels=_list(_CHANNEL),
            voice_states=_list(_VOICE),
            members=_list(_MEMBER),
        ),
        "GUILD_UPDATE": _object(**_GUILD),
        "GUILD_DELETE": _GUILD_REF,
        "CHANNEL_CREATE": _CHANNEL,
        "CHANNEL_UPDATE": _CHANNEL,
        "CHANNEL_DELETE": _CHANNEL,
        "VOICE_STATE_UPDATE": _VOICE,
        "GUILD_MEMBER_ADD": _SOME_MEMBER,
        "GUILD_MEMBER_REMOVE": _SOME_MEMBER,
        "GUILD_BAN_ADD": _SOME_MEMBER,
        "INVITE_DELETE": _object(guild_id=_ID, channel_id=_ID, code=_SOME_TEXT),
    }
)
"""What is told of each event; of any other only that there was one."""


def _event_name(name: str, _names: Pseudonyms) -> str:
    return name if name in EVENTS else OTHER


_OPS: Final[Mapping[object, _Cut]] = MappingProxyType(
    {9: _FLAG, 10: _object(heartbeat_interval=_SPAN_MS)}
)
_ENVELOPE = _object(
    t=_value(str | None, _event_name, False),
    s=_NUMBER,
    op=_NUMBER,
    d=lambda raw, _: raw,
)


def redact(message: bytes, names: Pseudonyms) -> msgspec.Raw:
    """Return what of a message may be told; `null` where it is no Gateway message."""
    told = _ENVELOPE(msgspec.Raw(message), names)
    if not isinstance(told, dict):
        return msgspec.Raw(b"null")
    op = told.get("op")
    cut = EVENTS.get(told.get("t", "")) if op == 0 else _OPS.get(op)
    body = told.pop("d", None)
    if cut is not None and body is not None:
        told["d"] = cut(body, names)
    return msgspec.Raw(msgspec.json.encode(told))
