"""discord.py, told nothing but addresses, lives with the simulator."""

import json
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.simulator.sessions import Rules

reactor: Any = installed
CLIENT = Path(__file__).with_name("discord_py_client.py")
WORKER = Path(__file__).with_name("discord_py_rest.py")
GUILD = 1187000000000000001
DEADLINE_S = 20.0


class Witness(ProcessProtocol):
    """A discord.py bot in a process of its own."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.errors = b""
        self.ended: Deferred[None] = Deferred()
        self._rest = b""

    def outReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.told += [json.loads(line) for line in lines]

    def errReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's
        self.errors += data

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 - Twisted's
        self.ended.callback(None)

    @property
    def kinds(self) -> list[str]:
        return [line["kind"] for line in self.told]

    async def until(self, condition: Callable[[], object]) -> None:
        deadline = reactor.seconds() + DEADLINE_S
        while not condition():
            assert reactor.seconds() < deadline, (self.told, self.errors)
            await deferLater(reactor, 0.02, lambda: None)


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_discord_py_sees_people_and_resumes_after_a_drop() -> None:
    await play(SimulatedDiscord(reactor, guilds=[GUILD]), witness)


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_discord_py_takes_the_recommended_shards_and_resumes_one() -> None:
    guilds = [GUILD + (n << 22) for n in range(6)]
    rules = Rules(shards=3, max_concurrency=3)
    await play(
        SimulatedDiscord(reactor, guilds=guilds, rules=rules), witness_shards, "sharded"
    )


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_discord_py_does_its_work_by_rest() -> None:
    await play(SimulatedDiscord(reactor, guilds=[GUILD]), witness_work, client=WORKER)


async def play(
    discord: SimulatedDiscord,
    day: Callable[[SimulatedDiscord, Witness], Coroutine[Any, Any, None]],
    *options: str,
    client: Path = CLIENT,
) -> None:
    discord.startService()
    await discord.listening()
    bot = Witness()
    process = reactor.spawnProcess(
        bot,
        sys.executable,
        [sys.executable, str(client), discord.url, discord.gateway_url, *options],
        env=None,
    )
    try:
        await day(discord, bot)
    finally:
        with suppress(ProcessExitedAlready):
            process.signalProcess("KILL")
        await bot.ended
        await discord.stopService()


async def witness(discord: SimulatedDiscord, bot: Witness) -> None:
    home = discord.world.guilds[GUILD]
    lounge, games = home.rooms
    await bot.until(lambda: "ready" in bot.kinds)
    ready = bot.told[0]
    assert ready["user"] == str(discord.world.bot.id)
    assert (ready["guild"], ready["afk"]) == (str(GUILD), str(home.afk))
    assert (ready["rooms"], ready["stages"], ready["texts"]) == (3, 1, 2)

    # One at a time: a voice state that discord.py hands out still changes later.
    discord.voice(GUILD, 5, lounge, name="zed")
    await bot.until(lambda: bot.kinds.count("voice") == 1)
    discord.voice(GUILD, 5, games)
    await bot.until(lambda: bot.kinds.count("voice") == 2)
    discord.fault("drop")
    discord.voice(GUILD, 6, lounge)  # while it is away
    discord.voice(GUILD, 5, None)
    await bot.until(lambda: "resumed" in bot.kinds and len(bot.told) == 6)
    seen = [
        (line["user"], line["before"], line["after"])
        for line in bot.told
        if line["kind"] == "voice"
    ]
    assert seen == [
        ("5", None, str(lounge)),
        ("5", str(lounge), str(games)),
        ("6", None, str(lounge)),
        ("5", str(games), None),
    ]
    kinds = [entry["kind"] for entry in discord.log()]
    assert (kinds.count("identify"), kinds.count("resumed")) == (1, 1)

    # After an invalid session it identifies anew and finds the truth.
    discord.fault("invalid_session")
    await bot.until(lambda: bot.kinds.count("ready") == 2)
    assert bot.told[-1]["voice"] == discord.state()["guilds"][str(GUILD)]["voice"]


async def witness_shards(discord: SimulatedDiscord, bot: Witness) -> None:
    await bot.until(lambda: bot.kinds.count("shard_ready") == 3)
    told = {line["shard"]: set(line["guilds"]) for line in bot.told if "guilds" in line}
    assert told == {
        shard: {str(g) for g in discord.world.guilds if (g >> 22) % 3 == shard}
        for shard in range(3)
    }
    unlucky = (GUILD >> 22) % 3
    discord.fault("drop", shard=unlucky)
    discord.voice(GUILD, 5, discord.world.guilds[GUILD].rooms[0])
    await bot.until(lambda: "voice" in bot.kinds and "shard_resumed" in bot.kinds)
    resumed = [line["shard"] for line in bot.told if line["kind"] == "shard_resumed"]
    assert resumed == [unlucky]
    kinds = [entry["kind"] for entry in discord.log()]
    assert (kinds.count("identify"), kinds.count("resumed")) == (3, 1)


async def witness_work(discord: SimulatedDiscord, bot: Witness) -> None:
    home = discord.world.guilds[GUILD]
    await bot.until(lambda: "end" in bot.kinds)
    told = {line["kind"]: line for line in bot.told}
    assert "failed" not in told, told

    wrote = told["wrote"]
    assert (wrote["embed"], wrote["buttons"]) == ("in", 1)
    assert (wrote["content"], wrote["left"], wrote["listed"]) == ("bye", 0, ["bye"])
    assert told["deleted"]["code"] == 10008
    assert told["invited"]["code"] == told["invited"]["found"]
    assert told["invited"]["age"] == 3600
    assert "DJ" in told["roles"]["held"]
    assert "DJ" not in told["roles"]["left"]
    assert {int(user) for user in told["seen"]["members"]} == set(home.members)
    assert {int(room) for room in told["seen"]["channels"]} == set(home.channels)
    assert told["refused"]["code"] == 50013

    # What it wrote, deleted and gave came back to it by the gateway.
    assert told["heard_delete"]["id"] == wrote["id"]
    heard = [line["id"] for line in bot.told if line["kind"] == "heard"]
    assert heard[0] == wrote["id"]
    assert len(set(heard)) == 1 + 8
    assert bot.kinds.count("heard_roles") == 2

    # Eight messages in a bucket of five: it waited for the next window.
    assert told["waited"]["seconds"] > 4
    log = [entry for entry in discord.log() if entry["kind"] == "rest"]
    assert 429 not in {entry["status"] for entry in log}
    assert any(entry.get("reason") == "für alle" for entry in log)
