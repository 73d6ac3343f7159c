"""Devices on the network: the factory behind `WS_PATH`, and its beat."""

import json
from collections.abc import Callable, Iterable, Iterator, Sized
from functools import partial
from http import HTTPStatus
from itertools import chain
from sys import intern

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from voicestatus.core.errors import ProtocolError
from voicestatus.core.lights import EVERYTHING, NOTHING_TO_SHOW, Light, RuleText
from voicestatus.core.penalty import PenaltyBox
from voicestatus.core.ports import Lights
from voicestatus.devices.door import Door
from voicestatus.devices.fanout import (
    QUEUED,
    Crowd,
    Fanout,
    Path,
    path_to,
    tune,
)
from voicestatus.devices.frames import FrameProtocol
from voicestatus.devices.here import Here
from voicestatus.devices.keepalive import (
    PING_EVERY_S,
    SLICE,
    Deadlines,
    PingWheel,
    Seldom,
)
from voicestatus.devices.later import Later
from voicestatus.devices.metrics import DeviceMetrics
from voicestatus.devices.registry import Registry
from voicestatus.devices.session import (
    AUTH_WITHIN_S,
    Ask,
    Close,
    DeviceSession,
    Effect,
    Hear,
    Hold,
    Holding,
    Key,
    Known,
    LetIn,
    PutOff,
    Refuse,
    Remove,
    Ticket,
)
from voicestatus.devices.upgrade import Accepted, Refused, refuse
from voicestatus.devices.wire import (
    COME_BACK,
    GOING_AWAY,
    NOAUTH,
    PING,
    PONG,
    REMOVED,
    TRY_LATER,
    FromDevice,
    Hello,
    OtaReport,
    Problem,
    Status,
    decode,
    encode,
    text_frame,
)

BEAT_S = 0.5
CLOSE_WITHIN_S = 2.0
"""How long a peer has to answer a close, or to read a refusal, before it is cut off."""
LEAVE_WITHIN_S = 3.0
"""How long the whole fleet has when the server stops."""
RETRY_AFTER_S = 5
"""As long as a stranger can stay a stranger: then one more may come."""
MAX_UNREAD_BYTES = 8192
"""A device that asks for more pongs than this without reading one is no device."""
MAX_COMPLAINTS = 3
"""How often a device is told in one connection that it makes no sense."""
MAX_DIALLED = 200


class DeviceProtocol(FrameProtocol):
    """One device: moves bytes, and does what its session says."""

    factory: "DeviceFactory"
    path: Path = QUEUED
    address: str | None = None
    """The client's IP address, by a trusted proxy's word if there is one."""
    dialled = ""
    rule: RuleText = EVERYTHING
    crowd: Crowd | None = None
    joined_at = 0.0
    here: Here | None = None
    """What the registry knows of it, once it is let in."""
    slot = missed = complaints = 0

    # ---- a connection's life -------------------------------------------------------

    def connectionMade(self) -> None:
        self.path = path_to(self.transport)
        tune(self.transport)
        self.factory.waiting.add(self, self.factory.now())

    def connectionLost(self, reason: object = None) -> None:
        super().connectionLost(reason)
        self.factory.forget(self)

    def admits(self, request: Accepted) -> Refused | None:
        door = self.factory.door
        if door.addresses.believes(self.address):
            self.address = door.addresses.of(self.address, request.headers)
        if door.claim(self.transport, self.address):
            return None
        return refuse(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "Too many connections of this address",
            f"Retry-After: {RETRY_AFTER_S}",
        )

    def upgraded(self, request: Accepted) -> None:
        factory = self.factory
        if request.rule != EVERYTHING:
            self.rule = request.rule
        self.dialled = _dialled(request)
        self.session = DeviceSession(factory.key, factory.box)

    def refused(self, answer: Refused) -> None:
        self.factory.refused(self, answer)

    def violated(self, code: int, reason: str) -> None:
        self.factory.violated(self, code, reason)

    # ---- bytes and messages --------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        self.missed = 0
        super().dataReceived(data)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if isBinary:
            return
        now = self.factory.now()
        self._perform(self.session.text(payload, self.address or "", now))

    def onPong(self, payload: bytes) -> None:  # noqa: ARG002 - Autobahn's
        if self.here is not None:
            self.here.rtt_ms = self.factory.ms_since_ping(self)

    def onPing(self, payload: bytes) -> None:
        if self.state != self.STATE_OPEN:
            return  # nothing may follow a close frame
        if self.path.pending_bytes(self.transport) > MAX_UNREAD_BYTES:
            self.fail()
        elif payload:
            self.sendPong(payload)
        else:
            self.path.put(self.transport, PONG)

    def write(self, data: bytes) -> None:
        self.path.put(self.transport, data)

    def closes(self) -> None:
        self.factory.begin_to_close(self)

    # ---- what others ask of it -----------------------------------------------------

    def ping(self) -> None:
        self.path.put(self.transport, PING)

    def give_up(self) -> None:
        self.factory.metrics.dead_peers.inc()
        self.fail()

    def fail(self) -> None:
        self.transport.abortConnection()

    def time_is_up(self) -> None:
        """Take it that the time to upgrade and to say AUTH is over."""
        if self.state == self.STATE_CONNECTING:
            self.fail()
        else:
            self._perform(self.session.silence())

    def go_away(self, close: bytes = GOING_AWAY) -> None:
        """Close with a code. The light stays as it is."""
        if self.state == self.STATE_OPEN:
            # Autobahn's sendClose does not take these codes. Source: RFC 6455 7.4.1.
            self.path.put(self.transport, close)
        self.factory.begin_to_close(self)
        self.dropConnection()

    def stop(self) -> None:
        """Close because the server stops."""
        spreads = self.here is not None and self.here.protocol >= 2
        self.go_away(COME_BACK if spreads else GOING_AWAY)

    def judge_again(self) -> None:
        """Take it that the registry knows more than when a token was judged."""
        if self.state == self.STATE_OPEN:
            self._perform(self.session.once_more())

    # ---- what the registry asks of it ----------------------------------------------

    def follow(self, rule: RuleText, *, rich: bool) -> None:
        self.factory.fanout.move(self, rule, rich=rich)

    def send(self, text: bytes) -> None:
        if self.state != self.STATE_OPEN:
            return
        if self.path.pending_bytes(self.transport) > MAX_UNREAD_BYTES:
            self.fail()
        else:
            self.path.put(self.transport, text_frame(text))

    def dismiss(self, id_: str | None = None) -> None:
        self.session.end()
        self.factory.dismiss(self, id_)

    def showing(self) -> tuple[Light, tuple[tuple[float, str], ...]]:
        if self.crowd is None:
            return NOTHING_TO_SHOW, ()
        return self.crowd.group.light, self.crowd.texts_since(self.joined_at)

    # ---- what its session says -----------------------------------------------------

    def _perform(self, effects: list[Effect]) -> None:
        factory = self.factory
        for effect in effects:
            match effect:
                case LetIn(known):
                    factory.let_in(self, known)
                case Ask(token):
                    verdict, now = factory.registry.judge(token), factory.now()
                    self._perform(self.session.judged(verdict, self.address or "", now))
                case Hear(text):
                    factory.later.add(partial(self._read, text, self.here))
                case Refuse(reason):
                    self.path.put(self.transport, NOAUTH)
                    factory.turned_away(self, reason.value)
                case Hold(seconds):
                    factory.hold(self, seconds)
                case Close():
                    self.sendClose()
                case PutOff():
                    self.go_away(TRY_LATER)
                case Remove():
                    self.go_away(REMOVED)

    def _read(self, text: bytes, here: Here | None) -> None:
        # What it said last counts, too, of a device that is gone by now.
        if not self.session.read(text) or here is None:
            return
        try:
            self._take(decode(text), here)
        except ProtocolError as e:
            self.factory.metrics.invalid_texts.inc()
            self.complaints += 1
            if self.complaints <= MAX_COMPLAINTS:
                self.send(encode(Problem("INVALID_MESSAGE", str(e))))

    def _take(self, message: FromDevice, here: Here) -> None:
        registry = self.factory.registry
        match message:
            case Hello():
                registry.hello(here, message)
            case Status():
                registry.status(here, message)
            case OtaReport():
                registry.report(here, message)


def _dialled(request: Accepted) -> str:
    """Return what was dialled, with `guild` or `channel` and nothing else."""
    if request.rule == EVERYTHING:
        return intern(request.path[:MAX_DIALLED])
    ((key, (value,)),) = json.loads(request.rule).items()
    return f"{request.path[:MAX_DIALLED]}?{key.removesuffix('s')}={value}"


class DeviceFactory(ServerFactory[DeviceProtocol]):
    """Makes and keeps the devices' connections. Its `DeviceService` gives it time."""

    protocol = DeviceProtocol
    noisy = False
    isServer = True  # noqa: N815 - Autobahn asks for it
    _log = Logger()

    def __init__(
        self,
        lights: Lights,
        token: bytes,
        clock: IReactorTime,
        metrics: DeviceMetrics,
        door: Door,
        registry: Registry,
        wall: Callable[[], float],
    ) -> None:
        """Let in who knows `token`, or has a token that `registry` knows."""
        self.now = clock.seconds
        self.key, self.box = Key(token), PenaltyBox()
        self.swaps = PenaltyBox()
        """Devices of which another connection came soon after the last."""
        self.door, self.metrics, self.registry = door, metrics, registry
        self.fanout = Fanout(lights, metrics, wall)
        self.later = Later(clock)
        self.wheel = PingWheel[DeviceProtocol](slots=int(PING_EVERY_S / BEAT_S))
        self.waiting = Deadlines[DeviceProtocol](AUTH_WITHIN_S)
        self.closing = Deadlines[DeviceProtocol](CLOSE_WITHIN_S)
        self.held = Holding[DeviceProtocol]()
        self.connected = 0
        """How many devices are let in."""
        self._stopping = False
        self._empty: Deferred[None] | None = None
        self._turned_away, self._refused, self._violated = Seldom(), Seldom(), Seldom()
        metrics.connections.set_function(lambda: self.connected)
        metrics.held.set_function(lambda: len(self.held))
        self._will_judge = False
        registry.judge_again_by(self._judge_again)

    @property
    def flips(self) -> int:
        """How many changes of a group's light were written to its devices."""
        return self.fanout.flips

    def buildProtocol(self, addr: IAddress | None) -> DeviceProtocol | None:
        if self._stopping:
            return None
        device = DeviceProtocol()
        device.factory = self
        device.address = getattr(addr, "host", None)
        return device

    # ---- what its connections report -----------------------------------------------

    def let_in(self, device: DeviceProtocol, known: Known | Ticket | None) -> None:
        self._answered(device)
        here = device.here = self.registry.arrive(device, known)
        self.wheel.add(device)
        self.connected += 1
        self.fanout.join(device, self.registry.rule_of(here))

    def turned_away(self, device: DeviceProtocol, reason: str) -> None:
        self._answered(device)
        self.metrics.auth_failures[reason].inc()
        if many := self._turned_away.happened(self.now()):
            self._log.warn(
                "{many} connection(s) without a right token; the last from {address}: "
                "{reason}",
                many=many,
                address=device.address,
                reason=reason,
            )

    def refused(self, device: DeviceProtocol, answer: Refused) -> None:
        self.begin_to_close(device)
        self.metrics.refused_upgrades.inc()
        if many := self._refused.happened(self.now()):
            self._log.warn(
                "{many} upgrade(s) refused; the last from {address}: {reason}",
                many=many,
                address=device.address,
                reason=answer.reason,
            )

    def violated(self, device: DeviceProtocol, code: int, reason: str) -> None:
        self.metrics.violations.inc()
        if many := self._violated.happened(self.now()):
            self._log.warn(
                "{many} connection(s) broke the WebSocket protocol; the last from "
                "{address}: {code} {reason}",
                many=many,
                address=device.address,
                code=code,
                reason=reason,
            )

    def hold(self, device: DeviceProtocol, seconds: float) -> None:
        oldest = self.held.hold(device, self.now() + seconds)
        if oldest is not None:
            oldest.sendClose()

    def dismiss(self, device: DeviceProtocol, id_: str | None) -> None:
        """End a connection, later if the device came back more than once lately.

        Two signs with one token would else take the line from each other as fast as
        the network lets them.
        """
        hold_s = 0.0 if id_ is None else self.swaps.fail(id_, self.now())
        if hold_s:
            self.hold(device, hold_s)
        else:
            device.go_away(REMOVED)

    def begin_to_close(self, device: DeviceProtocol) -> None:
        """Tell it nothing more; cut it off should it not close in time."""
        self._take_out(device)
        self.closing.add(device, self.now())

    def forget(self, device: DeviceProtocol) -> None:
        """Take it that a connection is lost."""
        self._take_out(device)
        self.door.depart(device.transport)
        if self._empty is not None and not self._anybody():
            empty, self._empty = self._empty, None
            empty.callback(None)

    def _answered(self, device: DeviceProtocol) -> None:
        self.waiting.discard(device)
        self.door.let_in(device.transport)

    def _take_out(self, device: DeviceProtocol) -> None:
        self.waiting.discard(device)
        self.closing.discard(device)
        self.held.release(device)
        if (here := device.here) is not None:
            device.here = None
            self.connected -= 1
            self.wheel.remove(device)
            self.fanout.leave(device)
            self.registry.depart(here)

    def _judge_again(self) -> None:
        """Judge all who wait, once for all that becomes known until their turn comes.

        Else who shows many made-up tokens makes work by the square of them.
        """
        if not self._will_judge:
            self._will_judge = True
            self.later.add(self._judge_all_again)

    def _judge_all_again(self) -> None:
        self._will_judge = False
        for device in tuple(self.waiting):
            self.later.add(device.judge_again)

    # ---- time ----------------------------------------------------------------------

    def beat(self) -> None:
        """Ping those whose turn it is. Called every `BEAT_S` seconds."""
        alive, dead = self.wheel.turn(self.now())
        self._each(alive, DeviceProtocol.ping)
        self._each(dead, DeviceProtocol.give_up)
        self.box.forgive(self.now())
        self.swaps.forgive(self.now())

    def ms_since_ping(self, device: DeviceProtocol) -> int:
        # A device may send pongs that nobody asked for.
        since_s = self.now() - self.wheel.turned_s(device.slot)
        return round(1e3 * min(since_s, PING_EVERY_S))

    def settle(self) -> bool:
        """End those whose time is over, a slice of them; True: there may be more."""
        now = self.now()
        waited, closing = self.waiting.due(now), self.closing.due(now)
        self._each(waited, DeviceProtocol.time_is_up)
        self._each(closing, DeviceProtocol.fail)
        self._each(self.held.due(now), DeviceProtocol.sendClose)
        return max(len(waited), len(closing)) == SLICE

    def _each(
        self,
        devices: Iterable[DeviceProtocol],
        act: Callable[[DeviceProtocol], object],
    ) -> None:
        for device in devices:
            try:
                act(device)
            except Exception:  # noqa: BLE001 - the others' time must not stop
                self._log.failure("a device could not be dealt with and is dropped")
                device.fail()

    # ---- the end -------------------------------------------------------------------

    def open(self) -> None:
        """Let devices in."""
        self._stopping = False

    def shut(self) -> Deferred[None]:
        """Refuse new ones and tell those that are here; fires when all have gone."""
        self._stopping = True
        self.later.clear()
        gone: Deferred[None] = Deferred()
        self._each(tuple(self._everyone()), DeviceProtocol.stop)
        if self._anybody():
            self._empty = gone
        else:
            gone.callback(None)
        return gone

    def cut_off(self) -> None:
        """End what is left, at once."""
        self._each(tuple(self._everyone()), DeviceProtocol.fail)

    def _anybody(self) -> bool:
        # By length: the first of a dictionary that many have left is far away.
        crowds: list[Sized] = [self.waiting, self.held, self.wheel, self.closing]
        return any(map(len, crowds))

    def _everyone(self) -> Iterator[DeviceProtocol]:
        return chain(self.waiting, self.held, self.wheel, self.closing)


class DeviceService(Service):
    """Gives a factory its beat, and ends it in order."""

    def __init__(self, factory: DeviceFactory, clock: IReactorTime) -> None:
        self._factory, self._clock = factory, clock
        self._beat = LoopingCall(lambda: Deferred.fromCoroutine(self._turn()))
        self._beat.clock = clock

    def startService(self) -> None:
        super().startService()
        self._factory.open()
        self._beat.start(BEAT_S, now=False)

    def stopService(self) -> Deferred[None]:
        """Fires when every device has gone or was cut off."""
        super().stopService()
        gone = self._factory.shut()
        cut = self._clock.callLater(LEAVE_WITHIN_S, self._factory.cut_off)

        def done(_: None) -> None:
            if cut.active():
                cut.cancel()
            if self._beat.running:
                self._beat.stop()

        return gone.addCallback(done)

    async def _turn(self) -> None:
        # Thousands may have come at once, so that their time is over at once.
        while self._factory.settle() and self._beat.running:
            await deferLater(self._clock, 0)
        self._factory.beat()
