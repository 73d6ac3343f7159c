"""Who takes a shard that was given back, and how soon."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from voicestatus.cluster import scripts, wire
from voicestatus.cluster.leases import Leases
from voicestatus.store.documents import Fence

LEASE_S = 10.0


class StubBus:
    """A Redis in which the lease is another node's, until the test says otherwise."""

    node = "a"
    taken, lost = True, False

    def subscribe(
        self, hear: Callable[[wire.News], object], _missed: Callable[[], object]
    ) -> None:
        self.hear = hear

    async def run(self, script: str, *_: object, limit_s: float | None = None) -> Any:
        if script == scripts.ACQUIRE and self.taken:
            return b"taken 9000"
        if script == scripts.ACQUIRE:
            return b"granted 7"
        return b"lost" if self.lost else b"renewed"


class Acts:
    def __init__(self, *, ready: bool) -> None:
        self.ready = ready
        self.acting = False

    def begin(self, _fence: Fence | None) -> None:
        self.acting = True

    def end(self) -> Deferred[None]:
        self.acting = False
        self.ended: Deferred[None] = Deferred()
        return self.ended


@pytest.mark.parametrize(
    ("ready_after_s", "held", "within_s"),
    [(0.0, 0, 0.0), (0.0, 40, 0.3), (1.0, 0, 1.3), (99.0, 0, 4.2)],
)
def test_a_shard_that_was_given_back_is_taken_and_first_by_who_can_go_on_best(
    ready_after_s: float, held: int, within_s: float
) -> None:
    bus, clock = StubBus(), Clock()
    leases = Leases(bus, LEASE_S, clock)  # type: ignore[arg-type] # a stub
    leases.startService()
    others, acts = [Acts(ready=True) for _ in range(held)], Acts(ready=False)
    bus.taken = False
    for shard, other in enumerate(others, 1):
        leases.add(shard, other)
    bus.taken = True
    leases.add(0, acts)
    clock.advance(1.0)
    assert not acts.acting
    bus.taken = False
    acts.ready = ready_after_s == 0
    bus.hear(wire.Released(0))
    assert acts.acting == (within_s == 0)
    for step in range(round(within_s / 0.05)):
        acts.ready = step * 0.05 >= ready_after_s
        clock.advance(0.05)
        assert acts.ready or ready_after_s == 99 or not acts.acting
    assert acts.acting
    assert leases.held == held + 1
    stopped = leases.stopService()
    for each in (*others, acts):
        each.ended.callback(None)
    assert stopped.called


def test_who_stops_waits_for_what_a_lost_lease_has_ended_too() -> None:
    bus, clock, acts = StubBus(), Clock(), Acts(ready=True)
    leases = Leases(bus, LEASE_S, clock)  # type: ignore[arg-type] # a stub
    leases.add(0, acts)
    bus.taken = False
    leases.startService()
    assert acts.acting
    bus.lost = bus.taken = True
    clock.advance(LEASE_S / 2)
    assert not acts.acting
    stopped = leases.stopService()
    assert not stopped.called
    acts.ended.callback(None)
    assert stopped.called
