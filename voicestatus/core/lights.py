"""What a sign shows, and what it asks for. Nothing here is about people. Pure."""

from dataclasses import dataclass

from voicestatus.core.ids import ChannelId, GuildId


@dataclass(frozen=True, slots=True)
class Light:
    """What a sign should show.

    `known` is false while there is nothing to show: then a sign is told nothing.
    `stale` says that part of it is the last picture and not the present one.
    """

    known: bool
    on: bool = False
    count: int = 0
    stale: bool = False


NOTHING_TO_SHOW = Light(known=False)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a sign watches: everything, one guild, or one channel."""

    guild: GuildId | None = None
    channel: ChannelId | None = None
