"""docs/command-line.md shows what the command really prints."""

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click import Context
from click.testing import CliRunner

from voicestatus.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
PLAYED = ("device", "devices", "releases", "rollout")
LAMP = "/api/v1/devices/hall-lamp"
SHOWN = {"known": True, "on": True, "count": 3, "stale": False}


def before(**how_long: int) -> str:
    return (datetime.now(UTC) - timedelta(**how_long)).isoformat()


def played() -> list[tuple[str, str]]:
    """Find the commands in the page that are clients of the API, with their output."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = example.partition("\n")
            if shlex.split(command)[1] in PLAYED:
                found.append((command, output.rstrip()))
    return found


@pytest.fixture
def make_updates(make_release: Any, make_rollout: Any) -> Any:
    """Make a server have releases, and a rollout."""

    def make(api: Any) -> None:
        releases, rollouts = "/api/v1/firmware/releases", "/api/v1/firmware/rollouts"
        lolin = make_release(
            "esp32-14-0f0f0f0f",
            board="lolin32",
            sizeBytes=412_688,
            addedAt=before(days=2, minutes=1),
        )
        old = make_release(
            "esp8266-14-a1b2c3",
            chip="esp8266",
            channel="beta",
            legacy=True,
            sizeBytes=389_120,
            addedAt=before(hours=3, minutes=1),
        )
        page = {"releases": [lolin, old], "next": None}
        api.answer("GET", releases, 200, page)
        changed = old | {"channel": "stable", "notes": "Softer at night"}
        api.answer("PATCH", f"{releases}/{old['id']}", 200, changed)
        why = f"A rollout still needs release {lolin['id']}."
        api.refuse("DELETE", f"{releases}/{lolin['id']}", 409, "RELEASE_IN_USE", why)
        rollout = make_rollout(
            "5a0c6f1e22",
            name="autumn",
            stage=1,
            stages=[{}, {}, {}, {}],
            counts={"confirmed": 31, "failed": 1, "pending": 280},
            createdAt=before(minutes=20, seconds=9),
        )
        api.answer("GET", rollouts, 200, {"rollouts": [rollout], "next": None})
        api.answer("POST", f"{rollouts}/5a0c6f1e22/pause", 200, rollout)
        failed = {
            "device": "attic",
            "phase": "failed",
            "stage": 1,
            "release": lolin["id"],
            "before": "1.3.2",
            "reason": "did not come back",
        }
        signs = {"devices": [failed], "next": None}
        api.answer("GET", f"{rollouts}/5a0c6f1e22/devices", 200, signs)

    return make


@pytest.fixture
def home(api: Any, make_device: Any, make_updates: Any) -> Any:
    """Answer as a server with three signs does."""
    lamp = make_device(
        "hall-lamp",
        name="Hall",
        connected=True,
        protocol=2,
        fw="1.4.0",
        build=14,
        chip="esp32",
        board="esp32dev",
        caps=["light"],
        boot="power",
        rssiDbm=-61,
        heapFreeB=209_984,
        uptimeS=86_460,
        reconnects=2,
        address="192.0.2.7",
        tags=["office"],
        rule={"minCount": 2},
        connectedSince=before(hours=3, minutes=1),
        firstSeen=before(days=40, minutes=1),
        lastSeen=before(seconds=1),
        tokens=[{}],
    )
    attic = make_device(
        "attic", fw="1.3.2", chip="esp8266", revoked=True, lastSeen=before(days=2)
    )
    stranger = make_device(
        "conn-4", connected=True, enrolled=False, address="192.0.2.9"
    )
    api.answer(
        "GET",
        "/api/v1/devices",
        200,
        {"devices": [attic, stranger, lamp], "next": None},
    )
    for method in ("GET", "PATCH"):
        api.answer(method, LAMP, 200, lamp)
    api.answer("DELETE", LAMP, 204, None)
    api.answer("POST", "/api/v1/devices", 201, {"device": {}, "token": "vsd_NEW"})
    api.answer("POST", f"{LAMP}/token", 200, {"token": "vsd_NEXT"})
    api.answer("POST", f"{LAMP}/commands", 202, {"device": "hall-lamp"})
    api.answer(
        "GET",
        f"{LAMP}/explain",
        200,
        {
            "device": "hall-lamp",
            "connected": True,
            "source": "device",
            "shown": SHOWN,
            "frames": [{"at": "2026-11-21T19:30:04Z", "text": "1"}],
            "rule": {"minCount": 2},
            "light": SHOWN,
            "wanted": True,
            "counted": 3,
            "needed": 2,
            "excluded": {"bot": 1, "afk": 2},
            "guilds": {"known": 1, "stale": 0, "unknown": 0},
            "quiet": False,
            "pending": [],
            "why": "3 people count, and 2 are needed.",
        },
    )
    make_updates(api)
    refusal = {"code": "DEVICE_OFFLINE", "message": "The device is not connected."}
    api.answer("POST", "/api/v1/devices/attic/commands", 409, {"error": refusal})
    return api


@pytest.mark.parametrize(("command", "output"), played())
def test_an_example_is_what_one_gets(
    home: Any, admin_token: str, command: str, output: str
):
    env = {"VOICESTATUS_URL": home.url, "ADMIN_TOKEN": admin_token}
    result = CliRunner(env=env).invoke(main, shlex.split(command)[1:])
    printed = "\n".join(line.rstrip() for line in result.output.splitlines())
    assert printed == output


def test_each_command_is_on_the_page():
    page = PAGE.read_text()
    for name in main.list_commands(Context(main)):
        assert f"## {name}\n" in page
    for group in ("device", "releases", "rollout"):
        below = main.get_command(Context(main), group)
        for name in below.commands:  # type: ignore[union-attr] # it is a group
            assert f"| `{name}" in page
