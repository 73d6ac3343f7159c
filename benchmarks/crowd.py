"""Many simulated signs with an identity, in a process of their own.

    python -m benchmarks.crowd PORT COUNT TOKEN

Takes one order a line on standard input, and answers in JSON when it is done:
  come       at once; they dial, and dial anew whenever they are cut off
  enrolled   when each has a token of its own
  lost       when none is connected any more
  lit LIGHT  when all are connected and show LIGHT, 1 or 0
Times are those of the machine's monotonic clock.
"""

import json
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import msgspec
from twisted.internet import reactor as installed
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall
from twisted.protocols.basic import LineReceiver

from benchmarks.build import HERE
from benchmarks.process import GENERATOR_CORE, BenchmarkError, running
from benchmarks.signs import TOKEN
from voicestatus.simulator.signs import Habits, SignFleet

DIALS_PER_S = 3000
LOOK_EVERY_S = 0.05
LIMIT_S = 60.0
FAULTS = ("refused", "complaints", "errors", "wrong_lights")


class Lit(msgspec.Struct, frozen=True):
    """All are connected and show the light; when that came about."""

    first_at: float
    """Somebody is connected."""
    connected_at: float
    right_at: float
    longest_pong_ms: float
    """The longest that any of them waited for one since the order was given."""
    faults: int
    """Refusals, and messages that must not come here."""


class _Orders(LineReceiver):
    delimiter = b"\n"

    def __init__(self, reactor: Any, fleet: SignFleet, count: int) -> None:
        self._fleet, self._count = fleet, count
        self._reactor = reactor
        self._looking: LoopingCall | None = None
        self._seen: dict[str, float] = {}

    def lineReceived(self, line: bytes) -> None:  # noqa: N802 - Twisted's
        match line.split():
            case [b"come"]:
                self._fleet.startService()
                self._answer({})
            case [b"enrolled"]:
                self._watch(self._look_for_tokens)
            case [b"lost"]:
                self._watch(self._look_for_loss)
            case [b"lit", light]:
                self._fleet.forget_pongs()
                self._seen = {}
                self._watch(lambda: self._look_for_light(light == b"1"))
            case _:
                raise SystemExit(f"no order: {line!r}")

    def connectionLost(self, reason: object = None) -> None:  # noqa: ARG002 - Twisted's
        if self._reactor.running:
            self._reactor.stop()

    def _watch(self, look: Callable[[], object]) -> None:
        self._looking = LoopingCall(look)
        self._looking.clock = self._reactor
        self._looking.start(LOOK_EVERY_S)

    def _look_for_tokens(self) -> None:
        if self._fleet.tally.enrolled == self._count:
            self._answer({})

    def _look_for_loss(self) -> None:
        if self._fleet.connected == 0:
            self._answer({})

    def _look_for_light(self, wanted: bool) -> None:
        connected, now = self._fleet.connected, monotonic()
        if connected:
            self._seen.setdefault("first_at", now)
        if connected < self._count:
            return
        self._seen.setdefault("connected_at", now)
        if self._fleet.lights.count(wanted) == self._count:
            tally = self._fleet.tally
            self._answer(
                {
                    **self._seen,
                    "right_at": now,
                    "longest_pong_ms": 1e3 * self._fleet.longest_pong_s,
                    "faults": sum(getattr(tally, name) for name in FAULTS),
                }
            )

    def _answer(self, answer: dict[str, Any]) -> None:
        if self._looking is not None:
            self._looking.stop()
            self._looking = None
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Obey until standard input ends."""
    reactor: Any = installed
    port, count, token = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    fleet = SignFleet(
        reactor,
        "127.0.0.1",
        port,
        token=token,
        count=count,
        dials_per_s=DIALS_PER_S,
        habits=Habits(v2=True),
    )
    StandardIO(_Orders(reactor, fleet, count))
    reactor.run()


class Crowd:
    """Drives that process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def come(self) -> None:
        self._order("come")

    def wait_until_enrolled(self) -> None:
        self._order("enrolled")

    def wait_until_lost(self) -> None:
        self._order("lost")

    def wait_until_lit(self, light: bool) -> Lit:
        """Wait for it. :raises BenchmarkError: it takes too long, or nonsense came."""
        lit = msgspec.json.decode(self._order(f"lit {light:d}"), type=Lit)
        if lit.faults:
            raise BenchmarkError(f"{lit.faults} message(s) to signs were wrong")
        return lit

    def _order(self, order: str) -> str:
        """Give an order; return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        if select.select([self._process.stdout], [], [], LIMIT_S)[0]:
            line = self._process.stdout.readline()
            if line:
                return line
        raise BenchmarkError(f"the signs did not say {order!r} in {LIMIT_S:.0f} s")


@contextmanager
def crowd(count: int, port: int) -> Iterator[Crowd]:
    """Start the process; its signs are still to come."""
    command = (sys.executable, "-m", "benchmarks.crowd", str(port), str(count), TOKEN)
    with running(
        command, GENERATOR_CORE, stdin=subprocess.PIPE, cwd=HERE.parent
    ) as process:
        yield Crowd(process)


if __name__ == "__main__":
    main()
