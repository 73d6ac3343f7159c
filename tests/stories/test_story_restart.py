"""A server that is killed at any moment comes back, and nothing was missed.

`make test` kills it 20 times, `pytest --soak` (`make soak`) 200 times.
"""

import json
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

import voicestatus
from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.simulator.sessions import Rules

GUILD = 1187000000000000001
ADA = 4001
TWISTD = Path(sys.executable).with_name("twistd")
SOURCE = Path(voicestatus.__file__).parents[1]


class Server:
    """The program as its user starts it, one process after the other."""

    def __init__(self, house: Any, folder: Path, port: int) -> None:
        self._house, self._folder, self.port = house, folder, port
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    @property
    def log(self) -> str:
        return (self._folder / f"log-{self._starts}").read_text()

    def start(self) -> None:
        self._starts += 1
        with (self._folder / f"log-{self._starts}").open("wb") as output:
            self._process = subprocess.Popen(
                [TWISTD, "-n", "--pidfile=", "voicestatus"],
                cwd=self._folder,
                env={
                    "PATH": "/usr/bin:/bin",
                    "PYTHONPATH": str(SOURCE),
                    "DISCORD_TOKEN": "bot-token",
                    "ESP_AUTH_TOKEN": "sesame",
                    "DISCORD_API_URL": self._house.discord.url,
                    "HOST": "127.0.0.1",
                    "PORT": str(self.port),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    async def serves(self, soon: Callable[..., Any]) -> None:
        def listens() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            return "listening on" in self.log

        await soon(listens, "it does not listen")

    async def ready(self, soon: Callable[..., Any]) -> None:
        await self.serves(soon)
        deadline = self._house.reactor.seconds() + 15
        while (await self.health())[0] != 200:
            assert self._house.reactor.seconds() < deadline, self.log
            await deferLater(self._house.reactor, 0.01)

    async def health(self) -> tuple[int, Any]:
        status, body = await self._house.get("/health", port=self.port)
        return status, json.loads(body)

    async def end(self, soon: Callable[..., Any], how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        await soon(lambda: self._process and self._process.poll() is not None)
        assert "Traceback" not in self.log, self.log
        self._process = None

    def stored(self) -> dict[int, int]:
        """Read who is where from the store's own file."""
        with closing(sqlite3.connect(self._folder / "voicestatus.db")) as file:
            rows = file.execute("SELECT body FROM documents WHERE kind LIKE '%-voice'")
            voices = [json.loads(body) for (body,) in rows]
        return {voice["user"]: voice["channel"] for voice in voices}

    def has_session(self) -> bool:
        with closing(sqlite3.connect(self._folder / "voicestatus.db")) as file:
            rows = file.execute("SELECT body FROM documents WHERE kind LIKE 'gateway%'")
            return any(json.loads(body)["session"] for (body,) in rows)


@pytest_twisted.async_yield_fixture()
async def server(
    house: Any, soon: Any, tmp_path: Path, free_port: Any
) -> AsyncIterator[Server]:
    house.discord = SimulatedDiscord(
        house.reactor,
        guilds=[GUILD],
        rules=Rules(heartbeat_interval_s=1.0, resume_window_s=600.0),
        people=20,
        rate_per_s=100,
        seed=7,
    )
    house.discord.startService()
    await house.discord.listening()
    house.discord.people.stop()
    server = Server(house, tmp_path, free_port())
    yield server
    house.discord.people.stop()
    await server.end(soon, signal.SIGKILL)


@pytest.fixture
def times(request: pytest.FixtureRequest) -> int:
    return 200 if request.config.getoption("--soak") else 20


def truth(house: Any) -> dict[int, int]:
    state = house.discord.world.state()["guilds"][str(GUILD)]["voice"]
    return {int(user): int(channel) for user, channel in state.items()}


def did(house: Any, kind: str, since: int = 0) -> list[dict[str, Any]]:
    return [e for e in house.discord.log(since) if e["kind"] == kind]


async def all_is_right(house: Any, server: Server, soon: Any) -> None:
    """Compare what signs, pages and the store know with the truth."""
    rooms = house.discord.world.guilds[GUILD].rooms
    signs = {
        room: await house.sign(f"/ws?channel={room}", port=server.port)
        for room in rooms
    }
    there = truth(house)

    def right() -> bool:
        lit = {room for room, sign in signs.items() if sign.light == "1"}
        told = all(sign.light is not None for sign in signs.values())
        return told and lit == set(there.values()) and server.stored() == there

    await soon(right, f"wrong, or late: {there}")
    _, health = await server.health()
    assert health["voiceUsers"] == len(there)
    for sign in signs.values():
        sign.transport.abortConnection()
        await sign.closed


@pytest_twisted.ensureDeferred
async def test_killed_at_any_moment_under_load_it_misses_nothing(
    house: Any, soon: Any, server: Server, times: int
):
    rng = random.Random(20)
    people = house.discord.people
    server.start()
    await server.ready(soon)
    await soon(server.has_session)
    confirmed, seen = 0, 0
    for n in range(times):
        people.start()
        how = signal.SIGTERM if n % 4 == 3 else signal.SIGKILL
        if n % 3 == 2:  # once more, while it starts
            await server.end(soon, signal.SIGKILL)
            server.start()
            await deferLater(house.reactor, rng.uniform(0, 1.2))
        else:
            await deferLater(house.reactor, rng.uniform(0, 0.5))
        await server.end(soon, how)
        server.start()
        await server.ready(soon)
        people.stop()
        await all_is_right(house, server, soon)
        for entry in house.discord.log(seen):
            seen = entry["seq"]
            if entry["kind"] == "heartbeat":
                confirmed = max(confirmed, entry["d"] or 0)
            elif entry["kind"] == "resume":
                assert entry["ok"]
                assert entry["d"] >= confirmed, "Discord may have forgotten these"
            assert entry["kind"] != "identify" or n == 0
    assert len(did(house, "resumed")) >= times
    assert {entry["code"] for entry in did(house, "close")} <= {None, 4000}


@pytest_twisted.ensureDeferred
async def test_a_stop_closes_resumably_and_stores_the_last_event(
    house: Any, soon: Any, server: Server
):
    server.start()
    await server.ready(soon)
    for room in house.discord.world.guilds[GUILD].rooms:
        house.discord.voice(GUILD, ADA, room)
    await server.end(soon, signal.SIGTERM)
    assert [entry["code"] for entry in did(house, "close")] == [4000]
    assert server.has_session()
    server.start()
    await server.ready(soon)
    await all_is_right(house, server, soon)
    assert len(did(house, "identify")) == 1


@pytest_twisted.ensureDeferred
async def test_when_the_session_is_gone_the_last_picture_shows_until_the_new_one(
    house: Any, soon: Any, server: Server
):
    server.start()
    await server.ready(soon)
    lounge, games = house.discord.world.guilds[GUILD].rooms[:2]
    house.discord.voice(GUILD, ADA, lounge)
    await soon(server.stored)
    await server.end(soon, signal.SIGKILL)
    house.discord.fault("forget_sessions")
    house.discord.voice(GUILD, ADA, games)
    server.start()
    await server.serves(soon)
    signs = [
        await house.sign(f"/ws?channel={room}", port=server.port)
        for room in (lounge, games)
    ]
    await soon(lambda: [sign.light for sign in signs] == ["1", "0"], within_s=1.0)
    status, health = await server.health()
    assert (status, health["voiceUsers"]) == (503, 1)
    await server.ready(soon)
    await soon(lambda: [sign.light for sign in signs] == ["0", "1"])
    assert [sign.heard[1:] for sign in signs] == [["1", "0"], ["0", "1"]]
    assert len(did(house, "identify")) == 2
    await all_is_right(house, server, soon)
