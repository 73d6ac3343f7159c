"""Every call to Discord's HTTP API takes this way: in line, sent, maybe once more."""

import math
from collections.abc import Callable
from typing import Any, Final, TypeVar

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.ssl import Certificate
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.iweb import IAgent

from voicestatus.core.errors import ProtocolError
from voicestatus.discord.rest import errors, wire
from voicestatus.discord.rest.errors import (
    DiscordBusy,
    DiscordUnreachable,
    LoginRefused,
    OAuthRefused,
    TokenRefused,
    TooManyRefusals,
)
from voicestatus.discord.rest.exchange import BOT, ConnectionBroke, Http, Request
from voicestatus.discord.rest.ratelimit import (
    RETRIES,
    Answer,
    Call,
    Effect,
    Limits,
    Refuse,
    Send,
    retry_wait_s,
)
from voicestatus.discord.rest.route import Route

T = TypeVar("T")

LINE_MOST: Final = 10_000


class Calls:
    """The one way to the API for a process: its limits are those of all its calls.

    A call can be cancelled at any time: it leaves the line, or its connection is
    closed, and the next one has its place.
    """

    _log = Logger()

    def __init__(
        self,
        api_url: str,
        reactor: Any,
        *,
        user_agent: str,
        jitter: Callable[[], float],
        monotonic: Callable[[], float],
        trust_root: Certificate | None = None,
        agent: IAgent | None = None,
        heard: Callable[[Answer], object] = lambda _: None,
    ) -> None:
        """Open nothing yet. `agent` stands in for the network in tests.

        `heard` gets every answer, whatever it says.
        """
        self._reactor, self._monotonic, self._jitter = reactor, monotonic, jitter
        self._http = Http(
            api_url,
            reactor,
            user_agent=user_agent,
            trust_root=trust_root,
            agent=agent,
            heard=heard,
        )
        self._limits = Limits()
        self._turns: dict[Call, Deferred[None]] = {}
        self._timer: IDelayedCall | None = None
        self._token_refused = False

    async def ask(
        self, request: Request, read: Callable[[Route, bytes], T], patience_s: float
    ) -> T:
        """Return what `read` makes of the answer's body.

        The call is given up when it would have to wait beyond `patience_s` after its
        beginning.

        :raises TokenRefused: and then at once for every further call of the bot.
        :raises DiscordRefused: on another refusal.
        :raises DiscordUnreachable: after as many tries as make sense.
        """
        body = await self._make(request, patience_s)
        try:
            return read(request.route, body)
        except ProtocolError as e:
            raise DiscordUnreachable(str(e)) from None

    def close(self) -> Deferred[None]:
        """Let nobody wait any more, and close the idle connections."""
        for turn in tuple(self._turns.values()):
            turn.cancel()
        self._arm()
        return self._http.close()

    async def _make(self, request: Request, patience_s: float) -> bytes:
        if self._limits.waiting >= LINE_MOST:
            raise DiscordBusy(429, 0.0)
        until = self._monotonic() + patience_s
        call = Call(request.route, request.who)
        code = tries = 0
        while True:
            tries += 1
            await self._turn(call, until, code)
            try:
                answer, body = await self._try(request, call)
            except ConnectionBroke as e:
                failure: DiscordUnreachable = e
            else:
                if answer.status < 300:
                    return body
                code = self._judge(request, answer)
                wait_s = self._limits.wait_s(call, self._monotonic())
                failure = DiscordBusy(answer.status, wait_s, code)
                if answer.status == 429 and tries <= RETRIES:
                    continue  # its lane knows how long it must wait
            if tries > RETRIES or not request.repeatable:
                raise failure
            await self._pause(retry_wait_s(tries, self._jitter()), until, failure)

    # -- in line -----------------------------------------------------------------

    async def _turn(self, call: Call, until: float, code: int) -> None:
        """Wait for the call's turn; `code` is what the last answer said."""
        if self._token_refused and call.who == BOT:
            raise TokenRefused(401, 0, "the token was refused before")
        now = self._monotonic()
        wait_s = self._limits.wait_s(call, now)
        if wait_s > 0 and now + wait_s > until:
            raise DiscordBusy(429, wait_s, code)

        def leave(_: object) -> None:
            self._turns.pop(call, None)
            self._perform(self._limits.gone(call, self._monotonic()))

        turn = self._turns[call] = Deferred(leave)
        self._perform(self._limits.ask(call, now))
        if not turn.called and until < math.inf:
            turn.addTimeout(max(0.0, until - now), self._reactor)
        try:
            await turn
        except defer.TimeoutError:
            wait_s = self._limits.wait_s(call, self._monotonic())
            raise DiscordBusy(429, wait_s, code) from None

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            turn = self._turns.pop(effect.call, None)
            if turn is not None:
                match effect:
                    case Send():
                        turn.callback(None)
                    case Refuse(_, wait_s):
                        turn.errback(TooManyRefusals(wait_s))
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        now = self._monotonic()
        at = self._limits.wake_at(now)
        self._timer = None
        if at is not None:
            self._timer = self._reactor.callLater(max(0.0, at - now), self._tick)

    def _tick(self) -> None:
        self._perform(self._limits.tick(self._monotonic()))

    # -- on its way --------------------------------------------------------------

    async def _try(self, request: Request, call: Call) -> tuple[Answer, bytes]:
        answered = False
        try:
            answer, body = await self._http.exchange(request)
            answered = True
        finally:
            if not answered:
                self._perform(self._limits.gone(call, self._monotonic()))
        if answer.status == 401 and request.who == BOT:
            self._refuse_token()
        self._perform(self._limits.answered(call, answer, self._monotonic()))
        return answer, body

    def _judge(self, request: Request, answer: Answer) -> int:
        """Return the code of an answer that means "not now".

        :raises DiscordRefused: when it means no.
        """
        problem, status = answer.problem or wire.Problem(), answer.status
        # What is not there is a normal answer.
        log = self._log.debug if status == 404 else self._log.warn
        log(
            "{call} answered {status}, code {code}",
            call=request.route.name,
            status=status,
            code=problem.code,
        )
        if status == 429 or status >= 500:
            return problem.code
        if problem.oauth:
            raise OAuthRefused(status, problem.oauth)
        if status == 401:
            if request.who != BOT:
                raise LoginRefused(401, problem.code, problem.message)
            raise TokenRefused(401, problem.code, problem.message)
        raise errors.refused(status, problem)

    def _refuse_token(self) -> None:
        """Let no call of the bot wait for what would be refused, too."""
        self._token_refused = True
        now = self._monotonic()
        for call, turn in tuple(self._turns.items()):
            if call.who == BOT and self._turns.pop(call, None) is not None:
                self._limits.gone(call, now)
                turn.errback(TokenRefused(401, 0, "the token was refused"))

    async def _pause(
        self, wait_s: float, until: float, failure: DiscordUnreachable
    ) -> None:
        if self._monotonic() + wait_s > until:
            raise failure
        await deferLater(self._reactor, wait_s)
