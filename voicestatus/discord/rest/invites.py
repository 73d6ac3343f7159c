"""Invites. Pure.

Source: Discord docs, Invite.
"""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Struct

from voicestatus.core.ids import ChannelId, GuildId

MAX_AGE_MOST_S: Final = 604_800


class _Thing(Struct, frozen=True):
    id: int


class Invite(Struct, frozen=True):
    """One invite; who is asked for it by its code alone tells neither uses nor age."""

    code: str
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    """None: never."""
    uses: int = 0
    max_uses: int = 0
    """0: as often as one likes."""
    to_channel: _Thing | None = msgspec.field(name="channel", default=None)
    to_guild: _Thing | None = msgspec.field(name="guild", default=None)

    @property
    def url(self) -> str:
        """What people open."""
        return f"https://discord.gg/{self.code}"

    @property
    def channel(self) -> ChannelId | None:
        return None if self.to_channel is None else ChannelId(self.to_channel.id)

    @property
    def guild(self) -> GuildId | None:
        return None if self.to_guild is None else GuildId(self.to_guild.id)


class _Order(Struct, frozen=True):
    max_age: int
    max_uses: int
    unique: bool


def order(max_age_s: int, max_uses: int, *, unique: bool) -> bytes:
    """Write what invite is wanted; 0 means without end."""
    return msgspec.json.encode(_Order(max_age_s, max_uses, unique))
