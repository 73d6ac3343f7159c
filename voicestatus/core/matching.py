"""Who counts for a rule, and for which reason somebody does not. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from voicestatus.core.guild import Guild, Voice
from voicestatus.core.ids import ChannelId, GuildId, RoleId, UserId
from voicestatus.core.rules import Rule


@dataclass(frozen=True, slots=True)
class Counting:
    """Who counts besides the people in a guild's ordinary voice channels."""

    bots: bool = False
    afk: bool = False


@dataclass(frozen=True, slots=True)
class Who:
    """Who counts: kinds are ANDed, what stands within one is ORed; empty is anybody."""

    guilds: frozenset[GuildId]
    channels: frozenset[ChannelId]
    categories: frozenset[ChannelId]
    users: frozenset[UserId]
    roles: frozenset[RoleId]
    streaming: bool
    bots: bool
    afk: bool
    untold: bool
    """A condition that nothing tells us about: who speaks, whether an event runs."""

    @property
    def places(self) -> frozenset[ChannelId]:
        """Channels that say which guilds are looked into, where no guild is named."""
        return frozenset() if self.guilds else self.channels or self.categories

    @property
    def keys(self) -> frozenset[int]:
        """Ids one of which is with everybody who counts: those of the rarest kind."""
        return (
            self.users or self.channels or self.roles or self.categories or self.guilds
        )


def who_counts(rule: Rule, default: Counting) -> Who:
    """Resolve what the rule leaves to the server's settings."""
    return Who(
        rule.guilds,
        rule.channels,
        rule.categories,
        rule.users,
        rule.roles,
        rule.streaming,
        default.bots if rule.count_bots is None else rule.count_bots,
        default.afk if rule.count_afk is None else rule.count_afk,
        untold=rule.speaking or rule.event,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """What of a guild, besides its people, says who counts."""

    guild: GuildId
    me: UserId | None
    afk: ChannelId | None
    parents: Mapping[ChannelId, ChannelId | None]


def place_of(guild: Guild, me: UserId | None) -> Place:
    parents = {channel.id: channel.parent for channel in guild.channels.values()}
    return Place(guild.id, me, guild.afk_channel, MappingProxyType(parents))


def excluded(who: Who, voice: Voice, place: Place) -> str | None:
    """Return the first reason for which somebody does not count; None: counts."""
    if who.guilds and place.guild not in who.guilds:
        return "guild"
    if who.channels and not _is_at(voice.channel, who.channels, place):
        return "channel"
    parent = place.parents.get(voice.channel)
    if who.categories and not _is_at(parent, who.categories, place):
        return "category"
    # A rule that names the AFK channel means it.
    if voice.channel == place.afk and not (who.afk or who.channels):
        return "afk"
    if voice.bot and not who.bots:
        return "bot"
    if voice.user == place.me:
        return "self"
    if who.users and voice.user not in who.users:
        return "user"
    # All have the role whose id is the guild's, and no payload names it.
    if (
        who.roles
        and who.roles.isdisjoint(voice.roles)
        and RoleId(place.guild) not in who.roles
    ):
        return "role"
    if who.streaming and not voice.streaming:
        return "notStreaming"
    return None


def _is_at(
    channel: ChannelId | None, wanted: frozenset[ChannelId], place: Place
) -> bool:
    """Whether it is one of them, and one that the guild has told of."""
    return channel in wanted and channel in place.parents
