"""What docs/performance.md says of the figures."""

from benchmarks.figures import ratios, spread
from benchmarks.fleet import METRICS, NODE, OURS, Measured
from benchmarks.plan import FULL
from benchmarks.report import BAR_COUNT, Parts, page


def test_a_ratio_is_taken_within_each_round() -> None:
    ratio = ratios([1.0, 20.0, 300.0], [2.0, 40.0, 600.0])
    assert (ratio.least, ratio.median, ratio.most) == (0.5, 0.5, 0.5)


def test_a_spread_shows_its_ends_unless_they_are_one() -> None:
    assert spread([1.0, 5.0, 2.0]).text() == "2 (1-5)"
    assert spread([3.0]).text(1) == "3.0"


def test_a_bar_that_is_missed_is_said_to_be_missed() -> None:
    good: Measured = {metric.key: 1.0 for metric in METRICS}
    rounds = {OURS: [good | {"rss_bytes": 3.0}], NODE: [good | {"last_ms": 2.0}]}
    measured = Parts(fleet={BAR_COUNT: rounds | {"floor": [good]}})
    text = page({}, FULL, measured, "long")
    assert "order to last sign, ms | ≤ 0.80 | 0.500 | met" in text
    assert "memory a connection, bytes | ≤ 0.65 | 3.000 | **missed**" in text
