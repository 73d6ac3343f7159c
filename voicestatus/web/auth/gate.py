"""Who may come in: by a token or a session; and patience for those who guess."""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import NoReturn

from prometheus_client import CollectorRegistry, Counter, Gauge
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from voicestatus.core.addresses import end_site
from voicestatus.core.errors import Refusal
from voicestatus.core.penalty import PenaltyBox
from voicestatus.devices.keepalive import Seldom
from voicestatus.web.auth.api_tokens import ApiToken, ApiTokens
from voicestatus.web.auth.identity import ADMIN_TOKEN, Identity, Level, Standing
from voicestatus.web.auth.sessions import Session, Sessions, actor_of
from voicestatus.web.auth.visit import Visit, Visits

FIRST_HOLD_S, LONGEST_HOLD_S = 1.0, 30.0
MAX_HELD = 256
"""Refusals that wait at one time; who would be one more is told to come later."""


class Unauthorized(Refusal):
    """No right token, and no session."""

    def __init__(
        self, message: str = "The admin token is wanted as a bearer token."
    ) -> None:
        super().__init__("UNAUTHORIZED", message)


class CrossSite(Refusal):
    """A browser sends it with a session's cookie, but no page of ours asked it to."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__("CSRF_REFUSED", message, reason=reason)


class RateLimited(Refusal):
    """Too many wrong tokens wait for their answer already."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            "RATE_LIMITED", "Too many wrong tokens.", retryAfterS=retry_after_s
        )


class GateMetrics:
    """The gate's metrics, declared on a registry that is handed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        failures = Counter(
            "voicestatus_admin_auth_failures",
            "Requests and sockets of the admin side that were not let in.",
            ["reason"],
            registry=registry,
        )
        self.failures = {reason: failures.labels(reason) for reason in _REASONS}
        self.held = Gauge(
            "voicestatus_admin_held",
            "Answers to wrong tokens that are held back.",
            registry=registry,
        )


_REASONS = ("missing", "wrong", "flood", "session", "csrf")


class Gate(Service):
    """Lets in who shows a token or a session; whoever guesses waits longer each time.

    A right token is never slowed, whatever its neighbours do.
    """

    _log = Logger()

    def __init__(
        self,
        token: bytes,
        sessions: Sessions,
        api_tokens: ApiTokens,
        visits: Visits,
        clock: IReactorTime,
        metrics: GateMetrics,
        standing: Standing | None = None,
    ) -> None:
        """Without `standing` users are what they were when they signed in."""
        self._digest = sha256(token).digest()
        self._sessions, self._api_tokens, self._visits = sessions, api_tokens, visits
        self._clock, self._metrics, self._standing = clock, metrics, standing
        self._box = PenaltyBox(FIRST_HOLD_S, LONGEST_HOLD_S)
        self._held: set[Deferred[None]] = set()
        self._failed = Seldom()
        metrics.held.set_function(lambda: len(self._held))

    def stopService(self) -> None:
        """Answer nobody any more who waits."""
        super().stopService()
        for held in tuple(self._held):
            held.cancel()

    def visit(
        self, peer: str | None, headers: Mapping[str, str], *, tls: bool
    ) -> Visit:
        """Read what a request shows; see `Visits.of`."""
        return self._visits.of(peer, headers, tls=tls)

    def knows(self, token: bytes) -> bool:
        # Digests are equally long, so that not even the length can be measured.
        return hmac.compare_digest(sha256(token).digest(), self._digest)

    async def admit(self, visit: Visit, *, writes: bool) -> Identity:
        """Tell who it is.

        A browser sends a session's cookie by itself: a write by it has to show that a
        page of ours asks for it.

        :raises Unauthorized: late, when a wrong token came from there before.
        :raises RateLimited: when too many are waiting.
        :raises CrossSite: when it is a write of another site's page.
        :raises StoreError: when somebody shows what only the store knows.
        """
        if visit.bearer is not None:
            return await self.bearer(visit.bearer, visit.address)
        if visit.session is None:
            self._metrics.failures["missing"].inc()
            raise Unauthorized
        session = await self._sessions.use(self._sessions.digest(visit.session))
        if session is None:
            self._metrics.failures["session"].inc()
            raise Unauthorized("The session has ended: sign in again.")
        if writes:
            self._see_our_page(visit, visit.session)
        return await self._of_session(session)

    async def bearer(self, token: bytes, address: str) -> Identity:
        """Tell whose token it is; raise what `admit` does."""
        if self.knows(token):
            return ADMIN_TOKEN
        found = await self._api_tokens.bearer(token)
        if found is None:
            await self.refuse(address)
        return _of_token(found)

    async def again(self, who: Identity) -> Identity | None:
        """Tell who somebody is now who was let in before; None: nobody any more."""
        if who.session is not None:
            session = await self._sessions.use(who.session)
            return None if session is None else await self._of_session(session)
        if who.api_token is not None:
            token = await self._api_tokens.get(who.api_token)
            return None if token is None else _of_token(token)
        return who

    def see_no_other_page(self, visit: Visit) -> None:
        """:raises CrossSite: when it says itself that another site's page sends it."""
        if visit.own_origin is False:
            self._turn_away(
                "origin", "No page of ours sends this; behind a proxy set PUBLIC_URL."
            )

    def _see_our_page(self, visit: Visit, session_id: str) -> None:
        self.see_no_other_page(visit)
        if visit.own_origin is None:
            self._turn_away("origin", "With a session a write needs an Origin.")
        right = self._sessions.csrf_token(session_id).encode()
        if not hmac.compare_digest(visit.csrf.encode(), right):
            self._turn_away(
                "token", "X-CSRF-Token has to hold the csrfToken of /api/v1/me."
            )

    def _turn_away(self, reason: str, message: str) -> NoReturn:
        self._metrics.failures["csrf"].inc()
        raise CrossSite(reason, message)

    async def _of_session(self, session: Session) -> Identity:
        account, level, doubt = session.value.account, session.value.level, None
        user = None if account is None else account.id
        if user is not None and self._standing is not None:
            try:
                level = await self._standing.level_of(user)
            except Refusal as e:
                level, doubt = Level.GUEST, e
        return Identity(
            actor_of(account), level, user=user, session=session.id, doubt=doubt
        )

    async def refuse(self, address: str) -> NoReturn:
        """Count a wrong token, wait, and raise what `admit` does."""
        now = self._clock.seconds()
        self._box.forgive(now)
        hold_s = self._box.fail(end_site(address), now)
        full = hold_s > 0 and len(self._held) >= MAX_HELD
        self._metrics.failures["flood" if full else "wrong"].inc()
        if many := self._failed.happened(now):
            self._log.warn(
                "{many} wrong admin token(s); the last from {address}",
                many=many,
                address=address,
            )
        if full:
            raise RateLimited(round(hold_s + 0.5))
        if hold_s:
            await self._hold(hold_s)
        raise Unauthorized

    async def _hold(self, seconds: float) -> None:
        held: Deferred[None] = deferLater(self._clock, seconds)
        self._held.add(held)
        try:
            await held
        finally:
            self._held.discard(held)


def _of_token(token: ApiToken) -> Identity:
    scopes = frozenset(token.value.scopes)
    actor = f"API token {token.value.name}"
    return Identity(actor, Level.ADMIN, scopes, api_token=token.id)
