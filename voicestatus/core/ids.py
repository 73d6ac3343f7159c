"""Discord's ids (snowflakes): `int` inside, decimal text in JSON."""

import re
from typing import Final, NewType

GuildId = NewType("GuildId", int)
ChannelId = NewType("ChannelId", int)
UserId = NewType("UserId", int)
RoleId = NewType("RoleId", int)
"""The one whose id is its guild's is `@everyone`: all have it, no payload says so."""

SNOWFLAKE: Final = r"^[1-9][0-9]{0,18}$(?!\n)"
_SNOWFLAKE: Final = re.compile(SNOWFLAKE)


def snowflake(text: str) -> int | None:
    """Read an id as Discord writes it; None: it is none."""
    return int(text) if _SNOWFLAKE.fullmatch(text) else None
