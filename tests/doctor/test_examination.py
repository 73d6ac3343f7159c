"""All checks together."""

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.logger import LogEvent

from voicestatus.doctor.examination import examine
from voicestatus.doctor.finding import Finding, Verdict, ok
from voicestatus.settings import Settings


class FakeDiscord:
    """Answers at once, or has a bug."""

    closed = False

    def __init__(self, bug: Exception | None = None) -> None:
        self.bug = bug

    async def examine(
        self, guilds: Any, features: Any, shards: int | None
    ) -> list[Finding]:
        if self.bug is not None:
            raise self.bug
        names = sorted(feature.value for feature in features)
        return [ok("token", f"{guilds} {names}")]

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def settings() -> Settings:
    with socket.socket() as trial, socket.socket() as other:
        trial.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = trial.getsockname()[1], other.getsockname()[1]
    return Settings.model_validate(
        {
            "DISCORD_TOKEN": "t",
            "ESP_AUTH_TOKEN": "e",
            "GUILD_ID": "7",
            "HOST": "127.0.0.1",
            "PORT": ports[0],
            "HEALTH_PORT": ports[1],
            "STORAGE_URL": "memory:",
        }
    )


async def told(settings: Settings, discord: Any) -> list[Finding]:
    findings: list[Finding] = []
    await examine(settings, discord, reactor, findings.append)
    return findings


@pytest_twisted.ensureDeferred
async def test_both_ports_the_store_and_discord_are_told_in_this_order(
    settings: Settings,
):
    discord = FakeDiscord()
    findings = await told(settings, discord)
    checks = [finding.check for finding in findings]
    assert checks == ["port", "port", "storage", "token"]
    assert findings[-1].found == "(7,) ['community', 'presence']"
    assert discord.closed


@pytest_twisted.ensureDeferred
async def test_a_bug_in_one_check_stops_no_other_and_tells_no_value(
    settings: Settings, nothing_is_left_behind: list[LogEvent]
):
    findings = await told(settings, FakeDiscord(ValueError("secret")))
    (logged,) = nothing_is_left_behind
    nothing_is_left_behind.clear()
    assert isinstance(logged["log_failure"].value, ValueError)
    assert findings[-1].verdict is Verdict.FAILED
    assert findings[-1].found == "the check itself failed (ValueError)"
    assert [finding.check for finding in findings][:3] == ["port", "port", "storage"]
