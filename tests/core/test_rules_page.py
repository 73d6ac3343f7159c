"""docs/rules.md: what it shows is understood, and it names each key."""

import json
import re
from pathlib import Path

import pytest

from voicestatus.core.rules import Rule, parse

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
WRITTEN = {
    "on_delay_s": "onDelayS",
    "off_delay_s": "offDelayS",
    "min_on_s": "minOnS",
    "min_count": "minCount",
    "count_bots": "countBots",
    "count_afk": "countAfk",
}


def test_the_page_has_examples():
    assert len(EXAMPLES) > 8


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_rule(example: str):
    assert parse(json.loads(example)) != Rule()


def test_every_key_has_its_line():
    lines = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert lines == {WRITTEN.get(name, name) for name in Rule.__dataclass_fields__}
