"""The admin side on a real port: behind the front, and on kept-alive connections."""

import json
from collections.abc import Callable
from typing import Any

import pytest_twisted
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

from voicestatus.web.admin_socket import MAX_UNSENT_BYTES

UPGRADE = (
    b"GET /admin/ws HTTP/1.1\r\nHost: sign.example:1\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Peer(Protocol):
    """Says what it is told, and keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.gone = False

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.gone = True

    def say(self, text: bytes) -> None:
        """Send a text frame; its mask is zero."""
        size = bytes([0x80 | len(text)])
        self.transport.write(b"\x81" + size + bytes(4) + text)


async def connect(port: int) -> Peer:
    from twisted.internet import reactor

    endpoint = HostnameEndpoint(reactor, "127.0.0.1", port)
    peer: Peer = await connectProtocol(endpoint, Peer())
    return peer


async def eventually(holds: Callable[[], object]) -> None:
    from twisted.internet import reactor

    deadline = reactor.seconds() + 10
    while not holds():
        assert reactor.seconds() < deadline
        await deferLater(reactor, 0.01)


@pytest_twisted.ensureDeferred
async def test_a_socket_is_opened_served_and_told_of_the_end(
    real_side: Any, admin_token: str
):
    side, port = real_side
    peer = await connect(port)
    peer.transport.write(UPGRADE)
    await eventually(lambda: b"101 Switching" in peer.heard)
    peer.say(f"AUTH:{admin_token}".encode())
    await eventually(lambda: b'"snapshot"' in peer.heard)
    assert side.metric("voicestatus_admin_sockets") == 1
    stopped = side.admin.stopService()
    await eventually(lambda: b"\x88\x12\x03\xe9the server stops" in peer.heard)
    await stopped
    await eventually(lambda: peer.gone)
    assert len(side.door) == 0
    side.admin.startService()


@pytest_twisted.ensureDeferred
async def test_a_connection_that_served_pages_can_become_a_socket(
    real_side: Any, admin_token: str, request_bytes: Any
):
    side, port = real_side
    peer = await connect(port)
    peer.transport.write(request_bytes("GET", "/api/v1/presence"))
    await eventually(lambda: b'"guilds"' in peer.heard)
    peer.transport.write(UPGRADE)
    await eventually(lambda: b"101 Switching" in peer.heard)
    peer.say(f"AUTH:{admin_token}".encode())
    await eventually(lambda: b'"snapshot"' in peer.heard)
    peer.transport.abortConnection()
    await eventually(lambda: len(side.door) == 0)
    assert side.metric("voicestatus_admin_sockets") == 0


@pytest_twisted.ensureDeferred
async def test_who_does_not_read_is_closed_and_others_are_not(
    real_side: Any, admin_token: str
):
    side, port = real_side
    slow, quick = await connect(port), await connect(port)
    for peer in (slow, quick):
        peer.transport.write(UPGRADE)
        await eventually(lambda peer=peer: b"101 Switching" in peer.heard)
        peer.say(f"AUTH:{admin_token}".encode())
        await eventually(lambda peer=peer: b'"snapshot"' in peer.heard)
    slow.transport.pauseProducing()
    text = json.dumps({"x": "y" * 500_000}).encode()
    sent = 0
    while not side.metric("voicestatus_admin_slow_sockets_total"):
        side.admin.socket._tell_all(f"device {sent}", text)
        sent += 1
        assert sent < 5 * MAX_UNSENT_BYTES / len(text)
        await eventually(lambda n=sent: quick.heard.count(b'"x"') == n)
    await eventually(lambda: side.metric("voicestatus_admin_sockets") == 1)
    assert not quick.gone
    for peer in (slow, quick):
        peer.transport.abortConnection()
        await eventually(lambda peer=peer: peer.gone)
    await eventually(lambda: len(side.door) == 0)
