"""What is measured beside others, once and small."""

import shutil
from dataclasses import replace

import pytest

from benchmarks import downloads, journal, rules, sustained
from benchmarks.plan import QUICK


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_downloads_come_whole_while_signs_see_every_change() -> None:
    plan = replace(QUICK, downloads=3, download_signs=10, download_flips=20)
    measured = downloads.measure(plan)
    assert measured["none_mb_per_s"] == 0
    # A slow one would need 10 s for all of it; three of these take 200 KB/s each.
    assert 0 < measured["slow_mb_per_s"] < 1 < measured["fast_mb_per_s"]
    assert all(measured[f"{kind}_first_ms"] > 0 for kind in downloads.KINDS)


def test_events_are_worked_off_at_the_rate_at_which_they_come() -> None:
    plan = replace(QUICK, rate_per_s=500, guild_members=50, guilds=1)
    measured = sustained.measure(plan)
    assert 300 < measured["rate_per_s"] < 600
    assert 0 < measured["rate_cpu_percent"] < 100
    assert measured["guild_pongs"] > 0


def test_rules_are_followed_while_people_come_and_go() -> None:
    plan = replace(QUICK, rules=60, rule_guilds=2, rule_rate_per_s=200)
    measured = rules.measure(plan)
    assert 100 < measured["rate_per_s"] < 300
    assert measured["told_per_s"] > 10


def test_each_storage_is_measured_at_the_same_rate() -> None:
    measured = journal.measure(replace(QUICK, journal_s=1))
    for storage in ("none", "memory", "sqlite"):
        assert 0 < measured[f"journal_{storage}_cpu_percent"] < 100
    assert 0.2 < measured["journal_ratio"] < 5
