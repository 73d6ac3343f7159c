"""docs/rollouts.md names each word that a rollout uses, and no other as one."""

import re
from enum import Enum
from pathlib import Path
from typing import get_args

import pytest

from voicestatus.core.eligibility import MAY_CHANGE, Skip
from voicestatus.core.rollback import Undo, Why
from voicestatus.core.rollout_state import Fault, Halt, Phase, Status

PAGE = (Path(__file__).parents[2] / "docs" / "rollouts.md").read_text()
SECTIONS = {
    title.strip(): body
    for title, body in re.findall(r"^## (.*)\n([^#]*)", PAGE, re.MULTILINE)
}


def words(section: str) -> set[str]:
    """Return what stands between backticks in the first column of its tables."""
    rows = re.findall(r"^\| ([^|]*) \|", SECTIONS[section], re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`(\w+)`", row)} - {"why"}


def values(kind: type[Enum]) -> set[str]:
    return {one.value for one in kind}


@pytest.mark.parametrize(
    ("section", "kinds"),
    [
        ("How far a device is", [Phase]),
        ("When it halts", [Halt, Status]),
        ("Why a device failed", [Fault]),
        ("Why a device is skipped", [Skip]),
    ],
)
def test_each_word_is_explained(section, kinds):
    known = set[str]().union(*map(values, kinds))
    assert words(section) - {"phase", "status"} == known


def test_each_reason_that_may_change_is_marked():
    section = SECTIONS["Why a device is skipped"]
    marked = set(re.findall(r"`(\w+)` \\\*", section))
    assert marked == {skip.value for skip in MAY_CHANGE}


def test_each_way_back_is_explained():
    rows = SECTIONS["Going back"]
    for word in (*get_args(Why), *get_args(Undo.__annotations__["can"])):
        assert not word or f"`{word}`" in rows
