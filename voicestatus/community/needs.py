"""What the bot has to be allowed in the channels that an organization uses. Pure."""

from voicestatus.community.guilds import GuildPicture
from voicestatus.community.settings import OrganizationSettings
from voicestatus.core.ids import ChannelId
from voicestatus.core.permissions import (
    CONNECT,
    CREATE_EVENTS,
    CREATE_INSTANT_INVITE,
    EMBED_LINKS,
    MANAGE_EVENTS,
    READ_MESSAGE_HISTORY,
    SEND_MESSAGES,
    VIEW_CHANNEL,
)


def needed_in(
    settings: OrganizationSettings, picture: GuildPicture
) -> dict[ChannelId, int]:
    """Return the channels that the settings name, and which permissions matter there.

    Source: Discord docs, Guild Scheduled Event, "Permissions Requirements".
    """
    overview = settings.discord_overview_channel_ids
    announcement = settings.discord_announcement_channel_id
    needs = dict.fromkeys(overview, VIEW_CHANNEL)

    def need(channel: ChannelId | None, bits: int) -> None:
        if channel is not None:
            needs[channel] = needs.get(channel, VIEW_CHANNEL) | bits

    for id_ in overview:
        channel = picture.channel(id_)
        if channel is not None and not channel.voice:
            need(id_, READ_MESSAGE_HISTORY)
    inviting = settings.discord_invite_channel_id
    need(inviting or next(iter(overview), announcement), CREATE_INSTANT_INVITE)
    if settings.discord_events_enabled:
        need(announcement, SEND_MESSAGES | EMBED_LINKS)
        need(settings.discord_voice_channel_id, CONNECT | CREATE_EVENTS | MANAGE_EVENTS)
    return needs
