"""An admin looks after the signs with the `voicestatus` command."""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.utils import getProcessOutputAndValue

from voicestatus.simulator.signs import Habits, SignFleet

ADMIN_TOKEN = "the-admin-token"
COMMAND = ("-c", "from voicestatus.cli import main; main()")


@pytest.fixture
def voicestatus(house: Any) -> Callable[..., Any]:
    """Type a command; return its output, what it complains of, and its status."""

    async def run(*arguments: str, token: str = ADMIN_TOKEN) -> tuple[str, str, int]:
        env = os.environ | {
            "VOICESTATUS_URL": f"http://127.0.0.1:{house.port}",
            "ADMIN_TOKEN": token,
        }
        output, error, status = await getProcessOutputAndValue(
            sys.executable, (*COMMAND, *arguments), env, reactor=house.reactor
        )
        assert token not in (output + error).decode()
        return output.decode(), error.decode(), status

    return run


@pytest.fixture
def done(voicestatus: Callable[..., Any]) -> Callable[..., Any]:
    async def run(*arguments: str) -> str:
        output, error, status = await voicestatus(*arguments)
        assert status == 0, error
        return str(output)

    return run


@pytest_twisted.async_yield_fixture
async def signs(house: Any) -> AsyncIterator[Callable[[int], Any]]:
    """Let signs of the second kind dial in; return the fleet and its tokens."""
    fleets: list[SignFleet] = []

    def come(count: int) -> tuple[SignFleet, dict[str, str]]:
        tokens: dict[str, str] = {}
        fleet = SignFleet(
            house.reactor,
            "127.0.0.1",
            house.port,
            token="sesame",
            count=count,
            habits=Habits(v2=True),
            own_tokens=tokens,
        )
        fleets.append(fleet)
        fleet.startService()
        return fleet, tokens

    yield come
    for fleet in fleets:
        await fleet.stopService()


@pytest_twisted.ensureDeferred
async def test_an_admin_looks_after_signs(
    house: Any, soon: Any, signs: Any, done: Any
) -> None:
    await house.start(ADMIN_TOKEN=ADMIN_TOKEN)
    await house.ready()
    fleet, tokens = signs(3)
    await soon(lambda: len(tokens) == 3)

    listed = json.loads(await done("devices", "--json"))
    assert [device["id"] for device in listed] == ["sim-0-0", "sim-0-1", "sim-0-2"]
    assert "sim-0-1" in await done("devices", "--search", "SIM 1")

    assert "Sim 0" in await done("device", "sim-0-0")
    await done("device", "sim-0-0", "rename", "Hall")
    await done("device", "sim-0-0", "tag", "+office", "+door")
    await done("device", "sim-0-0", "tag", "-door")
    await done("device", "sim-0-0", "rule", '{"minCount": 2}')
    shown = json.loads(await done("device", "sim-0-0", "--json"))
    assert (shown["name"], shown["tags"]) == ("Hall", ["office"])
    assert shown["rule"] == {"minCount": 2}
    assert '{"minCount": 2} (its own)' in await done("device", "sim-0-0", "explain")
    await done("device", "sim-0-0", "rule", "--clear")

    await done("device", "sim-0-1", "identify", "--seconds", "3")
    await soon(lambda: fleet.tally.identified == 1)
    await done("device", "sim-0-1", "reboot")
    await soon(lambda: fleet.tally.reconnects == 1)

    before = tokens["sim-0-2"]
    after = (await done("device", "sim-0-2", "token")).strip()
    await soon(lambda: tokens["sim-0-2"] == after)
    assert before != after
    await done("device", "sim-0-2", "revoke")
    await soon(lambda: fleet.tally.complaints > 0)
    await done("device", "sim-0-2", "approve")
    await done("device", "sim-0-2", "forget")
    assert "sim-0-2" not in await done("devices", "--offline")
    tally = fleet.tally
    assert (tally.errors, tally.wrong_lights) == (0, 0)


@pytest_twisted.ensureDeferred
async def test_an_old_sign_gets_a_token_of_its_own(
    house: Any, soon: Any, done: Any, voicestatus: Any
) -> None:
    await house.start(ADMIN_TOKEN=ADMIN_TOKEN)
    await house.ready()
    token = (await done("device", "old-lamp", "add", "--name", "Old lamp")).strip()
    sign = await house.sign(token=token)
    await soon(lambda: sign.light == "0")
    assert "connected" in await done("device", "old-lamp")
    _, error, status = await voicestatus("device", "old-lamp", "reboot")
    assert (status, error.count("\n")) == (1, 1)
    assert "firmware" in error
    _, error, status = await voicestatus("device", "old-lamp", "add")
    assert (status, error.count("\n")) == (1, 1)
    _, error, status = await voicestatus("device", "old-lamp", "rule", '{"least": 2}')
    assert (status, error.count("\n")) == (1, 1)
    assert "least" in error


@pytest_twisted.ensureDeferred
async def test_simulated_signs_keep_their_tokens_from_run_to_run(
    house: Any, done: Any, tmp_path: Path
) -> None:
    await house.start()
    await house.ready()
    file = tmp_path / "tokens"
    arguments = (
        *("--url", f"ws://127.0.0.1:{house.port}/ws", "--token", "sesame"),
        *("--count", "5", "--duration", "1", "--v2", "--tokens", str(file), "--json"),
    )
    for _ in range(2):
        summary = json.loads(await done("simulate-signs", *arguments))
        assert (summary["connected"], summary["enrolled"]) == (5, 5)
        assert (summary["refused"], summary["complaints"]) == (0, 0)
        assert file.stat().st_mode & 0o077 == 0


@pytest_twisted.ensureDeferred
async def test_what_stands_in_the_way_is_said(house: Any, voicestatus: Any) -> None:
    await house.start(ADMIN_TOKEN="")
    output, error, status = await voicestatus("devices")
    assert (output, status) == ("", 1)
    assert "admin side of" in error
    await house.stop()
    await house.start(ADMIN_TOKEN=ADMIN_TOKEN)
    _, error, status = await voicestatus("devices", token="a-wrong-one")
    assert status == 1
    assert "takes another admin token" in error
    _, error, status = await voicestatus("device", "nobody", "forget")
    assert status == 1
    assert "voicestatus devices" in error
