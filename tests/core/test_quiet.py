"""Quiet hours: what a clock on the wall shows, also where it leaps or turns back."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicestatus.core.quiet import QuietHours, spell

EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)
STEP_S = 300


def at(text: str, tz: str = "UTC", fold: int = 0) -> float:
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz), fold=fold)
    return local.timestamp()


def hours(
    begins: str, ends: str, tz: str = "UTC", days: tuple[int, ...] = EVERY_DAY
) -> QuietHours:
    def minutes(text: str) -> int:
        return int(text[:2]) * 60 + int(text[3:])

    return QuietHours(days, minutes(begins), minutes(ends), tz)


@pytest.mark.parametrize(
    ("now", "quiet", "until"),
    [
        ("2027-01-15 12:00", False, "2027-01-15 23:00"),
        ("2027-01-15 23:00", True, "2027-01-16 07:00"),
        ("2027-01-16 06:59:59", True, "2027-01-16 07:00"),
        ("2027-01-16 07:00", False, "2027-01-16 23:00"),
    ],
)
def test_quiet_hours_may_go_over_midnight(now: str, quiet: bool, until: str):
    tz = "Europe/Berlin"
    one = spell([hours("23:00", "07:00", tz)], at(now, tz))
    assert (one.quiet, one.until) == (quiet, at(until, tz))


def test_days_are_those_on_which_quiet_hours_begin():
    friday_nights = [hours("23:00", "07:00", days=(4,))]
    assert not spell(friday_nights, at("2027-01-15 06:00")).quiet  # a Friday
    assert spell(friday_nights, at("2027-01-15 23:30")).quiet
    assert spell(friday_nights, at("2027-01-16 06:00")).quiet
    assert spell(friday_nights, at("2027-01-16 12:00")).until == at("2027-01-22 23:00")


def test_a_whole_day_ends_at_24_00():
    one = spell([hours("00:00", "24:00", days=(5, 6))], at("2027-01-16 12:00"))
    assert (one.quiet, one.until) == (True, at("2027-01-18 00:00"))


def test_quiet_hours_that_touch_are_one():
    both = [hours("20:00", "22:00"), hours("22:00", "23:00"), hours("12:00", "13:00")]
    assert spell(both, at("2027-01-15 20:30")).until == at("2027-01-15 23:00")


def test_what_is_always_quiet_is_looked_at_again():
    one = spell([hours("00:00", "24:00")], at("2027-01-15 12:00"))
    assert one.quiet
    assert one.until > at("2027-01-20 00:00")


def test_where_the_clock_leaps_quiet_hours_begin_and_end_at_the_leap():
    tz = "Europe/Berlin"  # 02:00 to 03:00 on 2027-03-28
    leap = at("2027-03-28 03:00", tz)
    night = [hours("02:30", "05:00", tz)]
    assert spell(night, leap - 1).until == leap
    assert spell([hours("01:00", "02:30", tz)], leap - 1).until == leap
    # The hour is not there, so neither are they.
    assert not spell([hours("02:10", "02:40", tz)], leap).quiet


def test_where_the_clock_turns_back_quiet_hours_last_until_the_second_time():
    tz = "Europe/Berlin"  # 03:00 to 02:00 on 2027-10-31
    assert spell([hours("01:00", "02:30", tz)], at("2027-10-31 01:30", tz)).until == at(
        "2027-10-31 02:30", tz, fold=1
    )
    first = at("2027-10-31 02:30", tz)
    one = spell([hours("02:30", "05:00", tz)], first)
    assert (one.quiet, one.until) == (True, at("2027-10-31 05:00", tz))
    assert not spell([hours("02:30", "05:00", tz)], first - 1).quiet


# ---- against a clock that is looked at every five minutes --------------------------

LEAPS = {
    "Europe/Berlin": ("2027-03-28", "2027-10-31"),
    "America/New_York": ("2027-03-14", "2027-11-07"),
    "Australia/Lord_Howe": ("2027-04-04", "2027-10-03"),  # by half an hour
    "America/Havana": ("2027-03-14", "2027-11-07"),  # at midnight
    "Africa/Casablanca": ("2027-02-07", "2027-03-14"),
    "Pacific/Apia": ("2011-12-29", "2011-12-31"),  # a day was left out
    "Asia/Kathmandu": ("2027-01-01", "2027-07-01"),
}
places = st.sampled_from([(tz, day) for tz, days in LEAPS.items() for day in days])
times = st.integers(0, 287).map(lambda n: n * 5)


def instants(day: datetime) -> Iterator[float]:
    begins = (day - timedelta(days=2)).replace(tzinfo=UTC).timestamp()
    return (begins + n * STEP_S for n in range(4 * 86_400 // STEP_S))


def naive(one: QuietHours, day: datetime) -> set[float]:
    """The instants at which it is quiet, from what the wall shows at each."""
    zone, quiet = ZoneInfo(one.tz), set[float]()
    shown = {
        instant: datetime.fromtimestamp(instant, zone).replace(tzinfo=None, fold=0)
        for instant in instants(day)
    }
    for distance in range(-4, 4):
        date = day + timedelta(days=distance)
        if date.weekday() not in one.days:
            continue
        first = date + timedelta(minutes=one.begins)
        last = date + timedelta(days=one.over_midnight, minutes=one.ends)
        begins = min((i for i, wall in shown.items() if wall >= first), default=None)
        exactly = [i for i, wall in shown.items() if wall == last]
        after = [i for i, wall in shown.items() if wall >= last]
        ends = max(exactly) if exactly else min(after, default=float("inf"))
        if begins is not None:
            quiet |= {i for i in shown if begins <= i < ends}
    return quiet


@settings(deadline=None)
@given(places, times, times, st.sets(st.integers(0, 6), min_size=1), st.integers(0, 2))
def test_quiet_is_what_a_clock_on_the_wall_shows(
    place: tuple[str, str], begins: int, ends: int, days: set[int], first: int
):
    tz, text = place
    one = QuietHours(tuple(sorted(days)), begins, ends + (begins == ends) * 5, tz)
    day = datetime.fromisoformat(text)
    expected = naive(one, day)
    # The first day holds what began before the clock was looked at.
    looked_at = list(instants(day))[300 + first :: 3]
    for instant in looked_at:
        now = spell([one], instant)
        assert now.quiet == (instant in expected), datetime.fromtimestamp(
            instant, ZoneInfo(tz)
        )
        assert now.until > instant


@settings(deadline=None)
@given(places, times, times, st.integers(0, 4 * 86_400))
def test_until_is_when_it_changes(
    place: tuple[str, str], begins: int, ends: int, offset: int
):
    tz, text = place
    one = QuietHours(EVERY_DAY, begins, ends + (begins == ends) * 5, tz)
    now = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() + offset
    before = spell([one], now)
    assert spell([one], before.until - 1).quiet == before.quiet
    assert spell([one], before.until).quiet != before.quiet
