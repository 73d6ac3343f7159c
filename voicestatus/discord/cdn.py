"""Addresses of the pictures that Discord keeps. Pure.

Source: Discord docs, Reference, "Image Formatting".
"""

from typing import Final

from voicestatus.core.ids import GuildId, UserId

BASE: Final = "https://cdn.discordapp.com"


def user_avatar(user: UserId, picture: str | None) -> str | None:
    """Return that of an account; None: it has none of its own."""
    return None if picture is None else f"{BASE}/avatars/{user}/{picture}.png"


def member_avatar(guild: GuildId, user: UserId, picture: str | None) -> str | None:
    """Return the one that an account shows in one guild; None: it has none there."""
    if picture is None:
        return None
    return f"{BASE}/guilds/{guild}/users/{user}/avatars/{picture}.png"
