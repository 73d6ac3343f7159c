"""One node's part in the contest for one shard: input in, effects out. Pure.

Every wait is measured by our own clock, from before a request was sent: whatever Redis
counts has begun later. A part of the lease is given away, so that two clocks may run
apart by a twentieth each and we have stopped before anybody else begins.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, assert_never

ACTS_FOR: Final = 0.9
"""Of the lease; the rest is for clocks that run apart."""
RENEWS_AT: Final = 1 / 3
AGAIN_AT: Final = 1 / 20
"""Where Redis did not answer."""
SLACK_S: Final = 0.01
"""Redis tells whole milliseconds."""


# ---- what Redis answers ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Granted:
    """The lease is ours, under a number that is higher than any before."""

    fence: int


@dataclass(frozen=True, slots=True)
class Taken:
    """It is another's, for so long at least."""

    for_s: float


@dataclass(frozen=True, slots=True)
class Renewed:
    """It is still ours, from the request on."""


@dataclass(frozen=True, slots=True)
class Lost:
    """It is not ours any more."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """What was asked may have happened."""


Answer = Granted | Taken | Renewed | Lost | Unanswered


# ---- what is to be done ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Acquire:
    """Ask for the lease; hand the answer back with this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Renew:
    """Ask for more time; hand the answer back with this number."""

    number: int
    fence: int


@dataclass(frozen=True, slots=True)
class Release:
    """Give the lease back; no answer is awaited."""

    fence: int


@dataclass(frozen=True, slots=True)
class Begin:
    """Act, under this number."""

    fence: int


@dataclass(frozen=True, slots=True)
class End:
    """Stop acting, now."""

    fence: int


@dataclass(frozen=True, slots=True)
class Wake:
    """Call `tick` at this time."""

    at: float


Effect = Acquire | Renew | Release | Begin | End | Wake


class _Phase(Enum):
    IDLE = "idle"
    WANTING = "wanting"
    HOLDING = "holding"


class Lease:
    """Wants the lease from `start` to `stop`, and knows at each moment if it has it."""

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._phase = _Phase.IDLE
        self._fence = 0
        self._until = 0.0
        self._due = 0.0
        """When to ask next."""
        self._asked: int | None = None
        """The number of the request that is under way."""
        self._asked_at = 0.0
        self._number = 0
        self._polite_until = float("-inf")

    def holds(self, now: float) -> bool:
        """Whether we may act at this very moment."""
        return self._phase is _Phase.HOLDING and now < self._until

    def lasts(self, now: float) -> bool:
        """Whether nobody else may act yet, though we may have stopped."""
        return now < self._until

    @property
    def fence(self) -> int:
        """The number under which we act, or acted last."""
        return self._fence

    def start(self, now: float) -> list[Effect]:
        """Begin to want it."""
        self._phase, self._due, self._asked = _Phase.WANTING, now, None
        return self.tick(now)

    def stop(self) -> list[Effect]:
        """Want it no more, and give it back; call it when nothing acts any longer."""
        held, self._phase = self._phase is _Phase.HOLDING, _Phase.IDLE
        return [End(self._fence), Release(self._fence)] if held else []

    def give_way(self, now: float) -> list[Effect]:
        """Let another node have it, if one wants it soon."""
        if self._phase is not _Phase.HOLDING:
            return []
        self._polite_until = now + RENEWS_AT * self._lease_s
        ended = self._end(self._polite_until)
        return [*ended, Release(self._fence), *self._wake()]

    def hurry(self, now: float) -> list[Effect]:
        """Take it that the lease was given back."""
        wanting = self._phase is _Phase.WANTING and self._asked is None
        if not wanting or now < self._polite_until:
            return []
        self._due = now
        return self.tick(now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        effects = self._expire(now)
        if self._phase is _Phase.IDLE:
            return []
        if self._asked is None and now >= self._due:
            self._number += 1
            self._asked, self._asked_at = self._number, now
            holding = self._phase is _Phase.HOLDING
            effects.append(
                Renew(self._number, self._fence) if holding else Acquire(self._number)
            )
        return effects + self._wake()

    def answered(self, number: int, answer: Answer, now: float) -> list[Effect]:
        """Take the answer to a request."""
        if number != self._asked:
            # Nobody waits for it; but what was granted would be blocked for a lease.
            return [Release(answer.fence)] if isinstance(answer, Granted) else []
        self._asked = None
        if self._phase is _Phase.IDLE:
            return [Release(answer.fence)] if isinstance(answer, Granted) else []
        effects = self._expire(now)
        match answer:
            case Granted(fence):
                effects += self._begin(fence, now)
            case Taken(for_s):
                self._due = now + for_s + SLACK_S
            case Renewed():
                if self._phase is _Phase.HOLDING:
                    self._extend()
            case Lost():
                self._until = now
                effects += self._end(now)
            case Unanswered():
                self._due = now + AGAIN_AT * self._lease_s
            case _:
                assert_never(answer)
        return effects + self._wake()

    def _begin(self, fence: int, now: float) -> list[Effect]:
        if now >= self._asked_at + ACTS_FOR * self._lease_s:
            self._due = now
            return [Release(fence)]
        self._phase, self._fence = _Phase.HOLDING, fence
        self._extend()
        return [Begin(fence)]

    def _extend(self) -> None:
        self._until = self._asked_at + ACTS_FOR * self._lease_s
        self._due = self._asked_at + RENEWS_AT * self._lease_s

    def _expire(self, now: float) -> list[Effect]:
        over = self._phase is _Phase.HOLDING and now >= self._until
        return self._end(now) if over else []

    def _end(self, again_at: float) -> list[Effect]:
        if self._phase is not _Phase.HOLDING:
            return []
        # An answer that is still under way is about a lease that we gave up.
        self._phase, self._due, self._asked = _Phase.WANTING, again_at, None
        return [End(self._fence)]

    def _wake(self) -> list[Effect]:
        times = [self._due] if self._asked is None else []
        if self._phase is _Phase.HOLDING:
            times.append(self._until)
        return [Wake(min(times))] if times else []
