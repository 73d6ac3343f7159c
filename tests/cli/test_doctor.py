"""`voicestatus doctor`, as its user types it: a process beside a simulated Discord."""

import json
import re
import socket
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from click.testing import CliRunner
from twisted.internet import reactor as installed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.utils import getProcessOutputAndValue

from voicestatus.cli import main
from voicestatus.simulator import intents
from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.simulator.sessions import Rules
from voicestatus.simulator.tls import write_certificate

reactor: Any = installed
PAGE = Path(__file__).parents[2] / "docs/doctor.md"
COMMAND = Path(sys.executable).with_name("voicestatus")
GUILD = 1187000000000000001
SECRETS = {
    "DISCORD_TOKEN": "discord-secret-Aa1",
    "ESP_AUTH_TOKEN": "signs-secret-Bb2",
    "ADMIN_TOKEN": "admin-secret-Cc3",
    "METRICS_TOKEN": "metrics-secret-Dd4",
}


@pytest_twisted.async_yield_fixture
async def discord() -> AsyncIterator[SimulatedDiscord]:
    """A Discord that knows one token."""
    rules = Rules(token=SECRETS["DISCORD_TOKEN"])
    running = SimulatedDiscord(reactor, guilds=[GUILD], rules=rules)
    running.startService()
    await running.listening()
    yield running
    await running.stopService()


def settings(discord: SimulatedDiscord, **more: str) -> dict[str, str]:
    where = {"DISCORD_API_URL": discord.url, "HOST": "127.0.0.1", "PORT": free_port()}
    return {**SECRETS, **where, "GUILD_ID": str(GUILD), **more}


async def run(folder: Path, env: dict[str, str], *options: str) -> tuple[int, str]:
    """Give the exit status and all that was written."""
    out, err, status = await getProcessOutputAndValue(
        str(COMMAND),
        ["doctor", *options],
        env={"PATH": "/usr/bin:/bin", **env},
        path=str(folder),
        reactor=reactor,
    )
    written = (out + err).decode()
    assert "Traceback" not in written, written
    assert not any(secret in written for secret in SECRETS.values())
    return status, written


def lines(written: str) -> dict[str, str]:
    """Map each check to the verdict of its last line."""
    return {line[9:22].strip(): line[:9].strip() for line in written.splitlines()}


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_all_is_well_and_each_check_has_its_line(
    tmp_path: Path, discord: SimulatedDiscord
):
    status, written = await run(tmp_path, settings(discord))
    assert status == 0, written
    found = lines(written)
    assert found.pop("open files") in {"ok", "warning"}  # as this machine allows
    assert found == dict.fromkeys(
        [
            *("settings", "versions", "port", "storage", "disk", "tls", "token"),
            *("clock", "sessions", "shards", "intents", "server", "channels"),
            "permissions",
        ],
        "ok",
    )


class Stranger(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


@pytest_twisted.async_yield_fixture
async def taken() -> AsyncIterator[int]:
    """A port where somebody else listens."""
    factory = Factory.forProtocol(Stranger)
    factory.noisy = False
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    yield port.getHost().port
    await port.stopListening()


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_what_fails_is_told_as_json_with_status_1(
    tmp_path: Path, discord: SimulatedDiscord, taken: int
):
    env = settings(discord, PORT=str(taken), STORAGE_URL="memory:", GUILD_ID="42")
    status, written = await run(tmp_path, env, "--json")
    assert status == 1
    report = json.loads(written)
    assert report["ok"] is False
    verdicts = {check["check"]: check["verdict"] for check in report["checks"]}
    assert verdicts["port"] == "failed"
    assert verdicts["storage"] == "warning"
    assert verdicts["server"] == "failed"
    assert verdicts["token"] == "ok"
    assert all(c["remedy"] for c in report["checks"] if c["verdict"] == "failed")


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_wrong_token_stops_no_other_check(
    tmp_path: Path, discord: SimulatedDiscord
):
    env = settings(discord, DISCORD_TOKEN="wrong-secret")
    status, written = await run(tmp_path, env)
    assert status == 1
    assert "wrong-secret" not in written
    found = lines(written)
    assert found["token"] == "failed"
    assert found["storage"] == found["port"] == found["clock"] == "ok"


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_the_env_file_of_the_folder_is_read_and_judged(
    tmp_path: Path, discord: SimulatedDiscord
):
    values = settings(discord, CLOUDFLARE_TUNNEL_TOKEN="tunnel")
    text = "".join(f"{name}={value}\n" for name, value in values.items())
    write(tmp_path / ".env", text + "// a note\n")
    status, written = await run(tmp_path, {})
    assert status == 0, written
    assert "ignored: CLOUDFLARE_TUNNEL_TOKEN" in written
    assert "line 10 of .env is not NAME=VALUE" in written
    assert "chmod 600 .env" in written


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_wrong_settings_are_all_named_without_their_values(tmp_path: Path):
    status, written = await run(tmp_path, {"PORT": "seventy", "GUILD_ID": "mine"})
    assert status == 1
    assert lines(written)["settings"] == "failed"
    for name in ("DISCORD_TOKEN", "ESP_AUTH_TOKEN", "PORT", "GUILD_ID"):
        assert name in written
    assert "seventy" not in written
    assert lines(written)["versions"] == "ok"


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_the_page_shows_what_is_said(tmp_path: Path):
    off = intents.GUILD_MEMBERS | intents.GUILD_PRESENCES | intents.MESSAGE_CONTENT
    discord = SimulatedDiscord(
        reactor,
        rules=Rules(token=SECRETS["DISCORD_TOKEN"], disallowed_intents=off),
        certificate=write_certificate(tmp_path, lambda: datetime.now(UTC)),
    )
    discord.stage.add_guild(GUILD, "Harbour Radio")
    discord.startService()
    await discord.listening()
    values = settings(discord, GUILD_ID=f"{GUILD},42", MAX_CONNECTIONS="50")
    text = "".join(f"{name}={value}\n" for name, value in values.items())
    write(tmp_path / ".env", text)
    trust = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    status, written = await run(tmp_path, trust)
    await discord.stopService()
    assert status == 1
    shown = PAGE.read_text().partition("voicestatus doctor\n")[2].partition("```")[0]
    written = written.replace(str(tmp_path), "/srv/lights")
    assert numberless(written.replace("of 127.0.0.1", "of discord.com")) == (
        numberless(shown)
    )


@pytest.mark.parametrize("options", [["--env-file", "/nowhere"], ["--hurry"], ["now"]])
def test_wrong_use_is_status_2(options: list[str]):
    assert CliRunner().invoke(main, ["doctor", *options]).exit_code == 2


def numberless(text: str) -> list[str]:
    return re.sub(r"\d+", "N", text).splitlines()


def free_port() -> str:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return str(trial.getsockname()[1])


def write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o644)
