"""The identify budget, over days."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.discord.gateway.identify import (
    BURST,
    SPACING_S,
    Spent,
    rate_limit_key,
    spacing_s,
    spend,
    wait_s,
)

DAY_S = 86400.0
NOW = 1_800_000_000.0


def greedy(spent, now, until):
    """Identify as often as the budget lets; return when."""
    times = []
    while True:
        now += max(wait_s(spent, now), spacing_s(spent.last, now))
        if now >= until:
            return times
        spent = spend(spent, now)
        times.append(now)


def test_a_crash_loop_spends_less_than_a_thousand_a_day():
    times = greedy(Spent(), NOW, NOW + 3 * DAY_S)
    busiest = max(sum(t <= u < t + DAY_S for u in times) for t in times[:300])
    assert 900 < busiest < 1000


def test_the_burst_is_free_but_for_five_seconds_between_two():
    times = greedy(Spent(), NOW, NOW + DAY_S)
    gaps = [b - a for a, b in pairwise(times)]
    assert set(gaps[: BURST - 1]) == {SPACING_S}
    assert round(gaps[-1]) == 120


def test_an_unused_budget_fills_up_again():
    spent = Spent()
    for _ in range(BURST):
        spent = spend(spent, NOW)
    assert wait_s(spent, NOW) == 120.0
    assert wait_s(spent, NOW + 120) == 0.0
    assert spend(spent, NOW + DAY_S).paid_until == NOW + DAY_S + 120


@given(st.integers(0, 400), st.floats(0, 10 * 365 * DAY_S))
def test_a_clock_that_jumps_back_locks_nobody_out(identifies, back_s):
    spent = Spent()
    for _ in range(identifies):
        spent = spend(spent, NOW)
    now = NOW - back_s
    assert wait_s(spent, now) <= 120.0
    assert spacing_s(spent.last, now) <= SPACING_S
    later = spend(spent, now)
    assert wait_s(later, now) <= 120.0


def test_a_clock_that_jumped_back_gives_no_second_burst():
    spent = Spent()
    for _ in range(BURST):
        spent = spend(spent, NOW)
    assert len(greedy(spent, NOW - DAY_S, NOW)) < 800


def test_what_is_stored_is_two_numbers():
    stored = msgspec.json.encode(spend(Spent(), NOW))
    assert len(stored) < 60
    assert msgspec.json.decode(stored, type=Spent) == Spent(NOW + 120, NOW)


def test_shards_share_five_seconds_by_their_key():
    assert [rate_limit_key(shard, 1) for shard in range(3)] == [0, 0, 0]
    assert [rate_limit_key(shard, 16) for shard in (0, 1, 17)] == [0, 1, 1]
