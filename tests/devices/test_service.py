import gc
import random

import pytest
import pytest_twisted
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, globalLogPublisher

from voicestatus.core.addresses import Addresses, parse_networks
from voicestatus.core.admission import Limits
from voicestatus.core.lights import Light
from voicestatus.devices.keepalive import SLICE
from voicestatus.devices.service import DeviceProtocol, DeviceService
from voicestatus.devices.session import Holding
from voicestatus.devices.wire import CLOSE, NOAUTH, OFF, OK, ON, PING, PONG

DARK = Light(known=True)
ANSWER_ENDS = b"\r\n\r\n"


class Transport(StringTransport):
    """A transport in memory that can be cut off."""

    aborted = False

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's name
        self.aborted = True

    def unregisterProducer(self) -> None:  # noqa: N802 - a real one takes it always
        self.producer = None

    def take(self) -> bytes:
        value = self.value()
        self.clear()
        return value


@pytest.fixture
def connect(devices, upgrade):
    """Connect a device in memory; returns it, upgraded, with its transport."""

    def connected(address=None, path=b"/ws", *, raw=False, **headers):
        transport = Transport(peerAddress=address)
        device = devices.buildProtocol(transport.getPeer())
        device.makeConnection(transport)
        if not raw:
            extra = "".join(
                f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items()
            )
            device.dataReceived(
                upgrade(path).replace(b"Origin", extra.encode() + b"Origin")
            )
            assert transport.take().endswith(ANSWER_ENDS)
        return device, transport

    return connected


@pytest.fixture
def failures(registry):
    return lambda reason: registry.get_sample_value(
        "voicestatus_device_auth_failures_total", {"reason": reason}
    )


@pytest.fixture
def warnings():
    seen = []

    def observe(event):
        if event["log_level"] >= LogLevel.warn:
            seen.append(event["log_format"])

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


# ---- coming in ---------------------------------------------------------------------


def test_an_id_in_the_url_is_what_the_sign_shows(connect, lights, masked, devices):
    device, transport = connect(path=b"/ws?guild=7")
    device.dataReceived(masked(1, b"AUTH:secret"))
    assert list(lights.followers) == ['{"guilds":["7"]}']
    assert transport.value() == OK + ON
    lights.set(DARK, '{"guilds":["7"]}')
    assert devices.flips == 1


def test_the_upgrade_may_come_byte_by_byte(connect, upgrade, masked):
    device, transport = connect(raw=True)
    for byte in upgrade() + masked(1, b"AUTH:secret") + masked(9, b"x"):
        device.dataReceived(bytes([byte]))
    assert transport.value().endswith(ANSWER_ENDS + OK + ON + b"\x8a\x01x")


def test_the_upgrade_may_be_split_anywhere(connect, upgrade, masked):
    whole = upgrade() + masked(1, b"AUTH:secret") + masked(9)
    for at in range(len(whole)):
        device, transport = connect(raw=True)
        device.dataReceived(whole[:at])
        device.dataReceived(whole[at:])
        assert transport.value().endswith(ANSWER_ENDS + OK + ON + PONG), at
        device.connectionLost()


def test_a_head_without_end_is_refused(connect):
    device, transport = connect(raw=True)
    for _ in range(9):
        device.dataReceived(b"GET /ws HTTP/1.1\r\nX: " + b"x" * 1000)
    assert transport.value().startswith(b"HTTP/1.1 400 ")
    assert transport.disconnecting


def test_a_malformed_id_is_refused_in_words(connect, upgrade):
    device, transport = connect(raw=True)
    device.dataReceived(upgrade(b"/ws?guild=x"))
    assert transport.value().startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert transport.value().endswith(b"\r\n\r\nguild is not an id")
    assert transport.disconnecting


def test_what_a_device_writes_after_a_refusal_is_ignored(connect, upgrade, devices):
    device, transport = connect(raw=True)
    device.dataReceived(upgrade(b"/ws?guild=x"))
    answer = transport.value()
    device.dataReceived(b"This is a webSocket client!")
    assert transport.value() == answer
    assert len(devices.box) == 0


def test_who_does_not_upgrade_in_time_is_cut_off(connect, pass_time):
    _, transport = connect(raw=True)
    pass_time(5)
    assert transport.aborted
    assert transport.value() == b""


# ---- staying -----------------------------------------------------------------------


def test_devices_are_counted_while_they_are_let_in(connect, devices, masked, registry):
    gauge = lambda: registry.get_sample_value("voicestatus_device_connections")  # noqa: E731
    device, _ = connect()
    assert devices.connected == gauge() == 0
    device.dataReceived(masked(1, b"AUTH:secret"))
    assert devices.connected == gauge() == 1
    device.connectionLost()
    device.connectionLost()
    assert devices.connected == gauge() == 0


def test_a_welcomed_device_holds_no_timer_and_no_handshake(connect, masked, clock):
    device, _ = connect()
    timers = len(clock.getDelayedCalls())
    device.dataReceived(masked(1, b"AUTH:secret"))
    assert len(clock.getDelayedCalls()) == timers == 1
    held = vars(device)
    assert not {"http_headers", "http_request_data", "is_open", "trafficStats"} & set(
        held
    )
    assert held["data"] == b""
    assert len(held) < 25


@pytest.mark.parametrize("sign_of_life", [(10, b""), (9, b""), (1, b"x"), (10, b"abc")])
def test_any_frame_is_a_sign_of_life(connect, masked, pass_time, sign_of_life):
    device, transport = connect()
    device.dataReceived(masked(1, b"AUTH:secret"))
    for _ in range(10):
        pass_time(15)
        device.dataReceived(masked(*sign_of_life))
    assert not transport.aborted
    assert transport.value().count(PING) == 10


def test_a_silent_device_is_dropped_and_counted(connect, masked, pass_time, registry):
    device, transport = connect()
    device.dataReceived(masked(1, b"AUTH:secret"))
    pass_time(45)
    assert transport.aborted
    assert registry.get_sample_value("voicestatus_device_dead_peers_total") == 1


def test_a_flood_of_pings_whose_pongs_are_not_read_is_cut_off(connect, masked):
    device, transport = connect()

    class Full:
        put = staticmethod(lambda transport, data: None)
        pending_bytes = staticmethod(lambda transport: 9000)

    device.path = Full()
    device.dataReceived(masked(9, b"x"))
    assert transport.aborted


def test_nothing_follows_a_close_frame(connect, masked):
    device, transport = connect()
    device.dataReceived(masked(1, b"AUTH:wrong"))
    transport.clear()
    device.dataReceived(masked(9) + masked(9, b"x") + masked(1, b"AUTH:secret"))
    device.dataReceived(masked(9))
    assert transport.value() == b""


def test_lights_that_fail_cost_the_connection_and_no_count(
    connect, masked, devices, lights
):
    device, _ = connect()
    lights.follow = None
    with pytest.raises(TypeError):
        device.dataReceived(masked(1, b"AUTH:secret"))
    device.connectionLost()
    assert (devices.connected, len(devices.wheel), len(devices.fanout)) == (0, 0, 0)


@pytest.mark.parametrize("cut", [1, 2, 5, 6, 9])
@pytest.mark.parametrize(
    ("opcode", "payload"), [(1, b"x" * 125), (1, b""), (1, b"AUTH:secret"), (9, b"")]
)
def test_a_frame_means_the_same_in_one_segment_and_in_two(
    connect, masked, opcode, payload, cut
):
    frame = masked(opcode, payload)
    whole, its_answer = connect()
    whole.dataReceived(frame)
    split, answer = connect()
    split.dataReceived(frame[:cut])
    split.dataReceived(frame[cut:])
    assert answer.value() == its_answer.value()[: len(answer.value())] != b""


def test_endless_empty_fragments_leave_nothing(connect, masked):
    device, _ = connect()
    device.dataReceived(masked(1, b"AU", fin=False))
    for _ in range(1000):
        device.dataReceived(masked(0, b"", fin=False))
    assert len(device.message_data) == 1
    device.dataReceived(masked(0, b"TH:secret"))
    assert device.here is not None


def test_no_bytes_break_a_connection(connect, masked):
    rng = random.Random(20)
    starts = [b"", masked(1, b"AUTH:secret"), masked(1, b"A", fin=False)]
    for turn in range(300):
        device, _ = connect()
        frames = masked(rng.randrange(16), rng.randbytes(9)) * 3
        noise = bytearray(starts[turn % 3] + frames)
        for _ in range(turn % 5):
            noise[rng.randrange(len(noise))] = rng.randrange(256)
        noise += rng.randbytes(rng.randrange(300))
        while noise:
            size = rng.randrange(1, 40)
            device.dataReceived(bytes(noise[:size]))
            del noise[:size]
        assert len(device.data) < 200
        device.connectionLost()


def test_breaking_the_protocol_is_logged_once_and_counted(
    connect, registry, warnings, masked
):
    for _ in range(50):
        device, transport = connect()
        device.dataReceived(masked(3, b"x"))
        assert transport.value() == b"\x88\x02\x03\xea"
    assert len(warnings) == 1
    assert (
        registry.get_sample_value("voicestatus_device_protocol_violations_total") == 50
    )


# ---- being turned away -------------------------------------------------------------


def fail(connect, masked, address="192.0.2.1", text=b"AUTH:wrong"):
    from twisted.internet.address import IPv4Address

    device, transport = connect(IPv4Address("TCP", address, 1))
    device.dataReceived(masked(1, text))
    return device, transport


def test_the_first_failure_is_closed_at_once(connect, masked, failures):
    _, transport = fail(connect, masked)
    assert transport.value() == NOAUTH + CLOSE
    assert failures("token") == 1


def test_a_repeated_failure_is_held_and_its_pings_are_answered(
    connect, masked, pass_time, devices
):
    fail(connect, masked)
    device, transport = fail(connect, masked, text=b"hello")
    assert transport.take() == NOAUTH
    assert len(devices.held) == 1
    pass_time(4.5)
    device.dataReceived(masked(9))
    device.dataReceived(masked(9, b"x"))
    device.dataReceived(masked(1, b"AUTH:secret"))
    assert transport.take() == PONG + b"\x8a\x01x"
    pass_time(0.5)
    assert transport.take() == CLOSE
    pass_time(2)
    assert transport.aborted


def test_another_address_is_not_held(connect, masked):
    fail(connect, masked)
    _, transport = fail(connect, masked, address="192.0.2.2")
    assert transport.value() == NOAUTH + CLOSE


def test_when_too_many_are_held_the_oldest_is_closed(connect, masked, devices):
    devices.held = Holding(limit=2)
    fail(connect, masked)
    transports = [fail(connect, masked)[1] for _ in range(3)]
    assert [t.value() for t in transports] == [NOAUTH + CLOSE, NOAUTH, NOAUTH]
    assert len(devices.closing) == 2


def test_who_is_held_and_leaves_is_forgotten(connect, masked, devices):
    fail(connect, masked)
    device, _ = fail(connect, masked)
    device.connectionLost()
    assert len(devices.held) == 0


def test_a_flood_of_failures_is_one_line_in_the_log(
    connect, masked, warnings, pass_time
):
    for _ in range(100):
        fail(connect, masked)
    assert len(warnings) == 1
    pass_time(60)
    fail(connect, masked)
    assert len(warnings) == 2
    assert not [line for line in warnings if "wrong" in line]


@pytest.mark.parametrize("addresses", [Addresses(parse_networks("127.0.0.0/8"))])
def test_behind_a_trusted_proxy_the_client_is_who_is_held(
    addresses, connect, masked, devices
):
    from twisted.internet.address import IPv4Address

    proxy = IPv4Address("TCP", "127.0.0.1", 1)
    for client in ("198.51.100.1", "198.51.100.2"):
        device, transport = connect(proxy, X_Forwarded_For=client)
        assert device.address == client
        device.dataReceived(masked(1, b"AUTH:wrong"))
        assert transport.value() == NOAUTH + CLOSE
    assert len(devices.box) == 2


# ---- too many ----------------------------------------------------------------------


def at(address):
    from twisted.internet.address import IPv4Address

    return IPv4Address("TCP", address, 1)


@pytest.fixture
def refused_with(connect, upgrade):
    """Dial, and return what is answered instead of a 101."""

    def answer(address, **headers):
        device, transport = connect(at(address), raw=True)
        extra = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
        device.dataReceived(upgrade().replace(b"Origin", extra.encode() + b"Origin"))
        assert transport.disconnecting
        return transport.value()

    return answer


@pytest.mark.parametrize("limits", [Limits(per_address=2)])
def test_strangers_of_one_address_are_limited_and_told_when_to_come_back(
    limits, connect, refused_with, registry, warnings
):
    for _ in range(2):
        connect(at("192.0.2.1"))
    for _ in range(3):
        answer = refused_with("192.0.2.1")
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 5\r\n" in answer
        assert answer.endswith(b"\r\n\r\nToo many connections of this address")
    connect(at("192.0.2.2"))
    name = "voicestatus_refused_connections_total"
    assert registry.get_sample_value(name, {"reason": "address"}) == 3
    # of the door, and of the refused upgrades
    assert len(warnings) == 2


@pytest.mark.parametrize("limits", [Limits(per_address=2)])
def test_who_is_let_in_counts_for_no_address(limits, connect, masked, devices):
    for _ in range(10):
        device, _ = connect(at("192.0.2.1"))
        device.dataReceived(masked(1, b"AUTH:secret"))
    assert devices.connected == 10


@pytest.mark.parametrize("limits", [Limits(per_address=2)])
def test_who_is_held_keeps_nobody_of_its_address_out(
    limits, connect, masked, devices, pass_time
):
    for _ in range(5):
        fail(connect, masked)
    assert len(devices.held) == 4
    device, _ = connect(at("192.0.2.1"))
    device.dataReceived(masked(1, b"AUTH:secret"))
    assert devices.connected == 1


@pytest.mark.parametrize("limits", [Limits(per_address=1)])
def test_silence_makes_room_again(limits, connect, pass_time, refused_with):
    connect(at("192.0.2.1"))
    refused_with("192.0.2.1")
    pass_time(5)
    connect(at("192.0.2.1"))


@pytest.mark.parametrize("limits", [Limits(per_address=1)])
@pytest.mark.parametrize("addresses", [Addresses(parse_networks("127.0.0.1"))])
def test_behind_a_trusted_proxy_each_client_has_its_own_limit(
    limits, addresses, connect, refused_with
):
    connect(at("127.0.0.1"), X_Forwarded_For="198.51.100.1")
    connect(at("127.0.0.1"), X_Forwarded_For="198.51.100.2")
    answer = refused_with("127.0.0.1", X_Forwarded_For="198.51.100.1")
    assert answer.startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize("limits", [Limits(per_address=1)])
def test_an_ipv6_subscriber_is_one_address(limits, connect, refused_with):
    connect(at("2001:db8:0:7::1"))
    refused_with("2001:db8:0:7:1::2")
    connect(at("2001:db8:0:8::1"))
    connect(at("::ffff:192.0.2.1"))
    refused_with("192.0.2.1")


@pytest.mark.parametrize("limits", [Limits(in_all=9, per_address=9)])
def test_nothing_is_kept_of_who_has_left(limits, connect, masked, door):
    left = [connect(at("192.0.2.1"))[0], connect(raw=True)[0]]
    left += [fail(connect, masked)[0] for _ in range(3)]
    left[0].dataReceived(masked(1, b"AUTH:secret"))
    for device in left:
        device.connectionLost()
    assert len(door) == 0


# ---- the end -----------------------------------------------------------------------


def test_when_the_server_stops_every_device_is_told_and_no_light_changes(
    connect, masked, devices, clock
):
    service = DeviceService(devices, clock)
    service.startService()
    pairs = [connect() for _ in range(3)]
    for device, _ in pairs[:2]:
        device.dataReceived(masked(1, b"AUTH:secret"))
    for _, transport in pairs:
        transport.clear()
    gone = service.stopService()
    for _, transport in pairs:
        assert transport.value() == b"\x88\x02\x03\xe9"
        assert transport.disconnecting
    assert devices.buildProtocol(None) is None
    for device, _ in pairs:
        assert not gone.called
        device.connectionLost()
    assert gone.called
    assert devices.connected == 0


def test_who_does_not_leave_is_cut_off(connect, masked, devices, clock):
    service = DeviceService(devices, clock)
    service.startService()
    device, transport = connect()
    device.dataReceived(masked(1, b"AUTH:secret"))
    gone = service.stopService()
    clock.pump([0.5] * 6)
    assert transport.aborted
    device.connectionLost()
    assert gone.called


def test_a_service_without_devices_stops_at_once(devices, clock):
    service = DeviceService(devices, clock)
    service.startService()
    assert service.stopService().called


def test_between_slices_of_the_silent_a_light_gets_through(
    connect, masked, pass_time, clock, lights
):
    lit, its_transport = connect()
    lit.dataReceived(masked(1, b"AUTH:secret"))
    silent = [connect()[1] for _ in range(2 * SLICE + 1)]
    answered = lambda: sum(bool(transport.value()) for transport in silent)  # noqa: E731
    flipped_after = []

    def flip():
        lights.set(DARK)
        assert its_transport.value().endswith(OFF)
        flipped_after.append(answered())

    # in the reactor's next turn after the beat
    clock.callLater(5, clock.callLater, 0, flip)
    pass_time(5)
    assert flipped_after == [SLICE]
    assert answered() == len(silent)


def test_a_failing_connection_does_not_stop_the_others_time(
    connect, pass_time, nothing_is_left_behind
):
    broken, its_transport = connect()
    broken.session = None
    _, transport = connect()
    pass_time(5)
    assert its_transport.aborted
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()
    assert transport.value().startswith(NOAUTH)


# ---- on real ports -----------------------------------------------------------------


@pytest.mark.parametrize("carrier", ["tcp", "tls"])
@pytest_twisted.ensureDeferred
async def test_two_hundred_aborted_upgrades_leave_nothing(
    carrier, line, front, devices, upgrade, masked, eventually, settled, warnings
):
    stages = [b"", upgrade()[:50], upgrade(), upgrade() + masked(1, b"AUTH:secret")]
    async with line.serving(front):
        for _ in range(50):
            for stage in stages:
                peer = await line.dial()
                peer.write(stage)
                peer.transport.abortConnection()
            line.peers.clear()
        await eventually(lambda: not devices.connected and not len(front.waiting))
        await settled()
        gc.collect()
        left = [o for o in gc.get_objects() if type(o) is DeviceProtocol]
        assert left == []
        assert len(devices.waiting) == len(devices.closing) == len(devices.box) == 0
        assert warnings == []


@pytest.mark.parametrize("carrier", ["tcp", "tls", "unix"])
@pytest_twisted.ensureDeferred
async def test_a_whole_fleet_is_told_goodbye(
    carrier, line, front, devices, upgrade, masked, eventually, clock
):
    service = DeviceService(devices, clock)
    service.startService()
    async with line.serving(front):
        peers = [await line.dial() for _ in range(30)]
        for peer in peers:
            peer.write(upgrade() + masked(1, b"AUTH:secret"))
        await eventually(lambda: devices.connected == 30)
        gone = service.stopService()
        await eventually(lambda: gone.called)
        await eventually(lambda: all(peer.lost for peer in peers))
        for peer in peers:
            assert peer.data.endswith(OK + ON + b"\x88\x02\x03\xe9")
            assert OFF not in peer.data
