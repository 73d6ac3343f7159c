"""docs/updates.md, played: a good build reaches all signs, a bad one is stopped."""

import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue

from voicestatus.core.chip import Chip
from voicestatus.core.manifest import PublicKey
from voicestatus.simulator.fates import Updating
from voicestatus.simulator.images import make_image
from voicestatus.simulator.signs import Habits, SignFleet

PAGE = Path(__file__).parents[2] / "docs" / "updates.md"
COMMAND = ("-c", "from voicestatus.cli import main; main()")
GOOD, BAD = 20, 21
FILES = {"light": ("1.5.0", GOOD), "bad": ("1.5.1", BAD)}
KEY, STRANGER, ROLLOUTS = "493e09ab", "conn-7", ("cf145bb2e1", "73457a0034")
"""What the page calls that has another name each time."""
TIMES = re.compile(r"\d\d:\d\d:\d\d|\d+ (s|min) ago")
HASTE = {
    "stages": [
        {"count": 1, "soakS": 3},
        {"percent": 50, "soakS": 3},
        {"percent": 100, "soakS": 3},
    ],
    "ratePerMinute": 6000,
    "limits": {"answerS": 20, "downloadS": 20, "backS": 10},
    "gate": {"stayS": 1},
}
"""The plan of the page, for who cannot wait."""


def examples() -> list[tuple[str, list[str]]]:
    """Read the page: what is typed, and the lines that it gives."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for example in block.split("$ ")[1:]:
            command, *lines = example.splitlines()
            found.append((command, lines))
    return found


def seen(lines: list[str], names: dict[str, str]) -> list[str]:
    """Return lines without what differs from time to time."""
    text = "\n".join(" ".join(line.split()) for line in lines)
    for shown, real in names.items():
        text = text.replace(real, shown)
    return TIMES.sub("T", text).splitlines()


def milestones(lines: list[str]) -> list[str]:
    """Leave out of a watch's lines how many signs were how far in between."""
    bare = [line.partition(" (")[0] for line in lines[:-1]] + lines[-1:]
    return [line for line, _ in groupby(bare)]


class Player:
    """Types what the page shows, where the page's names stand for real ones."""

    def __init__(self, house: Any, folder: Path, port: int) -> None:
        self.house, self.folder, self.port = house, folder, port
        self.names: dict[str, str] = {}
        self.fleet: SignFleet | None = None

    async def type(self, *words: str) -> tuple[str, int]:
        env = os.environ | {
            "ADMIN_TOKEN": "open-the-admin-side",
            "VOICESTATUS_URL": f"http://127.0.0.1:{self.port}",
        }
        output, error, status = await getProcessOutputAndValue(
            sys.executable,
            (*COMMAND, *words),
            env,
            path=str(self.folder),
            reactor=self.house.reactor,
        )
        return (output + error).decode(), status

    async def play(self, command: str) -> tuple[list[str], int]:
        for shown, real in self.names.items():
            command = command.replace(shown, real)
        words = shlex.split(command)[1:]
        if "--stages" in words:
            at = words.index("--stages")
            words[at : at + 2] = ["--plan", json.dumps(HASTE)]
        output, status = await self.type(*words)
        return output.splitlines(), status

    def build(self) -> None:
        """Make what a build makes, for two chips."""
        for name, (version, build) in FILES.items():
            for chip in (Chip.ESP32, Chip.ESP8266):
                image = make_image(chip, 65_536, version=version, build=build)
                (self.folder / f"{name}-{chip.title}.bin").write_bytes(image)

    async def sign_bad(self) -> None:
        version, build = FILES["bad"]
        said = (
            "--key",
            "keys/release.key",
            "--version",
            version,
            "--build",
            f"{build}",
        )
        for chip in ("esp32", "esp8266"):
            await self.type("sign", f"bad-{chip}.bin", *said, "--chip", chip)

    def public_key(self) -> str:
        return (self.folder / "keys" / "release.pub").read_text().strip()

    def come(self) -> SignFleet:
        """Let the signs of the page dial in."""
        updating = Updating(keys=(self.public_key(),), bad_builds=frozenset({BAD}))
        self.fleet = SignFleet(
            self.house.reactor,
            "127.0.0.1",
            self.port,
            token="sesame",
            count=8,
            habits=Habits(
                v2=True, legacy_percent=12.5, own_addresses=True, updating=updating
            ),
        )
        self.fleet.startService()
        return self.fleet

    async def learn(self) -> None:
        """Learn what the page's names stand for, as far as that is known by now."""
        self.names[KEY] = PublicKey.parse(self.public_key()).id.hex()
        _, found = await self.house.api("GET", "/devices")
        strangers = [one["id"] for one in found["devices"] if not one["enrolled"]]
        self.names |= dict(zip([STRANGER], strangers, strict=False))
        _, found = await self.house.api("GET", "/firmware/rollouts")
        begun = [one["id"] for one in reversed(found["rollouts"])]
        self.names |= dict(zip(ROLLOUTS, begun, strict=False))


@pytest_twisted.async_yield_fixture
async def player(
    house: Any, tmp_path: Path, free_port: Callable[[], int]
) -> AsyncIterator[Player]:
    player = Player(house, tmp_path, free_port())
    yield player
    if player.fleet is not None:
        await player.fleet.stopService()


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_the_page_shows_what_is_seen_and_a_bad_build_touches_one_sign_alone(
    player: Player, house: Any, soon: Any
):
    player.build()
    (keygen, _), *rest = examples()
    await player.play(keygen)
    await house.start(
        port=player.port,
        PUBLIC_URL=f"http://127.0.0.1:{player.port}",
        OTA_PUBLIC_KEYS=player.public_key(),
    )
    await house.ready()
    while (await house.api("GET", "/firmware/rollouts"))[0] != HTTPStatus.OK:
        await deferLater(house.reactor, 0.05)
    fleet = player.come()
    await soon(lambda: fleet.tally.connected == 8 and fleet.tally.enrolled == 7)
    await player.sign_bad()
    await player.learn()
    for command, shown in rest:
        told, status = await player.play(command)
        await player.learn()
        told, wanted = seen(told, player.names), seen(shown, {})
        if "--watch" in command:
            told, wanted = milestones(told), milestones(wanted)
        assert (told, status) == (wanted, "halted" in wanted[-1]), command
    fits = [sign for sign in fleet.roll_call if sign.chip in {"esp32", "esp8266"}]
    assert [sign.build for sign in fits] == [GOOD] * 5
    assert fleet.tally.rolled_back == 1
    assert fleet.connected == 8
