"""The admin side as it is put together, in memory, and who asks it."""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
import pytest_twisted
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.test import iosim

from voicestatus.community.service import Community
from voicestatus.core.addresses import Addresses, parse_networks
from voicestatus.core.admission import Limits
from voicestatus.core.bot_permissions import REQUESTED
from voicestatus.core.chip import Chip
from voicestatus.core.fleet import Enrolment
from voicestatus.core.guild import Channel, Voice
from voicestatus.core.ids import GuildId, UserId
from voicestatus.core.lights import EVERYTHING, Light, RuleText
from voicestatus.core.manifest import Manifest, PublicKey, sign
from voicestatus.core.presence import (
    Event,
    GuildArrived,
    Presence,
    SessionBegan,
    VoiceUpdated,
)
from voicestatus.core.storage_address import InMemory
from voicestatus.devices.door import Door
from voicestatus.devices.metrics import DeviceMetrics, DoorMetrics
from voicestatus.devices.registry import Here, Registry
from voicestatus.devices.wire import Hello
from voicestatus.discord.rest import wire
from voicestatus.discord.rest.errors import OAuthRefused, UnknownMember
from voicestatus.discord.rest.messages import Message
from voicestatus.discord.rest.oauth import Grant, challenge
from voicestatus.discord.rest.wire import OwnGuild, User
from voicestatus.hub import Hub
from voicestatus.lights import Counting, LightGroups
from voicestatus.ota.pace import Rates
from voicestatus.ota.probe import Probes
from voicestatus.ota.rollouts import Rollouts
from voicestatus.ota.several import Several
from voicestatus.ota.signs import Signs
from voicestatus.services import Row
from voicestatus.simulator.images import make_image
from voicestatus.store.memory import MemoryStore
from voicestatus.web.access import Access, DiscordApp
from voicestatus.web.admin import AdminSide
from voicestatus.web.api.resource import Api
from voicestatus.web.api.status import StatusSubject
from voicestatus.web.front import Front, UpgradeResource
from voicestatus.web.health import ExactTree, Vitals
from voicestatus.web.ota import PARALLEL, OtaSide
from voicestatus.web.request_ids import RequestIds
from voicestatus.web.site import QuietSite

TOKEN = "open-sesame"
GUILD, ROOM, AFK, ME, PERSON = 101, 201, 202, 301, 302
TEXT, HELPERS, BOTS = 203, 401, 402
NOW = 1_795_000_000.0
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
BOUNDARY = "a-boundary"


@dataclass
class Answer:
    """What came back; `status` is 0 while nothing has."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error; all of the one shape is there."""
        assert self.headers["content-type"] == "application/json"
        error = self.json["error"]
        assert set(error) == {"code", "message", "details", "requestId"}
        assert error["requestId"] == self.headers["x-request-id"]
        code: str = error["code"]
        return code


class Visitor:
    """A connection to the site, in memory."""

    def __init__(self, site: QuietSite, host: str) -> None:
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", host, 4711))
        self.protocol = site.buildProtocol(self.transport.getPeer())
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def leave(self) -> None:
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        # An event stream has put itself in the place of what served the page.
        holder = getattr(self.transport, "protocol", self.protocol)
        holder.connectionLost(Failure(ConnectionDone()))

    @property
    def answer(self) -> Answer:
        head, end, body = self.transport.value().partition(b"\r\n\r\n")
        if not end:
            return Answer()
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        endless = headers.get("content-type") == "text/event-stream"
        assert ("transfer-encoding" in headers) is endless
        return Answer(int(first.split()[1]), headers, body)


class Sign:
    """A device's connection as the registry sees it."""

    def __init__(self) -> None:
        self.address: str | None = "192.0.2.7"
        self.dialled = "/ws"
        self.rule = EVERYTHING
        self.texts: list[bytes] = []
        self.follows: RuleText | None = None
        self.dismissed = False

    def follow(self, rule: RuleText, *, rich: bool) -> None:
        self.follows = rule

    def send(self, text: bytes) -> None:
        self.texts.append(text)

    def dismiss(self, id_: str | None = None) -> None:
        self.dismissed = True

    def showing(self) -> tuple[Light, tuple[tuple[float, str], ...]]:
        return Light(known=True, on=True, count=2), ((NOW, "1"),)


class Store(MemoryStore):
    """A store that can be made to wait before it writes, or to have a defect."""

    def __init__(self) -> None:
        super().__init__()
        self.gate: Deferred[None] | None = None
        self.defect: Exception | None = None

    async def write(self, *changes: Any, fence: Any = None) -> int:
        if self.gate is not None:
            await self.gate
        if self.defect is not None:
            raise self.defect
        return await super().write(*changes, fence=fence)


class FakeDiscord:
    """One server as its bot sees it: a room, a text channel, one who manages it."""

    def within(self, patience_s: float) -> "FakeDiscord":
        return self

    async def own_user(self) -> wire.OwnUser:
        return wire.OwnUser(UserId(ME), "lamp")

    async def application(self) -> wire.Application:
        return wire.Application(900, 1 << 18)

    async def guild(self, guild: int) -> wire.Guild:
        roles = (
            wire.Role(guild, "@everyone", REQUESTED, None),
            wire.Role(HELPERS, "Helpers", 0, None, position=1),
            wire.Role(BOTS, "lamp", REQUESTED, ME, position=2, managed=True),
        )
        return wire.Guild(GuildId(guild), "Harbour", UserId(PERSON), None, roles)

    async def channels(self, guild: int) -> tuple[wire.Channel, ...]:
        return (
            wire.Channel(ROOM, "Lounge", True, False, (), kind=2),
            wire.Channel(TEXT, "general", False, False, (), last_message=1),
        )

    async def member(self, guild: int, user: int) -> wire.Member:
        if user not in {ME, PERSON}:
            raise UnknownMember(404, 10007, "Unknown Member")
        return wire.Member(wire.User(UserId(user), "somebody"), (BOTS,))

    async def messages(self, channel: int, *, limit: int) -> tuple[Message, ...]:
        return ()

    async def give_role(self, *_: int, reason: str | None = None) -> None:
        """Give it."""

    take_role = give_role


class Side:
    """All of the admin side, around a registry, a hub and a store of its own."""

    def __init__(
        self,
        trusted: str = "",
        clock: Any = None,
        limits: Limits | None = None,
        keys: tuple[Ed25519PrivateKey, ...] = (SIGNING_KEY,),
        parallel: int = PARALLEL,
        public_url: str = "http://localhost:8080",
        token: str = TOKEN,
        discord: Any = None,
        rates: Rates | None = None,
        store: Store | None = None,
        messages: Any = None,
        community: bool = False,
    ) -> None:
        self.clock, self.store = clock or Clock(), store or Store()
        self.metrics = CollectorRegistry()
        self.hub = Hub(Presence())
        ids, tokens, secrets, rollouts = count(1), count(1), count(1), count(1)
        self.lights = LightGroups(
            self.hub, self.clock, self.wall, Counting(), 60.0, hold=True
        )
        self.devices = Registry(
            self.store,
            self.clock,
            DeviceMetrics(self.metrics),
            enrolment=Enrolment.OPEN,
            wall=self.wall,
            make_token=lambda: f"{next(tokens):043d}",
            others=messages,
            public_url=public_url,
        )
        self.door = Door(
            self.clock,
            DoorMetrics(self.metrics),
            limits or Limits(),
            Addresses(parse_networks(trusted)),
        )
        self.bearers: dict[bytes, str] = {}
        self.macs: dict[str, str] = {}
        self.ota = OtaSide(
            store=self.store,
            keys=[*map(PublicKey.of, keys)],
            door=self.door,
            metrics=self.metrics,
            clock=self.clock,
            wall=self.wall,
            make_token=lambda: f"{next(tokens):043d}",
            bearer=self.bearers.get,
            by_mac=self.macs.get,
            parallel=parallel,
            rates=rates,
        )
        self.probes = Probes(self.devices, self.ota.downloads, self.clock, self.wall)

        def rollouts_over(devices: Any, probes: Any) -> Rollouts:
            return Rollouts(
                self.store,
                devices,
                self.ota.catalogue,
                self.ota.downloads,
                probes,
                self.clock,
                self.metrics,
                wall=self.wall,
                make_id=lambda: f"rollout-{next(rollouts)}",
            )

        self.several: Several | None = None
        if messages is None:
            self.rollouts = rollouts_over(Signs(self.devices), self.probes)
            self.ota.catalogue.needed = self.rollouts.needed
        else:
            self.several = Several(
                Signs(self.devices),
                self.ota.catalogue,
                self.ota.downloads,
                self.probes,
                messages,
                self.clock,
                self.wall,
                rollouts_over,
            )
            self.rollouts = self.several.rollouts
        discord_api: Any = FakeDiscord()
        epochs = count(1)
        self.community = Community(
            rest=discord_api,
            hub=self.hub,
            documents=self.store,
            client_id=900,
            clock=self.clock,
            wall=self.wall,
            new_id=lambda: f"c{next(epochs)}",
        )
        self.admin = AdminSide(
            token=token,
            hub=self.hub,
            devices=self.devices,
            explainer=self.lights,
            store=self.store,
            door=self.door,
            metrics=self.metrics,
            clock=self.clock,
            wall=self.wall,
            new_id=lambda: f"r{next(ids)}",
            new_secret=lambda: f"secret-{next(secrets):036d}",
            public_url=public_url,
            local_url="http://localhost:8080",
            discord=discord,
            community=self.community if community else None,
            status=StatusSubject(
                self.metrics, self.vitals, self.store, InMemory(), dict
            ),
            version="1.2.3",
            device_path="/ws",
            messages=messages,
            catalogue=self.ota.catalogue,
            rollouts=self.rollouts,
            probes=self.probes if self.several is None else self.several.probes,
            several=self.several,
        )
        self.root = ExactTree({})
        self.root.putChild(b"api", self.admin.pages)
        self.root.putChild(b"auth", self.admin.sign_in)
        self.root.putChild(b"ota", self.ota.pages)
        self.site = QuietSite(
            self.root, self.clock, self.admin.too_large, self.admin.receiver_of
        )
        self.browsers: list[Browser] = []
        self.running = Row()
        if store is None:
            self.store.setServiceParent(self.running)
        several = [self.several] if self.several else []
        for part in (self.lights, self.devices, self.ota, *several, self.admin):
            part.setServiceParent(self.running)

    def wall(self) -> float:
        return NOW + self.clock.seconds()

    def vitals(self) -> Vitals:
        return Vitals(
            discord_ready=True,
            discord_heard=True,
            gateway="ready",
            problem=None,
            store_problem=None,
            in_step=True,
            guild=GUILD,
            voice_users=1,
            signs=0,
            uptime_s=60.0,
            version="1.2.3",
        )

    def visit(self, host: str = "192.0.2.1") -> Visitor:
        return Visitor(self.site, host)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = TOKEN,
        headers: dict[str, str] | None = None,
        host: str = "192.0.2.1",
    ) -> Answer:
        """Ask for something below `/api/v1`; `body` is JSON, or bytes as they are."""
        return self.open(method, path, body, headers, token=token, host=host).answer

    def open(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        *,
        token: str | None = None,
        host: str = "192.0.2.1",
    ) -> Visitor:
        """Ask, and do not hang up: the answer may take its time."""
        visitor = self.visit(host)
        visitor.send(request(method, f"/api/v1{path}", body, token, headers))
        return visitor

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.get_sample_value(name, labels) or 0.0

    def people_come(self) -> None:
        """Discord names one guild, where one person sits in a room."""
        for event in (
            SessionBegan(0, ME, frozenset({GUILD})),
            GuildArrived(
                0,
                GUILD,
                "The Guild",
                AFK,
                (Channel(AFK, "afk", 2, None, 1), Channel(ROOM, "room", 2, None, 0)),
                (),
            ),
        ):
            self.hub.apply(event)
        self.person(ROOM)

    def person(self, channel: int | None, user: int = PERSON) -> None:
        """A person goes somewhere, or None: away."""
        voice = None if channel is None else Voice(user, channel)
        event: Event = VoiceUpdated(GUILD, user, voice, bot=False)
        self.hub.apply(event)

    def sign(self, id_: str | None = None, **hello: Any) -> tuple[Sign, Here]:
        """A device connects with the shared token; with an id it says hello."""
        sign = Sign()
        here = self.devices.arrive(sign, None)
        if id_ is not None:
            self.devices.hello(here, Hello(id=id_, **hello))
            self.clock.advance(0)
        return sign, here


def make_files(
    build: int = 14, chip: Chip = Chip.ESP32, size_bytes: int = 200_000, **said: Any
) -> dict[str, bytes]:
    """Make what a form holds that publishes a release."""
    image = make_image(chip, size_bytes, version="1.4.0", build=build)
    manifest = Manifest(
        chip=chip,
        version="1.4.0",
        build=build,
        size_bytes=len(image),
        sha256=hashlib.sha256(image).hexdigest(),
        **said,
    )
    return {"image": image, "manifest": sign(manifest, SIGNING_KEY)}


def make_form(parts: Any) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a form: of pairs, or of a dict."""
    body = b""
    for name, value in parts.items() if isinstance(parts, dict) else parts:
        data = value.encode() if isinstance(value, str) else value
        body += (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; '
            f'filename="f"\r\nContent-Type: application/octet-stream\r\n\r\n'
        ).encode() + data
        body += b"\r\n"
    body += f"--{BOUNDARY}--\r\n".encode()
    return {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}, body


def request(
    method: str,
    path: str,
    body: object = None,
    token: str | None = TOKEN,
    headers: dict[str, str] | None = None,
) -> bytes:
    """Write a request as it goes over the wire."""
    sent = {"Host": "sign.example"}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    content = b""
    if body is not None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent |= {
            "Content-Type": "application/json",
            "Content-Length": f"{len(content)}",
        }
    sent |= headers or {}
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in sent.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


class Browser(WebSocketClientProtocol):
    """An admin's end of the live channel."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []
        self.closed: tuple[int | None, str | None] | None = None
        self.pump: Any = None

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.heard.append(json.loads(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.closed = code, reason

    def say(self, message: object) -> None:
        """Send a text as it is, or anything else as JSON."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.sendMessage(text.encode())
        self.pump.flush()

    def of(self, type_: str) -> list[Any]:
        return [message for message in self.heard if message["type"] == type_]


class Surfer:
    """A browser: it keeps cookies, and says which page asks for something."""

    def __init__(self, side: Side, origin: str, agent: str, host: str) -> None:
        self._side, self._origin, self._host = side, origin, host
        self._sent = {"Host": origin.partition("://")[2], "User-Agent": agent}
        self.jar: dict[str, str] = {}
        self.set_cookies: list[str] = []

    def go(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Ask for a path as a page of this very origin does."""
        visitor = self._side.visit(self._host)
        sent = self._sent | ({} if method == "GET" else {"Origin": self._origin})
        if self.jar:
            sent["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.jar.items())
        visitor.send(request(method, path, body, None, sent | (headers or {})))
        head = visitor.transport.value().partition(b"\r\n\r\n")[0].decode("latin-1")
        self.set_cookies = re.findall(r"(?mi)^set-cookie: (.*?)\r?$", head)
        for cookie in self.set_cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.jar[name] = value
            if not value:
                del self.jar[name]
        return visitor.answer

    def sign_in(self, token: str = TOKEN) -> Answer:
        return self.go("POST", "/auth/token", {"token": token})

    def me(self) -> Any:
        return self.go("GET", "/api/v1/me").json

    def write(self, method: str, path: str, body: object = None) -> Answer:
        """Do what a page of ours does to change something."""
        return self.go(method, path, body, {"X-CSRF-Token": self.me()["csrfToken"]})


class FakeOAuth:
    """Discord's side of signing in: who consents is `user`, in `their_guilds`."""

    def __init__(self) -> None:
        self.user_ = User(id=UserId(PERSON), name="ada", global_name="Ada L.")
        self.their_guilds: tuple[OwnGuild, ...] = ()
        self.failure: Exception | None = None
        self.codes: dict[str, str] = {}
        self.tokens: set[str] = set()
        self.made: list[str] = []
        self.asked_for: tuple[str, ...] = ()

    def consent(self, url: str) -> dict[str, str]:
        """Be the person who says yes; return what the browser is sent back with."""
        query = dict(parse_qsl(urlsplit(url).query))
        code = f"code-{len(self.codes)}"
        self.codes[code] = query["challenge"]
        return {"code": code, "state": query["state"]}

    def authorize_url(
        self, redirect_uri: str, state: str, verifier: str, scopes: tuple[str, ...]
    ) -> str:
        self.asked_for = scopes
        query = {
            "redirect_uri": redirect_uri,
            "state": state,
            "challenge": challenge(verifier),
        }
        return f"https://discord.test/oauth2/authorize?{urlencode(query)}"

    async def exchange(self, code: str, redirect_uri: str, verifier: str) -> Grant:
        if self.failure is not None:
            raise self.failure
        if self.codes.pop(code, None) != challenge(verifier):
            raise OAuthRefused(400, "invalid_grant")
        token = f"access-{len(self.made)}"
        self.made.append(token)
        self.tokens.add(token)
        return Grant(token, "refresh", 604800, "identify guilds")

    async def user(self, access_token: str) -> User:
        assert access_token in self.tokens
        return self.user_

    async def guilds(self, access_token: str) -> tuple[OwnGuild, ...]:
        assert access_token in self.tokens
        return self.their_guilds

    async def revoke(self, access_token: str) -> None:
        self.tokens.remove(access_token)


@pytest.fixture
def oauth() -> FakeOAuth:
    return FakeOAuth()


@pytest.fixture
def discord_side(make_side: Callable[..., Side], oauth: FakeOAuth) -> Side:
    """A side where one may sign in with Discord, and the bot is in one guild."""
    discord = DiscordApp(oauth, trusted=(GuildId(GUILD),))
    side = make_side(discord=discord, public_url="http://sign.example")
    side.people_come()
    return side


@pytest.fixture
def surf() -> Callable[..., Surfer]:
    """Open a browser; its pages are ours unless `origin` says otherwise."""

    def surf(
        side: Side,
        origin: str = "http://sign.example",
        agent: str = "Firefox",
        host: str = "192.0.2.1",
    ) -> Surfer:
        return Surfer(side, origin, agent, host)

    return surf


@pytest.fixture
def by_discord(oauth: FakeOAuth) -> Callable[..., Answer]:
    """Let a browser go all the way to Discord and back."""

    def by_discord(surfer: Surfer, next_: str = "/") -> Answer:
        left = surfer.go("GET", f"/auth/discord?next={quote(next_, safe='')}")
        back = oauth.consent(left.headers["location"])
        return surfer.go("GET", f"/auth/discord/callback?{urlencode(back)}")

    return by_discord


@pytest.fixture
def dial() -> Callable[..., Browser]:
    """Open a socket to a side; with `say` that is its first text."""

    def dial(
        side: Side,
        say: str | None = f"AUTH:{TOKEN}",
        headers: dict[str, str] | None = None,
    ) -> Browser:
        factory = WebSocketClientFactory(
            "ws://sign.example/admin/ws", headers=headers, reactor=side.clock
        )
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
        browser = Browser()
        browser.factory = factory
        server = side.admin.socket.buildProtocol(None)
        host = IPv4Address("TCP", "192.0.2.1", 4711)
        browser.pump = iosim.connect(
            server,
            iosim.FakeTransport(server, isServer=True, peerAddress=host),
            browser,
            iosim.FakeTransport(browser, isServer=False),
        )
        side.browsers.append(browser)
        browser.pump.flush()
        if say is not None:
            browser.say(say)
            for _ in range(100):
                side.clock.advance(0)
                browser.pump.flush()
        return browser

    return dial


@pytest.fixture
def make_side() -> Iterator[Callable[..., Side]]:
    sides: list[Side] = []

    def make(**how: Any) -> Side:
        side = Side(**how)
        side.running.startService()
        if side.several is None:  # else a test says which one conducts them
            side.rollouts.begin(None)
        sides.append(side)
        return side

    yield make
    for side in sides:
        (side.several.seat if side.several else side.rollouts).end()
        stopped: Deferred[None] = side.running.stopService()
        for _ in range(5):
            side.clock.advance(1)
            for browser in side.browsers:
                browser.pump.flush()
        assert stopped.called


@pytest.fixture
def side(make_side: Callable[..., Side]) -> Side:
    return make_side()


@pytest.fixture
def serve() -> Iterator[Callable[..., Callable[..., Answer]]]:
    """Serve subjects at `/own`, to whom the side lets in; return how to ask them."""
    apis: list[Api] = []

    def serve(side: Side, *subjects: object) -> Callable[..., Answer]:
        (access,) = (part for part in side.admin if isinstance(part, Access))
        api = Api(subjects, access.gate, RequestIds(lambda: "own"))
        side.root.putChild(b"own", api.resource)
        api.startService()
        apis.append(api)

        def ask(
            method: str, path: str, body: object = None, *, token: str | None = TOKEN
        ) -> Answer:
            visitor = side.visit()
            visitor.send(request(method, f"/own{path}", body, token))
            return visitor.answer

        return ask

    yield serve
    for api in apis:
        api.stopService()


@pytest_twisted.async_yield_fixture
async def real_side() -> AsyncIterator[tuple[Side, int]]:
    """A side on a real port of this machine, behind the front; and the port."""
    from twisted.internet import reactor

    side = Side(clock=reactor)
    socket = side.admin.socket
    side.root.putChild(b"admin", ExactTree({"/ws": UpgradeResource(socket)}))
    front = Front(reactor, side.site, {b"/admin/ws": socket}, side.door)
    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    side.running.startService()
    side.rollouts.begin(None)
    port = await endpoint.listen(front)
    yield side, port.getHost().port
    await port.stopListening()
    await side.rollouts.end()
    await side.running.stopService()


@pytest.fixture
def request_bytes() -> Callable[..., bytes]:
    return request


@pytest.fixture
def admin_token() -> str:
    return TOKEN


@pytest.fixture
def now() -> float:
    return NOW


@pytest.fixture(name="make_files", scope="session")
def _make_files() -> Callable[..., dict[str, bytes]]:
    return make_files


@pytest.fixture(name="make_form", scope="session")
def _make_form() -> Callable[..., tuple[dict[str, str], bytes]]:
    return make_form
