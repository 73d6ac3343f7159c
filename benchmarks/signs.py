"""Drives the load generator, `generator/signs.c`."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.process import GENERATOR_CORE, BenchmarkError, running

TOKEN = "benchmark-token"
"""What every sign says, and every server wants."""


class Opened(msgspec.Struct, frozen=True):
    """All signs are connected; times from a sign's dial to its first light."""

    open: int
    lost: int
    seconds: float
    p50_ms: float
    p99_ms: float
    last_ms: float
    cpu_ms: float


class Flip(msgspec.Struct, frozen=True):
    """One change; times from its order to the arrival at a sign."""

    arrived: int
    missing: int
    first_ms: float
    p50_ms: float
    p99_ms: float
    last_ms: float
    cpu_ms: float
    """The generator's own: should it come near `last_ms`, it is what is measured."""


class Idle(msgspec.Struct, frozen=True):
    """A time in which nothing happened but pings, both ways."""

    pings: int
    pongs: int
    pings_answered: int
    lost: int


_Answer = TypeVar("_Answer", Opened, Flip, Idle)


class Signs:
    """So many signs, connected to one server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def open(self) -> Opened:
        """Connect all. :raises BenchmarkError: unless all were let in."""
        self._say("open")
        opened = self._hear(Opened)
        if opened.lost:
            raise BenchmarkError(f"{opened.lost} sign(s) were not let in")
        return opened

    def flip(self, times: int, quiet_ms: int) -> list[Flip]:
        """Change the light. :raises BenchmarkError: unless all signs saw each one."""
        self._say(f"flip {times} {quiet_ms}")
        flips = [self._hear(Flip) for _ in range(times)]
        if missing := sum(flip.missing for flip in flips):
            raise BenchmarkError(f"{missing} frame(s) did not arrive")
        return flips

    def idle(self, seconds: int) -> Idle:
        """Do as signs do at rest. :raises BenchmarkError: when one was dropped."""
        self._say(f"idle {seconds}")
        idle = self._hear(Idle)
        if idle.lost:
            raise BenchmarkError(f"{idle.lost} sign(s) were dropped at rest")
        return idle

    def _say(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()

    def _hear(self, shape: type[_Answer]) -> _Answer:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError("the generator has died; it says why above")
        return msgspec.json.decode(line, type=shape)


@contextmanager
def signs(
    program: Path, count: int, port: int, control: int, core: int = GENERATOR_CORE
) -> Iterator[Signs]:
    """Start the generator; its signs are still to be opened."""
    command = (program, str(port), str(count), TOKEN, str(control))
    with running(command, core, stdin=subprocess.PIPE) as process:
        yield Signs(process)
