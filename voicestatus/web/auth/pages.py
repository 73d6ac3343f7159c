"""What stands at `/auth`: where browsers come to be signed in, and out."""

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Literal

from msgspec import Meta, Struct

from voicestatus.core.errors import Refusal
from voicestatus.core.ids import UserId
from voicestatus.store.documents import Change, VersionConflict
from voicestatus.web.api.endpoint import Reply, endpoint
from voicestatus.web.audit import Audit, Caller
from voicestatus.web.auth import cookies
from voicestatus.web.auth.discord import HOME, KIND, WITHIN_S, SignIn, SignInRefused
from voicestatus.web.auth.gate import Gate
from voicestatus.web.auth.identity import Identity, Level
from voicestatus.web.auth.sessions import LASTS_S, Account, Sessions, actor_of
from voicestatus.web.auth.visit import Visit

Header = tuple[str, str]
SAID_NO = "access_denied"
"""Source: RFC 6749, 4.1.2.1."""


class TokenShown(Struct, frozen=True, forbid_unknown_fields=True):
    """The admin token, from a page's form."""

    token: str

    def __repr__(self) -> str:
        return "TokenShown()"


class LeaveQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How far somebody signs out."""

    everywhere: Annotated[
        Literal["true", "false"], Meta(description="whether from all browsers")
    ] = "false"


class GoQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Where somebody wants to be when they are signed in."""

    next: str = HOME


class CameBack(Struct, frozen=True):
    """What Discord sends a browser back with; there may be more."""

    state: str = ""
    code: str = ""
    error: str = ""

    def __repr__(self) -> str:
        return "CameBack()"


class Lobby:
    """Begins sessions, and gives the browser their cookie."""

    def __init__(self, sessions: Sessions, audit: Audit) -> None:
        self._sessions, self._audit = sessions, audit

    async def let_in(
        self,
        caller: Caller,
        visit: Visit,
        account: Account | None,
        level: Level,
        *also: Change,
    ) -> Header:
        """Begin a session in place of the one that was shown."""
        changes = [*also]
        if visit.session is not None:
            changes.append(self._sessions.ending(visit.session))
        if level is Level.ADMIN:
            who = Identity(actor_of(account), level)
            changes += self._audit.entry(replace(caller, who=who), "session.begin", "")
        id_ = await self._sessions.begin(account, level, visit.agent, *changes)
        return "Set-Cookie", cookies.write(
            cookies.SESSION, id_, secure=visit.secure, max_age_s=LASTS_S
        )


class SignInSubject:
    """Signing in with the admin token; signing out, however one came in."""

    def __init__(self, gate: Gate, sessions: Sessions, lobby: Lobby) -> None:
        self._gate, self._sessions, self._lobby = gate, sessions, lobby

    @endpoint("POST", "/token", HTTPStatus.NO_CONTENT, level=Level.ANYBODY)
    async def show_token(
        self, body: TokenShown, caller: Caller, visit: Visit
    ) -> Reply[None]:
        """Begin a session of the admin token."""
        # Another site's page could sign somebody in as somebody else.
        self._gate.see_no_other_page(visit)
        if not self._gate.knows(body.token.encode()):
            await self._gate.refuse(visit.address)
        cookie = await self._lobby.let_in(caller, visit, None, Level.ADMIN)
        return Reply(None, (cookie,))

    @endpoint("POST", "/logout", HTTPStatus.NO_CONTENT, level=Level.GUEST)
    async def leave(
        self, query: LeaveQuery, caller: Caller, visit: Visit
    ) -> Reply[None]:
        """End this session, or all of who signs out."""
        if query.everywhere == "true":
            await self._sessions.end_all(caller.who.user)
        elif caller.who.session is not None:
            await self._sessions.end(caller.who.session)
        gone = cookies.clear(cookies.SESSION, secure=visit.secure)
        return Reply(None, (("Set-Cookie", gone),))


class DiscordSubject:
    """Signing in with Discord."""

    def __init__(
        self, sign_in: SignIn, lobby: Lobby, arrived: Callable[[UserId], object]
    ) -> None:
        """Take who is told whoever has signed in."""
        self._sign_in, self._lobby, self._arrived = sign_in, lobby, arrived

    @endpoint("GET", "/discord", HTTPStatus.SEE_OTHER, level=Level.ANYBODY)
    def go(self, query: GoQuery, visit: Visit) -> Reply[None]:
        """Send the browser to Discord."""
        url, kept = self._sign_in.begin(query.next)
        keep = cookies.write(
            cookies.SIGN_IN, kept, secure=visit.secure, max_age_s=WITHIN_S
        )
        return Reply(None, (("Location", url), ("Set-Cookie", keep)))

    @endpoint("GET", "/discord/callback", HTTPStatus.SEE_OTHER, level=Level.ANYBODY)
    async def come_back(
        self, query: CameBack, caller: Caller, visit: Visit
    ) -> Reply[None]:
        """Take the browser back, and begin its session."""
        pending = self._sign_in.recognise(visit.sign_in, query.state)
        headers: list[Header] = [
            ("Location", pending.next),
            ("Set-Cookie", cookies.clear(cookies.SIGN_IN, secure=visit.secure)),
        ]
        if query.error not in ("", SAID_NO):
            raise Refusal("DISCORD_ERROR", "Discord does not sign anybody in for us.")
        if not query.error:
            arrival = await self._sign_in.finish(pending, query.code)
            try:
                headers.append(
                    await self._lobby.let_in(
                        caller, visit, arrival.account, arrival.level, arrival.change
                    )
                )
            except VersionConflict as e:
                if e.kind == KIND:
                    raise SignInRefused("it was finished before") from e
                raise
            self._arrived(arrival.account.id)
        return Reply(None, tuple(headers))
