"""What the metrics say at one moment, for people. Pure.

A histogram's buckets are counted apart here, not summed up as Prometheus has them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, isnan

from prometheus_client import Metric

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many took longer than the bucket before says, and no longer than `up_to`."""

    up_to: float
    """Infinite in the last one."""
    count: int


@dataclass(frozen=True, slots=True)
class Spread:
    """How something that is measured is distributed."""

    count: int = 0
    sum: float = 0.0
    buckets: tuple[Bucket, ...] = ()

    def within(self, share: float) -> float | None:
        """Return what this share of all did not exceed; None: there were none.

        It is a bucket's end: the truth is at most that. Infinite: beyond all of them.
        """
        seen = 0
        for bucket in self.buckets:
            seen += bucket.count
            if self.count and seen >= share * self.count:
                return bucket.up_to
        return None


@dataclass(frozen=True, slots=True)
class Readings:
    """All samples, by name."""

    samples: Mapping[str, tuple[tuple[Labels, float], ...]] = field(
        default_factory=dict
    )

    @classmethod
    def of(cls, metrics: Iterable[Metric]) -> "Readings":
        """Take what a registry collects."""
        found: dict[str, list[tuple[Labels, float]]] = {}
        for metric in metrics:
            for sample in metric.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return cls({name: tuple(values) for name, values in found.items()})

    def value(self, name: str, **labels: str) -> float | None:
        """Return the sum of what has these labels; None: it is not known."""
        values = [
            value
            for given, value in self.samples.get(name, ())
            if labels.items() <= given.items() and not isnan(value)
        ]
        return sum(values) if values else None

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Return what has these labels, by one more."""
        return {
            given[label]: value
            for given, value in self.samples.get(name, ())
            if label in given and labels.items() <= given.items()
        }

    def spread(self, name: str) -> Spread:
        """Return a histogram without labels."""
        ends = sorted(
            (_end(given["le"]), int(value))
            for given, value in self.samples.get(f"{name}_bucket", ())
        )
        counts = [below for _, below in ends]
        apart = [later - before for before, later in pairwise([0, *counts])]
        buckets = (Bucket(end, n) for (end, _), n in zip(ends, apart, strict=True))
        total = self.value(f"{name}_sum") or 0.0
        return Spread(sum(apart), total, tuple(buckets))


def _end(text: str) -> float:
    return inf if text == "+Inf" else float(text)
