"""`/ota`: what devices ask for that update themselves."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from socket import SO_SNDBUF, SOL_SOCKET, socket
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from voicestatus.core.addresses import end_site
from voicestatus.core.errors import ProtocolError, StoreError
from voicestatus.core.manifest import PublicKey
from voicestatus.devices.door import Door
from voicestatus.ota.catalogue import Catalogue
from voicestatus.ota.downloads import (
    PROBE,
    Claim,
    DownloadMetrics,
    Downloads,
    Progress,
)
from voicestatus.ota.images import Images
from voicestatus.ota.line import Line
from voicestatus.ota.pace import Pace, Rates
from voicestatus.ota.updater import Facts, facts_of, misfit, obstacle
from voicestatus.services import Row
from voicestatus.store.blobs import Blob
from voicestatus.store.documents import Store
from voicestatus.tasks import Tasks
from voicestatus.web.outflow import Outflow
from voicestatus.web.ranges import Span, Unsatisfiable, asked
from voicestatus.web.site import headers_of, peer_of

PARALLEL = 256
"""Downloads at one time: each holds no more than two pieces of memory."""
PIECE_BYTES = 16_384
SOCKET_BYTES = 65_536
"""What the kernel holds of an answer: without a bound it takes a whole image, and
nobody knows what of it has come."""
STALLED_AFTER_S = 30.0
PATIENCE_S = 5.0
"""How long an updater is kept waiting for its turn that gives up after 8 s.

Source: `useHTTP10` and `_httpClientTimeout(8000)`, ESP8266httpUpdate.cpp, HTTPUpdate.h.
"""
RETRY_AFTER_S = 5


class OtaSide(Row):
    """The catalogue, the downloads, and `pages`, which stand at `/ota`.

    Set `catalogue.needed` and `downloads.assigned` to who does rollouts.
    """

    def __init__(
        self,
        *,
        store: Store,
        keys: Sequence[PublicKey],
        door: Door,
        metrics: CollectorRegistry,
        clock: IReactorTime,
        wall: Callable[[], float],
        make_token: Callable[[], str],
        bearer: Callable[[bytes], str | None],
        by_mac: Callable[[str], str | None],
        parallel: int = PARALLEL,
        rates: Rates | None = None,
    ) -> None:
        """Take who says which device has a token, and a MAC such as `a0:20:a6:…`."""
        super().__init__()
        self.catalogue = Catalogue(store, keys, clock, wall=wall)
        self.downloads = Downloads(
            store,
            self.catalogue,
            clock,
            DownloadMetrics(metrics),
            wall=wall,
            make_token=make_token,
        )
        sending = Sending(
            self.downloads, Images(store), clock, parallel, rates or Rates()
        )
        self.pages: Resource = OtaPages(self.downloads, sending, door, bearer, by_mac)
        for part in (self.catalogue, self.downloads, sending):
            part.setServiceParent(self)


class Sending(Service):
    """Sends images, so many at a time and no faster than `rates`."""

    _log = Logger()

    def __init__(
        self,
        downloads: Downloads,
        images: Images,
        clock: IReactorTime,
        parallel: int,
        rates: Rates,
    ) -> None:
        self._downloads, self._images, self._clock = downloads, images, clock
        self._line, self._pace = Line(parallel, clock), Pace(rates)
        self._running: dict[str, Outflow] = {}
        self._tasks = Tasks()
        downloads.metrics.running.set_function(lambda: self._line.taken)
        downloads.metrics.waiting.set_function(lambda: len(self._line))

    def stopService(self) -> None:
        """Cut off what is on its way: a device begins again where it was."""
        super().stopService()
        for outflow in tuple(self._running.values()):
            outflow.drop()
        self._tasks.cancel()
        self._images.stop()

    def answer(
        self,
        request: Request,
        address: str,
        claiming: Deferred[Claim | None],
        patience_s: float,
        nothing: HTTPStatus = HTTPStatus.NOT_FOUND,
    ) -> None:
        """Send what is claimed, once that is known; None: `nothing`."""
        if not self.running:  # connections from before are still there
            claiming.addErrback(lambda _: None)
            claiming.cancel()
            refuse(request, HTTPStatus.SERVICE_UNAVAILABLE, RETRY_AFTER_S)
            return
        outflow = Outflow(request, self._clock)
        work = self._answer(outflow, request, address, claiming, patience_s, nothing)
        self._tasks.spawn("a download", outflow.run(work))

    async def _answer(
        self,
        outflow: Outflow,
        request: Request,
        address: str,
        claiming: Deferred[Claim | None],
        patience_s: float,
        nothing: HTTPStatus,
    ) -> None:
        ended = self._downloads.metrics.ended
        try:
            claim = await outflow.wait(claiming)
            blob = None if claim is None else await outflow.wait(self._find(claim))
        except StoreError:
            refuse(request, HTTPStatus.SERVICE_UNAVAILABLE, RETRY_AFTER_S)
            return
        if claim is None and nothing is HTTPStatus.NOT_MODIFIED:
            refuse(request, nothing)
            return
        if claim is None or blob is None:
            ended["unknown"].inc()
            refuse(request, HTTPStatus.NOT_FOUND)
            return
        span = _head_of(request, claim, blob)
        if span is None:
            return
        # Now, not when its turn has come: the place that it waits for may be its own.
        if (before := self._running.get(claim.key)) is not None:
            before.drop()
        self._running[claim.key] = outflow
        try:
            coming = Deferred.fromCoroutine(self._line.enter(patience_s))
            if not await outflow.wait(coming):
                ended["busy"].inc()
                refuse(request, HTTPStatus.SERVICE_UNAVAILABLE, RETRY_AFTER_S)
                return
            try:
                await self._send(outflow, address, claim, blob, span)
            finally:
                self._line.leave()
        finally:
            if self._running.get(claim.key) is outflow:
                del self._running[claim.key]

    def tell(self, request: Request, answered: Deferred[bool]) -> None:
        """Answer who was probed, once it is known whether anybody did that."""
        outflow = Outflow(request, self._clock)
        work = self._tell(outflow, request, answered)
        self._tasks.spawn("an answer to a probe", outflow.run(work))

    async def _tell(
        self, outflow: Outflow, request: Request, answered: Deferred[bool]
    ) -> None:
        try:
            known = await outflow.wait(answered)
        except StoreError:
            refuse(request, HTTPStatus.SERVICE_UNAVAILABLE, RETRY_AFTER_S)
        else:
            status = HTTPStatus.NOT_MODIFIED if known else HTTPStatus.NOT_FOUND
            refuse(request, status)

    def _find(self, claim: Claim) -> Deferred[Blob | None]:
        return Deferred.fromCoroutine(self._images.find(claim.release.sha256))

    async def _send(
        self, outflow: Outflow, address: str, claim: Claim, blob: Blob, span: Span
    ) -> None:
        progress = self._downloads.begin(claim, span.start)
        complete = stalled = False
        try:
            outflow.begin()
            await self._send_all(outflow, address, blob, span, progress)
            complete = True
        except TookTooLong:
            stalled = True
        except StoreError as e:
            self._log.warn("a download was broken off: {why}", why=str(e))
        finally:
            # Before the answer ends: what is asked next may be the same again.
            progress.end(complete=complete, stalled=stalled)
        if complete:
            outflow.finish()
        else:
            outflow.drop()

    async def _send_all(
        self,
        outflow: Outflow,
        address: str,
        blob: Blob,
        span: Span,
        progress: Progress,
    ) -> None:
        images, clock = self._images, self._clock
        while (at := progress.position) < span.end:
            await outflow.room(STALLED_AFTER_S)
            most_bytes = min(PIECE_BYTES, span.end - at)
            piece = images.kept(blob, at, most_bytes)
            if piece is None:
                piece = await outflow.wait(images.fetch(blob, at, most_bytes))
            wait_s = self._pace.take(address, len(piece), clock.seconds())
            if wait_s > 0:
                await outflow.wait(deferLater(clock, wait_s))
            outflow.write(piece)
            progress.sent(len(piece))


class OtaPages(Resource):
    """Knows who asks, and what for."""

    isLeaf = True

    def __init__(
        self,
        downloads: Downloads,
        sending: Sending,
        door: Door,
        bearer: Callable[[bytes], str | None],
        by_mac: Callable[[str], str | None],
    ) -> None:
        super().__init__()
        self._downloads, self._sending, self._door = downloads, sending, door
        self._bearer, self._by_mac = bearer, by_mac

    def render(self, request: Request) -> bytes | int:
        try:
            path = [part.decode() for part in request.postpath or ()]
            facts = facts_of(headers_of(request))
        except (UnicodeDecodeError, ProtocolError):
            return refuse(request, HTTPStatus.NOT_FOUND)
        match path:
            case ["check"] | ["images", _, _] if request.method not in {
                b"GET",
                b"HEAD",
            }:
                request.setHeader(b"allow", b"GET, HEAD")
                return refuse(request, HTTPStatus.METHOD_NOT_ALLOWED)
            case ["check"]:
                return self._check(request, facts)
            case ["images", release, token] if release == PROBE:
                return self._probe(request, token, facts)
            case ["images", release, token]:
                claiming = self._granted(release, token, facts)
                return self._give(request, Deferred.fromCoroutine(claiming), facts)
            case _:
                return refuse(request, HTTPStatus.NOT_FOUND)

    async def _granted(
        self, release: str, token: str, facts: Facts | None
    ) -> Claim | None:
        claim = await self._downloads.claim(release, token)
        if claim is None or facts is None or misfit(facts, claim.release) is None:
            return claim
        return None

    def _check(self, request: Request, facts: Facts | None) -> bytes | int:
        device = self._who(request, facts)
        if device is None:
            return refuse(request, HTTPStatus.NOT_MODIFIED)
        claim = self._downloads.assignment(device)
        if claim is None and self._downloads.elsewhere is not None:
            claiming = Deferred.fromCoroutine(self._assigned_elsewhere(device, facts))
            return self._give(request, claiming, facts, HTTPStatus.NOT_MODIFIED)
        if claim is None or obstacle(facts, claim.release) is not None:
            return refuse(request, HTTPStatus.NOT_MODIFIED)
        return self._give(request, succeed(claim), facts)

    async def _assigned_elsewhere(
        self, device: str, facts: Facts | None
    ) -> Claim | None:
        claim = await self._downloads.assignment_elsewhere(device)
        if claim is None or obstacle(facts, claim.release) is not None:
            return None
        return claim

    def _probe(self, request: Request, nonce: str, facts: Facts | None) -> bytes | int:
        if facts is None:
            return refuse(request, HTTPStatus.NOT_FOUND)
        if self._downloads.answered(nonce, facts):
            return refuse(request, HTTPStatus.NOT_MODIFIED)
        if self._downloads.elsewhere is None:
            return refuse(request, HTTPStatus.NOT_FOUND)
        answering = self._downloads.elsewhere.answered(nonce, facts)
        self._sending.tell(request, Deferred.fromCoroutine(answering))
        return NOT_DONE_YET

    def _give(
        self,
        request: Request,
        claiming: Deferred[Claim | None],
        facts: Facts | None,
        nothing: HTTPStatus = HTTPStatus.NOT_FOUND,
    ) -> int:
        headers = headers_of(request)
        address = end_site(self._door.addresses.of(peer_of(request), headers))
        patience_s = 0.0 if facts is None else PATIENCE_S
        claiming.addCallback(self._let_in, request)
        self._sending.answer(request, address, claiming, patience_s, nothing)
        return NOT_DONE_YET

    def _let_in(self, claim: Claim | None, request: Request) -> Claim | None:
        if claim is not None:
            # All signs of a house have one address, and all may update at once.
            transport: Any = request.transport
            self._door.let_in(transport)
            _bound(transport)
        return claim

    def _who(self, request: Request, facts: Facts | None) -> str | None:
        tokens = (request.args or {}).get(b"token")
        if tokens:
            return self._bearer(tokens[0])
        return None if facts is None else self._by_mac(facts.mac)


def refuse(
    request: Request, status: HTTPStatus, retry_after_s: int | None = None
) -> bytes | int:
    """Answer without an image."""
    body = b"" if status == HTTPStatus.NOT_MODIFIED else status.phrase.lower().encode()
    request.setResponseCode(status)
    request.setHeader(b"cache-control", b"no-store")
    if body:
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        request.setHeader(b"content-length", b"%d" % len(body))
    if retry_after_s is not None:
        request.setHeader(b"retry-after", b"%d" % retry_after_s)
    request.write(b"" if request.method == b"HEAD" else body)
    request.finish()
    return NOT_DONE_YET


def _head_of(request: Request, claim: Claim, blob: Blob) -> Span | None:
    """Set the head of an answer; None: it is answered already, without an image."""
    size, whole = blob.size_bytes, Span(0, blob.size_bytes)
    tag = f'"{blob.sha256}"'.encode()
    wanted = request.getHeader(b"range")
    if request.method == b"HEAD":
        wanted = None  # Source: RFC 9110 14.2
    if request.getHeader(b"if-range") not in {None, tag}:
        wanted = None  # it has a part of something else
    try:
        part = asked(None if wanted is None else wanted.decode("latin-1"), size)
    except Unsatisfiable:
        request.setHeader(b"content-range", b"bytes */%d" % size)
        refuse(request, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        return None
    span = part or whole
    if claim.rest_alone and span.start == 0:
        refuse(request, HTTPStatus.NOT_FOUND)
        return None
    if part is not None:
        request.setResponseCode(HTTPStatus.PARTIAL_CONTENT)
        told = b"bytes %d-%d/%d" % (span.start, span.end - 1, size)
        request.setHeader(b"content-range", told)
    for name, value in (
        (b"content-type", b"application/octet-stream"),
        (b"content-length", b"%d" % (span.end - span.start)),
        (b"cache-control", b"no-transform, no-store"),
        (b"accept-ranges", b"bytes"),
        (b"etag", tag),
        (b"x-md5", claim.release.md5.encode()),
        # nginx would take all at once, and nobody know what of it has come.
        (b"x-accel-buffering", b"no"),
    ):
        request.setHeader(name, value)
    if request.method == b"HEAD":
        request.write(b"")
        request.finish()
        return None
    return span


def _bound(transport: Any) -> None:
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    if isinstance(handle, socket):  # under TLS it is something else
        handle.setsockopt(SOL_SOCKET, SO_SNDBUF, SOCKET_BYTES)
