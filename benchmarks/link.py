"""Our way in from the Gateway's bytes to a light, and Discord's end of that."""

import base64
import hashlib
from collections.abc import Iterator

import zstandard
from prometheus_client import CollectorRegistry
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from voicestatus.core.lights import EVERYTHING, Light
from voicestatus.core.matching import Counting
from voicestatus.core.presence import Event, Presence
from voicestatus.discord.gateway.compression import ZstdStream
from voicestatus.discord.gateway.connection import (
    GatewayConnection,
    GatewayFactory,
    Surroundings,
)
from voicestatus.discord.gateway.metrics import GatewayMetrics
from voicestatus.discord.gateway.session import (
    Ended,
    GatewaySession,
    Phase,
)
from voicestatus.discord.gateway.wire import Login
from voicestatus.hub import Hub
from voicestatus.lights import LightGroups

READ_BYTES = 65_536
"""As much as Twisted reads at a time."""
INTENTS = 1 | 128
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Program:
    """Presence and lights with one follower; owns one connection."""

    def __init__(self, clock: IReactorTime, url: str) -> None:
        self.hub = Hub(Presence())
        self.light = Light(known=False)
        self.events = 0
        self.lights = LightGroups(
            self.hub, clock, clock.seconds, Counting(), 0.0, hold=True
        )
        self.lights.startService()
        self.lights.follow(EVERYTHING, self._show)
        around = Surroundings(clock, clock.seconds, GatewayMetrics(CollectorRegistry()))
        self.session = GatewaySession(Login("token", INTENTS), None, 0.5)
        self.connection = GatewayConnection(self.session, ZstdStream(), 0, self, around)
        self.factory = GatewayFactory(url, "benchmark", self.connection, clock)

    # ---- what the connection tells its owner ---------------------------------------

    def deliver(self, event: Event, arrived_at: float) -> None:  # noqa: ARG002
        self.events += 1
        self.hub.apply(event)

    def entered(self, phase: Phase) -> None: ...
    def keep(self) -> None: ...

    def ended(self, ended: Ended, why: str) -> None:
        raise AssertionError(f"the link ended: {ended.cause} {why}")

    def _show(self, light: Light) -> None:
        self.light = light


class Offline(Program):
    """A program whose connection leads nowhere, without a clock."""

    def __init__(self) -> None:
        super().__init__(Clock(), "ws://127.0.0.1/")
        self.factory.buildProtocol(None)
        self._packer = Packer()
        self._transport = StringTransport()
        self.connection.makeConnection(self._transport)
        self.connection.dataReceived(accept(self._transport.value()))
        self.receive = self.connection.dataReceived

    def reads(self, message: bytes) -> Iterator[bytes]:
        """Cut a message's frame, as Discord would send it, into single reads."""
        frame = self._packer.frame(message)
        for at in range(0, len(frame), READ_BYTES):
            yield frame[at : at + READ_BYTES]

    def take(self, message: bytes) -> None:
        """Receive one message."""
        for read in self.reads(message):
            self.receive(read)
        self._transport.clear()


class Packer:
    """Discord's end of a connection: messages to compressed frames."""

    def __init__(self) -> None:
        self._packer = zstandard.ZstdCompressor().compressobj()

    def frame(self, message: bytes) -> bytes:
        payload = self._packer.compress(message)
        payload += self._packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        size = len(payload)
        if size < 126:
            head = bytes((0x82, size))
        elif size < 65_536:
            head = b"\x82\x7e" + size.to_bytes(2, "big")
        else:
            head = b"\x82\x7f" + size.to_bytes(8, "big")
        return head + payload


def accept(request: bytes) -> bytes:
    """Return the answer to a WebSocket's opening request."""
    key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
    )
