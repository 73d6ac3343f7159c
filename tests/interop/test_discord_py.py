"""discord.py, told nothing but addresses, lives with the simulator."""

import json
import sys
from collections.abc import Callable
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

reactor: Any = installed
CLIENT = Path(__file__).with_name("discord_py_client.py")
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
    discord = SimulatedDiscord(reactor, guilds=[GUILD])
    discord.startService()
    await discord.listening()
    bot = Witness()
    process = reactor.spawnProcess(
        bot,
        sys.executable,
        [sys.executable, str(CLIENT), discord.url, discord.gateway_url],
        env=None,
    )
    try:
        await witness(discord, bot)
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
