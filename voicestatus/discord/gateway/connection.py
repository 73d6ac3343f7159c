"""One WebSocket to the Gateway: moves bytes and timers, obeys the session."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.logger import Logger
from twisted.python.failure import Failure

from voicestatus.core.errors import ProtocolError
from voicestatus.core.guild_news import GuildNews
from voicestatus.core.presence import Event
from voicestatus.discord.gateway import wire
from voicestatus.discord.gateway.compression import Inflater
from voicestatus.discord.gateway.metrics import GatewayMetrics
from voicestatus.discord.gateway.session import (
    RESUMABLY,
    Close,
    Deliver,
    Effect,
    Ended,
    Enter,
    GatewaySession,
    Keep,
    Over,
    Phase,
    Report,
    Send,
    Wake,
)

CONNECT_WITHIN_S: Final = 10.0
"""To each of the addresses that a name has."""
GONE_WITHIN_S: Final = 2.0
"""After a close: neither a WebSocket's nor a TLS peer need ever answer one."""


class Owner(Protocol):
    """Who is told what happens on a connection; after `ended` nothing more."""

    def deliver(self, event: Event, arrived_at: float) -> None: ...
    def report(self, news: GuildNews) -> None: ...
    def entered(self, phase: Phase) -> None: ...
    def keep(self) -> None: ...
    def ended(self, ended: Ended, why: str) -> None: ...


class Witness(Protocol):
    """Who sees all that goes into a session and what it sends; it changes nothing.

    Payloads are as they went over the wire, inflated: they hold secrets.
    """

    def opened(self, session: GatewaySession, at: float) -> None: ...
    def received(self, session: GatewaySession, text: bytes, at: float) -> None: ...
    def woken(self, session: GatewaySession, at: float) -> None: ...
    def sent(self, session: GatewaySession, payload: bytes, at: float) -> None: ...
    def closed(self, session: GatewaySession, ended: Ended, at: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a connection needs of the world."""

    clock: IReactorTime
    monotonic: Callable[[], float]
    metrics: GatewayMetrics
    witness: Witness | None = None
    may_act: Callable[[], bool] = lambda: True
    """Whether this node may speak and listen to Discord at this very moment."""


class GatewayConnection(WebSocketClientProtocol):
    """One connection and the one session machine that decides on it."""

    _log = Logger()

    def __init__(
        self,
        session: GatewaySession,
        inflater: Inflater,
        shard_id: int,
        owner: Owner,
        around: Surroundings,
    ) -> None:
        super().__init__()
        self.gone: Deferred[None] = Deferred()
        """Fires when the TCP connection is closed, or was never made."""
        self._session, self._inflater = session, inflater
        self._shard_id, self._owner = shard_id, owner
        self._clock, self._now = around.clock, around.monotonic
        self._metrics, self._witness = around.metrics, around.witness
        self._may_act = around.may_act
        self._arrived_at = 0.0
        self._wake_call: IDelayedCall | None = None
        self._abort_call: IDelayedCall | None = None
        self._why = ""

    def leave(self) -> None:
        """Close so that the session can be resumed."""
        now = self._now()
        self._perform(self._session.stop(now), now)

    # ---- called by Twisted and Autobahn --------------------------------------------

    def connectionMade(self) -> None:
        super().connectionMade()
        now = self._now()
        if self._witness is not None:
            self._witness.opened(self._session, now)
        self._perform(self._session.start(now), now)

    def dataReceived(self, data: bytes) -> None:
        self._arrived_at = self._now()
        super().dataReceived(data)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        # What is not for us to take must not count as heard: it would be stored so, and
        # never be replayed.
        if self._session.phase is Phase.OVER or not self._may_act():
            return
        try:
            message = self._read(payload, isBinary)
        except ProtocolError as e:
            self._why = str(e)
            self._log.warn("shard {shard}: {why}", shard=self._shard_id, why=str(e))
            self._perform(self._session.unreadable(self._arrived_at), self._arrived_at)
            return
        if message is not None:
            effects = self._session.receive(message, self._arrived_at)
            if effects:
                self._perform(effects, self._arrived_at)

    def onCloseFrame(self, code: int, reasonRaw: bytes) -> bool | None:  # noqa: N803 - theirs
        # Not in onClose: Autobahn calls that when TCP is gone, and the other side
        # need not ever close it.
        dropped = super().onCloseFrame(code, reasonRaw)
        if not dropped:
            self._why = self._why or self.remoteCloseReason or ""
            now = self._arrived_at
            self._perform(self._session.closed(self.remoteCloseCode, now), now)
        return dropped

    def sendCloseFrame(  # noqa: N802 - theirs
        self,
        code: int | None = None,
        reasonUtf8: bytes | None = None,  # noqa: N803 - theirs
        isReply: bool = False,  # noqa: N803 - theirs
    ) -> None:
        # Autobahn answers every close with 1000, which would end the session.
        code = RESUMABLY if code in {None, 1000, 1001} else code
        super().sendCloseFrame(code, reasonUtf8, isReply)

    def sendData(  # noqa: N802 - theirs
        self, data: bytes, sync: bool = False, chopsize: int | None = None
    ) -> None:
        # All that is written comes through here. After a pause of the whole process
        # timers, and what lies in the socket, are due before the lease's own end.
        if self._may_act():
            super().sendData(data, sync, chopsize)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._why = self._why or self.wasNotCleanReason or reason.getErrorMessage()
        now = self._now()
        self._perform(self._session.closed(None, now), now)
        self._cancel(self._wake_call)
        self._cancel(self._abort_call)
        self.gone.callback(None)

    # ---- ours ----------------------------------------------------------------------

    def _read(self, payload: bytes, is_binary: bool) -> wire.Message | None:
        text = self._inflater.feed(payload) if is_binary else payload
        if text is None:
            return None
        if self._witness is not None:
            self._witness.received(self._session, text, self._arrived_at)
        message = wire.decode(text, self._shard_id)
        if type(message) is wire.Dispatch:
            if message.fault is not None:
                self._metrics.malformed.inc()
                self._log.warn(
                    "shard {shard}: {name} or a part of it is malformed: {why}",
                    shard=self._shard_id,
                    name=message.name,
                    why=message.fault,
                )
            elif message.body is None:
                self._metrics.unknown.inc()
        return message

    def _perform(self, effects: list[Effect], at: float) -> None:  # noqa: C901 - a table
        for effect in effects:
            match effect:
                case Deliver(event):
                    self._deliver(event, at)
                case Report(news):
                    self._report(news)
                case Send(payload):
                    if self.state == self.STATE_OPEN:  # else it was dropped just now
                        self._say(payload, at)
                case Wake(wake_at):
                    self._cancel(self._wake_call)
                    after_s = max(0.0, wake_at - self._now())
                    self._wake_call = self._clock.callLater(after_s, self._wake)
                case Enter(phase):
                    self._owner.entered(phase)
                case Keep():
                    self._owner.keep()
                case Close(code, reason):
                    self._close(code, reason)
                case Over(ended):
                    self._over(ended, at)

    def _say(self, payload: bytes, at: float) -> None:
        if self._witness is not None:
            self._witness.sent(self._session, payload, at)
        self.sendMessage(payload)

    def _deliver(self, event: Event, at: float) -> None:
        try:
            self._owner.deliver(event, at)
        except Exception:  # noqa: BLE001 - one event is given up, not the link
            self._metrics.failed.inc()
            self._log.failure("an event could not be applied and is given up")
        else:
            self._metrics.applied.inc()

    def _report(self, news: GuildNews) -> None:
        try:
            self._owner.report(news)
        except Exception:  # noqa: BLE001 - as above
            self._metrics.failed.inc()
            self._log.failure("news of a guild could not be heard and are given up")
        else:
            self._metrics.applied.inc()

    def _wake(self) -> None:
        self._wake_call = None
        now = self._now()
        if self._witness is not None:
            self._witness.woken(self._session, now)
        self._perform(self._session.wake(now), now)

    def _close(self, code: int, reason: str) -> None:
        self._why = self._why or reason
        if self.state == self.STATE_OPEN and self._may_act():
            self.sendClose(code, reason)
        else:  # no WebSocket yet, or none any more, that we could close
            self._abort()

    def _over(self, ended: Ended, at: float) -> None:
        if self._witness is not None:
            self._witness.closed(self._session, ended, at)
        self._cancel(self._wake_call)
        if not self.gone.called:
            # Who may not write cannot take part in the closing.
            after_s = GONE_WITHIN_S if self._may_act() else 0.0
            self._abort_call = self._clock.callLater(after_s, self._abort)
        self._owner.ended(ended, self._why)

    def _abort(self) -> None:
        abort: Callable[[], object] = self.transport.abortConnection  # type: ignore[union-attr]
        abort()

    @staticmethod
    def _cancel(call: IDelayedCall | None) -> None:
        if call is not None and call.active():
            call.cancel()


class GatewayFactory(WebSocketClientFactory):
    """Makes the one connection of one attempt."""

    noisy = False

    def __init__(
        self, url: str, agent: str, connection: GatewayConnection, reactor: IReactorTime
    ) -> None:
        super().__init__(url, useragent=agent, reactor=reactor)
        self.setProtocolOptions(
            # Autobahn's timers run on a loop of its own; the session has all of them.
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
            serverConnectionDropTimeout=0,
            autoPingInterval=0,
            # A GUILD_CREATE may have any size; `compression` bounds it.
            maxMessagePayloadSize=0,
            maxFramePayloadSize=0,
            # What reads the JSON reads the UTF-8, and faster.
            utf8validateIncoming=False,
        )
        self._connection = connection

    def buildProtocol(self, _address: object) -> GatewayConnection:
        self._connection.factory = self
        return self._connection


def endpoint_to(
    url: str,
    reactor: Any,
    *,
    trust_root: Certificate | None = None,
    allow_plain: bool = False,
) -> IStreamClientEndpoint:
    """Return where `url` points to; with wss the certificate is verified.

    :raises ProtocolError: when it is ws:// and `allow_plain` is false, or when no
        certificate could be for such a host.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    secure = parts.scheme == "wss"
    if not secure and not allow_plain:
        raise ProtocolError("the Gateway's address is not wss://")
    port = parts.port or (443 if secure else 80)
    tcp = HostnameEndpoint(reactor, host, port, timeout=CONNECT_WITHIN_S)
    if not secure:
        return tcp
    try:
        tls = optionsForClientTLS(host, trustRoot=trust_root)
    except ValueError as e:
        raise ProtocolError("the Gateway's address names no possible host") from e
    return wrapClientTLS(tls, tcp)
