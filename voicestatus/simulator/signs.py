"""Many version-1 signs in one process: what the firmware in the field says and does.

Source: the firmware's src/main.cpp, and WebSocketsClient.cpp of its library.
"""

import base64
import hashlib
from collections import deque
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from voicestatus.simulator.frames import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frames,
    FrameTooLongError,
    masked,
)

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = base64.b64encode(b"voicestatus-sign")
"""One for all signs: it is no secret, it only shows that the server understood."""
ACCEPT = base64.b64encode(hashlib.sha1(KEY + GUID).digest())  # noqa: S324 - RFC 6455

PING_EVERY_S = 15
PONG_WITHIN_S = 3
MAX_MISSED_PONGS = 2
OPEN_WITHIN_S = 5
DIALS_PER_S = 20
MAX_HEAD_BYTES = 8192
PING_FRAME = masked(PING)


@dataclass(frozen=True, slots=True)
class Tally:
    """How a fleet stands."""

    count: int
    connected: int
    lit: int
    dark: int
    unknown: int
    flips: int
    reconnects: int
    refused: int
    """Upgrades that were not granted, and NOAUTHs."""


class Sign(ClientFactory):
    """One sign: what it shows lasts longer than its connections."""

    noisy = False

    def __init__(self, fleet: "SignFleet") -> None:
        self._fleet = fleet
        self.light: bool | None = None
        """What it shows; a lost connection leaves it as it is (main.cpp:736-741)."""
        self.connector: IConnector | None = None
        """None: it waits to dial."""
        self.link: SignLink | None = None
        self.let_in = False
        self.times_let_in = 0
        self.awaits_pong = False
        self.missed_pongs = 0
        self.dialled_at = 0.0

    def buildProtocol(self, addr: IAddress | None) -> "SignLink":  # noqa: ARG002 - Twisted's
        self.link = SignLink(self, self._fleet)
        return self.link

    def clientConnectionFailed(  # noqa: N802 - Twisted's
        self,
        connector: IConnector,  # noqa: ARG002 - Twisted's
        reason: Failure,  # noqa: ARG002 - Twisted's
    ) -> None:
        self._gone()

    def clientConnectionLost(  # noqa: N802 - Twisted's
        self,
        connector: IConnector,  # noqa: ARG002 - Twisted's
        reason: Failure,  # noqa: ARG002 - Twisted's
    ) -> None:
        self._gone()

    def _gone(self) -> None:
        self.connector = self.link = None
        self.let_in = self.awaits_pong = False
        self.missed_pongs = 0
        self._fleet.lost(self)


class SignLink(Protocol):
    """One connection of a sign."""

    transport: Any

    def __init__(self, sign: Sign, fleet: "SignFleet") -> None:
        self._sign, self._fleet = sign, fleet
        self._head: bytes | None = b""
        """What has come of the answer to the upgrade; None once it was granted."""
        self._frames = Frames()

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.write(self._fleet.upgrade)

    def dataReceived(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                if len(head) > MAX_HEAD_BYTES:
                    self.transport.abortConnection()
                return
            if not _granted(head):
                self._fleet.refused += 1
                # What the library does (WebSocketsClient.cpp:888-894).
                self.transport.write(b"This is a webSocket client!")
                self.transport.loseConnection()
                return
            self._head = None
            self.transport.write(self._fleet.greeting)
        try:
            for opcode, payload in self._frames.feed(data):
                self._take(opcode, payload)
        except FrameTooLongError:
            self.abort()

    @property
    def opening(self) -> bool:
        """Whether the upgrade has not been granted yet."""
        return self._head is not None

    def ping(self) -> None:
        """Ask whether the server is still there."""
        if self._head is None:
            self._sign.awaits_pong = True
            self.transport.write(PING_FRAME)

    def abort(self) -> None:
        """Give this connection up."""
        self.transport.abortConnection()

    def _take(self, opcode: int, payload: bytes) -> None:
        sign = self._sign
        if opcode == TEXT:
            match payload.strip():
                case b"1":
                    self._show(on=True)
                case b"0":
                    self._show(on=False)
                case b"OK":
                    sign.let_in = True
                    sign.times_let_in += 1
                case b"NOAUTH":
                    self._fleet.refused += 1
                case _:  # it ignores what it does not know (main.cpp:745-790)
                    pass
        elif opcode == PING:
            self.transport.write(masked(PONG, payload))
        elif opcode == PONG:
            sign.awaits_pong, sign.missed_pongs = False, 0
        elif opcode == CLOSE:
            self.transport.write(masked(CLOSE, payload[:2]))
            self.transport.loseConnection()

    def _show(self, *, on: bool) -> None:
        if self._sign.light is not None and self._sign.light != on:
            self._fleet.flips += 1
        self._sign.light = on


class SignFleet(Service):
    """So many signs at one server; they dial anew whenever they are cut off.

    The firmware dials without pause; `dials_per_s` bounds the whole fleet instead.
    """

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        path: str = "/ws",
        *,
        token: str,
        count: int,
        dials_per_s: float = 500.0,
        secure: bool = False,
    ) -> None:
        self._reactor, self._host, self._port = reactor, host, port
        self._dials_per_s = dials_per_s
        # The firmware verifies nothing either (setInsecure).
        self._tls = CertificateOptions() if secure else None
        self.upgrade = _upgrade(host, port, path)
        self.greeting = masked(TEXT, b"AUTH:" + token.encode()) + PING_FRAME
        self.flips = self.refused = 0
        self._signs = [Sign(self) for _ in range(count)]
        self._waiting = deque(self._signs)
        self._owed = 0.0
        self._second = 0
        self._dialling = LoopingCall(self._dial)
        self._watching = LoopingCall(self._watch)
        self._dialling.clock = self._watching.clock = reactor
        self._emptied: Deferred[None] | None = None

    # -- what tests ask ----------------------------------------------------------

    @property
    def connected(self) -> int:
        """How many are connected and were let in."""
        return sum(sign.let_in for sign in self._signs)

    @property
    def lights(self) -> list[bool | None]:
        """What each shows; None: it was never told."""
        return [sign.light for sign in self._signs]

    @property
    def ever_connected(self) -> int:
        """How many were let in at least once."""
        return sum(sign.times_let_in > 0 for sign in self._signs)

    @property
    def tally(self) -> Tally:
        """Count all that is to be counted. O(signs)."""
        lights = self.lights
        return Tally(
            count=len(lights),
            connected=self.connected,
            lit=lights.count(True),
            dark=lights.count(False),
            unknown=lights.count(None),
            flips=self.flips,
            reconnects=sum(max(0, sign.times_let_in - 1) for sign in self._signs),
            refused=self.refused,
        )

    def drop(self) -> None:
        """Cut every connection, as a Wi-Fi that goes away."""
        for sign in self._signs:
            if sign.link is not None:
                sign.link.abort()

    # -- life --------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()
        self._dialling.start(1 / DIALS_PER_S)
        self._watching.start(1, now=False)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._dialling.stop()
        self._watching.stop()
        if self._idle():
            return succeed(None)
        self._emptied = Deferred()
        for sign in self._signs:
            if sign.connector is not None:
                sign.connector.disconnect()
        return self._emptied

    def lost(self, sign: Sign) -> None:
        """That sign's connection is gone, or was refused."""
        self._waiting.append(sign)
        if self._emptied is not None and self._idle():
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    # -- inside ------------------------------------------------------------------

    def _idle(self) -> bool:
        return len(self._waiting) == len(self._signs)

    def _dial(self) -> None:
        self._owed = min(
            self._owed + self._dials_per_s / DIALS_PER_S, self._dials_per_s
        )
        for _ in range(min(int(self._owed), len(self._waiting))):
            self._owed -= 1
            sign = self._waiting.popleft()
            sign.dialled_at = self._reactor.seconds()
            where = (self._host, self._port, sign)
            if self._tls is None:
                sign.connector = self._reactor.connectTCP(*where, OPEN_WITHIN_S)
            else:
                sign.connector = self._reactor.connectSSL(
                    *where, self._tls, OPEN_WITHIN_S
                )

    def _watch(self) -> None:
        """Each second a fifteenth of the fleet pings: one timer, not one a sign.

        Source: main.cpp:722, a ping every 15 s, a pong within 3 s, two may miss.
        """
        self._second += 1
        for sign in self._signs[self._second % PING_EVERY_S :: PING_EVERY_S]:
            if sign.link is not None and sign.let_in:
                sign.link.ping()
        due = (self._second - PONG_WITHIN_S) % PING_EVERY_S
        for sign in self._signs[due::PING_EVERY_S]:
            if sign.link is not None and sign.awaits_pong:
                sign.missed_pongs += 1
                if sign.missed_pongs >= MAX_MISSED_PONGS:
                    sign.link.abort()
        too_old = self._reactor.seconds() - OPEN_WITHIN_S
        for sign in self._signs:
            link = sign.link
            if link is not None and link.opening and sign.dialled_at < too_old:
                link.abort()


def _upgrade(host: str, port: int, path: str) -> bytes:
    """The bytes of the library's request (WebSocketsClient.cpp, sendHeader)."""
    return (
        f"GET {path} HTTP/1.1\r\n"
        f"Host: {host}:{port}\r\n"
        "Connection: Upgrade\r\n"
        "Upgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {KEY.decode()}\r\n"
        "Sec-WebSocket-Protocol: arduino\r\n"
        "Origin: file://\r\n"
        "User-Agent: arduino-WebSocket-Client\r\n"
        "\r\n"
    ).encode()


def _granted(head: bytes) -> bool:
    """Judge the answer as the library does (WebSocketsClient.cpp:775-778, 857-866)."""
    status, *lines = head.split(b"\r\n")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in lines)
    }
    return (
        status.split(b" ")[1:2] == [b"101"]
        and headers.get(b"connection", b"").lower() == b"upgrade"
        and headers.get(b"upgrade", b"").lower() == b"websocket"
        and headers.get(b"sec-websocket-accept") == ACCEPT
    )
