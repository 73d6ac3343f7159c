"""How often we may identify. Pure; times are wall-clock seconds.

Discord allows 1000 Identifies in 24 hours over all shards and answers more by ending
every session and resetting the token; it counts, and `/gateway/bot` says what is left.
This budget is our own besides: it is stored, so that not even a supervisor that starts
a crashing process again and again can spend Discord's.

What is stored is two numbers, not a list of times. Each Identify pays for one slot of
`PERIOD_S`; whoever is up to `BURST` slots ahead of time may still identify (the generic
cell rate algorithm). So 200 may come at once, then one every 120 s: at most
200 + 86400 / 120 = 920 a day.

Source: Discord docs, Gateway, "Session Start Limit" and "Rate Limiting".
"""

from dataclasses import dataclass
from typing import Final

PERIOD_S: Final = 120.0
BURST: Final = 200
SPACING_S: Final = 5.25
"""Between two Identifies of one `rate_limit_key`: Discord's 5 s, and what the first may
take longer on its way. One that comes too soon is spent in vain."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent; JSON by msgspec."""

    paid_until: float = 0.0
    """When the slots of all Identifies so far are over."""
    last: float = 0.0
    """When the last one was."""


def rate_limit_key(shard_id: int, max_concurrency: int) -> int:
    """Return whom a shard shares its five seconds with."""
    return shard_id % max(1, max_concurrency)


def wait_s(spent: Spent, now: float) -> float:
    """Return how long the budget says to wait, 0 for not at all; spacing apart.

    The clock may have jumped back behind what is stored: then no wait is longer than
    it could have been without the jump.
    """
    ahead_s = min(spent.paid_until - now, BURST * PERIOD_S)
    return max(0.0, ahead_s - (BURST - 1) * PERIOD_S)


def spacing_s(last: float, now: float) -> float:
    """Return how long to keep away from the Identify at `last`."""
    return min(SPACING_S, max(0.0, last + SPACING_S - now))


def spend(spent: Spent, now: float) -> Spent:
    """Charge one Identify."""
    paid_until = min(max(spent.paid_until, now), now + (BURST - 1) * PERIOD_S)
    return Spent(paid_until + PERIOD_S, now)
