"""`/me`, `/tokens`: who one is, one's sessions, and tokens for programs."""

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from msgspec import Meta, Struct, structs, to_builtins

from voicestatus.core.errors import Refusal
from voicestatus.devices.wire import Line
from voicestatus.web.api.endpoint import endpoint
from voicestatus.web.audit import Audit, Caller
from voicestatus.web.auth.api_tokens import ApiToken, ApiTokens
from voicestatus.web.auth.identity import Level, Scope
from voicestatus.web.auth.sessions import Session, Sessions
from voicestatus.web.auth.visit import Visit
from voicestatus.web.views import at

DAY_S = 24 * 3600.0

Scopes = Annotated[
    tuple[Scope, ...],
    Meta(min_length=1, max_length=len(Scope), examples=[["read", "devices"]]),
]


class WaysIn(Struct, frozen=True, rename="camel"):
    """How one may sign in here."""

    admin_token: Annotated[bool, Meta(description="at `POST /auth/token`")]
    discord: Annotated[bool, Meta(description="at `GET /auth/discord`")]


class User(Struct, frozen=True, rename="camel"):
    """A Discord account, as it was at the sign-in."""

    id: str
    display_name: str
    avatar_url: str | None


class Me(Struct, frozen=True, rename="camel"):
    """Who asks, and what they may."""

    actor: Annotated[str, Meta(description="what the audit log calls them")]
    level: Annotated[
        str, Meta(extra_json_schema={"enum": ["guest", "member", "admin"]})
    ]
    scopes: Annotated[
        tuple[Scope, ...] | None, Meta(description="of an API token; null: no bounds")
    ]
    user: User | None
    ends_at: Annotated[
        datetime | None, Meta(description="when the session ends if it is not used")
    ]
    csrf_token: Annotated[
        str | None, Meta(description="for `X-CSRF-Token`, with which a session writes")
    ]
    doubt: Annotated[
        str | None,
        Meta(
            description="the code of what keeps us from knowing whether the level is "
            "higher, such as `DISCORD_UNAVAILABLE`; null: it is what it says"
        ),
    ]


class SessionView(Struct, frozen=True, rename="camel"):
    """One's being signed in with one browser."""

    id: str
    current: Annotated[bool, Meta(description="whether it is this one")]
    agent: Annotated[str, Meta(description="what the browser calls itself")]
    began_at: datetime
    seen_at: Annotated[datetime, Meta(description="to five minutes")]
    ends_at: datetime


class SessionList(Struct, frozen=True, rename="camel"):
    """One's own sessions, the newest first."""

    sessions: list[SessionView]


class ApiTokenView(Struct, frozen=True, rename="camel"):
    """A token for a program, but for the token itself."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    made_by: str
    made_at: datetime
    ends_at: datetime | None
    used_at: Annotated[datetime | None, Meta(description="to five minutes")]


class ApiTokenList(Struct, frozen=True, rename="camel"):
    """All of them, the newest first."""

    tokens: list[ApiTokenView]


class NewApiToken(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A token to make."""

    name: Annotated[Line, Meta(min_length=1, examples=["deploy"])]
    scopes: Scopes
    days: Annotated[
        Annotated[int, Meta(ge=1, le=3650)] | None,
        Meta(description="how long it is good; null: for ever"),
    ] = 90


class MadeApiToken(ApiTokenView, frozen=True, rename="camel"):
    """A new token, with the token itself, which is told this once."""

    token: str

    def __repr__(self) -> str:
        return f"MadeApiToken(name={self.name!r})"


class AccountSubject:
    """Who one is, for all who are signed in."""

    def __init__(self, sessions: Sessions, ways: WaysIn) -> None:
        self._sessions, self._ways = sessions, ways

    @endpoint("GET", "/sign-in", level=Level.ANYBODY)
    def ways_in(self) -> WaysIn:
        """Tell how one may sign in."""
        return self._ways

    @endpoint("GET", "/me", level=Level.GUEST, refuses=("STORE_UNAVAILABLE",))
    async def me(self, caller: Caller, visit: Visit) -> Me:
        """Tell who one is, and what a page of a session needs."""
        who, session = caller.who, None
        if who.session is not None:
            session = await self._sessions.get(who.session)
        return Me(
            actor=who.actor,
            level=who.level.word,
            scopes=None if who.scopes is None else _in_order(who.scopes),
            user=_user_of(session),
            ends_at=None if session is None else at(session.value.ends_at),
            csrf_token=self._csrf_token(visit) if session is not None else None,
            doubt=None if who.doubt is None else who.doubt.code,
        )

    def _csrf_token(self, visit: Visit) -> str | None:
        return visit.session and self._sessions.csrf_token(visit.session)

    @endpoint("GET", "/me/sessions", level=Level.GUEST, refuses=("STORE_UNAVAILABLE",))
    async def list_(self, caller: Caller) -> SessionList:
        """List one's sessions; with the admin token, those of the admin token."""
        return SessionList(
            [_session_of(each, caller) for each in await self._own(caller)]
        )

    @endpoint(
        "DELETE",
        "/me/sessions/<session>",
        HTTPStatus.NO_CONTENT,
        level=Level.GUEST,
        refuses=("SESSION_NOT_FOUND", "STORE_UNAVAILABLE"),
    )
    async def end(self, session: str, caller: Caller) -> None:
        """End one of one's sessions."""
        if session not in {each.id for each in await self._own(caller)}:
            raise Refusal("SESSION_NOT_FOUND", "You have no such session.")
        await self._sessions.end(session)

    async def _own(self, caller: Caller) -> list[Session]:
        who = caller.who
        return [] if who.api_token is not None else await self._sessions.of(who.user)


class ApiTokensSubject:
    """Tokens for programs."""

    def __init__(
        self, tokens: ApiTokens, audit: Audit, wall: Callable[[], float]
    ) -> None:
        self._tokens, self._audit, self._wall = tokens, audit, wall

    @endpoint("GET", "/tokens", refuses=("STORE_UNAVAILABLE",))
    async def list_(self) -> ApiTokenList:
        """List the API tokens."""
        return ApiTokenList([_token_of(token) for token in await self._tokens.list()])

    @endpoint(
        "POST",
        "/tokens",
        HTTPStatus.CREATED,
        refuses=("TOKEN_EXISTS", "STORE_UNAVAILABLE"),
    )
    async def make(self, body: NewApiToken, caller: Caller) -> MadeApiToken:
        """Make an API token: a name, what it is good for, and for how long."""
        told = to_builtins(body)
        made, token = await self._tokens.make(
            body.name,
            _in_order(frozenset(body.scopes)),
            None if body.days is None else self._wall() + body.days * DAY_S,
            caller.actor,
            self._audit.entry(caller, "token.create", body.name, told),
        )
        return MadeApiToken(**structs.asdict(_token_of(made)), token=token)

    @endpoint(
        "DELETE",
        "/tokens/<token>",
        HTTPStatus.NO_CONTENT,
        refuses=("TOKEN_NOT_FOUND", "STORE_UNAVAILABLE"),
    )
    async def revoke(self, token: str, caller: Caller) -> None:
        """Revoke an API token, by its id."""
        await self._tokens.revoke(
            token,
            lambda known: self._audit.entry(caller, "token.revoke", known.name),
        )


def _in_order(scopes: frozenset[Scope]) -> tuple[Scope, ...]:
    return tuple(scope for scope in Scope if scope in scopes)


def _user_of(session: Session | None) -> User | None:
    account = None if session is None else session.value.account
    if account is None:
        return None
    return User(str(account.id), account.name, account.avatar_url)


def _session_of(session: Session, caller: Caller) -> SessionView:
    record = session.value
    return SessionView(
        session.id,
        session.id == caller.who.session,
        record.agent,
        at(record.began_at),
        at(record.seen_at),
        at(record.ends_at),
    )


def _token_of(token: ApiToken) -> ApiTokenView:
    record = token.value
    return ApiTokenView(
        token.id,
        record.name,
        record.scopes,
        record.made_by,
        at(record.made_at),
        _moment(record.ends_at),
        _moment(record.used_at),
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else at(seconds)
