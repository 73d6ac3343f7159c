"""Discord's ids (snowflakes): `int` inside, decimal text in JSON."""

from typing import NewType

GuildId = NewType("GuildId", int)
ChannelId = NewType("ChannelId", int)
UserId = NewType("UserId", int)
