"""The controls in Python: what people do, and what goes wrong."""

from collections.abc import Callable, Iterable
from http import HTTPStatus

from msgspec import UNSET, UnsetType

from voicestatus.simulator.community import Community
from voicestatus.simulator.faults import Faults
from voicestatus.simulator.gateway import Gateway
from voicestatus.simulator.log import ClientLog
from voicestatus.simulator.payloads import VOICE
from voicestatus.simulator.world import NOTHING_ELSE, RefusedError, Voice, World

FAULTS = (
    "drop",
    "close",
    "reconnect",
    "invalid_session",
    "zombie",
    "stall",
    "garbage",
    "outage",
    "outage_end",
    "forget_sessions",
    "rate_limit",
    "http_error",
    "slow_hello",
)
SCOPES = ("user", "global", "shared", "banned")
"""Of a 429; `banned` is HTML, as from Cloudflare."""


class Stage:
    """Changes the world and tells it; each change answers the sequence it got."""

    def __init__(
        self,
        world: World,
        gateway: Gateway,
        faults: Faults,
        timestamp: Callable[[], str],
        community: Community,
    ) -> None:
        self.world = world
        self.log: ClientLog = gateway.log
        self._gateway, self._faults, self._timestamp = gateway, faults, timestamp
        self._messages, self._presses = community.messages, community.presses
        self._accounts = community.accounts

    # -- what people do ----------------------------------------------------------

    def voice(
        self,
        guild: int,
        user: int,
        channel: int | UnsetType | None = UNSET,
        how: Voice = NOTHING_ELSE,
        *,
        bot: bool = False,
        name: str | None = None,
    ) -> int:
        """That user joins, moves, leaves (None) or, in the same channel, changes."""
        home = self.world.guild(guild)
        if channel is UNSET:
            state = home.voice.get(user)
            if state is None:
                raise RefusedError("channel", f"{user} is in no channel: say which")
            channel = state.channel
        if channel is not None and channel not in home.channels:
            raise RefusedError(
                "channel", f"there is no channel {channel} in guild {guild}"
            )
        told = self.world.meet(guild, user, name, bot=bot)
        told += (
            self.world.leave(guild, user)
            if channel is None
            else self.world.join(guild, user, channel, how)
        )
        self._gateway.publish(told)
        return self._gateway.seq(guild)

    def meet(
        self, guild: int, user: int, name: str | None = None, *, bot: bool = False
    ) -> int:
        """That user becomes a member."""
        self._gateway.publish(self.world.meet(guild, user, name, bot=bot))
        return self._gateway.seq(guild)

    def dismiss(self, guild: int, user: int) -> int:
        """That member leaves the guild."""
        self._gateway.publish(self.world.dismiss(guild, user))
        return self._gateway.seq(guild)

    def change_member(
        self,
        guild: int,
        user: int,
        roles: Iterable[int] | None = None,
        nick: str | None = None,
        avatar: str | None = None,
    ) -> int:
        """That member gets these roles, that name or picture; None: as before."""
        home = self.world.guild(guild)
        if user in home.members:
            member = home.members[user]
            roles = member.roles if roles is None else roles
            nick = member.nick if nick is None else nick
            avatar = member.avatar if avatar is None else avatar
        told = self.world.change_member(
            guild,
            user,
            roles=tuple(roles or ()),
            nick=nick or None,
            avatar=avatar or None,
        )
        self._gateway.publish(told)
        return self._gateway.seq(guild)

    def write(
        self, channel: int, user: int, content: str, at: str | None = None
    ) -> tuple[int, int]:
        """That member writes a message, now or then; answer sequence and its id."""
        timestamp = self._timestamp() if at is None else at
        told = self._messages.write(channel, user, content, timestamp)
        self._gateway.publish(told)
        return self._seq_of(channel), next(iter(self._messages.newest(channel))).id

    def rewrite(self, channel: int, message: int, content: str) -> int:
        """Whoever wrote that message changes it."""
        found = self._messages.find(channel, message)
        found.content = content
        self._gateway.publish(self._messages.changed(found, self._timestamp()))
        return self._seq_of(channel)

    def wipe(self, channel: int, message: int) -> int:
        """Somebody deletes that message."""
        found = self._messages.find(channel, message)
        self._gateway.publish(self._messages.delete(found))
        return self._seq_of(channel)

    def press(
        self, channel: int, message: int, user: int, custom_id: str
    ) -> tuple[int, int]:
        """That member presses a button; answer the sequence and the press's id."""
        press, told = self._presses.press(
            user, channel, message, custom_id, self._gateway.clock.seconds()
        )
        self._gateway.publish(told)
        return self._seq_of(channel), press.id

    def browse(self, user: int | None, *, consents: bool = True) -> None:
        """Whose browser comes to the page of consent next, and what they say."""
        if user is not None and user not in self.world.users:
            raise RefusedError("user", f"there is no user {user}")
        self._accounts.signed_in, self._accounts.consents = user, consents

    def add_guild(
        self, guild: int, name: str | None = None, members: int = 0, in_voice: int = 0
    ) -> int:
        """The bot joins a guild."""
        self._gateway.publish(self.world.add_guild(guild, name, members, in_voice))
        return self._gateway.seq(guild)

    def remove_guild(self, guild: int) -> int:
        """The bot is removed from a guild."""
        self._gateway.publish(self.world.remove_guild(guild))
        return self._gateway.seq(guild)

    def add_channel(
        self,
        guild: int,
        channel: int | None = None,
        name: str | None = None,
        kind: int = VOICE,
    ) -> tuple[int, int]:
        """Make a channel; answer the sequence and its id."""
        if channel is None:
            channel = self.world.new_id()
        self._gateway.publish(self.world.add_channel(guild, channel, name, kind))
        return self._gateway.seq(guild), channel

    def remove_channel(self, channel: int) -> int:
        """Delete a channel."""
        guild = self.world.channel(channel).guild
        self._gateway.publish(self.world.remove_channel(channel))
        return self._gateway.seq(guild)

    # -- what goes wrong ---------------------------------------------------------

    def fault(  # noqa: C901, PLR0912 - one case for each kind of the contract
        self,
        kind: str,
        *,
        count: int = 1,
        code: int | None = None,
        resumable: bool = False,
        guild: int | None = None,
        shard: int | None = None,
        route: str = "",
        seconds: float = 1.0,
        scope: str = "user",
    ) -> None:
        """Let one thing go wrong now, or, for requests and Hellos, `count` times.

        With `shard` what befalls connections and sessions befalls that shard's alone.

        :raises RefusedError: when there is no such kind, or it lacks what it needs.
        """
        if count < 1:
            raise RefusedError("count", "must be at least 1")
        if not 0 <= seconds <= 86_400:
            raise RefusedError("seconds", "must be from 0 to 86400")
        match kind:
            case "drop":
                self._gateway.drop(shard)
            case "close":
                self._gateway.close(_close_code(code), shard=shard)
            case "reconnect":
                self._gateway.ask_to_reconnect(shard)
            case "invalid_session":
                self._gateway.invalidate(resumable=resumable, shard=shard)
            case "zombie":
                self._gateway.go_zombie(shard)
            case "stall":
                self._gateway.stall(seconds, shard)
            case "garbage":
                for _ in range(count):
                    self._gateway.send_garbage()
            case "outage":
                for each in self._guilds(guild):
                    self._gateway.publish(self.world.begin_outage(each))
            case "outage_end":
                for each in self._guilds(guild):
                    self._gateway.publish(self.world.end_outage(each))
            case "forget_sessions":
                self._gateway.sessions.forget(shard)
            case "rate_limit":
                if scope not in SCOPES:
                    raise RefusedError("scope", f"none of {', '.join(SCOPES)}")
                status = HTTPStatus.TOO_MANY_REQUESTS
                self._faults.add_rest(route, status, count, seconds, scope)
            case "http_error":
                self._faults.add_rest(route, _status(code), count)
            case "slow_hello":
                self._faults.add_slow_hellos(count, seconds)
            case _:
                raise RefusedError("kind", f"{kind!r} is none of {', '.join(FAULTS)}")

    def _seq_of(self, channel: int) -> int:
        return self._gateway.seq(self.world.channel(channel).guild)

    def _guilds(self, guild: int | None) -> tuple[int, ...]:
        return tuple(self.world.guilds) if guild is None else (guild,)


def _close_code(code: int | None) -> int:
    """Source: RFC 6455, 7.4.2; 1005, 1006 and 1015 are never on the wire."""
    code = 4000 if code is None else code
    if 3000 <= code <= 4999 or code in {*range(1000, 1004), *range(1007, 1015)}:
        return code
    raise RefusedError("code", f"{code} cannot be sent as a close code")


def _status(code: int | None) -> int:
    code = 500 if code is None else code
    try:
        status = HTTPStatus(code)
    except ValueError:
        raise RefusedError("code", f"{code} is no HTTP status") from None
    if status < HTTPStatus.BAD_REQUEST:
        raise RefusedError("code", f"{code} is no HTTP error")
    return status
