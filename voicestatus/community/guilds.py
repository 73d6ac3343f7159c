"""What the bot sees of each guild: its channels, roles, and who may do what there."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime

from voicestatus.community.kept import Kept
from voicestatus.community.refusals import (
    SAID_NO,
    bot_not_in_server,
    not_told_of,
    said_no,
)
from voicestatus.core import channels
from voicestatus.core.bot_permissions import REQUESTED, BotPermission, missing_in
from voicestatus.core.errors import Refusal
from voicestatus.core.guild import Guild as TrackedGuild
from voicestatus.core.ids import ChannelId, GuildId, RoleId, UserId
from voicestatus.core.permissions import (
    VIEW_CHANNEL,
    Holder,
    base_of,
    in_channel,
    in_guild,
)
from voicestatus.core.presence import Change, GuildChanged, GuildGone
from voicestatus.core.ranks import Hierarchy, Obstacle, height, top_of
from voicestatus.discord.rest.errors import MissingAccess, UnknownMember
from voicestatus.discord.rest.wire import Channel, Guild, Member, OwnUser, Role
from voicestatus.hub import Hub

KEPT_S: Final = 30.0
FAILURE_KEPT_S: Final = 5.0
"""Discord bans who asks in vain too often."""


class Rest(Protocol):
    """What is asked of Discord; see `discord.rest.client`."""

    async def own_user(self) -> OwnUser: ...
    async def guild(self, guild: GuildId) -> Guild: ...
    async def channels(self, guild: GuildId) -> tuple[Channel, ...]: ...
    async def member(self, guild: GuildId, user: UserId) -> Member: ...


@dataclass(frozen=True, slots=True)
class GuildPicture:
    """One guild as Discord shows it to the bot."""

    id: GuildId
    name: str
    owner: UserId
    roles: tuple[Role, ...]
    """The highest first; @everyone, whose id is the guild's, is the last."""
    channels: tuple[Channel, ...]
    """As people see them; categories come last. Discord leaves out what is hidden."""
    system_channel: ChannelId | None
    own: Holder
    """The bot."""
    _permissions: Mapping[int, int] = field(repr=False)
    _by_id: Mapping[ChannelId, Channel] = field(repr=False)

    @classmethod
    def of(
        cls, guild: Guild, channels_: tuple[Channel, ...], own: Holder
    ) -> "GuildPicture":
        """Put together what Discord said."""
        ordered = channels.in_order(channels_)
        categories = [each for each in channels_ if each.kind == channels.CATEGORY]
        return cls(
            guild.id,
            guild.name,
            guild.owner,
            tuple(sorted(guild.roles, key=height, reverse=True)),
            (*ordered, *categories),
            guild.system_channel,
            own,
            MappingProxyType({role.id: role.permissions for role in guild.roles}),
            MappingProxyType({each.id: each for each in channels_}),
        )

    def channel(self, id_: ChannelId | None) -> Channel | None:
        """Return one channel; None: the bot sees none of that id."""
        return None if id_ is None else self._by_id.get(id_)

    def role(self, id_: int) -> Role | None:
        """Return one role; None: there is none of that id."""
        return next((role for role in self.roles if role.id == id_), None)

    def held(
        self, channel: ChannelId | None = None, holder: Holder | None = None
    ) -> int:
        """Return all that somebody may, in one channel or in the guild as a whole.

        Without a `holder` it is the bot; in a channel that is not there it is nothing.
        """
        holder = holder or self.own
        if channel is None:
            return in_guild(self.id, self.owner, self._permissions, holder)
        there = self._by_id.get(channel)
        return 0 if there is None else self._inside(there, self._base(holder), holder)

    def may(
        self,
        bits: int,
        channel: ChannelId | None = None,
        holder: Holder | None = None,
    ) -> bool:
        """Whether somebody may do all of that; see `held`."""
        return not bits & ~self.held(channel, holder)

    def missing(
        self, bits: int = REQUESTED, channel: ChannelId | None = None
    ) -> tuple[BotPermission, ...]:
        """Return what of it the bot may not."""
        return missing_in(self.held(channel), bits)

    def visible_to(self, holder: Holder, in_texts: int = 0) -> frozenset[ChannelId]:
        """Return the channels that somebody sees, as far as the bot can tell.

        Of those where people write, the ones where they may `in_texts`, too.
        """
        base = self._base(holder)
        return frozenset(
            each.id
            for each in self.channels
            if not (VIEW_CHANNEL | (0 if each.voice else in_texts))
            & ~self._inside(each, base, holder)
        )

    def is_beyond(self, role: int, holder: Holder) -> bool:
        """Whether a role is more than somebody has.

        It is when it is higher than all of theirs, or lets them do, anywhere, what they
        may not. The owner has everything.
        """
        if holder.user == self.owner or role in holder.roles:
            return False
        known = self.role(role)
        if known is not None and height(known) > top_of(self.roles, holder.roles):
            return True
        now = Holder(holder.user, holder.roles)
        then = Holder(holder.user, {*holder.roles, role})
        its_own = (
            each.id
            for each in self.channels
            if any(overwrite.target == role for overwrite in each.overwrites)
        )
        places = (None, *its_own)
        return any(self.held(at, then) & ~self.held(at, now) for at in places)

    def hierarchy(
        self, roles: Iterable[RoleId] = (), by: Holder | None = None
    ) -> Hierarchy:
        """Return what stands in the way of handing out roles.

        Of `roles`, those are barred that are beyond `by`; None: who may all.
        """
        hierarchy = Hierarchy(self.id, self.roles, self.own.roles)
        for role in roles:
            if by is not None and self.is_beyond(role, by):
                hierarchy.bar(role, Obstacle.BEYOND)
        return hierarchy

    def _base(self, holder: Holder) -> int:
        return base_of(self.id, self.owner, self._permissions, holder)

    def _inside(self, channel: Channel, base: int, holder: Holder) -> int:
        return in_channel(
            base,
            self.id,
            channel.overwrites,
            holder,
            voice=channel.voice,
            hidden=channel.hidden,
        )


class Guilds:
    """The guilds that are tracked, and a picture of each, kept for a short while."""

    def __init__(
        self, hub: Hub, rest: Rest, clock: IReactorTime, wall: Callable[[], float]
    ) -> None:
        """Take a clock of Unix seconds, too."""
        self._presence, self._rest, self._wall = hub.presence, rest, wall
        self._pictures: Kept[GuildId, GuildPicture | Exception] = Kept(
            self._look, _keep_s, clock
        )
        hub.subscribe(self._hear)

    def tracked(self, guild: GuildId) -> TrackedGuild:
        """Return what is known of a guild by heart.

        :raises Refusal: `GUILD_NOT_FOUND`.
        """
        known = self._presence.guilds.get(guild)
        if known is None:
            raise Refusal("GUILD_NOT_FOUND", "There is no such Discord server here.")
        return known

    def is_in_voice(self, guild: GuildId, user: UserId) -> bool:
        known = self._presence.guilds.get(guild)
        return known is not None and user in known.voices

    def absence(self) -> Refusal:
        """Make the refusal of a guild that is not tracked, and should be."""
        return bot_not_in_server() if self._presence.heard else not_told_of()

    async def picture(self, guild: GuildId) -> GuildPicture:
        """Return what Discord shows of a guild, at most `KEPT_S` old.

        :raises Refusal: `BOT_NOT_IN_SERVER`, or as `said_no` says.
        """
        if self._presence.heard and guild not in self._presence.guilds:
            raise bot_not_in_server()  # which Discord need not be asked for
        seen = await self._pictures.get(guild)
        if isinstance(seen, GuildPicture):
            return seen
        if isinstance(seen, MissingAccess | UnknownMember):
            raise bot_not_in_server() from seen
        raise said_no(seen) from seen

    def holder(self, member: Member) -> Holder:
        """Return whose permissions somebody has, as of now."""
        until = member.timed_out_until
        timed_out = until is not None and until.timestamp() > self._wall()
        return Holder(member.user.id, frozenset(member.roles), timed_out)

    def forget(self, guild: GuildId) -> None:
        """Look anew the next time."""
        self._pictures.forget(guild)

    def close(self) -> None:
        """Give up what is being asked; call it from `stopService`."""
        self._pictures.close()

    def _hear(self, change: Change) -> None:
        if isinstance(change, GuildChanged | GuildGone):
            self.forget(change.guild)

    async def _look(self, id_: GuildId) -> GuildPicture | Exception:
        try:
            return await self._ask(id_)
        except SAID_NO as e:
            return e

    async def _ask(self, id_: GuildId) -> GuildPicture:
        me = self._presence.me or (await self._rest.own_user()).id
        guild = await self._rest.guild(id_)
        seen = await self._rest.channels(id_)
        own = self.holder(await self._rest.member(id_, me))
        return GuildPicture.of(guild, seen, own)


def _keep_s(seen: GuildPicture | Exception) -> float:
    return KEPT_S if isinstance(seen, GuildPicture) else FAILURE_KEPT_S
