import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from voicestatus.core.addresses import NO_PROXIES, Addresses, parse_networks
from voicestatus.core.admission import Limits
from voicestatus.devices.door import Door
from voicestatus.devices.metrics import DoorMetrics
from voicestatus.web.front import MAX_HEAD_BYTES, Front

UPGRADE = b"GET /ws?guild=1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"
PAGE = b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n"


class Taker(Protocol):
    """Keeps what it is handed."""

    data = b""

    def connectionMade(self):
        self.factory.made.append(self)

    def dataReceived(self, data):
        self.data += data

    def connectionLost(self, reason):
        self.factory.lost.append(self)


class Takers(ServerFactory):
    protocol, noisy = Taker, False
    starts = stops = 0

    def __init__(self):
        self.made, self.lost = [], []

    def startFactory(self):
        self.starts += 1

    def stopFactory(self):
        self.stops += 1


class Closed(ServerFactory):
    def buildProtocol(self, addr):
        return None


class Transport(StringTransport):
    aborted = False

    def abortConnection(self):  # noqa: N802 - Twisted's name
        self.aborted = True


class House:
    """A front with a site and one route."""

    def __init__(self, limits=Limits(), addresses=NO_PROXIES):  # noqa: B008 - frozen
        self.clock, self.site, self.route = Clock(), Takers(), Takers()
        routes = {b"/ws": self.route, b"/closed": Closed()}
        self.registry = CollectorRegistry()
        self.door = Door(self.clock, DoorMetrics(self.registry), limits, addresses)
        self.front = Front(self.clock, self.site, routes, self.door)

    def connect(self, address="192.0.2.1"):
        transport = Transport(peerAddress=IPv4Address("TCP", address, 1))
        transport.protocol = self.front.buildProtocol(None)
        transport.protocol.makeConnection(transport)
        return transport

    def send(self, data, pieces=None):
        """Send bytes to whatever is behind the transport then."""
        transport = self.connect()
        for piece in pieces or [data]:
            transport.protocol.dataReceived(piece)
        return transport

    def refused(self):
        name = "voicestatus_refused_connections_total"
        return {
            reason: self.registry.get_sample_value(name, {"reason": reason})
            for reason in ("all", "address")
        }

    def went(self):
        """Tell where connections went, and forget it."""
        seen = [("site", t.data) for t in self.site.made]
        seen += [("route", t.data) for t in self.route.made]
        self.site.made.clear()
        self.route.made.clear()
        return seen


@pytest.fixture
def house():
    return House()


@pytest.mark.parametrize(
    "head",
    [
        UPGRADE,
        UPGRADE.replace(b"/ws?guild=1", b"/ws"),
        UPGRADE.replace(b"/ws", b"ws://sign.example:80/ws"),
        UPGRADE.replace(b"/ws", b"https://sign.example/ws"),
        UPGRADE.replace(b"Upgrade: websocket", b"uPGRADE:WebSocket"),
        UPGRADE.replace(b"Upgrade: websocket", b"Upgrade: h2c, websocket"),
    ],
)
def test_an_upgrade_on_a_known_path_goes_to_its_route(house, head):
    house.send(head)
    assert house.went() == [("route", head)]


@pytest.mark.parametrize(
    "head",
    [
        PAGE,
        UPGRADE.replace(b"1.1", b"1.0"),
        UPGRADE.replace(b"GET", b"POST"),
        UPGRADE.replace(b"websocket", b"h2c"),
        UPGRADE.replace(b"Upgrade:", b"X-Upgrade:"),
        PAGE + b"\r\nUpgrade: websocket\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.0\r\n\r\n",
    ],
)
def test_everything_else_goes_to_the_site(house, head):
    house.send(head)
    assert house.went() == [("site", head)]


@pytest.mark.parametrize("path", [b"/other", b"/ws/", b"//ws", b"/"])
def test_an_upgrade_on_another_path_is_refused_and_closed(house, path):
    transport = house.send(UPGRADE.replace(b"/ws", path))
    assert transport.value().startswith(b"HTTP/1.1 404 ")
    assert transport.value().endswith(b"\r\n\r\nnot found")
    assert transport.disconnecting
    assert house.went() == []


@pytest.mark.parametrize("head", [UPGRADE, PAGE])
def test_the_head_may_be_split_anywhere(house, head):
    for at in range(len(head) + 1):
        house.send(head, [head[:at], head[at:]])
        ((_, data),) = house.went()
        assert data == head


@pytest.mark.parametrize("head", [UPGRADE, PAGE])
def test_the_head_may_come_byte_by_byte_and_what_follows_goes_along(house, head):
    house.send(head, [bytes([byte]) for byte in head + b"more"])
    ((_, data),) = house.went()
    assert data == head + b"more"


def test_empty_lines_before_a_request_are_skipped(house):
    house.send(b"\r\n\n\r\n" + UPGRADE)
    assert house.went() == [("route", UPGRADE)]


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00",
        b"get / HTTP/1.1\r\n\r\n",
        b"This is a webSocket client!",
        b"GET\r\n\r\n",
        b"{}\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(house, noise):
    transport = house.send(noise)
    assert transport.value().startswith(b"HTTP/1.1 400 ")
    assert transport.value().endswith(b"\r\n\r\nThis is not HTTP")
    assert transport.disconnecting
    assert house.went() == []


def test_a_head_that_is_too_long_is_refused(house):
    long = UPGRADE[:-2] + b"X: " + b"x" * MAX_HEAD_BYTES
    for pieces in ([long], [long[i : i + 100] for i in range(0, len(long), 100)]):
        transport = house.send(long, pieces)
        assert transport.value().startswith(b"HTTP/1.1 400 ")
        assert transport.value().count(b"HTTP") == 1
    fits = UPGRADE[:-2] + b"X: "
    fits += b"x" * (MAX_HEAD_BYTES - len(fits) - 4) + b"\r\n\r\n"
    house.send(fits)
    assert house.went() == [("route", fits)]


@given(st.binary(max_size=400), st.integers(0, 400))
@example(b"GET / HTTP/1.1\r\n\r\n", 3)
def test_no_bytes_break_the_front(noise, at):
    house = House()
    house.send(noise, [noise[:at], noise[at:]])
    assert len(house.went()) <= 1


@given(st.sampled_from([UPGRADE, PAGE]), st.data())
def test_a_changed_head_goes_the_same_way_however_it_is_cut(head, data):
    noise = bytearray(head + data.draw(st.binary(max_size=20)))
    for _ in range(data.draw(st.integers(0, 3))):
        noise[data.draw(st.integers(0, len(noise) - 1))] = data.draw(
            st.sampled_from(b"\0\r\n :/?aG\xff")
        )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(noise)), max_size=5)))
    whole, cut = House(), House()
    its_answer = whole.send(bytes(noise)).value()
    pieces = zip([0, *cuts], [*cuts, len(noise)], strict=True)
    answer = cut.send(b"", [bytes(noise[start:end]) for start, end in pieces]).value()
    assert answer == its_answer
    assert cut.went() == whole.went()


def test_who_sends_no_head_in_time_is_cut_off(house):
    house.front.doStart()
    slow, slower = house.connect(), house.connect()
    house.send(UPGRADE)
    for byte in UPGRADE[:5]:
        slow.protocol.dataReceived(bytes([byte]))
        house.clock.advance(1)
    assert slow.aborted
    assert slower.aborted
    assert len(house.front.waiting) == 0
    house.front.doStop()
    assert house.clock.getDelayedCalls() == []


def test_who_waits_when_the_front_stops_is_cut_off(house):
    house.front.doStart()
    transport = house.send(UPGRADE[:9])
    house.front.doStop()
    assert transport.aborted


def test_who_leaves_before_its_head_is_whole_is_forgotten(house):
    transport = house.send(UPGRADE[:9])
    transport.protocol.connectionLost(None)
    assert len(house.front.waiting) == 0


def test_after_the_hand_over_nothing_of_the_front_is_left(house):
    transport = house.connect()
    peek = transport.protocol
    peek.dataReceived(UPGRADE)
    assert type(transport.protocol) is Taker
    assert peek.transport is None
    assert len(house.front.waiting) == 0
    transport.protocol.connectionLost(None)
    assert len(house.route.lost) == 1


def test_who_takes_nobody_ends_the_connection(house):
    assert house.send(UPGRADE.replace(b"/ws", b"/closed")).aborted


def test_under_a_wrapper_what_it_wraps_is_replaced(house):
    transport = Transport()
    wrapper = WrappingFactory(house.front).buildProtocol(None)
    assert isinstance(wrapper, ProtocolWrapper)
    wrapper.makeConnection(transport)
    wrapper.dataReceived(UPGRADE)
    wrapper.dataReceived(b"more")
    assert house.went() == [("route", UPGRADE + b"more")]
    assert type(wrapper.wrappedProtocol) is Taker


def lose(transport):
    transport.protocol.connectionLost(None)


@pytest.mark.parametrize("data", [b"", UPGRADE[:9], b"\x00", PAGE])
def test_a_connection_is_counted_until_it_is_lost(house, data):
    transport = house.send(data)
    gauge = lambda: house.registry.get_sample_value("voicestatus_connections")  # noqa: E731
    assert len(house.door) == gauge() == 1
    lose(transport)
    assert len(house.door) == gauge() == 0


def test_what_nobody_takes_is_not_counted_for_ever(house):
    lose(house.send(UPGRADE.replace(b"/ws", b"/closed")))
    assert len(house.door) == 0


def test_the_site_hears_of_a_lost_connection(house):
    lose(house.send(PAGE))
    assert house.site.lost == house.site.made


def test_one_too_many_in_all_is_closed_and_counted():
    house = House(Limits(in_all=2))
    first, second = house.send(PAGE), house.connect("192.0.2.2")
    third = house.connect("192.0.2.3")
    assert third.aborted
    assert third.value() == b""
    assert not first.aborted
    assert not second.aborted
    lose(third)
    lose(first)
    assert not house.connect("192.0.2.4").aborted
    assert house.refused() == {"all": 1, "address": 0}


def test_one_too_many_of_an_address_is_closed_and_the_next_address_is_not():
    house = House(Limits(per_address=2))
    page, idle = house.send(PAGE), house.connect()
    assert house.connect().aborted
    assert not house.connect("192.0.2.2").aborted
    lose(idle)
    assert not house.connect().aborted
    assert not page.aborted
    assert house.refused() == {"all": 0, "address": 1}


def test_a_trusted_proxys_connections_count_for_no_address():
    proxies = Addresses(parse_networks("192.0.2.1"))
    house = House(Limits(per_address=1), proxies)
    assert not any(house.connect().aborted for _ in range(5))
    assert len(house.door) == 5


def test_the_front_starts_and_stops_what_is_behind_it(house):
    house.front.doStart()
    assert (house.site.starts, house.route.starts) == (1, 1)
    house.front.doStop()
    assert (house.site.stops, house.route.stops) == (1, 1)
