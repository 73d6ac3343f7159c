"""Rules: what is understood, what is refused and how, and one text for one meaning."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.errors import Refusal
from voicestatus.core.lights import EVERYTHING, RuleText
from voicestatus.core.quiet import QuietHours
from voicestatus.core.rules import Rule, parse, read, write

FULL = {
    "guilds": ["1"],
    "channels": ["2"],
    "categories": ["3"],
    "users": ["4", "18446744073709551615"],
    "roles": ["5"],
    "event": True,
    "speaking": True,
    "minCount": 2,
    "streaming": True,
    "countBots": True,
    "countAfk": False,
    "onDelayS": 1.5,
    "offDelayS": 2,
    "minOnS": 86400,
    "quiet": [{"days": ["mon"], "from": "23:00", "to": "07:00", "tz": "Europe/Berlin"}],
    "unknown": "off",
    "pattern": "breathe",
    "color": "#00ff00",
    "brightness": 0,
}
NIGHT = {"from": "23:00", "to": "07:00", "tz": "UTC"}


def test_a_rule_with_every_key_is_understood():
    rule = parse(FULL)
    assert rule == Rule(
        guilds=frozenset({1}),
        channels=frozenset({2}),
        categories=frozenset({3}),
        users=frozenset({4, 2**64 - 1}),
        roles=frozenset({5}),
        event=True,
        speaking=True,
        streaming=True,
        min_count=2,
        count_bots=True,
        count_afk=False,
        on_delay_s=1.5,
        off_delay_s=2,
        min_on_s=86400,
        quiet=(QuietHours((0,), 23 * 60, 7 * 60, "Europe/Berlin"),),
        unknown="off",
        pattern="breathe",
        color="#00ff00",
        brightness=0,
    )
    assert json.loads(write(rule)) == FULL


def test_a_document_that_spells_out_nothing_is_the_default_rule():
    defaults = {
        "event": False,
        "speaking": False,
        "streaming": False,
        "minCount": 1,
        "onDelayS": 0,
        "offDelayS": 0.0,
        "minOnS": 0,
        "pattern": "solid",
        "color": "#5865F2",
        "brightness": 255,
    }
    assert write(parse({})) == write(parse(defaults)) == EVERYTHING
    assert read(EVERYTHING) == Rule()


def test_what_the_servers_settings_say_otherwise_is_kept_though_it_is_the_default():
    said = {"countAfk": False, "countBots": False, "unknown": "hold"}
    assert json.loads(write(parse(said))) == said


def test_rules_that_mean_the_same_have_the_same_text():
    one = {"users": ["3", "20"], "guilds": ["1"], "quiet": [NIGHT], "onDelayS": 2.0}
    other = {
        "guilds": ["1", "1"],
        "onDelayS": 2,
        "quiet": [
            NIGHT | {"days": ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]},
            NIGHT,
        ],
        "users": ["20", "3"],
    }
    assert write(parse(one)) == write(parse(other))
    assert write(parse({"guilds": ["7"]})) == '{"guilds":["7"]}'


def wrong_key(document: object) -> str:
    with pytest.raises(Refusal) as refused:
        parse(document)
    assert refused.value.code == "VALIDATION_FAILED"
    key = refused.value.details["key"]
    assert isinstance(key, str)
    assert key in refused.value.message
    return key


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ([], ""),
        (None, ""),
        ({"guild": ["1"]}, "guild"),
        ({"guilds": []}, "guilds"),
        ({"guilds": "1"}, "guilds"),
        ({"guilds": None}, "guilds"),
        ({"guilds": ["1"] * 1001}, "guilds"),
        ({"guilds": ["1", 2]}, "guilds[1]"),
        ({"guilds": [1187000000000000001]}, "guilds[0]"),
        ({"users": ["0"]}, "users[0]"),
        ({"users": ["18446744073709551616"]}, "users[0]"),
        ({"users": ["-1"]}, "users[0]"),
        ({"users": ["\u0661"]}, "users[0]"),
        ({"users": [None]}, "users[0]"),
        ({"event": 1}, "event"),
        ({"event": None}, "event"),
        ({"minCount": 0}, "minCount"),
        ({"minCount": True}, "minCount"),
        ({"minCount": 1.0}, "minCount"),
        ({"onDelayS": -1}, "onDelayS"),
        ({"offDelayS": 86401}, "offDelayS"),
        ({"minOnS": float("nan")}, "minOnS"),
        ({"minOnS": True}, "minOnS"),
        ({"minOnS": 10**400}, "minOnS"),
        ({"unknown": "on"}, "unknown"),
        ({"pattern": "disco"}, "pattern"),
        ({"color": "red"}, "color"),
        ({"color": "#12345"}, "color"),
        ({"brightness": 256}, "brightness"),
        ({"quiet": []}, "quiet"),
        ({"quiet": [NIGHT] * 51}, "quiet"),
        ({"quiet": ["night"]}, "quiet[0]"),
        ({"quiet": [NIGHT, NIGHT | {"from": "7:00"}]}, "quiet[1].from"),
        ({"quiet": [NIGHT | {"from": "24:00"}]}, "quiet[0].from"),
        ({"quiet": [NIGHT | {"to": "24:01"}]}, "quiet[0].to"),
        ({"quiet": [NIGHT | {"to": "23:00"}]}, "quiet[0].to"),
        ({"quiet": [NIGHT | {"to": 7}]}, "quiet[0].to"),
        ({"quiet": [{"from": "23:00", "tz": "UTC"}]}, "quiet[0].to"),
        ({"quiet": [{"from": "23:00", "to": "07:00"}]}, "quiet[0].tz"),
        ({"quiet": [NIGHT | {"tz": "Europe/Atlantis"}]}, "quiet[0].tz"),
        ({"quiet": [NIGHT | {"tz": "Europe"}]}, "quiet[0].tz"),
        ({"quiet": [NIGHT | {"tz": "../../etc/passwd"}]}, "quiet[0].tz"),
        ({"quiet": [NIGHT | {"tz": "/etc/passwd"}]}, "quiet[0].tz"),
        ({"quiet": [NIGHT | {"days": []}]}, "quiet[0].days"),
        ({"quiet": [NIGHT | {"days": ["mon", "monday"]}]}, "quiet[0].days[1]"),
        ({"quiet": [NIGHT | {"days": [[]]}]}, "quiet[0].days[0]"),
        ({"quiet": [NIGHT | {"until": "07:00"}]}, "quiet[0].until"),
    ],
)
def test_what_is_wrong_is_named(document: object, key: str):
    assert wrong_key(document) == key


def test_an_id_that_is_a_number_is_refused_with_the_reason():
    with pytest.raises(Refusal, match="loses digits"):
        parse({"channels": [1187000000000000403]})


@pytest.mark.parametrize("text", ["", "{", "[]", "nul", '"x"', "[" * 100_000, "\ud800"])
def test_text_that_is_no_rule_is_refused(text: str):
    with pytest.raises(Refusal):
        read(RuleText(text))


# ---- any document ------------------------------------------------------------------

anything = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*FULL, "from", "to", "tz", "days"]), inner),
    ),
    max_leaves=10,
)
ids = st.lists(st.integers(1, 2**64 - 1).map(str), min_size=1, max_size=4)
clock = st.integers(0, 1439).map(lambda n: f"{n // 60:02}:{n % 60:02}")
quiet = st.fixed_dictionaries(
    {"from": clock, "to": clock, "tz": st.sampled_from(["UTC", "Asia/Tokyo"])},
    optional={
        "days": st.lists(st.sampled_from(["mon", "sat", "sun"]), min_size=1, max_size=4)
    },
).filter(lambda one: one["from"] != one["to"])
seconds = st.one_of(st.integers(0, 86400), st.floats(0, 86400))
valid = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("guilds", "channels", "categories", "users", "roles"), ids),
        **dict.fromkeys(
            ("event", "speaking", "streaming", "countBots", "countAfk"), st.booleans()
        ),
        **dict.fromkeys(("onDelayS", "offDelayS", "minOnS"), seconds),
        "minCount": st.integers(1, 1_000_000),
        "quiet": st.lists(quiet, min_size=1, max_size=3),
        "unknown": st.sampled_from(["hold", "off"]),
        "pattern": st.sampled_from(["solid", "breathe", "blink", "rainbow"]),
        "color": st.from_regex(r"#[0-9a-fA-F]{6}", fullmatch=True),
        "brightness": st.integers(0, 255),
    },
)


@given(st.one_of(anything, st.dictionaries(st.sampled_from(list(FULL)), anything)))
def test_any_json_is_a_rule_or_a_refusal(document: object):
    try:
        rule = parse(document)
    except Refusal:
        return
    assert read(write(rule)) == rule


@given(valid)
def test_a_rule_that_is_written_and_read_is_the_same(document: dict[str, object]):
    rule = parse(document)
    text = write(rule)
    assert read(text) == rule
    assert write(read(text)) == text
    assert parse(json.loads(text)) == rule
    assert all(one < other for one, other in pairwise(json.loads(text)))
    assert " " not in text
