"""Who is in a server, and who manages it: asked of Discord, and kept for a while."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final, Generic, Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime

from voicestatus.community.guilds import Guilds
from voicestatus.community.kept import Kept
from voicestatus.community.organizations import Organization
from voicestatus.community.refusals import bot_not_in_server, said_no
from voicestatus.community.roster import Roster
from voicestatus.core.errors import Refusal
from voicestatus.core.ids import GuildId, UserId
from voicestatus.core.permissions import MANAGE_GUILD, Holder
from voicestatus.discord.rest.errors import (
    DiscordRefused,
    DiscordUnreachable,
    MissingAccess,
    UnknownMember,
)
from voicestatus.discord.rest.wire import Member

YES_KEPT_S: Final = 300.0
NO_KEPT_S: Final = 30.0
FAILURE_KEPT_S: Final = 5.0
"""Discord bans who asks in vain too often."""
BRIDGED_S: Final = 900.0
"""For so long after Discord said yes, that is taken for the answer while it is away. A
no never is: who has just joined would be shut out, and not told why."""
KEPT_MOST: Final = 5000


class Rest(Protocol):
    """What is asked of Discord; see `discord.rest.client`."""

    async def member(self, guild: GuildId, user: UserId) -> Member: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """What somebody is to an organization."""

    member: bool
    manager: bool
    holder: Holder | None = None
    """Whose permissions count in its server; None: they are not known to be in it."""


STRANGER: Final = Standing(member=False, manager=False)
NAMED: Final = Standing(member=True, manager=True)

_Key = tuple[GuildId, UserId]
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What Discord said of a member, or what went wrong."""

    member: Member | None
    keep_s: float
    problem: Exception | None = None


class _Lately(Generic[V]):
    """What was known of people lately: of `KEPT_MOST` of them, for `BRIDGED_S`."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._known: OrderedDict[_Key, tuple[V, float]] = OrderedDict()

    def __getitem__(self, key: _Key) -> V | None:
        value, at = self._known.get(key, (None, 0.0))
        return value if self._clock.seconds() - at < BRIDGED_S else None

    def __setitem__(self, key: _Key, value: V) -> None:
        self.forget(key)
        self._known[key] = value, self._clock.seconds()
        if len(self._known) > KEPT_MOST:
            self._known.popitem(last=False)

    def forget(self, key: _Key) -> None:
        self._known.pop(key, None)


class Membership:
    """Looks people up, each once at a time, and weighs what they are."""

    def __init__(
        self, rest: Rest, guilds: Guilds, roster: Roster, clock: IReactorTime
    ) -> None:
        self._rest, self._guilds, self._roster = rest, guilds, roster
        self._seen: Kept[_Key, _Seen] = Kept(
            self._look, lambda seen: seen.keep_s, clock, KEPT_MOST
        )
        self._members: _Lately[Member] = _Lately(clock)
        self._manages: _Lately[bool] = _Lately(clock)

    def close(self) -> None:
        """Give up what is being asked; call it from `stopService`."""
        self._seen.close()

    def forget(self, guild: GuildId, user: UserId) -> None:
        """Ask anew the next time: they came or went."""
        self._seen.forget((guild, user))
        self._members.forget((guild, user))
        self._manages.forget((guild, user))

    async def inside(self, guild: GuildId, user: UserId) -> Member | None:
        """Return a member of a server; None: Discord says that they are not in it.

        :raises Refusal: whenever Discord says anything else, or nothing.
        """
        seen = await self._seen.get((guild, user))
        if isinstance(seen.problem, MissingAccess):
            raise bot_not_in_server() from seen.problem
        if seen.problem is not None:
            raise said_no(seen.problem) from seen.problem
        return seen.member

    async def in_guild(self, guild: GuildId, user: UserId) -> Standing:
        """Tell what somebody is in a server by Discord's word alone.

        :raises Refusal: when Discord does not say.
        """
        member = await self.inside(guild, user)
        if member is None:
            return STRANGER
        holder = Holder(user, frozenset(member.roles))
        manages = await self._manages_now(guild, holder)
        return Standing(member=True, manager=manages, holder=holder)

    async def standing(self, organization: Organization, user: UserId) -> Standing:
        """Tell what somebody is: by the roster, and by the linked server.

        :raises Refusal: when Discord does not say, and the roster does not either.
        """
        named = await self._roster.get(organization.id, user)
        if named is not None and named.manager:
            return NAMED
        there = STRANGER
        if organization.guild is not None:
            try:
                there = await self.in_guild(organization.guild, user)
            except Refusal as e:
                # Without the bot there is nobody to ask, and the roster is all.
                if e.code != "BOT_NOT_IN_SERVER":
                    raise
        return there if named is None else replace(there, member=True)

    async def _manages_now(self, guild: GuildId, holder: Holder) -> bool:
        key = guild, UserId(holder.user)
        try:
            picture = await self._guilds.picture(guild)
        except Refusal as e:
            lately = self._manages[key]
            if e.code != "DISCORD_UNAVAILABLE" or lately is None:
                raise
            return lately
        manages = picture.may(MANAGE_GUILD, holder=holder)
        self._manages[key] = manages
        return manages

    async def _look(self, key: _Key) -> _Seen:
        try:
            member = await self._rest.member(*key)
        except UnknownMember:
            self._members.forget(key)
            return _Seen(None, NO_KEPT_S)
        except DiscordUnreachable as e:
            lately = self._members[key]
            return _Seen(lately, FAILURE_KEPT_S, e if lately is None else None)
        except DiscordRefused as e:
            return _Seen(None, FAILURE_KEPT_S, e)
        self._members[key] = member
        return _Seen(member, YES_KEPT_S)
