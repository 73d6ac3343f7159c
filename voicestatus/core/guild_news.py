"""What Discord tells of a guild besides who is in voice. Pure."""

from dataclasses import dataclass

from voicestatus.core.ids import ChannelId, GuildId, UserId


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """GUILD_MEMBER_ADD: told with the feature `members` alone; perhaps repeatedly."""

    guild: GuildId
    user: UserId


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """GUILD_MEMBER_REMOVE or GUILD_BAN_ADD: left, kicked or banned; perhaps both.

    Told with the feature `members`, as the joining is.
    """

    guild: GuildId
    user: UserId


@dataclass(frozen=True, slots=True)
class InviteDeleted:
    """INVITE_DELETE: told where the bot has Manage Channels; not when one expires."""

    guild: GuildId
    channel: ChannelId
    code: str


GuildNews = MemberJoined | MemberLeft | InviteDeleted
