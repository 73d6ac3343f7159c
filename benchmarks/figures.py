"""Numbers of several rounds, and what is said of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

Values = Sequence[float]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, and how far they lie apart."""

    median: float
    least: float
    most: float

    def text(self, digits: int = 0) -> str:
        """Write it as `median (min-max)`."""
        few = f",.{digits}f"
        if self.least == self.most:
            return f"{self.median:{few}}"
        return f"{self.median:{few}} ({self.least:{few}}-{self.most:{few}})"


def spread(values: Values) -> Spread:
    return Spread(median(values), min(values), max(values))


def ratios(ours: Values, theirs: Values) -> Spread:
    """Compare round by round: what ran side by side shared the machine's moods."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def percentile(values: Values, part: float) -> float:
    """Return the value that `part` of them, from 0 to 1, do not exceed."""
    ordered = sorted(values)
    return ordered[round((len(ordered) - 1) * part)]
