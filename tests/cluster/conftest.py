"""Nodes of one process and of several, on a real Redis of their own."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from voicestatus.cluster.relay import Term
from voicestatus.cluster.service import OneOfSeveral
from voicestatus.core.guild import Channel, Guild, Knowledge, Voice
from voicestatus.core.presence import (
    Event,
    GuildArrived,
    Presence,
    SessionBegan,
    SessionResumed,
    SourceLost,
    SyncEnded,
    VoiceUpdated,
)
from voicestatus.core.session import SessionState
from voicestatus.core.storage_address import InRedis
from voicestatus.hub import Hub

LEASE_S = 1.0
ME = 99


class FakeSource:
    """A link to a Discord whose truth the test holds."""

    def __init__(self, node: "Node", shard: int) -> None:
        self.node, self.shard = node, shard
        self.terms: list[Term] = []
        self.tells_all = False
        self.acting = False
        self.session_state: SessionState | None = None

    def begin(self, term: Term) -> None:
        assert not self.acting
        self.acting = True
        self.terms.append(term)
        self.session_state = term.session
        if self.tells_all and term.session is None:
            self.say(*begin_events(self.shard))

    def end(self) -> Deferred[None] | None:
        self.acting = False
        return None

    def say(self, *events: Event) -> None:
        for event in events:
            seq = self.session_state.seq + 1 if self.session_state else 1
            self.session_state = SessionState("s", seq, "wss://resume")
            self.node.nodes.presences.deliver(self.shard, event)


class Node:
    """One node, with its own presence."""

    def __init__(self, address: InRedis, name: str, reactor: Any, shards: int) -> None:
        self.name = name
        self.hub = Hub(Presence(shards=shards))
        self.nodes = OneOfSeveral(address, name, self.hub, reactor, lease_s=LEASE_S)
        self.sources: list[FakeSource] = []
        for _ in range(shards):
            self.one_more_shard()

    def one_more_shard(self) -> None:
        self.sources.append(FakeSource(self, len(self.sources)))
        self.nodes.presences.attach(self.sources[-1].shard, self.sources[-1])

    def start(self) -> None:
        self.nodes.startService()

    def stop(self) -> Deferred[None]:
        return self.nodes.stopService()

    @property
    def source(self) -> FakeSource:
        return self.sources[0]

    @property
    def seen(self) -> object:
        return picture_of(self.hub.presence)


def picture_of(presence: Presence) -> object:
    """All that a presence knows, for comparing."""
    return presence.me, {
        guild.id: (guild.shard, guild.knowledge, guild.picture, dict(guild.voices))
        for guild in presence.guilds.values()
    }


def a_channel(id_: int) -> Channel:
    return Channel(id_, f"channel {id_}", 2)


def voice_of(user: int, channel: int) -> Voice:
    return Voice(user, channel)


def begin_events(shard: int = 0, guilds: int = 3) -> list[Event]:
    """A new session, and all of its guilds."""
    ids = [10 + 1000 * shard + n for n in range(guilds)]
    arrived = [
        GuildArrived(shard, id_, f"guild {id_}", None, (a_channel(id_ * 10),), ())
        for id_ in ids
    ]
    return [SessionBegan(shard, ME, frozenset(ids)), *arrived, SyncEnded(shard)]


class World:
    """What the tests of this folder are made of."""

    Node = Node
    LEASE_S = LEASE_S
    picture_of = staticmethod(picture_of)
    begin_events = staticmethod(begin_events)
    Knowledge = Knowledge
    Guild = Guild

    @staticmethod
    def joined(user: int, guild: int = 10) -> Event:
        return VoiceUpdated(guild, user, voice_of(user, guild * 10), False)

    @staticmethod
    def left(user: int, guild: int = 10) -> Event:
        return VoiceUpdated(guild, user, None, False)

    @staticmethod
    def lost() -> Event:
        return SourceLost(0)

    @staticmethod
    def resumed() -> Event:
        return SessionResumed(0)


@pytest.fixture
def world() -> type[World]:
    return World


_prefixes = count()


@pytest.fixture
def address(redis: Any) -> InRedis:
    """A part of the shared Redis that was born long ago."""
    prefix = f"test{next(_prefixes)}:"
    redis.ask("SET", f"{prefix}born", "1000")
    return InRedis((("127.0.0.1", redis.port),), prefix=prefix)


@pytest.fixture
def own_address(own_redis: Any) -> InRedis:
    own_redis.ask("SET", "voicestatus:born", "1000")
    return InRedis((("127.0.0.1", own_redis.port),))


@pytest_twisted.async_yield_fixture
async def start_node() -> AsyncIterator[Callable[..., Node]]:
    """Start nodes; those that still run are stopped."""
    from twisted.internet import reactor

    started: list[Node] = []

    def start(address: InRedis, name: str, shards: int = 1) -> Node:
        started.append(Node(address, name, reactor, shards))
        started[-1].start()
        return started[-1]

    yield start
    for node in started:
        if node.nodes.running:
            await node.stop()


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """Turn the reactor until a condition holds, for so long at most."""
    from twisted.internet import reactor, task

    async def eventually(holds: Callable[[], object], within_s: float = 10.0) -> None:
        deadline = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline, "it never came true"
            await task.deferLater(reactor, 0.005)

    return eventually
