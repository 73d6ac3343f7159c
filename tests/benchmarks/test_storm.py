"""Signs come back to a server that was killed, once and small."""

from dataclasses import replace

import pytest

from benchmarks import storm
from benchmarks.plan import QUICK


@pytest.mark.slow
def test_signs_are_lit_right_after_their_server_was_killed() -> None:
    measured = storm.measure(replace(QUICK, storm_count=30, settle_s=0.1))
    assert 0 < measured["first_s"] <= measured["connected_s"] <= measured["right_s"]
    assert 0 < measured["right_s"] < 15
    assert measured["enrol_s"] > 0
    assert measured["cpu_s"] > 0
