"""Who takes a shard that was given back, and how soon."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from voicestatus.cluster import scripts, wire
from voicestatus.cluster.leases import Leases
from voicestatus.store.documents import Fence

LEASE_S = 10.0


class StubBus:
    """A Redis in which the lease is another node's, until the test says otherwise."""

    node = "a"
    taken = True

    def subscribe(
        self, hear: Callable[[wire.News], object], _missed: Callable[[], object]
    ) -> None:
        self.hear = hear

    async def run(self, script: str, *_: object, limit_s: float | None = None) -> Any:
        if script == scripts.ACQUIRE and self.taken:
            return b"taken 9000"
        return b"granted 7" if script == scripts.ACQUIRE else b"renewed"


class Acts:
    def __init__(self, *, ready: bool) -> None:
        self.ready = ready
        self.acting = False

    def begin(self, _fence: Fence | None) -> None:
        self.acting = True

    def end(self) -> None:
        self.acting = False


@pytest.mark.parametrize(
    ("ready", "held", "within_s"), [(True, 0, 0.0), (True, 40, 0.3), (False, 0, 0.7)]
)
def test_a_shard_that_was_given_back_is_taken_and_first_by_who_can_go_on_best(
    ready: bool, held: int, within_s: float
) -> None:
    bus, clock = StubBus(), Clock()
    leases = Leases(bus, LEASE_S, clock)  # type: ignore[arg-type] # a stub
    leases.startService()
    others, acts = [Acts(ready=True) for _ in range(held)], Acts(ready=ready)
    bus.taken = False
    for shard, other in enumerate(others, 1):
        leases.add(shard, other)
    bus.taken = True
    leases.add(0, acts)
    clock.advance(1.0)
    assert not acts.acting
    bus.taken = False
    bus.hear(wire.Released(0))
    assert acts.acting == (within_s == 0)
    clock.pump([0.05] * round(within_s / 0.05))
    assert acts.acting
    assert leases.held == held + 1
    leases.stopService()
