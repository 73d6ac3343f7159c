"""Plans: what JSON says, what is refused and where, and how large stages are."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.errors import Refusal
from voicestatus.core.lights import RuleText
from voicestatus.core.plan import Plan, Stage, parse, stage_of

LEAST = {"releases": ["esp32-2-0"]}


def refusal(**changes: object) -> Refusal:
    with pytest.raises(Refusal) as refused:
        parse({**LEAST, **changes})
    assert refused.value.code == "INVALID_PLAN"
    return refused.value


def test_a_plan_needs_no_more_than_releases():
    plan = parse(LEAST)
    assert [stage.percent or stage.count for stage in plan.stages] == [1, 10, 50, 100]
    assert plan.target.ids == ()
    assert not plan.probe


def test_a_plan_is_the_same_after_storage():
    plan = parse(
        {
            **LEAST,
            "target": {"tags": ["hall"], "rules": [{"minCount": 2}]},
            "stages": [{"count": 3, "successPercent": 100, "soakS": 5}],
            "windows": [
                {"days": ["sat"], "from": "22:00", "to": "04:00", "tz": "Europe/Berlin"}
            ],
        }
    )
    stored = msgspec.json.encode(plan)
    assert msgspec.json.decode(stored, type=Plan) == plan
    assert b'"from":"22:00"' in stored


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"releases": []}, "releases"),
        ({"speed": 9}, "speed"),
        ({"target": {"tag": ["hall"]}}, "target.tag"),
        ({"target": {"rules": [{"minCount": 0}]}}, "target"),
        ({"stages": [{}]}, "stages[0]"),
        ({"stages": [{"count": 1}, {"percent": 0}]}, "stages[1].percent"),
        ({"stages": [{"count": 1, "percent": 1}]}, "stages[0]"),
        ({"windows": [{"from": "25:00", "to": "1:00", "tz": "UTC"}]}, "windows[0]"),
        ({"windows": [{"from": "01:00", "tz": "UTC"}]}, "windows[0].to"),
        ({"windows": [{"from": "01:00", "to": "02:00", "tz": "Xy"}]}, "windows[0]"),
        ({"haltAt": {"count": 0}}, "haltAt.count"),
        ({"limits": {"backS": 1}}, "limits.backS"),
        ({"ratePerMinute": 0}, "ratePerMinute"),
    ],
)
def test_a_refusal_names_the_key(changes, key):
    refused = refusal(**changes)
    assert refused.details["key"] == key
    assert key in refused.message


def test_what_is_no_object_is_no_plan():
    with pytest.raises(Refusal, match="object"):
        parse([LEAST])


def test_the_rules_of_a_target_are_written_as_devices_keep_them():
    plan = parse({**LEAST, "target": {"rules": [{"minCount": 2, "event": False}]}})
    assert plan.target.rule_texts() == {RuleText('{"minCount":2}')}


@pytest.mark.parametrize(
    ("text", "stage"),
    [("1", Stage(count=1)), ("10 %", Stage(percent=10)), (" 50% ", Stage(percent=50))],
)
def test_a_stage_is_written_as_people_write_it(text, stage):
    assert stage_of(text) == stage


@pytest.mark.parametrize("text", ["", "ten", "0", "101 %", "-1", "1 1"])
def test_what_is_no_stage_is_refused(text):
    with pytest.raises(ValueError, match=r"stage|Expected"):
        stage_of(text)


def test_the_default_stages_of_a_large_fleet():
    assert parse(LEAST).sizes(5000) == (1, 500, 2500, 5000)


def test_a_tenth_of_a_small_fleet_is_one():
    assert parse(LEAST).sizes(5) == (1, 1, 3, 5)


@given(
    st.lists(
        st.one_of(
            st.builds(Stage, count=st.integers(1, 9000)),
            st.builds(Stage, percent=st.floats(0.01, 100)),
        ),
        min_size=1,
        max_size=9,
    ),
    st.integers(0, 5000),
)
def test_stages_never_shrink_and_never_hold_more_than_there_are(stages, devices):
    sizes = Plan(releases=("r",), stages=tuple(stages)).sizes(devices)
    assert list(sizes) == sorted(sizes)
    assert all(0 <= size <= devices for size in sizes)
    for stage, size in zip(stages, sizes, strict=True):
        if stage.percent is not None:
            assert size >= stage.percent * devices / 100 - 1e-3
