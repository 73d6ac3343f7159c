"""The pages about the admin side are true: each example is played, in its order."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import treq
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.endpoints import HostnameEndpoint
from twisted.web.client import Agent

from voicestatus.web.api.errors import STATUS

DOCS = Path(__file__).parents[2] / "docs"
API = (DOCS / "admin-api.md").read_text(encoding="utf-8")
SOCKET = (DOCS / "admin-socket.md").read_text(encoding="utf-8")
ADMIN_TOKEN, TOKEN = "the-admin-token", "sesame"
ADA, BEN = 4001, 4002
MORE = "…"
_BLOCK = re.compile(r"^```(http|json \d+|socket)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def agrees(shown: Any, told: Any) -> bool:
    """Whether what a page shows is what was told.

    In a text `…` stands for anything; as a key or an item for more.
    """
    if isinstance(shown, str) and MORE in shown:
        start, end = shown.split(MORE)
        whole = isinstance(told, str) and told.startswith(start) and told.endswith(end)
        return shown == MORE or whole
    if isinstance(shown, dict) and isinstance(told, dict):
        keys = shown.keys() - {MORE}
        return (MORE in shown or keys == told.keys()) and all(
            key in told and agrees(shown[key], told[key]) for key in keys
        )
    if isinstance(shown, list) and isinstance(told, list):
        if MORE in shown:
            rest = iter(told)
            wanted = [item for item in shown if item != MORE]
            return all(any(agrees(item, each) for each in rest) for item in wanted)
        return len(shown) == len(told) and all(map(agrees, shown, told))
    return bool(shown == told)


def was_told(client: "Client", shown: Any) -> bool:
    return any(agrees(shown, json.loads(text)) for text in client.factory.heard)


def calls() -> Iterator[tuple[str, str, str, int, Any]]:
    """Read the API's page: method, path, body, and status and body of the answer."""
    blocks = _BLOCK.findall(API)
    for (kind, asked), (answer, told) in zip(blocks[::2], blocks[1::2], strict=True):
        assert kind == "http"
        first, _, body = asked.partition("\n")
        method, path = first.split()
        status = int(answer.removeprefix("json "))
        yield method, path, body, status, json.loads(told or "null")


class Client(WebSocketClientProtocol):
    """A device, or an admin's page."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.factory.heard.append(payload.decode())

    def say(self, text: str) -> None:
        self.sendMessage(text.encode())


@pytest.fixture
def dial(house: Any, soon: Any) -> Iterator[Callable[..., Any]]:
    """Open a WebSocket, say something, and return it."""
    opened: list[Client] = []

    async def dial(path: str, *texts: str) -> Client:
        url = f"ws://127.0.0.1:{house.port}{path}"
        factory = WebSocketClientFactory(url, reactor=house.reactor)
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
        factory.protocol, factory.heard = Client, []
        endpoint = HostnameEndpoint(house.reactor, "127.0.0.1", house.port)
        client: Client = await endpoint.connect(factory)
        opened.append(client)
        await soon(lambda: client.state == client.STATE_OPEN)
        for text in texts:
            client.say(text)
        return client

    yield dial
    for client in opened:
        client.transport.abortConnection()


@pytest.fixture
def begin(house: Any, soon: Any, dial: Any) -> Callable[..., Any]:
    """Make the world of the pages: two people in the lounge, a lamp in the hall."""

    async def begin() -> Client:
        await house.start(ADMIN_TOKEN=ADMIN_TOKEN)
        await house.ready()
        lounge = next(c for c in house.guild.channels.values() if c.name == "Lounge")
        for person in (ADA, BEN):
            house.discord.stage.voice(house.guild.id, person, lounge.id)
        hello = {
            "type": "hello",
            "v": 2,
            "id": "hall-lamp",
            "chip": "esp32",
            "fw": "1.4.0",
            "caps": ["light"],
            "boot": "power",
        }
        lamp: Client = await dial("/ws", f"AUTH:{TOKEN}", json.dumps(hello))
        await soon(lambda: any('"count":2' in text for text in lamp.factory.heard))
        await soon(lambda: any('"token"' in text for text in lamp.factory.heard))
        return lamp

    return begin


@pytest_twisted.ensureDeferred
async def test_every_call_is_answered_as_its_page_says(house: Any, begin: Any):
    await begin()
    headers = {
        "Authorization": f"Bearer {ADMIN_TOKEN}",
        "Content-Type": "application/json",
    }
    for method, path, body, status, told in calls():
        answer = await treq.request(
            method,
            f"http://127.0.0.1:{house.port}{path}",
            headers=headers,
            data=body.strip().encode() or None,
            agent=Agent(house.reactor),
        )
        content = await answer.content()
        assert answer.code == status, (method, path, content)
        assert agrees(told, json.loads(content or "null")), (method, path, content)


@pytest_twisted.ensureDeferred
async def test_the_socket_says_what_its_page_says(
    house: Any, begin: Any, dial: Any, soon: Any
):
    lamp = await begin()

    async def a_stranger_comes_and_goes() -> None:
        sign = await house.sign()
        await soon(lambda: sign.light == "1")
        sign.transport.abortConnection()

    async def somebody_leaves() -> None:
        house.discord.stage.voice(house.guild.id, BEN, None)

    async def the_lamp_reports() -> None:
        lamp.say('{"type":"status","uptimeS":60,"rssiDbm":-61,"heapFreeB":40000}')

    happens = iter([somebody_leaves, the_lamp_reports, a_stranger_comes_and_goes])
    admin = await dial("/admin/ws")
    for kind, block in _BLOCK.findall(SOCKET):
        assert kind == "socket"
        if block.startswith("<"):
            await next(happens)()
        for line in block.splitlines():
            text = line[2:].replace("<ADMIN_TOKEN>", ADMIN_TOKEN)
            if line.startswith("> "):
                admin.say(text)
                continue
            await soon(partial(was_told, admin, json.loads(text)), text)
    assert next(happens, None) is None


def test_the_page_names_every_code():
    rows = [line for line in API.splitlines() if line.startswith("| ")]
    for code, status in STATUS.items():
        (row,) = [row for row in rows if f"`{code}`" in row]
        assert str(status.value) in row


@pytest_twisted.ensureDeferred
async def test_the_page_shows_every_endpoint(house: Any):
    await house.start(ADMIN_TOKEN=ADMIN_TOKEN)
    _, content = await house.get("/api/v1/openapi.json")
    described = {
        (method.upper(), path)
        for path, item in json.loads(content)["paths"].items()
        for method in item
    }
    shown = set()
    for method, path, *_ in calls():
        bare = path.removeprefix("/api/v1").partition("?")[0]
        shown.add((method, re.sub(r"^/devices/[^/]+", "/devices/{device}", bare)))
    assert shown == described
