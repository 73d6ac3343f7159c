"""What the bot needs to be allowed, for what, and where that is granted. Pure."""

from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final
from urllib.parse import urlencode

from voicestatus.core.permissions import (
    CONNECT,
    CREATE_EVENTS,
    CREATE_INSTANT_INVITE,
    EMBED_LINKS,
    MANAGE_EVENTS,
    MANAGE_ROLES,
    READ_MESSAGE_HISTORY,
    SEND_MESSAGES,
    VIEW_CHANNEL,
)


@dataclass(frozen=True, slots=True)
class BotPermission:
    """One permission, and what goes without when it is missing."""

    bit: int
    name: str
    needed_for: str


NEEDED: Final = (
    BotPermission(VIEW_CHANNEL, "View Channels", "seeing channels and who is in voice"),
    BotPermission(READ_MESSAGE_HISTORY, "Read Message History", "recent messages"),
    BotPermission(SEND_MESSAGES, "Send Messages", "announcements of events"),
    BotPermission(EMBED_LINKS, "Embed Links", "the roster in an announcement"),
    BotPermission(CREATE_INSTANT_INVITE, "Create Instant Invite", "inviting members"),
    BotPermission(CONNECT, "Connect", "events in voice channels"),
    BotPermission(MANAGE_ROLES, "Manage Roles", "giving ranks their roles"),
    BotPermission(
        CREATE_EVENTS, "Create Events", "showing events in Discord's own list"
    ),
    BotPermission(
        MANAGE_EVENTS, "Manage Events", "starting, changing and ending those events"
    ),
)
"""Who is in a voice channel is seen by View Channels: there is no bit of its own.

Source: Discord docs, Permissions. Since February 2026 Manage Events alone makes none.
"""

REQUESTED: Final = reduce(or_, (each.bit for each in NEEDED))


def missing_in(held: int, wanted: int = REQUESTED) -> tuple[BotPermission, ...]:
    """Return what is wanted and not held."""
    return tuple(each for each in NEEDED if each.bit & wanted & ~held)


def invitation(
    application: int,
    guild: int | None = None,
    *,
    permissions: int = REQUESTED,
    scope: str = "bot applications.commands",
) -> str:
    """Make the address at which an admin of a guild lets the bot in.

    Authorizing again adds what is missing; the bot need not leave first.

    Source: Discord docs, OAuth2, "Bot Authorization Flow".
    """
    query = {
        "client_id": str(application),
        "scope": scope,
        "permissions": str(permissions),
    }
    if guild is not None:
        query |= {"guild_id": str(guild), "disable_guild_select": "true"}
    return f"https://discord.com/oauth2/authorize?{urlencode(query)}"
