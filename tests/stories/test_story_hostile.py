"""Peers that mean no good, beside a sign whose light must stay right.

`make test` sends some of each kind, `pytest --soak` thousands.
"""

import gc
import random
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import tcp
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from voicestatus.devices.service import DeviceProtocol
from voicestatus.web.front import Peek, Visit

ADA = 4001
RIGHT_WITHIN_S = 1.0
"""How late the light may be on the control sign, whatever the others do."""
FLIP_EVERY_S = 0.05
ENOUGH_FLIPS = 5
MOST_GROWN = 10_000
"""More objects than this are something of thousands of peers that was kept."""
AT_ONCE = 100
"""So many dial at a time: more than wait in the kernel would lose a second."""

UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"%b\r\n"
)
PLAIN = UPGRADE % (b"/ws", b"")
NOAUTH, CLOSE = b"\x81\x06NOAUTH", b"\x88\x00"
PROTOCOL_ERROR, TOO_BIG = b"\x88\x02\x03\xea", b"\x88\x02\x03\xf1"
OK, PING = b"\x81\x02OK", b"\x89\x00"

story = pytest_twisted.ensureDeferred


def masked(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """Frame a short payload; the mask is zero, which is a mask."""
    assert len(payload) < 126
    first = opcode | (0x80 if fin else 0)
    return bytes((first, 0x80 | len(payload))) + bytes(4) + payload


def auth(token: bytes) -> bytes:
    return masked(1, b"AUTH:" + token)


class Rogue(Protocol):
    """Says what it likes and keeps the beginning of what comes back."""

    def __init__(self) -> None:
        self.data, self.lost_at = b"", 0.0

    def dataReceived(self, data: bytes) -> None:
        self.data = (self.data + data)[:4096]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        from twisted.internet import reactor

        self.lost_at = reactor.seconds()

    def came_in_vain(self, failure: Failure) -> None:
        """Take it that the connection was reset before this end knew of it."""
        failure.trap(ConnectError)
        self.connectionLost(failure)

    @property
    def frames(self) -> bytes:
        """What came after the answer to the upgrade."""
        return self.data.partition(b"\r\n\r\n")[2]


class Watch:
    """Flips the light again and again, and times it on one sign."""

    def __init__(self, house: Any, sign: Any, rogues: list[Rogue]) -> None:
        self._house, self.sign, self._rogues = house, sign, rogues
        self._on = self.done = False
        self.slowest_s, self.told = 0.0, sign.heard[:]

    async def flip(self) -> None:
        """Flip until it is told to stop."""
        reactor, guild = self._house.reactor, self._house.guild
        while not self.done:
            self._on = not self._on
            right = "1" if self._on else "0"
            self._house.discord.voice(
                guild.id, ADA, guild.rooms[0] if self._on else None
            )
            begun = reactor.seconds()
            while self.sign.light != right:
                took = reactor.seconds() - begun
                assert took < RIGHT_WITHIN_S, f"the light is {took} s late"
                await deferLater(reactor, 0.002)
            self.slowest_s = max(self.slowest_s, reactor.seconds() - begun)
            self.told.append(right)
            await deferLater(reactor, FLIP_EVERY_S)

    def stop(self) -> None:
        self.done = True

    async def dial(self, count: int, *says: bytes) -> list[Rogue]:
        """Let so many come; each says one of `says`, in turn."""
        come: list[Rogue] = []
        reactor, port = self._house.reactor, self._house.port
        for start in range(0, count, AT_ONCE):
            wave = [Rogue() for _ in range(min(AT_ONCE, count - start))]
            way = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
            await gatherResults(
                [
                    connectProtocol(way, rogue).addErrback(rogue.came_in_vain)
                    for rogue in wave
                ]
            )
            self._rogues += wave
            for rogue in wave:
                if not rogue.lost_at:
                    rogue.transport.write(says[len(come) % len(says)])
                come.append(rogue)
        return come


def alive(*kinds: type) -> int:
    gc.collect()
    return sum(type(thing) in kinds for thing in gc.get_objects())


@pytest.fixture
def many(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Choose between a number for every day and one for the soak."""
    soak = request.config.getoption("--soak")
    return lambda few, full: full if soak else few


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Print a line at the end of a soak."""
    lines: list[str] = []
    yield lines.append
    if request.config.getoption("--soak"):
        for line in lines:
            print(f"\n{request.node.name}: {line}")  # noqa: T201 - its result


@pytest.fixture
def watched(house: Any, soon: Any, report: Any) -> Iterator[Any]:
    """Run the program with a watched sign; in the end nothing of the others is left."""
    before, done = 0, ""

    @asynccontextmanager
    async def running(**settings: str) -> AsyncIterator[Watch]:
        nonlocal before, done
        rogues: list[Rogue] = []
        await house.start(**settings)
        await house.ready()
        sign = await house.sign()
        await soon(lambda: sign.heard == ["OK", "0"])
        gc.collect()
        before = len(gc.get_objects())
        watch = Watch(house, sign, rogues)
        flipping = Deferred.fromCoroutine(watch.flip())
        try:
            yield watch
            await soon(lambda: watch.done or len(watch.told) > ENOUGH_FLIPS)
        finally:
            watch.stop()
            for rogue in rogues:
                if not rogue.lost_at:
                    rogue.transport.abortConnection()
            await soon(lambda: all(rogue.lost_at for rogue in rogues))
            await flipping
        count = len(rogues)
        rogues.clear()
        assert not sign.closed.called
        # Each change came once and in order.
        assert sign.heard == watch.told
        assert len(watch.told) > ENOUGH_FLIPS

        async def left() -> tuple[float, ...]:
            names = ("connections", "device_connections", "device_held")
            return tuple([await house.metric(f"voicestatus_{n} ") for n in names])

        # the sign, and whoever asks for the metrics
        for _ in range(100):
            if (metrics := await left()) == (2, 1, 0):
                break
            await deferLater(house.reactor, 0.02)
        assert metrics == (2, 1, 0)
        # the metrics' own connection has gone, too
        await soon(lambda: not alive(Visit))
        assert alive(DeviceProtocol, Peek) == 1
        done = (
            f"{count} peers, {len(watch.told)} flips, the slowest"
            f" {watch.slowest_s * 1000:.0f} ms"
        )

    yield running
    # Now that the story holds its peers no longer, all of them are garbage.
    gc.collect()
    grown = len(gc.get_objects()) - before
    report(f"{done}, {grown} objects more")
    assert grown < MOST_GROWN


def lost(rogues: list[Rogue]) -> Callable[[], bool]:
    return lambda: all(rogue.lost_at for rogue in rogues)


@story
async def test_garbage_is_answered_once_and_closed(watched: Any, soon: Any, many: Any):
    rng = random.Random(20)

    def noise(start: bytes) -> bytes:
        return start + rng.randbytes(rng.randrange(1, 3000))

    async with watched() as watch:
        # not a letter first: that could become a request
        no_http = [noise(bytes([rng.randrange(0x60)])[:1]) for _ in range(40)]
        no_http = [b"\x16" + text for text in no_http]
        no_frames = [PLAIN + noise(b"\xf3\x80\0\0\0\0") for _ in range(40)]
        let_in = [PLAIN + auth(b"sesame") + noise(b"\xf3\x80") for _ in range(40)]
        each = many(40, 1000)
        strangers = await watch.dial(each, *no_http)
        upgraded = await watch.dial(each, *no_frames)
        signs = await watch.dial(each, *let_in)
        await soon(lost(strangers + upgraded + signs))
        assert {rogue.data[:13] for rogue in strangers} == {b"HTTP/1.1 400 "}
        assert {rogue.frames for rogue in upgraded} == {PROTOCOL_ERROR}
        for sign in signs:
            assert sign.frames.startswith(OK)
            assert sign.frames.endswith(PROTOCOL_ERROR)
            assert sign.frames.count(PROTOCOL_ERROR) == 1


@story
async def test_a_frame_of_a_megabyte_is_refused_and_not_kept(
    watched: Any, soon: Any, many: Any
):
    size = 2**20
    whole = b"\x82\xff" + size.to_bytes(8, "big") + bytes(4) + bytes(size)
    parts = masked(2, bytes(125), fin=False) + masked(0, bytes(125), fin=False) * 8000
    async with watched() as watch:
        rogues = await watch.dial(many(20, 200), PLAIN + whole, PLAIN + parts)
        await soon(lost(rogues), "still here", 20)
        assert {rogue.frames for rogue in rogues} == {TOO_BIG}


@story
async def test_who_dawdles_is_cut_off_when_its_five_seconds_are_over(
    watched: Any, soon: Any, many: Any, house: Any
):
    """Half a handshake, a byte a second, no AUTH, fragments without end."""
    count = many(75, 5000)
    fragments = PLAIN + masked(1, b"AUTH", fin=False) + masked(0, b"", fin=False) * 200
    async with watched(MAX_PER_ADDRESS="0") as watch:
        begun = house.reactor.seconds()
        half = await watch.dial(count // 5, *(PLAIN[:at] for at in (0, 3, 17, 60)))
        slow = await watch.dial(count // 5, b"")
        endless = await watch.dial(count // 5, fragments)
        idle = await watch.dial(count, PLAIN)
        all_here = house.reactor.seconds()
        for at in range(4):
            for rogue in slow:
                if not rogue.lost_at:
                    rogue.transport.write(PLAIN[at : at + 1])
            await deferLater(house.reactor, 1)
        everybody = half + slow + endless + idle
        await soon(lost(everybody), "still here", 15)
        assert {rogue.data for rogue in half + slow} == {b""}
        assert {rogue.frames for rogue in endless + idle} == {NOAUTH + CLOSE}
        # 5 s, a beat of 1 s or half a second, 2 s to answer the close, and a busy host
        assert max(rogue.lost_at for rogue in everybody) < all_here + 5 + 1 + 2 + 3
        assert min(rogue.lost_at for rogue in everybody) > begun + 4.9


@story
async def test_wrong_tokens_hear_noauth_once_and_a_right_one_is_let_in(
    watched: Any, soon: Any, many: Any, house: Any
):
    count = many(300, 5000)
    async with watched() as watch:
        rogues = await watch.dial(
            count, PLAIN + auth(b"guess"), PLAIN + masked(1, b"x")
        )
        good = await house.sign()
        await soon(lambda: good.heard[:1] == ["OK"])
        await soon(lambda: all(rogue.frames for rogue in rogues))
        for rogue in rogues:
            assert rogue.frames in {NOAUTH, NOAUTH + CLOSE}
        assert await house.metric("voicestatus_device_auth_failures_total") == count
        # the first is closed at once, the second held for 5 s only
        most = min(count - 1, 1024)
        assert most - 2 <= await house.metric("voicestatus_device_held ") <= most
        good.transport.abortConnection()
        await good.closed


@story
async def test_who_does_not_read_holds_nobody_up_and_is_right_when_it_reads(
    watched: Any, soon: Any, many: Any, house: Any
):
    let_in = PLAIN + auth(b"sesame")
    async with watched() as watch:
        asleep = await watch.dial(many(20, 500), let_in)
        greedy = await watch.dial(many(5, 20), let_in)
        await soon(lambda: all(OK in rogue.frames for rogue in asleep + greedy))
        for rogue in asleep + greedy:
            rogue.transport.pauseProducing()
        pings = masked(9, bytes(125)) * 100
        for _ in range(2000):
            here = [rogue for rogue in greedy if rogue.transport.connected]
            for rogue in here:
                # a full socket tells that it is dropped
                if len(rogue.transport.dataBuffer) < len(pings):
                    rogue.transport.write(pings)
            if await house.metric("voicestatus_device_connections ") == 1 + len(asleep):
                break
            await deferLater(house.reactor, 0)
        assert await house.metric("voicestatus_device_connections ") == 1 + len(asleep)
        watch.stop()
        await deferLater(house.reactor, 0.2)
        for rogue in asleep:
            rogue.data = b""
            rogue.transport.resumeProducing()
        light = b"\x81\x01" + watch.sign.light.encode()
        await soon(
            lambda: all(
                rogue.data.replace(PING, b"").endswith(light) for rogue in asleep
            )
        )


@story
async def test_nothing_is_smuggled_behind_an_upgrade(
    watched: Any, soon: Any, many: Any
):
    page = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
    body = b"Content-Length: %d\r\n" % len(page)
    chunked = b"Transfer-Encoding: chunked\r\n"
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(page), page)
    attempts = {
        PLAIN + page: 1,
        PLAIN + page * 50: 1,
        UPGRADE % (b"/ws", body) + page: 1,
        UPGRADE % (b"/ws", chunked) + chunk: 1,
        UPGRADE % (b"/ws?guild=x", b"") + page: 1,
        UPGRADE % (b"/nowhere", b"") + page: 1,
        PLAIN.replace(b": websocket", b": websocket\n" + page) + page: 1,
        b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" + PLAIN + page: 2,
    }
    async with watched() as watch:
        for _ in range(many(2, 50)):
            for attempt, answers in attempts.items():
                rogues = await watch.dial(2, attempt)
                await soon(lambda come=rogues: all(rogue.data for rogue in come))
                await soon(
                    lambda come=rogues: all(
                        rogue.lost_at or PROTOCOL_ERROR in rogue.data for rogue in come
                    ),
                    repr(attempt[:80]),
                )
                for rogue in rogues:
                    assert rogue.data.count(b"HTTP/1.1 ") == answers
                    assert b"voicestatus_" not in rogue.data


@story
async def test_strangers_of_one_address_are_limited_and_signs_are_not(
    watched: Any, soon: Any, many: Any, house: Any
):
    count = many(300, 5000)
    async with watched(MAX_PER_ADDRESS="100") as watch:
        signs = await watch.dial(50, PLAIN + auth(b"sesame"))
        await soon(lambda: all(OK in sign.frames for sign in signs))
        idle = await watch.dial(count, PLAIN)
        await soon(lambda: sum(bool(r.lost_at) for r in idle) >= count - 100)
        await soon(lost(idle), "still here", 15)
        assert sum(rogue.frames == NOAUTH + CLOSE for rogue in idle) >= 100
        good = await watch.dial(150, PLAIN + auth(b"sesame"))
        await soon(lambda: sum(OK in sign.frames for sign in good) >= 100)
        assert not any(sign.lost_at for sign in signs)
        refused = 'voicestatus_refused_connections_total{reason="address"}'
        assert await house.metric(refused) >= count - 200


@story
async def test_when_all_places_are_taken_those_that_are_here_stay(
    watched: Any, soon: Any, many: Any, house: Any
):
    count = many(200, 2000)
    async with watched(MAX_CONNECTIONS=str(count // 2)) as watch:
        signs = await watch.dial(20, PLAIN + auth(b"sesame"))
        await soon(lambda: all(OK in sign.frames for sign in signs))
        idle = await watch.dial(count, b"")
        await soon(lambda: sum(bool(r.lost_at) for r in idle) >= count // 2)
        for rogue in idle:
            if not rogue.lost_at:
                rogue.transport.abortConnection()
        await soon(lost(idle))
        assert not any(sign.lost_at for sign in signs)
        late = await watch.dial(1, PLAIN + auth(b"sesame"))
        await soon(lambda: OK in late[0].frames)


class Knocks:
    """Plain sockets at one port; all are closed in the end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: list[socket.socket] = []

    def knock(self, text: bytes = b"") -> socket.socket | None:
        """Connect and say something; None: the door is closed."""
        try:
            peer = socket.create_connection(("127.0.0.1", self._port), timeout=10)
            self._open.append(peer)
            peer.sendall(text)
        except ConnectionError:
            return None
        return peer

    def ask(self, text: bytes, wanted: bytes) -> socket.socket:
        """Say something until the answer is there."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            peer = self.knock(text)
            if peer is not None and hears(peer, wanted):
                return peer
            time.sleep(0.05)
        raise AssertionError(wanted)

    def leave(self) -> None:
        for peer in self._open:
            peer.close()


def hears(peer: socket.socket, wanted: bytes) -> bool:
    heard = b""
    while wanted not in heard:
        try:
            more = peer.recv(4096)
        except ConnectionError:
            return False
        if not more:
            return False
        heard += more
    return True


def test_files_run_out_for_strangers_only(tmp_path: Path):
    """A process of its own, with 150 files and no more to be had."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            *("sh", "-c", 'ulimit -n 150; exec "$@"', "sh"),
            Path(sys.executable).with_name("twistd"),
            *("-n", "--pidfile=", "voicestatus", "--demo"),
            *("--listen", f"tcp:{port}:interface=127.0.0.1"),
        ],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "ESP_AUTH_TOKEN": "sesame"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    good, crowd = Knocks(port), Knocks(port)
    try:
        sign = good.ask(PLAIN + auth(b"sesame"), OK)
        for _ in range(300):
            crowd.knock()
        sign.sendall(masked(9, b"here?"))
        assert hears(sign, b"\x8a\x05here?")
        crowd.leave()
        good.ask(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", b" 200 ")
        sign.sendall(masked(9, b"still?"))
        assert hears(sign, b"\x8a\x06still?")
    finally:
        good.leave()
        crowd.leave()
        server.terminate()
        written, _ = server.communicate(timeout=20)
    assert "at most 86 connections fit into the limit of 150 open files" in written
    assert written.count("too many in all") == 1
    assert "EMFILE" not in written
    assert "Traceback" not in written


def test_no_transport_of_a_rogue_outlives_its_story():
    assert alive(tcp.Server) == 0
