"""`/admin/ws`: all that the admin side shows, live, and commands."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from voicestatus.core.errors import Refusal, StoreError
from voicestatus.devices.door import Door
from voicestatus.devices.registry import Registry
from voicestatus.devices.wire import parse_auth
from voicestatus.hub import Hub
from voicestatus.ota.catalogue import Catalogue
from voicestatus.tasks import Tasks
from voicestatus.web.api.errors import OUR_FAULT, error_of, refusal_of, see_that
from voicestatus.web.api.reading import read_body
from voicestatus.web.audit import Caller
from voicestatus.web.auth.gate import Gate, Unauthorized
from voicestatus.web.auth.identity import NOBODY, Identity, Level, Scope
from voicestatus.web.auth.visit import Visit
from voicestatus.web.commands import Commands
from voicestatus.web.everywhere import Everywhere
from voicestatus.web.feed import Feed, encode
from voicestatus.web.messages import CommandRequest, Failed, Result
from voicestatus.web.rollouts_everywhere import AnyRollouts

AUTH_WITHIN_S = 5.0
CLOSE_WITHIN_S = 2.0
PING_EVERY_S = 20.0
MAX_MISSED = 2
MAX_MESSAGE_BYTES = 16_384
MAX_UNSENT_BYTES = 8 * 1_048_576
"""What waits for a slow reader besides what the transport holds: of ten thousand
devices that all change at once the newest text of each, and no more of any."""

# Source: RFC 6455 7.4.1, and IANA's registry of close codes for 1013.
GOING_AWAY, POLICY, TRY_LATER = 1001, 1008, 1013


class AdminSocketMetrics:
    """The live channel's metrics, declared on a registry that is handed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.sockets = Gauge(
            "voicestatus_admin_sockets",
            "Sockets of the admin side that were let in.",
            registry=registry,
        )
        self.slow = Counter(
            "voicestatus_admin_slow_sockets",
            "Sockets of the admin side closed because they read too slowly.",
            registry=registry,
        )


class _Hushed:
    """Stands where Autobahn has its logger: peers must not fill the log."""

    error = Logger(namespace=__name__).error

    def debug(self, *_: object, **__: object) -> None:
        """Say nothing."""

    info = warn = debug


class AdminSocket(WebSocketServerProtocol):
    """One admin's connection; the transport tells it when to wait."""

    log = _Hushed()
    factory: "AdminSocketFactory"
    transport: Any
    """Twisted has no one type for what tcp.Server and its wrappers can do."""
    missed = 0
    who = NOBODY
    _visit: Visit
    _let_in = False
    _spoke = False
    _paused = False
    _unsent_bytes = 0

    def __init__(self) -> None:
        super().__init__()
        self._tasks = Tasks()
        self._unsent: OrderedDict[object, bytes] = OrderedDict()
        self._room: Deferred[None] | None = None
        self._deadline: IDelayedCall | None = None

    # ---- a connection's life -------------------------------------------------------

    def onConnect(self, request: Any) -> None:
        """:raises ConnectionDeny: its address has too many that were not let in."""
        host = getattr(self.transport.getPeer(), "host", None)
        tls = ISSLTransport.providedBy(self.transport)
        self._visit = self.factory.gate.visit(host, request.headers, tls=tls)
        # Behind a trusted proxy the address is known only now.
        if not self.factory.door.claim(self.transport, self.address or None):
            raise ConnectionDeny(503, "Too many connections of this address")

    @property
    def address(self) -> str:
        return self._visit.address

    def onOpen(self) -> None:
        self._end_after(AUTH_WITHIN_S, self._nothing_said)
        # A browser sends the cookie whoever's page it is that opens a socket.
        if self._visit.session is not None and self._visit.own_origin:
            self._tasks.spawn("the session of a socket", self._recognise())

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self._tasks.cancel()
        self._end_after(None)
        self.factory.forget(self)

    def dataReceived(self, data: bytes) -> None:
        self.missed = 0
        super().dataReceived(data)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.state != self.STATE_OPEN:
            return  # a close is under way, and Autobahn reads on until its answer
        if self._let_in:
            self.factory.take(self, payload)
        elif not self._spoke:
            self._spoke = True
            self._end_after(None)
            token = None if isBinary else parse_auth(payload)
            if token is None:
                self.end(POLICY, "AUTH:<token> is wanted first")
            else:
                self._tasks.spawn("the token of a socket", self._admit(token))

    def end(self, code: int, reason: str) -> None:
        """Close it."""
        if self.state == self.STATE_OPEN:
            # Autobahn's sendClose takes none of these codes.
            self.sendCloseFrame(code, reason.encode())
        else:
            self._end_after(CLOSE_WITHIN_S, self.cut_off)

    def sendCloseFrame(  # noqa: N802 - Autobahn's
        self,
        code: int | None = None,
        reasonUtf8: bytes | None = None,  # noqa: N803 - Autobahn's
        isReply: bool = False,  # noqa: N803 - Autobahn's
    ) -> None:
        """Close it; cut it off should it not close in time.

        Autobahn closes with this, too, who breaks the protocol.
        """
        super().sendCloseFrame(code, reasonUtf8, isReply)
        self._unsent.clear()
        self._end_after(CLOSE_WITHIN_S, self.cut_off)

    def cut_off(self) -> None:
        self.transport.abortConnection()

    def _nothing_said(self) -> None:
        self.end(POLICY, "AUTH:<token> is wanted within 5 s")

    def _end_after(
        self, seconds: float | None, act: Callable[[], object] = lambda: None
    ) -> None:
        """Set what happens when its time is over; None: nothing any more."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None
        if seconds is not None:
            self._deadline = self.factory.clock.callLater(seconds, act)

    async def _admit(self, token: bytes) -> None:
        try:
            self._welcome(await self.factory.gate.bearer(token, self.address))
        except (Refusal, StoreError) as e:
            self._refuse(e)

    async def _recognise(self) -> None:
        try:
            self._welcome(await self.factory.gate.admit(self._visit, writes=False))
        except Unauthorized:
            return  # they may still say a token
        except (Refusal, StoreError) as e:
            self._refuse(e)

    async def look_again(self) -> None:
        """Learn who it is by now: sessions end, and API tokens are revoked.

        Who is in doubt stays, for nothing has ended; but they command nothing.
        """
        try:
            self.who = await self.factory.gate.again(self.who) or NOBODY
        except StoreError:
            return
        if self.who.doubt is None and not self.who.may(Level.ADMIN, Scope.READ):
            self.end(POLICY, "UNAUTHORIZED")

    def _refuse(self, error: Refusal | StoreError) -> None:
        refusal = refusal_of(error) or OUR_FAULT
        self.end(POLICY, refusal.code)

    # ---- what it is told -----------------------------------------------------------

    def _welcome(self, who: Identity) -> None:
        """:raises Forbidden: when that is nobody who may see what is told here."""
        see_that(who, Level.ADMIN, Scope.READ)
        if self._let_in or self.state != self.STATE_OPEN:
            return
        self._end_after(None)
        self._let_in, self.who = True, who
        self.transport.registerProducer(self, True)
        self.factory.welcome(self)
        self._tasks.spawn("the snapshot of a socket", self._introduce())

    async def _introduce(self) -> None:
        async for page in self.factory.feed.pages():
            if self.state != self.STATE_OPEN:
                return
            self.tell(page)
            await deferLater(self.factory.clock, 0)
            if self._paused:
                self._room = Deferred()
                await self._room

    def tell(self, text: bytes, about: str | None = None) -> None:
        """Send a text, now or when there is room; end who has none for too long.

        Of the texts about one thing only the newest waits.
        """
        if self.state != self.STATE_OPEN:
            return
        if not self._paused:
            self._put(text)
            return
        key = about or object()
        # Behind a page of the snapshot that waits, too: that may show it as it was.
        self._unsent_bytes += len(text) - len(self._unsent.pop(key, b""))
        self._unsent[key] = text
        if self._unsent_bytes > MAX_UNSENT_BYTES:
            self.factory.metrics.slow.inc()
            self.end(TRY_LATER, "you read too slowly")

    def _put(self, text: bytes) -> None:
        # sendMessage bounds what it sends by what may be received.
        self.sendPreparedMessage(self.factory.prepareMessage(text))

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self._unsent and not self._paused:
            _, text = self._unsent.popitem(last=False)
            self._unsent_bytes -= len(text)
            self._put(text)
        if self._room is not None and not self._paused:
            room, self._room = self._room, None
            room.callback(None)

    def stopProducing(self) -> None:
        """Take it that the connection is lost; `connectionLost` deals with that."""


class AdminSocketFactory(WebSocketServerFactory):
    """Makes and keeps the sockets. Its `AdminSocketService` gives it time."""

    noisy = False
    _log = Logger()

    def __init__(
        self,
        hub: Hub,
        registry: Registry,
        everywhere: Everywhere,
        commands: Commands,
        firmware: tuple[Catalogue, AnyRollouts],
        gate: Gate,
        door: Door,
        new_id: Callable[[], str],
        metrics: AdminSocketMetrics,
        clock: IReactorTime,
    ) -> None:
        super().__init__(reactor=clock)
        self.setProtocolOptions(
            maxMessagePayloadSize=MAX_MESSAGE_BYTES,
            # Autobahn's timers run on the global reactor: ours are in the service.
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
            autoPingInterval=0,
            failByDrop=False,
            webStatus=False,
            allowNullOrigin=True,
        )
        self.clock, self.gate, self.door, self.metrics = clock, gate, door, metrics
        self.feed = Feed(hub, registry, everywhere, clock, self._tell_all, firmware)
        self._commands, self._new_id = commands, new_id
        self._tasks = Tasks()
        self._all: set[AdminSocket] = set()
        self._let_in: set[AdminSocket] = set()
        self._stopping = False
        self._empty: Deferred[None] | None = None
        metrics.sockets.set_function(lambda: len(self._let_in))

    def buildProtocol(  # type: ignore[override] # Twisted's own type is invariant
        self,
        addr: IAddress | None,  # noqa: ARG002
    ) -> AdminSocket | None:
        if self._stopping:
            return None
        socket = AdminSocket()
        socket.factory = self
        self._all.add(socket)
        return socket

    # ---- what its sockets report ---------------------------------------------------

    def welcome(self, socket: AdminSocket) -> None:
        self.door.let_in(socket.transport)
        if not self._let_in:
            self.feed.start()
        self._let_in.add(socket)

    def forget(self, socket: AdminSocket) -> None:
        """Take it that a connection is lost."""
        self.door.depart(socket.transport)
        self._all.discard(socket)
        if socket in self._let_in:
            self._let_in.discard(socket)
            if not self._let_in:
                self.feed.stop()
        if self._empty is not None and not self._all:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def take(self, socket: AdminSocket, payload: bytes) -> None:
        """Do what an admin asks for; it is done even if the socket goes."""
        self._tasks.spawn("a message of an admin", self._answer(socket, payload))

    async def _answer(self, socket: AdminSocket, payload: bytes) -> None:
        request_id, id_ = self._new_id(), _id_of(payload)
        answer: Struct
        try:
            asked: CommandRequest = read_body(payload, CommandRequest)
            await socket.look_again()
            see_that(socket.who, Level.ADMIN, Scope.DEVICES)
            caller = Caller(socket.who, socket.address, request_id)
            await self._commands.send(caller, asked.device, asked.command)
            answer = Result(asked.id)
        except Exception as e:  # noqa: BLE001 - a defect of ours is an answer, too
            refusal = refusal_of(e)
            if refusal is None:
                self._log.failure(
                    "message {request_id} of an admin failed", request_id=request_id
                )
            answer = Failed(id_, error_of(refusal or OUR_FAULT, request_id))
        socket.tell(encode(answer))

    def _tell_all(self, about: str, text: bytes) -> None:
        for socket in tuple(self._let_in):
            socket.tell(text, about)

    # ---- time, and the end ---------------------------------------------------------

    def ping(self) -> None:
        """Ping all; drop who has left two pings unanswered, or is signed out."""
        for socket in tuple(self._let_in):
            self._tasks.spawn("a socket's right to stay", socket.look_again())
        for socket in tuple(self._all):
            if socket.missed >= MAX_MISSED:
                socket.cut_off()
            else:
                socket.missed += 1
                socket.sendPing()

    def open(self) -> None:
        """Let admins in."""
        self._stopping = False

    def shut(self) -> Deferred[None]:
        """Tell all that it is over; fires when they have gone or were cut off."""
        self._stopping = True
        gone: Deferred[None] = Deferred()
        for socket in tuple(self._all):
            socket.end(GOING_AWAY, "the server stops")
        if self._all:
            self._empty = gone
        else:
            gone.callback(None)
        self._tasks.cancel()
        return gone


class AdminSocketService(Service):
    """Gives a factory its beat, and ends it in order."""

    def __init__(self, factory: AdminSocketFactory, clock: IReactorTime) -> None:
        self._factory = factory
        self._pings = LoopingCall(factory.ping)
        self._pings.clock = clock

    def startService(self) -> None:
        super().startService()
        self._factory.open()
        self._pings.start(PING_EVERY_S, now=False)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._pings.stop()
        return self._factory.shut()


class _Named(Struct):
    id: str


def _id_of(payload: bytes) -> str | None:
    """Return the id that a message bears, if one can be read."""
    try:
        return msgspec.json.decode(payload, type=_Named).id[:64]
    except (ValueError, RecursionError):
        return None
