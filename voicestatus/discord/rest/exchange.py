"""One request over HTTP and the whole of its answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

from OpenSSL import SSL
from service_identity import VerificationError
from treq.client import HTTPClient
from twisted.internet import defer
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    DNSLookupError,
)
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer
from zope.interface import implementer

from voicestatus.discord.rest import wire
from voicestatus.discord.rest.errors import DiscordUnreachable, DiscordUntrusted
from voicestatus.discord.rest.ratelimit import UNDER_WAY_MOST, Answer
from voicestatus.discord.rest.route import Route

T = TypeVar("T")

CONNECT_S: Final = 10.0
TIMEOUT_S: Final = 15.0
"""From the sending to the end of the answer."""
REASON_MOST: Final = 512
BOT: Final = ""
_BROKE = (RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed)
_NO_ANSWER = (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    *_BROKE,
    defer.TimeoutError,
    OSError,
)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the API, by whom."""

    route: Route
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    content_type: str = "application/json"
    authorization: str | None = field(default=None, repr=False)
    who: str = BOT
    """Whose limits it counts for."""
    reason: str | None = field(default=None, repr=False)
    """For the guild's audit log; of 512 characters at most."""
    once: bool = False
    """Its body has a nonce that Discord enforces."""

    @property
    def repeatable(self) -> bool:
        """Whether twice is as good as once.

        After a 5xx or a broken connection nobody knows whether a call was carried out.
        It is made again where that does no harm: GET, PUT, DELETE (which may then find
        nothing), and a POST with an enforced nonce. Not PATCH: a later one may have
        overtaken it. A 429 was not carried out, so any call is made again after it.
        """
        return self.once or self.route.method in {"GET", "PUT", "DELETE"}

    @property
    def headers(self) -> dict[str, str]:
        """Source: Discord docs, Audit Logs: the reason is percent-encoded UTF-8."""
        headers = {}
        if self.authorization is not None:
            headers["Authorization"] = self.authorization
        if self.body is not None:
            headers["Content-Type"] = self.content_type
        if self.reason:
            reason = quote(self.reason[:REASON_MOST], safe="", errors="replace")
            headers["X-Audit-Log-Reason"] = reason
        return headers


class ConnectionBroke(DiscordUnreachable):
    """It was asked, and then there was nobody."""


def _no_answer(error: Exception) -> DiscordUnreachable:
    """Say in an operator's words why no answer came."""
    if isinstance(error, DNSLookupError):
        return DiscordUnreachable("its name is not found; is the network up?")
    reasons = error.reasons if isinstance(error, _BROKE) else []
    if any(reason.check(SSL.Error, VerificationError) for reason in reasons):
        return DiscordUntrusted("its TLS certificate is not trusted, or TLS failed")
    why = f"no answer ({type(error).__name__})"
    if isinstance(error, (ConnectionClosed, *_BROKE)):
        return ConnectionBroke(why)
    return DiscordUnreachable(why)


class Http:
    """Discord's address, and the connections to it."""

    def __init__(
        self,
        api_url: str,
        reactor: Any,
        *,
        user_agent: str,
        trust_root: Certificate | None,
        agent: IAgent | None,
        heard: Callable[[Answer], object],
    ) -> None:
        """Open nothing yet. `agent` stands in for the network in tests."""
        self._api_url, self._user_agent = api_url.rstrip("/"), user_agent
        self._reactor, self._heard = reactor, heard
        self._pool: HTTPConnectionPool | None = None
        if agent is None:
            self._pool = HTTPConnectionPool(reactor)
            self._pool.maxPersistentPerHost = UNDER_WAY_MOST
            policy = BrowserLikePolicyForHTTPS(trustRoot=trust_root)
            agent = Agent(reactor, policy, CONNECT_S, pool=self._pool)
        self._client = HTTPClient(agent, data_to_body_producer=_Sent)

    async def exchange(self, request: Request) -> tuple[Answer, bytes]:
        """Return what was answered. Who cancels this closes the connection.

        :raises ConnectionBroke: when it was asked and perhaps carried out.
        :raises DiscordUnreachable: when there was nobody, or no answer in time.
        """
        exchange = _cancellable(Deferred.fromCoroutine(self._exchange(request)))
        try:
            return await exchange.addTimeout(TIMEOUT_S, self._reactor)
        except _NO_ANSWER as e:
            # Without its text, and without a chain: a request could be in there.
            raise _no_answer(e) from None

    def close(self) -> Deferred[None]:
        """Close the idle connections; fires when they are closed."""
        if self._pool is None:
            return succeed(None)
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    async def _exchange(self, request: Request) -> tuple[Answer, bytes]:
        query = f"?{urlencode(request.query)}" if request.query else ""
        response = await self._client.request(
            request.route.method,
            self._api_url + request.route.path + query,
            headers=Headers(
                {"User-Agent": [self._user_agent]}
                | {name: [value] for name, value in request.headers.items()}
            ),
            data=request.body,
            allow_redirects=False,  # the token goes nowhere else
            unbuffered=True,
        )
        # To its end, errors too: only then can the connection serve again.
        body = await _whole_body(response)
        headers = {
            name.decode("latin-1").lower(): values[0].decode("latin-1")
            for name, values in response.headers.getAllRawHeaders()
        }
        problem = None
        if response.code >= 300:
            problem = wire.problem(headers.get("content-type", ""), body)
        answer = Answer(response.code, headers, problem)
        self._heard(answer)
        return answer, body


@implementer(IBodyProducer)
class _Sent:
    """A body that is there already. Twisted's `FileBodyProducer` reads in slices on
    the global reactor."""

    def __init__(self, body: bytes) -> None:
        self._body, self.length = body, len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All is written at once."""

    resumeProducing = stopProducing = pauseProducing


class _Body(Protocol):
    """Collects a body. Twisted's `readBody` warns of its own agent's transport."""

    def __init__(self, finished: Deferred[bytes]) -> None:
        self._finished, self._parts = finished, bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._parts += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._finished.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self._finished.callback(bytes(self._parts))
        else:
            self._finished.errback(reason)


def _whole_body(response: Any) -> Deferred[bytes]:
    """Read to the end; cancelling closes the connection."""

    def give_up(_: object) -> None:
        if body.transport is not None:
            body.transport.loseConnection()

    finished: Deferred[bytes] = Deferred(give_up)
    body = _Body(finished)
    response.deliverBody(body)
    return finished


def _cancellable(exchange: Deferred[T]) -> Deferred[T]:
    """Once cancelled it says so: not that a connection broke, as Twisted may."""

    def cancel(outer: Deferred[T]) -> None:
        outer.errback(defer.CancelledError())
        exchange.cancel()

    def pass_on(result: T | Failure) -> None:
        if not outer.called:
            outer.callback(result)

    outer: Deferred[T] = Deferred(cancel)
    exchange.addBoth(pass_on)
    return outer
