"""One simulated sign and its connections."""

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from msgspec import DecodeError
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

from voicestatus.simulator.frames import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frames,
    FrameTooLongError,
    masked,
)
from voicestatus.simulator.sign_offers import Offer, old_offer
from voicestatus.simulator.sign_texts import (
    NOT_A_SOCKET,
    Complaint,
    Identify,
    Identity,
    Reboot,
    RichLight,
    Welcome,
    granted,
    understand,
)
from voicestatus.simulator.updates import Updates

MAX_MISSED_PONGS = 2
MAX_HEAD_BYTES = 8192
PING_FRAME = masked(PING)
LEAVING = masked(CLOSE, b"\x03\xe8")
FLAP_AFTER_S = 4
TRIAL_S = 5
"""How long a new build has to hold its connection before it is kept."""


@dataclass(slots=True)
class Counts:
    """What a fleet has seen so far."""

    flips: int = 0
    refused: int = 0
    complaints: int = 0
    errors: int = 0
    wrong_lights: int = 0
    identified: int = 0
    longest_pong_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Shared:
    """What all signs of a fleet have in common."""

    upgrade: bytes
    token: str
    own_tokens: MutableMapping[str, str]
    """By a sign's id: what `welcome` gave it."""
    caps: tuple[str, ...] | None
    """None: signs of the first kind."""
    counts: Counts
    now: Callable[[], float]
    left: Callable[["Sign", "SignLink | None"], object]
    """Told of each connection that has ended; None: it never came about."""
    dial: Callable[["Sign"], object]
    """Asked to dial for a sign that was off."""
    after: Callable[[int, Callable[[], object]], object]
    """Calls back in so many seconds."""


class Sign(ClientFactory):
    """One sign: what it shows and knows lasts longer than its connections."""

    noisy = False

    def __init__(
        self,
        number: int,
        identity: Identity,
        shared: Shared,
        *,
        bad: bool = False,
        old: bool = False,
        address: str | None = None,
        updates: Updates | None = None,
    ) -> None:
        """`old`: it is one of the first kind, whatever the others are.

        It dials from `address`, and takes no offers without `updates`.
        """
        self.number, self.identity, self._shared = number, identity, shared
        self.caps = None if old else shared.caps
        self.address, self._updates = address, updates
        self.boot, self.floor, self.md5 = "power", 0, ""
        self.sketch_bytes, self.sketch_md5 = 400_000, "0" * 32
        self.off = False
        """It dials no more, until it is told to."""
        self._flaps = 0
        self.bad = bad
        """It has a bad link; then it also gives up each first upgrade."""
        self.light: bool | None = None
        """What it shows; a lost connection leaves it as it is (main.cpp:736-741)."""
        self.times_let_in = 0
        self.started_at = shared.now()
        self.dialled_at = 0.0
        self._doubts_its_token = False
        self._gives_up_next = bad
        self.reset()

    def reset(self) -> None:
        """Be without a connection."""
        self.connector: IConnector | None = None
        """None: it waits to dial."""
        self.link: SignLink | None = None
        self.let_in = False
        self.pinged_at: float | None = None
        """When it asked for the pong that it waits for."""
        self.missed_pongs = 0

    @property
    def known_as(self) -> str:
        """What the server calls it; an old one, once it has been asked."""
        return self.identity.mac if self.caps is None else self.identity.id

    # -- what Twisted asks -------------------------------------------------------

    def buildProtocol(self, addr: IAddress | None) -> "SignLink":  # noqa: ARG002 - Twisted's
        gives_up, self._gives_up_next = self._gives_up_next, False
        self.link = SignLink(self, self._shared, gives_up=gives_up)
        return self.link

    def clientConnectionFailed(  # noqa: N802 - Twisted's
        self,
        connector: IConnector,  # noqa: ARG002 - Twisted's
        reason: Failure,  # noqa: ARG002 - Twisted's
    ) -> None:
        self._shared.left(self, None)

    # -- what it says ------------------------------------------------------------

    def greeting(self) -> bytes:
        """Say the token, and ask for a first pong at once as the library does."""
        shared = self._shared
        own = shared.own_tokens.get(self.identity.id)
        token = shared.token if own is None or self._doubts_its_token else own
        return masked(TEXT, b"AUTH:" + token.encode()) + PING_FRAME

    def status(self, rssi_dbm: int) -> bytes:
        """Say how it does."""
        uptime_s = int(self._shared.now() - self.started_at)
        return self.identity.status(uptime_s, rssi_dbm)

    # -- what its updates ask ----------------------------------------------------

    def tell(self, text: bytes) -> None:
        """Say a text if somebody listens."""
        if self.link is not None and self.let_in:
            self.link.say(text)

    def leave(self) -> None:
        """Go dark, end the connection as one should, and dial no more."""
        self.off, self.light = True, False
        if self.link is not None:
            self.link.close()

    def fall_silent(self) -> None:
        """Go dark, be gone at once, and dial no more."""
        self.off, self.light = True, False
        if self.link is not None:
            self.link.abort()
        elif self.connector is not None:
            self.connector.disconnect()

    def come_back(self) -> None:
        """Start, and dial again."""
        self.off, self.started_at = False, self._shared.now()
        self._shared.dial(self)

    def flap(self, times: int) -> None:
        """Lose that many connections soon after they were let in."""
        self._flaps = times

    # -- what it hears -----------------------------------------------------------

    def hear(self, text: bytes) -> None:
        """Take one text; what it does not know it ignores (main.cpp:745-790)."""
        match text:
            case b"1":
                self._show(on=True)
            case b"0":
                self._show(on=False)
            case b"OK":
                self._enter()
            case b"NOAUTH":
                self._shared.counts.refused += 1
                # One of the two tokens is right: it may have been forgotten there.
                self._doubts_its_token = not self._doubts_its_token
            case _ if self.caps is not None and text[:1] == b"{":
                self._obey(text)
            case _ if self.caps is None and self._updates is not None:
                offer = old_offer(text, self.identity.make.chip)
                if offer is not None:
                    self._updates.offered_old(self, offer)
            case _:
                pass

    def hear_pong(self) -> None:
        if self.pinged_at is not None and not self.bad:
            counts = self._shared.counts
            wait_s = self._shared.now() - self.pinged_at
            counts.longest_pong_s = max(counts.longest_pong_s, wait_s)
        self.pinged_at, self.missed_pongs = None, 0

    def _enter(self) -> None:
        self.let_in = True
        self.times_let_in += 1
        self._gives_up_next = self.bad
        self._say_hello()
        if self.boot == "trial":
            self._shared.after(TRIAL_S, self._keep)
        if self._flaps:
            self._flaps -= 1
            self._shared.after(FLAP_AFTER_S, self._lose)

    def _say_hello(self) -> None:
        if self.caps is not None:
            self.tell(self.identity.hello(self.caps, self.boot))

    def _keep(self) -> None:
        """Keep a build that was on trial."""
        if self.boot == "trial" and self.let_in:
            self.boot = "ota"
            self._say_hello()

    def _lose(self) -> None:
        if self.link is not None:
            self.link.abort()

    def _show(self, *, on: bool) -> None:
        if self.light is not None and self.light != on:
            self._shared.counts.flips += 1
        self.light = on

    def _obey(self, text: bytes) -> None:
        counts = self._shared.counts
        try:
            message = understand(text)
        except DecodeError:
            counts.errors += 1
            return
        match message:
            case Welcome(device=device) if not self._is_called(device):
                counts.errors += 1
            case Welcome(token=str(token)):
                self._shared.own_tokens[self.identity.id] = token
                self._doubts_its_token = False
            case RichLight(on=on):
                counts.wrong_lights += on != self.light
            case Offer() if self._updates is not None:
                self._updates.offered(self, message)
            case Identify():
                counts.identified += 1
            case Reboot() if self.link is not None:
                self.started_at = self._shared.now()
                self.link.abort()
            case Complaint():
                counts.complaints += 1
            case _:
                pass

    def _is_called(self, device: str) -> bool:
        """Whether a welcome can be for this sign; a stranger is called `conn-…`."""
        return device == self.identity.id or device.startswith("conn-")


class SignLink(Protocol):
    """One connection of a sign."""

    transport: Any

    def __init__(self, sign: Sign, shared: Shared, *, gives_up: bool) -> None:
        self._sign, self._shared, self._gives_up = sign, shared, gives_up
        self._head: bytes | None = b""
        """What has come of the answer to the upgrade; None once it was granted."""
        self._frames = Frames()
        self._deaf = False

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.write(self._shared.upgrade)
        if self._gives_up:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - Twisted's
        self._shared.left(self._sign, self)

    def dataReceived(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                if len(head) > MAX_HEAD_BYTES:
                    self.abort()
                return
            if not granted(head):
                self._shared.counts.refused += 1
                self.transport.write(NOT_A_SOCKET)
                self.transport.loseConnection()
                return
            self._head = None
            self.transport.write(self._sign.greeting())
        try:
            for opcode, payload in self._frames.feed(data):
                self._take(opcode, payload)
        except FrameTooLongError:
            self.abort()

    @property
    def opening(self) -> bool:
        """Whether the upgrade has not been granted yet."""
        return self._head is not None

    def say(self, text: bytes) -> None:
        self.transport.write(masked(TEXT, text))

    def ping(self) -> None:
        """Ask whether the server is still there."""
        if self._sign.pinged_at is None:
            self._sign.pinged_at = self._shared.now()
        self.transport.write(PING_FRAME)

    def close(self) -> None:
        """Leave as one should."""
        self.transport.write(LEAVING)
        self.transport.loseConnection()

    def abort(self) -> None:
        """Give this connection up."""
        self.transport.abortConnection()

    def tear(self) -> None:
        """End in the middle of a frame."""
        self.transport.write(PING_FRAME[:-1])
        self.transport.loseConnection()

    def stall(self) -> None:
        """Read nothing."""
        self.transport.pauseProducing()

    def grow_deaf(self) -> None:
        """Miss pings and pongs."""
        self._deaf = True

    def recover(self) -> None:
        """Read and hear again."""
        self._deaf = False
        self.transport.resumeProducing()

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self._sign.hear(payload.strip())
        elif opcode == CLOSE:
            self.transport.write(masked(CLOSE, payload[:2]))
            self.transport.loseConnection()
        elif self._deaf:
            pass
        elif opcode == PING:
            self.transport.write(masked(PONG, payload))
        elif opcode == PONG:
            self._sign.hear_pong()
