"""Event streams: who reads them, what goes over the wire, and how they end."""

import gc
import re
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from prometheus_client import CollectorRegistry
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent
from twisted.python.failure import Failure

from voicestatus.core.admission import Limits
from voicestatus.core.errors import Refusal, StoreError
from voicestatus.devices.door import Door
from voicestatus.devices.metrics import DoorMetrics
from voicestatus.web.api.endpoint import Streamed, endpoint
from voicestatus.web.api.openapi import openapi
from voicestatus.web.api.resource import Api
from voicestatus.web.audit import Caller
from voicestatus.web.auth.gate import Unauthorized
from voicestatus.web.auth.identity import Identity, Level
from voicestatus.web.crowds import SLICE
from voicestatus.web.front import Front
from voicestatus.web.health import ExactTree
from voicestatus.web.request_ids import RequestIds
from voicestatus.web.site import QuietSite
from voicestatus.web.sse import (
    MAX_OF_ONE,
    MAX_UNSENT_BYTES,
    EventStreams,
    StreamMetrics,
)

STREAM = b"GET /api/v1/talk/%b HTTP/1.1\r\nHost: x\r\n%b\r\n"
story = pytest_twisted.ensureDeferred


class Talk:
    """A source that says what it is told to say."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[str] = []
        self.told: dict[object, Callable[[bytes | None], object]] = {}

    def hello(self, last_event_id: str) -> bytes:
        self.asked.append(last_event_id)
        return f"data: this is {self.name}\n\n".encode()

    def follow(self, tell: Callable[[bytes | None], object]) -> Callable[[], object]:
        self.told[key := object()] = tell
        return lambda: self.told.pop(key)

    def say(self, what: bytes | None) -> None:
        for tell in tuple(self.told.values()):
            tell(what if what is None else b"data: %b\n\n" % what)


class TalkSubject:
    def __init__(self) -> None:
        self.talks = {name: Talk(name) for name in ("birds", "bees")}
        self.instead: dict[str, str] = {}
        self.problem: Exception | None = None

    @endpoint(
        "GET",
        "/talk/<about>",
        level=Level.GUEST,
        media="text/event-stream",
        events={"message": int},
    )
    async def talk(self, about: str, caller: Caller) -> Streamed:
        """Talk."""
        if self.problem is not None:
            raise self.problem
        if (name := self.instead.get(about, about)) not in self.talks:
            raise Refusal("NOT_FOUND", "Nobody talks about that.")
        return Streamed(self.talks[name])


class OpenGate:
    """Lets in who names a user; they may be signed out."""

    def __init__(self) -> None:
        self.signed_out = False

    def visit(self, peer: str | None, headers: Any, *, tls: bool) -> Any:
        return type("V", (), {"address": peer, "user": headers.get("user")})

    async def admit(self, visit: Any, *, writes: bool) -> Identity:
        if visit.user is None:
            raise Unauthorized
        return Identity("somebody", Level.GUEST, user=int(visit.user))

    async def again(self, who: Identity) -> Identity | None:
        return None if self.signed_out else who


class Carrier(StringTransport):
    """A connection whose buffer can be full."""

    dataBuffer = b""  # noqa: N815 - Twisted's
    _tempDataLen = 0  # noqa: N815 - Twisted's
    aborted = False
    protocol: Any = None
    breaks_at: bytes | None = None

    def write(self, data: bytes) -> None:
        if self.breaks_at is not None and self.breaks_at in data:
            raise ZeroDivisionError
        super().write(data)

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's
        self.aborted = True

    def loseConnection(self) -> None:  # noqa: N802 - Twisted's
        self.disconnecting = True

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def fresh(self) -> bytes:
        """Return what came since it was asked last."""
        data = self.value()
        self.clear()
        return data


class House:
    def __init__(self, clock: Any = None) -> None:
        self.clock = clock or Clock()
        self.metrics = CollectorRegistry()
        self.door = Door(self.clock, DoorMetrics(self.metrics), Limits(per_address=3))
        self.streams = EventStreams(self.clock, self.door, StreamMetrics(self.metrics))
        self.subject, self.gate = TalkSubject(), OpenGate()
        gate: Any = self.gate
        self.api = Api([self.subject], gate, RequestIds(lambda: "r1"), self.streams)
        tree = ExactTree({})
        tree.putChild(b"api", api := ExactTree({}))
        api.putChild(b"v1", self.api.resource)
        self.site = QuietSite(tree, self.clock)
        self.front = Front(self.clock, self.site, {}, self.door)
        self.carriers: list[Carrier] = []
        self.api.startService()
        self.streams.startService()

    @property
    def birds(self) -> Talk:
        return self.subject.talks["birds"]

    def open(
        self, about: str = "birds", headers: bytes = b"User: 7\r\n", **how: Any
    ) -> Carrier:
        return self.ask(STREAM % (about.encode(), headers), **how)

    def ask(self, request: bytes, breaks_at: bytes | None = None) -> Carrier:
        carrier = Carrier(peerAddress=IPv4Address("TCP", "192.0.2.1", 4711))
        carrier.breaks_at = breaks_at
        carrier.protocol = self.site.buildProtocol(carrier.getPeer())
        carrier.protocol.makeConnection(carrier)
        carrier.protocol.dataReceived(request)
        self.carriers.append(carrier)
        return carrier

    def reader(self, **how: Any) -> Carrier:
        """Open a stream, and be past its beginning."""
        carrier = self.open(**how)
        assert carrier.fresh().startswith(b"HTTP/1.1 200 OK")
        return carrier

    def turn(self, seconds: float = 0) -> None:
        self.clock.advance(seconds)

    def metric(self, name: str) -> float:
        return self.metrics.get_sample_value(f"voicestatus_stream_{name}") or 0.0


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    yield house
    if house.streams.running:
        stopped = house.streams.stopService()
        for carrier in house.carriers:
            carrier.lose()
        assert stopped.called
    house.api.stopService()


def chunks(body: bytes) -> list[bytes]:
    """Take a body in chunks apart; the last one is empty."""
    found = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        found.append(rest[:length])
        assert rest[length : length + 2] == b"\r\n"
        body = rest[length + 2 :]
    return found


def test_a_stream_begins_with_its_head_and_what_is_to_be_known_first(
    house: House,
) -> None:
    head, _, body = (
        house.open(headers=b"User: 7\r\nLast-Event-ID: e-4\r\n")
        .value()
        .partition(b"\r\n\r\n")
    )
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    headers = {line.lower() for line in head.split(b"\r\n")}
    assert headers >= {
        b"content-type: text/event-stream",
        b"cache-control: no-cache",
        b"x-accel-buffering: no",
        b"connection: close",
        b"transfer-encoding: chunked",
        b"x-request-id: r1",
    }
    assert chunks(body) == [b"retry: 3000\n\ndata: this is birds\n\n"]
    assert house.birds.asked == ["e-4"]


def test_of_the_request_nothing_is_kept(house: House) -> None:
    carrier = Carrier(peerAddress=IPv4Address("TCP", "192.0.2.1", 4711))
    carrier.protocol = channel = house.site.buildProtocol(carrier.getPeer())
    channel.makeConnection(carrier)
    channel.dataReceived(
        STREAM % (b"birds", b"User: 7\r\n") + b"GET /more HTTP/1.1\r\n"
    )
    gone = weakref.ref(channel)
    del channel
    gc.collect()
    assert gone() is None
    assert carrier.producer is None
    carrier.clear()
    carrier.protocol.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
    assert carrier.value() == b""
    house.carriers.append(carrier)


def test_an_http_1_0_reader_gets_the_same_without_chunks(house: House) -> None:
    carrier = house.ask(b"GET /api/v1/talk/birds HTTP/1.0\r\nUser: 7\r\n\r\n")
    head, _, body = carrier.fresh().partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert body == b"retry: 3000\n\ndata: this is birds\n\n"
    newer = house.reader()
    house.birds.say(b"tweet")
    house.turn()
    assert carrier.fresh() == b"data: tweet\n\n"
    assert chunks(newer.fresh()) == [b"data: tweet\n\n"]
    house.birds.say(None)
    house.turn()
    assert (carrier.value(), carrier.disconnecting) == (b"", True)


def test_what_is_no_get_of_a_member_is_answered_as_everywhere(house: House) -> None:
    head = house.ask(b"HEAD /api/v1/talk/birds HTTP/1.1\r\nHost: x\r\nUser: 7\r\n\r\n")
    assert re.match(rb"HTTP/1.1 200 OK\r\n(.+\r\n)+\r\n\Z", head.value())
    assert b"text/event-stream" in head.value()
    post = house.ask(b"POST /api/v1/talk/birds HTTP/1.1\r\nHost: x\r\nUser: 7\r\n\r\n")
    assert post.value().startswith(b"HTTP/1.1 405 ")
    assert b"Allow: GET, HEAD\r\n" in post.value()
    assert house.open(headers=b"").value().startswith(b"HTTP/1.1 401 ")
    nothing = house.open("cars").value()
    assert nothing.startswith(b"HTTP/1.1 404 ")
    assert b'"code":"NOT_FOUND"' in nothing
    assert (len(house.streams), house.birds.told) == (0, {})


def test_what_is_told_in_one_turn_is_one_chunk_for_all(house: House) -> None:
    readers = [house.reader() for _ in range(3)]
    others = house.reader(about="bees")
    house.birds.say(b"1")
    house.birds.say(b"2")
    assert [reader.value() for reader in readers] == [b""] * 3
    late = house.reader()
    house.turn()
    for reader in readers:
        assert chunks(reader.value()) == [b"data: 1\n\ndata: 2\n\n"]
    # Its `hello` has told it all that was told before.
    assert (late.value(), others.value()) == (b"", b"")
    assert house.metric("events_total") == 6
    house.birds.say(b"3")
    readers[0].lose()
    house.turn()
    assert b"3" not in readers[0].value()
    assert chunks(late.value()) == [b"data: 3\n\n"]


def test_many_are_written_to_in_several_turns_and_each_in_order(house: House) -> None:
    readers = [house.reader(headers=b"User: %d\r\n" % n) for n in range(SLICE + 50)]
    reached: list[int] = []

    def in_between() -> None:
        reached.append(sum(bool(reader.value()) for reader in readers))
        house.birds.say(b"%d" % (len(reached) + 1))
        if len(reached) < 2:
            house.clock.callLater(0, in_between)

    house.birds.say(b"1")
    house.clock.callLater(0, in_between)
    house.turn()
    assert reached == [SLICE, SLICE + 50]
    # Another one is not begun before the last is told the first.
    told = [b"data: 1\n\n", b"data: 2\n\ndata: 3\n\n"]
    assert all(chunks(reader.value()) == told for reader in readers)


def test_who_reads_something_else_by_now_hears_no_more_of_what_was_on_its_way(
    house: House,
) -> None:
    reader, moved = house.reader(), house.reader()
    house.birds.say(b"too late")
    house.birds.say(None)
    house.reader()  # from here on the others are being told
    (crowd,) = {each.crowd for slot in house.streams._slots for each in slot}
    other = next(each for each in crowd.readers if each.transport is moved)
    house.streams._crowds.leave(other)
    house.streams._crowds.join(other, house.subject.talks["bees"])
    house.turn()
    assert (reader.disconnecting, moved.disconnecting) == (True, False)
    assert chunks(reader.value()) == [b"data: too late\n\n", b""]
    assert moved.value() == b""


def test_every_15_s_each_reader_has_a_comment(house: House) -> None:
    readers = [house.reader() for _ in range(4)]
    for _ in range(30):
        house.turn(1)
    assert [chunks(reader.value()) for reader in readers] == [[b":\n\n"] * 2] * 4


def test_who_may_read_no_more_is_ended_within_a_minute(house: House) -> None:
    reader = house.reader()
    problems = (
        StoreError("gone"),
        Refusal("DISCORD_UNAVAILABLE", ""),
        Refusal("RATE_LIMITED", ""),
    )
    for house.subject.problem in problems:  # of these nothing follows
        for _ in range(60):
            house.turn(1)
    assert not reader.disconnecting
    house.subject.problem = Refusal("NOT_ORGANIZATION_MEMBER", "No longer.")
    reader.clear()
    for _ in range(60):
        house.turn(1)
    assert reader.disconnecting
    assert chunks(reader.value())[-1] == b""


def test_who_is_signed_out_is_ended_within_a_minute(house: House) -> None:
    reader = house.reader()
    house.gate.signed_out = True
    for _ in range(60):
        house.turn(1)
    assert reader.disconnecting


def test_a_defect_of_ours_ends_a_stream_and_is_logged(
    house: House, nothing_is_left_behind: list[LogEvent]
) -> None:
    reader = house.reader()
    house.subject.problem = ZeroDivisionError()
    for _ in range(60):
        house.turn(1)
    assert reader.disconnecting
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()


def test_who_may_see_something_else_by_now_is_told_that_anew(house: House) -> None:
    reader, other = house.reader(), house.reader()
    house.birds.say(b"not any more")
    house.subject.instead = {"birds": "bees"}
    for _ in range(61):
        house.turn(1)
    told = [chunk for chunk in chunks(reader.value()) if chunk != b":\n\n"]
    assert told == [
        b"data: not any more\n\n",
        b"retry: 3000\n\ndata: this is bees\n\n",
    ]
    assert (house.birds.told, house.subject.talks["bees"].asked) == ({}, ["", ""])
    reader.clear()
    house.subject.talks["bees"].say(b"buzz")
    house.turn()
    assert chunks(reader.value()) == [b"data: buzz\n\n"]
    assert not other.disconnecting


def test_who_reads_too_slowly_is_cut_off_alone(house: House) -> None:
    slow, other = house.reader(), house.reader()
    slow._tempDataLen = MAX_UNSENT_BYTES // 2
    house.birds.say(b"1")
    house.turn()
    assert not slow.aborted
    slow._tempDataLen = 2 * MAX_UNSENT_BYTES
    house.birds.say(b"2")
    house.turn()
    assert (slow.aborted, other.aborted) == (True, False)
    assert house.metric("slow_readers_total") == 1
    slow.lose()
    assert (len(house.streams), house.metric("readers")) == (1, 1)


def test_a_reader_that_cannot_be_written_to_is_cut_off_alone(
    house: House, nothing_is_left_behind: list[LogEvent]
) -> None:
    broken, other = house.reader(), house.reader()
    broken.breaks_at = b"1"
    house.birds.say(b"1")
    house.turn()
    assert (broken.aborted, bool(other.value())) == (True, True)
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()


def test_one_that_breaks_at_its_beginning_or_its_end_hurts_no_other(
    house: House, nothing_is_left_behind: list[LogEvent]
) -> None:
    at_its_end = house.reader()
    at_its_end.breaks_at = b"0\r\n"
    at_once = house.open(breaks_at=b"retry")
    assert at_once.aborted
    others = [house.reader() for _ in range(MAX_OF_ONE)]
    assert [reader.aborted for reader in (at_its_end, others[0])] == [True, False]
    house.birds.say(None)
    house.turn()
    assert all(reader.disconnecting for reader in others)
    assert len(nothing_is_left_behind) == 2
    nothing_is_left_behind.clear()
    at_once.lose()
    at_its_end.lose()
    assert len(house.streams) == MAX_OF_ONE


def test_a_person_with_too_many_streams_loses_the_oldest_for_a_minute(
    house: House,
) -> None:
    mine = [house.reader() for _ in range(MAX_OF_ONE)]
    other = house.reader(headers=b"User: 8\r\n")
    newest = house.reader()
    assert [reader.disconnecting for reader in mine] == [True] + [False] * 19
    assert chunks(mine[0].value()) == [b"retry: 60000\n\n", b""]
    mine[1].lose()
    house.reader()
    assert not any(reader.disconnecting for reader in (*mine[1:], other, newest))


def test_readers_count_for_no_address_once_they_read(house: House) -> None:
    carriers = []
    for _ in range(5):
        carrier = Carrier(peerAddress=IPv4Address("TCP", "192.0.2.1", 4711))
        assert house.door.arrive(carrier)
        carrier.protocol = house.site.buildProtocol(carrier.getPeer())
        carrier.protocol.makeConnection(carrier)
        carrier.protocol.dataReceived(STREAM % (b"birds", b"User: 7\r\n"))
        carriers.append(carrier)
    assert len(house.door) == 5
    for carrier in carriers:
        carrier.lose()
    assert (len(house.door), house.birds.told) == (0, {})


def test_the_end_of_the_server_ends_all_and_spreads_their_return(house: House) -> None:
    readers = [house.reader(headers=b"User: %d\r\n" % n) for n in range(3)]
    house.birds.say(b"last words")
    stopped = house.streams.stopService()
    ends = [chunks(reader.value()) for reader in readers]
    assert [end[0] for end in ends] == [b"data: last words\n\n"] * 3
    assert [end[2] for end in ends] == [b""] * 3
    retries = sorted(int(end[1].split()[1]) for end in ends)
    assert retries == [1000, 4000, 7000]
    late = house.open()
    assert late.value().startswith(b"HTTP/1.1 503 ")
    late.lose()
    assert len(house.clock.getDelayedCalls()) == 1  # the beat
    for reader in readers[1:]:
        reader.lose()
    assert not stopped.called
    house.turn(1)
    house.turn(1)
    assert [reader.aborted for reader in readers] == [True, False, False]
    readers[0].lose()
    assert stopped.called
    assert not house.clock.getDelayedCalls()


def test_a_stream_is_described_with_its_events(house: House) -> None:
    described = openapi([TalkSubject.talk], "1")["paths"]["/talk/{about}"]["get"]
    assert described["responses"]["200"]["content"] == {
        "text/event-stream": {"x-events": {"message": {"type": "integer"}}}
    }


# ---- on real sockets ---------------------------------------------------------------


class Client(Protocol):
    def __init__(self) -> None:
        self.heard = b""
        self.closed: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(STREAM % (b"birds", b"User: 7\r\n"))

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(None)


@story
async def test_on_a_real_socket_a_reader_that_does_not_read_holds_nobody_up() -> None:
    from twisted.internet import reactor

    house = House(reactor)
    port = reactor.listenTCP(0, house.front, interface="127.0.0.1")
    endpoint_ = HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port)
    stuck = await connectProtocol(endpoint_, Client())
    other = await connectProtocol(endpoint_, Client())
    stuck.transport.pauseProducing()
    said = b"x" * 65_536
    deadline = reactor.seconds() + 10
    while house.metric("slow_readers_total") == 0:
        assert reactor.seconds() < deadline
        if len(house.streams) == 2:
            house.birds.say(said)
        await deferLater(reactor, 0.001)
    house.birds.say(b"the end")
    while b"data: the end\n\n" not in other.heard[-200:]:
        assert reactor.seconds() < deadline
        await deferLater(reactor, 0.001)
    _, _, body = other.heard.partition(b"\r\n\r\n")
    assert set(chunks(body)[1:-1]) == {b"data: %b\n\n" % said}
    await house.streams.stopService()
    await other.closed
    assert other.heard.endswith(b"0\r\n\r\n")
    stuck.transport.abortConnection()
    await stuck.closed
    await port.stopListening()
    house.api.stopService()
    assert len(house.door) == 0
