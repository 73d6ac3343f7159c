"""`/discord`: what a server offers, what the bot may there, and what goes on in it."""

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from voicestatus.community.activity import (
    CHANNELS_MOST,
    SHOWN,
    SHOWN_MOST,
    Activity,
    GuildActivity,
)
from voicestatus.community.application import OwnApplication
from voicestatus.community.guilds import GuildPicture, Guilds
from voicestatus.community.needs import needed_in
from voicestatus.community.organizations import Organizations
from voicestatus.community.settings import Snowflake
from voicestatus.core.bot_permissions import (
    NEEDED,
    REQUESTED,
    BotPermission,
    invitation,
)
from voicestatus.core.channels import WORDS
from voicestatus.core.ids import ChannelId, snowflake
from voicestatus.web.api.endpoint import endpoint
from voicestatus.web.api.reading import guild_id, invalid
from voicestatus.web.audit import Caller
from voicestatus.web.auth.identity import Level
from voicestatus.web.permits import ASKING, Permits

_REFUSES = ("GUILD_NOT_FOUND", *ASKING)


class Permission(Struct, frozen=True, rename="camel"):
    """One permission that the bot needs."""

    name: Annotated[str, Meta(examples=["Manage Roles"])]
    bit: Annotated[str, Meta(description="a decimal number", examples=["268435456"])]
    needed_for: str


class BotInvite(Struct, frozen=True, rename="camel"):
    """How the bot is let into a server."""

    url: str
    client_id: str
    permissions: Annotated[str, Meta(examples=[str(REQUESTED)])]
    required_permissions: tuple[Permission, ...]


class BotInviteQuery(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which server is meant."""

    guild_id: Snowflake | None = None


class ChannelHealth(Struct, frozen=True, rename="camel"):
    """What the bot lacks in one channel that the organization uses."""

    id: str
    name: Annotated[str | None, Meta(description="null: the bot does not see it")]
    missing: tuple[Permission, ...]


class PermissionHealth(Struct, frozen=True, rename="camel"):
    """What the bot may in a server, of all that it needs."""

    granted: tuple[Permission, ...]
    missing: tuple[Permission, ...]
    channels: Annotated[
        tuple[ChannelHealth, ...],
        Meta(description="those that the settings of the organization name"),
    ]
    reauthorize_url: Annotated[
        str, Meta(description="adds what is missing; the bot need not leave first")
    ]


class GuildChannel(Struct, frozen=True, rename="camel"):
    """A channel where people write or talk."""

    id: str
    name: str
    type: Literal["text", "announcement", "voice", "stage"]
    parent_id: str | None
    parent_name: str | None
    position: int


class GuildRole(Struct, frozen=True, rename="camel"):
    """A role; `managed` ones belong to Discord or to a bot."""

    id: str
    name: str
    color: Annotated[int, Meta(description="0: none")]
    position: int
    managed: bool
    mentionable: bool


class ActivityQuery(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Of which channels, and how much."""

    channel_ids: Annotated[
        str | None,
        Meta(description=f"up to {CHANNELS_MOST} ids with commas; none: all channels"),
    ] = None
    limit: Annotated[
        int, Meta(ge=1, le=SHOWN_MOST, description="messages a channel")
    ] = SHOWN


class GuildsSubject:
    """A server on Discord, as far as the bot sees it."""

    def __init__(
        self,
        guilds: Guilds,
        activity: Activity,
        application: OwnApplication,
        organizations: Organizations,
        permits: Permits,
    ) -> None:
        self._guilds, self._activity = guilds, activity
        self._application, self._organizations = application, organizations
        self._permits = permits

    @endpoint(
        "GET",
        "/discord/bot-invite",
        level=Level.GUEST,
        refuses=("DISCORD_ERROR", "DISCORD_UNAVAILABLE"),
    )
    async def invite(self, query: BotInviteQuery) -> BotInvite:
        """Tell where the bot is let into a server, and what it needs to be allowed.

        With `guildId` that server is chosen already.
        """
        application = await self._application.id()
        guild = None if query.guild_id is None else int(query.guild_id)
        return BotInvite(
            invitation(application, guild),
            str(application),
            str(REQUESTED),
            _permissions(NEEDED),
        )

    @endpoint(
        "GET", "/discord/<guild>/permissions", level=Level.GUEST, refuses=_REFUSES
    )
    async def permissions(self, guild: str, caller: Caller) -> PermissionHealth:
        """Tell what the bot may in a server, and what it lacks; for managers.

        In a channel other permissions may hold than in the server as a whole: those
        that the organization uses are told one by one.
        """
        id_ = guild_id(guild)
        await self._permits.manager(caller, id_)
        picture = await self._guilds.picture(id_)
        return PermissionHealth(
            _permissions(each for each in NEEDED if picture.may(each.bit)),
            _permissions(picture.missing()),
            await self._channels_in_use(picture),
            invitation(await self._application.id(), id_),
        )

    @endpoint("GET", "/discord/<guild>/channels", level=Level.GUEST, refuses=_REFUSES)
    async def channels(self, guild: str, caller: Caller) -> list[GuildChannel]:
        """List the channels where people write or talk, as they see them; for managers.

        What the bot cannot see is left out.
        """
        id_ = guild_id(guild)
        await self._permits.manager(caller, id_)
        picture = await self._guilds.picture(id_)
        seen = picture.visible_to(picture.own)
        return [
            GuildChannel(
                str(each.id),
                each.name,
                WORDS[each.kind],
                None if each.parent is None else str(each.parent),
                _parent_name(picture, each.parent),
                each.position,
            )
            for each in picture.channels
            if each.kind in WORDS and each.id in seen
        ]

    @endpoint("GET", "/discord/<guild>/roles", level=Level.GUEST, refuses=_REFUSES)
    async def roles(self, guild: str, caller: Caller) -> list[GuildRole]:
        """List the roles, the highest first, without @everyone; for managers."""
        id_ = guild_id(guild)
        await self._permits.manager(caller, id_)
        picture = await self._guilds.picture(id_)
        return [
            GuildRole(
                str(role.id),
                role.name,
                role.colour,
                role.position,
                role.managed,
                role.mentionable,
            )
            for role in picture.roles
            if role.id != picture.id
        ]

    @endpoint("GET", "/discord/<guild>/activity", level=Level.GUEST, refuses=_REFUSES)
    async def activity(
        self, guild: str, query: ActivityQuery, caller: Caller
    ) -> GuildActivity:
        """Tell what was written last and who is in voice; for members.

        Only of channels that one may see. Without `channelIds` it is all of them, but
        of texts only those that were written in last; the others are `NOT_ASKED`.
        """
        id_ = guild_id(guild)
        channels = None if query.channel_ids is None else _channels(query.channel_ids)
        sees = await self._permits.sees(caller, id_)
        return await self._activity.of(id_, channels, sees, query.limit)

    async def _channels_in_use(
        self, picture: GuildPicture
    ) -> tuple[ChannelHealth, ...]:
        organization = await self._organizations.of_guild(picture.id)
        if organization is None:
            return ()
        needs = needed_in(organization.settings, picture)
        return tuple(
            ChannelHealth(
                str(id_),
                None if (channel := picture.channel(id_)) is None else channel.name,
                _permissions(picture.missing(bits, id_)),
            )
            for id_, bits in needs.items()
        )


def _channels(text: str) -> tuple[ChannelId, ...]:
    """Read ids with commas between them, each once."""
    ids: dict[ChannelId, None] = {}
    for part in text.split(","):
        if (id_ := snowflake(part.strip())) is None:
            raise invalid("channelIds", "channelIds should be ids with commas")
        ids[ChannelId(id_)] = None
    if len(ids) > CHANNELS_MOST:
        raise invalid("channelIds", f"channelIds are {CHANNELS_MOST} at most")
    return tuple(ids)


def _parent_name(picture: GuildPicture, parent: ChannelId | None) -> str | None:
    category = picture.channel(parent)
    return None if category is None or category.hidden else category.name


def _permissions(needed: Iterable[BotPermission]) -> tuple[Permission, ...]:
    return tuple(
        Permission(each.name, str(each.bit), each.needed_for) for each in needed
    )
