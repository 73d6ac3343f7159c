"""What happens to signs that update themselves: the same for the same seed."""

from dataclasses import dataclass
from enum import Enum
from random import Random


class Fate(Enum):
    """What happens to a sign that updates itself, once."""

    POWER_LOSS = "loses power in the midst of the download, and is back as it was"
    NEVER_BACK = "does not start any more"
    FAILS = "cannot write the image to its flash"
    FLAPS = "comes back, and cannot hold its connection"


class BadEnd(Enum):
    """What a bad build does to a sign of the second kind; others never come back."""

    ROLLBACK = "rollback"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Updating:
    """How a fleet updates itself. Percentages are of the fleet."""

    keys: tuple[str, ...] = ()
    """Public keys in base64; without any, every signature does."""
    power_loss_percent: float = 0.0
    never_back_percent: float = 0.0
    failing_percent: float = 0.0
    flapping_percent: float = 0.0
    slow_percent: float = 0.0
    slow_bytes_per_s: float = 20_000.0
    bad_builds: frozenset[int] = frozenset()
    """They start on no sign."""
    bad_end: BadEnd = BadEnd.ROLLBACK


def draw(updating: Updating, count: int, rng: Random) -> dict[int, Fate]:
    """Choose who of so many meets with what; each with one thing at most."""
    fates: dict[int, Fate] = {}
    numbers = rng.sample(range(count), count)
    shares = (
        (Fate.POWER_LOSS, updating.power_loss_percent),
        (Fate.NEVER_BACK, updating.never_back_percent),
        (Fate.FAILS, updating.failing_percent),
        (Fate.FLAPS, updating.flapping_percent),
    )
    for fate, percent in shares:
        many = min(round(count * percent / 100), len(numbers))
        fates |= {numbers.pop(): fate for _ in range(many)}
    return fates
