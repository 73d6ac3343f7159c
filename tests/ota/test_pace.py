"""Bytes go as fast as they may, and who asks first goes first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from voicestatus.ota import pace
from voicestatus.ota.line import Line
from voicestatus.ota.pace import Pace, Rates

RATES = Rates(in_all=1000.0, per_address=250.0)


def test_what_is_within_the_burst_goes_at_once():
    rates = Pace(RATES)
    assert rates.take("a", 5, 100.0) <= 0


def test_an_address_has_its_rate():
    rates = Pace(RATES)
    rates.take("a", 250, 100.0)
    assert rates.take("a", 250, 100.0) == pytest.approx(1 - pace.BURST_S)
    assert rates.take("b", 1, 100.0) == pytest.approx(0.5 - pace.BURST_S)


def test_all_together_have_theirs():
    rates = Pace(RATES)
    waits = [rates.take(f"a{n}", 100, 100.0) for n in range(21)]
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(2 - pace.BURST_S)


def test_time_without_bytes_is_not_saved_up():
    rates = Pace(RATES)
    rates.take("a", 1, 0.0)
    rates.take("a", 250, 1000.0)
    assert rates.take("a", 1, 1000.0) > 0.9


def test_it_remembers_so_many_addresses_and_no_more():
    rates = Pace(RATES)
    for n in range(pace.MAX_ADDRESSES + 10):
        rates.take(f"{n}", 1, 0.0)
    assert len(rates._next_by_address) == pace.MAX_ADDRESSES


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 500)), max_size=60))
def test_never_more_goes_than_may(asked: list[tuple[str, int]]):
    rates, went = Pace(RATES), []
    for address, size in asked:
        went.append((max(0.0, rates.take(address, size, 10.0)), address, size))
    for at_s, of, _ in went:
        own = sum(size for at, a, size in went if at < at_s and a == of)
        assert own <= RATES.per_address * (at_s + pace.BURST_S) + 1
    if went:
        last_s, whole = max(at for at, *_ in went), sum(size for *_, size in went)
        assert whole - 500 <= RATES.in_all * (last_s + pace.BURST_S)


# ---- the line ------------------------------------------------------------------------


def enter(line: Line, patience_s: float) -> list[bool]:
    told: list[bool] = []
    Deferred.fromCoroutine(line.enter(patience_s)).addCallbacks(
        told.append, lambda _: None
    )
    return told


def test_who_comes_first_goes_first():
    clock = Clock()
    line = Line(1, clock)
    first, second, third = (enter(line, 5) for _ in range(3))
    assert (first, second, third, len(line)) == ([True], [], [], 2)
    line.leave()
    assert (second, third) == ([True], [])
    line.leave()
    line.leave()
    assert (third, line.taken) == ([True], 0)
    clock.advance(10)
    assert clock.getDelayedCalls() == []


def test_who_waits_too_long_is_told_so():
    clock = Clock()
    line = Line(1, clock)
    enter(line, 0)
    assert enter(line, 0) == [False]
    patient = enter(line, 5)
    clock.advance(5)
    assert (patient, len(line)) == ([False], 0)
    line.leave()
    assert line.taken == 0


def test_who_goes_away_leaves_the_line():
    clock = Clock()
    line = Line(1, clock)
    enter(line, 0)
    gone = Deferred.fromCoroutine(line.enter(5))
    after = enter(line, 5)
    gone.addErrback(lambda _: None).cancel()
    line.leave()
    assert (after, len(line), line.taken) == ([True], 0, 1)
