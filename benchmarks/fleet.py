"""Many signs on one server: ours, the original's design on Node, and the floor."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.build import HERE, compiled, node_peer
from benchmarks.plan import Plan
from benchmarks.process import (
    SERVER_CORE,
    cpu_s,
    ports_of,
    rss_bytes,
    running,
)
from benchmarks.signs import TOKEN, signs

OURS, NODE, FLOOR = "voicestatus", "node", "floor"

Command = Sequence[str | Path]
Measured = dict[str, float]
Rounds = dict[str, list[Measured]]
"""Of each server, what each round measured."""


@dataclass(frozen=True, slots=True)
class Metric:
    """Something measured, how it is shown, and how much of Node's it may be."""

    key: str
    title: str
    digits: int
    bar: float | None = None
    compared: bool = True


METRICS = (
    Metric("last_ms", "flip: order to last sign, ms", 1, 0.80),
    Metric("p99_ms", "flip: p99 of the signs, ms", 1),
    Metric("p50_ms", "flip: p50 of the signs, ms", 1),
    Metric("first_ms", "flip: first sign, ms", 2),
    Metric("flip_cpu_ms", "CPU a flip, ms", 1, 0.85),
    Metric("open_cpu_us", "CPU an upgrade + AUTH, µs", 0, 0.60),
    Metric("rss_bytes", "memory a connection, bytes", 0, 0.65),
    Metric("idle_cpu_us", "CPU a connection at rest, µs in 15 s", 0),
    Metric("generator_ms", "the generator's own CPU a flip, ms", 1, compared=False),
)


def ours() -> Command:
    """Return the command of our server."""
    return sys.executable, "-m", "benchmarks.ours", TOKEN


def servers() -> dict[str, Command]:
    """Return the command of each server; each takes the signs' token."""
    return {
        OURS: ours(),
        NODE: (*node_peer(), TOKEN),
        FLOOR: (compiled("peers/floor.c"), TOKEN),
    }


def compare(plan: Plan) -> Iterator[tuple[int, Rounds]]:
    """Measure all servers, round by round in changing order."""
    commands = servers()
    for count in plan.counts:
        rounds: Rounds = {name: [] for name in commands}
        for n in range(plan.rounds):
            names = list(commands)
            for name in names[n % len(names) :] + names[: n % len(names)]:
                _say(f"{count} signs, round {n + 1} of {plan.rounds}: {name}")
                rounds[name].append(measure(commands[name], count, plan))
        yield count, rounds


def measure(command: Command, count: int, plan: Plan) -> Measured:
    """Start a server, and do with it what a day does."""
    generator = compiled("generator/signs.c")
    with running(command, SERVER_CORE, cwd=HERE.parent) as server:
        port, control = ports_of(server)
        with signs(generator, count, port, control) as fleet:
            time.sleep(plan.settle_s)
            rss, cpu = rss_bytes(server.pid), cpu_s(server.pid)
            fleet.open()
            opened = cpu_s(server.pid) - cpu
            time.sleep(plan.settle_s)
            rss = rss_bytes(server.pid) - rss
            cpu = cpu_s(server.pid)
            flips = fleet.flip(plan.flips, plan.quiet_ms)
            flipped = cpu_s(server.pid) - cpu
            measured = {
                "last_ms": median(flip.last_ms for flip in flips),
                "p99_ms": median(flip.p99_ms for flip in flips),
                "p50_ms": median(flip.p50_ms for flip in flips),
                "first_ms": median(flip.first_ms for flip in flips),
                "flip_cpu_ms": flipped / plan.flips * 1e3,
                "open_cpu_us": opened / count * 1e6,
                "rss_bytes": rss / count,
                "generator_ms": median(flip.cpu_ms for flip in flips),
            }
            if plan.idle_s:
                cpu = cpu_s(server.pid)
                fleet.idle(plan.idle_s)
                rested = cpu_s(server.pid) - cpu
                measured["idle_cpu_us"] = rested / count * 15 / plan.idle_s * 1e6
            return measured


def column(rounds: Mapping[str, list[Measured]], name: str, key: str) -> list[float]:
    """Return one figure of one server, round by round."""
    return [measured[key] for measured in rounds[name] if key in measured]


def _say(what: str) -> None:
    sys.stderr.write(what + "\n")
