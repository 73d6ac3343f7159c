"""What is said of the machine."""

import pytest

from voicestatus.doctor import machine
from voicestatus.doctor.finding import Verdict


@pytest.mark.parametrize("hard", [None, 1064, 65536])
def test_enough_open_files_are_enough(hard: int | None):
    assert machine.open_files(hard, 1000, 64).verdict is Verdict.OK


def test_too_few_open_files_are_told_with_what_fits():
    finding = machine.open_files(1024, 50_000, 64)
    assert finding.verdict is Verdict.WARNING
    assert "960 connections fit" in finding.found
    assert "MAX_CONNECTIONS=960" in finding.remedy


NEEDS = ["Twisted[tls]<27,>=26.4", "klein >=24.8", "treq"]


def test_what_is_installed_as_wanted_is_well():
    has = {"Twisted": "26.10.0", "klein": "24.8.0", "treq": "25.5.0"}
    finding = machine.versions("3.11.7", NEEDS, has.get)
    assert finding.verdict is Verdict.OK
    assert finding.found == "Python 3.11.7, Twisted 26.10.0"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"Twisted": "27.1.0"}, "Twisted 27.1.0 (wanted: <27,>=26.4)"),
        ({"Twisted": "26.3.1rc1"}, "Twisted 26.3.1rc1"),
        ({"klein": None}, "klein missing"),
    ],
)
def test_what_is_not_as_wanted_is_named(wrong: dict[str, str | None], told: str):
    has = {"Twisted": "26.10.0", "klein": "24.8.0", "treq": "25.5.0"} | wrong
    finding = machine.versions("3.11.7", NEEDS, has.get)
    assert finding.verdict is Verdict.WARNING
    assert told in finding.found
    assert "pip install" in finding.remedy
