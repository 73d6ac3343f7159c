"""Downloads over a real port, as devices make them: at their pace, and cut off."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from voicestatus.core.chip import Chip
from voicestatus.ota.incoming import Terms

WITHIN_S = 20.0
LARGE_BYTES = 2_000_000
WINDOW_BYTES = 5744
"""A device's receive window. Source: lwIP as the devices' core builds it, 4 * MSS."""
REQUEST = (
    "GET {path} HTTP/1.0\r\n"
    "Host: 127.0.0.1\r\n"
    "User-Agent: ESP32-http-Update\r\n"
    "Connection: keep-alive\r\n"
    "Cache-Control: no-cache\r\n"
    "x-ESP32-STA-MAC: 7C:DF:A1:00:00:01\r\n"
    "x-ESP32-free-space: 2097152\r\n"
    "x-ESP32-mode: sketch\r\n"
    "{more}\r\n"
)


class Reader(Protocol):
    """Reads to the end, if need be with a pause after each piece."""

    def __init__(self, request: bytes, pause_s: float = 0) -> None:
        self._request, self._pause_s = request, pause_s
        self.data = bytearray()
        self.done: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        from twisted.internet import reactor

        self.data += data
        if self._pause_s:
            self.transport.pauseProducing()
            reactor.callLater(self._pause_s, self.transport.resumeProducing)

    def connectionLost(self, reason: Any) -> None:
        self.done.callback(bytes(self.data))


class Stand:
    """A release behind the front of a real port."""

    def __init__(self, side: Any, port: int) -> None:
        self.side, self.port = side, port
        self.fetched: list[Any] = []
        side.ota.downloads.subscribe(self.fetched.append)

    async def publish(self, files: dict[str, bytes]) -> None:
        incoming = self.side.ota.catalogue.incoming()
        await incoming.append(files["image"])
        incoming.sign(files["manifest"])
        self.image = files["image"]
        terms = Terms(legacy=True)
        self.release, _ = await self.side.ota.catalogue.add(incoming, terms)

    async def request(self, device: str = "lamp", more: str = "") -> bytes:
        path = await self.side.ota.downloads.grant(device, self.release)
        return REQUEST.format(path=path, more=more).encode()

    async def read(self, request: bytes, pause_s: float = 0) -> bytes:
        """Return what comes until the end."""
        from twisted.internet import reactor

        reader = Reader(request, pause_s)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port)
        await endpoint.connect(Factory.forProtocol(lambda: reader))
        reader.done.addTimeout(WITHIN_S, reactor)
        return await reader.done

    def dial(self, request: bytes) -> socket.socket:
        """Ask, and read nothing yet, with a device's window."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
        client.connect(("127.0.0.1", self.port))
        client.sendall(request)
        client.setblocking(False)
        return client

    async def until(self, happened: Callable[[], object]) -> None:
        from twisted.internet import reactor

        deadline = reactor.seconds() + WITHIN_S
        while not happened():
            assert reactor.seconds() < deadline
            await deferLater(reactor, 0.01)

    @property
    def sent_bytes(self) -> float:
        return float(self.side.metric("voicestatus_downloads_sent_bytes_total"))


@pytest.fixture
def stand(real_side: Any, make_files: Any) -> Stand:
    return Stand(*real_side)


@pytest.fixture
def large(make_files: Any) -> dict[str, bytes]:
    files: dict[str, bytes] = make_files(14, Chip.ESP32, LARGE_BYTES)
    return files


@pytest_twisted.ensureDeferred
async def test_an_updater_gets_the_image_and_the_end_of_the_connection(
    stand: Stand, large: Any
):
    await stand.publish(large)
    head, _, body = (await stand.read(await stand.request())).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert body == stand.image
    assert b"content-length: 2000000" in head.lower()
    assert b"chunked" not in head.lower()


@pytest_twisted.ensureDeferred
async def test_two_hundred_at_once_all_get_it(stand: Stand, make_files: Any):
    await stand.publish(make_files(14, Chip.ESP32, 100_000))
    requests = [await stand.request(f"lamp-{n}") for n in range(200)]
    answers = await gatherResults(
        [
            Deferred.fromCoroutine(stand.read(request, 0.001 * (n % 3)))
            for n, request in enumerate(requests)
        ]
    )
    assert all(answer.endswith(stand.image) for answer in answers)
    assert sum(each.whole for each in stand.fetched) == 200


@pytest_twisted.ensureDeferred
async def test_who_does_not_read_is_not_sent_for(stand: Stand, large: Any):
    await stand.publish(large)
    client = stand.dial(await stand.request())
    await stand.until(lambda: stand.sent_bytes > 0)
    before = -1.0
    while before != stand.sent_bytes:  # until nothing more moves
        before = stand.sent_bytes
        await deferLater(stand.side.clock, 0.2)
    assert before < 400_000
    assert not stand.fetched[-1].whole
    client.close()
    await stand.until(lambda: stand.fetched[-1].sent_bytes)


@pytest_twisted.ensureDeferred
async def test_who_was_cut_off_goes_on_where_it_was(stand: Stand, large: Any):
    await stand.publish(large)
    request = await stand.request()
    client = stand.dial(request)
    await stand.until(lambda: stand.sent_bytes > 100_000)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()  # with a reset
    await stand.until(lambda: stand.fetched[-1].sent_bytes)
    first = stand.fetched[-1].sent_bytes // 2
    rest = request.replace(b"\r\n\r\n", b"\r\nRange: bytes=%d-\r\n\r\n" % first)
    answer = await stand.read(rest)
    assert answer.startswith(b"HTTP/1.0 206 Partial Content\r\n")
    assert answer.endswith(b"\r\n\r\n" + stand.image[first:])
    assert stand.fetched[-1].whole
