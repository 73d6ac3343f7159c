"""Discord's HTTP API: what it says of accounts, guilds, and what went wrong. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Annotated, Final, TypeVar

import msgspec

from voicestatus.core.errors import ProtocolError
from voicestatus.core.ids import ChannelId, GuildId, RoleId, UserId
from voicestatus.core.permissions import Overwrite
from voicestatus.discord.rest.route import Route

FIELDS_MOST: Final = 20
DEPTH_MOST: Final = 16


@dataclass(frozen=True, slots=True)
class GatewayBot:
    """Where the Gateway is and how many Identifies Discord still allows."""

    url: str
    shards: int
    remaining: int
    reset_after_s: float
    max_concurrency: int


@dataclass(frozen=True, slots=True)
class OwnUser:
    """Whose token it is."""

    id: UserId
    name: str


@dataclass(frozen=True, slots=True)
class Application:
    """What the bot belongs to; its flags tell the intents that it may use."""

    id: int
    flags: int


@dataclass(frozen=True, slots=True)
class Role:
    """One role; `bot` is whose it is, where Discord made it for a bot."""

    id: int
    name: str
    permissions: int
    bot: int | None
    colour: int = 0
    position: int = 0
    managed: bool = False
    mentionable: bool = False


@dataclass(frozen=True, slots=True)
class Guild:
    """A guild without its channels and people."""

    id: GuildId
    name: str
    owner: UserId
    afk_channel: ChannelId | None
    roles: tuple[Role, ...]
    system_channel: ChannelId | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel; where `hidden`, its name and overwrites are placeholders."""

    id: ChannelId
    name: str
    voice: bool
    hidden: bool
    overwrites: tuple[Overwrite, ...]
    kind: int = 0
    parent: ChannelId | None = None
    position: int = 0
    last_message: int | None = None
    """May be of a message that was deleted."""


class User(msgspec.Struct, frozen=True):
    """One account. `avatar` is the hash of a picture."""

    id: UserId
    name: str = msgspec.field(name="username")
    global_name: str | None = None
    avatar: str | None = None
    discriminator: str = "0"
    bot: bool = False


class Member(msgspec.Struct, frozen=True):
    """One account in one guild."""

    user: User
    roles: tuple[RoleId, ...]
    nick: str | None = None
    avatar: str | None = None
    timed_out_until: datetime | None = msgspec.field(
        name="communication_disabled_until", default=None
    )
    """It may be over."""


class OwnGuild(msgspec.Struct, frozen=True):
    """A guild of whoever asks, and what they may do in it as a whole."""

    id: GuildId
    name: str
    owner: bool
    permissions: int
    icon: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error's JSON body says; `retry_after_s` in a 429 alone."""

    code: int = 0
    message: str = ""
    retry_after_s: float | None = None
    everywhere: bool = False
    fields: tuple[str, ...] = ()
    """`embeds.0.title: CODE words` for each that is wrong."""
    oauth: str = ""
    """The word of RFC 6749, where it is an answer of the token endpoint."""


_Count = Annotated[int, msgspec.Meta(ge=0)]
_Wait = Annotated[float, msgspec.Meta(ge=0)]


_Id = Annotated[int, msgspec.Meta(ge=0)]
_Bits = Annotated[int, msgspec.Meta(ge=0)]
_VOICE_TYPES: Final = frozenset({2, 13})
_HIDDEN: Final = 1 << 17
"""Source: Discord docs, Channel, "Channel Flags" and "Obfuscated Channels"."""


class _SessionStartLimit(msgspec.Struct):
    remaining: _Count
    reset_after: _Wait
    max_concurrency: Annotated[int, msgspec.Meta(ge=1)] = 1


class _GatewayBot(msgspec.Struct):
    url: str
    session_start_limit: _SessionStartLimit
    shards: _Count = 1


class _User(msgspec.Struct):
    id: _Id
    username: str


class _Application(msgspec.Struct):
    id: _Id
    flags: _Bits = 0


class _Tags(msgspec.Struct, frozen=True):
    bot_id: _Id | None = None


class _Role(msgspec.Struct):
    id: _Id
    name: str
    permissions: _Bits
    color: int = 0
    position: int = 0
    managed: bool = False
    mentionable: bool = False
    tags: _Tags = _Tags()


class _Guild(msgspec.Struct):
    id: _Id
    name: str
    owner_id: _Id
    roles: list[_Role]
    afk_channel_id: _Id | None = None
    system_channel_id: _Id | None = None


class _PartialGuild(msgspec.Struct):
    id: _Id


class _Overwrite(msgspec.Struct):
    id: _Id
    type: int
    allow: _Bits = 0
    deny: _Bits = 0


class _Channel(msgspec.Struct):
    id: _Id
    type: int
    name: str | None = None
    flags: _Bits | None = 0
    permission_overwrites: list[_Overwrite] | None = None
    parent_id: _Id | None = None
    position: int = 0
    last_message_id: _Id | None = None


class _Problem(msgspec.Struct):
    code: int = 0
    message: str = ""
    retry_after: _Wait | None = None
    global_: bool = msgspec.field(default=False, name="global")
    errors: object = None
    error: str = ""


_T = TypeVar("_T")


def read(route: Route, body: bytes, shape: type[_T]) -> _T:
    """Read an answer as `shape`; what it does not name is left out.

    :raises ProtocolError: when it is something else; so do all that follow.
    """
    try:
        return msgspec.json.decode(body, type=shape, strict=False)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ProtocolError(f"{route.name} answered something else") from None


def reading(shape: type[_T]) -> Callable[[Route, bytes], _T]:
    """Return what reads an answer as `shape`."""
    return lambda route, body: read(route, body, shape)


def nothing(route: Route, body: bytes) -> None:
    """Read an answer that says no more than that it was done."""


def gateway_bot(route: Route, body: bytes) -> GatewayBot:
    """Read where the Gateway is."""
    answer = read(route, body, _GatewayBot)
    limit = answer.session_start_limit
    return GatewayBot(
        answer.url,
        answer.shards,
        limit.remaining,
        limit.reset_after / 1000,
        limit.max_concurrency,
    )


def own_user(route: Route, body: bytes) -> OwnUser:
    """Read whose token it is."""
    answer = read(route, body, _User)
    return OwnUser(UserId(answer.id), answer.username)


def application(route: Route, body: bytes) -> Application:
    """Read which application it is."""
    answer = read(route, body, _Application)
    return Application(answer.id, answer.flags)


def own_guilds(route: Route, body: bytes) -> tuple[GuildId, ...]:
    """Read in which guilds the bot is: the first 200."""
    answer = read(route, body, list[_PartialGuild])
    return tuple(GuildId(guild.id) for guild in answer)


def guild(route: Route, body: bytes) -> Guild:
    """Read one guild."""
    answer = read(route, body, _Guild)
    return Guild(
        GuildId(answer.id),
        answer.name,
        UserId(answer.owner_id),
        _channel_id(answer.afk_channel_id),
        tuple(_role(role) for role in answer.roles),
        _channel_id(answer.system_channel_id),
    )


def roles(route: Route, body: bytes) -> tuple[Role, ...]:
    """Read a guild's roles."""
    return tuple(_role(role) for role in read(route, body, list[_Role]))


def channels(route: Route, body: bytes) -> tuple[Channel, ...]:
    """Read a guild's channels."""
    return tuple(
        Channel(
            ChannelId(channel.id),
            channel.name or "",
            channel.type in _VOICE_TYPES,
            bool((channel.flags or 0) & _HIDDEN),
            tuple(
                Overwrite(each.id, each.allow, each.deny, each.type == 1)
                for each in channel.permission_overwrites or ()
            ),
            channel.type,
            _channel_id(channel.parent_id),
            channel.position,
            channel.last_message_id,
        )
        for channel in read(route, body, list[_Channel])
    )


def problem(content_type: str, body: bytes) -> Problem | None:
    """Read an error's body; None when it is not Discord's JSON.

    Cloudflare and proxies answer in HTML, whatever the status.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        return None
    try:
        said = msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    fields = tuple(islice(_field_errors(said.errors, ()), FIELDS_MOST))
    return Problem(
        said.code, said.message, said.retry_after, said.global_, fields, said.error
    )


def _role(role: _Role) -> Role:
    return Role(
        role.id,
        role.name,
        role.permissions,
        role.tags.bot_id,
        role.color,
        role.position,
        role.managed,
        role.mentionable,
    )


def _channel_id(given: int | None) -> ChannelId | None:
    return None if given is None else ChannelId(given)


def _field_errors(tree: object, path: tuple[str, ...]) -> Iterator[str]:
    """Source: Discord docs, API Reference, "Error Messages": a tree of what was sent,
    its leaves lists called `_errors`."""
    if isinstance(tree, list) and path[-1:] == ("_errors",):
        where = ".".join(path[:-1])
        for each in tree:
            if isinstance(each, dict):
                said = f"{each.get('code')} {each.get('message')}"
                yield f"{where}: {said}" if where else said
    elif isinstance(tree, dict) and len(path) < DEPTH_MOST:
        for name, below in tree.items():
            yield from _field_errors(below, (*path, str(name)))
