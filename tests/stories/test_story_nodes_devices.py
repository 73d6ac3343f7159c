"""Devices of several nodes on one Redis: any node knows, shows and commands all."""

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest_twisted
import treq
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import deferLater
from twisted.web.client import Agent

import voicestatus
from voicestatus.services import Row
from voicestatus.settings import Settings
from voicestatus.tap import build
from voicestatus.web.listen import Listener

TWISTD = Path(sys.executable).with_name("twistd")
SOURCE = Path(voicestatus.__file__).parents[1]
ADMIN, TOKEN = "open-the-admin-side", "sesame"
LEASE_S = 2
ADA = 4001
HELLO = {
    "type": "hello",
    "v": 2,
    "id": "desk",
    "chip": "esp8266",
    "board": "d1",
    "fw": "1.0",
    "build": 1,
    "caps": ["light"],
    "boot": "power",
}


def given(house: Any, url: str) -> dict[str, str]:
    return {
        "DISCORD_TOKEN": "bot-token",
        "ESP_AUTH_TOKEN": TOKEN,
        "ADMIN_TOKEN": ADMIN,
        "DISCORD_API_URL": house.discord.url,
        "STORAGE_URL": url,
        "LEASE_S": f"{LEASE_S}",
    }


class Node:
    """One node, a whole program of its own in this process."""

    def __init__(self, house: Any, url: str) -> None:
        self._house, self.url = house, url
        self.program = Row()
        settings = Settings.model_validate(given(house, url))
        build(settings, house.reactor, ["tcp:0:interface=127.0.0.1"], self.program)
        self.program.startService()

    @property
    def port(self) -> int:
        (listener,) = (part for part in self.program if isinstance(part, Listener))
        assert listener.port is not None
        return int(listener.port.getHost().port)

    async def dial(self, token: str = TOKEN) -> Any:
        return await self._house.sign(token=token, port=self.port)

    async def api(self, method: str, path: str, body: object = None) -> Any:
        """Ask the admin side of this node; return (status, answer)."""
        answer = await treq.request(
            method,
            f"http://127.0.0.1:{self.port}/api/v1{path}",
            headers={"Authorization": f"Bearer {ADMIN}"},
            **({} if body is None else {"json": body}),
            agent=Agent(self._house.reactor),
        )
        text = await answer.content()
        return answer.code, json.loads(text) if text else None

    async def device(self, id_: str = "desk") -> Any:
        status, answer = await self.api("GET", f"/devices/{id_}")
        return answer if status == 200 else None

    async def listed(self) -> dict[str, Any]:
        _, answer = await self.api("GET", "/devices")
        return {device["id"]: device for device in answer["devices"]}

    async def stop(self) -> None:
        if self.program.running:
            await self.program.stopService()


def start_process(port: int, log: Path, env: dict[str, str]) -> Any:
    """Start a node that can be killed."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [
                *(TWISTD, "-n", "--pidfile=", "voicestatus"),
                *("--listen", f"tcp:{port}:interface=127.0.0.1"),
            ],
            cwd=log.parent,
            env={"PYTHONPATH": str(SOURCE), **env},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


class Admin(WebSocketClientProtocol):
    """An admin who looks at the live channel."""

    def onOpen(self) -> None:
        self.devices: dict[str, Any] = {}
        self.sendMessage(f"AUTH:{ADMIN}".encode())

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        told = json.loads(payload)
        match told["type"]:
            case "snapshot":
                self.devices |= {device["id"]: device for device in told["devices"]}
            case "device" if told.get("gone"):
                self.devices.pop(told["id"], None)
            case "device":
                self.devices[told["device"]["id"]] = told["device"]

    def sees(self, id_: str) -> Any:
        return getattr(self, "devices", {}).get(id_, {})


@pytest_twisted.async_yield_fixture
async def nodes(house: Any, redis: Any, soon: Any) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes on a Redis that was not born today."""
    prefix = f"story-devices-{redis.ask('INCR', 'stories').strip()[1:].decode()}:"
    redis.ask("SET", f"{prefix}born", "1000")
    house.discord.startService()
    await house.discord.listening()
    url = f"{redis.url}?prefix={prefix}"
    both = Node(house, url), Node(house, url)
    for node in both:
        await soon(lambda node=node: _listens(node))
    yield both
    for node in both:
        await node.stop()


def _listens(node: Node) -> bool:
    return any(p.port is not None for p in node.program if isinstance(p, Listener))


async def until(house: Any, holds: Callable[[], Any], within_s: float) -> None:
    """Ask again and again until it holds."""
    deadline = house.reactor.seconds() + within_s
    while not await holds():
        assert house.reactor.seconds() < deadline, "it never came to hold"
        await deferLater(house.reactor, 0.1)


async def enrol(node: Node, soon: Any) -> tuple[Any, str]:
    """Let a device enrol; return it, and its token."""
    sign = await node.dial()
    await soon(lambda: "OK" in sign.heard)
    sign.say(HELLO)
    await soon(lambda: sign.said("welcome"))
    return sign, sign.said("welcome")["token"]


async def look(house: Any, node: Node) -> Admin:
    factory = WebSocketClientFactory(
        f"ws://127.0.0.1:{node.port}/admin/ws", reactor=house.reactor
    )
    factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
    factory.protocol = Admin
    endpoint = HostnameEndpoint(house.reactor, "127.0.0.1", node.port)
    admin: Admin = await endpoint.connect(factory)
    return admin


@pytest_twisted.ensureDeferred
async def test_a_device_of_one_node_is_a_device_of_all(
    house: Any, nodes: tuple[Node, Node], soon: Any
):
    a, b = nodes
    admin = await look(house, b)
    # It enrols at one node and dials the other with its new token at once.
    first, own = await enrol(a, soon)
    first.transport.abortConnection()
    second = await b.dial(own)
    await soon(lambda: "OK" in second.heard)
    # Of two connections the newer is the device.
    await until(house, lambda: connected(a), 5)
    sign = await a.dial(own)
    await soon(lambda: "OK" in sign.heard)
    sign.say(HELLO)
    await soon(lambda: second.closed.called)
    await until(house, lambda: connected(b), 5)
    shown = await b.device()
    assert (shown["protocol"], shown["fw"]) == (2, "1.0")
    assert shown["node"] == (await a.device())["node"]
    assert (await b.listed())["desk"] == shown
    await soon(lambda: admin.sees("desk").get("node") == shown["node"])

    # A command of the one is the other's to send.
    identify = {"type": "identify", "seconds": 5}
    status, _ = await b.api("POST", "/devices/desk/commands", identify)
    assert status == 202
    await soon(lambda: sign.said("identify") == identify)
    status, answer = await b.api("POST", "/devices/desk/commands", {"type": "config"})
    assert (status, answer["type"]) == (202, "config")
    old = await a.dial()
    await until(house, lambda: knows(b, "conn-"), 5)
    stranger = next(id_ for id_ in await b.listed() if id_.startswith("conn-"))
    status, answer = await b.api("POST", f"/devices/{stranger}/commands", identify)
    assert (status, answer["error"]["code"]) == (409, "COMMAND_NOT_SUPPORTED")
    old.transport.abortConnection()

    async def is_told_how_it_is() -> bool:
        sign.say({"type": "status", "uptimeS": 77})
        return bool(admin.sees("desk").get("uptimeS") == 77)

    await until(house, is_told_how_it_is, 10)


@pytest_twisted.ensureDeferred
async def test_what_an_admin_does_at_one_node_a_device_at_another_obeys(
    house: Any, nodes: tuple[Node, Node], soon: Any
):
    a, b = nodes
    admin = await look(house, b)
    sign, _ = await enrol(a, soon)
    await until(house, lambda: connected(b), 5)

    # A rule that is set at the one is shown by the other's sign within a second.
    lounge = next(c for c in house.guild.channels.values() if c.name == "Lounge")
    house.discord.stage.voice(house.guild.id, ADA, lounge.id)
    await soon(lambda: sign.light == "1")
    began = house.reactor.seconds()
    status, _ = await b.api("PATCH", "/devices/desk", {"rule": {"minCount": 9}})
    assert status == 200
    await soon(lambda: sign.light == "0")
    assert house.reactor.seconds() - began < 1
    status, why = await b.api("GET", "/devices/desk/explain")
    assert (status, why["needed"], why["connected"]) == (200, 9, True)
    assert why["frames"][-1]["text"].startswith("{")

    # A token that the one makes the other sends.
    sign.heard.clear()
    status, answer = await b.api("POST", "/devices/desk/token")
    assert status == 200
    await soon(lambda: sign.said("welcome"))
    assert sign.said("welcome")["token"] == answer["token"]

    # Who is revoked at the one has to leave the other.
    status, _ = await b.api("PATCH", "/devices/desk", {"revoked": True})
    assert status == 200
    await soon(lambda: sign.closed.called)
    await soon(lambda: not admin.sees("desk").get("connected"))
    assert sign.said("error")["code"] == "REVOKED"


async def connected(node: Node) -> bool:
    device = await node.device()
    return bool(device and device["connected"])


async def knows(node: Node, beginning: str) -> bool:
    return any(id_.startswith(beginning) for id_ in await node.listed())


@pytest_twisted.ensureDeferred
async def test_the_devices_of_a_node_that_dies_are_away_within_its_lease(
    house: Any, nodes: tuple[Node, Node], soon: Any, free_port: Any, tmp_path: Path
):
    _, b = nodes
    port, log = free_port(), tmp_path / "log"
    process = start_process(port, log, given(house, b.url))
    try:
        await soon(lambda: "listening on" in log.read_text(), "it hears nobody", 20)
        admin = await look(house, b)
        sign = await house.sign(token=TOKEN, port=port)
        await soon(lambda: "OK" in sign.heard)
        sign.say(HELLO)
        await until(house, lambda: connected(b), 5)
        await soon(lambda: admin.sees("desk").get("connected"))
        process.send_signal(signal.SIGKILL)
        died = house.reactor.seconds()

        async def is_away() -> bool:
            return not (await b.listed())["desk"]["connected"]

        await until(house, is_away, LEASE_S + 1)
        assert house.reactor.seconds() - died < LEASE_S + 1
        status, answer = await b.api(
            "POST", "/devices/desk/commands", {"type": "reboot"}
        )
        assert (status, answer["error"]["code"]) == (409, "DEVICE_OFFLINE")
        await soon(lambda: not admin.sees("desk")["connected"], within_s=10)
    finally:
        process.kill()
        process.wait()
