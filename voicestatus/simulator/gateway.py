"""The gateway's door: WebSockets in, sessions served, faults done to them."""

from collections.abc import Callable, Iterable
from typing import Any

from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import (
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from voicestatus.simulator.compression import PACKERS, Packer, Plain
from voicestatus.simulator.faults import Faults
from voicestatus.simulator.log import ClientLog
from voicestatus.simulator.session import (
    Close,
    Connection,
    Effect,
    Publish,
    Send,
    Supplant,
    Wake,
)
from voicestatus.simulator.sessions import Sessions
from voicestatus.simulator.world import Dispatch, World

CLOSE_WAIT_S = 2.0
"""How long a client may take to answer a close."""
MAX_MESSAGE_BYTES = 1 << 16

GARBAGE = (
    b'{"guild_id":"not-a-snowflake","user_id":null,"channel_id":[]}',
    b"null",
    b'["a","list"]',
    b"{}",
)


class Gateway:
    """All links, and the sessions they serve."""

    def __init__(
        self,
        world: World,
        sessions: Sessions,
        log: ClientLog,
        faults: Faults,
        clock: IReactorTime,
    ) -> None:
        self.world, self.sessions, self.log = world, sessions, log
        self.faults, self.clock = faults, clock
        self._links: dict[Connection, GatewayLink] = {}
        self._connections = 0
        self._garbage = 0

    def publish(self, dispatches: Iterable[Dispatch]) -> None:
        """Tell each session what it may know; who is away finds it on resume."""
        sessions = self.sessions.alive(self.clock.seconds())
        for dispatch in dispatches:
            for session in sessions:
                payload = session.take(dispatch)
                if payload is not None and session.holder is not None:
                    self._links[session.holder].put(payload)

    def seq(self, guild: int | None = None) -> int:
        """The last number that the newest session got; without one, the world's."""
        sessions = [
            session
            for session in self.sessions.alive(self.clock.seconds())
            if guild is None or session.covers(guild)
        ]
        connected = [session for session in sessions if session.holder is not None]
        newest = (connected or sessions)[-1:]
        return newest[0].seq if newest else self.world.changes

    # -- links -------------------------------------------------------------------

    def join(self, link: "GatewayLink", resume_url: str) -> Connection:
        """Take a new link in."""
        self._connections += 1
        connection = Connection(
            self._connections, self.world, self.sessions, self.log, resume_url
        )
        self._links[connection] = link
        return connection

    def leave(self, connection: Connection) -> None:
        """That link is gone."""
        self._links.pop(connection, None)

    def supplant(self, connection: Connection) -> None:
        """Close a link whose session is served by another one now."""
        link = self._links.get(connection)
        if link is not None:
            now = self.clock.seconds()
            link.perform(connection.shut(4000, "Resumed elsewhere", now))

    # -- faults ------------------------------------------------------------------

    # Each of them to the connections of one shard, or to all.

    def _of(self, shard: int | None) -> list[tuple[Connection, "GatewayLink"]]:
        return [
            (connection, link)
            for connection, link in self._links.items()
            if shard is None or connection.shard == shard
        ]

    def drop(self, shard: int | None = None) -> None:
        """Reset each connection's TCP."""
        for _, link in self._of(shard):
            link.abort()

    def close(
        self, code: int, reason: str = "as told", shard: int | None = None
    ) -> None:
        """Close each connection with that code."""
        now = self.clock.seconds()
        for connection, link in self._of(shard):
            link.perform(connection.shut(code, reason, now))

    def ask_to_reconnect(self, shard: int | None = None) -> None:
        """Send each connection op 7."""
        for connection, link in self._of(shard):
            link.perform(connection.ask_to_reconnect())

    def invalidate(self, *, resumable: bool, shard: int | None = None) -> None:
        """Send each connection op 9."""
        now = self.clock.seconds()
        for connection, link in self._of(shard):
            link.perform(connection.invalidate(resumable=resumable, now=now))

    def go_zombie(self, shard: int | None = None) -> None:
        """Acknowledge no heartbeat on the present connections any more."""
        for connection, _ in self._of(shard):
            connection.acknowledges = False

    def stall(self, seconds: float, shard: int | None = None) -> None:
        """Send nothing on the present connections for so long; then all of it."""
        for _, link in self._of(shard):
            link.stall(seconds)

    def send_garbage(self) -> None:
        """Send each session a dispatch that has a number and no sense."""
        body = GARBAGE[self._garbage % len(GARBAGE)]
        self._garbage += 1
        self.publish([Dispatch("VOICE_STATE_UPDATE", None, body)])


class GatewayLink(WebSocketServerProtocol):
    """One client's WebSocket: moves bytes and the timers of its `Connection`."""

    factory: "GatewayFactory"

    def __init__(self) -> None:
        super().__init__()
        self._packer: Packer = Plain()
        self._connection: Connection | None = None
        self._wake: IDelayedCall | None = None
        self._begin: IDelayedCall | None = None
        self._end: IDelayedCall | None = None
        self._unstall: IDelayedCall | None = None
        self._held: list[bytes] = []
        self._query: dict[str, str] = {}
        self._resume_url = ""

    def onConnect(self, request: ConnectionRequest) -> None:
        host = request.headers.get("host", "localhost")
        scheme = "wss" if self.factory.secure else "ws"
        self._resume_url = f"{scheme}://{host}/gateway"
        self._query = {name: values[-1] for name, values in request.params.items()}

    def onOpen(self) -> None:
        gateway = self.factory.gateway
        self._connection = gateway.join(self, self._resume_url)
        packer = PACKERS.get(self._query.get("compress", ""))
        now = gateway.clock.seconds()
        if packer is None:
            self.perform(self._connection.shut(4002, "Unknown compression", now))
            return
        self._packer = packer()
        self.perform(self._connection.open(self._query, now))
        delay_s = gateway.faults.take_hello_delay_s()
        if delay_s:
            self._begin = gateway.clock.callLater(delay_s, self._hello)
        else:
            self._hello()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: ARG002 - Autobahn's
        if self._connection is not None:
            self.perform(self._connection.receive(payload, self._now()))

    def onClose(self, wasClean: bool, code: int | None, reason: object) -> None:  # noqa: ARG002 - Autobahn's
        for timer in (self._wake, self._begin, self._end, self._unstall):
            if timer is not None and timer.active():
                timer.cancel()
        if self._connection is not None:
            self._connection.lost(code if wasClean else None, self._now())
            self.factory.gateway.leave(self._connection)

    def put(self, payload: bytes) -> None:
        """Send one message, or hold it while the link is stalled."""
        if self.state != self.STATE_OPEN:
            return  # the client has closed; its session keeps what it misses
        if self._unstall is not None:
            self._held.append(payload)
        else:
            self.sendMessage(self._packer.pack(payload), self._packer.binary)

    def stall(self, seconds: float) -> None:
        """Hold what is to be sent for so long."""
        if self._unstall is not None:
            self._unstall.cancel()
        self._unstall = self.factory.gateway.clock.callLater(seconds, self._go_on)

    def abort(self) -> None:
        """Reset the TCP connection."""
        transport: Any = self.transport
        transport.abortConnection()

    def perform(self, effects: list[Effect]) -> None:
        """Do what the connection decided."""
        gateway = self.factory.gateway
        for effect in effects:
            match effect:
                case Send(payload):
                    self.put(payload)
                case Wake(after_s):
                    self._wake = gateway.clock.callLater(after_s, self._tick)
                case Publish(dispatches):
                    gateway.publish(dispatches)
                case Supplant(connection):
                    gateway.supplant(connection)
                case Close(code, reason):
                    # Autobahn's sendClose refuses 1001 and its like.
                    self.sendCloseFrame(code, reason.encode())
                    self._end = gateway.clock.callLater(CLOSE_WAIT_S, self.abort)

    def _hello(self) -> None:
        if self._connection is not None:
            self.perform(self._connection.hello(self._now()))

    def _tick(self) -> None:
        if self._connection is not None:
            self.perform(self._connection.tick(self._now()))

    def _go_on(self) -> None:
        held, self._held, self._unstall = self._held, [], None
        for payload in held:
            self.put(payload)

    def _now(self) -> float:
        return self.factory.gateway.clock.seconds()


class GatewayFactory(WebSocketServerFactory):
    """Makes links of one gateway."""

    protocol = GatewayLink  # type: ignore[assignment]  # a class attribute in Autobahn
    noisy = False

    def __init__(self, gateway: Gateway, reactor: Any, *, secure: bool) -> None:
        super().__init__(reactor=reactor)
        # Autobahn's own timers run on the global reactor, whatever `reactor` says.
        self.setProtocolOptions(
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
            autoPingInterval=0,
            maxMessagePayloadSize=MAX_MESSAGE_BYTES,
            allowNullOrigin=True,
        )
        self.gateway, self.secure = gateway, secure


class GatewayResource(Resource):
    """The gateway as a page of the tree: foreign clients upgrade a kept connection."""

    isLeaf = True

    def __init__(self, factory: GatewayFactory) -> None:
        super().__init__()
        self._upgrade: Callable[[Request], Any] = WebSocketResource(factory).render

    def render(self, request: Request) -> Any:
        upgrade = request.getHeader(b"upgrade") or b""
        if upgrade.lower() != b"websocket":
            request.setResponseCode(426, b"Upgrade Required")
            request.setHeader(b"upgrade", b"websocket")
            return b"This is a WebSocket."
        channel: Any = request.channel
        transport = channel.transport
        answer = self._upgrade(request)
        if answer == NOT_DONE_YET:
            # Else the channel stays the transport's producer, and TLS never closes.
            transport.unregisterProducer()
            channel.requests.clear()
        return answer
