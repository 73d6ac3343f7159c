"""`/organizations`: the communities, their settings, and who is on their rosters."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs, to_builtins

from voicestatus.community.membership import Standing
from voicestatus.community.organizations import Organization, Organizations
from voicestatus.community.profiles import Profile, Profiles
from voicestatus.community.roster import Roster, RosterMember
from voicestatus.community.settings import (
    AttendanceMode,
    Name,
    Rank,
    SettingsPatch,
    Snowflake,
)
from voicestatus.core.ids import GuildId, UserId, snowflake
from voicestatus.core.presence import Presence
from voicestatus.store.documents import Change
from voicestatus.web.api.endpoint import endpoint
from voicestatus.web.api.reading import invalid
from voicestatus.web.audit import Audit, Caller
from voicestatus.web.auth.identity import Level, Scope
from voicestatus.web.permits import ASKING, Permits
from voicestatus.web.views import at

SOUGHT = ("ORGANIZATION_NOT_FOUND", *ASKING)
"""How one is refused who asks about an organization."""
WRITTEN = (*SOUGHT, "VERSION_CONFLICT")


class OrganizationView(Struct, frozen=True, rename="camel"):
    """A community, for who is in it."""

    id: str
    name: str
    discord_guild_id: Annotated[
        str | None, Meta(description="the server that it is linked to")
    ]
    guild_name: Annotated[
        str | None, Meta(description="what Discord calls that; null: not known here")
    ]
    bot_present: Annotated[bool, Meta(description="whether the bot is in it")]
    discord_overview_channel_ids: Annotated[
        tuple[str, ...],
        Meta(description="what the overview shows, in this order; none: all channels"),
    ]
    role: Annotated[
        Literal["member", "manager"], Meta(description="what who asks is there")
    ]


class OrganizationList(Struct, frozen=True, rename="camel"):
    """One's own, by name."""

    organizations: list[OrganizationView]


class NewOrganization(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A community to make."""

    name: Name
    discord_guild_id: Snowflake | None = None


class Renamed(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What a community is to be called."""

    name: Name


class Invite(Struct, frozen=True, rename="camel"):
    """An invite that the bot made and hands out again."""

    code: str
    url: str
    channel_id: str
    created_at: datetime
    expires_at: datetime


class Settings(Struct, frozen=True, rename="camel"):
    """All that is set of a community."""

    discord_guild_id: str | None
    discord_overview_channel_ids: tuple[str, ...]
    discord_invite_channel_id: str | None
    discord_announcement_channel_id: str | None
    discord_voice_channel_id: str | None
    discord_events_enabled: bool
    voice_attendance_mode: AttendanceMode
    voice_attendance_min_minutes: int
    voice_attendance_min_percent: int
    event_auto_start: bool
    event_start_delay_minutes: int
    event_auto_complete: bool
    event_complete_delay_minutes: int
    attendance_retention_days: int
    discord_rank_roles: dict[str, str]
    discord_server_invite_cache: Annotated[
        list[Invite], Meta(description="one of a channel; the server's own")
    ]


class MemberPut(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What is said of somebody; what is left out stays."""

    rank: Rank | UnsetType | None = UNSET
    manager: Annotated[
        bool | UnsetType, Meta(description="changed by admins alone")
    ] = UNSET


class MemberView(Struct, frozen=True, rename="camel"):
    """One who is on the roster."""

    user_id: str
    rank: str | None
    manager: bool


class ListedMember(MemberView, frozen=True, rename="camel"):
    """One who is on the roster, as the linked server knows them."""

    in_server: Annotated[
        bool | None, Meta(description="null: Discord does not tell at present")
    ]
    display_name: Annotated[
        str | None, Meta(description="null: not known, or not in the server")
    ]
    avatar_url: str | None


class MemberList(Struct, frozen=True, rename="camel"):
    """A roster, by id."""

    members: list[ListedMember]


class OrganizationsSubject:
    """Communities, for their people."""

    def __init__(
        self,
        organizations: Organizations,
        roster: Roster,
        profiles: Profiles,
        permits: Permits,
        presence: Presence,
        audit: Audit,
    ) -> None:
        self._organizations, self._roster = organizations, roster
        self._profiles, self._permits = profiles, permits
        self._presence, self._audit = presence, audit

    @endpoint("GET", "/organizations", level=Level.GUEST, refuses=ASKING)
    async def list_(self, caller: Caller) -> OrganizationList:
        """List the organizations that one is a member or a manager of."""
        theirs = await self._permits.theirs(caller)
        views = [self._view(each, standing) for each, standing in theirs]
        return OrganizationList(sorted(views, key=lambda view: view.name.casefold()))

    @endpoint(
        "POST",
        "/organizations",
        HTTPStatus.CREATED,
        scope=Scope.SETTINGS,
        refuses=("GUILD_NOT_FOUND", "GUILD_ALREADY_LINKED", "STORE_UNAVAILABLE"),
    )
    async def create(self, body: NewOrganization, caller: Caller) -> OrganizationView:
        """Make an organization, linked to a server or to none.

        The server's own one is without a server for as long.
        """
        given = body.discord_guild_id

        def audited(id_: str) -> tuple[Change, ...]:
            told = to_builtins(body)
            return self._audit.entry(caller, "organization.create", id_, told)

        made = await self._organizations.create(
            body.name, None if given is None else GuildId(int(given)), audited
        )
        return self._view(made, await self._permits.manager(caller, made))

    @endpoint("GET", "/organizations/<organization>", level=Level.GUEST, refuses=SOUGHT)
    async def show(self, organization: str, caller: Caller) -> OrganizationView:
        """Show one organization."""
        found = await self._organizations.get(organization)
        return self._view(found, await self._permits.member(caller, found))

    @endpoint(
        "PATCH",
        "/organizations/<organization>",
        level=Level.GUEST,
        scope=Scope.SETTINGS,
        refuses=WRITTEN,
    )
    async def rename(
        self, organization: str, body: Renamed, caller: Caller
    ) -> OrganizationView:
        """Give an organization a name."""
        found = await self._organizations.get(organization)
        standing = await self._permits.manager(caller, found)
        told = to_builtins(body)
        also = self._audit.entry(caller, "organization.rename", organization, told)
        renamed = await self._organizations.rename(organization, body.name, *also)
        return self._view(renamed, standing)

    @endpoint(
        "DELETE",
        "/organizations/<organization>",
        HTTPStatus.NO_CONTENT,
        scope=Scope.SETTINGS,
        refuses=("ORGANIZATION_NOT_FOUND", "VERSION_CONFLICT", "STORE_UNAVAILABLE"),
    )
    async def delete(self, organization: str, caller: Caller) -> None:
        """Delete an organization: its settings and its roster.

        A server's own one is there again at once, as new.
        """
        await self._organizations.delete(
            organization,
            *await self._roster.clearing(organization),
            *self._audit.entry(caller, "organization.delete", organization),
        )

    @endpoint(
        "GET",
        "/organizations/<organization>/settings",
        level=Level.GUEST,
        refuses=SOUGHT,
    )
    async def settings(self, organization: str, caller: Caller) -> Settings:
        """Show what is set of an organization."""
        found = await self._managed(organization, caller)
        return _settings_of(found)

    @endpoint(
        "PATCH",
        "/organizations/<organization>/settings",
        level=Level.GUEST,
        scope=Scope.SETTINGS,
        refuses=(
            *WRITTEN,
            "GUILD_NOT_FOUND",
            "GUILD_ALREADY_LINKED",
            "ROLE_NOT_ASSIGNABLE",
        ),
    )
    async def change_settings(
        self, organization: str, body: SettingsPatch, caller: Caller
    ) -> Settings:
        """Change what is set of an organization; null is the default again.

        Channels and roles have to be in its server. Another server takes away those
        that are not there, the roles of ranks, and the invites.
        """
        found = await self._managed(organization, caller)
        by = None
        if body.discord_rank_roles:
            by = await self._permits.hands_out_as(caller, found)
        told = to_builtins(body)
        also = self._audit.entry(caller, "organization.settings", organization, told)
        changed = await self._organizations.change_settings(
            organization, body, *also, may_relink=_is_admin(caller), by=by
        )
        return _settings_of(changed)

    @endpoint(
        "GET",
        "/organizations/<organization>/members",
        level=Level.GUEST,
        refuses=SOUGHT,
    )
    async def members(self, organization: str, caller: Caller) -> MemberList:
        """List the roster: who has a rank, and whom an admin named a manager.

        Names and avatars are those of the linked server, as far as Discord tells.
        """
        found = await self._managed(organization, caller)
        roster = await self._roster.of(organization)
        users = [member.user for member in roster]
        known = await self._profiles.of(found.guild, users)
        return MemberList([_listed(each, known[each.user]) for each in roster])

    @endpoint(
        "PUT",
        "/organizations/<organization>/members/<user>",
        level=Level.GUEST,
        scope=Scope.SETTINGS,
        refuses=(*WRITTEN, "ROLE_NOT_ASSIGNABLE"),
    )
    async def put_member(
        self, organization: str, user: str, body: MemberPut, caller: Caller
    ) -> MemberView:
        """Put a user of Discord on the roster, or change what is said there."""
        found = await self._managed(organization, caller)
        beyond: frozenset[str] = frozenset()
        if body.rank is not UNSET:
            beyond = await self._ranks_beyond(found, caller)
        member = await self._roster.put(
            organization,
            _user_id(user),
            *self._of_member(caller, "member.put", organization, user, body),
            rank=body.rank,
            manager=body.manager,
            may_name=_is_admin(caller),
            beyond=beyond,
        )
        return _member_of(member)

    @endpoint(
        "DELETE",
        "/organizations/<organization>/members/<user>",
        HTTPStatus.NO_CONTENT,
        level=Level.GUEST,
        scope=Scope.SETTINGS,
        refuses=(*WRITTEN, "MEMBER_NOT_FOUND", "ROLE_NOT_ASSIGNABLE"),
    )
    async def remove_member(self, organization: str, user: str, caller: Caller) -> None:
        """Take somebody off the roster."""
        found = await self._managed(organization, caller)
        await self._roster.remove(
            organization,
            _user_id(user),
            *self._of_member(caller, "member.remove", organization, user),
            may_name=_is_admin(caller),
            beyond=await self._ranks_beyond(found, caller),
        )

    async def _managed(self, organization: str, caller: Caller) -> Organization:
        found = await self._organizations.get(organization)
        await self._permits.manager(caller, found)
        return found

    async def _ranks_beyond(
        self, organization: Organization, caller: Caller
    ) -> frozenset[str]:
        if not organization.settings.discord_rank_roles:
            return frozenset()
        by = await self._permits.hands_out_as(caller, organization)
        return await self._organizations.ranks_beyond(organization, by)

    def _of_member(
        self,
        caller: Caller,
        action: str,
        organization: str,
        user: str,
        body: MemberPut | None = None,
    ) -> tuple[Change, ...]:
        told = {"user": user} | ({} if body is None else to_builtins(body))
        return self._audit.entry(caller, action, organization, told)

    def _view(self, of: Organization, standing: Standing) -> OrganizationView:
        guild = None if of.guild is None else self._presence.guilds.get(of.guild)
        return OrganizationView(
            of.id,
            of.name,
            _text(of.guild),
            None if guild is None else guild.name,
            guild is not None,
            tuple(map(str, of.settings.discord_overview_channel_ids)),
            "manager" if standing.manager else "member",
        )


def _settings_of(organization: Organization) -> Settings:
    settings = organization.settings
    told = structs.asdict(settings) | {
        "discord_overview_channel_ids": tuple(
            map(str, settings.discord_overview_channel_ids)
        ),
        "discord_invite_channel_id": _text(settings.discord_invite_channel_id),
        "discord_announcement_channel_id": _text(
            settings.discord_announcement_channel_id
        ),
        "discord_voice_channel_id": _text(settings.discord_voice_channel_id),
        "discord_rank_roles": {
            rank: str(role) for rank, role in settings.discord_rank_roles.items()
        },
    }
    invites = [
        Invite(
            each.code,
            each.url,
            str(each.channel),
            at(each.created_at),
            at(each.expires_at),
        )
        for each in organization.invites.values()
    ]
    return Settings(
        discord_guild_id=_text(organization.guild),
        discord_server_invite_cache=invites,
        **told,
    )


def _member_of(member: RosterMember) -> MemberView:
    return MemberView(str(member.user), member.rank, member.manager)


def _listed(member: RosterMember, profile: Profile) -> ListedMember:
    return ListedMember(
        str(member.user),
        member.rank,
        member.manager,
        profile.inside,
        profile.name,
        profile.avatar_url,
    )


def _is_admin(caller: Caller) -> bool:
    return caller.who.level >= Level.ADMIN


def _text(id_: int | None) -> str | None:
    return None if id_ is None else str(id_)


def _user_id(text: str) -> UserId:
    if (id_ := snowflake(text)) is None:
        raise invalid("userId", "userId should be that of a user of Discord")
    return UserId(id_)
