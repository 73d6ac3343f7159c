"""Downloads and probes, where a device may ask any node."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import msgspec
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from voicestatus.cluster.messages import Messages, NodeGone
from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.fleet import digest_of
from voicestatus.core.release import Release
from voicestatus.ota.node_wire import (
    ANSWERED,
    ASSIGNED,
    NONCE,
    PROBE,
    Answered,
    Nonce,
    decode,
    encode,
    hearing,
)
from voicestatus.ota.probe import ANSWER_WITHIN_S
from voicestatus.ota.seat import Seat
from voicestatus.ota.updater import Facts
from voicestatus.store.documents import FateUnknown

PROBED_WITHIN_S: Final = 4 * ANSWER_WITHIN_S
"""Others may have their turn before."""
NEWS_WITHIN_S: Final = 2.0
"""A device may ask at one node before that has heard that another one sent it."""
EARLY_MOST: Final = 100
"""Who may wait for that; any stranger may ask."""


class Downloads(Protocol):
    """See `ota.downloads.Downloads`."""

    def answered(self, nonce: str, facts: Facts) -> bool: ...


class Probes(Protocol):
    """See `ota.probe.Probes`."""

    async def probe(self, device: str) -> Facts: ...


class DownloadsEverywhere:
    """Asks other nodes what is not known here; see `downloads.Elsewhere`."""

    def __init__(
        self,
        downloads: Downloads,
        releases: Callable[[str], Release | None],
        assigned: Callable[[str], Release | None],
        seat: Seat,
        messages: Messages,
        clock: IReactorTime,
    ) -> None:
        """`assigned` says what a device may fetch, if the rollouts are here."""
        self._downloads, self._releases, self._assigned = downloads, releases, assigned
        self._seat, self._messages, self._clock = seat, messages, clock
        self._awaited: dict[str, tuple[str, float]] = {}
        """By the digest of a nonce: which node awaits an answer, and until when."""
        self._early: dict[str, Deferred[None]] = {}
        """By the digest of a nonce: an answer that nobody is known to await."""
        messages.hear(NONCE, hearing(Nonce, self._hear_nonce), lambda: None)
        messages.serve(ANSWERED, self._serve_answered)
        messages.serve(ASSIGNED, self._serve_assigned)

    # ---- probes --------------------------------------------------------------------

    def expect_probe(self, digest: str, for_s: float) -> None:
        nonce = Nonce(self._messages.node, digest, for_s)
        self._messages.tell(NONCE, encode(nonce))

    async def answered(self, nonce: str, facts: Facts) -> bool:
        digest = digest_of(nonce.encode())
        if digest not in self._awaited:
            await self._news_of(digest)
        node, until = self._awaited.pop(digest, ("", 0.0))
        if self._clock.seconds() >= until:
            return False
        body = encode(Answered(nonce, facts))
        return await self._messages.ask(node, ANSWERED, body) == b"true"

    async def _news_of(self, digest: str) -> None:
        if digest in self._early or len(self._early) >= EARLY_MOST:
            return
        early = self._early[digest] = Deferred()
        try:
            with suppress(defer.TimeoutError):
                await early.addTimeout(NEWS_WITHIN_S, self._clock)
        finally:
            del self._early[digest]

    def _hear_nonce(self, told: Nonce) -> None:
        now = self._clock.seconds()
        self._awaited = {
            digest: (node, until)
            for digest, (node, until) in self._awaited.items()
            if now < until
        }
        self._awaited[told.digest] = told.node, now + told.for_s
        early = self._early.get(told.digest)
        if early is not None and not early.called:
            early.callback(None)

    async def _serve_answered(self, body: bytes) -> bytes:
        told = decode(body, Answered)
        return encode(self._downloads.answered(told.nonce, told.facts))

    # ---- who asks by itself --------------------------------------------------------

    async def assigned(self, device: str) -> Release | None:
        last = self._seat.last
        if self._seat.here or (last is not None and not last.busy):
            return None
        try:
            answer = await self._seat.ask(ASSIGNED, encode(device))
        except Refusal as e:
            raise StoreError(e.message) from None
        return self._releases(decode(answer, str))

    async def _serve_assigned(self, body: bytes) -> bytes:
        release = self._assigned(decode(body, str))
        return encode("" if release is None else release.id)


class ProbesEverywhere:
    """Lets a device be probed by the node that it is connected to."""

    def __init__(self, probes: Probes, messages: Messages) -> None:
        self._probes, self._messages = probes, messages
        messages.serve(PROBE, self._serve)

    async def probe(self, device: str) -> Facts:
        """:raises Refusal: as `Probes.probe` does, `NODE_UNREACHABLE`, and
        `FATE_UNKNOWN`: it may have been probed."""
        node = await self._messages.where(device)
        if node is None or node == self._messages.node:
            return await self._probes.probe(device)
        try:
            asked = PROBE, encode(device), PROBED_WITHIN_S
            return decode(await self._messages.ask(node, *asked), Facts)
        except NodeGone as e:
            raise Refusal("NODE_UNREACHABLE", str(e), node=node) from None
        except FateUnknown as e:
            raise Refusal("FATE_UNKNOWN", str(e), node=node) from None
        except Refusal as e:
            if e.code == "NOT_SERVED":
                raise Refusal("NODE_UNREACHABLE", e.message, node=node) from None
            raise

    async def _serve(self, body: bytes) -> bytes:
        return msgspec.json.encode(await self._probes.probe(decode(body, str)))
