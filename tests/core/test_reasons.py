"""Nobody has to read codes."""

from typing import get_args

import pytest

from voicestatus.core import reasons
from voicestatus.core.eligibility import Skip
from voicestatus.core.rollback import Why
from voicestatus.core.rollout_state import Fault, Halt


@pytest.mark.parametrize(
    "why",
    [*(each.value for each in (*Fault, *Skip)), *filter(None, get_args(Why))],
)
def test_every_reason_of_a_device_has_words(why: str):
    assert reasons.of_device(why) != why or why in ONE_WORD


ONE_WORD = {"forgotten", "revoked"}


@pytest.mark.parametrize("halt", [*Halt])
def test_every_limit_has_words(halt: Halt):
    assert " " in reasons.of_halt(halt.value)


def test_a_devices_own_words_are_added():
    said = reasons.of_device("reported", "flash is full")
    assert said.endswith(": flash is full")


def test_a_reason_of_a_newer_server_stays_as_it_is():
    assert reasons.of_device("eaten_by_dog") == "eaten_by_dog"
    assert reasons.of_device("") == reasons.of_halt("") == ""
