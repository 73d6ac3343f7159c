"""A whole program beside a simulated Discord, on real ports, and signs as they are."""

import base64
import json
import os
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import treq
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import Agent

from voicestatus.services import Row
from voicestatus.settings import Settings
from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.simulator.signs import SignFleet
from voicestatus.tap import build
from voicestatus.web.listen import Listener

GUILD = 1187000000000000001
TOKEN = "sesame"
ADMIN = "open-the-admin-side"


async def eventually(
    holds: Callable[[], object], what: str = "", within_s: float = 10.0
) -> None:
    """Wait until something holds, or fail."""
    from twisted.internet import reactor

    deadline = reactor.seconds() + within_s
    while not holds():
        assert reactor.seconds() < deadline, what or "it never came to hold"
        await deferLater(reactor, 0.01)


class Sign(Protocol):
    """A sign in the field, byte for byte. Source: WebSocketsClient.cpp 2.7.1."""

    def __init__(self, port: int, path: str, token: str | None) -> None:
        self._port, self._path, self._token = port, path, token
        self._data = b""
        self.head = b""
        self.heard: list[str] = []
        self.pongs = 0
        self.closed: Deferred[None] = Deferred()
        self.close_frame: bytes | None = None

    @property
    def light(self) -> str | None:
        return next((t for t in reversed(self.heard) if t in {"0", "1"}), None)

    def connectionMade(self) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            (
                f"GET {self._path} HTTP/1.1\r\n"
                f"Host: localhost:{self._port}\r\n"
                "Connection: Upgrade\r\n"
                "Upgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {key}\r\n"
                "Sec-WebSocket-Protocol: arduino\r\n"
                "Origin: file://\r\n"
                "User-Agent: arduino-WebSocket-Client\r\n"
                "\r\n"
            ).encode()
        )

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        if not self.head:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            self.head, self._data = head, rest
            if self._token is not None:
                self.say(f"AUTH:{self._token}")
        while (frame := _first_frame(self._data)) is not None:
            opcode, body, self._data = frame
            match opcode:
                case 1:
                    self.heard.append(body.decode())
                case 8:
                    self.close_frame = body
                case 9:
                    self._send(10, body)
                case 10:
                    self.pongs += 1

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What it heard of version 2."""
        return [json.loads(text) for text in self.heard if text.startswith("{")]

    def said(self, kind: str) -> dict[str, Any] | None:
        """Return the last message of a kind, if there is one."""
        mine = (m for m in reversed(self.messages) if m["type"] == kind)
        return next(mine, None)

    def say(self, text: str | dict[str, Any]) -> None:
        self._send(1, (text if isinstance(text, str) else json.dumps(text)).encode())

    def ping(self) -> None:
        self._send(9, b"")

    def _send(self, opcode: int, body: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(body))
        if len(body) < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | len(body))
        else:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, len(body))
        self.transport.write(head + mask + masked)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(None)


def _first_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Take the first frame off: opcode, payload, what follows."""
    if len(data) < 2:
        return None
    start, length = 2, data[1]
    if length == 126:
        start, length = 4, int.from_bytes(data[2:4], "big")
    assert length < 65536
    end = start + length
    return (data[0] & 15, data[start:end], data[end:]) if len(data) >= end else None


class Raw(Protocol):
    """A connection that says what it is told."""

    def __init__(self) -> None:
        self.heard = b""
        self.closed: Deferred[None] = Deferred()

    def send(self, data: bytes) -> None:
        if not self.closed.called:
            self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(None)


class House:
    """The program under test, its simulated Discord, and all that was opened."""

    def __init__(self, reactor: Any, folder: Path) -> None:
        self.reactor, self._folder = reactor, folder
        self.discord = SimulatedDiscord(reactor, guilds=[GUILD])
        self.program: Row | None = None
        self._opened: list[Sign | Raw] = []
        self._fleets: list[SignFleet] = []

    @property
    def guild(self) -> Any:
        return self.discord.world.guilds[GUILD]

    async def start(self, *, port: int = 0, **settings: str) -> None:
        if not self.discord.running:
            self.discord.startService()
            await self.discord.listening()
        self.program = Row()
        given = {
            "DISCORD_TOKEN": "bot-token",
            "ESP_AUTH_TOKEN": TOKEN,
            "ADMIN_TOKEN": ADMIN,
            "DISCORD_API_URL": self.discord.url,
            "STORAGE_URL": f"sqlite:{self._folder}/voicestatus.db",
        }
        values = {k: v for k, v in (given | settings).items() if v}
        chosen = Settings.model_validate(values)
        endpoint = f"tcp:{port}:interface=127.0.0.1"
        build(chosen, self.reactor, [endpoint], self.program)
        self.program.startService()

    async def stop(self) -> None:
        if self.program is not None and self.program.running:
            await self.program.stopService()

    async def end(self) -> None:
        for fleet in self._fleets:
            await fleet.stopService()
        await self.stop()
        for opened in self._opened:
            opened.transport.abortConnection()
            await opened.closed
        await self.discord.stopService()

    def listeners(self) -> list[Listener]:
        assert self.program is not None
        return [part for part in self.program if isinstance(part, Listener)]

    @property
    def port(self) -> int:
        port = self.listeners()[0].port
        assert port is not None
        return port.getHost().port

    async def sign(
        self, path: str = "/ws", token: str | None = TOKEN, port: int | None = None
    ) -> Sign:
        port = port or self.port
        sign = Sign(port, path, token)
        endpoint = HostnameEndpoint(self.reactor, "127.0.0.1", port)
        await connectProtocol(endpoint, sign)
        self._opened.append(sign)
        return sign

    async def raw(self) -> Raw:
        raw = Raw()
        endpoint = HostnameEndpoint(self.reactor, "127.0.0.1", self.port)
        await connectProtocol(endpoint, raw)
        self._opened.append(raw)
        return raw

    def fleet(self, count: int) -> SignFleet:
        """Let so many simulated signs dial in."""
        fleet = SignFleet(
            self.reactor, "127.0.0.1", self.port, token=TOKEN, count=count
        )
        self._fleets.append(fleet)
        fleet.startService()
        return fleet

    async def get(self, path: str, port: int | None = None, **headers: str) -> Any:
        """GET; return (status, body)."""
        agent = Agent(self.reactor)
        answer = await treq.get(
            f"http://127.0.0.1:{port or self.port}{path}", headers=headers, agent=agent
        )
        return answer.code, await answer.content()

    async def api(
        self, method: str, path: str, body: object = None, token: str = ADMIN
    ) -> Any:
        """Ask the admin side; return (status, answer)."""
        answer = await treq.request(
            method,
            f"http://127.0.0.1:{self.port}/api/v1{path}",
            headers={"Authorization": f"Bearer {token}"},
            **({} if body is None else {"json": body}),
            agent=Agent(self.reactor),
        )
        text = await answer.content()
        return answer.code, json.loads(text) if text else None

    async def ready(self) -> None:
        deadline = self.reactor.seconds() + 10
        while (await self.get("/health"))[0] != 200:
            assert self.reactor.seconds() < deadline, await self.get("/health")
            await deferLater(self.reactor, 0.02)

    async def metric(self, name: str) -> float:
        _, body = await self.get("/metrics")
        lines = body.decode().splitlines()
        return sum(float(x.rsplit(" ", 1)[1]) for x in lines if x.startswith(name))


@pytest_twisted.async_yield_fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    from twisted.internet import reactor

    house = House(reactor, tmp_path)
    yield house
    await house.end()


@pytest.fixture
def soon() -> Callable[..., Any]:
    return eventually
