"""One shard's presence as the events that lead to it, from anything. Pure.

Guild by guild, so that news may come in between: what is told of a guild is the truth
at that place among them.
"""

from collections.abc import Iterator

from voicestatus.core.guild import Guild, Knowledge, Picture, Voice
from voicestatus.core.ids import GuildId, UserId
from voicestatus.core.presence import (
    Event,
    GuildArrived,
    GuildUnavailable,
    Presence,
    Restored,
    SessionBegan,
    SourceLost,
    VoiceUpdated,
)

GUILDS_AT_ONCE = 32


def picture(presence: Presence, shard: int) -> Iterator[list[Event]]:
    """Yield the parts but the last; take the next when the one before was told.

    First those guilds that Discord still owes, as they were before; then which ones
    there are; then those of which it has told.
    """
    owed = [guild.id for guild in _of(presence, shard) if guild.awaited]
    yield from _guilds(presence, owed)
    there = list(_of(presence, shard))
    told = [guild.id for guild in there if not guild.awaited]
    assert presence.me is not None  # noqa: S101 - it was heard, or there is no picture
    yield [SessionBegan(shard, presence.me, frozenset(guild.id for guild in there))]
    yield from _guilds(presence, told)


def recalled(
    shard: int,
    me: UserId,
    guilds: tuple[tuple[Picture, tuple[Voice, ...]], ...],
    count: int,
) -> Iterator[Event]:
    """Yield what leads from any presence to what was stored of a shard.

    `count`: over how many shards the guilds are spread.
    """
    then = Presence(shards=count)
    then.apply(Restored(me, count, frozenset({shard}), guilds))
    for events in picture(then, shard):
        yield from events
    yield SourceLost(shard)


def last_part(shard: int, *, linked: bool) -> list[Event]:
    """Return what ends the picture: every guild was told as if the link lived."""
    return [] if linked else [SourceLost(shard)]


def _of(presence: Presence, shard: int) -> Iterator[Guild]:
    return (guild for guild in presence.guilds.values() if guild.shard == shard)


def _guilds(presence: Presence, ids: list[GuildId]) -> Iterator[list[Event]]:
    for first in range(0, len(ids), GUILDS_AT_ONCE):
        there = map(presence.guilds.get, ids[first : first + GUILDS_AT_ONCE])
        yield [event for guild in there if guild is not None for event in _told(guild)]


def _told(guild: Guild) -> Iterator[Event]:
    if guild.pictured:
        yield GuildArrived(
            guild.shard,
            guild.id,
            guild.name,
            guild.afk_channel,
            tuple(guild.channels.values()),
            tuple(guild.voices.values()),
        )
    out_of_sight = guild.knowledge is Knowledge.UNKNOWN
    if out_of_sight and (guild.pictured or not guild.awaited):
        yield GuildUnavailable(guild.id)


def resolved(event: Event, presence: Presence) -> Event | None:
    """Return an event as `presence` took it; None: it is about a guild not watched.

    A payload may lack the member, and then only its receiver knows whose bot it is.
    """
    match event:
        case VoiceUpdated(guild_id, user, _, _):
            guild = presence.guilds.get(guild_id)
            if guild is None:
                return None
            voice = guild.voices.get(user)
            bot = None if voice is None else voice.bot
            return VoiceUpdated(guild_id, user, voice, bot)
        case GuildArrived():
            guild = presence.guilds.get(event.guild)
            return None if guild is None else next(_told(guild))
        case _:
            return event
