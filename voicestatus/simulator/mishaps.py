"""Which sign of a fleet suffers what, second by second: the same for the same seed."""

import random
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple


class Mishap(Enum):
    """What happens to a sign, or to its link."""

    CLOSE = "it leaves with a close frame"
    RESET = "its connection is reset"
    VANISH = "it is gone without a word, and back on another connection"
    STALL = "it reads nothing for a while"
    DEAF = "pings and pongs are lost for a while"
    TEAR = "its connection ends in the middle of a frame"


COMES_AND_GOES = (Mishap.CLOSE, Mishap.RESET, Mishap.VANISH)
BAD_LINK = (Mishap.STALL, Mishap.DEAF, Mishap.TEAR)
BAD_EVERY_S = 20
"""So often, in the mean, each sign with a bad link suffers from it."""
LONGEST_S = 40


class Stroke(NamedTuple):
    """One mishap: of the n-th sign, over after so many seconds."""

    sign: int
    mishap: Mishap
    lasts_s: int


class Mishaps:
    """Draws the mishaps of a fleet."""

    def __init__(
        self,
        count: int,
        rng: random.Random,
        *,
        churn_percent: float,
        lossy_percent: float,
    ) -> None:
        self._count, self._rng = count, rng
        self._churn_per_s = count * churn_percent / 100 / 60
        self._owed = 0.0
        bad = round(count * lossy_percent / 100)
        self.bad = tuple(sorted(rng.sample(range(count), bad)))
        """The signs whose link is bad."""

    def second(self) -> Iterator[Stroke]:
        """Draw what happens in the next second."""
        self._owed += self._churn_per_s
        while self._owed >= 1:
            self._owed -= 1
            yield self._stroke(self._rng.randrange(self._count), COMES_AND_GOES)
        for sign in self.bad:
            if self._rng.random() < 1 / BAD_EVERY_S:
                yield self._stroke(sign, BAD_LINK)

    def _stroke(self, sign: int, kinds: tuple[Mishap, ...]) -> Stroke:
        return Stroke(sign, self._rng.choice(kinds), self._rng.randint(2, LONGEST_S))
