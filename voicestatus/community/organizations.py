"""The communities: one for each server of the bot, and those that an admin made."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from voicestatus.community.guilds import Guilds
from voicestatus.community.refusals import not_told_of
from voicestatus.community.settings import (
    OrganizationSettings,
    SettingsPatch,
    check_roles,
    moved,
    patched,
)
from voicestatus.core.errors import Refusal
from voicestatus.core.guild import Channel
from voicestatus.core.ids import ChannelId, GuildId, snowflake
from voicestatus.core.permissions import Holder
from voicestatus.hub import Hub
from voicestatus.store.documents import Change, Documents, VersionConflict
from voicestatus.store.typed import Stored, Typed

ORGANIZATIONS, LINKS = "organization", "organization-link"
"""Kinds in the store. A link's id is its server's: so it can be one organization's."""
TRIES: Final = 5


class CachedInvite(Struct, frozen=True):
    """An invite that the bot made. Times are Unix seconds."""

    code: str
    url: str
    channel: ChannelId
    created_at: float
    expires_at: float


class Record(Struct, frozen=True, omit_defaults=True):
    """What is stored of an organization."""

    name: str = ""
    """Empty: as its server is called."""
    guild: GuildId | UnsetType | None = UNSET
    """UNSET: the server whose own it is, unless another organization has that."""
    settings: OrganizationSettings = OrganizationSettings()
    invites: dict[ChannelId, CachedInvite] = {}


class Link(Struct, frozen=True):
    """Which organization a server was linked to by an admin."""

    organization: str


@dataclass(frozen=True, slots=True)
class Organization:
    """One community."""

    id: str
    name: str
    guild: GuildId | None
    """The server that it is linked to."""
    settings: OrganizationSettings
    invites: Mapping[ChannelId, CachedInvite]
    version: int | None
    """None: nothing was written of it yet."""


Revise = Callable[[Organization, Record], Awaitable[Record]]


class Organizations:
    """Keeps them in the store alone: all nodes see the same.

    A server is linked to one organization at most. Its own one, whose id is the
    server's, has it unless an admin linked it to another one.
    """

    def __init__(
        self,
        documents: Documents,
        hub: Hub,
        guilds: Guilds,
        wall: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """Take a clock of Unix seconds, and a source of short ids."""
        self._documents, self._presence, self._guilds = documents, hub.presence, guilds
        self._records = Typed(documents, ORGANIZATIONS, Record)
        self._links = Typed(documents, LINKS, Link)
        self._wall, self._new_id = wall, new_id

    # ---- reading -------------------------------------------------------------------

    async def list(self) -> list[Organization]:
        """Return all, by id."""
        records = {stored.id: stored for stored in await self._records.list()}
        links = {link.id: link.value for link in await self._links.list()}
        ids = {*records, *map(str, self._presence.guilds)}
        return [
            self._organization(id_, records.get(id_), links.get(id_))
            for id_ in sorted(ids)
        ]

    async def get(self, id_: str) -> Organization:
        """:raises Refusal: `ORGANIZATION_NOT_FOUND`."""
        organization, _ = await self._find(id_)
        return organization

    async def of_guild(self, guild: GuildId) -> Organization | None:
        """Return the one that is linked to it; an admin may have unlinked its own."""
        link = await self._links.get(str(guild))
        try:
            found = await self.get(
                str(guild) if link is None else link.value.organization
            )
        except Refusal:
            return None
        return found if found.guild == guild else None

    def bot_present(self, organization: Organization) -> bool:
        """Whether the bot is in its server, as far as is known."""
        return organization.guild in self._presence.guilds

    # ---- writing -------------------------------------------------------------------

    async def create(
        self, name: str, guild: GuildId | None, also: Callable[[str], Iterable[Change]]
    ) -> Organization:
        """Make one; `also` makes of its id what is written with it.

        :raises Refusal: `GUILD_NOT_FOUND`, `GUILD_ALREADY_LINKED`.
        """
        if guild is not None:
            self._channels(guild)
        id_, record = f"o{self._new_id()}", Record(name, guild)
        await self._write(id_, None, Record(guild=None), record, tuple(also(id_)))
        return await self.get(id_)

    async def rename(self, id_: str, name: str, *also: Change) -> Organization:
        """Give it a name.

        :raises Refusal: `ORGANIZATION_NOT_FOUND`.
        """

        async def renamed(_: Organization, record: Record) -> Record:
            return msgspec.structs.replace(record, name=name)

        return await self._change(id_, renamed, also)

    async def change_settings(
        self,
        id_: str,
        patch: SettingsPatch,
        *also: Change,
        may_relink: bool = False,
        by: Holder | None = None,
    ) -> Organization:
        """Change what the patch names; another server first, then what has to be there.

        Ranks get no role that is beyond `by`; None: who may all.

        :raises Refusal: `VALIDATION_FAILED`, `ROLE_NOT_ASSIGNABLE`, `FORBIDDEN` where
            it may not be relinked, `GUILD_NOT_FOUND`, `GUILD_ALREADY_LINKED`,
            `ORGANIZATION_NOT_FOUND`, and what comes of asking Discord.
        """

        async def changed(now: Organization, record: Record) -> Record:
            guild = now.guild
            if patch.guild is not UNSET and patch.guild != guild:
                if not may_relink:
                    raise _not_yours()
                guild = patch.guild
                record = self._relinked(id_, record, guild)
            return await self._patched(record, guild, patch, by)

        return await self._change(id_, changed, also)

    async def keep_invite(self, id_: str, invite: CachedInvite) -> Organization:
        """Keep an invite to hand it out again; it replaces that of the same channel.

        One of a server that is not linked any more is not kept, nor one that is over.

        :raises Refusal: `ORGANIZATION_NOT_FOUND`.
        """

        async def with_it(now: Organization, record: Record) -> Record:
            kept = {**record.invites, invite.channel: invite}
            here = {} if now.guild is None else self._channels(now.guild)
            kept = {
                channel: one
                for channel, one in kept.items()
                if channel in here and one.expires_at > self._wall()
            }
            return msgspec.structs.replace(record, invites=kept)

        return await self._change(id_, with_it, ())

    async def forget_invites(
        self, id_: str, channel: ChannelId | None = None
    ) -> Organization:
        """Forget the invite to one channel, or all.

        :raises Refusal: `ORGANIZATION_NOT_FOUND`.
        """

        async def without(_: Organization, record: Record) -> Record:
            others = {c: one for c, one in record.invites.items() if c != channel}
            left = {} if channel is None else others
            return msgspec.structs.replace(record, invites=left)

        return await self._change(id_, without, ())

    async def delete(self, id_: str, *also: Change) -> None:
        """Forget all that is kept of it; a server's own one is as new then.

        :raises Refusal: `ORGANIZATION_NOT_FOUND`.
        """
        for _ in range(TRIES):
            now, record = await self._find(id_)
            changes = self._records.deleting(id_, expected=now.version), *also
            try:
                await self._documents.write(*self._relinking(id_, record), *changes)
            except VersionConflict:
                continue
            return
        raise _contended()

    def _relinked(self, id_: str, record: Record, guild: GuildId | None) -> Record:
        link = UNSET if str(guild) == id_ else guild
        if link is UNSET and record.guild is UNSET:
            raise _already_linked()  # it would be its own, and another one has that
        there = {} if guild is None else self._channels(guild)
        return Record(record.name, link, moved(record.settings, there))

    async def ranks_beyond(
        self, organization: Organization, by: Holder | None
    ) -> frozenset[str]:
        """Return the ranks whose roles somebody may not hand out; None: who may all.

        :raises Refusal: what comes of asking Discord.
        """
        roles = organization.settings.discord_rank_roles
        if by is None or organization.guild is None or not roles:
            return frozenset()
        picture = await self._guilds.picture(organization.guild)
        return frozenset(
            rank for rank, role in roles.items() if picture.is_beyond(role, by)
        )

    async def _patched(
        self,
        record: Record,
        guild: GuildId | None,
        patch: SettingsPatch,
        by: Holder | None,
    ) -> Record:
        channels = None
        if patch.names_places and guild is not None:
            channels = self._channels(guild)
        before, after = record.settings, patched(record.settings, patch, channels)
        if patch.discord_rank_roles and guild is not None:
            picture = await self._guilds.picture(guild)
            pairs = after.discord_rank_roles.items()
            new = [role for _, role in pairs - before.discord_rank_roles.items()]
            check_roles(after.discord_rank_roles, picture.hierarchy(new, by))
        moves = before.discord_invite_channel_id != after.discord_invite_channel_id
        invites = {} if moves else record.invites
        return Record(record.name, record.guild, after, invites)

    # ---- the store -----------------------------------------------------------------

    async def _find(self, id_: str) -> tuple[Organization, Record]:
        stored = await self._records.get(id_)
        if stored is None and not self._is_own(id_):
            raise Refusal("ORGANIZATION_NOT_FOUND", "There is no such organization.")
        link = await self._links.get(id_)
        found = self._organization(id_, stored, None if link is None else link.value)
        return found, Record() if stored is None else stored.value

    def _organization(
        self, id_: str, stored: Stored[Record] | None, link: Link | None
    ) -> Organization:
        """Put together what is stored of it, and who else has the server of its id."""
        record = Record() if stored is None else stored.value
        guild = record.guild
        if guild is UNSET:
            guild = GuildId(int(id_)) if link is None else None
        return Organization(
            id_,
            record.name or self._guild_name(id_),
            guild,
            record.settings if guild is not None else moved(record.settings, ()),
            record.invites if guild is not None else {},
            None if stored is None else stored.version,
        )

    async def _change(
        self, id_: str, revise: Revise, also: tuple[Change, ...]
    ) -> Organization:
        for _ in range(TRIES):
            now, record = await self._find(id_)
            revised = await revise(now, record)
            if revised == record:
                return now
            try:
                await self._write(id_, now.version, record, revised, also)
            except VersionConflict:
                continue
            return await self.get(id_)
        raise _contended()

    async def _write(
        self,
        id_: str,
        version: int | None,
        before: Record,
        record: Record,
        also: tuple[Change, ...],
    ) -> None:
        links: tuple[Change, ...] = ()
        if record.guild != before.guild:
            links = self._relinking(id_, before, record)
        try:
            await self._documents.write(
                self._records.putting(id_, record, expected=version), *links, *also
            )
        except VersionConflict as e:
            if e.kind == LINKS:
                raise _already_linked() from e
            raise

    def _relinking(
        self, id_: str, before: Record, after: Record | None = None
    ) -> tuple[Change, ...]:
        """Take the link away, and make the other; fails when another one has that."""
        changes: list[Change] = []
        if isinstance(before.guild, int):
            changes.append(self._links.deleting(str(before.guild)))
        if after is not None and isinstance(after.guild, int):
            link = Link(id_)
            changes.append(self._links.putting(str(after.guild), link, expected=None))
        elif after is not None and after.guild is UNSET:
            changes.append(self._links.deleting(id_, expected=None))
        return tuple(changes)

    # ---- servers -------------------------------------------------------------------

    def _is_own(self, id_: str) -> bool:
        guild = _guild_id(id_)
        return guild is not None and guild in self._presence.guilds

    def _guild_name(self, id_: str) -> str:
        guild = self._presence.guilds.get(_guild_id(id_) or GuildId(0))
        return id_ if guild is None else guild.name or id_

    def _channels(self, id_: GuildId) -> Mapping[ChannelId, Channel]:
        guild = self._guilds.tracked(id_)
        if not guild.pictured:
            raise not_told_of()
        return guild.channels


def _guild_id(text: str) -> GuildId | None:
    id_ = snowflake(text)
    return None if id_ is None else GuildId(id_)


def _not_yours() -> Refusal:
    return Refusal(
        "FORBIDDEN", "Only an admin may link another server.", key="discordGuildId"
    )


def _already_linked() -> Refusal:
    return Refusal(
        "GUILD_ALREADY_LINKED",
        "The server is linked to another organization already.",
        key="discordGuildId",
    )


def _contended() -> Refusal:
    return Refusal("VERSION_CONFLICT", "Others write this all the time; try again.")
