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


def test_a_storm_is_judged_by_its_slowest_round_and_by_nodes_memory() -> None:
    storm: Measured = dict.fromkeys(
        (
            *("first_s", "connected_s", "right_s", "longest_pong_ms", "cpu_s"),
            *("enrol_s", "enrol_cpu_us", "rss_bytes"),
        ),
        2.0,
    )
    good: Measured = {metric.key: 4.0 for metric in METRICS}
    fleet = {BAR_COUNT: {name: [good] for name in (OURS, NODE, "floor")}}
    slow = storm | {"right_s": 15.1}
    text = page({}, FULL, Parts(fleet=fleet, storm=[storm, storm, slow]), "long")
    assert "all are lit right, s | 2.0 (2.0-15.1) | ≤ 15 | **missed**" in text
    assert "the same ÷ Node | 0.500 | ≤ 0.65 | met" in text
    alone = page({}, FULL, Parts(fleet={}, storm=[storm]), "long")
    assert "all are lit right, s | 2.0 | ≤ 15 | met" in alone
    assert "÷ Node |" not in alone


def test_the_journal_is_judged_by_its_ratio_to_memory() -> None:
    kinds = ("none", "memory", "sqlite")
    good: Measured = {f"journal_{kind}_cpu_percent": 5.0 for kind in kinds}
    rounds = [good | {"journal_ratio": ratio} for ratio in (1.0, 1.2, 1.4)]
    text = page({}, FULL, Parts(fleet={}, journal=rounds), "long")
    assert "`sqlite:` ÷ `memory:` | 1.20 (1.00-1.40) | ≤ 1.10 | **missed**" in text
