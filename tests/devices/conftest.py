"""Lights that a test sets, a clock, and devices that speak in bytes."""

from base64 import b64encode
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import md5, sha256
from itertools import count

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import SSL
from prometheus_client import CollectorRegistry
from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Factory, Protocol, ServerFactory
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test import iosim
from twisted.web.pages import notFound
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from zope.interface import implementer

from voicestatus.core.addresses import Addresses
from voicestatus.core.admission import Limits
from voicestatus.core.chip import Chip
from voicestatus.core.errors import StoreError
from voicestatus.core.fleet import Enrolment
from voicestatus.core.lights import Light, RuleText
from voicestatus.core.manifest import Manifest, sign
from voicestatus.core.release import release_id
from voicestatus.devices import service
from voicestatus.devices.door import Door
from voicestatus.devices.fanout import DIRECT, QUEUED
from voicestatus.devices.metrics import DeviceMetrics, DoorMetrics
from voicestatus.devices.registry import Registry
from voicestatus.devices.service import BEAT_S, DeviceFactory, DeviceService
from voicestatus.devices.wire import Offer
from voicestatus.simulator.images import make_image
from voicestatus.store.documents import Change
from voicestatus.store.memory import MemoryStore
from voicestatus.web.front import Front, UpgradeResource

UPGRADE = (
    b"GET %b HTTP/1.1\r\n"
    b"Host: sign.example:8080\r\n"
    b"Connection: Upgrade\r\n"
    b"Upgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: arduino\r\n"
    b"Origin: file://\r\n"
    b"User-Agent: arduino-WebSocket-Client\r\n\r\n"
)


class SettableLights:
    """The `Lights` port, with lights that a test sets."""

    def __init__(self) -> None:
        self.light = Light(known=True, on=True, count=1)
        self._lights: dict[RuleText, Light] = {}
        self.followers: dict[RuleText, list[Callable[[Light], object]]] = defaultdict(
            list
        )
        self.counted: dict[RuleText, int] = defaultdict(int)
        """How many follow each rule's count."""

    def follow(
        self, rule: RuleText, tell: Callable[[Light], object], *, counted: bool = False
    ) -> Callable[[], object]:
        self.followers[rule].append(tell)
        self.counted[rule] += counted
        tell(self._lights.get(rule, self.light))

        def leave() -> None:
            self.followers[rule].remove(tell)
            self.counted[rule] -= counted

        return leave

    def set(self, light: Light, rule: RuleText | None = None) -> None:
        """Change the light of all groups, or of one."""
        if rule is None:
            self.light = light
            self._lights.clear()
        else:
            self._lights[rule] = light
        for at, tells in tuple(self.followers.items()):
            for tell in tuple(tells) if rule in {None, at} else ():
                tell(light)


@pytest.fixture
def lights() -> SettableLights:
    return SettableLights()


@pytest.fixture
def clock() -> task.Clock:
    return task.Clock()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def addresses() -> Addresses:
    return Addresses()


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def door(clock, registry, limits, addresses) -> Door:
    return Door(clock, DoorMetrics(registry), limits, addresses)


@pytest.fixture
def metrics(registry) -> DeviceMetrics:
    return DeviceMetrics(registry)


@pytest.fixture
def wall(clock) -> Callable[[], float]:
    """Wall time, in step with the clock."""
    return lambda: 1_800_000_000 + clock.seconds()


class CountingStore(MemoryStore):
    """A store that counts its writes, and can be made to wait or to refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[tuple[Change, ...]] = []
        self.problem_with_reads = self.problem_with_writes = None
        self.gate: Deferred | None = None
        self.syncing: Deferred | None = None
        """What `sync` waits for, where a test sets it."""

    async def sync(self) -> None:
        if self.syncing is not None:
            await self.syncing

    async def list(self, kind, parent=None):
        if self.problem_with_reads is not None:
            raise StoreError(self.problem_with_reads)
        return await super().list(kind, parent)

    async def get(self, kind, id_):
        if self.problem_with_reads is not None:
            raise StoreError(self.problem_with_reads)
        return await super().get(kind, id_)

    async def write(self, *changes: Change) -> int:
        self.writes.append(changes)
        if self.gate is not None:
            await self.gate
        if self.problem_with_writes is not None:
            raise StoreError(self.problem_with_writes)
        return await super().write(*changes)

    def hold(self) -> Callable[[], None]:
        """Let writes wait until what is returned is called."""
        gate = self.gate = Deferred()

        def go_on() -> None:
            self.gate = None
            gate.callback(None)

        return go_on

    def __repr__(self) -> str:
        return f"CountingStore({len(self.writes)} writes)"


@pytest.fixture
def store() -> CountingStore:
    kept = CountingStore()
    kept.startService()
    return kept


@pytest.fixture
def make_token() -> Callable[[], str]:
    """Tokens that a test knows beforehand: 1, 2 and so on, with dots before them."""
    numbers = count(1)
    return lambda: f"{next(numbers):A>43}"


@pytest.fixture
def enrolment() -> Enrolment:
    return Enrolment.OPEN


@pytest.fixture
def make_table(
    store, clock, metrics, enrolment, wall, make_token
) -> Iterator[Callable[..., Registry]]:
    """Start a registry over the store; give another one to restart."""
    running: list[Registry] = []

    def make(**other: object) -> Registry:
        table = Registry(
            store,
            clock,
            metrics,
            **{
                "enrolment": enrolment,
                "wall": wall,
                "make_token": make_token,
                **other,
            },
        )
        table.startService()
        running.append(table)
        return table

    yield make
    for table in running:
        if table.running:
            table.stopService()


@pytest.fixture
def table(make_table) -> Registry:
    return make_table()


@pytest.fixture
def devices(lights, clock, metrics, door, table, wall) -> Iterator[DeviceFactory]:
    """A factory whose service runs; the token is `secret`."""
    factory = DeviceFactory(lights, b"secret", clock, metrics, door, table, wall)
    running = DeviceService(factory, clock)
    running.startService()
    yield factory
    running.stopService()
    clock.advance(service.LEAVE_WITHIN_S)
    factory.cut_off()


@pytest.fixture(scope="session")
def offer() -> Offer:
    """The offer of the documentation and of the vectors: an image, really signed."""
    image = make_image(Chip.ESP8266, 412_000, version="1.5.0", build=15)
    digest = sha256(image).hexdigest()
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    manifest = Manifest(
        chip=Chip.ESP8266,
        version="1.5.0",
        build=15,
        floor=14,
        size_bytes=len(image),
        sha256=digest,
    )
    release = release_id(Chip.ESP8266, 15, digest)
    return Offer(
        release=release,
        path=f"/ota/images/{release}/Zk3vN0c8Qm1xT5yRb7uE2pLw9sHd4aJgKf6iOqXnVtM",
        md5=md5(image).hexdigest(),
        chip=Chip.ESP8266,
        version="1.5.0",
        size_bytes=len(image),
        sha256=digest,
        manifest=b64encode(sign(manifest, key)).decode(),
    )


@pytest.fixture
def pass_time(clock) -> Callable[[float], None]:
    """Let time pass in beats, as it does under a reactor."""
    return lambda seconds: clock.pump([BEAT_S] * round(seconds / BEAT_S))


@pytest.fixture
def upgrade() -> Callable[..., bytes]:
    """An upgrade request as the devices' library makes it."""
    return lambda path=b"/ws": UPGRADE % path


@pytest.fixture
def masked() -> Callable[..., bytes]:
    """A frame from a device; the mask is fixed unless given, None leaves it out.

    `wide` writes the length in so many bytes, `claims` writes another length.
    """

    def frame(
        opcode: int,
        payload: bytes = b"",
        *,
        fin: bool = True,
        rsv: int = 0,
        mask: bytes | None = b"\x37\xfa\x21\x3d",
        wide: int | None = None,
        claims: int | None = None,
    ) -> bytes:
        size = len(payload) if claims is None else claims
        if wide is None:
            wide = 0 if size < 126 else 2 if size < 65536 else 8
        first = bytes([opcode | rsv << 4 | (0x80 if fin else 0)])
        second = {0: size, 2: 126, 8: 127}[wide] | (0x80 if mask else 0)
        key = mask or bytes(4)
        body = bytes(c ^ key[i % 4] for i, c in enumerate(payload))
        length = size.to_bytes(wide, "big") if wide else b""
        return first + bytes([second]) + length + (mask or b"") + body

    return frame


class _Socket:
    """Takes what the direct path writes."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send

    def send(self, data: bytes) -> int:
        self._send(data)
        return len(data)


class _Transport(StringTransport):
    """A plain transport in memory, with what the direct path looks at."""

    dataBuffer, _tempDataLen, aborted = b"", 0, False  # noqa: N815 - Twisted's name

    def __init__(self) -> None:
        super().__init__()
        self.socket = _Socket(self.write)

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's name
        self.aborted = True

    def unregisterProducer(self) -> None:  # noqa: N802 - a real one takes it always
        self.producer = None


class Talk:
    """One upgraded connection in memory, and the frames that came back."""

    def __init__(
        self, devices: DeviceFactory, path: str, target: bytes = b"/ws"
    ) -> None:
        self._transport = _Transport()
        self.device = devices.buildProtocol(None)
        self.device.makeConnection(self._transport)
        self.device.path = {"direct": DIRECT, "queued": QUEUED}[path]
        self.say(UPGRADE % target)
        assert self.heard().startswith(b"HTTP/1.1 101 ")

    def say(self, *segments: bytes) -> "Talk":
        """Let segments arrive, one after another."""
        for segment in segments:
            self._deliver(segment)
        return self

    def _deliver(self, segment: bytes) -> None:
        self.device.dataReceived(segment)

    def heard(self) -> bytes:
        """Return what came back since this was last asked."""
        data = self._transport.value()
        self._transport.clear()
        if self._transport.producer is not None:  # all has left: there is room again
            self._transport.producer.resumeProducing()
            return data + self.heard()
        return data

    @property
    def ended(self) -> bool:
        """Whether the server has ended the stream."""
        return self._transport.disconnecting

    @property
    def cut_off(self) -> bool:
        return self._transport.aborted


class TlsTalk(Talk):
    """The same, with real TLS between both ends."""

    def __init__(
        self,
        devices: DeviceFactory,
        clock: task.Clock,
        certified: "Tls",
        target: bytes = b"/ws",
    ) -> None:
        trusting = Tls(SSL.Context(SSL.TLS_CLIENT_METHOD))
        self._clock, self._peer = clock, Peer()
        server = TLSMemoryBIOFactory(certified, False, devices, clock)
        dialler = Factory.forProtocol(lambda: self._peer)
        client = TLSMemoryBIOFactory(trusting, True, dialler, clock)
        near, far = server.buildProtocol(None), client.buildProtocol(None)
        self._pump = iosim.connect(
            near,
            iosim.FakeTransport(near, isServer=True),
            far,
            iosim.FakeTransport(far, isServer=False),
        )
        self.device = near.wrappedProtocol
        self.say(UPGRADE % target)
        assert self.heard().startswith(b"HTTP/1.1 101 ")

    def _deliver(self, segment: bytes) -> None:
        self._peer.write(segment)
        self._flush()

    def _flush(self) -> None:
        # TLS collects small writes until the reactor turns.
        self._clock.advance(0)
        self._pump.flush()
        self._clock.advance(0)
        self._pump.flush()

    def heard(self) -> bytes:
        self._flush()
        return self._peer.take(len(self._peer.data))

    @property
    def ended(self) -> bool:
        self._flush()
        return self._peer.lost

    cut_off = ended


@pytest.fixture(params=["direct", "queued", "tls"])
def talk(request, devices, clock, certified) -> Callable[[], Talk]:
    """Open a connection in memory, over each path to a device."""
    if request.param == "tls":
        return lambda *target: TlsTalk(devices, clock, certified, *target)
    return lambda *target: Talk(devices, request.param, *target)


class Peer(Protocol):
    """A client that writes bytes and keeps what comes back."""

    def __init__(self) -> None:
        self.data, self.lost = bytearray(), False

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def take(self, size: int) -> bytes:
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Wait on the real reactor until a condition holds, at most 5 s."""
    from twisted.internet import reactor

    async def until(condition: Callable[[], object]) -> None:
        end = reactor.seconds() + 5
        while not condition():
            assert reactor.seconds() < end, "it never came"
            await task.deferLater(reactor, 0.001)

    return until


@pytest.fixture
def settled() -> Callable[[], Awaitable[None]]:
    """Let everything that is under way on loopback arrive."""
    from twisted.internet import reactor

    async def wait() -> None:
        for _ in range(8):
            await task.deferLater(reactor, 0.001)

    return wait


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
class Tls:
    """One side of TLS. Twisted's own hands pyOpenSSL objects that it warns of."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def serverConnectionForTLS(self, protocol: Protocol) -> SSL.Connection:  # noqa: N802
        return SSL.Connection(self._context, None)

    clientConnectionForTLS = serverConnectionForTLS  # noqa: N815


@pytest.fixture(scope="session")
def certified() -> Tls:
    """A server's side of TLS, with a certificate made for this run."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_privatekey(key)
    context.use_certificate(
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return Tls(context)


@dataclass
class Line:
    """A way to a front: where it listens, and how a peer gets there."""

    listen: Callable[[ServerFactory], Deferred]
    client: Callable[[int], object]
    peers: list[Peer] = field(default_factory=list)
    port: object = None

    @asynccontextmanager
    async def serving(self, front: ServerFactory) -> AsyncIterator[None]:
        """Listen; in the end no socket is left open."""
        from twisted.internet import reactor

        self.port = await self.listen(front)
        try:
            yield
        finally:
            await self.port.stopListening()
            for peer in self.peers:
                if not peer.lost:
                    peer.transport.abortConnection()
            for _ in range(8):
                await task.deferLater(reactor, 0.001)

    async def dial(self, peer: Peer | None = None) -> Peer:
        number = getattr(self.port.getHost(), "port", 0)
        peer = peer or Peer()
        await endpoints.connectProtocol(self.client(number), peer)
        self.peers.append(peer)
        return peer


@pytest.fixture
def carrier() -> str:
    """What carries the bytes: tcp (the direct path), tls or unix (the queued one)."""
    return "tcp"


@pytest.fixture
def line(carrier, certified, tmp_path) -> Line:
    from twisted.internet import reactor

    if carrier == "unix":
        path = str(tmp_path / "front")
        return Line(
            endpoints.UNIXServerEndpoint(reactor, path).listen,
            lambda _: endpoints.UNIXClientEndpoint(reactor, path),
        )
    if carrier == "tls":
        server = endpoints.SSL4ServerEndpoint(
            reactor, 0, certified, interface="127.0.0.1"
        )
        # As the devices do (`setInsecure`), it does not ask who the server is.
        trusting = Tls(SSL.Context(SSL.TLS_CLIENT_METHOD))
        return Line(
            server.listen,
            lambda port: endpoints.SSL4ClientEndpoint(
                reactor, "127.0.0.1", port, trusting
            ),
        )
    return Line(
        endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen,
        lambda port: endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", port),
    )


class Page(Resource):
    """Something that is no WebSocket."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return b"a page"

    def render_POST(self, request: Request) -> bytes:
        return request.content.read()


class Root(Resource):
    def getChild(self, path: bytes, request: Request) -> Resource:
        return notFound()


@pytest.fixture
def front(clock, devices, door) -> Front:
    """The one port: devices on /ws, a page elsewhere."""
    root = Root()
    root.putChild(b"ws", UpgradeResource(devices))
    root.putChild(b"page", Page())
    return Front(clock, Site(root, reactor=clock), {b"/ws": devices}, door)
