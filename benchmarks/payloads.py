"""What is fed in instead of Discord, in its form; made by the simulator."""

from collections.abc import Sequence
from itertools import cycle

from voicestatus.simulator.payloads import Guild, encode
from voicestatus.simulator.world import Dispatch, Voice, World

GUILD = 1_187_000_000_000_000_001
IN_VOICE = 500
FEW_ROLES, MANY_ROLES = 8, 24
"""With so many a voice change, and a member of the large guild, is 1 KB long."""
ALL_INTENTS = (1 << 26) - 1
HELLO = b'{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}'
FIRST_SEQ = 3
"""After READY and the guild."""


def world_of(members: int, roles: int) -> tuple[World, Guild]:
    """Make one guild of so many, each with so many roles."""
    world = World([GUILD + 1])
    world.add_guild(GUILD, members=members, in_voice=min(members, IN_VOICE))
    guild = world.guilds[GUILD]
    ids = tuple(world.new_id() for _ in range(roles))
    for member in guild.members.values():
        member.roles = ids
        member.changed()
    return world, guild


def ready(world: World) -> bytes:
    body = {
        "session_id": "0" * 32,
        "resume_gateway_url": "ws://127.0.0.1/",
        "user": world.bot.own_payload(),
        "guilds": [{"id": str(GUILD), "unavailable": True}],
    }
    return b'{"t":"READY","s":1,"op":0,"d":%b}' % encode(body)


def arrival(world: World, guild: Guild, seq: int = 2) -> bytes:
    """Tell that guild, whole."""
    return _message(seq, Dispatch("GUILD_CREATE", guild.id, world.guild_create(guild)))


def day(world: World, guild: Guild, many: int) -> list[bytes]:
    """So many voice changes: people join, mute, move and leave."""
    told: list[Dispatch] = []
    people = cycle([user for user in guild.members if user != world.bot.id])
    rooms = cycle(guild.rooms)
    while len(told) < many:
        user, room = next(people), next(rooms)
        told += world.join(guild.id, user, room)
        told += world.join(guild.id, user, room, Voice(self_mute=True))
        told += world.join(guild.id, user, next(rooms))
        told += world.leave(guild.id, user)
    return dispatches(told[:many])


def dispatches(told: Sequence[Dispatch]) -> list[bytes]:
    """Number what comes after the guild."""
    return [_message(FIRST_SEQ + n, dispatch) for n, dispatch in enumerate(told)]


def _message(seq: int, dispatch: Dispatch) -> bytes:
    body = dispatch.body
    text = body if isinstance(body, bytes) else body(ALL_INTENTS)
    return b'{"t":"%b","s":%d,"op":0,"d":%b}' % (dispatch.name.encode(), seq, text)
