"""Readers of an event stream beside signs, once and small; and what is said of them."""

from dataclasses import replace

from benchmarks import streams
from benchmarks.fleet import NODE, OURS, Measured
from benchmarks.plan import FULL, QUICK
from benchmarks.report import STREAM_METRICS, Parts, page


def test_all_readers_and_signs_hear_of_each_event() -> None:
    plan = replace(
        QUICK, stream_readers=10, stream_signs=10, stream_events=3, settle_s=0
    )
    measured = streams.measure(streams.ours(), plan)
    assert 0 < measured["first_ms"] <= measured["last_ms"] <= measured["last_p99_ms"]
    assert measured["signs_last_ms"] > 0
    assert measured["event_cpu_ms"] > 0


def test_a_stream_is_judged_by_node_and_by_its_slowest_events() -> None:
    good: Measured = {metric.key: 2.0 for metric in STREAM_METRICS}
    rounds = {OURS: [good | {"last_p99_ms": 101.0}], NODE: [good | {"last_ms": 1.0}]}
    text = page({}, FULL, Parts(fleet={}, streams=rounds), "long")
    assert "to the last reader, ms | 2.0 | 1.0 | 2.00 | ≤ 1.20 | **missed** |" in text
    assert "of the events, ms | 101.0 | 2.0 | 50.50 | ≤ 100 | **missed** |" in text
