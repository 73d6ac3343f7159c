"""From a light to sockets: one group a rule, one frame a change, no backlog.

The only file that relies on how Twisted's transports work inside; the bounds in
setup.cfg and the conformance tests, which run over both paths, hold that together.
"""

from collections.abc import Callable, Iterable
from errno import ENOBUFS, EWOULDBLOCK
from functools import partial
from typing import Any, Protocol, TypeVar

from twisted.internet import tcp, unix
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IPullProducer
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from voicestatus.core.lights import NOTHING_TO_SHOW, Light, RuleText
from voicestatus.core.ports import Lights
from voicestatus.devices.metrics import DeviceMetrics
from voicestatus.devices.wire import OK, frame_of, rich_frame_of, texts_in

READ_BYTES = 4096

Transport = Any
"""Twisted has no one type for what tcp.Server and its wrappers can do."""


class Peer(Protocol):
    """Who is written to."""

    transport: Transport


P = TypeVar("P", bound=Peer)


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

    def offer_all(self, peers: Iterable[P], frame: bytes) -> list[P]:
        """Offer a frame to many; return those for whom nothing was done yet.

        What nearly always happens stands in the loop itself: a call for each peer
        would be half of what all of Python costs here.
        """
        size, left = len(frame), []
        for peer in peers:
            transport = peer.transport
            if (
                transport.dataBuffer
                or transport._tempDataLen  # noqa: SLF001
                or transport.disconnecting
            ):
                left.append(peer)
                continue
            try:
                sent = transport.socket.send(frame)
            except (OSError, AttributeError):  # full, or lost and without a socket
                left.append(peer)
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
    """What a crowd asks of a connected device."""

    transport: Transport
    path: Path
    crowd: "Crowd | None"
    """Where it stands now; kept by the crowd."""
    joined_at: float

    def fail(self) -> None:
        """End the connection at once: something of ours broke on it."""
        ...


KEPT_FRAMES = 8
"""How many of the last frames a crowd remembers, for who asks why."""


class Crowd:
    """Signs that are sent the same bytes.

    A light is a level, not an event: a sign that cannot take a frame yet is late,
    and gets the newest one when it can, or none if that is what it shows already.
    """

    _log = Logger()

    def __init__(
        self, group: "Group", metrics: DeviceMetrics, wall: Callable[[], float]
    ) -> None:
        self.group = group
        self._metrics, self._wall = metrics, wall
        self._frame: bytes | None = None
        self._frames: tuple[tuple[float, bytes], ...] = ()
        self._near: set[Sign] = set()
        """Signs on the direct path."""
        self._far: set[Sign] = set()
        self._late: dict[Sign, bytes | None] = {}

    def __len__(self) -> int:
        return len(self._near) + len(self._far)

    def welcome(self, sign: Sign) -> None:
        """Take a new sign: `OK` and the light are two messages in one write."""
        self._add(sign)
        sign.path.put(sign.transport, OK + (self._frame or b""))

    def take_over(self, sign: Sign) -> None:
        """Take a sign from another crowd; what it shows already is not sent."""
        before = sign.crowd
        late = before is not None and sign in before._late  # noqa: SLF001 - one class
        shown = None if before is None else before.shown_by(sign)
        if before is not None:
            before.leave(sign)
        self._add(sign)
        if late:
            self._late[sign] = shown  # it comes back by itself
        elif self._frame is not None and self._frame != shown:
            self._offer(sign, self._frame, shown)

    def leave(self, sign: Sign) -> None:
        self._remove(sign)
        sign.crowd = None

    def shown_by(self, sign: Sign) -> bytes | None:
        """Return the frame that a sign was last given; None: nobody knows."""
        return self._late.get(sign, self._frame)

    def texts_since(self, joined_at: float) -> tuple[tuple[float, str], ...]:
        """Return the last texts, from the one that was shown at that time on."""
        frames = self._frames
        first = sum(at <= joined_at for at, _ in frames) - 1
        return tuple(
            (max(at, joined_at), text)
            for at, frame in frames[max(first, 0) :]
            for text in texts_in(frame)
        )

    def show(self, frame: bytes | None) -> bool:
        """Send a frame to all; False: there was nothing to send, or nobody."""
        before, self._frame = self._frame, frame
        if frame is None or frame == before:
            return False
        self._frames = (*self._frames[1 - KEPT_FRAMES :], (self._wall(), frame))
        if not len(self):
            return False
        late = self._late
        near = self._near.difference(late) if late else tuple(self._near)
        left = DIRECT.offer_all(near, frame)
        self._metrics.direct.inc(len(near) - len(left))
        self._metrics.superseded.inc(len(late))
        for sign in [*left, *self._far.difference(late)]:
            self._offer(sign, frame, before)
        return True

    def _offer(self, sign: Sign, frame: bytes, shown: bytes | None) -> None:
        """Send one sign a frame; it was last given `shown`."""
        try:
            if not sign.path.offer(sign.transport, frame):
                self._wait(sign, shown)
            elif sign.path.confirms:
                self._metrics.queued.inc()
                self._wait(sign, frame)
            else:
                self._metrics.direct.inc()
        except Exception:  # noqa: BLE001 - one sign must not darken the others
            self._fail(sign)

    def _wait(self, sign: Sign, shown: bytes | None) -> None:
        """Come back to a sign that was last given `shown`; None: nobody knows."""
        if sign.crowd is self:
            self._late[sign] = shown
            sign.path.when_free(sign.transport, partial(_catch_up, sign))

    def catch_up(self, sign: Sign) -> None:
        """Take it that a sign can take a frame again."""
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

    def _add(self, sign: Sign) -> None:
        (self._near if sign.path is DIRECT else self._far).add(sign)
        sign.crowd, sign.joined_at = self, self._wall()

    def _remove(self, sign: Sign) -> None:
        self._near.discard(sign)
        self._far.discard(sign)
        self._late.pop(sign, None)

    def _fail(self, sign: Sign) -> None:
        self._log.failure("a device could not be told its light and is dropped")
        self._remove(sign)
        sign.fail()


def _catch_up(sign: Sign) -> None:
    # It may stand in another crowd than the one that began to wait for it.
    if sign.crowd is not None:
        sign.crowd.catch_up(sign)


class Group:
    """All signs with one rule. Follows their light once."""

    def __init__(
        self,
        lights: Lights,
        rule: RuleText,
        metrics: DeviceMetrics,
        wall: Callable[[], float],
        flipped: Callable[[], object],
    ) -> None:
        self.rule, self.light = rule, NOTHING_TO_SHOW
        self._lights, self._metrics, self._wall = lights, metrics, wall
        self._flipped = flipped
        self._crowds: dict[bool, Crowd] = {}
        """Of signs that know `1` and `0` (False), and of those that know more."""
        self._leave_lights = lights.follow(rule, self._tell, counted=False)

    def __len__(self) -> int:
        return sum(map(len, self._crowds.values()))

    def crowd(self, *, rich: bool) -> Crowd:
        """Return where a sign of that kind stands."""
        crowd = self._crowds.get(rich)
        if crowd is None:
            crowd = Crowd(self, self._metrics, self._wall)
            crowd.show(_frame(self.light, rich=rich))
            self._crowds[rich] = crowd
            if rich:
                self._follow(counted=True)
        return crowd

    def tidy(self) -> None:
        """Give up what nobody needs any more."""
        if (rich := self._crowds.get(True)) is not None and not rich:
            del self._crowds[True]
            self._follow(counted=False)

    def close(self) -> None:
        self._leave_lights()

    def _follow(self, *, counted: bool) -> None:
        # The new way first: left by everybody, the light would lose its timers.
        leave, self._leave_lights = (
            self._leave_lights,
            self._lights.follow(self.rule, self._tell, counted=counted),
        )
        leave()

    def _tell(self, light: Light) -> None:
        self.light = light
        flips = [
            crowd.show(_frame(light, rich=rich))
            for rich, crowd in tuple(self._crowds.items())
        ]
        if any(flips):
            self._flipped()


def _frame(light: Light, *, rich: bool) -> bytes | None:
    return rich_frame_of(light) if rich else frame_of(light)


class Fanout:
    """The groups that exist: one for each rule that a connected sign follows."""

    def __init__(
        self, lights: Lights, metrics: DeviceMetrics, wall: Callable[[], float]
    ) -> None:
        self._lights, self._metrics, self._wall = lights, metrics, wall
        self._groups: dict[RuleText, Group] = {}
        self.flips = 0
        """How many changes of a group's light were written to its signs."""

    def join(self, sign: Sign, rule: RuleText) -> None:
        """Welcome a sign into the group of its rule."""
        self._group(rule).crowd(rich=False).welcome(sign)

    def move(self, sign: Sign, rule: RuleText, *, rich: bool) -> None:
        """Let a sign show another rule's light, or the same in another form."""
        before, crowd = sign.crowd, self._group(rule).crowd(rich=rich)
        if before is not None and crowd is not before:
            crowd.take_over(sign)
            self._tidy(before.group)

    def leave(self, sign: Sign) -> None:
        """Let a sign go; a group that nobody is in any more is closed."""
        if (crowd := sign.crowd) is not None:
            crowd.leave(sign)
            self._tidy(crowd.group)

    def __len__(self) -> int:
        return len(self._groups)

    def _group(self, rule: RuleText) -> Group:
        group = self._groups.get(rule)
        if group is None:
            group = self._groups[rule] = Group(
                self._lights, rule, self._metrics, self._wall, self._flipped
            )
        return group

    def _tidy(self, group: Group) -> None:
        if group:
            group.tidy()
        elif self._groups.get(group.rule) is group:
            del self._groups[group.rule]
            group.close()

    def _flipped(self) -> None:
        self.flips += 1
        self._metrics.flips.inc()
