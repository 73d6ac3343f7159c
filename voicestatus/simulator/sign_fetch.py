"""One download of a sign, as bytes on a connection."""

from socket import SO_RCVBUF, SOL_SOCKET
from typing import Any, Protocol

from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IDelayedCall,
    IReactorTime,
)
from twisted.internet.protocol import ClientFactory, connectionDone
from twisted.internet.protocol import Protocol as Connection
from twisted.python.failure import Failure

from voicestatus.simulator.sign_http import MAX_HEAD_BYTES, Answer, answer

WINDOW_BYTES = 8192
"""A sign takes little at a time; without a bound the system takes a whole image, and
the server believes that the sign has it. Source: lwIP's `TCP_WND` there, 2 to 6 kB."""


class Taker(Protocol):
    """Who wants what is fetched. False: no more, hang up."""

    def answered(self, head: Answer) -> bool: ...

    def took(self, data: bytes) -> bool: ...

    def ended(self) -> None:
        """Take it that the connection is gone, or never came about. Told once."""
        ...


class Fetch(ClientFactory):
    """Asks, and hands on what comes; `bytes_per_s` makes its link slow."""

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        request: bytes,
        taker: Taker,
        bytes_per_s: float | None,
    ) -> None:
        self.clock, self.request, self.taker = clock, request, taker
        self.bytes_per_s = bytes_per_s
        self.heard_at = clock.seconds()
        """When something came last."""
        self.connector: IConnector | None = None
        self._link: _Link | None = None

    def buildProtocol(self, addr: IAddress | None) -> "_Link":  # noqa: ARG002 - Twisted's
        self._link = _Link(self)
        return self._link

    def clientConnectionFailed(  # noqa: N802 - Twisted's
        self,
        connector: IConnector,  # noqa: ARG002 - Twisted's
        reason: Failure,  # noqa: ARG002 - Twisted's
    ) -> None:
        self.taker.ended()

    def abort(self) -> None:
        """Give it up."""
        if self._link is not None:
            self._link.transport.abortConnection()
        elif self.connector is not None:
            self.connector.stopConnecting()


class _Link(Connection):
    transport: Any

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._head: bytes | None = b""
        self._pause: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self.transport.bufferSize = WINDOW_BYTES
        if (socket := getattr(self.transport, "socket", None)) is not None:
            socket.setsockopt(SOL_SOCKET, SO_RCVBUF, WINDOW_BYTES)
        self.transport.write(self._fetch.request)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - Twisted's
        if self._pause is not None:
            self._pause.cancel()
        self._fetch.taker.ended()

    def dataReceived(self, data: bytes) -> None:
        fetch = self._fetch
        fetch.heard_at = fetch.clock.seconds()
        if self.transport.disconnecting:
            return
        if self._head is not None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end and len(head) <= MAX_HEAD_BYTES:
                return
            told = answer(head) if end else None
            if told is None or not fetch.taker.answered(told):
                self.transport.loseConnection()
                return
            self._head = None
        if data and not fetch.taker.took(data):
            self.transport.loseConnection()
        elif data and fetch.bytes_per_s is not None:
            self.transport.pauseProducing()
            wait_s = len(data) / fetch.bytes_per_s
            self._pause = fetch.clock.callLater(wait_s, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._fetch.heard_at = self._fetch.clock.seconds()
        self.transport.resumeProducing()
