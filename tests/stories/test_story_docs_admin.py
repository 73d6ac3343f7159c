"""The pages about the admin side are true: each example is played, in its order."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import treq
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import deferLater
from twisted.web.client import Agent

from voicestatus.core.chip import Chip
from voicestatus.core.manifest import Manifest, PublicKey, sign
from voicestatus.simulator.images import make_image, make_merged
from voicestatus.web.api.errors import STATUS

DOCS = Path(__file__).parents[2] / "docs"
API = (DOCS / "admin-api.md").read_text(encoding="utf-8")
SOCKET = (DOCS / "admin-socket.md").read_text(encoding="utf-8")
ADMIN_TOKEN, TOKEN = "the-admin-token", "sesame"
ADA, BEN = 4001, 4002
MORE = "…"
RELEASE = "esp32-14-25d7c8fc"
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
_BLOCK = re.compile(
    r"^```(http|form|json \d+|socket)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)


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


def form_of(lines: str) -> dict[str, Any]:
    """Return what treq takes for a form; `@` stands before the name of a file."""
    image = make_image(Chip.ESP32, 20_000, version="1.4.0", build=14)
    manifest = Manifest(
        chip=Chip.ESP32,
        version="1.4.0",
        build=14,
        size_bytes=len(image),
        sha256=sha256(image).hexdigest(),
    )
    named = {
        "light.bin": image,
        "light.bin.manifest": sign(manifest, SIGNING_KEY),
        "light-merged.bin": make_merged(Chip.ESP32, image),
    }
    given = dict(line.split("=", 1) for line in lines.strip().splitlines())
    files = {
        key: (value[1:], BytesIO(named[value[1:]]))
        for key, value in given.items()
        if value.startswith("@")
    }
    return {
        "files": files,
        "data": {key: value for key, value in given.items() if key not in files},
    }


def json_of(body: str) -> dict[str, Any]:
    """Return what treq takes for JSON."""
    return {
        "data": body.strip().encode() or None,
        "headers": {"Content-Type": "application/json"},
    }


def calls() -> Iterator[tuple[str, str, dict[str, Any], int, Any]]:
    """Read the API's page: method, path, body, and status and body of the answer."""
    blocks = _BLOCK.findall(API)
    for (kind, asked), (answer, told) in zip(blocks[::2], blocks[1::2], strict=True):
        assert kind in {"http", "form"}
        first, _, body = asked.partition("\n")
        method, path = first.split()
        status = int(answer.removeprefix("json "))
        sent = form_of(body) if kind == "form" else json_of(body)
        yield method, path, sent, status, json.loads(told or "null")


def with_ids(path: str, made: dict[str, str]) -> str:
    """Put in what was made before: `<id>` is what was answered as `id`."""
    return re.sub("<(.+)>", lambda name: made[name[1]], path)


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
        await house.start(
            ADMIN_TOKEN=ADMIN_TOKEN, OTA_PUBLIC_KEYS=PublicKey.of(SIGNING_KEY).text
        )
        await house.ready()
        while (await house.api("GET", "/firmware/rollouts", token=ADMIN_TOKEN))[
            0
        ] != 200:
            await deferLater(house.reactor, 0.05)
        lounge = next(c for c in house.guild.channels.values() if c.name == "Lounge")
        for person in (ADA, BEN):
            house.discord.stage.voice(house.guild.id, person, lounge.id)
        hello = {
            "type": "hello",
            "v": 2,
            "id": "hall-lamp",
            "chip": "esp32",
            "fw": "1.3.0",
            "build": 13,
            "caps": ["light", "ota-ed25519"],
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
    token = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    made: dict[str, str] = {}
    for method, path, sent, status, told in calls():
        answer = await treq.request(
            method,
            f"http://127.0.0.1:{house.port}{with_ids(path, made)}",
            **sent | {"headers": token | sent.get("headers", {})},
            agent=Agent(house.reactor),
        )
        content = await answer.content()
        assert answer.code == status, (method, path, content)
        answered = json.loads(content or "null")
        assert agrees(told, answered), (method, path, content)
        if method == "POST":
            made |= {key: answered[key] for key in ("id", "rollout") if key in answered}


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

    async def a_release_is_published() -> None:
        form = form_of("image=@light.bin\nmanifest=@light.bin.manifest")
        await treq.post(
            f"http://127.0.0.1:{house.port}/api/v1/firmware/releases",
            **form,
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
            agent=Agent(house.reactor),
        )

    async def a_rollout_begins() -> None:
        plan = {"releases": [RELEASE]}
        await house.api("POST", "/firmware/rollouts", plan, ADMIN_TOKEN)

    happens = iter(
        [
            somebody_leaves,
            the_lamp_reports,
            a_stranger_comes_and_goes,
            a_release_is_published,
            a_rollout_begins,
        ]
    )
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
    rows = [line for line in API.splitlines() if re.match(r"\| \d", line)]
    for code, status in STATUS.items():
        (row,) = [row for row in rows if f"`{code}`" in row]
        assert str(status.value) in row


OTHER_PAGES = ("community", "flashing", "health", "privacy")


@pytest_twisted.ensureDeferred
async def test_the_pages_show_every_endpoint_and_nothing_else(house: Any):
    await house.start(ADMIN_TOKEN=ADMIN_TOKEN)
    _, content = await house.get("/api/v1/openapi.json")
    described = {
        (method.upper(), re.sub(r"{[^}]+}", "{}", path))
        for path, item in json.loads(content)["paths"].items()
        for method in item
    }
    shown = {(method, path.removeprefix("/api/v1")) for method, path, *_ in calls()}
    for page in OTHER_PAGES:
        text = (DOCS / f"{page}.md").read_text()
        shown |= {*re.findall(r"(GET|POST|PUT|PATCH|DELETE) /api/v1(/[^\s`]*)", text)}
    assert {(method, _without_ids(path)) for method, path in shown} == described


def _without_ids(path: str) -> str:
    bare = path.partition("?")[0]
    kinds = "devices|tokens|sessions|releases|rollouts|organizations|members|images"
    bare = re.sub(rf"(/(?:{kinds}))/(?!dry-run)[^/]+", r"\1/{}", bare)
    bare = re.sub(r"(/images/{})/[^/]+", r"\1/{}", bare)
    return re.sub(r"^/discord/(?!bot-invite)[^/]+", "/discord/{}", bare)
