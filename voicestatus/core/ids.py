"""Discord's ids (snowflakes): `int` inside, decimal text in JSON."""

from typing import NewType

GuildId = NewType("GuildId", int)
ChannelId = NewType("ChannelId", int)
UserId = NewType("UserId", int)
RoleId = NewType("RoleId", int)
"""The one whose id is its guild's is `@everyone`: all have it, no payload says so."""
