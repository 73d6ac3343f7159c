"""Which device gets which release, and if none: why not."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from voicestatus.core.chip import Chip
from voicestatus.core.eligibility import (
    CAN_UPDATE,
    Eligible,
    Facts,
    Judge,
    Skip,
    Skipped,
)
from voicestatus.core.lights import RuleText
from voicestatus.core.plan import Plan, Target, parse
from voicestatus.core.release import Channel, Release
from voicestatus.core.roll import Roll

NOW = 1_800_000_000.0
RELEASE = Release(
    id="esp32-20-abc",
    chip=Chip.ESP32,
    board="",
    version="2.0",
    build=20,
    min_build=10,
    floor=0,
    not_after=0,
    size_bytes=1000,
    sha256="abc",
    manifest="",
    md5="0" * 32,
    channel=Channel.STABLE,
    legacy=False,
    added_at=0.0,
)
FOR_LEGACY = replace(RELEASE, legacy=True)
NEW = Facts(id="a", legacy=False, chip="esp32", build=15, caps=(CAN_UPDATE,))
OLD = Facts(id="b", legacy=True, chip="esp32", version="1.0", md5="1" * 32)


def why(facts: Facts, *releases: Release, **plan: object) -> Skip | None:
    releases = releases or (RELEASE,)
    given = parse({"releases": [one.id for one in releases], **plan})
    verdict = Judge(given, releases).verdict(facts, NOW)
    return verdict.why if isinstance(verdict, Skipped) else None


def roll_of(plan: Plan, release: Release, fleet: Iterable[Facts]) -> Roll:
    roll = Roll(plan, [release])
    for facts in fleet:
        roll.take(facts, NOW)
    return roll


def test_a_device_gets_what_fits_it():
    judge = Judge(Plan(releases=("x",)), [RELEASE])
    assert judge.verdict(NEW, NOW) == Eligible(RELEASE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"revoked": True}, Skip.REVOKED),
        ({"approved": False}, Skip.NOT_APPROVED),
        ({"chip": ""}, Skip.UNKNOWN_CHIP),
        ({"chip": "esp32c3"}, Skip.WRONG_CHIP),
        ({"caps": ("light",)}, Skip.CANNOT_UPDATE),
        ({"build": None}, Skip.UNKNOWN_BUILD),
        ({"build": 20}, Skip.CURRENT),
        ({"build": 21}, Skip.NEWER),
        ({"build": 9}, Skip.TOO_OLD),
        ({"build": 10}, None),
        ({"free_bytes": 999}, Skip.NO_ROOM),
        ({"free_bytes": 1000}, None),
        ({"failed": frozenset({"esp32-20-abc"})}, Skip.FAILED_BEFORE),
        ({"failed": frozenset({"esp32-19-abc"})}, None),
        ({"rival": 20}, Skip.OTHER_ROLLOUT),
        ({"rival": 19}, None),
    ],
)
def test_a_device_that_checks_signatures(changes, reason):
    assert why(replace(NEW, **changes)) is reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"md5": FOR_LEGACY.md5}, Skip.CURRENT),
        ({"version": "2.0"}, Skip.CURRENT),
        ({"presumed": FOR_LEGACY.id}, Skip.CURRENT),
        ({"version": "2.0", "presumed": "another"}, None),
        ({"chip": ""}, Skip.UNKNOWN_CHIP),
        ({"chip": "esp8266"}, Skip.WRONG_CHIP),
        ({"free_bytes": 10}, Skip.NO_ROOM),
    ],
)
def test_an_old_device(changes, reason):
    assert why(replace(OLD, **changes), FOR_LEGACY) is reason


@pytest.mark.parametrize("facts", [NEW, OLD])
def test_nobody_gets_what_no_key_of_today_has_signed(facts: Facts):
    assert why(facts, replace(FOR_LEGACY, trusted=False)) is Skip.UNTRUSTED


def test_an_old_device_gets_only_what_an_admin_allowed_for_such():
    assert why(OLD, RELEASE) is Skip.NOT_FOR_LEGACY


def test_an_old_esp32_may_be_any_but_an_esp8266():
    s2 = replace(FOR_LEGACY, id="s2", chip=Chip.ESP32S2)
    assert why(OLD, s2) is None
    assert why(OLD, FOR_LEGACY, s2) is Skip.UNCLEAR_CHIP
    assert why(OLD, replace(FOR_LEGACY, chip=Chip.ESP8266)) is Skip.WRONG_CHIP
    assert why(OLD, replace(FOR_LEGACY, chip=Chip.HOST)) is Skip.WRONG_CHIP
    assert why(replace(OLD, chip="esp32s2"), FOR_LEGACY, s2) is None


def test_of_several_an_old_device_gets_the_one_that_is_allowed_for_such():
    s2 = replace(FOR_LEGACY, id="s2", chip=Chip.ESP32S2)
    judge = Judge(Plan(releases=("x",)), [RELEASE, replace(RELEASE, id="y"), s2])
    assert judge.verdict(OLD, NOW) == Eligible(s2)
    assert why(OLD, RELEASE, replace(s2, legacy=False)) is Skip.NOT_FOR_LEGACY


def test_the_release_that_names_the_board_wins():
    lamp = replace(RELEASE, id="lamp", board="lamp")
    judge = Judge(Plan(releases=("x",)), [RELEASE, lamp])
    assert judge.verdict(replace(NEW, board="lamp"), NOW) == Eligible(lamp)
    assert judge.verdict(replace(NEW, board="ring"), NOW) == Eligible(RELEASE)
    assert why(replace(NEW, board="ring"), lamp) is Skip.WRONG_BOARD


def test_two_releases_of_one_chip_are_no_choice():
    assert why(NEW, RELEASE, replace(RELEASE, id="other")) is Skip.UNCLEAR_CHIP


def test_a_release_may_be_over():
    assert why(NEW, replace(RELEASE, not_after=int(NOW))) is None
    assert why(NEW, replace(RELEASE, not_after=int(NOW) - 1)) is Skip.EXPIRED


def test_a_person_says_once_more():
    failed = replace(NEW, failed=frozenset({RELEASE.id}))
    judge = Judge(Plan(releases=("x",)), [RELEASE])
    assert judge.verdict(failed, NOW, again=True) == Eligible(RELEASE)
    assert why(failed, again=True) is None


@pytest.mark.parametrize(
    "target",
    [
        {"tags": ["hall", "roof"]},
        {"chips": ["esp32"]},
        {"versions": ["1.0"]},
        {"builds": [15]},
        {"ids": ["a"]},
        {"rules": [{"minCount": 2}]},
        {"tags": ["hall"], "ids": ["a"]},
    ],
)
def test_a_target_names_devices(target):
    hall = RuleText('{"minCount":2}')
    device = replace(NEW, tags=("hall",), version="1.0", rule=hall)
    other = replace(NEW, id="c", chip="esp8266", build=14, version="1.1")
    assert why(device, target=target) is None
    assert why(other, target=target) is Skip.OUTSIDE


def test_kinds_of_a_target_are_anded():
    device = replace(NEW, tags=("hall",))
    assert why(device, target={"tags": ["hall"], "ids": ["b"]}) is Skip.OUTSIDE


def test_the_roll_has_those_that_get_it_first_and_nobody_outside():
    fleet = [replace(NEW, id=f"d{n}", tags=("x",) * (n > 2)) for n in range(9)]
    fleet += [replace(NEW, id="c", build=20, tags=("x",))]
    plan = Plan(releases=("r",), target=Target(tags=("x",)))
    roll, other = roll_of(plan, RELEASE, fleet), roll_of(plan, RELEASE, fleet[::-1])
    waiting = [state.device for state in roll.waiting()]
    assert sorted(waiting) == [f"d{n}" for n in range(3, 9)]
    assert [(state.device, state.why) for state in roll.skipped()] == [("c", "current")]
    assert roll.preview() == other.preview()


def test_the_same_devices_are_first_for_the_same_release_only():
    fleet = [replace(NEW, id=f"d{n}") for n in range(50)]
    rolls = [roll_of(Plan(releases=(r,)), RELEASE, fleet) for r in ("x", "y", "x")]
    orders = {tuple(state.device for state in roll.waiting()) for roll in rolls}
    assert len(orders) == 2


def test_a_preview_names_each_device_once():
    fleet = [replace(NEW, id=f"d{n}") for n in range(20)]
    fleet += [replace(OLD, id="old"), replace(NEW, id="c", build=20)]
    plan = parse({"releases": ["r"], "stages": [{"count": 1}, {"percent": 50}]})
    shown = roll_of(plan, RELEASE, fleet).preview()
    assert [len(stage) for stage in shown.stages] == [1, 9]
    assert len(shown.beyond) == 10
    assert {state.device: state.why for state in shown.skipped} == {
        "old": "not_for_legacy",
        "c": "current",
    }
    named = [s.device for part in (*shown.stages, shown.beyond) for s in part]
    assert len({*named}) == 20


def test_an_old_device_whose_chip_is_not_known_has_its_turn_where_it_may_be_asked():
    unknown = replace(OLD, chip="")
    asked = roll_of(Plan(releases=("r",), probe=True), FOR_LEGACY, [unknown])
    not_asked = roll_of(Plan(releases=("r",)), FOR_LEGACY, [unknown])
    assert [state.device for state in asked.waiting()] == ["b"]
    assert [state.why for state in not_asked.skipped()] == ["unknown_chip"]
