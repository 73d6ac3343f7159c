"""Who may what in which organization and server."""

from collections.abc import Collection, Coroutine, Iterable
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults

from voicestatus.community.guilds import Guilds
from voicestatus.community.membership import NAMED, STRANGER, Membership, Standing
from voicestatus.community.organizations import Organization, Organizations
from voicestatus.core.errors import Refusal
from voicestatus.core.ids import ChannelId, GuildId, UserId
from voicestatus.core.permissions import READ_MESSAGE_HISTORY, Holder
from voicestatus.core.presence import Presence
from voicestatus.web.audit import Caller
from voicestatus.web.auth.identity import Level

T = TypeVar("T")

ASKED_MOST: Final = 25
"""In how many servers somebody is looked for."""
FEW: Final = 3
"""In so many that give no level it is asked with each request whether somebody is."""
ASKING: Final = (
    "DISCORD_NOT_LINKED",
    "NOT_ORGANIZATION_MEMBER",
    "BOT_NOT_IN_SERVER",
    "MISSING_PERMISSION",
    "DISCORD_ERROR",
    "DISCORD_UNAVAILABLE",
    "STORE_UNAVAILABLE",
)
"""How one is refused who asks as a member or manager, besides `FORBIDDEN` and a 404."""


class Permits:
    """Sees that callers are what an endpoint wants. Admins are managers of all."""

    def __init__(
        self, membership: Membership, organizations: Organizations, guilds: Guilds
    ) -> None:
        self._membership, self._organizations = membership, organizations
        self._guilds = guilds

    async def member(self, caller: Caller, of: GuildId | Organization) -> Standing:
        """Return what they are there.

        :raises Refusal: `GUILD_NOT_FOUND`, `BOT_NOT_IN_SERVER`,
            `DISCORD_NOT_LINKED`, `NOT_ORGANIZATION_MEMBER`, and what comes of asking
            Discord.
        """
        standing = await self._standing(caller, of)
        if not standing.member:
            raise caller.who.doubt or Refusal(
                "NOT_ORGANIZATION_MEMBER", "You are no member there."
            )
        return standing

    async def manager(self, caller: Caller, of: GuildId | Organization) -> Standing:
        """Do the same, and see that they manage it.

        :raises Refusal: `FORBIDDEN`, too.
        """
        standing = await self.member(caller, of)
        if not standing.manager:
            raise caller.who.doubt or Refusal(
                "FORBIDDEN", "Managers alone may do this.", role="manager"
            )
        return standing

    async def hands_out_as(
        self, caller: Caller, organization: Organization
    ) -> Holder | None:
        """Return whose permissions bound the roles that a manager hands out, if any do.

        :raises Refusal: as `manager` does.
        """
        standing = await self.manager(caller, organization)
        if caller.who.level >= Level.ADMIN or (user := caller.who.user) is None:
            return None
        if standing.holder is None and organization.guild is not None:
            standing = await self._membership.in_guild(organization.guild, user)
        return standing.holder or Holder(user)

    async def sees(self, caller: Caller, guild: GuildId) -> frozenset[ChannelId] | None:
        """Return which channels they may see here; None: all that the bot sees.

        A member sees what they see in Discord, texts if they may read back there, and
        what the overview shows.

        :raises Refusal: as `member` does.
        """
        standing = await self.member(caller, guild)
        if standing.manager:
            return None
        seen: frozenset[ChannelId] = frozenset()
        if standing.holder is not None:
            picture = await self._guilds.picture(guild)
            seen = picture.visible_to(standing.holder, READ_MESSAGE_HISTORY)
        organization = await self._organizations.of_guild(guild)
        if organization is None:
            return seen
        return seen.union(organization.settings.discord_overview_channel_ids)

    async def theirs(self, caller: Caller) -> list[tuple[Organization, Standing]]:
        """Return the organizations that they are a member or manager of, by id.

        Of very many servers they are looked for in `ASKED_MOST`: on whose roster they
        are, where they seem to be, and then in the first.

        :raises Refusal: what comes of asking Discord.
        """
        all_ = await self._organizations.list()
        if caller.who.level >= Level.ADMIN:
            return [(each, NAMED) for each in all_]
        if (user := caller.who.user) is None:
            return []
        asked = all_
        if len(all_) > ASKED_MOST:
            listed = frozenset(await self._membership.listed(user))
            likely = sorted(
                all_, key=lambda each: not self._is_near(each, user, listed)
            )
            asked = sorted(likely[:ASKED_MOST], key=lambda each: each.id)
        found = await _all(self._membership.standing(each, user) for each in asked)
        return [pair for pair in zip(asked, found, strict=True) if pair[1].member]

    async def _standing(self, caller: Caller, of: GuildId | Organization) -> Standing:
        if not isinstance(of, Organization):
            await self._see_that_it_is_here(of)
        if caller.who.level >= Level.ADMIN:
            return NAMED
        if (user := caller.who.user) is None:
            raise Refusal("DISCORD_NOT_LINKED", "Sign in with Discord.")
        if isinstance(of, Organization):
            return await self._membership.standing(of, user)
        linked = await self._organizations.of_guild(of)
        if linked is None:
            return await self._membership.in_guild(of, user)
        return await self._membership.standing(linked, user)

    async def _see_that_it_is_here(self, guild: GuildId) -> None:
        try:
            self._guilds.tracked(guild)
        except Refusal:
            if await self._organizations.of_guild(guild) is None:
                raise
            raise self._guilds.absence() from None

    def _is_near(
        self, organization: Organization, user: UserId, listed: Collection[str]
    ) -> bool:
        guild = organization.guild
        return organization.id in listed or (
            guild is not None and self._membership.seems_inside(guild, user)
        )


class DiscordStanding:
    """Tells what users of Discord are here now; see `auth.identity.Standing`.

    Of servers other than the trusted ones anybody could be the owner: a bot that is
    public is invited by who likes.
    """

    def __init__(
        self,
        membership: Membership,
        presence: Presence,
        trusted: Collection[GuildId],
    ) -> None:
        """Take the guilds of the settings: who manages one is an admin here."""
        self._membership, self._presence = membership, presence
        self._trusted = trusted

    async def level_of(self, user: UserId) -> Level:
        """:raises Refusal: when Discord does not say whether they are an admin."""
        asked = await _all(self._in_trusted(each, user) for each in self._trusted)
        standings = [each for each in asked if isinstance(each, Standing)]
        if any(standing.manager for standing in standings):
            return Level.ADMIN
        for each in asked:
            if isinstance(each, Refusal):
                raise each
        if any(standing.member for standing in standings):
            return Level.MEMBER
        others = [each for each in self._presence.guilds if each not in self._trusted]
        if any(self._membership.seems_inside(guild, user) for guild in others):
            return Level.MEMBER
        if len(others) > FEW:
            return Level.GUEST
        inside = await _all(self._is_inside(guild, user) for guild in others)
        return Level.MEMBER if any(inside) else Level.GUEST

    async def _in_trusted(self, guild: GuildId, user: UserId) -> Standing | Refusal:
        try:
            return await self._membership.in_guild(guild, user)
        except Refusal as e:
            return STRANGER if e.code == "BOT_NOT_IN_SERVER" else e

    async def _is_inside(self, guild: GuildId, user: UserId) -> bool:
        try:
            return await self._membership.inside(guild, user) is not None
        except Refusal:
            return False  # a member may no more than a guest


async def _all(asked: Iterable[Coroutine[Deferred[Any], Any, T]]) -> list[T]:
    """Ask all at once; raise what went wrong first."""
    running = [Deferred.fromCoroutine(each) for each in asked]
    try:
        return await gatherResults(running, consumeErrors=True)
    except FirstError as e:
        raise (e.subFailure.value or e) from e
