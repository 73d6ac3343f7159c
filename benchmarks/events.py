"""How fast Discord's events go through, and how long a large guild takes.

    python -m benchmarks.events EVENTS MEMBERS GUILDS

Prints one JSON object.
"""

import json
import sys
from time import perf_counter, process_time

import msgspec

from benchmarks.link import Offline
from benchmarks.payloads import (
    FEW_ROLES,
    HELLO,
    IN_VOICE,
    MANY_ROLES,
    arrival,
    day,
    ready,
    world_of,
)
from benchmarks.plan import Plan
from benchmarks.process import SERVER_CORE, BenchmarkError, running
from voicestatus.discord.gateway import wire
from voicestatus.discord.gateway.session import Deliver
from voicestatus.simulator.payloads import Guild
from voicestatus.simulator.world import World

Measured = dict[str, float]


def measure(plan: Plan) -> Measured:
    """Measure in a process of its own."""
    sizes = map(str, (plan.events, plan.guild_members, plan.guilds))
    command = (sys.executable, "-m", "benchmarks.events", *sizes)
    with running(command, SERVER_CORE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
    if not line:
        raise BenchmarkError("the measurement of events has died; it says why above")
    return msgspec.json.decode(line, type=Measured)


def _begun(world: World, guild: Guild) -> tuple[Offline, bytes]:
    """Bring a program to where that guild is told next; return also that message."""
    program = Offline()
    program.take(HELLO)
    program.take(ready(world))
    return program, arrival(world, guild)


def _events_per_s(many: int) -> Measured:
    world, guild = world_of(IN_VOICE, FEW_ROLES)
    program, create = _begun(world, guild)
    program.take(create)
    messages = day(world, guild, many)
    decoded = perf_counter()
    for message in messages:
        wire.decode(message)
    decoded = perf_counter() - decoded

    # Decoded, judged, applied; then the same through the WebSocket and zstd, too.
    applied = process_time()
    for message in messages:
        for effect in program.session.receive(wire.decode(message), 0.0):
            if type(effect) is Deliver:
                program.hub.apply(effect.event)
    applied = process_time() - applied

    program, create = _begun(world, guild)
    program.take(create)
    before = program.events
    reads = [read for message in messages for read in program.reads(message)]
    whole = process_time()
    for read in reads:
        program.receive(read)
    whole = process_time() - whole
    if program.events - before != many:
        raise BenchmarkError(f"{program.events - before} of {many} events arrived")
    return {
        "event_bytes": sum(map(len, messages)) / many,
        "decode_us": decoded / many * 1e6,
        "applied_per_s": many / applied,
        "whole_per_s": many / whole,
    }


def _guild_ms(members: int, times: int) -> Measured:
    world, guild = world_of(members, MANY_ROLES)
    create = b""
    stalls: list[float] = []
    totals: list[float] = []
    for _ in range(times):
        program, create = _begun(world, guild)
        took: list[float] = []
        for read in program.reads(create):
            start = perf_counter()
            program.receive(read)
            took.append(perf_counter() - start)
        if program.light.count != len(guild.voice):
            raise BenchmarkError("the guild did not arrive")
        stalls.append(max(took) * 1e3)
        totals.append(sum(took) * 1e3)
    return {
        "guild_members": float(members),
        "guild_bytes": float(len(create)),
        "guild_stall_ms": max(stalls),
        "guild_total_ms": max(totals),
    }


def main() -> None:
    """Measure and print."""
    events, members, guilds = map(int, sys.argv[1:])
    measured = _events_per_s(events) | _guild_ms(members, guilds)
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main()
