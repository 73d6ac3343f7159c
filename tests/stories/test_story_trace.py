"""A day is recorded; the trace names nobody, and its replay shows the same lights."""

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from click.testing import CliRunner
from twisted.internet.task import deferLater

from voicestatus.cli import main
from voicestatus.core.lights import EVERYTHING, Light
from voicestatus.options import Options
from voicestatus.services import Row
from voicestatus.settings import Settings
from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.simulator.sessions import Rules
from voicestatus.tap import build

GUILD, OTHER = 1187000000000000001, 1187000000000000002
ADA, BEN = 1187000000000004001, 1187000000000004002
TOKEN = "the-bots-own-token"
FAULTS: list[dict[str, Any]] = [
    {"kind": "drop"},
    {"kind": "close", "code": 4000},
    {"kind": "reconnect"},
    {"kind": "garbage", "count": 3},
    {"kind": "zombie"},
    {"kind": "stall", "seconds": 0.3},
    {"kind": "outage", "guild": OTHER},
    {"kind": "outage_end", "guild": OTHER},
    {"kind": "forget_sessions"},
    {"kind": "drop"},
]
story = pytest_twisted.ensureDeferred


class Recording:
    """The program under test, recorded."""

    def __init__(self, house: Any, folder: Path) -> None:
        self._house, self._folder = house, folder
        self.seen: list[Light] = []

    def start(self, trace: Path, **settings: str) -> None:
        house, self.seen = self._house, []
        house.program = Row()
        chosen = Settings.model_validate(
            {
                "DISCORD_TOKEN": TOKEN,
                "ESP_AUTH_TOKEN": "sesame",
                "DISCORD_API_URL": house.discord.url,
                "STORAGE_URL": f"sqlite:{self._folder}/voicestatus.db",
                **settings,
            }
        )
        listen = ["tcp:0:interface=127.0.0.1"]
        lights = build(chosen, house.reactor, listen, house.program, trace)
        lights.follow(EVERYTHING, self.seen.append)
        house.program.startService()


@pytest.fixture
def crowded(house: Any) -> Any:
    """Two guilds and people who change something all the time."""
    house.discord = SimulatedDiscord(
        house.reactor,
        guilds=[GUILD, OTHER],
        rules=Rules(token=TOKEN, heartbeat_interval_s=0.4, identify_every_s=0.1),
        people=6,
        rate_per_s=40,
        seed=5,
    )
    return house


def secrets_of(discord: SimulatedDiscord) -> set[str]:
    """Find every id, name and token that the simulated Discord knows."""
    found = {TOKEN, "sesame", discord.url.removeprefix("http://").split("/")[0]}
    world = discord.world
    found |= {str(world.bot.id), world.bot.name}
    for guild in world.guilds.values():
        found |= {str(guild.id), guild.name}
        for channel in guild.channels.values():
            found |= {str(channel.id), channel.name}
        for role in guild.roles:
            found |= {str(role.id), role.name}
        for member in guild.members.values():
            found |= {str(member.user.id), member.user.name, member.user.name.title()}
    return found


def told_by(trace: Path) -> set[str]:
    """Find every text, key and number of a trace."""
    texts: set[str] = set()

    def walk(value: Any) -> None:
        match value:
            case dict():
                for key, each in value.items():
                    texts.add(key)
                    walk(each)
            case list():
                for each in value:
                    walk(each)
            case _:
                texts.add(str(value))

    for line in trace.read_text().splitlines():
        walk(json.loads(line))
    return texts


def replayed(trace: Path, *options: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(main, ["replay", str(trace), "--json", *options])
    assert result.exit_code == 0, result.output[-3000:]
    again = CliRunner().invoke(main, ["replay", str(trace), "--json", *options])
    assert again.output == result.output
    return [json.loads(line) for line in result.output.splitlines()]


def lights_in(timeline: list[dict[str, Any]]) -> list[tuple[str, bool, int]]:
    return [
        (moment["state"], moment.get("stale", False), moment.get("count", 0))
        for moment in timeline
        if moment["kind"] == "light"
    ]


def lights_seen(seen: list[Light]) -> list[tuple[str, bool, int]]:
    return [
        (("on" if light.on else "off") if light.known else "unknown",
         light.stale, light.count)
        for light in seen
    ]  # fmt: skip


def assert_names_nobody(trace: Path, known: set[str]) -> None:
    assert stat.S_IMODE(trace.stat().st_mode) == 0o600
    assert not known & told_by(trace)
    text = trace.read_text()
    assert not re.search(r"\d{17,}", text)
    for word in (TOKEN, "private", "example.org", "Benson", "ada", "127.0.0.1"):
        assert word not in text
    for id_ in (str(GUILD), str(OTHER), str(ADA), str(BEN)):
        assert id_ not in text


@story
async def test_a_trace_names_nobody_and_replays_what_was_seen(
    crowded: Any, soon: Callable[..., Any], tmp_path: Path
):
    house, trace = crowded, tmp_path / "first.trace"
    house.discord.startService()
    await house.discord.listening()
    recording = Recording(house, tmp_path)
    recording.start(trace)
    await house.ready()
    stage = house.discord.stage
    stage.meet(GUILD, ADA, "ada@example.org", bot=False)
    stage.voice(GUILD, ADA, house.guild.rooms[0])
    stage.voice(GUILD, BEN, house.guild.rooms[0], name="Ben Benson")
    stage.add_channel(GUILD, None, "a very private place", 2)
    for fault in FAULTS:
        stage.fault(**fault)
        await deferLater(house.reactor, 1.2 if fault["kind"] == "zombie" else 0.4)
    await house.ready()
    house.discord.people.stop()
    stage.voice(GUILD, BEN, None)
    await soon(lambda: not recording.seen[-1].stale)
    known = secrets_of(house.discord)
    await house.stop()

    assert_names_nobody(trace, known)
    timeline = replayed(trace)
    # The lights stop before the link does, whose end the replay goes on to.
    assert lights_in(timeline)[: len(recording.seen)] == lights_seen(recording.seen)
    assert len(lights_in(timeline)) <= len(recording.seen) + 1
    assert len(recording.seen) > 10
    states = [m["state"] for m in timeline if m["kind"] == "link"]
    assert states.count("identifying") == 2
    assert states.count("resuming") >= 4
    kinds = {moment["kind"] for moment in timeline}
    assert {"link", "guild", "people", "light", "heartbeat", "fault"} <= kinds
    assert timeline[-1]["errors"] == 0

    # The process after it resumes: what it stood for is in its trace, too.
    second = tmp_path / "second.trace"
    recording.start(second)
    await house.ready()
    stage.voice(GUILD, ADA, None)
    stage.voice(GUILD, BEN, house.guild.rooms[0])
    await soon(lambda: len(recording.seen) > 1)
    await deferLater(house.reactor, 0.2)
    await house.stop()
    assert_names_nobody(second, known)
    timeline = replayed(second)
    assert "identifying" not in [m.get("state") for m in timeline]
    live = lights_seen(recording.seen)
    shown = [light for light in live if light[0] != "unknown"]
    again = [light for light in lights_in(timeline) if light[0] != "unknown"]
    assert again[: len(shown)] == shown
    assert len(again) <= len(shown) + 1


@story
async def test_each_shard_is_replayed(
    crowded: Any, soon: Callable[..., Any], tmp_path: Path
):
    house, trace = crowded, tmp_path / "shards.trace"
    first, second = 4 << 42, (4 << 42) + (1 << 22)  # of two shards, one each
    house.discord = SimulatedDiscord(
        house.reactor,
        guilds=[first, second],
        rules=Rules(token=TOKEN, max_concurrency=2, shards=2),
    )
    house.discord.startService()
    await house.discord.listening()
    recording = Recording(house, tmp_path)
    recording.start(trace, GUILD_ID=f"{first},{second}")
    await house.ready()
    stage = house.discord.stage
    for guild in (first, second):
        stage.voice(guild, ADA, house.discord.world.guilds[guild].rooms[0])
    stage.fault("drop", shard=1)
    await soon(lambda: any(light.stale for light in recording.seen))
    await soon(lambda: not recording.seen[-1].stale)
    await house.ready()
    for guild in (first, second):
        stage.voice(guild, ADA, None)
    await soon(lambda: not recording.seen[-1].on)
    known = secrets_of(house.discord)
    await house.stop()
    assert not known & told_by(trace)
    timeline = replayed(trace)
    live = lights_seen(recording.seen)
    assert lights_in(timeline)[: len(live)] == live
    opened = [m["shard"] for m in timeline if m.get("state") == "open"]
    assert sorted(opened) == [0, 1, 1]


def test_the_file_is_named_where_the_server_was_started(tmp_path: Path):
    options = Options()
    options.parseOptions(["--demo", "--record", "a.trace"])
    assert options.record == Path.cwd() / "a.trace"
