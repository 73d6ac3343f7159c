"""Many simulated signs in one process: as in the field, or worse.

Source: the firmware's src/main.cpp, and WebSocketsClient.cpp of its library.
"""

import random
from collections import deque
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import LoopingCall

from voicestatus.simulator.fates import Fate, Updating
from voicestatus.simulator.mishaps import Mishap, Mishaps, Stroke
from voicestatus.simulator.sign import MAX_MISSED_PONGS, Counts, Shared, Sign, SignLink
from voicestatus.simulator.sign_texts import Identity, upgrade
from voicestatus.simulator.updates import Updates

PING_EVERY_S = 15
PONG_WITHIN_S = 3
OPEN_WITHIN_S = 5
GHOST_S = 90
"""How long the socket stays of a sign that went without a word."""
DIALS_PER_S = 20
CHECKS = "ota-ed25519"
"""What a sign says that can check a release's signature."""
RSSI_DBM = (-85, -45)


@dataclass(frozen=True, slots=True)
class Habits:
    """How the signs of a fleet behave. Percentages are of the fleet."""

    v2: bool = False
    caps: tuple[str, ...] = ("light",)
    status_every_s: int = 60
    churn_percent: float = 0.0
    """So many a minute go and come back."""
    lossy_percent: float = 0.0
    """So many have a bad link."""
    seed: int = 0
    legacy_percent: float = 0.0
    """So many are of the first kind, with `v2` too."""
    own_addresses: bool = False
    """Each dials from an address of its own, 127.x.x.x: to this machine alone."""
    updating: Updating | None = None
    """None: they ignore offers."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How a fleet stands."""

    count: int
    connected: int
    lit: int
    dark: int
    unknown: int
    flips: int
    reconnects: int
    refused: int
    """Upgrades that were not granted, and NOAUTHs."""
    enrolled: int
    """How many have a token of their own."""
    identified: int
    complaints: int
    """`error` messages: what the signs said, or are, is not right."""
    errors: int
    """Messages of a known type in a shape that it cannot have."""
    wrong_lights: int
    """`light` messages that said something else than the `1` or `0` before them."""
    longest_pong_ms: int
    """The longest that a sign which was let in, with a good link, waited for one."""
    updated: int = 0
    """Updates that were installed, and started."""
    update_failed: int = 0
    """Updates that came to nothing: refused, broken off, wrong, not written."""
    lost_power: int = 0
    rolled_back: int = 0
    never_back: int = 0
    probed: int = 0


@dataclass(frozen=True, slots=True)
class Present:
    """How one sign stands, by the name that the server has for it."""

    id: str
    chip: str
    build: int
    connected: bool
    off: bool
    legacy: bool


def _caps(habits: Habits) -> tuple[str, ...]:
    if habits.updating is None or CHECKS in habits.caps:
        return habits.caps
    return *habits.caps, CHECKS


def _own_address(number: int) -> str:
    return f"127.{1 + (number >> 16)}.{number >> 8 & 0xFF}.{number & 0xFF}"


class SignFleet(Service):
    """So many signs at one server; they dial anew whenever they are cut off.

    The firmware dials without pause; `dials_per_s` bounds the whole fleet instead.
    """

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        path: str = "/ws",
        *,
        token: str,
        count: int,
        dials_per_s: float = 500.0,
        secure: bool = False,
        habits: Habits = Habits(),
        own_tokens: MutableMapping[str, str] | None = None,
    ) -> None:
        self._reactor, self._host, self._port = reactor, host, port
        self._dials_per_s, self._habits = dials_per_s, habits
        # The firmware verifies nothing either (setInsecure).
        self._tls = CertificateOptions() if secure else None
        self._rng = random.Random(habits.seed)  # noqa: S311 - a simulation
        self._mishaps = Mishaps(
            count,
            self._rng,
            churn_percent=habits.churn_percent,
            lossy_percent=habits.lossy_percent,
        )
        self._counts = Counts()
        self._updates = self._make_updates(count)
        self._shared = Shared(
            upgrade=upgrade(host, port, path),
            token=token,
            own_tokens={} if own_tokens is None else own_tokens,
            caps=_caps(habits) if habits.v2 else None,
            counts=self._counts,
            now=reactor.seconds,
            left=self._left,
            dial=self._dial_again,
            after=self._after,
        )
        bad = frozenset(self._mishaps.bad)
        legacy = round(count * habits.legacy_percent / 100)
        old = frozenset(self._rng.sample(range(count), legacy))
        self._signs = [
            Sign(
                n,
                Identity.of(habits.seed, n, old=n in old),
                self._shared,
                bad=n in bad,
                old=n in old,
                address=_own_address(n) if habits.own_addresses else None,
                updates=self._updates,
            )
            for n in range(count)
        ]
        self._waiting = deque(self._signs)
        self._off: set[Sign] = set()
        """Signs without a connection that do not dial."""
        self._ghosts: set[SignLink] = set()
        """Connections whose signs have gone without a word."""
        self._owed = 0.0
        self._second = 0
        self._later: dict[int, list[Callable[[], object]]] = {}
        """What is to be done in which second."""
        self._dialling = LoopingCall(self._dial)
        self._watching = LoopingCall(self._watch)
        self._dialling.clock = self._watching.clock = reactor
        self._emptied: Deferred[None] | None = None

    # -- what tests ask ----------------------------------------------------------

    @property
    def connected(self) -> int:
        """How many are connected and were let in."""
        return sum(sign.let_in for sign in self._signs)

    @property
    def lights(self) -> list[bool | None]:
        """What each shows; None: it was never told."""
        return [sign.light for sign in self._signs]

    @property
    def ever_connected(self) -> int:
        """How many were let in at least once."""
        return sum(sign.times_let_in > 0 for sign in self._signs)

    @property
    def tally(self) -> Tally:
        """Count all that is to be counted. O(signs)."""
        lights, counts = self.lights, self._counts
        own_tokens = self._shared.own_tokens
        return Tally(
            count=len(lights),
            connected=self.connected,
            lit=lights.count(True),
            dark=lights.count(False),
            unknown=lights.count(None),
            flips=counts.flips,
            reconnects=sum(max(0, sign.times_let_in - 1) for sign in self._signs),
            refused=counts.refused,
            enrolled=sum(sign.identity.id in own_tokens for sign in self._signs),
            identified=counts.identified,
            complaints=counts.complaints,
            errors=counts.errors,
            wrong_lights=counts.wrong_lights,
            longest_pong_ms=round(1e3 * self.longest_pong_s),
            **self._updates_tally(),
        )

    @property
    def roll_call(self) -> list[Present]:
        """Say of each sign what it is, what is on it, and whether it is here."""
        return [
            Present(
                sign.known_as,
                sign.identity.make.chip,
                sign.identity.build,
                sign.let_in,
                sign.off,
                sign.caps is None,
            )
            for sign in self._signs
        ]

    @property
    def fates(self) -> dict[str, Fate]:
        """Say who will meet what in its first update, by the server's name for it."""
        drawn = {} if self._updates is None else self._updates.drawn
        return {self._signs[n].known_as: fate for n, fate in drawn.items()}

    @property
    def longest_pong_s(self) -> float:
        """The longest wait for a pong, of those that still wait, too. O(signs)."""
        now = self._reactor.seconds()
        waits = (
            now - sign.pinged_at
            for sign in self._signs
            if sign.pinged_at is not None and not sign.bad
        )
        return max(self._counts.longest_pong_s, max(waits, default=0.0))

    def forget_pongs(self) -> None:
        """Begin anew to look for the longest wait."""
        self._counts.longest_pong_s = 0.0

    def drop(self) -> None:
        """Cut every connection, as a Wi-Fi that goes away."""
        for sign in self._signs:
            if sign.link is not None:
                sign.link.abort()

    # -- life --------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()
        self._dialling.start(1 / DIALS_PER_S)
        self._watching.start(1, now=False)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._dialling.stop()
        self._watching.stop()
        if self._idle():
            return succeed(None)
        emptied = self._emptied = Deferred()
        for ghost in tuple(self._ghosts):
            ghost.abort()
        if self._updates is not None:
            self._updates.stop()
        for sign in self._signs:
            if sign.link is not None:
                sign.link.recover()  # who reads nothing sees no end
            if sign.connector is not None:
                sign.connector.disconnect()
        return emptied

    # -- inside ------------------------------------------------------------------

    def _left(self, sign: Sign, link: SignLink | None) -> None:
        """That connection is gone; a ghost's sign has another by now, or waits."""
        if link is sign.link:
            self._release(sign)
        self._ghosts.discard(link)
        self._leave_if_idle()

    def _leave_if_idle(self) -> None:
        if self._emptied is not None and self._idle():
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def _release(self, sign: Sign) -> None:
        sign.reset()
        if sign.off:
            self._off.add(sign)
        else:
            self._waiting.append(sign)

    def _dial_again(self, sign: Sign) -> None:
        if sign in self._off:
            self._off.discard(sign)
            self._waiting.append(sign)

    def _idle(self) -> bool:
        resting = len(self._waiting) + len(self._off)
        fetching = self._updates is not None and not self._updates.idle
        return resting == len(self._signs) and not self._ghosts and not fetching

    def _dial(self) -> None:
        self._owed = min(
            self._owed + self._dials_per_s / DIALS_PER_S, self._dials_per_s
        )
        for _ in range(min(int(self._owed), len(self._waiting))):
            self._owed -= 1
            sign = self._waiting.popleft()
            if sign.off:
                self._off.add(sign)
                continue
            sign.dialled_at = self._reactor.seconds()
            where = (self._host, self._port, sign)
            # Without Twisted's time-out, which is a timer each: see `_give_up`.
            bound = None if sign.address is None else (sign.address, 0)
            if self._tls is None:
                sign.connector = self._reactor.connectTCP(*where, None, bound)
            else:
                sign.connector = self._reactor.connectSSL(
                    *where, self._tls, None, bound
                )

    def _watch(self) -> None:
        """Once a second: one timer for all, each second a part of the fleet."""
        self._second += 1
        for act in self._later.pop(self._second, ()):
            act()
        if self._updates is not None:
            self._updates.second()
        self._give_up()
        self._ping()
        if self._habits.v2:
            self._report()
        for stroke in self._mishaps.second():
            self._strike(stroke)

    def _give_up(self) -> None:
        """Source: WebSockets.h:125: what is not open after 5 s is dialled anew."""
        too_old = self._reactor.seconds() - OPEN_WITHIN_S
        for sign in self._signs:
            if sign.connector is None or sign.let_in or sign.dialled_at >= too_old:
                continue
            if sign.link is None:
                sign.connector.stopConnecting()
            elif sign.link.opening:
                sign.link.abort()

    def _ping(self) -> None:
        """Source: main.cpp:722: a ping every 15 s, a pong within 3 s, two may miss."""
        for sign in self._signs[self._second % PING_EVERY_S :: PING_EVERY_S]:
            if sign.link is not None and sign.let_in:
                sign.link.ping()
        due = (self._second - PONG_WITHIN_S) % PING_EVERY_S
        for sign in self._signs[due::PING_EVERY_S]:
            if sign.link is not None and sign.pinged_at is not None:
                sign.missed_pongs += 1
                if sign.missed_pongs >= MAX_MISSED_PONGS:
                    sign.link.abort()

    def _report(self) -> None:
        every_s = self._habits.status_every_s
        for sign in self._signs[self._second % every_s :: every_s]:
            if sign.caps is not None:
                sign.tell(sign.status(self._rng.randint(*RSSI_DBM)))

    def _strike(self, stroke: Stroke) -> None:
        sign = self._signs[stroke.sign]
        link = sign.link
        if link is None or not sign.let_in:
            return
        match stroke.mishap:
            case Mishap.CLOSE:
                link.close()
            case Mishap.RESET:
                link.abort()
            case Mishap.TEAR:
                link.tear()
            case Mishap.STALL:
                link.stall()
                self._after(stroke.lasts_s, link.recover)
            case Mishap.DEAF:
                link.grow_deaf()
                self._after(stroke.lasts_s, link.recover)
            case Mishap.VANISH:
                link.stall()
                self._ghosts.add(link)
                self._release(sign)
                self._after(GHOST_S, link.abort)

    def _make_updates(self, count: int) -> Updates | None:
        updating = self._habits.updating
        if updating is None:
            return None
        return Updates(
            self._reactor,
            updating,
            count=count,
            seed=self._habits.seed,
            host=self._host,
            port=self._port,
            tls=self._tls,
            after=self._after,
            closed=self._leave_if_idle,
        )

    def _updates_tally(self) -> dict[str, int]:
        if self._updates is None:
            return {}
        counts = self._updates.counts
        return {
            "updated": counts.updated,
            "update_failed": counts.failed + counts.refused_offers,
            "lost_power": counts.lost_power,
            "rolled_back": counts.rolled_back,
            "never_back": counts.never_back,
            "probed": counts.probed,
        }

    def _after(self, seconds: int, act: Callable[[], object]) -> None:
        self._later.setdefault(self._second + seconds, []).append(act)
