"""From a light to sockets: one group a scope, one frame a change, no backlog.

The only file that relies on how Twisted's transports work inside; the bounds in
setup.cfg and the conformance tests, which run over both paths, hold that together.
"""

from collections.abc import Callable, Iterable
from errno import ENOBUFS, EWOULDBLOCK
from functools import partial
from typing import Any, Protocol

from twisted.internet import tcp, unix
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IPullProducer
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from voicestatus.core.lights import Light, Scope
from voicestatus.core.ports import Lights
from voicestatus.devices.metrics import DeviceMetrics
from voicestatus.devices.wire import OK, frame_of

READ_BYTES = 4096

Transport = Any
"""Twisted has no one type for what tcp.Server and its wrappers can do."""


class Path(Protocol):
    """A way to a peer."""

    confirms: bool
    """Whether what was offered is known to have left only when `when_free` tells."""

    def put(self, transport: Transport, data: bytes) -> None:
        """Deliver bytes, in order, now or later; none is lost but with the peer."""
        ...

    def offer(self, transport: Transport, frame: bytes) -> bool:
        """Send a frame if nothing is pending; False: nothing of it was sent."""
        ...

    def when_free(self, transport: Transport, tell: Callable[[], object]) -> None:
        """Tell once, when all that is pending has left; never if the peer is lost."""
        ...

    def pending_bytes(self, transport: Transport) -> int:
        """Return how much waits in this process."""
        ...


@implementer(IPullProducer)
class _Room:
    """Tells once that a transport's buffer has run empty.

    A pull producer is asked for more whenever that happens, and once when it is
    registered. It unregisters itself, so that a later `loseConnection` gets through.
    """

    def __init__(self, transport: Transport, tell: Callable[[], object]) -> None:
        self._transport, self._tell = transport, tell
        self._registered = False
        transport.registerProducer(self, False)
        self._registered = True

    def resumeProducing(self) -> None:
        if self._registered:
            self._transport.unregisterProducer()
            self._tell()

    def stopProducing(self) -> None:
        """Take it that the connection is lost; its protocol hears of that itself."""


class Direct:
    """Writes to the socket itself while the transport has nothing pending.

    One system call a frame. Twisted's `write` needs three (it registers for
    writability, sends, and unregisters), which made the last of 10,000 devices wait
    265 ms instead of 103.
    """

    confirms = False

    def put(self, transport: Transport, data: bytes) -> None:
        if not self.offer(transport, data):
            transport.write(data)

    def offer(self, transport: Transport, frame: bytes) -> bool:
        if transport.dataBuffer or transport._tempDataLen:  # noqa: SLF001
            return False
        if not transport.connected or transport.disconnecting:
            return True
        try:
            sent = transport.socket.send(frame)
        except OSError as e:
            # Any other error means a lost peer: Twisted finds that by its own read.
            return e.errno not in {EWOULDBLOCK, ENOBUFS}
        if sent < len(frame):
            transport.write(frame[sent:])
        return True

    def offer_all(self, signs: Iterable["Sign"], frame: bytes) -> list["Sign"]:
        """Offer a frame to many; return those for whom nothing was done yet.

        What nearly always happens stands in the loop itself: a call for each sign
        would be half of what all of Python costs here.
        """
        size, left = len(frame), []
        for sign in signs:
            transport = sign.transport
            if (
                transport.dataBuffer
                or transport._tempDataLen  # noqa: SLF001
                or transport.disconnecting
            ):
                left.append(sign)
                continue
            try:
                sent = transport.socket.send(frame)
            except (OSError, AttributeError):  # full, or lost and without a socket
                left.append(sign)
                continue
            if sent < size:
                transport.write(frame[sent:])
        return left

    def when_free(self, transport: Transport, tell: Callable[[], object]) -> None:
        _Room(transport, tell)
        # The socket may be full while nothing is buffered here.
        transport.startWriting()

    def pending_bytes(self, transport: Transport) -> int:
        return _buffered(transport)


class Queued:
    """Writes through the transport, whatever it is: TLS, a wrapper, a Unix socket."""

    confirms = True

    def put(self, transport: Transport, data: bytes) -> None:
        transport.write(data)

    def offer(self, transport: Transport, frame: bytes) -> bool:
        transport.write(frame)
        return True

    def when_free(self, transport: Transport, tell: Callable[[], object]) -> None:
        # TLS keeps no count of what it was given: the buffer below it is watched.
        _Room(_bottom(transport), tell)

    def pending_bytes(self, transport: Transport) -> int:
        return _buffered(_bottom(transport))


DIRECT, QUEUED = Direct(), Queued()


def path_to(transport: Transport) -> Path:
    """Choose the shortest safe path.

    Under TLS, and any wrapper, `transport.socket` is the plain socket by attribute
    forwarding: to write there would put plaintext into the stream. So the direct
    path is for exactly one class, and not for what "has a socket".
    """
    if type(transport) is tcp.Server and not transport.TLS:
        return DIRECT
    return QUEUED


def tune(transport: Transport) -> None:
    """Send each frame at once, and read little at a time.

    Twisted reads 64 KiB from a connection before it turns to the next. In frames of
    one byte they take a tenth of a second, in which no other sign is told its light.
    """
    bottom = _bottom(transport)
    # A Unix transport is a TCP transport to Twisted, but has no such option.
    if isinstance(bottom, tcp.Server):
        bottom.bufferSize = READ_BYTES
        if not isinstance(bottom, unix.Server):
            bottom.setTcpNoDelay(True)


def turn_away(transport: Transport) -> None:
    """End a connection that has only just been made, at once.

    Twisted accepts hundreds before the reactor turns, and `abortConnection` ends one
    in the next turn: until then each of them would keep its file open.
    """
    bottom = _bottom(transport)
    if isinstance(bottom, tcp.Server):
        bottom.connectionLost(Failure(ConnectionAborted()))
    else:
        transport.abortConnection()


def _bottom(transport: Transport) -> Transport:
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


def _buffered(transport: Transport) -> int:
    # `dataBuffer` keeps what was sent of it until all is: that much is overcounted.
    waiting = getattr(transport, "_tempDataLen", 0)
    return len(getattr(transport, "dataBuffer", b"")) + waiting


class Sign(Protocol):
    """What a group asks of a connected device."""

    transport: Transport
    path: Path

    def fail(self) -> None:
        """End the connection at once: something of ours broke on it."""
        ...


class Group:
    """All signs with one scope. Follows their light once.

    A light is a level, not an event: a sign that cannot take a frame yet is late,
    and gets the newest one when it can, or none if that is what it shows already.
    """

    _log = Logger()

    def __init__(
        self,
        lights: Lights,
        scope: Scope,
        metrics: DeviceMetrics,
        flipped: Callable[[], object],
    ) -> None:
        self.scope = scope
        self._metrics, self._flipped = metrics, flipped
        self._frame: bytes | None = None
        self._near: set[Sign] = set()
        """Signs on the direct path."""
        self._far: set[Sign] = set()
        self._late: dict[Sign, bytes | None] = {}
        self._leave_lights = lights.follow(scope, self._tell)

    def __len__(self) -> int:
        return len(self._near) + len(self._far)

    def close(self) -> None:
        self._leave_lights()

    def join(self, sign: Sign) -> None:
        """Welcome a sign: `OK` and the light are two messages in one write."""
        (self._near if sign.path is DIRECT else self._far).add(sign)
        sign.path.put(sign.transport, OK + (self._frame or b""))

    def leave(self, sign: Sign) -> None:
        self._near.discard(sign)
        self._far.discard(sign)
        self._late.pop(sign, None)

    def _tell(self, light: Light) -> None:
        before, self._frame = self._frame, frame_of(light)
        if self._frame is None or self._frame == before or not len(self):
            return
        frame, late = self._frame, self._late
        near = self._near.difference(late) if late else tuple(self._near)
        left = DIRECT.offer_all(near, frame)
        direct, queued, superseded = len(near) - len(left), 0, 0
        for sign in [*left, *late, *(self._far.difference(late))]:
            try:
                if sign in late:
                    superseded += 1
                elif (path := sign.path).offer(sign.transport, frame):
                    if path.confirms:
                        queued += 1
                        self._wait(sign, frame)
                    else:
                        direct += 1
                else:
                    self._wait(sign, before)
            except Exception:  # noqa: BLE001 - one sign must not darken the others
                self._fail(sign)
        self._flipped()
        self._metrics.direct.inc(direct)
        self._metrics.queued.inc(queued)
        self._metrics.superseded.inc(superseded)

    def _wait(self, sign: Sign, shown: bytes | None) -> None:
        """Come back to a sign that was last given `shown`; None: nobody knows."""
        self._late[sign] = shown
        sign.path.when_free(sign.transport, partial(self._catch_up, sign))

    def _catch_up(self, sign: Sign) -> None:
        if sign not in self._late:
            return
        shown, frame = self._late.pop(sign), self._frame
        if frame is None or frame == shown:
            return
        try:
            taken = sign.path.offer(sign.transport, frame)
            if taken:
                self._metrics.queued.inc()
            if not taken or sign.path.confirms:
                self._wait(sign, frame if taken else shown)
        except Exception:  # noqa: BLE001 - called by the reactor
            self._fail(sign)

    def _fail(self, sign: Sign) -> None:
        self._log.failure("a device could not be told its light and is dropped")
        self.leave(sign)
        sign.fail()


class Fanout:
    """The groups that exist: one for each scope that a connected sign asked for."""

    def __init__(self, lights: Lights, metrics: DeviceMetrics) -> None:
        self._lights, self._metrics = lights, metrics
        self._groups: dict[Scope, Group] = {}
        self.flips = 0
        """How many changes of a group's light were written to its signs."""

    def join(self, sign: Sign, scope: Scope) -> Group:
        """Welcome a sign into the group of its scope."""
        group = self._groups.get(scope)
        if group is None:
            group = self._groups[scope] = Group(
                self._lights, scope, self._metrics, self._flipped
            )
        group.join(sign)
        return group

    def leave(self, sign: Sign, group: Group) -> None:
        """Let a sign go; a group that nobody is in any more is closed."""
        group.leave(sign)
        if not group and group.scope in self._groups:
            del self._groups[group.scope]
            group.close()

    def __len__(self) -> int:
        return len(self._groups)

    def _flipped(self) -> None:
        self.flips += 1
        self._metrics.flips.inc()
