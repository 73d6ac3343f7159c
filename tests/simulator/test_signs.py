"""Simulated signs: what they say, what they show, when they dial."""

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from voicestatus.simulator.frames import MAX_PAYLOAD_BYTES, Frames, masked
from voicestatus.simulator.signs import KEY, SignFleet

ACCEPT = base64.b64encode(
    hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
)
GRANTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
)


def text(payload: bytes) -> bytes:
    return bytes((0x81, len(payload))) + payload


class Wire(StringTransport):
    """One sign's connection, from the server's side."""

    def __init__(self, sign: Any) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "127.0.0.1", 1))
        self.sign, self.aborted = sign, False
        self.link = sign.buildProtocol(None)
        self.link.makeConnection(self)

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802 - Twisted's
        """Do as a socket would."""

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's
        self.aborted = True

    def said(self) -> list[tuple[int, bytes]]:
        """What the sign has sent since last asked, unmasked."""
        data, frames = self.value(), []
        self.clear()
        while data:
            size = data[1] & 0x7F
            assert data[1] & 0x80, "a client masks"
            mask, body = data[2:6], data[6 : 6 + size]
            plain = bytes(b ^ mask[n % 4] for n, b in enumerate(body))
            frames.append((data[0] & 0x0F, plain))
            data = data[6 + size :]
        return frames

    def let_in(self, *states: bytes) -> "Wire":
        self.clear()
        self.link.dataReceived(GRANTED)
        self.said()
        for state in (b"OK", *states):
            self.link.dataReceived(text(state))
        return self

    def end(self) -> None:
        self.link.connectionLost(Failure(ConnectionDone()))
        self.sign.clientConnectionLost(None, Failure(ConnectionDone()))


class Harbour:
    """A fleet on a reactor of memory."""

    def __init__(self, count: int, dials_per_s: float = 1000.0) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.fleet = SignFleet(
            self.reactor,
            "host",
            80,
            "/ws?guild=1",
            token="secret",
            count=count,
            dials_per_s=dials_per_s,
        )
        self.fleet.startService()

    def accept(self) -> list[Wire]:
        dialled = [client[2] for client in self.reactor.tcpClients]
        self.reactor.tcpClients.clear()
        return [Wire(sign) for sign in dialled]


def test_the_upgrade_is_byte_for_byte_the_librarys() -> None:
    (wire,) = Harbour(1).accept()
    lines = wire.value().decode().split("\r\n")
    assert lines == [
        "GET /ws?guild=1 HTTP/1.1",
        "Host: host:80",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY.decode()}",
        "Sec-WebSocket-Protocol: arduino",
        "Origin: file://",
        "User-Agent: arduino-WebSocket-Client",
        "",
        "",
    ]


def test_a_granted_upgrade_is_answered_with_the_token_and_a_ping() -> None:
    (wire,) = Harbour(1).accept()
    wire.clear()
    wire.link.dataReceived(GRANTED[:50])
    assert wire.value() == b""
    wire.link.dataReceived(GRANTED[50:])
    assert wire.said() == [(0x1, b"AUTH:secret"), (0x9, b"")]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        GRANTED.replace(b"Connection: Upgrade", b"Connection: keep-alive, Upgrade"),
        GRANTED.replace(ACCEPT, b"wrong"),
    ],
)
def test_a_refused_upgrade_is_answered_with_the_librarys_words(
    answer: bytes,
) -> None:
    harbour = Harbour(1)
    (wire,) = harbour.accept()
    wire.clear()
    wire.link.dataReceived(answer)
    assert wire.value() == b"This is a webSocket client!"
    assert wire.disconnecting
    assert harbour.fleet.tally.refused == 1


def test_an_endless_head_is_cut_off() -> None:
    (wire,) = Harbour(1).accept()
    wire.link.dataReceived(b"x" * 9000)
    assert wire.aborted


def test_a_sign_shows_what_it_was_told_last() -> None:
    harbour = Harbour(3)
    first, second, _ = harbour.accept()
    first.let_in(b"0", b"1", b"1")
    second.let_in(b"1", b'{"type":"light"}', b" 0 ")
    assert harbour.fleet.lights == [True, False, None]
    assert harbour.fleet.connected == 2
    tally = harbour.fleet.tally
    assert (tally.lit, tally.dark, tally.unknown, tally.flips) == (1, 1, 1, 2)


def test_a_lost_sign_keeps_its_light_and_dials_anew() -> None:
    harbour = Harbour(1)
    (wire,) = harbour.accept()
    wire.let_in(b"1").end()
    assert (harbour.fleet.connected, harbour.fleet.lights) == (0, [True])
    harbour.reactor.advance(0.1)
    (again,) = harbour.accept()
    again.let_in(b"0")
    assert harbour.fleet.tally.reconnects == 1
    assert harbour.fleet.lights == [False]


def test_a_sign_that_is_refused_a_connection_dials_anew() -> None:
    harbour = Harbour(1)
    sign = harbour.reactor.tcpClients.pop()[2]
    sign.clientConnectionFailed(None, Failure(ConnectError()))
    harbour.reactor.advance(0.1)
    assert len(harbour.accept()) == 1


def test_the_fleet_dials_no_faster_than_it_may() -> None:
    harbour = Harbour(1000, dials_per_s=100)
    dialled = []
    for _ in range(20):
        harbour.reactor.advance(0.05)
        dialled.append(len(harbour.reactor.tcpClients))
    assert 95 <= dialled[-1] <= 110


def test_a_wrong_token_is_told_and_not_counted_as_connected() -> None:
    harbour = Harbour(1)
    (wire,) = harbour.accept()
    wire.link.dataReceived(GRANTED + text(b"NOAUTH"))
    assert harbour.fleet.tally.refused == 1
    assert (harbour.fleet.connected, harbour.fleet.ever_connected) == (0, 0)


def test_pings_are_answered_and_a_close_is_returned() -> None:
    (wire,) = Harbour(1).accept()
    wire.let_in().link.dataReceived(b"\x89\x02hi")
    assert wire.said() == [(0xA, b"hi")]
    wire.link.dataReceived(b"\x88\x02\x03\xe9")
    assert wire.said() == [(0x8, b"\x03\xe9")]
    assert wire.disconnecting


def test_each_sign_pings_every_fifteen_seconds() -> None:
    harbour = Harbour(30)
    wires = [wire.let_in(b"0") for wire in harbour.accept()]
    for _ in range(45):
        harbour.reactor.advance(1)
        for wire in wires:
            wire.link.dataReceived(b"\x8a\x00")
    assert [len(wire.said()) for wire in wires] == [3] * 30
    assert not any(wire.aborted for wire in wires)


def test_two_missed_pongs_end_the_connection() -> None:
    harbour = Harbour(1)
    (wire,) = harbour.accept()
    wire.let_in(b"0")
    harbour.reactor.pump([1] * 20)
    assert not wire.aborted
    harbour.reactor.pump([1] * 15)
    assert wire.aborted


def test_an_upgrade_that_takes_too_long_is_given_up() -> None:
    harbour = Harbour(1)
    (wire,) = harbour.accept()
    harbour.reactor.pump([1] * 7)
    assert wire.aborted


def test_a_stopped_fleet_has_left() -> None:
    harbour = Harbour(2)
    wires = harbour.accept()
    wires[0].let_in(b"0")
    left: list[object] = []
    stopping = harbour.fleet.stopService()
    stopping.addCallback(left.append)
    wires[0].end()
    assert not left
    wires[1].end()
    assert left == [None]
    assert not harbour.reactor.getDelayedCalls()


def test_a_fleet_whose_signs_all_wait_stops_at_once() -> None:
    harbour = Harbour(1)
    sign = harbour.reactor.tcpClients.pop()[2]
    sign.clientConnectionFailed(None, Failure(ConnectError()))
    left: list[object] = []
    harbour.fleet.stopService().addCallback(left.append)
    assert left == [None]


def test_the_fleet_can_be_cut_off_as_one() -> None:
    harbour = Harbour(3)
    wires = harbour.accept()
    harbour.fleet.drop()
    assert all(wire.aborted for wire in wires)


def test_a_secure_fleet_dials_tls() -> None:
    reactor: Any = MemoryReactorClock()
    fleet = SignFleet(reactor, "host", 443, token="t", count=1, secure=True)
    fleet.startService()
    assert [client[:2] for client in reactor.sslClients] == [("host", 443)]


@given(
    st.lists(st.tuples(st.integers(1, 10), st.binary(max_size=300)), max_size=8),
    st.integers(1, 50),
)
@example([(1, b"x" * 200), (9, b"")], 3)
def test_frames_are_the_same_however_they_are_cut(
    frames: list[tuple[int, bytes]], step: int
) -> None:
    data = b""
    for opcode, payload in frames:
        size = len(payload)
        head = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
        data += bytes((0x80 | opcode,)) + head + payload
    taker, taken = Frames(), []
    for start in range(0, len(data), step):
        taken += taker.feed(data[start : start + step])
    assert taken == frames


def test_a_frame_longer_than_the_library_takes_ends_the_connection() -> None:
    (wire,) = Harbour(1).accept()
    size = (MAX_PAYLOAD_BYTES + 1).to_bytes(8, "big")
    wire.let_in().link.dataReceived(b"\x81\x7f" + size)
    assert wire.aborted


def test_a_long_token_fits() -> None:
    assert masked(1, b"x" * 126)[:4] == b"\x81\xfe\x00\x7e"
