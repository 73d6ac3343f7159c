"""Event streams: connections that were a request, and are told what happens.

Source: HTML Living Standard, 9.2 "Server-sent events"; RFC 9112 7.1 for chunks.
"""

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

from voicestatus.devices.door import Door
from voicestatus.devices.fanout import Path, path_to, tune
from voicestatus.devices.keepalive import Deadlines
from voicestatus.tasks import Tasks
from voicestatus.web import crowds
from voicestatus.web.crowds import Crowd, Crowds
from voicestatus.web.handover import Transport, put_in_place, take_from

RETRY_MS: Final = 3000
RETRY_LATE_MS: Final = 60_000
"""For who reads too many streams."""
RETRY_SPREAD_MS: Final = 1000, 10_000
"""Those whom the end of this process cuts off come back one after the other."""
COMMENT_EVERY_S: Final = 15
LOOK_EVERY_S: Final = 60
MAX_UNSENT_BYTES: Final = 262_144
"""What may wait for a reader, besides what it was told first."""
MAX_OF_ONE: Final = 20
"""How many streams a person may read; the oldest makes room for one more."""
CLOSE_WITHIN_S: Final = 2.0

HEAD: Final = (
    (b"cache-control", b"no-cache"),
    # nginx would hold back what is told until it has a page of it.
    (b"x-accel-buffering", b"no"),
    (b"connection", b"close"),
)
_COMMENT: Final = b":\n\n"
_LAST_CHUNK: Final = b"0\r\n\r\n"


class Source(crowds.Source, Protocol):
    """What a stream is of."""

    def hello(self, last_event_id: str) -> bytes:
        """Return what is to be told first to who heard that last; "": nothing."""
        ...


Again = Callable[[], Awaitable[Source | None]]
"""Says what a reader may read by now; None: nothing any more."""


class StreamMetrics:
    """The streams' metrics, declared on a registry that is handed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.readers = Gauge(
            "voicestatus_stream_readers", "Readers of event streams.", registry=registry
        )
        self.events = Counter(
            "voicestatus_stream_events",
            "Events that were told, counted for each reader.",
            registry=registry,
        )
        self.slow = Counter(
            "voicestatus_stream_slow_readers",
            "Readers that were cut off because they read too slowly.",
            registry=registry,
        )


@implementer(IProtocol)
class Reader:
    """A connection whose request was answered; what it still sends is ignored."""

    _log = Logger()
    __slots__ = (
        *("_streams", "again", "chunked", "crowd", "may_wait_bytes"),
        *("owner", "path", "slot", "transport"),
    )

    def __init__(
        self,
        streams: "EventStreams",
        transport: Transport,
        again: Again,
        owner: Hashable | None,
        *,
        chunked: bool,
    ) -> None:
        self.transport = transport
        self.path: Path = path_to(transport)
        self.crowd: Crowd | None = None
        self.again, self.owner, self.chunked = again, owner, chunked
        self.may_wait_bytes = MAX_UNSENT_BYTES
        self.slot = 0
        self._streams = streams

    def framed(self, text: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(text), text) if self.chunked else text

    def put(self, frame: bytes) -> None:
        """Write a frame, now or when there is room; cut off who leaves too little."""
        try:
            if self.path.pending_bytes(self.transport) > self.may_wait_bytes:
                self._streams.cut_off(self, slow=True)
            else:
                self.path.put(self.transport, frame)
        except Exception:  # noqa: BLE001 - one reader must not keep it from the others
            self._log.failure("a reader could not be written to and is cut off")
            self._streams.cut_off(self)

    def end(self) -> None:
        self._streams.end(self)

    def close(self, frame: bytes) -> None:
        """Write a last frame, and close the connection behind it."""
        try:
            self.path.put(self.transport, frame)
            self.transport.loseConnection()
        except Exception:  # noqa: BLE001 - one reader must not keep it from the others
            self._log.failure("a reader could not be told the end and is cut off")
            self.transport.abortConnection()

    # ---- what the transport says ---------------------------------------------------

    def makeConnection(self, transport: Transport) -> None:
        tune(transport)
        # It may have been stopped, were more sent than a request.
        transport.resumeProducing()

    def connectionMade(self) -> None:
        """Do nothing: `makeConnection` has done it."""

    def dataReceived(self, data: bytes) -> None:
        """Ignore it: the answer to the request closes the connection."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._streams.forget(self)


class EventStreams(Service):
    """All readers of event streams; none outlives it."""

    def __init__(self, clock: IReactorTime, door: Door, metrics: StreamMetrics) -> None:
        self._clock, self._door, self._metrics = clock, door, metrics
        self._crowds = Crowds(clock, metrics.events.inc)
        self._slots: list[set[Reader]] = [set() for _ in range(LOOK_EVERY_S)]
        """By the second of a minute in which it is looked whether they may stay."""
        self._second = self._newest = 0
        self._of_one: dict[Hashable, dict[Reader, None]] = {}
        self._ending = Deadlines[Reader](CLOSE_WITHIN_S)
        self._all_gone: Deferred[None] | None = None
        self._tasks = Tasks()
        self._beats = LoopingCall(self._beat)
        self._beats.clock = clock
        metrics.readers.set_function(self.__len__)

    def __len__(self) -> int:
        return sum(map(len, self._slots))

    def startService(self) -> None:
        super().startService()
        self._beats.start(1, now=False)

    def stopService(self) -> Deferred[None]:
        """End all streams; fires when they have gone or were cut off."""
        super().stopService()
        self._crowds.send_all()
        readers = [reader for slot in self._slots for reader in slot]
        first, last = RETRY_SPREAD_MS
        for n, reader in enumerate(readers):
            self.end(reader, first + (last - first) * n // len(readers))
        self._tasks.cancel()
        self._all_gone = all_gone = Deferred[None]()
        self._see_who_is_left()
        return all_gone

    def join(
        self,
        request: Request,
        source: Source,
        again: Again,
        owner: Hashable | None = None,
    ) -> None:
        """Answer a request with a stream; `again` is asked every minute.

        With an `owner` it is one of those that this one reads.
        """
        channel: Any = request.channel
        for name, value in HEAD:
            request.setHeader(name, value)
        request.write(b"")
        channel.site.log(request)
        last_event_id = request.getHeader(b"last-event-id") or b""
        chunked = bool(request.chunked)
        transport, _ = take_from(request)
        reader = Reader(self, transport, again, owner, chunked=chunked)
        put_in_place(transport, reader)
        self._door.let_in(transport)
        self._newest = (self._newest + 1) % LOOK_EVERY_S
        reader.slot = self._newest
        self._slots[reader.slot].add(reader)
        if owner is not None:
            self._make_room(reader, owner)
        self._follow(reader, source, last_event_id.decode("latin-1"))

    # ---- what its readers report ---------------------------------------------------

    def end(self, reader: Reader, retry_ms: int | None = None) -> None:
        """Close a stream in order; who reads it comes back then, or when it likes."""
        if not self._take_out(reader):
            return
        told = b"" if retry_ms is None else reader.framed(b"retry: %d\n\n" % retry_ms)
        reader.close(told + (_LAST_CHUNK * reader.chunked))
        self._ending.add(reader, self._clock.seconds())

    def cut_off(self, reader: Reader, *, slow: bool = False) -> None:
        """Break a stream off; who reads it may come back for the rest."""
        if self._take_out(reader):
            self._metrics.slow.inc(slow)
            reader.transport.abortConnection()

    def forget(self, reader: Reader) -> None:
        """Take it that a connection is lost."""
        self._take_out(reader)
        self._slots[reader.slot].discard(reader)
        self._ending.discard(reader)
        self._door.depart(reader.transport)
        self._see_who_is_left()

    def _take_out(self, reader: Reader) -> bool:
        """Tell it nothing any more; False: so it was before."""
        if reader.crowd is None:
            return False
        self._crowds.leave(reader)
        if reader.owner is not None:
            mine = self._of_one[reader.owner]
            del mine[reader]
            if not mine:
                del self._of_one[reader.owner]
        return True

    def _follow(self, reader: Reader, source: Source, last_event_id: str) -> None:
        self._crowds.join(reader, source)
        hello = b"retry: %d\n\n%b" % (RETRY_MS, source.hello(last_event_id))
        reader.may_wait_bytes = MAX_UNSENT_BYTES + len(hello)
        reader.put(reader.framed(hello))

    def _make_room(self, reader: Reader, owner: Hashable) -> None:
        mine = self._of_one.setdefault(owner, {})
        mine[reader] = None
        if len(mine) > MAX_OF_ONE:
            self.end(next(iter(mine)), RETRY_LATE_MS)

    # ---- time ----------------------------------------------------------------------

    def _beat(self) -> None:
        self._second = (self._second + 1) % LOOK_EVERY_S
        for slot in range(
            self._second % COMMENT_EVERY_S, LOOK_EVERY_S, COMMENT_EVERY_S
        ):
            for reader in self._in(slot):
                reader.put(reader.framed(_COMMENT))
        for reader in self._in(self._second):
            self._tasks.spawn("a reader's right to stay", self._look_again(reader))
        while over := self._ending.due(self._clock.seconds()):
            for reader in over:
                reader.transport.abortConnection()

    def _in(self, slot: int) -> list[Reader]:
        return [reader for reader in self._slots[slot] if reader.crowd is not None]

    async def _look_again(self, reader: Reader) -> None:
        source: Source | None = None
        try:
            source = await reader.again()
        finally:
            if source is None:
                self.end(reader)
        crowd = reader.crowd
        if source is not None and crowd is not None and crowd.source is not source:
            self._crowds.leave(reader)
            self._follow(reader, source, "")

    def _see_who_is_left(self) -> None:
        if self._all_gone is not None and not len(self):
            all_gone, self._all_gone = self._all_gone, None
            self._beats.stop()
            all_gone.callback(None)
