"""Who may call REST, how often, and what is noted of it."""

import hmac
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import BinaryIO, TypeVar
from urllib.parse import unquote

import msgspec
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException

from voicestatus.simulator.accounts import Accounts
from voicestatus.simulator.buckets import Buckets, Grant
from voicestatus.simulator.faults import Faults, RestFault
from voicestatus.simulator.log import ClientLog
from voicestatus.simulator.payloads import Channel, Guild, Json, Member, encode
from voicestatus.simulator.rest.refusals import (
    MISSING_SCOPE,
    NOT_JSON,
    UNAUTHORIZED,
    UNKNOWN_CHANNEL,
    UNKNOWN_GUILD,
    UNKNOWN_MEMBER,
    UNKNOWN_USER,
    FormError,
    LimitError,
    ProxyError,
    RestError,
)
from voicestatus.simulator.sessions import Sessions
from voicestatus.simulator.world import Dispatch, World

AnyRequest = Request | IRequest
INVALID_WINDOW_S, BANNED_S = 600.0, 600.0
REASON_MOST = 512
_SECRET_AFTER = frozenset({"interactions", "webhooks"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the bot, or a person by what they granted to an application."""

    user: int
    scopes: frozenset[str] | None = None
    """None: the bot."""


class Door:
    """Lets calls in to the pages, and their answers out."""

    def __init__(
        self,
        world: World,
        sessions: Sessions,
        accounts: Accounts,
        log: ClientLog,
        faults: Faults,
        clock: IReactorTime,
        *,
        publish: Callable[[Iterable[Dispatch]], None],
        now: Callable[[], datetime],
        secure: bool,
    ) -> None:
        """`publish` tells the gateway's sessions what a call has changed."""
        self.world, self.sessions, self.accounts = world, sessions, accounts
        self.publish, self.now, self.secure = publish, now, secure
        self.clock = clock
        self._log, self._faults = log, faults
        self._buckets = Buckets(sessions.rules.global_limit)
        self._invalid: deque[float] = deque(maxlen=sessions.rules.invalid_limit)

    # -- in ----------------------------------------------------------------------

    def admit(
        self,
        request: Request,
        route: str,
        major: object = "",
        *,
        scope: str | None = None,
    ) -> Caller:
        """Let a call through faults, token check and rate limits, in this order.

        With a `scope` people who granted it may call, too.
        """
        self._break(request)
        caller = self._caller(request, scope)
        wait_s = self._buckets.wait_s(caller.user, self.clock.seconds())
        if wait_s:
            raise LimitError(wait_s, "global")
        who = major if caller.scopes is None else f"{major}:{caller.user}"
        self._take(request, route, who)
        return caller

    def admit_anyone(self, request: Request, route: str, major: object = "") -> None:
        """Let a call through that needs no bot's token; the global limit is not its."""
        self._break(request)
        self._take(request, route, major)

    def read(self, request: Request, shape: type[T]) -> T:
        """:raises RestError: when the body is not such JSON."""
        content_type = request.getHeader("content-type") or ""
        if content_type.partition(";")[0] != "application/json":
            expected = "Expected \"Content-Type\" header to be 'application/json'."
            raise FormError("", "CONTENT_TYPE_INVALID", expected)
        content: BinaryIO | None = request.content
        try:
            return msgspec.json.decode(
                b"" if content is None else content.read(), type=shape, strict=False
            )
        except msgspec.ValidationError as e:
            said, _, path = str(e).partition(" - at `$")
            path = path.rstrip("`").replace("[", ".").replace("]", "")
            raise FormError(path, "BASE_TYPE_INVALID", said) from e
        except msgspec.DecodeError as e:
            raise RestError(*NOT_JSON) from e

    def argument(self, request: Request, name: str, default: int) -> int:
        """Read a number of the query."""
        text = (request.args or {}).get(name.encode(), [b""])[0]
        return int(text) if text.isdigit() else default

    # -- what is there -----------------------------------------------------------

    def guild(self, guild: int) -> Guild:
        """:raises RestError: when the bot is in none of that id."""
        if guild not in self.world.guilds:
            raise RestError(*UNKNOWN_GUILD)
        return self.world.guilds[guild]

    def channel(self, channel: int) -> tuple[Guild, Channel]:
        """:raises RestError: when there is none of that id."""
        for guild in self.world.guilds.values():
            if channel in guild.channels:
                return guild, guild.channels[channel]
        raise RestError(*UNKNOWN_CHANNEL)

    def member(self, guild: int, user: int) -> Member:
        """:raises RestError: when that user is not in it, or nobody at all."""
        members = self.guild(guild).members
        if user not in members:
            known = user in self.world.users
            raise RestError(*(UNKNOWN_MEMBER if known else UNKNOWN_USER))
        return members[user]

    # -- out ---------------------------------------------------------------------

    def reply(self, request: AnyRequest, body: object, status: int = 200) -> bytes:
        """Answer in JSON."""
        return self._answer(request, status, "application/json", encode(body))

    def done(self, request: AnyRequest) -> bytes:
        """Answer that it was done, and no more."""
        # Not as JSON: discord.py would read the empty body as such.
        return self._answer(request, HTTPStatus.NO_CONTENT, "text/html", b"")

    def refuse(self, request: IRequest, error: RestError) -> bytes:
        """Answer that it was not done, and count it where Discord does."""
        shared = error.headers.get("X-RateLimit-Scope") == "shared"
        if error.status in {401, 403} or (error.status == 429 and not shared):
            self._invalid.append(self.clock.seconds())
        for name, value in error.headers.items():
            request.setHeader(name, value)
        return self._answer(request, error.status, error.content_type, error.body)

    # -- inside ------------------------------------------------------------------

    def _break(self, request: Request) -> None:
        now = self.clock.seconds()
        full = len(self._invalid) == self._invalid.maxlen
        if full and now - self._invalid[0] < INVALID_WINDOW_S:
            raise ProxyError(HTTPStatus.TOO_MANY_REQUESTS, BANNED_S)
        fault = self._faults.take_rest(request.path.decode("ascii", "replace"))
        if fault is not None:
            raise _error(fault)
        reason = request.getHeader("x-audit-log-reason")
        if reason is not None and len(unquote(reason)) > REASON_MOST:
            raise FormError(
                "", "BASE_TYPE_MAX_LENGTH", "Must be 512 or fewer in length."
            )

    def _caller(self, request: Request, scope: str | None) -> Caller:
        scheme, _, token = (request.getHeader("authorization") or "").partition(" ")
        if scheme == "Bearer" and scope is not None:
            granted = self.accounts.whose(token, self.clock.seconds())
            if granted is None:
                raise RestError(*UNAUTHORIZED)
            if scope not in granted.scopes:
                raise RestError(*MISSING_SCOPE)
            return Caller(granted.user, granted.scopes)
        known = self.sessions.rules.knows(token)
        if not hmac.compare_digest(scheme.encode(), b"Bot") or not known:
            raise RestError(*UNAUTHORIZED)
        return Caller(self.world.bot.id)

    def _take(self, request: Request, route: str, major: object) -> None:
        now = self.clock.seconds()
        method = request.method.decode("ascii", "replace")
        grant = self._buckets.take(f"{method} {route}", str(major), now)
        for name, value in _headers(grant, now).items():
            request.setHeader(name, value)
        if not grant.allowed:
            raise LimitError(grant.reset_after_s)

    def _answer(
        self, request: AnyRequest, status: int, content_type: str, body: bytes
    ) -> bytes:
        reason = request.getHeader("x-audit-log-reason")
        self._log.add(
            self.clock.seconds(),
            "rest",
            method=request.method.decode("ascii", "replace"),
            path=_without_token(request.path.decode("ascii", "replace")),
            status=int(status),
            **({} if reason is None else {"reason": unquote(reason)}),
        )
        request.setResponseCode(status)
        request.setHeader("content-type", content_type)
        return body


def app_of_pages() -> Klein:
    """Make the app of a class of pages with a `door`: it refuses as Discord does."""
    app = Klein()

    @app.handle_errors(RestError)
    def refuse(self: "HasDoor", request: IRequest, failure: Failure) -> bytes:
        error = failure.value
        assert isinstance(error, RestError)  # noqa: S101 - for mypy: Klein matched it
        return self.door.refuse(request, error)

    @app.handle_errors(HTTPException)
    def no_such_page(self: "HasDoor", request: IRequest, failure: Failure) -> bytes:
        error = failure.value
        assert isinstance(error, HTTPException)  # noqa: S101 - for mypy, as above
        status = error.code or HTTPStatus.NOT_FOUND
        body: Json = {"message": f"{status}: {error.name}", "code": 0}
        return self.door.reply(request, body, status)

    return app


class HasDoor:
    """A class of pages."""

    def __init__(self, door: Door) -> None:
        self.door = door


def _error(fault: RestFault) -> RestError:
    if fault.status == HTTPStatus.TOO_MANY_REQUESTS:
        if fault.scope == "banned":
            return ProxyError(fault.status, fault.retry_after_s)
        return LimitError(fault.retry_after_s, fault.scope)
    if fault.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ProxyError(fault.status)
    phrase = HTTPStatus(fault.status).phrase
    return RestError(fault.status, 0, f"{fault.status}: {phrase}")


def _headers(grant: Grant, now: float) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(grant.limit),
        "X-RateLimit-Remaining": str(grant.remaining),
        "X-RateLimit-Reset": f"{now + grant.reset_after_s:.3f}",
        "X-RateLimit-Reset-After": f"{grant.reset_after_s:.3f}",
        "X-RateLimit-Bucket": grant.bucket,
    }


def _without_token(path: str) -> str:
    """The log may hold no token: that of an interaction is hidden."""
    parts = path.split("/")
    for at, part in enumerate(parts[:-2]):
        if part in _SECRET_AFTER:
            parts[at + 2] = "…"
    return "/".join(parts)
