"""How the signs of a fleet update themselves, and what becomes of them."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.ssl import CertificateOptions

from voicestatus.simulator.fates import BadEnd, Fate, Updating, draw
from voicestatus.simulator.sign_fetch import Fetch
from voicestatus.simulator.sign_offers import (
    Firmware,
    Offer,
    OldOffer,
    Running,
    judge,
    public_key,
)
from voicestatus.simulator.sign_update import (
    NewUpdate,
    OldUpdate,
    Update,
    UpdateCounts,
    Updated,
)

REBOOT_S = (2, 4)
"""How long a sign is away to start anew; both ends included."""
OFF_S = (3, 8)
"""How long one is away whose power went."""
FLAPS = 20
"""How many connections a sign that flaps loses."""


class Updates:
    """Starts updates of a fleet's signs, and keeps them until they are over."""

    def __init__(
        self,
        reactor: Any,
        updating: Updating,
        *,
        count: int,
        seed: int,
        host: str,
        port: int,
        tls: CertificateOptions | None,
        after: Callable[[int, Callable[[], object]], object],
        closed: Callable[[], object],
    ) -> None:
        """`after` calls back in so many seconds; `closed` when a download has ended."""
        self.reactor, self.after, self.updating = reactor, after, updating
        self._tell_closed = closed
        self.keys = tuple(map(public_key, updating.keys))
        # Not the fleet's own: who is unlucky has nothing to do with who is old.
        self.rng = random.Random(f"updates {seed}")  # noqa: S311 - a simulation
        self.counts = UpdateCounts()
        self.host = f"{host}:{port}"
        self._where = host, port, tls
        self._running: dict[Fetch, Update] = {}
        self._busy: set[int] = set()
        """The numbers of the signs that update themselves now."""
        self._fates = draw(updating, count, self.rng)
        """What has not happened yet, to which sign, by its number."""
        self.drawn: Mapping[int, Fate] = MappingProxyType(dict(self._fates))
        """What happens to which sign when it updates itself first."""
        slow = round(count * updating.slow_percent / 100)
        self._slow = frozenset(self.rng.sample(range(count), slow))
        self._stopped = False

    @property
    def idle(self) -> bool:
        """Whether no connection of an update is open."""
        return not self._running

    def offered(self, sign: Updated, offer: Offer) -> None:
        """Take an offer to a sign of the second kind."""
        self.counts.offers += 1
        if sign.number in self._busy:
            return
        what = sign.identity
        running = Running(
            what.make.chip,
            what.make.board,
            what.build,
            sign.floor,
            what.make.free_bytes,
        )
        judged = judge(offer, running, self.keys)
        if isinstance(judged, str):
            self.counts.refused_offers += 1
            sign.tell(what.report(offer.release, "failed", 0, judged))
            return
        self._busy.add(sign.number)
        NewUpdate(self, sign, offer, judged).ask()

    def offered_old(self, sign: Updated, offer: OldOffer) -> None:
        """Take an offer to a sign of the first kind."""
        self.counts.offers += 1
        self._busy.add(sign.number)
        if offer.md5 and sign.identity.make.chip == "esp8266":
            sign.md5 = offer.md5
        sign.leave()
        OldUpdate(self, sign, offer).ask()

    def second(self) -> None:
        """Give up what has been silent for too long. Called once a second."""
        now = self.reactor.seconds()
        for fetch, update in tuple(self._running.items()):
            if now - fetch.heard_at > update.silence_s:
                fetch.abort()

    def stop(self) -> None:
        """End all."""
        self._stopped = True
        for fetch in tuple(self._running):
            fetch.abort()

    # ---- for updates ---------------------------------------------------------------

    def fetch(self, update: Update, asked: bytes, url: str) -> Fetch:
        """Ask there; a path alone is one on the fleet's server."""
        host, port, tls = self._where
        parts = urlsplit(url)
        if parts.hostname:
            secure = parts.scheme == "https"
            host, port = parts.hostname, parts.port or (443 if secure else 80)
            tls = CertificateOptions() if secure else None
        slow = update.sign.number in self._slow
        rate = self.updating.slow_bytes_per_s if slow else None
        fetch = Fetch(self.reactor, asked, update, rate)
        self._running[fetch] = update
        address = update.sign.address
        bound = None if address is None else (address, 0)
        where = (host, port, fetch)
        if tls is None:
            fetch.connector = self.reactor.connectTCP(*where, None, bound)
        else:
            fetch.connector = self.reactor.connectSSL(*where, tls, None, bound)
        return fetch

    def closed(self, fetch: Fetch) -> bool:
        """Take it that a connection is gone; False: nothing is to follow."""
        self._running.pop(fetch, None)
        self._tell_closed()
        return not self._stopped

    def fate_of(self, sign: Updated) -> Fate | None:
        """Return what is to happen to a sign; it happens once."""
        return self._fates.get(sign.number)

    def befell(self, sign: Updated) -> None:
        """Take it that a sign has met its fate."""
        self._fates.pop(sign.number, None)

    def over(self, sign: Updated) -> None:
        """Take it that a sign's update is over, however it ended."""
        self._busy.discard(sign.number)

    def back_in(self, sign: Updated, span_s: tuple[int, int]) -> None:
        """Let a sign dial again some time later."""
        self.over(sign)
        self.after(self.rng.randint(*span_s), sign.come_back)

    def start(
        self, sign: Updated, firmware: Firmware, floor: int, *, old: bool
    ) -> None:
        """Start a sign anew, with a new build."""
        fate = self.fate_of(sign)
        sign.md5 = ""
        if fate is Fate.NEVER_BACK:
            self.befell(sign)
            self._die(sign)
        elif firmware.build in self.updating.bad_builds:
            if old or self.updating.bad_end is BadEnd.NEVER:
                self._die(sign)
            else:
                self.counts.rolled_back += 1
                sign.boot = "rollback"
                self.back_in(sign, (REBOOT_S[1], 2 * REBOOT_S[1]))
        else:
            self.counts.updated += 1
            sign.identity = replace(
                sign.identity, fw=firmware.version, build=firmware.build
            )
            sign.boot, sign.floor = "trial", max(sign.floor, floor)
            if fate is Fate.FLAPS:
                self.befell(sign)
                sign.flap(FLAPS)
            self.back_in(sign, REBOOT_S)

    def lose_power(self, sign: Updated) -> None:
        """Let the power of a sign go for a moment."""
        self.befell(sign)
        self.counts.lost_power += 1
        sign.boot, sign.md5 = "power", ""
        sign.fall_silent()
        self.back_in(sign, OFF_S)

    def _die(self, sign: Updated) -> None:
        self.counts.never_back += 1
        self.over(sign)
