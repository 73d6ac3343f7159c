"""The client of Discord's HTTP API."""

import math
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar

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
from voicestatus.core.ids import GuildId, UserId
from voicestatus.discord.rest import wire
from voicestatus.discord.rest.errors import (
    DiscordBusy,
    DiscordRefused,
    DiscordUnreachable,
    DiscordUntrusted,
    TokenRefused,
)
from voicestatus.discord.rest.ratelimit import RETRIES, Answer, Limits, retry_wait_s
from voicestatus.discord.rest.wire import (
    Application,
    Channel,
    GatewayBot,
    Guild,
    OwnUser,
    Route,
)

T = TypeVar("T")

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


def _no_answer(error: Exception) -> DiscordUnreachable:
    """Say in an operator's words why no answer came."""
    if isinstance(error, DNSLookupError):
        return DiscordUnreachable("its name is not found; is the network up?")
    reasons = error.reasons if isinstance(error, ResponseFailed) else []
    if any(reason.check(SSL.Error, VerificationError) for reason in reasons):
        return DiscordUntrusted("its TLS certificate is not trusted, or TLS failed")
    return DiscordUnreachable(f"no answer ({type(error).__name__})")


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
        patience_s: float = math.inf,
        heard: Callable[[Answer], object] = lambda _: None,
    ) -> None:
        """Open nothing yet. `agent` stands in for the network in tests.

        A call that would have to pause beyond `patience_s` after its beginning is
        given up. `heard` gets every answer, whatever it says.
        """
        self._patience_s, self._heard = patience_s, heard
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
        """Ask where the Gateway is. Of this and of all other calls:

        :raises TokenRefused: and then at once for every further call.
        :raises DiscordRefused: on another refusal.
        :raises DiscordUnreachable: after as many tries as make sense.
        """
        return await self._ask(wire.GATEWAY_BOT, wire.gateway_bot)

    async def own_user(self) -> OwnUser:
        """Ask whose token it is."""
        return await self._ask(wire.OWN_USER, wire.own_user)

    async def application(self) -> Application:
        """Ask which application the bot belongs to."""
        return await self._ask(wire.OWN_APPLICATION, wire.application)

    async def own_guilds(self) -> tuple[GuildId, ...]:
        """Ask which guilds the bot is in; the first 200 of them."""
        return await self._ask(wire.OWN_GUILDS, wire.own_guilds)

    async def guild(self, guild: GuildId) -> Guild:
        """Ask for one guild; refused where the bot is not in it."""
        return await self._ask(wire.guild_route(guild), partial(wire.guild, guild))

    async def channels(self, guild: GuildId) -> tuple[Channel, ...]:
        """Ask for a guild's channels; Discord may leave out what the bot cannot see."""
        route = wire.channels_route(guild)
        return await self._ask(route, partial(wire.channels, guild))

    async def member_roles(self, guild: GuildId, user: UserId) -> tuple[int, ...]:
        """Ask which roles a member of a guild holds."""
        route = wire.member_route(guild, user)
        return await self._ask(route, partial(wire.member_roles, guild, user))

    def close(self) -> Deferred[None]:
        """Close the idle connections; fires when they are closed."""
        if self._pool is None:
            return succeed(None)
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    async def _ask(self, route: Route, read: Callable[[bytes], T]) -> T:
        body = await self._call(route)
        try:
            return read(body)
        except ProtocolError as e:
            raise DiscordUnreachable(str(e)) from None

    async def _call(self, route: Route) -> bytes:
        give_up_at = self._monotonic() + self._patience_s
        for tries in range(1, RETRIES + 2):
            answer, body = await self._try(route, give_up_at)
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
                    wait_s = retry_wait_s(tries, self._jitter())
                    await self._pause(wait_s, give_up_at, answer.status)
            elif answer.status != 429:
                raise DiscordRefused(answer.status, problem.code, problem.message)
        raise DiscordBusy(answer.status, 0.0)

    async def _try(self, route: Route, give_up_at: float) -> tuple[Answer, bytes]:
        while (
            wait_s := self._limits.free_at(route, now := self._monotonic()) - now
        ) > 0:
            await self._pause(wait_s, give_up_at, HTTPStatus.TOO_MANY_REQUESTS)
        if self._token_refused:
            raise TokenRefused(401, 0, "the token was refused before")
        exchange = Deferred.fromCoroutine(self._exchange(route))
        try:
            answer, body = await exchange.addTimeout(TIMEOUT_S, self._reactor)
        except _NO_ANSWER as e:
            # Without its text, and without a chain: a request could be in there.
            raise _no_answer(e) from None
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
        answer = Answer(response.code, headers, problem)
        self._heard(answer)
        return answer, body

    async def _pause(self, wait_s: float, give_up_at: float, status: int) -> None:
        if self._monotonic() + wait_s > give_up_at:
            raise DiscordBusy(status, wait_s)
        await deferLater(self._reactor, wait_s)
