"""What each feature needs, against Discord's own numbers and our page."""

import json
from pathlib import Path

import pytest

from voicestatus.core.features import (
    NEEDS,
    PRIVILEGED,
    Feature,
    intents,
    not_allowed,
    not_built,
)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text()


def test_the_intents_are_discords_and_one_of_them_is_privileged():
    bits = json.loads((ROOT / "tests/fixtures/derived/intents.json").read_text())
    assert intents({Feature.PRESENCE}) == bits["GUILDS"] | bits["GUILD_VOICE_STATES"]
    assert intents({Feature.COMMUNITY}) == bits["GUILD_INVITES"]
    assert intents(set(Feature)) & PRIVILEGED == bits["GUILD_MEMBERS"]


@pytest.mark.parametrize("feature", Feature)
def test_the_page_tells_what_each_feature_gives_and_which_switch_it_needs(
    feature: Feature,
):
    (line,) = [
        ln for ln in PAGE.splitlines() if ln.startswith(f"| `{feature.value}` |")
    ]
    needs = NEEDS[feature]
    assert needs.gives in line
    assert needs.missing in line
    switch = "none" if needs.switch is None else f"*{needs.switch.name}*"
    assert f"| {switch} |" in line


def test_nothing_is_said_of_features_that_nobody_wants():
    assert not_allowed({Feature.PRESENCE}, 0) == not_built({Feature.PRESENCE}) == {}
