"""A Gateway in memory, and one shard that is connected to it."""

import json
from types import SimpleNamespace

import pytest
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from prometheus_client import CollectorRegistry
from twisted.internet.defer import fail, succeed
from twisted.internet.error import ConnectionRefusedError as RefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.test import iosim
from zope.interface import implementer

from voicestatus.cluster.turns import OwnTurns
from voicestatus.core.errors import StoreError
from voicestatus.core.features import Feature
from voicestatus.discord.gateway.connection import Surroundings
from voicestatus.discord.gateway.gate import IdentifyGate
from voicestatus.discord.gateway.metrics import GatewayMetrics
from voicestatus.discord.gateway.portal import Portal
from voicestatus.discord.gateway.shard import ShardService
from voicestatus.discord.gateway.wire import Login
from voicestatus.discord.rest.wire import Application, GatewayBot
from voicestatus.store.memory import MemoryStore

TOKEN = "very.secret.token"
NOW = 1_800_000_000.0
PRESENCE = frozenset({Feature.PRESENCE})


class ServerSide(WebSocketServerProtocol):
    """The Gateway's end of one connection; it does what the test tells it."""

    def __init__(self):
        super().__init__()
        self.heard = []
        self.closed_with = None
        self.gone = False

    def onMessage(self, payload, isBinary):
        assert not isBinary
        self.heard.append(json.loads(payload))

    def onClose(self, wasClean, code, reason):
        self.closed_with, self.gone = code, True

    def say(self, op, data=None, seq=None, name=None):
        message = {"t": name, "s": seq, "op": op, "d": data}
        self.sendMessage(json.dumps(message).encode())

    @property
    def ops(self):
        return [message["op"] for message in self.heard]


class MemoryGateway:
    """Where a shard connects to, without a network."""

    def __init__(self, clock):
        self.clock = clock
        self.reachable = True
        self.answer = None  # what to answer instead, for a while
        self.connects = []  # (time, URL) of every attempt
        self.links = []
        self._pumps = []

    def endpoint(self, url):
        gateway = self

        @implementer(IStreamClientEndpoint)
        class Endpoint:
            def connect(self, factory):
                return gateway._connect(url, factory)

        return Endpoint()

    def _connect(self, url, factory):
        self.connects.append((self.clock.seconds(), url))
        if self.answer is not None:
            return self.answer()
        if not self.reachable:
            return fail(RefusedError())
        servers = WebSocketServerFactory(reactor=self.clock)
        servers.protocol = ServerSide
        servers.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
        server, client = servers.buildProtocol(None), factory.buildProtocol(None)
        self.links.append(server)
        self._pumps.append(
            iosim.connect(
                server,
                iosim.FakeTransport(server, isServer=True),
                client,
                iosim.FakeTransport(client, isServer=False),
            )
        )
        return succeed(client)

    def flush(self):
        """Carry what was written, until nobody writes any more."""
        before = None
        while before != (before := len(self._pumps)):
            for pump in list(self._pumps):
                pump.flush()

    @property
    def link(self):
        """The newest connection."""
        return self.links[-1]


class FakeApi:
    """What of the HTTP API a shard asks."""

    def __init__(self):
        self.bot = GatewayBot("wss://base.example", 1, 900, 0.0, 1)
        self.error = None
        self.answers_when = None  # a Deferred: not yet
        self.asked = 0
        self.flags = 0
        self.flags_error = None
        self.asked_flags = 0

    def within(self, patience_s):
        return self

    async def application(self):
        self.asked_flags += 1
        if self.flags_error is not None:
            raise self.flags_error
        return Application(1, self.flags)

    async def gateway_bot(self):
        self.asked += 1
        if self.answers_when is not None:
            await self.answers_when
        if self.error is not None:
            raise self.error
        return self.bot


class FakeJournal:
    """What a shard asks of the journal; the test says what is stored."""

    def __init__(self):
        self.kept = None  # what the process before has left
        self.loading = None  # a Deferred: not read yet
        self.marks = 0
        self.link = None

    async def restored(self, shard):
        if self.loading is not None:
            await self.loading
        return self.kept

    def mark(self):
        self.marks += 1

    def store(self):
        """Store the session as of now."""
        self.kept = self.link.session_state
        self.link.stored(self.kept)


class WatchedStore(MemoryStore):
    """A store that can fail, and that remembers what it wrote."""

    def __init__(self):
        super().__init__()
        self.broken = False
        self.writes = []

    async def get(self, kind, id_):
        if self.broken:
            raise StoreError("no")
        return await super().get(kind, id_)

    async def write(self, *changes, fence=None):
        if self.broken:
            raise StoreError("no")
        version = await super().write(*changes, fence=fence)
        self.writes += changes
        return version


@pytest.fixture
def world():  # noqa: C901, PLR0915 - it is the whole of it
    """One shard in a world of memory; `world.advance` moves its time."""
    clock = Clock()
    gateway, api, store = MemoryGateway(clock), FakeApi(), WatchedStore()
    store.startService()
    registry = CollectorRegistry()
    metrics = GatewayMetrics(registry)

    def wall():
        return NOW + clock.seconds()

    gate = IdentifyGate(api, store, OwnTurns(), metrics, clock, wall)
    told, statuses, news, journal = [], [], [], FakeJournal()

    def shard(resume_from=None, compress=None, deliver=None, features=PRESENCE):
        def deliver_to_the_test(event, at):
            told.append((event, at))

        journal.kept = resume_from
        world.portal = Portal(features, api, clock)
        made = ShardService(
            Login(TOKEN, 0, (0, 1)),
            deliver or deliver_to_the_test,
            api=api,
            gate=gate,
            portal=world.portal,
            memory=journal,
            around=Surroundings(
                clock, clock.seconds, metrics, may_act=lambda: world.may_act
            ),
            endpoint=gateway.endpoint,
            jitter=lambda: 0.5,
            agent="DiscordBot (test)",
            hear_news=news.append,
            compress=compress,
        )
        journal.link = made
        made.subscribe(statuses.append)
        world.shard = made
        made.startService()
        gateway.flush()
        return made

    def advance(seconds):
        """Move time, in steps that leave room for what happens meanwhile."""
        end = clock.seconds() + seconds
        while (left := end - clock.seconds()) > 1e-9:
            due = [call.getTime() for call in clock.getDelayedCalls()]
            soonest = min(due, default=end) - clock.seconds()
            clock.advance(min(left, max(soonest, 0.001)))
            gateway.flush()

    def ready(guilds=(), seq=1, resume_url="wss://resume.example"):
        """Lead the newest connection to READY."""
        gateway.link.say(10, {"heartbeat_interval": 40000})
        gateway.flush()
        body = {
            "session_id": "the-session",
            "resume_gateway_url": resume_url,
            "user": {"id": "100"},
            "guilds": [{"id": str(guild), "unavailable": True} for guild in guilds],
        }
        gateway.link.say(0, body, seq, "READY")
        gateway.flush()

    def resumed(seq):
        """Lead the newest connection to RESUMED."""
        gateway.link.say(10, {"heartbeat_interval": 40000})
        gateway.link.say(0, {}, seq, "RESUMED")
        gateway.flush()

    def value(name, **labels):
        return registry.get_sample_value(name, labels)

    def stopped():
        """Stop the shard, whatever it is doing."""
        done = world.shard.stopService()
        gateway.flush()
        advance(5)
        assert done.called
        return done

    world = SimpleNamespace(
        clock=clock,
        gateway=gateway,
        api=api,
        store=store,
        journal=journal,
        gate=gate,
        told=told,
        statuses=statuses,
        news=news,
        start=shard,
        advance=advance,
        ready=ready,
        resumed=resumed,
        value=value,
        stop=stopped,
        shard=None,
        may_act=True,
    )
    yield world
    if world.shard is not None and world.shard.running:
        stopped()
    left = [call for call in clock.getDelayedCalls() if call.active()]
    assert left == [], "a timer was left behind"
