"""The simulator as one service on one port."""

import random
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from voicestatus.simulator.community import Community
from voicestatus.simulator.control import Control
from voicestatus.simulator.faults import Faults
from voicestatus.simulator.gateway import Gateway, GatewayFactory, GatewayResource
from voicestatus.simulator.log import ClientLog, Entry
from voicestatus.simulator.people import People
from voicestatus.simulator.rest.door import Door
from voicestatus.simulator.rest.oauth import ConsentPage
from voicestatus.simulator.rest.pages import Rest
from voicestatus.simulator.sessions import Rules, Sessions
from voicestatus.simulator.stage import Stage
from voicestatus.simulator.world import World

HOST = "127.0.0.1"


class SilentSite(Site):
    """A site whose access log is the simulator's own."""

    noisy = False

    def log(self, request: Request) -> None:
        """Write nothing."""


class Guest(ProtocolWrapper):
    """One open connection, of whatever protocol."""

    factory: "Doorkeeper"

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted's default argument is a Failure, too
        super().connectionLost(reason)
        self.factory.gone()


class Doorkeeper(WrappingFactory):
    """Knows every open connection, so that none outlives the service."""

    noisy = False
    protocol = Guest

    def __init__(self, served: "Factory[Any]") -> None:
        super().__init__(served)
        self._emptied: list[Deferred[None]] = []

    def gone(self) -> None:
        """Note that a connection has ended, its own protocol's part included."""
        if not self.protocols:
            waiting, self._emptied = self._emptied, []
            for d in waiting:
                d.callback(None)

    def empty(self) -> Deferred[None]:
        """Cut all connections; fires when the last one is gone."""
        if not self.protocols:
            return succeed(None)
        d: Deferred[None] = Deferred()
        self._emptied.append(d)
        for protocol in tuple(self.protocols):
            protocol.abortConnection()
        return d


class SimulatedDiscord(Service):
    """A Discord of one's own: REST, gateway and controls on one port.

    Without an endpoint it listens on a free port of the loopback.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamServerEndpoint | None = None,
        *,
        guilds: Iterable[int] = (),
        rules: Rules = Rules(),  # noqa: B008 - frozen
        people: int = 0,
        rate_per_s: float = 0.5,
        seed: int = 0,
        certificate: Any = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        clock: IReactorTime = reactor
        secure = certificate is not None
        self._endpoint = endpoint or TCP4ServerEndpoint(reactor, 0, interface=HOST)
        self.world = World(guilds, seed)
        self._client_log = ClientLog()
        faults = Faults()
        sessions = Sessions(rules, lambda: secrets.token_hex(16))
        self.gateway = Gateway(self.world, sessions, self._client_log, faults, clock)
        self.community = Community(self.world, lambda: secrets.token_urlsafe(24))
        self.stage = Stage(
            self.world,
            self.gateway,
            faults,
            lambda: now().isoformat(),
            self.community,
        )
        self.voice, self.fault = self.stage.voice, self.stage.fault
        self.people = People(
            self.stage,
            next(iter(self.world.guilds)),
            count=people,
            rate_per_s=rate_per_s,
            rng=random.Random(seed),  # noqa: S311 - a cast, not a secret
            clock=clock,
            now=now,
        )
        door = Door(
            self.world,
            sessions,
            self.community.accounts,
            self._client_log,
            faults,
            clock,
            publish=self.gateway.publish,
            now=now,
            secure=secure,
        )
        rest = Rest(door, self.community)
        factory = GatewayFactory(self.gateway, reactor, secure=secure)
        self.root = _tree(rest, ConsentPage(door), factory, Control(self.stage))
        """All its pages, for who asks without a network."""
        served: Factory[Any] = SilentSite(self.root, reactor=reactor)
        if secure:
            served = TLSMemoryBIOFactory(certificate, False, served, clock)
        self._door = Doorkeeper(served)
        self._s = "s" if secure else ""
        self._listening: Deferred[IListeningPort] | None = None
        self._port: IListeningPort | None = None
        self._failed: Failure | None = None
        self._waiting: list[Deferred[int]] = []

    # -- what tests and the demo ask ---------------------------------------------

    @property
    def port(self) -> int:
        """The TCP port it listens on; 0 before `listening` has fired."""
        if self._port is None:
            return 0
        return int(getattr(self._port.getHost(), "port", 0))

    @property
    def url(self) -> str:
        """What a client takes for `DISCORD_API_URL`."""
        return f"http{self._s}://{HOST}:{self.port}/api/v10"

    @property
    def gateway_url(self) -> str:
        """Where the gateway is, for a client that does not ask."""
        return f"ws{self._s}://{HOST}:{self.port}/gateway"

    @property
    def control_url(self) -> str:
        """The base of the controls."""
        return f"http{self._s}://{HOST}:{self.port}/_control"

    def listening(self) -> Deferred[int]:
        """Fire with the port once it listens, or fail as listening did."""
        if self._failed is not None:
            return fail(self._failed)
        if self._port is not None:
            return succeed(self.port)
        d: Deferred[int] = Deferred()
        self._waiting.append(d)
        return d

    def log(self, since: int = 0) -> list[Entry]:
        """What clients did after entry `since`."""
        return self._client_log.since(since)

    def state(self) -> dict[str, dict[str, dict[str, dict[str, str]]]]:
        """Who is where: the truth."""
        return self.world.state()

    # -- life --------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()
        self._failed = None
        self._listening = listening = self._endpoint.listen(self._door)
        listening.addCallbacks(self._opened, self._refused)
        self.people.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self.people.stop()
        if self._listening is not None:
            self._listening.cancel()
        return Deferred.fromCoroutine(self._shut())

    async def _shut(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        await self._door.empty()

    def _opened(self, port: IListeningPort) -> None:
        self._port, self._listening = port, None
        self._log.info("the simulated Discord listens on {host}", host=port.getHost())
        waiting, self._waiting = self._waiting, []
        for d in waiting:
            d.callback(self.port)

    def _refused(self, failure: Failure) -> None:
        self._listening, self._failed = None, failure
        if self.running:
            self._log.warn(
                "the simulated Discord cannot listen: {reason}",
                reason=failure.getErrorMessage(),
            )
        waiting, self._waiting = self._waiting, []
        for d in waiting:
            d.errback(failure)


def _tree(
    rest: Rest, consent: Resource, factory: GatewayFactory, control: Control
) -> Resource:
    root, api, oauth = Resource(), Resource(), Resource()
    root.putChild(b"oauth2", oauth)
    oauth.putChild(b"authorize", consent)
    root.putChild(b"api", api)
    api.putChild(b"v10", rest.app.resource())
    root.putChild(b"gateway", GatewayResource(factory))
    root.putChild(b"_control", control.app.resource())
    return root
