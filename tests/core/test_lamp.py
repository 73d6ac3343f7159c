"""Delays: what is wanted, when it is shown."""

from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.lamp import Delays, Lamp

Shown = bool | None


def test_the_first_thing_that_is_known_is_shown_at_once():
    for wanted in (True, False):
        lamp = Lamp(Delays(on_s=5, off_s=5))
        assert lamp.shown is None
        assert lamp.want(None, 0) is None
        assert lamp.want(wanted, 1) is None
        assert lamp.shown is wanted


def test_on_is_shown_when_it_was_wanted_for_its_delay():
    lamp = Lamp(Delays(on_s=5))
    lamp.want(False, 0)
    assert lamp.want(True, 10) == 15
    assert lamp.want(True, 14.9) == 15
    assert lamp.shown is False
    assert lamp.want(True, 15) is None
    assert lamp.shown is True


def test_who_looks_in_for_a_moment_lights_nothing():
    lamp = Lamp(Delays(on_s=5))
    lamp.want(False, 0)
    lamp.want(True, 10)
    assert lamp.want(False, 14) is None
    assert lamp.want(True, 16) == 21


def test_who_is_away_for_a_moment_darkens_nothing():
    lamp = Lamp(Delays(off_s=5))
    lamp.want(True, 0)
    assert lamp.want(False, 10) == 15
    assert lamp.want(True, 14) is None
    assert lamp.shown is True
    assert lamp.want(False, 20) == 25
    assert lamp.want(False, 25) is None
    assert lamp.shown is False


def test_a_light_stays_on_for_its_least_time():
    lamp = Lamp(Delays(off_s=1, min_on_s=30))
    lamp.want(False, 0)
    lamp.want(True, 10)
    assert lamp.want(False, 12) == 40
    assert lamp.waits() == {"offDelay": 13, "minOn": 40}
    assert lamp.want(False, 40) is None
    assert lamp.shown is False


def test_while_nothing_is_known_no_delay_runs_and_the_last_light_is_kept_in_mind():
    lamp = Lamp(Delays(on_s=5, off_s=5))
    lamp.want(True, 0)
    assert lamp.want(False, 10) == 15
    assert lamp.want(None, 12) is None
    assert lamp.shown is None
    assert lamp.want(False, 20) == 25
    assert lamp.shown is True
    lamp.want(None, 21)
    assert lamp.want(True, 22) is None
    assert lamp.shown is True


steps = st.lists(
    st.tuples(st.sampled_from([True, False, None]), st.integers(0, 8)), max_size=30
)
seconds = st.integers(0, 6)


@given(steps, seconds, seconds, seconds)
def test_a_light_changes_only_after_its_time_and_no_later(
    steps: list[tuple[Shown, int]], on_s: int, off_s: int, min_on_s: int
):
    """Played second by second beside a lamp that is asked only when it wants it."""
    lamp, wake, now = Lamp(Delays(on_s, off_s, min_on_s)), None, 0
    lit: Shown = None
    lit_at = since = 0
    last: Shown = None
    for wanted, stays in steps:
        wake = lamp.want(wanted, now)
        if wanted is not last:
            last, since = wanted, now
        for second in range(now, now + stays + 1):
            if wake is not None and second >= wake:
                wake = lamp.want(wanted, second)
            if wanted is not None and wanted is not lit:
                due = since + (on_s if wanted else off_s)
                due = due if wanted else max(due, lit_at + min_on_s)
                if lit is None or second >= due:
                    lit, lit_at = wanted, second
            assert lamp.shown is (None if wanted is None else lit)
        now += stays
