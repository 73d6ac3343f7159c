"""The client of Discord's HTTP API."""

from collections.abc import Callable
from typing import Any, Final

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
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent

from voicestatus.core.errors import ProtocolError
from voicestatus.discord.rest import wire
from voicestatus.discord.rest.errors import (
    DiscordRefused,
    DiscordUnreachable,
    TokenRefused,
)
from voicestatus.discord.rest.ratelimit import RETRIES, Answer, Limits, retry_wait_s
from voicestatus.discord.rest.wire import GatewayBot, Route

HOME: Final = "https://github.com/voicestatus/voicestatus"
CONNECTIONS: Final = 4
TIMEOUT_S: Final = 15.0
_NO_ANSWER = (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    ResponseFailed,
    defer.TimeoutError,
    OSError,
)


def _why_no_answer(error: Exception) -> str:
    """Say in an operator's words why no answer came."""
    if isinstance(error, DNSLookupError):
        return "its name is not found; is the network up?"
    reasons = error.reasons if isinstance(error, ResponseFailed) else []
    if any(reason.check(SSL.Error, VerificationError) for reason in reasons):
        return "its TLS certificate is not trusted, or TLS failed"
    return f"no answer ({type(error).__name__})"


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


def user_agent(version: str) -> str:
    """Source: Discord docs, API Reference, "User Agent": others may be blocked."""
    return f"DiscordBot ({HOME}, {version})"


class RestClient:
    """Calls the API as our bot: within its limits, and never again after a 401."""

    _log = Logger()

    def __init__(
        self,
        api_url: str,
        token: str,
        reactor: Any,
        *,
        version: str,
        jitter: Callable[[], float],
        monotonic: Callable[[], float],
        trust_root: Certificate | None = None,
        agent: IAgent | None = None,
    ) -> None:
        """Open nothing yet. `agent` stands in for the network in tests."""
        self._api_url = api_url.rstrip("/")
        self._reactor, self._monotonic, self._jitter = reactor, monotonic, jitter
        self._pool: HTTPConnectionPool | None = None
        if agent is None:
            self._pool = HTTPConnectionPool(reactor)
            self._pool.maxPersistentPerHost = CONNECTIONS
            policy = BrowserLikePolicyForHTTPS(trustRoot=trust_root)
            agent = Agent(reactor, policy, TIMEOUT_S, pool=self._pool)
        self._http = HTTPClient(agent)
        self._headers = Headers(
            {"Authorization": [f"Bot {token}"], "User-Agent": [user_agent(version)]}
        )
        self._limits = Limits()
        self._token_refused = False

    async def gateway_bot(self) -> GatewayBot:
        """Ask where the Gateway is.

        :raises TokenRefused: and then at once for every further call.
        :raises DiscordRefused: on another refusal.
        :raises DiscordUnreachable: after as many tries as make sense.
        """
        body = await self._call(wire.GATEWAY_BOT)
        try:
            return wire.gateway_bot(body)
        except ProtocolError as e:
            raise DiscordUnreachable(str(e)) from None

    def close(self) -> Deferred[None]:
        """Close the idle connections; fires when they are closed."""
        if self._pool is None:
            return succeed(None)
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    async def _call(self, route: Route) -> bytes:
        for tries in range(1, RETRIES + 2):
            answer, body = await self._try(route)
            if answer.status < 300:
                return body
            problem = answer.problem or wire.Problem()
            self._log.warn(
                "{method} {path} answered {status}, code {code}",
                method=route.method,
                path=route.path,
                status=answer.status,
                code=problem.code,
            )
            if answer.status == 401:
                self._token_refused = True
                raise TokenRefused(401, problem.code, problem.message)
            if answer.status >= 500:
                if tries <= RETRIES:
                    await self._pause(retry_wait_s(tries, self._jitter()))
            elif answer.status != 429:
                raise DiscordRefused(answer.status, problem.code, problem.message)
        raise DiscordUnreachable(f"{route.path} answered {answer.status} each time")

    async def _try(self, route: Route) -> tuple[Answer, bytes]:
        while (
            wait_s := self._limits.free_at(route, now := self._monotonic()) - now
        ) > 0:
            await self._pause(wait_s)
        if self._token_refused:
            raise TokenRefused(401, 0, "the token was refused before")
        exchange = Deferred.fromCoroutine(self._exchange(route))
        try:
            answer, body = await exchange.addTimeout(TIMEOUT_S, self._reactor)
        except _NO_ANSWER as e:
            # Without its text, and without a chain: a request could be in there.
            raise DiscordUnreachable(_why_no_answer(e)) from None
        self._limits.answered(route, answer, self._monotonic())
        return answer, body

    async def _exchange(self, route: Route) -> tuple[Answer, bytes]:
        response = await self._http.request(
            route.method,
            self._api_url + route.path,
            headers=self._headers,
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
        return Answer(response.code, headers, problem), body

    async def _pause(self, wait_s: float) -> None:
        await deferLater(self._reactor, wait_s)
