"""Discord's errors as answers of ours."""

from http import HTTPStatus
from math import ceil
from typing import Final

from voicestatus.core.errors import Refusal
from voicestatus.discord.rest.errors import (
    DiscordBusy,
    DiscordRefused,
    DiscordUnreachable,
    MaximumInvites,
    MissingAccess,
    MissingPermissions,
    TooManyRefusals,
    UnknownGuild,
)

SAID_NO: Final = (DiscordRefused, DiscordUnreachable)
"""What a call to Discord raises: `except SAID_NO as e: raise said_no(e) from e`."""


def bot_not_in_server() -> Refusal:
    """Make the refusal of a server that the bot is not in."""
    return Refusal("BOT_NOT_IN_SERVER", "The bot is not in this Discord server.")


def not_told_of() -> Refusal:
    """Make the refusal of a server that Discord has not told of since the start."""
    text = "Discord has not told of this server yet."
    return Refusal("DISCORD_UNAVAILABLE", text)


def said_no(error: Exception) -> Refusal:
    """Make of one of `SAID_NO` what is answered; another error is raised again."""
    match error:
        case Refusal():
            return error
        case UnknownGuild():
            return bot_not_in_server()
        case MissingPermissions() | MissingAccess():
            return Refusal(
                "MISSING_PERMISSION",
                "Discord does not allow this to the bot.",
                discordCode=error.code,
            )
        case MaximumInvites():
            return Refusal("INVITE_LIMIT", "The server has as many invites as it can.")
        case DiscordBusy(status=HTTPStatus.TOO_MANY_REQUESTS) | TooManyRefusals():
            return Refusal(
                "DISCORD_UNAVAILABLE",
                "Discord takes no more calls just now.",
                retryAfterS=max(1, ceil(error.wait_s)),
            )
        case DiscordUnreachable():
            return Refusal("DISCORD_UNAVAILABLE", "Discord does not answer; try again.")
        case DiscordRefused():
            return Refusal("DISCORD_ERROR", str(error), discordCode=error.code)
        case _:
            raise error
