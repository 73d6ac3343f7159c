"""The schema of a rule and `core.rules` say the same, as far as a schema can."""

import re
from typing import Any

import jsonschema_rs
import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voicestatus.core import rules
from voicestatus.core.errors import Refusal
from voicestatus.web.api.rules import RULE_SCHEMA

VALIDATOR = jsonschema_rs.validator_for(RULE_SCHEMA)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "Mars/Base"])
NOISE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 10**6),
    st.sampled_from([0.5, 1.0, 86_400, 86_400.5, 1e300, 10**20]),
    st.sampled_from(
        ["", "1", "0", "1\n", "\u0661", "#12345g", "#ABCDEF", "24:00", "7:00"]
    ),
    st.lists(st.sampled_from(["1", "mon", "", 1]), max_size=9),
)
settings = settings(deadline=None, max_examples=150)


def documents(schema: Any, noise: bool = False) -> st.SearchStrategy[Any]:
    """Make what a schema takes; with `noise` anything else in some places."""
    made = _valid(schema, noise)
    return made | NOISE if noise and schema.get("type") != "object" else made


def _valid(schema: Any, noise: bool) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object":
            each = {k: documents(v, noise) for k, v in schema["properties"].items()}
            needed = {key: each.pop(key) for key in schema.get("required", ())}
            return st.fixed_dictionaries(needed, optional=each)
        case "array":
            items = documents(schema["items"], noise)
            return st.lists(items, min_size=schema["minItems"], max_size=3)
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"].replace("$", r"\Z"))
        case "string":
            return ZONES | st.text(max_size=8)
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "number":
            limits = schema["minimum"], schema["maximum"]
            return st.integers(*limits) | st.floats(*limits)
    raise AssertionError(schema)


def test_both_know_the_same_keys():
    assert set(RULE_SCHEMA["properties"]) == set(rules._KEYS)
    quiet = RULE_SCHEMA["properties"]["quiet"]["items"]
    assert set(quiet["properties"]) == set(rules._QUIET_KEYS)


def refusal_of(document: Any) -> Refusal | None:
    try:
        rules.parse(document)
    except Refusal as refusal:
        return refusal
    return None


NOISY = {k: documents(v, noise=True) for k, v in RULE_SCHEMA["properties"].items()}
# One wrong key is enough for a refusal: few at a time, so that many are taken.
FEW = st.sampled_from(sorted(NOISY)).flatmap(
    lambda key: st.fixed_dictionaries({key: NOISY[key]})
)


@settings
@given(st.lists(FEW, max_size=2))
@example([{"color": "#ABCDEF", "onDelayS": 0.5, "minCount": 1_000_000}])
@example([{"quiet": [{"days": ["mon"], "from": "23:59", "to": "24:00", "tz": "UTC"}]}])
@example([{"guilds": [f"{2**64 - 1}"] * rules.MAX_IDS}])
def test_what_the_rules_take_is_valid(parts: list[Any]):
    document = {key: value for part in parts for key, value in part.items()}
    if refusal_of(document) is None:
        VALIDATOR.validate(document)
        text = rules.write(rules.parse(document))
        VALIDATOR.validate(msgspec.json.decode(text))


@settings
@given(documents(RULE_SCHEMA))
def test_what_is_valid_is_taken_or_refused_with_its_key(document: Any):
    VALIDATOR.validate(document)
    if (refusal := refusal_of(document)) is not None:
        # What no schema says: which zones there are, that an id is not 0 or too
        # large, that a quiet hour does not end when it begins.
        assert re.match(r"quiet\[\d\]\.(tz|to)$|\w+\[\d\]$", refusal.details["key"])
