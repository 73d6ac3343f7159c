"""What docs/wire-device.md shows is what happens."""

import json
import re
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from voicestatus.core.lights import Light
from voicestatus.devices.registry import Patch
from voicestatus.devices.wire import texts_in

PAGE = Path(__file__).parents[2] / "docs" / "wire-device.md"
EXAMPLES = re.findall(
    r"^```wire\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE
)
TOKEN = re.compile(r"vsd_[A-Za-z0-9_-]{43}")
ID = "246F28A1B2C3"


@pytest.fixture
def table(make_table):
    return make_table(public_url="https://signs.example")


@pytest.fixture
def happen(table, lights, offer):
    """Let happen what stands between the messages."""

    def stranger():
        (name,) = [each.id for each in table.devices() if not each.enrolled]
        return name

    def command(**text):
        return lambda: table.command(ID, text)

    def done(make):
        return lambda: Deferred.fromCoroutine(make())

    return {
        "two more join": lambda: lights.set(Light(known=True, on=True, count=3)),
        "all leave": lambda: lights.set(Light(known=True)),
        "an admin rotates the token": done(lambda: table.rotate(ID)),
        "an admin revokes the device": done(
            lambda: table.change(ID, Patch(revoked=True))
        ),
        "an admin sends identify": command(type="identify", seconds=5),
        "an admin sends reboot": command(type="reboot"),
        "release 1.5.0 is rolled out": lambda: table.offer(ID, offer),
        "release 1.5.0 is rolled out to an old device": lambda: table.offer(
            stranger(), offer
        ),
        "an admin probes the device": lambda: table.probe(
            stranger(), "/ota/images/probe/qXnVtMZk3vN0c8Qm1xT5yRb7uE2pLw9sHd4aJgKf6iO"
        ),
        "an admin sends config": command(type="config", brightness=120),
    }


@pytest.mark.parametrize("talk", ["direct"], indirect=True)
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_page_is_what_happens(example, talk, masked, clock, happen):
    line = talk()
    tokens: dict[str, str] = {}
    heard: list[str] = []
    for step in example.splitlines():
        kind, text = step[:2], step[2:]
        if kind == "> ":
            said = TOKEN.sub(lambda found: tokens[found[0]], text)
            line.say(masked(1, said.encode()))
            clock.advance(0)
        elif kind == "< ":
            heard = heard or [*texts_in(line.heard().removesuffix(b"\x88\x02\x03\xf0"))]
            got = heard.pop(0)
            for shown, made in zip(
                TOKEN.findall(text), TOKEN.findall(got), strict=True
            ):
                tokens[shown] = made
                got = got.replace(made, shown)
            assert got == text
        else:
            assert heard == []
            what = step.strip("()")
            if what == "the device dials again":
                line.device.connectionLost()
                line = talk()
            else:
                happen[what]()
    assert heard == []
    assert line.heard() == b""


def test_the_page_has_examples_and_what_they_show_is_compact():
    assert len(EXAMPLES) >= 6
    for text in re.findall(r"^[<>] (\{.*)$", "\n".join(EXAMPLES), re.MULTILINE):
        assert json.dumps(json.loads(text), separators=(",", ":")) == text
