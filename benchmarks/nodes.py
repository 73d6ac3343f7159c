"""How much later a change is on a sign of a node that follows, not of the holder."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from select import select
from socket import create_connection, socket
from tempfile import TemporaryDirectory

from benchmarks.figures import percentile
from benchmarks.plan import Plan
from benchmarks.process import GENERATOR_CORE, BenchmarkError, running
from benchmarks.program import HOST, READY_WITHIN_S, free_port, place
from benchmarks.sustained import Sign

QUIET_S = 0.02
WITHIN_S = 5.0

Measured = dict[str, float]


def measure(plan: Plan) -> Measured:
    """Let somebody come and go; a sign on each of two nodes says when it heard."""
    with _redis() as storage, place(storage) as at, ExitStack() as stack:
        beside = at.another()
        for each in (at, beside):
            # The first one that is ready is the one that holds the shard.
            stack.enter_context(each.program())
            each.wait_until_ready()
        control = stack.enter_context(create_connection((HOST, at.control), WITHIN_S))
        signs = [stack.enter_context(Sign(each.port)) for each in (at, beside)]
        _flips(control, signs, 10)  # whatever is done for the first time only
        waits = _flips(control, signs, plan.one_sign_changes)
    holder, follower = zip(*waits, strict=True)
    added = [late - soon for soon, late in waits]
    return {
        f"{name}_{part}_ms": percentile(values, share) * 1e3
        for name, values in [
            ("holder", holder),
            ("follower", follower),
            ("added", added),
        ]
        for part, share in [("p50", 0.50), ("p99", 0.99)]
    }


def _flips(
    control: socket, signs: Sequence[Sign], times: int
) -> list[tuple[float, ...]]:
    """Return how long each sign waited for each change."""
    waits = []
    for n in range(times):
        time.sleep(QUIET_S)
        order = b"10"[n % 2 :][:1]
        began = time.monotonic()
        control.sendall(order)
        waits.append(tuple(at - began for at in _heard(signs, order)))
    return waits


def _heard(signs: Sequence[Sign], light: bytes) -> list[float]:
    """Return when each sign was told this light."""
    heard: dict[Sign, float] = {}
    while len(heard) < len(signs):
        waiting = [sign for sign in signs if sign not in heard]
        if not (ready := select(waiting, [], [], WITHIN_S)[0]):
            raise BenchmarkError("a sign was not told of a change")
        for sign in ready:
            if light in sign.read():
                heard[sign] = time.monotonic()
    return [heard[sign] for sign in signs]


@contextmanager
def _redis() -> Iterator[str]:
    """Start a Redis on the generator's core: it is another machine's."""
    port = free_port()
    options = ("--port", port, "--bind", HOST, "--save", "", "--appendonly", "no")
    with TemporaryDirectory() as folder:
        command = ("redis-server", *map(str, options), "--dir", folder)
        log = Path(folder, "log")
        with log.open("w") as out, running(command, GENERATOR_CORE, stdout=out):
            _wait_for(port)
            yield f"redis://{HOST}:{port}/0"


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        try:
            with closing(create_connection((HOST, port), WITHIN_S)):
                return
        except OSError:
            time.sleep(0.05)
    raise BenchmarkError("redis-server did not start")
