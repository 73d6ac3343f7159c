"""A client of one simulated session, without a network; and the fixtures on disk."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from voicestatus.simulator.community import Community
from voicestatus.simulator.faults import Faults
from voicestatus.simulator.log import ClientLog
from voicestatus.simulator.rest.door import Door
from voicestatus.simulator.rest.oauth import ConsentPage
from voicestatus.simulator.rest.pages import Rest
from voicestatus.simulator.session import (
    Close,
    Connection,
    Publish,
    Send,
    Supplant,
)
from voicestatus.simulator.sessions import Rules, Sessions
from voicestatus.simulator.world import Dispatch, World

FIXTURES = Path(__file__).parents[1] / "fixtures"
GUILD = 1187000000000000001


class Hall:
    """A world and its sessions; what the gateway does between them."""

    def __init__(self, rules: Rules, guilds: tuple[int, ...] = (GUILD,)) -> None:
        self.world = World(guilds)
        names = iter(f"session-{n}" for n in range(1000))
        self.sessions = Sessions(rules, lambda: next(names))
        self.log = ClientLog()
        self.now = 1000.0
        self.clients: list[Client] = []

    def connect(self, **query: str) -> "Client":
        client = Client(self, query)
        self.clients.append(client)
        return client

    def publish(self, dispatches: list[Dispatch]) -> None:
        for dispatch in dispatches:
            for session in self.sessions.alive(self.now):
                payload = session.take(dispatch)
                for client in self.clients:
                    if payload is not None and session.holder is client.connection:
                        client.told.append(json.loads(payload))

    @property
    def rooms(self) -> list[int]:
        return self.world.guilds[GUILD].rooms


class Client:
    """One connection, from the client's side."""

    def __init__(self, hall: Hall, query: dict[str, str]) -> None:
        self.hall = hall
        self.connection = Connection(
            len(hall.clients) + 1,
            hall.world,
            hall.sessions,
            hall.log,
            "ws://here/gateway",
        )
        self.told: list[Any] = []
        self.closed: int | None = None
        self.perform(self.connection.open(query, hall.now))
        self.perform(self.connection.hello(hall.now))

    def perform(self, effects: list[Any]) -> None:
        for effect in effects:
            match effect:
                case Send(payload):
                    self.told.append(json.loads(payload))
                case Close(code, _):
                    self.closed = code
                    self.connection.lost(None, self.hall.now)
                case Publish(dispatches):
                    self.hall.publish(dispatches)
                case Supplant(connection):
                    for client in self.hall.clients:
                        if client.connection is connection:
                            client.perform(
                                connection.shut(4000, "elsewhere", self.hall.now)
                            )

    def say(self, op: int, data: object = None) -> "Client":
        return self.say_raw(json.dumps({"op": op, "d": data}).encode())

    def say_raw(self, payload: bytes) -> "Client":
        self.perform(self.connection.receive(payload, self.hall.now))
        return self

    def identify(self, intents: int = 129, token: str = "t", **more: Any) -> "Client":
        return self.say(2, {"token": token, "intents": intents, **more})

    def resume(self, session: str, seq: object, token: str = "t") -> "Client":
        return self.say(6, {"token": token, "session_id": session, "seq": seq})

    def lose(self, code: int | None = None) -> None:
        self.connection.lost(code, self.hall.now)

    @property
    def ops(self) -> list[int]:
        return [message["op"] for message in self.told]

    @property
    def names(self) -> list[str]:
        return [message["t"] for message in self.told if message["op"] == 0]

    @property
    def seq(self) -> int:
        return max(message["s"] or 0 for message in self.told)

    def last(self, name: str) -> Any:
        return next(m["d"] for m in reversed(self.told) if m["t"] == name)

    @property
    def session_id(self) -> str:
        return str(self.last("READY")["session_id"])


@pytest.fixture
def hall() -> Hall:
    return Hall(Rules(token="t"))


@pytest.fixture
def make_hall() -> Callable[..., Hall]:
    def make(guilds: tuple[int, ...] = (GUILD,), **rules: Any) -> Hall:
        return Hall(Rules(**({"token": "t"} | rules)), guilds)

    return make


class Api:
    """REST in memory: asked, it answers at once."""

    def __init__(self, rules: Rules, bot_may: int | None) -> None:
        self.world, self.clock = World([GUILD]), Clock()
        self.home = self.world.guilds[GUILD]
        names = (f"token-{n:024}" for n in range(1000))
        sessions = Sessions(rules, lambda: "s")
        self.log, self.faults = ClientLog(), Faults()
        self.community = Community(self.world, lambda: next(names))
        self.messages, self.invites = self.community.messages, self.community.invites
        self.presses, self.accounts = self.community.presses, self.community.accounts
        self.published: list[Dispatch] = []
        self.began = datetime(2026, 11, 21, 10, tzinfo=UTC)
        clock: Any = self.clock
        self.door = Door(
            self.world,
            sessions,
            self.accounts,
            self.log,
            self.faults,
            clock,
            publish=self.published.extend,
            now=lambda: self.began + timedelta(seconds=self.clock.seconds()),
            secure=False,
        )
        rest = Rest(self.door, self.community)
        api, root, oauth = rest.app.resource(), Resource(), Resource()
        root.putChild(b"oauth2", oauth)
        oauth.putChild(b"authorize", ConsentPage(self.door))
        self._stubs = {"api": StubTreq(api), "site": StubTreq(root)}
        self.headers: Any = None
        if bot_may is not None:
            self.let_the_bot(bot_may)

    def let_the_bot(self, permissions: int) -> None:
        """Its roles and @everyone's allow that in the guild, and no more."""
        for role in self.home.roles:
            if role.id == GUILD or role.bot is not None:
                role.permissions = permissions

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        at: str = "api",
        authorization: str | None = "Bot t",
        **more: Any,
    ) -> tuple[int, Any]:
        """Give status and what was answered; `headers` has the headers."""
        headers = dict(more.pop("headers", {}))
        if authorization is not None:
            headers["Authorization"] = authorization
        if body is not None:
            more["data"] = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        answers: list[tuple[int, Any]] = []

        async def call() -> None:
            response = await self._stubs[at].request(
                method,
                f"http://discord{path}",
                headers=headers,
                allow_redirects=False,
                **more,
            )
            content = await response.content()
            self.headers = response.headers
            kind = response.headers.getRawHeaders("content-type", [""])[0]
            is_json = kind == "application/json" and content
            answers.append((response.code, json.loads(content) if is_json else content))

        asking = Deferred.fromCoroutine(call())
        self._stubs[at].flush()
        if not answers:
            raise AssertionError(asking)
        return answers[0]

    def header(self, name: str) -> str | None:
        values = self.headers.getRawHeaders(name)
        return values[0] if values else None

    def room(self, name: str) -> Any:
        return next(c for c in self.home.channels.values() if c.name == name)

    @property
    def told(self) -> list[str]:
        return [dispatch.name for dispatch in self.published]


@pytest.fixture
def make_api() -> Callable[..., Api]:
    def make(bot_may: int | None = None, **rules: Any) -> Api:
        return Api(Rules(**({"token": "t"} | rules)), bot_may)

    return make


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    return make_api()


@pytest.fixture
def fixture_data() -> Callable[[str], Any]:
    """Read the `d` of a gateway fixture, or the body of a REST one."""

    def read(name: str) -> Any:
        data = json.loads((FIXTURES / f"{name}.json").read_text())
        return data["body"] if name.startswith("rest/") else data["d"]

    return read
