"""What can be undone of an update, device by device."""

from dataclasses import replace

import pytest

from voicestatus.core.chip import Chip
from voicestatus.core.eligibility import CAN_UPDATE, Facts
from voicestatus.core.release import Channel, Release
from voicestatus.core.rollback import undo
from voicestatus.core.rollout_state import Before, DeviceState, Phase

BEFORE = Release(
    id="esp32-1-abc",
    chip=Chip.ESP32,
    board="",
    version="1.0",
    build=1,
    min_build=0,
    floor=0,
    not_after=0,
    size_bytes=1000,
    sha256="abc",
    manifest="",
    md5="1" * 32,
    channel=Channel.STABLE,
    legacy=True,
    added_at=0.0,
)
NEW = Facts(id="a", legacy=False, chip="esp32", build=2, caps=(CAN_UPDATE,))
OLD = Facts(id="a", legacy=True, chip="esp32")


def said(
    facts: Facts | None,
    before: Before | None,
    *releases: Release,
    phase: Phase = Phase.CONFIRMED,
    why: str = "",
) -> str:
    state = DeviceState(
        device="a", phase=phase, since=0.0, release="r", stage=0, before=before, why=why
    )
    one = undo(state, facts, releases or (BEFORE,))
    return f"{one.can} {one.release or one.why}"


def test_a_device_that_checks_signatures_takes_no_lower_build():
    assert said(NEW, Before(build=1)) == "impossible takes_no_lower_build"


def test_nobody_goes_back_to_what_no_key_of_today_has_signed():
    release = replace(BEFORE, trusted=False)
    before = Before(md5=BEFORE.md5)
    assert said(OLD, before, release) == "impossible no_such_release"
    assert said(OLD, before, BEFORE) == f"offered {BEFORE.id}"


def test_one_that_went_back_by_itself_needs_nothing():
    back = replace(NEW, build=1, connected_at=1.0, introduced=True)
    assert said(back, Before(build=1)) == "needless still_runs_it"
    gone = replace(NEW, build=1)
    assert said(gone, Before(build=1)) == "impossible takes_no_lower_build"


@pytest.mark.parametrize(
    ("before", "what"),
    [
        (Before(md5="1" * 32), "offered esp32-1-abc"),
        (Before(version="1.0"), "offered esp32-1-abc"),
        (Before(md5="2" * 32, version="1.0"), "impossible no_such_release"),
        (Before(version="own"), "impossible no_such_release"),
        (Before(), "impossible unknown_before"),
        (None, "impossible unknown_before"),
    ],
)
def test_an_old_device_is_given_what_it_ran(before, what):
    assert said(OLD, before) == what


def test_but_only_what_an_admin_allowed_for_such_and_what_fits_its_chip():
    before = Before(version="1.0")
    unsafe, other = replace(BEFORE, legacy=False), replace(BEFORE, chip=Chip.ESP8266)
    assert said(OLD, before, unsafe, other) == "impossible no_such_release"


def test_who_fetches_is_not_stopped():
    assert said(OLD, Before(), phase=Phase.FETCHING) == "impossible under_way"


@pytest.mark.parametrize("facts", [NEW, OLD])
def test_who_never_started_the_release_needs_nothing(facts):
    what = said(facts, Before(), phase=Phase.FAILED, why="interrupted")
    assert what == "needless still_runs_it"


def test_who_says_what_it_runs_is_believed_before_what_became_of_its_update():
    here = replace(NEW, build=2, connected_at=1.0, introduced=True)
    what = said(here, Before(build=1), phase=Phase.FAILED, why="timed_out")
    assert what == "impossible takes_no_lower_build"


def test_who_is_forgotten_needs_nothing():
    assert said(None, Before()) == "needless forgotten"
