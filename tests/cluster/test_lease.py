"""The contest for one shard: by example, and in a world of clocks that run apart."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicestatus.cluster.lease import (
    ACTS_FOR,
    Acquire,
    Answer,
    Begin,
    Effect,
    End,
    Granted,
    Lease,
    Lost,
    Release,
    Renew,
    Renewed,
    Taken,
    Unanswered,
    Wake,
)


def held(at: float = 0.0) -> Lease:
    lease = Lease(9.0)
    lease.start(at)
    lease.answered(1, Granted(7), at)
    return lease


def test_a_granted_lease_begins_and_is_renewed_at_a_third() -> None:
    lease = Lease(9.0)
    assert lease.start(0.0) == [Acquire(1)]
    assert lease.answered(1, Granted(7), 0.1) == [Begin(7), Wake(3.0)]
    assert lease.tick(3.0) == [Renew(2, 7), Wake(9.0 * ACTS_FOR)]
    assert lease.answered(2, Renewed(), 3.2) == [Wake(6.0)]
    assert lease.holds(3.0 + 9.0 * ACTS_FOR - 0.01)


def test_it_stops_at_its_end_and_not_when_somebody_says_so() -> None:
    lease = held()
    lease.tick(3.0)
    assert lease.holds(8.0)
    assert not lease.holds(8.1)
    assert lease.tick(8.1)[0] == End(7)


def test_who_slept_past_its_lease_acts_no_more_whatever_comes_first() -> None:
    lease = held()
    lease.tick(3.0)
    assert lease.answered(2, Renewed(), 60.0)[0] == End(7)
    assert not lease.holds(60.0)


def test_a_grant_that_took_too_long_is_given_back() -> None:
    lease = Lease(9.0)
    lease.start(0.0)
    assert lease.answered(1, Granted(7), 8.1) == [Release(7), Wake(8.1)]


def test_a_grant_that_nobody_waits_for_is_given_back() -> None:
    lease = Lease(9.0)
    lease.start(0.0)
    assert lease.stop() == []
    assert lease.answered(1, Granted(7), 0.1) == [Release(7)]
    assert lease.answered(9, Granted(8), 0.1) == [Release(8)]


def test_a_lost_lease_ends_and_is_wanted_again() -> None:
    lease = held()
    lease.tick(3.0)
    assert lease.answered(2, Lost(), 3.1) == [End(7), Wake(3.1)]
    assert lease.tick(3.1) == [Acquire(3)]


def test_a_taken_lease_is_wanted_again_when_it_may_be_free() -> None:
    lease = Lease(9.0)
    lease.start(0.0)
    (wake,) = lease.answered(1, Taken(4.0), 0.1)
    assert isinstance(wake, Wake)
    assert wake.at == pytest.approx(4.1, abs=0.02)
    assert lease.hurry(1.0) == [Acquire(2)]


def test_an_answer_that_does_not_come_is_asked_for_again_until_the_end() -> None:
    lease = held()
    lease.tick(3.0)
    assert lease.answered(2, Unanswered(), 6.0) == [Wake(6.0 + 9.0 / 20)]
    assert lease.tick(6.45)[0] == Renew(3, 7)
    assert lease.answered(3, Renewed(), 6.5) == [Wake(6.45 + 3.0)]


def test_who_gives_way_does_not_take_it_back_at_once() -> None:
    lease = held()
    assert lease.give_way(1.0) == [End(7), Release(7), Wake(4.0)]
    assert lease.hurry(1.1) == []
    assert lease.tick(4.0) == [Acquire(2)]
    assert lease.give_way(4.0) == []


def test_a_stop_gives_it_back() -> None:
    assert held().stop() == [End(7), Release(7)]


def test_who_stops_may_still_say_so_until_somebody_else_may_act() -> None:
    lease = held()
    lease.stop()
    assert not lease.holds(1.0)
    assert lease.lasts(1.0)
    assert not lease.lasts(9.0 * ACTS_FOR)
    lost = held()
    lost.tick(3.0)
    lost.answered(2, Lost(), 3.1)
    assert not lost.lasts(3.1)


# ---- never two ---------------------------------------------------------------------

LEASE_S = 9.0


@dataclass
class Redis:
    """A Redis with a clock of its own, and requests that arrive when they arrive."""

    rate: float
    owner: int | None = None
    until: float = 0.0
    fence: int = 0

    def serve(self, nodes: list["Contender"], real: float) -> None:
        arrived = [
            (request.there_at, index, request)
            for index, node in enumerate(nodes)
            for request in node.under_way
            if request.answer is None and request.there_at <= real
        ]
        for at, node, request in sorted(arrived, key=lambda each: each[0]):
            request.answer = Unanswered()
            if not request.lost:
                request.answer = self.ask(node, request.effect, at * self.rate)

    def ask(self, node: int, effect: Effect, now: float) -> Answer:
        if self.owner is not None and now >= self.until:
            self.owner = None
        match effect:
            case Acquire() if self.owner in {None, node}:
                self.fence += 1
                self.owner, self.until = node, now + LEASE_S
                return Granted(self.fence)
            case Acquire():
                return Taken(self.until - now)
            case Renew(_, fence) if fence == self.fence and self.owner in {None, node}:
                self.owner, self.until = node, now + LEASE_S
                return Renewed()
            case Release(fence) if self.owner == node and self.fence == fence:
                self.owner = None
        return Lost()


@dataclass
class Request:
    """On its way there, then back; `lost`: Redis never gets it."""

    effect: Effect
    there_at: float
    back_at: float
    lost: bool
    answer: Answer | None = None


class Contender:
    """A node with a clock of its own, which may sleep."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.lease = Lease(LEASE_S)
        self.wake_at: float | None = None
        self.asleep_until = 0.0
        self.fences: list[int] = []
        self.under_way: list[Request] = []

    def acts(self, real: float) -> bool:
        return self.lease.holds(real * self.rate)

    def obey(
        self, effects: list[Effect], real: float, draw: Callable[..., Any]
    ) -> None:
        for effect in effects:
            match effect:
                case Begin(fence):
                    self.fences.append(fence)
                case End():
                    pass
                case Wake(at):
                    self.wake_at = at / self.rate
                case _:
                    there = real + draw(DELAYS)
                    lost = draw(st.integers(0, 9)) == 0
                    back = there + draw(DELAYS)
                    self.under_way.append(Request(effect, there, back, lost))

    def live(self, real: float, draw: Callable[..., Any]) -> None:
        """Take what came, and do what is due."""
        now = real * self.rate
        came = [r for r in self.under_way if r.answer is not None and r.back_at <= real]
        for request in came:
            self.under_way.remove(request)
            assert request.answer is not None
            if isinstance(request.effect, Acquire | Renew):
                number = request.effect.number
                self.obey(self.lease.answered(number, request.answer, now), real, draw)
        if self.wake_at is not None and self.wake_at <= real:
            self.wake_at = None
            self.obey(self.lease.tick(now), real, draw)


DELAYS = st.sampled_from([0.0, 0.01, 0.5, 4.0])
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.05, 0.3, 1.0, 3.0]),
        # Who falls asleep, and for how long.
        st.none() | st.tuples(st.integers(0, 2), st.sampled_from([1.0, 12.0])),
        # Who gives way.
        st.none() | st.integers(0, 2),
    ),
    min_size=10,
    max_size=100,
)
RATES = st.floats(0.95, 1.05)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), steps=STEPS)
def test_never_do_two_act_with_clocks_a_twentieth_apart(
    data: st.DataObject, steps: list[Any]
) -> None:
    draw, real = data.draw, 0.0
    redis = Redis(draw(RATES))
    nodes = [Contender(draw(RATES)) for _ in range(3)]
    for node in nodes:
        node.obey(node.lease.start(0.0), 0.0, draw)
    for after_s, sleeper, polite in steps:
        real += after_s
        redis.serve(nodes, real)
        if sleeper is not None:
            nodes[sleeper[0]].asleep_until = real + sleeper[1]
        if polite is not None and nodes[polite].asleep_until <= real:
            node = nodes[polite]
            node.obey(node.lease.give_way(real * node.rate), real, draw)
        for node in nodes:
            if node.asleep_until <= real:
                node.live(real, draw)
        assert sum(node.acts(real) for node in nodes) <= 1
    begun = [fence for node in nodes for fence in node.fences]
    assert len(set(begun)) == len(begun)
    assert all(node.fences == sorted(node.fences) for node in nodes)
