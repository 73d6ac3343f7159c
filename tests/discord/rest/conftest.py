"""A client over agents that answer from a script, or as the simulator does."""

import json
from functools import partial

import pytest
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import (
    MemoryReactorClock,
    StringTransport,
    StringTransportWithDisconnection,
)
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer

from voicestatus.discord.rest.client import RestClient
from voicestatus.discord.rest.ratelimit import Call, Limits, Refuse, Send
from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.simulator.sessions import Rules

TOKEN = "very.secret.token"
GUILD = 1187000000000000001
API_URL = "https://discord.example/api/v10/"


@implementer(IResponse)
class CannedResponse:
    version = (b"HTTP", 1, 1)
    phrase = b"-"
    request = previousResponse = None  # noqa: N815 - theirs

    def __init__(self, code, headers, body):
        self.code, self._body = code, body
        self.headers = Headers({key: [value] for key, value in headers.items()})
        self.length = len(body)

    def deliverBody(self, protocol):  # noqa: N802 - theirs
        protocol.makeConnection(None)
        protocol.dataReceived(self._body)
        protocol.connectionLost(Failure(ResponseDone()))


@implementer(IAgent)
class ScriptedAgent:
    """Answers each request with the next line of the script."""

    def __init__(self, *script):
        self.script, self.asked, self.bodies = list(script), [], []

    def request(self, method, uri, headers=None, bodyProducer=None):  # noqa: N803
        self.asked.append((method, uri, headers))
        self.bodies.append(None if bodyProducer is None else read(bodyProducer))
        step = self.script.pop(0)
        if isinstance(step, Deferred):
            return step
        return fail(step) if isinstance(step, Exception) else succeed(step)


def read(producer):
    """Take the whole of a body that is already there."""
    written = StringTransport()
    producer.startProducing(written)
    return written.value()


@implementer(IAgent)
class SlowLine:
    """The simulator, `latency_s` away; no network between."""

    def __init__(self, root, clock):
        self._inner, self._clock = RequestTraversalAgent(root), clock
        self.latency_s = 0.01

    def request(self, method, uri, headers=None, bodyProducer=None):  # noqa: N803
        answered = Deferred(lambda _: there.active() and there.cancel())
        there = self._clock.callLater(
            self.latency_s / 2,
            self._arrive,
            answered,
            method,
            uri,
            headers,
            bodyProducer,
        )
        return answered

    def _arrive(self, answered, *asked):
        arrived = self._inner.request(*asked)
        self._inner.flush()
        arrived.addCallbacks(
            lambda answer: self._clock.callLater(
                self.latency_s / 2, self._bring, answered, answer
            ),
            answered.errback,
        )

    @staticmethod
    def _bring(answered, answer):
        if not answered.called:
            answered.callback(answer)


class Asking:
    """A client, a clock, and what came of each coroutine."""

    def __init__(self, agent, clock, api_url=API_URL, **options):
        self.clock, self.agent = clock, agent
        self.rest = RestClient(
            api_url,
            TOKEN,
            clock,
            version="1.2.3",
            jitter=lambda: 0.0,
            monotonic=clock.seconds,
            agent=agent,
            **options,
        )

    def ask(self, coroutine):
        """Begin, and answer a list that gets the result, and the way to cancel."""
        results = []
        asked = Deferred.fromCoroutine(coroutine)
        asked.addBoth(results.append)
        return results, asked.cancel

    def run(self, coroutine, within_s=60.0):
        """Let time pass until it is done; fail as it does."""
        results, _ = self.ask(coroutine)
        for _ in range(int(within_s / 0.01)):
            if results:
                break
            self.clock.advance(0.01)
        assert results, "it never came"
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]


@pytest.fixture
def canned(sample):
    def make(name):
        stored = sample(f"rest/{name}")
        body = stored.get("body_text", json.dumps(stored.get("body"))).encode()
        return CannedResponse(stored["status"], stored["headers"], body)

    return make


@pytest.fixture
def respond():
    """`respond(200, {...})`: an answer in JSON; `rate` are headers of limits."""

    def make(status, body=None, **rate):
        headers = {f"X-RateLimit-{key}": str(value) for key, value in rate.items()}
        encoded = b"" if body is None else json.dumps(body).encode()
        return CannedResponse(
            status, {"Content-Type": "application/json"} | headers, encoded
        )

    return make


@pytest.fixture
def script():
    """`script(answer, ...)`: a client that gets these answers."""

    def make(*answers, **options):
        return Asking(ScriptedAgent(*answers), Clock(), **options)

    return make


class Silence(Asking):
    """A client on real connections to nobody; they stand when the test says so."""

    def __init__(self):
        clock = MemoryReactorClock()
        agent = Agent(clock, pool=HTTPConnectionPool(clock, persistent=False))
        super().__init__(agent, clock, api_url="http://127.0.0.1/api/v10")

    def connect(self):
        """Let the connection stand that is being made; answer its transport."""
        _, _, factory, *_ = self.clock.tcpClients.pop()
        self._protocol = factory.buildProtocol(None)
        transport = StringTransportWithDisconnection()
        transport.protocol = self._protocol
        transport.abortConnection = transport.loseConnection
        self._protocol.makeConnection(transport)
        return transport

    def hear(self, data):
        self._protocol.dataReceived(data)

    def lose(self):
        self._protocol.connectionLost(Failure(ConnectionLost()))


@pytest.fixture
def silent():
    return Silence()


@pytest.fixture
def simulated():
    """`simulated(**rules)`: a client, and the simulator that it talks to."""

    def make(**rules):
        clock = MemoryReactorClock()
        rules = Rules(**({"token": TOKEN} | rules))
        discord = SimulatedDiscord(clock, guilds=[GUILD], rules=rules)
        asking = Asking(SlowLine(discord.root, clock), clock)
        asking.discord, asking.home = discord, discord.world.guilds[GUILD]
        asking.room = partial(_room, asking.home)
        return asking

    return make


def _room(home, name):
    return next(c.id for c in home.channels.values() if c.name == name)


class Desk:
    """Limits, with somebody who does as they say."""

    def __init__(self):
        self.limits, self.now = Limits(), 0.0
        self.sent, self.refused = [], []

    def ask(self, route, who=""):
        call = Call(route, who)
        self.take(self.limits.ask(call, self.now))
        return call

    def answer(self, call, answer):
        self.take(self.limits.answered(call, answer, self.now))

    def lose(self, call):
        self.take(self.limits.gone(call, self.now))

    def advance(self, seconds):
        """Wake up as often as was asked for."""
        until = self.now + seconds
        while (at := self.limits.wake_at(self.now)) is not None and at <= until:
            self.now = max(self.now, at)
            self.take(self.limits.tick(self.now))
        self.now = until

    def take(self, effects):
        for effect in effects:
            match effect:
                case Send(call):
                    self.sent.append(call)
                case Refuse(call, wait_s):
                    self.refused.append((call, wait_s))

    def learn(self, route, answer):
        self.answer(self.ask(route), answer)
        self.sent.clear()


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture(scope="session")
def make_desk():
    return Desk
