"""One sign's way through one update, of either kind."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol
from urllib.parse import urlsplit

from voicestatus.simulator.fates import Fate
from voicestatus.simulator.sign_fetch import Fetch
from voicestatus.simulator.sign_http import Answer, Sketch, old_request, request
from voicestatus.simulator.sign_offers import (
    Firmware,
    Flash,
    Offer,
    OldOffer,
    Promise,
)
from voicestatus.simulator.sign_texts import Identity

SILENCE_S = 15
"""Without a byte for so long a sign of the second kind asks anew."""
OLD_SILENCE_S = 8
"""Source: ESP8266httpUpdate.cpp, HTTPUpdate.cpp: `_httpClientTimeout`."""
MAX_RESUMES = 3
BUSY_S, MAX_BUSY = 5, 100
"""How long one of the second kind waits for a server that is busy and does not say so
itself, and how often."""
REDIAL_S = (1, 5)
"""How long one of the first kind is away after an update that came to nothing."""
REPORT_EVERY_PERCENT = 25


@dataclass(slots=True)
class UpdateCounts:
    """What has come of a fleet's updates so far."""

    offers: int = 0
    refused_offers: int = 0
    updated: int = 0
    failed: int = 0
    lost_power: int = 0
    never_back: int = 0
    rolled_back: int = 0
    probed: int = 0
    """Signs of the first kind that were told that there is no update."""


class Updated(Protocol):
    """What an update asks of its sign."""

    number: int
    identity: Identity
    boot: str
    floor: int
    md5: str
    """What an ESP8266 of the first kind checks images against, until it starts anew."""
    sketch_bytes: int
    sketch_md5: str
    address: str | None

    def tell(self, text: bytes) -> None: ...

    def leave(self) -> None:
        """End the connection as one should, and dial no more."""
        ...

    def fall_silent(self) -> None:
        """Be gone at once."""
        ...

    def come_back(self) -> None:
        """Dial again."""
        ...

    def flap(self, times: int) -> None:
        """Lose that many connections soon after they were let in."""
        ...


class Workshop(Protocol):
    """What an update asks of the fleet. See `updates.Updates`."""

    after: Callable[[int, Callable[[], object]], object]
    """Calls back in so many seconds."""
    counts: UpdateCounts
    rng: Random
    host: str
    """Of the fleet's server, with its port."""

    def fetch(self, update: "Update", asked: bytes, url: str) -> Fetch:
        """Ask there; a path alone is one on the fleet's server."""
        ...

    def closed(self, fetch: Fetch) -> bool:
        """Take it that a connection is gone; False: nothing is to follow."""
        ...

    def fate_of(self, sign: Updated) -> Fate | None:
        """Return what is to happen to a sign; it happens once."""
        ...

    def befell(self, sign: Updated) -> None:
        """Take it that a sign has met its fate."""
        ...

    def over(self, sign: Updated) -> None:
        """Take it that a sign's update is over, however it ended."""
        ...

    def back_in(self, sign: Updated, span_s: tuple[int, int]) -> None:
        """Let a sign dial again some time later."""
        ...

    def start(
        self, sign: Updated, firmware: Firmware, floor: int, *, old: bool
    ) -> None:
        """Start a sign anew, with a new build."""
        ...

    def lose_power(self, sign: Updated) -> None:
        """Let the power of a sign go for a moment."""
        ...


class Update(ABC):
    """One sign's way through one update."""

    silence_s: float

    def __init__(self, updates: Workshop, sign: Updated) -> None:
        self.updates, self.sign = updates, sign
        self.current: Fetch | None = None
        self.flash = Flash()
        self._cut_at: int | None = None
        """After how many bytes the power goes."""
        self._dead = False

    @abstractmethod
    def ask(self) -> None: ...

    @abstractmethod
    def answered(self, head: Answer) -> bool: ...

    @abstractmethod
    def took(self, data: bytes) -> bool: ...

    @abstractmethod
    def finish(self) -> None:
        """Go on once the connection is gone."""

    def ended(self) -> None:
        fetch, self.current = self.current, None
        if fetch is not None and self.updates.closed(fetch) and not self._dead:
            self.finish()

    def expects(self, size_bytes: int) -> None:
        """Take it that an image of that size is about to come."""
        if self._cut_at is None and self.updates.fate_of(self.sign) is Fate.POWER_LOSS:
            self._cut_at = max(1, int(size_bytes * self.updates.rng.uniform(0.1, 0.6)))

    def write(self, data: bytes) -> bool:
        """Write to the flash; False: the power went."""
        self.flash.write(data)
        if self._cut_at is None or self.flash.size_bytes < self._cut_at:
            return True
        self._dead = True
        self.updates.lose_power(self.sign)
        return False


class NewUpdate(Update):
    """Of a sign of the second kind: it stays connected, reports, and resumes."""

    silence_s = SILENCE_S

    def __init__(
        self, updates: Workshop, sign: Updated, offer: Offer, promise: Promise
    ) -> None:
        super().__init__(updates, sign)
        self._offer, self._promise = offer, promise
        self._resumes = self._waits = 0
        self._wait_s = 0
        """How long the server wants it to wait."""
        self._reported = -REPORT_EVERY_PERCENT
        self._refused = ""

    def ask(self) -> None:
        self._report_progress()
        url = urlsplit(self._offer.url)
        path = url.path + (f"?{url.query}" if url.query else "")
        asked = request(self.updates.host, path, self.flash.size_bytes)
        # The path alone: never another server than its own.
        self.current = self.updates.fetch(self, asked, path)

    def answered(self, head: Answer) -> bool:
        size = self._promise.size_bytes
        if head.status == 503 and self._waits < MAX_BUSY:
            named = head.headers.get("retry-after", "")
            self._wait_s = int(named) if named.isdecimal() else BUSY_S
            return False
        if head.status == 200:
            self.flash = Flash()
        elif head.status != 206 or not self.flash.size_bytes:
            self._refused = f"the server answered {head.status}"
            return False
        if head.length_bytes != size - self.flash.size_bytes:
            self._refused = "the server sends another size"
            return False
        self.expects(size)
        return True

    def took(self, data: bytes) -> bool:
        if not self.write(data):
            return False
        size = self.flash.size_bytes
        self._report_progress()
        if (
            self.updates.fate_of(self.sign) is Fate.FAILS
            and 2 * size > self._promise.size_bytes
        ):
            self.updates.befell(self.sign)
            self._refused = "the flash cannot be written"
        return not self._refused and size < self._promise.size_bytes

    def finish(self) -> None:
        promise = self._promise
        if self._wait_s:
            least_s, self._wait_s = self._wait_s, 0
            self._waits += 1
            self.updates.after(self.updates.rng.randint(least_s, 2 * least_s), self.ask)
        elif self._refused:
            self._fail(self._refused)
        elif self.flash.size_bytes < promise.size_bytes:
            self._resumes += 1
            if self._resumes > MAX_RESUMES:
                self._fail("the download broke off too often")
            else:
                self.updates.after(self._resumes, self.ask)
        elif self.flash.sha256 != promise.sha256:
            self._fail("the image is not what was signed")
        else:
            self._report("verifying", 100)
            self._report("rebooting", 100)
            self.sign.leave()
            self.updates.start(self.sign, promise.firmware, promise.floor, old=False)

    def _report_progress(self) -> None:
        percent = 100 * self.flash.size_bytes // self._promise.size_bytes
        if percent >= self._reported + REPORT_EVERY_PERCENT:
            self._reported = percent
            self._report("downloading", percent)

    def _fail(self, why: str) -> None:
        self.updates.counts.failed += 1
        percent = 100 * self.flash.size_bytes // self._promise.size_bytes
        self._report("failed", percent, why)
        self.updates.over(self.sign)

    def _report(self, phase: str, percent: int, error: str | None = None) -> None:
        release = self._offer.release
        self.sign.tell(self.sign.identity.report(release, phase, percent, error))


class OldUpdate(Update):
    """Of a sign of the first kind: it leaves, fetches, and says nothing."""

    silence_s = OLD_SILENCE_S

    def __init__(self, updates: Workshop, sign: Updated, offer: OldOffer) -> None:
        super().__init__(updates, sign)
        self._url = offer.url
        self._size_bytes: int | None = None
        """None: there is nothing to fetch, or it is not taken."""
        self._sum = ""
        self._was_probe = False

    def ask(self) -> None:
        url = urlsplit(self._url)
        make = self.sign.identity.make
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        sketch = Sketch(
            make.chip,
            self.sign.identity.mac,
            self.sign.identity.fw,
            make.free_bytes,
            self.sign.sketch_bytes,
            self.sign.sketch_md5,
        )
        asked = old_request(url.netloc, path, sketch)
        self.current = self.updates.fetch(self, asked, self._url)

    def answered(self, head: Answer) -> bool:
        if head.status == 304:
            self._was_probe = True
            self.updates.counts.probed += 1
        length = head.length_bytes
        if head.status != 200 or not length:
            return False
        if length > self.sign.identity.make.free_bytes:
            return False
        self._size_bytes = length
        self._sum = self.sign.md5 or head.headers.get("x-md5", "")
        self.expects(length)
        return True

    def took(self, data: bytes) -> bool:
        assert self._size_bytes is not None  # noqa: S101 - it was answered
        return self.write(data) and self.flash.size_bytes < self._size_bytes

    def finish(self) -> None:
        flash, sign = self.flash, self.sign
        if (
            flash.size_bytes != self._size_bytes
            or not flash.boots(sign.identity.make.chip)
            or (self._sum and flash.md5 != self._sum.lower())
        ):
            self.updates.counts.failed += not self._was_probe
            self.updates.back_in(sign, REDIAL_S)
        elif self.updates.fate_of(sign) is Fate.FAILS:
            self.updates.befell(sign)
            self.updates.counts.failed += 1
            self.updates.back_in(sign, REDIAL_S)
        else:
            sign.sketch_bytes, sign.sketch_md5 = flash.size_bytes, flash.md5
            same = Firmware(sign.identity.fw, sign.identity.build)
            self.updates.start(sign, flash.firmware or same, 0, old=True)
