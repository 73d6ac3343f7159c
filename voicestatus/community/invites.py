"""Who is in a linked server already, and how the others get in."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime

from voicestatus.community.guilds import GuildPicture, Guilds
from voicestatus.community.kept import Kept
from voicestatus.community.membership import Membership
from voicestatus.community.organizations import (
    CachedInvite,
    Organization,
    Organizations,
)
from voicestatus.community.reauthorizing import Reauthorizing
from voicestatus.community.refusals import SAID_NO, not_told_of, said_no
from voicestatus.core.errors import Refusal
from voicestatus.core.guild_news import GuildNews, InviteDeleted
from voicestatus.core.ids import ChannelId, GuildId, UserId
from voicestatus.core.invites import (
    LOOKED_UP_EVERY_S,
    MAX_AGE_S,
    Places,
    Wishes,
    destination,
    is_fresh,
)
from voicestatus.core.permissions import CONNECT, CREATE_INSTANT_INVITE, VIEW_CHANNEL
from voicestatus.discord.rest.errors import (
    MissingAccess,
    MissingPermissions,
    UnknownChannel,
    UnknownInvite,
)
from voicestatus.discord.rest.invites import Invite
from voicestatus.tasks import Tasks

WHY: Final = "A member of the organization asked for an invite"
"""What the server's audit log says."""


class Rest(Protocol):
    """What is asked of Discord; see `discord.rest.client`."""

    async def create_invite(
        self,
        channel: ChannelId,
        *,
        max_age_s: int,
        max_uses: int,
        unique: bool,
        reason: str | None,
    ) -> Invite: ...

    async def invite(self, code: str) -> Invite: ...


class Unsure(Enum):
    """Why nobody can say whether somebody is in the linked server."""

    NOT_LINKED = "DISCORD_NOT_LINKED"
    NO_SERVER = "NO_LINKED_SERVER"
    NO_BOT = "BOT_NOT_IN_SERVER"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class HandedOut:
    """An invite, and whether it was made before."""

    invite: CachedInvite
    cached: bool


class Invites(Service):
    """Makes invites, and hands out those that are made as long as they are good.

    An organization's callers share what is under way for one of them.
    """

    def __init__(
        self,
        rest: Rest,
        guilds: Guilds,
        organizations: Organizations,
        membership: Membership,
        reauthorizing: Reauthorizing,
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        """Take a `rest` that is patient for seconds, not minutes: people wait."""
        self._rest, self._guilds, self._wall = rest, guilds, wall
        self._organizations, self._membership = organizations, membership
        self._reauthorizing = reauthorizing
        self._tasks = Tasks()
        self._handing_out: Kept[str, HandedOut] = Kept(
            self._hand_out, lambda _: 0.0, clock
        )
        self._standing: Kept[str, bool] = Kept(
            self._look_up, lambda stands: LOOKED_UP_EVERY_S if stands else 0.0, clock
        )

    def stopService(self) -> None:
        super().stopService()
        self._tasks.cancel()
        self._handing_out.close()
        self._standing.close()

    async def inside(
        self, organization: Organization, user: UserId | None
    ) -> bool | Unsure:
        """Tell whether somebody is in the linked server, or why nobody can say."""
        if user is None:
            return Unsure.NOT_LINKED
        if organization.guild is None:
            return Unsure.NO_SERVER
        try:
            guild = self._guild_of(organization)
            member = await self._membership.inside(guild, user)
        except Refusal as e:
            return Unsure.NO_BOT if e.code == Unsure.NO_BOT.value else Unsure.UNKNOWN
        return member is not None

    async def invite(self, organization: Organization, user: UserId) -> HandedOut:
        """Return an invite for a member of the organization.

        :raises Refusal: `NO_LINKED_DISCORD_SERVER`, `BOT_NOT_IN_SERVER`,
            `ALREADY_IN_DISCORD_SERVER`, `NO_INVITE_CHANNEL`, `MISSING_PERMISSION`,
            `INVITE_LIMIT`, `DISCORD_UNAVAILABLE`, `DISCORD_ERROR`.
        """
        guild = self._guild_of(organization)
        if await self._membership.inside(guild, user) is not None:
            raise Refusal(
                "ALREADY_IN_DISCORD_SERVER", "You are in this Discord server already."
            )
        return await self._handing_out.get(organization.id)

    def hear(self, news: GuildNews) -> None:
        """Take in what Discord tells of a guild."""
        if isinstance(news, InviteDeleted):
            self._standing.forget(news.code)
            self._tasks.spawn("forgetting an invite", self._forget(news))

    # ---- handing out ---------------------------------------------------------------

    async def _hand_out(self, id_: str) -> HandedOut:
        gone: ChannelId | None = None
        while True:
            organization = await self._organizations.get(id_)
            picture = await self._guilds.picture(self._guild_of(organization))
            channel = self._destination(organization, picture, gone)
            try:
                return await self._invite_to(channel, organization, picture)
            except UnknownChannel as e:  # deleted meanwhile
                if gone is not None:
                    raise said_no(e) from e
                gone = channel
                self._guilds.forget(picture.id)
                await self._organizations.forget_invites(id_, channel)

    def _guild_of(self, organization: Organization) -> GuildId:
        if organization.guild is None:
            raise Refusal(
                "NO_LINKED_DISCORD_SERVER",
                "This organization is linked to no Discord server.",
            )
        if not self._organizations.bot_present(organization):
            raise self._guilds.absence()
        return organization.guild

    def _destination(
        self, organization: Organization, picture: GuildPicture, gone: ChannelId | None
    ) -> ChannelId:
        settings = organization.settings
        wishes = Wishes(
            settings.discord_invite_channel_id,
            settings.discord_overview_channel_ids,
            settings.discord_announcement_channel_id,
        )
        # The tracked guild knows of what was deleted just now, and of what is hidden.
        tracked = self._guilds.tracked(picture.id)
        if not tracked.pictured:
            raise not_told_of()
        there = tracked.channels.values()
        places = Places(
            tuple(each for each in there if each.id != gone),
            picture.system_channel,
            lambda channel: picture.may(CREATE_INSTANT_INVITE, channel),
        )
        channel = destination(wishes, places)
        if channel is None:
            raise Refusal(
                "NO_INVITE_CHANNEL",
                "There is no channel to which the bot may invite; choose one.",
            )
        return channel

    async def _invite_to(
        self, channel: ChannelId, organization: Organization, picture: GuildPicture
    ) -> HandedOut:
        kept = organization.invites.get(channel)
        if kept is not None and is_fresh(kept.expires_at, self._wall()):
            if await self._standing.get(kept.code):
                return HandedOut(kept, cached=True)
            await self._organizations.forget_invites(organization.id, channel)
        made = await self._make(channel, picture)
        await self._organizations.keep_invite(organization.id, made)
        return HandedOut(made, cached=False)

    async def _look_up(self, code: str) -> bool:
        try:
            await self._rest.invite(code)
        except UnknownInvite:
            return False
        except SAID_NO as e:
            raise said_no(e) from e
        return True

    async def _make(self, channel: ChannelId, picture: GuildPicture) -> CachedInvite:
        """:raises UnknownChannel: when it is not there any more."""
        there = picture.channel(channel)
        needed = VIEW_CHANNEL | CREATE_INSTANT_INVITE
        if there is not None and there.voice:
            needed |= CONNECT  # without it nothing else is granted there
        lacking = needed & ~picture.held(channel)
        if lacking:
            raise await self._lacks(picture, channel, lacking)
        try:
            made = await self._rest.create_invite(
                channel, max_age_s=MAX_AGE_S, max_uses=0, unique=False, reason=WHY
            )
        except UnknownChannel:
            raise
        except MissingAccess as e:
            raise await self._lacks(picture, channel, VIEW_CHANNEL) from e
        except MissingPermissions as e:
            raise await self._lacks(picture, channel, CREATE_INSTANT_INVITE) from e
        except SAID_NO as e:
            raise said_no(e) from e
        now = self._wall()
        ends = now + MAX_AGE_S if (at := made.expires_at) is None else at.timestamp()
        return CachedInvite(made.code, made.url, channel, now, ends)

    async def _lacks(
        self, picture: GuildPicture, channel: ChannelId, bits: int
    ) -> Refusal:
        self._guilds.forget(picture.id)  # it may be granted before the next try
        return await self._reauthorizing.refusal(picture.id, bits, channel)

    # ---- what is told --------------------------------------------------------------

    async def _forget(self, news: InviteDeleted) -> None:
        organization = await self._organizations.of_guild(news.guild)
        if organization is None:
            return
        kept = organization.invites.get(news.channel)
        if kept is not None and kept.code == news.code:
            await self._organizations.forget_invites(organization.id, news.channel)
