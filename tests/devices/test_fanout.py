import socket

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from voicestatus.core.lights import EVERYTHING, NOTHING_TO_SHOW, Light, RuleText
from voicestatus.devices.fanout import DIRECT, QUEUED, Fanout
from voicestatus.devices.metrics import DeviceMetrics
from voicestatus.devices.wire import OFF, OK, ON, frame_of, rich_frame_of

ALL_CARRIERS = ["tcp", "tls", "unix"]
HERE, THERE = RuleText('{"guilds":["1"]}'), RuleText('{"channels":["2"]}')
LIT, DARK = Light(known=True, on=True, count=1), Light(known=True)


class MemoryPath:
    """A path whose peer takes frames or not, as a test says."""

    def __init__(self, *, confirms: bool = False) -> None:
        self.confirms, self.room = confirms, True
        self.sent: list[bytes] = []
        self.waiting = []
        self.fails = False

    def put(self, transport, data):
        self.sent.append(data)

    def offer(self, transport, frame):
        if self.fails:
            raise RuntimeError("a path that fails")
        if self.room:
            self.sent.append(frame)
        return self.room

    def when_free(self, transport, tell):
        self.waiting.append(tell)

    def pending_bytes(self, transport):
        return 0

    def drain(self):
        self.room = True
        told, self.waiting = self.waiting, []
        for tell in told:
            tell()


class MemorySign:
    transport = crowd = None

    def __init__(self, **path):
        self.path = MemoryPath(**path)
        self.failed = False

    def fail(self):
        self.failed = True


@pytest.fixture
def fanout(lights, metrics, wall) -> Fanout:
    return Fanout(lights, metrics, wall)


@pytest.fixture
def count(registry):
    return lambda name, **labels: registry.get_sample_value(
        f"voicestatus_device_{name}_total", labels
    )


# ---- groups ------------------------------------------------------------------------


def test_a_group_follows_its_light_once_and_leaves_with_its_last_sign(fanout, lights):
    one, two = MemorySign(), MemorySign()
    fanout.join(one, EVERYTHING)
    fanout.join(two, EVERYTHING)
    assert len(lights.followers[EVERYTHING]) == 1
    fanout.leave(one)
    assert len(lights.followers[EVERYTHING]) == 1
    fanout.leave(two)
    fanout.leave(two)
    assert lights.followers[EVERYTHING] == []
    assert len(fanout) == 0


def test_each_rule_has_its_own_light(fanout, lights):
    here, there = MemorySign(), MemorySign()
    fanout.join(here, HERE)
    fanout.join(there, THERE)
    lights.set(DARK, HERE)
    assert here.path.sent == [OK + ON, OFF]
    assert there.path.sent == [OK + ON]


def test_ok_and_the_light_are_one_write(fanout):
    sign = MemorySign()
    fanout.join(sign, EVERYTHING)
    assert sign.path.sent == [OK + ON]


def test_an_unknown_light_is_not_told(fanout, lights):
    lights.set(NOTHING_TO_SHOW)
    sign = MemorySign()
    fanout.join(sign, EVERYTHING)
    lights.set(DARK)
    lights.set(NOTHING_TO_SHOW)
    assert sign.path.sent == [OK, OFF]


def test_who_joined_while_nothing_was_known_is_told_what_the_others_show(
    fanout, lights
):
    early, late = MemorySign(), MemorySign()
    fanout.join(early, EVERYTHING)
    lights.set(NOTHING_TO_SHOW)
    fanout.join(late, EVERYTHING)
    lights.set(LIT)
    assert late.path.sent == [OK, ON]
    assert early.path.sent == [OK + ON, ON]  # repeats are legal


def test_another_count_is_not_another_frame(fanout, lights, count):
    sign = MemorySign()
    fanout.join(sign, EVERYTHING)
    lights.set(Light(known=True, on=True, count=7, stale=True))
    assert sign.path.sent == [OK + ON]
    assert fanout.flips == 0
    lights.set(DARK)
    assert fanout.flips == 1
    assert count("flips") == count("frames", path="direct") == 1


def test_a_late_sign_gets_the_newest_light_and_none_in_between(fanout, lights, count):
    sign = MemorySign()
    fanout.join(sign, EVERYTHING)
    sign.path.room = False
    for light in (DARK, LIT, DARK, LIT, DARK):
        lights.set(light)
    assert sign.path.sent == [OK + ON]
    assert len(sign.path.waiting) == 1
    sign.path.drain()
    assert sign.path.sent == [OK + ON, OFF]
    assert count("frames", path="superseded") == 4


def test_a_late_sign_that_shows_the_newest_light_gets_nothing(fanout, lights):
    sign = MemorySign()
    fanout.join(sign, EVERYTHING)
    sign.path.room = False
    lights.set(DARK)
    lights.set(LIT)
    sign.path.drain()
    assert sign.path.sent == [OK + ON]
    lights.set(DARK)
    assert sign.path.sent == [OK + ON, OFF]


def test_a_confirming_path_has_one_frame_under_way(fanout, lights):
    sign = MemorySign(confirms=True)
    fanout.join(sign, EVERYTHING)
    for light in (DARK, LIT, DARK, LIT):
        lights.set(light)
    assert sign.path.sent == [OK + ON, OFF]
    sign.path.drain()
    assert sign.path.sent == [OK + ON, OFF, ON]
    sign.path.drain()
    assert sign.path.sent == [OK + ON, OFF, ON]


def test_a_late_sign_that_has_left_is_told_nothing(fanout, lights):
    sign = MemorySign()
    fanout.join(sign, EVERYTHING)
    sign.path.room = False
    lights.set(DARK)
    fanout.leave(sign)
    sign.path.drain()
    assert sign.path.sent == [OK + ON]


def test_a_sign_that_fails_does_not_darken_the_others(
    fanout, lights, nothing_is_left_behind
):
    signs = [MemorySign() for _ in range(3)]
    for sign in signs:
        fanout.join(sign, EVERYTHING)
    signs[1].path.fails = True
    lights.set(DARK)
    assert [sign.failed for sign in signs] == [False, True, False]
    assert signs[0].path.sent == signs[2].path.sent == [OK + ON, OFF]
    lights.set(LIT)
    assert len(nothing_is_left_behind) == 1, "it was dropped the first time"
    nothing_is_left_behind.clear()


def test_a_late_sign_that_fails_is_dropped(fanout, lights, nothing_is_left_behind):
    sign = MemorySign()
    fanout.join(sign, EVERYTHING)
    sign.path.room = False
    lights.set(DARK)
    sign.path.fails = True
    sign.path.drain()
    assert sign.failed
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()


STEPS = st.lists(st.sampled_from(["lit", "dark", "unknown", "full", "drain", "join"]))


@given(STEPS, st.booleans())
def test_whatever_happens_a_sign_ends_up_showing_the_light(steps, confirms):
    lights = SteppedLights()
    fanout = Fanout(lights, DeviceMetrics(CollectorRegistry()), lambda: 0.0)
    signs = [MemorySign(confirms=confirms)]
    fanout.join(signs[0], EVERYTHING)
    known = None
    for step in [*steps, "drain", "drain"]:
        match step:
            case "full":
                signs[0].path.room = False
            case "drain":
                for sign in signs:
                    sign.path.drain()
            case "join":
                signs.append(MemorySign(confirms=confirms))
                fanout.join(signs[-1], EVERYTHING)
            case "unknown":
                lights.tell(NOTHING_TO_SHOW)
            case _:
                lights.tell(LIT if step == "lit" else DARK)
        known = {"lit": ON, "dark": OFF, "unknown": None}.get(step, known)
        assert all(len(sign.path.waiting) <= 1 for sign in signs)
    for sign in signs:
        assert known is None or sign.path.sent[-1].endswith(known)


class SteppedLights:
    """One group's light; at first nothing is known."""

    def __init__(self):
        self.light = NOTHING_TO_SHOW

    def follow(self, rule, tell, *, counted=False):
        tell(self.light)
        self._tell = tell
        return lambda: None

    def tell(self, light):
        self.light = light
        self._tell(light)


def test_a_sign_that_moves_is_sent_the_other_light_if_it_differs(fanout, lights):
    sign = MemorySign()
    fanout.join(sign, HERE)
    fanout.move(sign, THERE, rich=False)
    assert sign.path.sent == [OK + ON]
    lights.set(DARK, HERE)
    assert sign.path.sent == [OK + ON]
    fanout.move(sign, HERE, rich=False)
    assert sign.path.sent == [OK + ON, OFF]
    assert len(fanout) == 1
    fanout.move(sign, HERE, rich=False)
    fanout.leave(sign)
    fanout.leave(sign)
    assert len(fanout) == 0
    fanout.move(sign, THERE, rich=False)
    assert sign.path.sent == [OK + ON, OFF]


def test_a_late_sign_that_moves_is_waited_for_once(fanout, lights):
    sign = MemorySign()
    fanout.join(sign, HERE)
    sign.path.room = False
    lights.set(DARK, HERE)
    lights.set(DARK, THERE)
    fanout.move(sign, THERE, rich=False)
    assert len(sign.path.waiting) == 1
    sign.path.drain()
    assert sign.path.sent == [OK + ON, OFF]


def test_a_sign_that_fails_while_it_moves_is_dropped(
    fanout, lights, nothing_is_left_behind
):
    sign = MemorySign()
    fanout.join(sign, HERE)
    lights.set(DARK, THERE)
    sign.path.fails = True
    fanout.move(sign, THERE, rich=False)
    assert sign.failed
    fanout.leave(sign)
    assert len(fanout) == 0
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()


MOVES = st.lists(
    st.sampled_from(
        [
            *("lit here", "dark here", "lit there", "dark there", "unknown here"),
            *("full", "drain", "here", "there", "rich here", "rich there"),
        ]
    )
)


@given(MOVES, st.booleans())
def test_wherever_a_sign_moves_it_ends_up_showing_that_light(steps, confirms):
    lights = RuledLights()
    fanout = Fanout(lights, DeviceMetrics(CollectorRegistry()), lambda: 0.0)
    sign = MemorySign(confirms=confirms)
    fanout.join(sign, HERE)
    at, rich = HERE, False
    for step in [*steps, "drain", "drain"]:
        match step.split():
            case ["full"]:
                sign.path.room = False
            case ["drain"]:
                sign.path.drain()
            case [what, where] if what != "rich":
                light = {"lit": LIT, "dark": DARK, "unknown": NOTHING_TO_SHOW}[what]
                lights.tell(HERE if where == "here" else THERE, light)
            case [*words]:
                at = HERE if words[-1] == "here" else THERE
                rich = "rich" in words
                fanout.move(sign, at, rich=rich)
        assert len(sign.path.waiting) <= 1
        assert len(fanout) == 1
    light = lights.lights.get(at, NOTHING_TO_SHOW)
    frame = rich_frame_of(light) if rich else frame_of(light)
    assert frame is None or sign.path.sent[-1].endswith(frame)


class RuledLights:
    """A light for each rule; at first nothing is known."""

    def __init__(self):
        self.lights, self._tells = {}, []

    def follow(self, rule, tell, *, counted=False):
        follower = rule, tell
        self._tells.append(follower)
        tell(self.lights.get(rule, NOTHING_TO_SHOW))
        return lambda: self._tells.remove(follower)

    def tell(self, rule, light):
        self.lights[rule] = light
        for at, tell in tuple(self._tells):
            if at == rule:
                tell(light)


def test_a_sign_may_leave_while_a_light_is_told(fanout, lights):
    signs = [MemorySign() for _ in range(3)]
    for sign in signs:
        fanout.join(sign, EVERYTHING)

    def all_leave(transport, frame):
        for sign in signs:
            fanout.leave(sign)
        return True

    for sign in signs:
        sign.path.offer = all_leave
    lights.set(DARK)
    assert len(fanout) == 0


# ---- on real transports ------------------------------------------------------------


@pytest.mark.parametrize("carrier", ALL_CARRIERS)
@pytest_twisted.ensureDeferred
async def test_only_plain_tcp_is_written_to_directly(
    carrier, line, front, devices, upgrade, masked, eventually
):
    async with line.serving(front):
        peer = await line.dial()
        peer.write(upgrade() + masked(1, b"AUTH:secret"))
        await eventually(lambda: devices.connected)
        (device,) = devices.wheel
        assert device.path is (DIRECT if carrier == "tcp" else QUEUED)


@pytest.mark.parametrize("carrier", ["tcp", "tls"])
@pytest_twisted.ensureDeferred
async def test_frames_do_not_wait_for_acknowledgements(
    carrier, line, front, devices, upgrade, eventually
):
    async with line.serving(front):
        peer = await line.dial()
        peer.write(upgrade())
        await eventually(lambda: peer.data)
        (device,) = devices.waiting
        assert device.transport.getTcpNoDelay()


@pytest.mark.parametrize("carrier", ALL_CARRIERS)
@pytest_twisted.ensureDeferred
async def test_a_flood_is_read_in_small_helpings_so_that_the_others_get_their_turn(
    carrier, line, front, devices, upgrade, masked, eventually
):
    async with line.serving(front):
        peer = await line.dial()
        peer.write(upgrade())
        await eventually(lambda: peer.data)
        (device,) = devices.waiting
        helpings, take = [], device.dataReceived
        device.dataReceived = lambda data: (helpings.append(len(data)), take(data))
        peer.data.clear()
        peer.write(masked(9, b"x" * 9) * 10_000)
        await eventually(lambda: len(peer.data) == 110_000)
        assert max(helpings) <= (16_384 if carrier == "tls" else 4096)  # a TLS record


@pytest.mark.parametrize("carrier", ALL_CARRIERS)
@pytest_twisted.ensureDeferred
async def test_a_device_that_does_not_read_gets_the_newest_light_only(
    carrier, line, front, devices, lights, upgrade, masked, eventually, settled
):
    async with line.serving(front):
        peer = await line.dial()
        peer.write(upgrade() + masked(1, b"AUTH:secret"))
        await eventually(lambda: peer.data.endswith(ON))
        (device,) = devices.wheel
        peer.transport.pauseProducing()
        # Fill what the kernel and the transport hold between the two, as if the
        # device had been gone for a while.
        filler = b"\x8a\x7d" + bytes(125)
        device.transport.write(filler * 60_000)
        await eventually(lambda: device.path.pending_bytes(device.transport) > 1000)
        await settled()
        before = device.path.pending_bytes(device.transport)
        for _ in range(2000):
            lights.set(DARK)
            lights.set(LIT)
        lights.set(DARK)
        await settled()
        pending = device.path.pending_bytes(device.transport)
        # a frame; TLS adds its record around it
        assert pending - before < 100
        peer.data.clear()
        peer.transport.resumeProducing()
        await eventually(lambda: peer.data.endswith(OFF))
        await settled()
        assert peer.data.replace(filler, b"").count(ON) == 0
        assert peer.data.endswith(filler + OFF)
        lights.set(LIT)
        await eventually(lambda: peer.data.endswith(OFF + ON))


def fill(sock: socket.socket, frame: bytes) -> None:
    """Send until the kernel takes no more."""
    try:
        while True:
            sock.send(frame)
    except BlockingIOError:
        return


@pytest_twisted.ensureDeferred
async def test_a_full_socket_is_waited_for_with_nothing_in_our_own_buffer(
    line, front, devices, lights, upgrade, masked, eventually, settled
):
    async with line.serving(front):
        peer = await line.dial()
        peer.write(upgrade() + masked(1, b"AUTH:secret"))
        await eventually(lambda: peer.data.endswith(ON))
        (device,) = devices.wheel
        peer.transport.pauseProducing()
        filler = b"\x8a\x7d" + bytes(125)
        fill(device.transport.socket, filler)
        assert device.path.pending_bytes(device.transport) == 0
        lights.set(DARK)
        lights.set(LIT)
        lights.set(DARK)
        assert device.path.pending_bytes(device.transport) == 0
        peer.data.clear()
        peer.transport.resumeProducing()
        await eventually(lambda: peer.data.endswith(OFF))
        assert peer.data.count(OFF) == 1


@pytest_twisted.ensureDeferred
async def test_a_partly_sent_frame_is_finished(
    line, front, devices, lights, upgrade, masked, eventually
):
    async with line.serving(front):
        peer = await line.dial()
        peer.write(upgrade() + masked(1, b"AUTH:secret"))
        await eventually(lambda: peer.data.endswith(ON))
        (device,) = devices.wheel

        class OneByteAtATime:
            """A socket whose kernel has room for one byte only."""

            def __init__(self, real: socket.socket) -> None:
                self.send = lambda data: real.send(data[:1])
                self.recv, self.shutdown, self.close = (
                    real.recv,
                    real.shutdown,
                    real.close,
                )
                self.setsockopt, self.fileno = real.setsockopt, real.fileno

        device.transport.socket = OneByteAtATime(device.transport.socket)
        lights.set(DARK)
        lights.set(LIT)
        await eventually(lambda: peer.data.endswith(ON + OFF + ON))


@pytest.mark.parametrize("how", ["reset", "half closed", "closed"])
@pytest_twisted.ensureDeferred
async def test_a_lost_device_is_found_by_twisted_and_told_nothing_more(
    how, line, front, devices, lights, upgrade, masked, eventually
):
    async with line.serving(front):
        peer, other = await line.dial(), await line.dial()
        for each in (peer, other):
            each.write(upgrade() + masked(1, b"AUTH:secret"))
        await eventually(lambda: devices.connected == 2)
        match how:
            case "reset":
                peer.transport.abortConnection()
            case "half closed":
                peer.transport.loseWriteConnection()
            case "closed":
                peer.transport.loseConnection()
        for _ in range(5):
            lights.set(DARK)
            lights.set(LIT)
        await eventually(lambda: devices.connected == 1)
        await eventually(lambda: other.data.endswith((OFF + ON) * 5))


@pytest.mark.parametrize("carrier", ["tcp", "tls"])
@pytest_twisted.ensureDeferred
async def test_a_late_device_can_still_be_closed(
    carrier, line, front, devices, lights, upgrade, masked, eventually, settled
):
    async with line.serving(front):
        peer = await line.dial()
        peer.write(upgrade() + masked(1, b"AUTH:secret"))
        await eventually(lambda: peer.data.endswith(ON))
        (device,) = devices.wheel
        peer.transport.pauseProducing()
        device.transport.write(b"\x8a\x7d" + bytes(125) * 200_000)
        await settled()
        lights.set(DARK)
        device.sendClose()
        device.dropConnection()
        await settled()
        peer.transport.resumeProducing()
        await eventually(lambda: peer.lost)
        assert peer.data.endswith(b"\x88\x00")
        assert devices.connected == 0
