"""Gives members the roles of their ranks, and takes those of other ranks."""

from collections import defaultdict
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from voicestatus.community.guilds import Guilds
from voicestatus.community.organizations import Organization, Organizations
from voicestatus.community.reauthorizing import Reauthorizing
from voicestatus.community.refusals import SAID_NO, bot_not_in_server, said_no
from voicestatus.community.roster import Roster, RosterMember
from voicestatus.core.errors import Refusal
from voicestatus.core.guild_news import GuildNews, MemberJoined
from voicestatus.core.ids import GuildId, RoleId, UserId
from voicestatus.core.permissions import MANAGE_ROLES, Holder
from voicestatus.core.ranks import Change, Hierarchy, Obstacle
from voicestatus.discord.rest.errors import (
    MissingAccess,
    MissingPermissions,
    UnknownGuild,
    UnknownMember,
    UnknownRole,
    UnknownUser,
)
from voicestatus.discord.rest.wire import Member
from voicestatus.tasks import Tasks

WHY: Final = "Their rank in the organization"
"""What the server's audit log says."""
NOTHING: Final = Change()


class Rest(Protocol):
    """What is asked of Discord; see `discord.rest.client`."""

    async def member(self, guild: GuildId, user: UserId) -> Member: ...

    async def give_role(
        self, guild: GuildId, user: UserId, role: RoleId, *, reason: str | None
    ) -> None: ...

    async def take_role(
        self, guild: GuildId, user: UserId, role: RoleId, *, reason: str | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one member, or would: what was given, taken, and refused."""

    member: RosterMember
    change: Change = NOTHING
    inside: bool = True
    """Whether they are in the server."""
    problem: Refusal | None = None
    """Why no more was done."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of all members of an organization."""

    guild: GuildId
    dry_run: bool
    outcomes: tuple[Outcome, ...]
    names: Mapping[RoleId, str]
    """Of the ranks' roles."""


class RankRoles(Service):
    """Syncs the roles of members with their ranks: of one when something happens to
    them, of all when a manager asks for it.

    In each organization one after the other: the last word on a rank has the last say.
    """

    _log = Logger()

    def __init__(
        self,
        rest: Rest,
        guilds: Guilds,
        organizations: Organizations,
        roster: Roster,
        reauthorizing: Reauthorizing,
    ) -> None:
        """Take a `rest` that waits for its turn as long as it takes."""
        self._rest, self._guilds = rest, guilds
        self._organizations, self._roster = organizations, roster
        self._reauthorizing = reauthorizing
        self._lines: dict[str, DeferredLock] = defaultdict(DeferredLock)
        self._tasks = Tasks()
        roster.subscribe(self._rank_changed)

    def stopService(self) -> None:
        super().stopService()
        self._tasks.cancel()

    async def sync(
        self, id_: str, *, dry_run: bool, by: Holder | None = None
    ) -> Report:
        """Sync all who are on the roster, or tell what that would do.

        Roles beyond `by` are left alone; None: of who may all.

        :raises Refusal: `ORGANIZATION_NOT_FOUND`, `NO_LINKED_DISCORD_SERVER`,
            `BOT_NOT_IN_SERVER`, `MISSING_PERMISSION`, `DISCORD_UNAVAILABLE`,
            `DISCORD_ERROR`; `VERSION_CONFLICT` when there are other roles, meanwhile.
        """
        async with self._lines[id_]:
            organization = await self._organizations.get(id_)
            if organization.guild is not None:
                self._guilds.forget(organization.guild)  # its roles may have moved
            sync = await self._begin(organization, dry_run=dry_run, by=by)
            outcomes = []
            for member in await self._roster.of(id_):
                # It may take an hour: what others write meanwhile, at other nodes too,
                # is not undone.
                now = await self._organizations.get(id_)
                if (now.guild, _roles_of(now)) != (sync.guild, sync.roles):
                    raise _other_roles()
                latest = await self._roster.get(id_, member.user)
                outcomes.append(await sync.of(latest or RosterMember(member.user)))
            return Report(sync.guild, dry_run, tuple(outcomes), sync.names)

    def signed_in(self, user: UserId) -> None:
        """Sync somebody wherever they are on a roster."""
        self._spawn(self._sync_everywhere(user))

    def hear(self, news: GuildNews) -> None:
        """Take in what Discord tells of a guild."""
        if isinstance(news, MemberJoined):
            self._spawn(self._sync_joined(news))

    # ---- of one member -------------------------------------------------------------

    def _rank_changed(
        self, id_: str, before: RosterMember | None, after: RosterMember | None
    ) -> None:
        ranks = {None if each is None else each.rank for each in (before, after)}
        member = after or before
        if member is not None and len(ranks) > 1:
            self._spawn(self._sync_one(id_, member.user))

    async def _sync_everywhere(self, user: UserId) -> None:
        for organization in await self._organizations.list():
            if _roles_of(organization):
                await self._sync_if_listed(organization.id, user)

    async def _sync_joined(self, news: MemberJoined) -> None:
        organization = await self._organizations.of_guild(news.guild)
        if organization is not None:
            await self._sync_if_listed(organization.id, news.user)

    async def _sync_if_listed(self, id_: str, user: UserId) -> None:
        if await self._roster.get(id_, user) is not None:
            await self._sync_one(id_, user)

    async def _sync_one(self, id_: str, user: UserId) -> None:
        """Who is not on the roster any more has no rank."""
        try:
            async with self._lines[id_]:
                if not self.running:  # the one before was cancelled, this one will be
                    return
                organization = await self._organizations.get(id_)
                if organization.guild is None or not _roles_of(organization):
                    return
                sync = await self._begin(organization, dry_run=False)
                member = await self._roster.get(id_, user) or RosterMember(user)
                problem = (await sync.of(member)).problem
        except Refusal as e:
            problem = e
        if problem is not None:
            self._log.warn(
                "the roles of a member of organization {id} were not synced: {code}",
                id=id_,
                code=problem.code,
            )

    async def _begin(
        self, organization: Organization, *, dry_run: bool, by: Holder | None = None
    ) -> "_Sync":
        guild, roles = organization.guild, _roles_of(organization)
        if guild is None:
            raise Refusal(
                "NO_LINKED_DISCORD_SERVER",
                "This organization is linked to no Discord server.",
            )
        picture = await self._guilds.picture(guild)
        if roles and not picture.may(MANAGE_ROLES):
            raise await self._reauthorizing.refusal(guild, MANAGE_ROLES)
        hierarchy = picture.hierarchy(roles.values(), by)
        return _Sync(self._rest, self._guilds, guild, roles, hierarchy, dry_run=dry_run)

    def _spawn(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        self._tasks.spawn("a sync of roles", work)


class _Sync:
    """One sync; what Discord refused once it does not try again."""

    def __init__(
        self,
        rest: Rest,
        guilds: Guilds,
        guild: GuildId,
        roles: Mapping[str, RoleId],
        hierarchy: Hierarchy,
        *,
        dry_run: bool,
    ) -> None:
        self.guild, self.roles = guild, roles
        self._rest, self._guilds = rest, guilds
        self._hierarchy = hierarchy
        self._dry_run = dry_run

    @property
    def names(self) -> Mapping[RoleId, str]:
        return {role: self._hierarchy.name(role) for role in self.roles.values()}

    async def of(self, member: RosterMember) -> Outcome:
        """Sync one member; what goes wrong with them is theirs alone.

        :raises Refusal: `BOT_NOT_IN_SERVER`, for then it goes wrong with all.
        """
        if not self.roles:
            return Outcome(member)
        try:
            there = await self._rest.member(self.guild, member.user)
        except (UnknownMember, UnknownUser):
            return Outcome(member, inside=False)
        except (UnknownGuild, MissingAccess) as e:
            raise bot_not_in_server() from e
        except SAID_NO as e:
            return Outcome(member, problem=said_no(e))
        change = self._hierarchy.change(member.rank, self.roles, there.roles)
        if self._dry_run:
            return Outcome(member, change)
        return await self._carry_out(member, change)

    async def _carry_out(self, member: RosterMember, change: Change) -> Outcome:
        given: list[RoleId] = []
        taken: list[RoleId] = []
        refused = list(change.refused)
        problem = None
        steps = [(role, self._rest.give_role, given) for role in change.give]
        steps += [(role, self._rest.take_role, taken) for role in change.take]
        for role, do, done in steps:
            try:
                await do(self.guild, member.user, role, reason=WHY)
            except UnknownRole:
                refused.append(self._hierarchy.bar(role, Obstacle.GONE))
            except (MissingPermissions, MissingAccess):
                refused.append(self._hierarchy.bar(role, Obstacle.FORBIDDEN))
                self._guilds.forget(self.guild)  # it shows another picture
            except SAID_NO as e:
                problem = said_no(e)
                break
            else:
                done.append(role)
        after = Change(tuple(given), tuple(taken), tuple(refused))
        return Outcome(member, after, problem=problem)


def _roles_of(organization: Organization) -> Mapping[str, RoleId]:
    return organization.settings.discord_rank_roles


def _other_roles() -> Refusal:
    return Refusal(
        "VERSION_CONFLICT", "Others chose other roles for the ranks; sync again."
    )
