"""Quiet hours: wall-clock intervals of a time zone to instants. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MIDNIGHT: Final = 24 * 60
"""`24:00` in minutes: the end of a day."""
_BEFORE, _AFTER = 1, 8
"""Days around today: what began is over a day later, and a week comes round in eight.
"""


@dataclass(frozen=True, slots=True, order=True)
class QuietHours:
    """From one time of the day to another, in minutes after midnight.

    With `begins` later than `ends` it goes on into the next day. `days` (0 is Monday)
    are those on which it begins.
    """

    days: tuple[int, ...]
    begins: int
    ends: int
    tz: str

    @property
    def over_midnight(self) -> bool:
        return self.begins > self.ends


@cache
def zone_of(name: str) -> ZoneInfo:
    """Return a time zone, for good: its file may be replaced while we run.

    :raises KeyError, ValueError, OSError: there is none of that name.
    """
    return ZoneInfo(name)


@dataclass(frozen=True, slots=True)
class Spell:
    """Whether it is quiet, and until when, in Unix seconds."""

    quiet: bool
    until: float


def spell(hours: Iterable[QuietHours], now: float) -> Spell:
    """Return what holds at an instant, where `hours` is not empty.

    `until` may be a mere look ahead: where nothing changes for more than a week.
    """
    last = now + _AFTER * 86_400
    end = now
    for begins, ends in sorted(_intervals(hours, now)):
        if begins > end:
            break
        end = max(end, ends)
    if end > now:
        return Spell(True, end)
    later = (begins for begins, _ in _intervals(hours, now) if begins > now)
    return Spell(False, min(later, default=last))


def _intervals(
    hours: Iterable[QuietHours], now: float
) -> Iterator[tuple[float, float]]:
    for one in hours:
        zone = zone_of(one.tz)
        today = datetime.fromtimestamp(now, zone).date()
        for distance in range(-_BEFORE, _AFTER + 1):
            day = today + timedelta(distance)
            if day.weekday() in one.days:
                following = day + timedelta(one.over_midnight)
                begins = _instant(day, one.begins, zone, fold=0)
                ends = _instant(following, one.ends, zone, fold=1)
                if begins < ends and now < ends:
                    yield begins, ends


def _instant(day: date, minutes: int, zone: tzinfo, fold: int) -> float:
    """Return when a clock on the wall shows that time.

    Where it shows it twice, `fold` says which. Where it leaps over it: when it leaps.
    """
    days, minutes = divmod(minutes, MIDNIGHT)
    shown = datetime.combine(
        day + timedelta(days), time(minutes // 60, minutes % 60, fold=fold), zone
    )
    instant = shown.timestamp()
    if _shown_at(instant, zone) == shown.replace(tzinfo=None, fold=0):
        return instant
    # In a leap the two readings lie on both sides of it.
    before, after = sorted(int(shown.replace(fold=f).timestamp()) for f in (0, 1))
    while after - before > 1:
        middle = (before + after) // 2
        if _shown_at(middle, zone) < shown.replace(tzinfo=None, fold=0):
            before = middle
        else:
            after = middle
    return float(after)


def _shown_at(instant: float, zone: tzinfo) -> datetime:
    local = datetime.fromtimestamp(instant, UTC).astimezone(zone)
    return local.replace(tzinfo=None, fold=0)
