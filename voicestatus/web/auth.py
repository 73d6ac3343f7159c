"""Who may use the admin side: one token, and patience for those who guess it."""

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

from voicestatus.core.addresses import Addresses, end_site
from voicestatus.core.errors import Refusal
from voicestatus.core.penalty import PenaltyBox
from voicestatus.devices.keepalive import Seldom

ACTOR = "admin token"
FIRST_HOLD_S, LONGEST_HOLD_S = 1.0, 30.0
MAX_HELD = 256
"""Refusals that wait at one time; who would be one more is told to come later."""


class Unauthorized(Refusal):
    """No right token."""

    def __init__(self) -> None:
        super().__init__("UNAUTHORIZED", "The admin token is wanted as a bearer token.")


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
            "Requests and sockets of the admin side without the right token.",
            ["reason"],
            registry=registry,
        )
        self.failures = {reason: failures.labels(reason) for reason in _REASONS}
        self.held = Gauge(
            "voicestatus_admin_held",
            "Answers to wrong tokens that are held back.",
            registry=registry,
        )


_REASONS = ("missing", "wrong", "flood")


class Gate(Service):
    """Lets in who knows the token; whoever does not waits longer each time.

    A right token is never slowed, whatever its neighbours do.
    """

    _log = Logger()

    def __init__(
        self,
        token: bytes,
        clock: IReactorTime,
        addresses: Addresses,
        metrics: GateMetrics,
    ) -> None:
        self._digest = sha256(token).digest()
        self._clock, self._addresses, self._metrics = clock, addresses, metrics
        self._box = PenaltyBox(FIRST_HOLD_S, LONGEST_HOLD_S)
        self._held: set[Deferred[None]] = set()
        self._failed = Seldom()
        metrics.held.set_function(lambda: len(self._held))

    def stopService(self) -> None:
        """Answer nobody any more who waits."""
        super().stopService()
        for held in tuple(self._held):
            held.cancel()

    def address_of(self, peer: str | None, headers: Mapping[str, str]) -> str:
        """Return whose address it is; see `Addresses.of`."""
        return self._addresses.of(peer, headers)

    def knows(self, token: bytes) -> bool:
        # Digests are equally long, so that not even the length can be measured.
        return hmac.compare_digest(sha256(token).digest(), self._digest)

    async def admit(self, authorization: bytes | None, address: str) -> None:
        """Judge an `Authorization` header.

        :raises Unauthorized: late, when a wrong token came from there before.
        :raises RateLimited: when too many are waiting.
        """
        scheme, _, token = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            self._metrics.failures["missing"].inc()
            raise Unauthorized
        if not self.knows(token.strip()):
            await self.refuse(address)

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
