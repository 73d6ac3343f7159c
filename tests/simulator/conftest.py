"""A client of one simulated session, without a network; and the fixtures on disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voicestatus.simulator.log import ClientLog
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


@pytest.fixture
def fixture_data() -> Callable[[str], Any]:
    """Read the `d` of a gateway fixture, or the body of a REST one."""

    def read(name: str) -> Any:
        data = json.loads((FIXTURES / f"{name}.json").read_text())
        return data["body"] if name.startswith("rest/") else data["d"]

    return read
