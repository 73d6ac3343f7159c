"""One port: reads a connection's first request head, then steps aside.

An upgrade on a known path goes to that path's factory without a Twisted Web request,
which would cost it half as much again; everything else goes to the site.
"""

import re
from collections.abc import Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from voicestatus.devices.door import Door
from voicestatus.devices.fanout import turn_away
from voicestatus.devices.keepalive import SLICE, Deadlines
from voicestatus.web.handover import Transport, put_in_place, take_from

MAX_HEAD_BYTES = 8192
HEAD_WITHIN_S = 5.0
"""As long as the devices wait. Source: WebSockets.h 2.7.1:125."""
SWEEP_EVERY_S = 1.0

_REQUEST = re.compile(
    rb"GET (?:(?:http|ws)s?://[^/?# ]*)?(/[^?# ]*)(?:\?[^# ]*)? HTTP/1\.1\r\n",
    re.IGNORECASE,
)
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r]*websocket", re.IGNORECASE)
_METHOD = re.compile(rb"[A-Z]+(?: |\Z)")
_REFUSAL = (
    b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)


def hand_over(transport: Transport, factory: IProtocolFactory, data: bytes) -> bool:
    """Give a connection to a new protocol; False: nobody takes it, and it ends."""
    new = factory.buildProtocol(transport.getPeer())
    if new is None:
        transport.abortConnection()
        return False
    put_in_place(transport, new)
    new.dataReceived(data)
    return True


class Peek(Protocol):
    """Waits for one whole request head, and is gone once it is there."""

    factory: "Front"
    transport: Transport
    _data = b""

    def connectionMade(self) -> None:
        if self.factory.door.arrive(self.transport):
            self.factory.waiting.add(self, self.factory.now())
        else:
            turn_away(self.transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self.factory.waiting.discard(self)
        self.factory.door.depart(self.transport)

    def dataReceived(self, data: bytes) -> None:
        if self.transport.disconnecting:
            return
        # Empty lines before a request are allowed. Source: RFC 9112 2.2.
        self._data = data = (self._data + data).lstrip(b"\r\n")
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
        if end >= 0 and _METHOD.match(data):
            self._answer(data, end)
        elif end < 0 and len(data) >= MAX_HEAD_BYTES and _may_be_http(data):
            self._refuse(b"400 Bad Request", b"Head too long")
        elif end >= 0 or not _may_be_http(data):
            self._refuse(b"400 Bad Request", b"This is not HTTP")

    def _answer(self, data: bytes, end: int) -> None:
        front, transport = self.factory, self.transport
        if (chosen := front.choose(data, end)) is None:
            # Closed, not kept alive: a device with a wrong path dials in a flood.
            self._refuse(b"404 Not Found", b"not found")
            return
        front.waiting.discard(self)
        self._data = b""
        if hand_over(transport, chosen, data):
            self.transport = None

    def _refuse(self, status: bytes, reason: bytes) -> None:
        self._data = b""
        self.transport.write(_REFUSAL % (status, len(reason), reason))
        self.transport.loseConnection()

    def cut_off(self) -> None:
        self.transport.abortConnection()


class Visit(Protocol):
    """A connection that the site has: all is the site's, its end is told the door."""

    transport: Transport

    def __init__(self, door: Door, channel: IProtocol) -> None:
        self._door, self._channel = door, channel

    def connectionMade(self) -> None:
        self._channel.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self._channel.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._door.depart(self.transport)
        self._channel.connectionLost(reason)


class Visits(ServerFactory[Visit]):
    """Makes the site's connections."""

    noisy = False

    def __init__(self, door: Door, site: IProtocolFactory) -> None:
        self._door, self._site = door, site

    def buildProtocol(self, addr: IAddress | None) -> Visit | None:
        # Twisted's factories may be asked without an address, its interface not.
        channel = self._site.buildProtocol(addr)  # type: ignore[arg-type]
        return None if channel is None else Visit(self._door, channel)

    def startFactory(self) -> None:
        self._site.doStart()

    def stopFactory(self) -> None:
        self._site.doStop()


class Front(ServerFactory[Peek]):
    """The factory to listen with: `routes` maps a path to who takes its upgrades."""

    protocol = Peek
    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        site: IProtocolFactory,
        routes: Mapping[bytes, IProtocolFactory],
        door: Door,
    ) -> None:
        self.now, self.door = clock.seconds, door
        self.waiting = Deadlines[Peek](HEAD_WITHIN_S)
        self._site, self._routes = Visits(door, site), dict(routes)
        self._clock = clock
        self._sweeper = LoopingCall(lambda: Deferred.fromCoroutine(self._sweep()))
        self._sweeper.clock = clock

    def startFactory(self) -> None:
        # They listen nowhere themselves: without this the site writes no access log.
        for factory in (self._site, *self._routes.values()):
            factory.doStart()
        self._sweeper.start(SWEEP_EVERY_S, now=False)

    def stopFactory(self) -> None:
        self._sweeper.stop()
        for peek in tuple(self.waiting):
            peek.cut_off()
        for factory in (self._site, *self._routes.values()):
            factory.doStop()

    def choose(self, data: bytes, end: int) -> IProtocolFactory | None:
        """Tell who takes the request whose head ends at `end`.

        None: it is an upgrade, and nobody speaks WebSocket there.
        """
        request = _REQUEST.match(data)
        if request and _UPGRADE.search(data, 0, end):
            return self._routes.get(request[1])
        return self._site

    async def _sweep(self) -> None:
        while over := self.waiting.due(self.now()):
            for peek in over:
                peek.cut_off()
            if len(over) < SLICE:
                return
            await deferLater(self._clock, 0)


class UpgradeResource(Resource):
    """Takes an upgrade that comes on a connection which served pages before.

    nginx does that with its kept-alive upstream connections. All else on this path
    is told to upgrade.
    """

    isLeaf = True

    def __init__(self, factory: IProtocolFactory) -> None:
        super().__init__()
        self._factory = factory

    def render(self, request: Request) -> bytes | int:
        upgrade = request.getHeader(b"upgrade") or b""
        body = request.content.read(1) if request.content else b""
        if (
            request.method != b"GET"
            or request.clientproto != b"HTTP/1.1"
            or b"websocket" not in upgrade.lower()
            or body
        ):
            request.setResponseCode(426, b"Upgrade Required")
            request.setHeader(b"upgrade", b"websocket")
            request.setHeader(b"content-type", b"text/plain; charset=utf-8")
            return b"Upgrade Required"
        transport, after = take_from(request)
        hand_over(transport, self._factory, _head_of(request) + after)
        return NOT_DONE_YET


def _may_be_http(data: bytes) -> bool:
    return not data or bool(_METHOD.match(data))


def _head_of(request: Request) -> bytes:
    lines = [
        b"%b %b HTTP/1.1" % (request.method, request.uri),
        *(
            b"%b: %b" % (name, value)
            for name, values in request.requestHeaders.getAllRawHeaders()
            for value in values
        ),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"
