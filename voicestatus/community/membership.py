"""Who is in a server, and who manages it: asked of Discord, and kept for a while."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final, Protocol

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
TIME_OUT_KEPT_S: Final = NO_KEPT_S
"""It may end soon."""
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


@dataclass(frozen=True, slots=True)
class _Seen:
    """What Discord said of somebody, or what went wrong instead."""

    keep_s: float
    member: Member | None = None
    holder: Holder | None = None
    manages: bool | None = None
    """None: it is not known."""
    problem: Exception | None = None


class _Lately:
    """Who was a member lately: `KEPT_MOST` of them, for `BRIDGED_S`."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._seen: OrderedDict[_Key, tuple[_Seen, float]] = OrderedDict()

    def get(self, key: _Key) -> _Seen | None:
        seen, at = self._seen.get(key, (None, 0.0))
        return seen if self._clock.seconds() - at < BRIDGED_S else None

    def note(self, key: _Key, seen: _Seen) -> None:
        self.forget(key)
        self._seen[key] = seen, self._clock.seconds()
        if len(self._seen) > KEPT_MOST:
            self._seen.popitem(last=False)

    def forget(self, key: _Key) -> None:
        self._seen.pop(key, None)


class Membership:
    """Looks people up, each once at a time, and weighs what they are."""

    def __init__(
        self, rest: Rest, guilds: Guilds, roster: Roster, clock: IReactorTime
    ) -> None:
        self._rest, self._guilds, self._roster = rest, guilds, roster
        self._seen: Kept[_Key, _Seen] = Kept(
            self._look, lambda seen: seen.keep_s, clock, KEPT_MOST
        )
        self._lately = _Lately(clock)

    def close(self) -> None:
        """Give up what is being asked; call it from `stopService`."""
        self._seen.close()

    def forget(self, guild: GuildId, user: UserId) -> None:
        """Ask anew the next time: they came or went."""
        self._seen.forget((guild, user))
        self._lately.forget((guild, user))

    def seems_inside(self, guild: GuildId, user: UserId) -> bool:
        """Whether they are in voice, or Discord said so lately; nobody is asked."""
        return (
            self._guilds.is_in_voice(guild, user)
            or self._lately.get((guild, user)) is not None
        )

    async def listed(self, user: UserId) -> list[str]:
        """Return the ids of the organizations on whose roster somebody is."""
        return await self._roster.of_user(user)

    async def inside(self, guild: GuildId, user: UserId) -> Member | None:
        """Return a member of a server; None: Discord says that they are not in it.

        :raises Refusal: whenever Discord says anything else, or nothing.
        """
        seen = await self._seen.get((guild, user))
        if seen.member is None and seen.problem is not None:
            raise _told(seen.problem) from seen.problem
        return seen.member

    async def in_guild(self, guild: GuildId, user: UserId) -> Standing:
        """Tell what somebody is in a server by Discord's word alone.

        :raises Refusal: when Discord does not say.
        """
        seen = await self._seen.get((guild, user))
        if seen.manages is None and seen.problem is not None:
            raise _told(seen.problem) from seen.problem
        if seen.holder is None:
            return STRANGER
        return Standing(member=True, manager=bool(seen.manages), holder=seen.holder)

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

    async def _look(self, key: _Key) -> _Seen:
        guild, user = key
        lately = self._lately.get(key)
        try:
            member = await self._rest.member(guild, user)
        except UnknownMember:
            self._lately.forget(key)
            return _Seen(NO_KEPT_S)
        except DiscordUnreachable as e:
            if lately is None:
                return _Seen(FAILURE_KEPT_S, problem=e)
            return replace(lately, keep_s=FAILURE_KEPT_S)
        except DiscordRefused as e:
            return _Seen(FAILURE_KEPT_S, problem=e)
        holder = self._guilds.holder(member)
        try:
            picture = await self._guilds.picture(guild)
        except Refusal as e:
            manages = None if lately is None else lately.manages
            return _Seen(FAILURE_KEPT_S, member, holder, manages, e)
        manages = picture.may(MANAGE_GUILD, holder=holder)
        keep_s = TIME_OUT_KEPT_S if holder.timed_out else YES_KEPT_S
        seen = _Seen(keep_s, member, holder, manages)
        self._lately.note(key, seen)
        return seen


def _told(problem: Exception) -> Refusal:
    if isinstance(problem, MissingAccess):
        return bot_not_in_server()
    return said_no(problem)
