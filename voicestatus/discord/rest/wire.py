"""Discord's HTTP API: bodies to values. Pure."""

from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import msgspec

from voicestatus.core.errors import ProtocolError
from voicestatus.core.ids import ChannelId, GuildId, UserId
from voicestatus.core.permissions import Overwrite


@dataclass(frozen=True, slots=True)
class Route:
    """One address of the API; also the key of its limits."""

    method: str
    path: str


GATEWAY_BOT: Final = Route("GET", "/gateway/bot")
OWN_USER: Final = Route("GET", "/users/@me")
OWN_APPLICATION: Final = Route("GET", "/applications/@me")
OWN_GUILDS: Final = Route("GET", "/users/@me/guilds")


def guild_route(guild: GuildId) -> Route:
    """The address of one guild."""
    return Route("GET", f"/guilds/{guild}")


def channels_route(guild: GuildId) -> Route:
    """The address of a guild's channels."""
    return Route("GET", f"/guilds/{guild}/channels")


def member_route(guild: GuildId, user: UserId) -> Route:
    """The address of one member of a guild."""
    return Route("GET", f"/guilds/{guild}/members/{user}")


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


@dataclass(frozen=True, slots=True)
class Guild:
    """A guild without its channels and people."""

    id: GuildId
    name: str
    owner: UserId
    afk_channel: ChannelId | None
    roles: tuple[Role, ...]


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel; where `hidden`, its name and overwrites are placeholders."""

    id: ChannelId
    name: str
    voice: bool
    hidden: bool
    overwrites: tuple[Overwrite, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error's JSON body says; `retry_after_s` in a 429 alone."""

    code: int = 0
    message: str = ""
    retry_after_s: float | None = None
    everywhere: bool = False


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
    tags: _Tags = _Tags()


class _Guild(msgspec.Struct):
    id: _Id
    name: str
    owner_id: _Id
    roles: list[_Role]
    afk_channel_id: _Id | None = None


class _PartialGuild(msgspec.Struct):
    id: _Id


class _Member(msgspec.Struct):
    roles: list[_Id]


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


class _Problem(msgspec.Struct):
    code: int = 0
    message: str = ""
    retry_after: _Wait | None = None
    global_: bool = msgspec.field(default=False, name="global")


_T = TypeVar("_T")


def _read(route: Route, body: bytes, shape: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=shape, strict=False)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        what = f"{route.method} {route.path} answered something else"
        raise ProtocolError(what) from None


def gateway_bot(body: bytes) -> GatewayBot:
    """Read the answer of `GATEWAY_BOT`.

    :raises ProtocolError: when it is something else; so do all that follow.
    """
    answer = _read(GATEWAY_BOT, body, _GatewayBot)
    limit = answer.session_start_limit
    return GatewayBot(
        answer.url,
        answer.shards,
        limit.remaining,
        limit.reset_after / 1000,
        limit.max_concurrency,
    )


def own_user(body: bytes) -> OwnUser:
    """Read the answer of `OWN_USER`."""
    answer = _read(OWN_USER, body, _User)
    return OwnUser(UserId(answer.id), answer.username)


def application(body: bytes) -> Application:
    """Read the answer of `OWN_APPLICATION`."""
    answer = _read(OWN_APPLICATION, body, _Application)
    return Application(answer.id, answer.flags)


def own_guilds(body: bytes) -> tuple[GuildId, ...]:
    """Read the answer of `OWN_GUILDS`: the first 200."""
    answer = _read(OWN_GUILDS, body, list[_PartialGuild])
    return tuple(GuildId(guild.id) for guild in answer)


def guild(id_: GuildId, body: bytes) -> Guild:
    """Read the answer of `guild_route`."""
    answer = _read(guild_route(id_), body, _Guild)
    afk = answer.afk_channel_id
    return Guild(
        GuildId(answer.id),
        answer.name,
        UserId(answer.owner_id),
        None if afk is None else ChannelId(afk),
        tuple(
            Role(role.id, role.name, role.permissions, role.tags.bot_id)
            for role in answer.roles
        ),
    )


def channels(id_: GuildId, body: bytes) -> tuple[Channel, ...]:
    """Read the answer of `channels_route`."""
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
        )
        for channel in _read(channels_route(id_), body, list[_Channel])
    )


def member_roles(id_: GuildId, user: UserId, body: bytes) -> tuple[int, ...]:
    """Read the answer of `member_route`: the roles that the member holds."""
    return tuple(_read(member_route(id_, user), body, _Member).roles)


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
    return Problem(said.code, said.message, said.retry_after, said.global_)
