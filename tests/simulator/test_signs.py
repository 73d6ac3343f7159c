"""Simulated signs: what they say, what they show, when they dial."""

import base64
import hashlib
import json
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from voicestatus.simulator.fates import Updating
from voicestatus.simulator.frames import MAX_PAYLOAD_BYTES, Frames, masked
from voicestatus.simulator.mishaps import Mishap, Mishaps
from voicestatus.simulator.sign_texts import KEY
from voicestatus.simulator.signs import GHOST_S, Habits, SignFleet

ACCEPT = base64.b64encode(
    hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
)
GRANTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
)


def text(payload: bytes) -> bytes:
    size = len(payload)
    head = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return b"\x81" + head + payload


def message(**content: object) -> bytes:
    return text(json.dumps(content).encode())


LIGHT = {"count": 1, "pattern": "solid", "color": "#5865f2", "brightness": 255}


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

    def pauseProducing(self) -> None:
        self.producerState = "paused"

    def resumeProducing(self) -> None:
        self.producerState = "producing"

    def said(self) -> list[tuple[int, bytes]]:
        """What the sign has sent since last asked, unmasked."""
        data, frames = self.value(), []
        self.clear()
        while data:
            size, start = data[1] & 0x7F, 2
            assert data[1] & 0x80, "a client masks"
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            mask = data[start : start + 4]
            body = data[start + 4 : start + 4 + size]
            plain = bytes(b ^ mask[n % 4] for n, b in enumerate(body))
            frames.append((data[0] & 0x0F, plain))
            data = data[start + 4 + size :]
        return frames

    def told(self) -> list[Any]:
        """The JSON texts of what it has sent since last asked."""
        return [json.loads(text) for _, text in self.said() if text[:1] == b"{"]

    def hear(self, *texts: bytes) -> None:
        for each in texts:
            self.link.dataReceived(each)

    def let_in(self, *states: bytes) -> "Wire":
        self.clear()
        self.link.dataReceived(GRANTED)
        self.said()
        for state in (b"OK", *states):
            self.link.dataReceived(text(state))
        return self

    def end(self) -> None:
        self.link.connectionLost(Failure(ConnectionDone()))


class Harbour:
    """A fleet on a reactor of memory."""

    def __init__(
        self,
        count: int,
        dials_per_s: float = 100_000.0,
        own_tokens: dict[str, str] | None = None,
        **habits: Any,
    ) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.fleet = SignFleet(
            self.reactor,
            "host",
            80,
            "/ws?guild=1",
            token="secret",
            count=count,
            dials_per_s=dials_per_s,
            habits=Habits(**habits),
            own_tokens=own_tokens,
        )
        self.fleet.startService()

    def seconds(self, count: int) -> None:
        self.reactor.pump([1] * count)

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


# -- signs of the second kind ----------------------------------------------------------


def test_a_sign_of_the_second_kind_says_who_it_is_once_it_is_let_in() -> None:
    _, second = Harbour(2, v2=True, seed=7, caps=("light", "x")).accept()
    second.clear()
    second.hear(GRANTED)
    assert second.said() == [(0x1, b"AUTH:secret"), (0x9, b"")]
    second.hear(text(b"OK"))
    assert second.told() == [
        {
            "type": "hello",
            "v": 2,
            "id": "sim-7-1",
            "chip": "esp32",
            "board": "esp32dev",
            "fw": "1.4.0",
            "build": 14,
            "name": "Sim 1",
            "caps": ["light", "x"],
            "boot": "power",
        }
    ]


def test_a_fleet_has_several_chips_and_versions() -> None:
    harbour = Harbour(8, v2=True)
    hellos = []
    for wire in harbour.accept():
        hellos += wire.let_in().told()
    assert len({hello["id"] for hello in hellos}) == 8
    assert {hello["chip"] for hello in hellos} == {
        "esp8266",
        "esp32",
        "esp32s2",
        "esp32c3",
    }
    assert {hello["fw"] for hello in hellos} == {"1.4.0", "1.3.2"}


def test_a_welcomed_sign_uses_its_own_token_from_then_on() -> None:
    tokens: dict[str, str] = {}
    harbour = Harbour(1, v2=True, own_tokens=tokens)
    (wire,) = harbour.accept()
    wire.let_in()
    wire.hear(message(type="welcome", v=2, device="sim-0-0", token="vsd_mine"))
    assert tokens == {"sim-0-0": "vsd_mine"}
    assert harbour.fleet.tally.enrolled == 1
    wire.end()
    harbour.reactor.advance(0.1)
    (again,) = harbour.accept()
    again.clear()
    again.hear(GRANTED)
    assert again.said()[0] == (0x1, b"AUTH:vsd_mine")


def test_a_sign_whose_own_token_is_refused_tries_the_shared_one() -> None:
    harbour = Harbour(1, v2=True, own_tokens={"sim-0-0": "vsd_old"})
    words = []
    for _ in range(3):
        (wire,) = harbour.accept()
        wire.clear()
        wire.hear(GRANTED)
        words.append(wire.said()[0][1])
        wire.hear(text(b"NOAUTH"))
        wire.end()
        harbour.reactor.advance(0.1)
    assert words == [b"AUTH:vsd_old", b"AUTH:secret", b"AUTH:vsd_old"]


def test_a_welcome_for_somebody_else_is_an_error() -> None:
    tokens: dict[str, str] = {}
    harbour = Harbour(1, v2=True, own_tokens=tokens)
    (wire,) = harbour.accept()
    wire.let_in()
    wire.hear(message(type="welcome", v=2, device="another", token="vsd_x"))
    assert harbour.fleet.tally.errors == 1
    assert not tokens
    wire.hear(message(type="welcome", v=2, device="conn-17"))
    assert harbour.fleet.tally.errors == 1


def test_a_light_that_contradicts_the_plain_one_is_counted() -> None:
    harbour = Harbour(1, v2=True)
    (wire,) = harbour.accept()
    wire.let_in(b"1")
    wire.hear(message(type="light", on=True, **LIGHT))
    assert harbour.fleet.tally.wrong_lights == 0
    wire.hear(text(b"0"), message(type="light", on=True, **LIGHT))
    assert harbour.fleet.tally.wrong_lights == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "light", "on": True},
        {"type": "light", "on": True, **LIGHT, "brightness": 256},
        {"type": "light", "on": True, **LIGHT, "color": "blue"},
        {"type": "light", "on": True, **LIGHT, "pattern": "strobe"},
        {"type": "welcome", "v": 2},
        {"type": "identify", "seconds": "5"},
        {"no": "type"},
    ],
)
def test_what_cannot_be_right_is_an_error(wrong: dict[str, object]) -> None:
    harbour = Harbour(1, v2=True)
    (wire,) = harbour.accept()
    wire.let_in(b"1")
    wire.hear(message(**wrong))
    assert harbour.fleet.tally.errors == 1


def test_a_complaint_of_the_server_is_counted_as_such() -> None:
    harbour = Harbour(1, v2=True)
    (wire,) = harbour.accept()
    wire.let_in(b"1")
    wire.hear(message(type="error", code="REVOKED", message="it is revoked"))
    assert (harbour.fleet.tally.complaints, harbour.fleet.tally.errors) == (1, 0)


def test_types_that_it_does_not_know_are_ignored() -> None:
    harbour = Harbour(1, v2=True)
    (wire,) = harbour.accept()
    wire.let_in(b"1")
    wire.hear(message(type="weather"), message(type="config", name="Door"))
    assert harbour.fleet.tally.errors == 0
    assert harbour.fleet.lights == [True]


def test_a_sign_of_the_first_kind_ignores_all_of_the_second() -> None:
    harbour = Harbour(1)
    (wire,) = harbour.accept()
    wire.let_in(b"1")
    wire.hear(message(type="light", on=False), message(type="reboot"))
    tally = harbour.fleet.tally
    assert (tally.errors, tally.wrong_lights, wire.aborted) == (0, 0, False)
    harbour.seconds(70)
    assert wire.told() == []


def test_to_identify_shows_in_the_tally() -> None:
    harbour = Harbour(1, v2=True)
    (wire,) = harbour.accept()
    wire.let_in()
    wire.hear(message(type="identify", seconds=5))
    assert harbour.fleet.tally.identified == 1


def test_a_sign_that_is_told_to_reboot_comes_back() -> None:
    harbour = Harbour(1, v2=True)
    (wire,) = harbour.accept()
    wire.let_in()
    wire.hear(message(type="reboot"))
    assert wire.aborted
    wire.end()
    harbour.reactor.advance(0.1)
    assert len(harbour.accept()) == 1


def test_each_sign_reports_once_in_sixty_seconds_and_not_all_at_once() -> None:
    harbour = Harbour(120, v2=True)
    wires = [wire.let_in() for wire in harbour.accept()]
    for wire in wires:
        wire.clear()
    reports: list[tuple[int, Any]] = []
    for second in range(1, 61):
        harbour.reactor.advance(1)
        told = [(n, told) for n, wire in enumerate(wires) for told in wire.told()]
        assert len(told) == 2
        assert {report["uptimeS"] for _, report in told} == {second}
        reports += told
        for wire in wires:
            wire.hear(b"\x8a\x00")
    assert sorted(n for n, _ in reports) == list(range(120))
    _, report = reports[0]
    assert report["type"] == "status"
    assert -85 <= report["rssiDbm"] <= -45
    assert report["heapFreeB"] > 0
    assert report["fw"] == "1.4.0"


def test_the_longest_wait_for_a_pong_is_kept() -> None:
    harbour = Harbour(1)
    (wire,) = harbour.accept()
    wire.let_in()
    harbour.seconds(15)
    harbour.reactor.advance(0.5)
    assert harbour.fleet.tally.longest_pong_ms == 500  # it still waits
    wire.hear(b"\x8a\x00")
    harbour.reactor.advance(1)
    assert harbour.fleet.tally.longest_pong_ms == 500


# -- both kinds, and their updates -----------------------------------------------------


def test_in_a_mixed_fleet_the_old_signs_say_nothing_of_themselves() -> None:
    harbour = Harbour(10, v2=True, legacy_percent=40)
    wires = [wire.let_in(b"0") for wire in harbour.accept()]
    assert [wire.told() != [] for wire in wires].count(True) == 6
    for _ in range(60):
        harbour.reactor.advance(1)
        for wire in wires:
            wire.hear(b"\x8a\x00")
    assert [wire.told() != [] for wire in wires].count(True) == 6
    legacy = [each for each in harbour.fleet.roll_call if each.legacy]
    assert len(legacy) == 4
    assert {each.chip for each in legacy} <= {"esp8266", "esp32s2"}


def test_each_sign_may_dial_from_an_address_of_its_own() -> None:
    harbour = Harbour(300, own_addresses=True)
    bound = [client[4] for client in harbour.reactor.tcpClients]
    assert (bound[0], bound[299]) == (("127.1.0.0", 0), ("127.1.1.43", 0))
    assert len(set(bound)) == 300


def test_without_updates_a_sign_takes_no_offer() -> None:
    harbour = Harbour(1)
    (wire,) = harbour.accept()
    wire.let_in(b"1", b"OTA:http://host/x")
    assert not wire.disconnecting
    assert harbour.fleet.lights == [True]


def test_a_sign_goes_dark_for_an_update_and_is_back_when_it_came_to_nothing() -> None:
    harbour = Harbour(1, updating=Updating())
    (wire,) = harbour.accept()
    wire.let_in(b"1", b"OTA:http://other:81/x")
    assert wire.disconnecting
    wire.end()
    assert harbour.fleet.lights == [False]
    ((host, port, fetch, *_),) = harbour.reactor.tcpClients
    assert (host, port) == ("other", 81)
    harbour.reactor.tcpClients.clear()
    fetch.clientConnectionFailed(None, Failure(ConnectError()))
    harbour.seconds(7)
    (again,) = harbour.accept()
    again.let_in(b"1")
    assert harbour.fleet.tally.reconnects == 1


def test_a_build_is_kept_once_it_has_held_its_connection() -> None:
    harbour = Harbour(1, v2=True, updating=Updating())
    (wire,) = harbour.accept()
    wire.sign.boot = "trial"
    wire.clear()
    wire.hear(GRANTED, text(b"OK"))
    assert [said["boot"] for said in wire.told()] == ["trial"]
    harbour.seconds(6)
    assert [said["boot"] for said in wire.told()] == ["ota"]


def test_a_sign_that_flaps_loses_its_connections_soon() -> None:
    harbour = Harbour(1, v2=True, updating=Updating())
    (wire,) = harbour.accept()
    wire.sign.flap(1)
    wire.let_in(b"1")
    harbour.seconds(5)
    assert wire.aborted


def test_a_fleet_that_stops_ends_its_downloads_too() -> None:
    harbour = Harbour(1, updating=Updating())
    (wire,) = harbour.accept()
    wire.let_in(b"1", b"OTA:http://other:81/x")
    wire.end()
    fetch = harbour.reactor.tcpClients.pop()[2]
    link = fetch.buildProtocol(None)
    link.makeConnection(StringTransport())
    link.transport.abortConnection = lambda: link.connectionLost(
        Failure(ConnectionDone())
    )
    left: list[object] = []
    harbour.fleet.stopService().addCallback(left.append)
    assert left == [None]


# -- churn and bad links ---------------------------------------------------------------


def strokes(seed: int, seconds: int) -> list[Any]:
    rng = random.Random(seed)
    mishaps = Mishaps(200, rng, churn_percent=30, lossy_percent=10)
    return [stroke for _ in range(seconds) for stroke in mishaps.second()]


def test_the_same_seed_brings_the_same_mishaps() -> None:
    assert strokes(1, 60) == strokes(1, 60)
    assert strokes(1, 60) != strokes(2, 60)


def test_so_many_come_and_go_a_minute_and_so_many_have_a_bad_link() -> None:
    rng = random.Random(3)
    mishaps = Mishaps(200, rng, churn_percent=30, lossy_percent=10)
    assert len(mishaps.bad) == 20
    struck = [stroke for _ in range(600) for stroke in mishaps.second()]
    comes_and_goes = {Mishap.CLOSE, Mishap.RESET, Mishap.VANISH}
    churn = [stroke for stroke in struck if stroke.mishap in comes_and_goes]
    assert 598 <= len(churn) <= 600
    assert {stroke.mishap for stroke in churn} == comes_and_goes
    lossy = [stroke for stroke in struck if stroke.mishap not in comes_and_goes]
    assert {stroke.sign for stroke in lossy} == set(mishaps.bad)
    assert {stroke.mishap for stroke in lossy} == set(Mishap) - comes_and_goes


def until(harbour: Harbour, wires: list[Wire], seen: Any, seconds: int = 300) -> Wire:
    """Let time pass until one of the wires is `seen`; all pongs come."""
    for _ in range(seconds):
        harbour.reactor.advance(1)
        for wire in wires:
            if seen(wire):
                return wire
            if wire.producerState == "producing":
                wire.hear(b"\x8a\x00")
    raise AssertionError("it never happened")


def test_a_sign_that_vanishes_comes_back_while_its_old_connection_stays() -> None:
    harbour = Harbour(100, churn_percent=1)
    wires = [wire.let_in(b"0") for wire in harbour.accept()]
    ghost = until(harbour, wires, lambda wire: wire.producerState == "paused", 600)
    assert (ghost.aborted, ghost.disconnecting) == (False, False)
    harbour.reactor.advance(0.1)
    (again,) = harbour.accept()
    assert again.sign is ghost.sign
    again.let_in(b"1")
    harbour.reactor.pump([1] * (GHOST_S + 1))
    assert ghost.aborted
    ghost.end()
    assert ghost.sign.link is again.link


def test_a_sign_leaves_with_a_close_frame_or_without() -> None:
    harbour = Harbour(40, churn_percent=100)
    wires = [wire.let_in(b"0") for wire in harbour.accept()]
    until(harbour, wires, lambda wire: wire.aborted)
    leaver = until(harbour, wires, lambda wire: wire.disconnecting)
    assert (0x8, b"\x03\xe8") in leaver.said()


def test_a_bad_link_gives_up_its_first_upgrade_and_keeps_the_second() -> None:
    harbour = Harbour(1, lossy_percent=100)
    (first,) = harbour.accept()
    assert first.value().startswith(b"GET /ws")
    assert first.disconnecting
    first.end()
    harbour.reactor.advance(0.1)
    (second,) = harbour.accept()
    assert not second.disconnecting
    second.let_in(b"1").end()
    harbour.reactor.advance(0.1)
    (third,) = harbour.accept()
    assert third.disconnecting


def a_bad_link() -> tuple[Harbour, Wire]:
    harbour = Harbour(1, lossy_percent=100)
    harbour.accept()[0].end()
    harbour.reactor.advance(0.1)
    (wire,) = harbour.accept()
    return harbour, wire.let_in(b"0")


def test_a_bad_link_ends_in_the_middle_of_a_frame() -> None:
    harbour, wire = a_bad_link()
    until(harbour, [wire], lambda wire: wire.disconnecting)
    assert wire.value().endswith(masked(0x9)[:-1])


def test_a_bad_link_loses_pings_and_pongs_for_a_while() -> None:
    harbour = Harbour(20, lossy_percent=100)
    for wire in harbour.accept():
        wire.end()
    harbour.reactor.advance(0.1)
    wires = [wire.let_in(b"0") for wire in harbour.accept()]

    def deaf(wire: Wire) -> bool:
        if wire.disconnecting or wire.aborted or wire.producerState == "paused":
            return False
        wire.said()
        wire.hear(b"\x89\x00")
        return (0xA, b"") not in wire.said()

    wire = until(harbour, wires, deaf)
    assert not wire.disconnecting


def test_a_stalled_sign_reads_again() -> None:
    harbour = Harbour(20, lossy_percent=100)
    for wire in harbour.accept():
        wire.end()
    harbour.reactor.advance(0.1)
    wires = [wire.let_in(b"0") for wire in harbour.accept()]
    stalled = until(harbour, wires, lambda wire: wire.producerState == "paused")
    until(harbour, [stalled], lambda wire: wire.producerState == "producing")


def test_a_stopped_fleet_leaves_no_ghost() -> None:
    harbour = Harbour(4, churn_percent=100)
    wires = [wire.let_in(b"0") for wire in harbour.accept()]
    ghost = until(harbour, wires, lambda wire: wire.producerState == "paused")
    left: list[object] = []
    harbour.fleet.stopService().addCallback(left.append)
    assert ghost.aborted
    for client in harbour.reactor.tcpClients:
        client[2].clientConnectionFailed(None, Failure(ConnectError()))
    for wire in wires:
        assert not left
        wire.end()
    assert left == [None]
