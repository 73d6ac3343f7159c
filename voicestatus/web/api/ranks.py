"""`/organizations/…/discord/sync-roles`: members get the roles of their ranks."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from voicestatus.community.organizations import Organizations
from voicestatus.community.ranks import Outcome, RankRoles
from voicestatus.core.ids import RoleId
from voicestatus.core.ranks import WORDS, Obstacle
from voicestatus.web.api.endpoint import endpoint
from voicestatus.web.audit import Audit, Caller
from voicestatus.web.auth.identity import Level, Scope
from voicestatus.web.permits import ASKING, Permits

NOT_ASSIGNABLE = "ROLE_NOT_ASSIGNABLE"


class SyncQuery(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Whether something is to be done."""

    dry_run: Annotated[
        Literal["true", "false"], Meta(description="true: only tell what would be done")
    ] = "true"


class RoleName(Struct, frozen=True, rename="camel"):
    """A role, and what people call it."""

    id: str
    name: str


class RefusedRole(Struct, frozen=True, rename="camel"):
    """A role that should be given or taken, and why it cannot be."""

    id: str
    name: str
    code: Annotated[str, Meta(extra_json_schema={"enum": [NOT_ASSIGNABLE]})]
    reason: Annotated[
        str, Meta(extra_json_schema={"enum": [each.value for each in Obstacle]})
    ]
    message: str


class SyncProblem(Struct, frozen=True, rename="camel"):
    """Why no more was done for somebody."""

    code: Annotated[str, Meta(examples=["DISCORD_UNAVAILABLE"])]
    message: str


class SyncedMember(Struct, frozen=True, rename="camel"):
    """What was done for somebody, or would be."""

    user_id: str
    rank: str | None
    in_server: bool
    give: tuple[RoleName, ...]
    take: tuple[RoleName, ...]
    refused: tuple[RefusedRole, ...]
    problem: SyncProblem | None


class RoleSync(Struct, frozen=True, rename="camel"):
    """What was done for those on the roster, or would be."""

    dry_run: bool
    guild_id: str
    members: list[SyncedMember]


class RanksSubject:
    """Ranks and roles."""

    def __init__(
        self,
        ranks: RankRoles,
        organizations: Organizations,
        permits: Permits,
        audit: Audit,
    ) -> None:
        self._ranks, self._organizations = ranks, organizations
        self._permits, self._audit = permits, audit

    @endpoint(
        "POST",
        "/organizations/<organization>/discord/sync-roles",
        level=Level.GUEST,
        scope=Scope.SETTINGS,
        refuses=(
            "ORGANIZATION_NOT_FOUND",
            "NO_LINKED_DISCORD_SERVER",
            "VERSION_CONFLICT",
            *ASKING,
        ),
    )
    async def sync(
        self, organization: str, query: SyncQuery, caller: Caller
    ) -> RoleSync:
        """Give members the roles of their ranks, and take those of other ranks.

        For managers. Unless `dryRun` is false it only tells what would be done. It
        takes its time: Discord lets a bot change about one role a second. When the
        server or the roles of the ranks are changed meanwhile, it ends with
        `VERSION_CONFLICT`.
        """
        found = await self._organizations.get(organization)
        by = await self._permits.hands_out_as(caller, found)
        dry_run = query.dry_run == "true"
        if not dry_run:
            await self._audit.note(caller, "organization.sync-roles", organization)
        report = await self._ranks.sync(organization, dry_run=dry_run, by=by)
        return RoleSync(
            dry_run,
            str(report.guild),
            [_member_of(each, report.names) for each in report.outcomes],
        )


def _member_of(outcome: Outcome, names: Mapping[RoleId, str]) -> SyncedMember:
    change, problem = outcome.change, outcome.problem

    def named(roles: tuple[RoleId, ...]) -> tuple[RoleName, ...]:
        return tuple(RoleName(str(role), names[role]) for role in roles)

    return SyncedMember(
        user_id=str(outcome.member.user),
        rank=outcome.member.rank,
        in_server=outcome.inside,
        give=named(change.give),
        take=named(change.take),
        refused=tuple(
            RefusedRole(
                str(each.role),
                names[each.role],
                NOT_ASSIGNABLE,
                each.obstacle.value,
                f"The role {names[each.role]} cannot be given or taken:"
                f" {WORDS[each.obstacle]}.",
            )
            for each in change.refused
        ),
        problem=None if problem is None else SyncProblem(problem.code, problem.message),
    )
