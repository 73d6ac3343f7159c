"""After a connection has ended: when, where and how to connect next. Pure.

Source: Discord docs, Gateway, "Resuming"; close codes as `wire.verdict` says.
"""

from dataclasses import dataclass
from math import exp2
from typing import Final

from voicestatus.core.session import SessionState
from voicestatus.discord.gateway import wire
from voicestatus.discord.gateway.session import Cause, Ended
from voicestatus.discord.gateway.wire import Verdict

STABLE_S: Final = 30.0
"""A connection that was READY for longer clears the record of flaps."""
FLAPS_AT_ONCE: Final = 20
"""So many connections that were READY, but not for long, are followed at once."""
FLAPS_A_DOUBLING: Final = 200
"""From then on so many double the wait: the longer it goes on, the rarer."""
LONGEST_WAIT_S: Final = 60.0
SHORTEST_WAIT_S: Final = 0.25
"""Full jitter may draw nothing at all; a series of such draws would be hot."""
RATE_LIMITED_WAIT_S: Final = 5.0
INVALID_WAIT_S: Final = (1.0, 5.0)
"""Source: Discord staff in discord-api-docs 244 and 5323: op 9 also means that we
identified too fast."""
UNREACHABLE_TRIES: Final = 2
RESUME_TRIES: Final = 4


@dataclass(frozen=True, slots=True)
class Attempt:
    """Connect after this long: to resume `state`, or, where it is None, to identify."""

    after_s: float
    state: SessionState | None
    at_base: bool
    """Whether to the URL of /gateway/bot instead of the session's own."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No retry can mend this; the owner must."""

    code: int


class Reconnect:
    """Remembers how the last attempts went; makes the next one."""

    def __init__(self) -> None:
        self._failures = 0
        """Connections in a row that were never READY."""
        self._flaps = 0
        """Connections in a row that were READY, but not for long."""
        self._unreachable = 0
        """Attempts in a row on the resume URL where nobody spoke."""
        self._unresumed = 0
        """Attempts in a row on the resume URL that did not lead to RESUMED."""
        self._at_base = False

    def first(self, state: SessionState | None) -> Attempt:
        """Begin; with `state` by resuming it."""
        return self._attempt(0.0, state, at_base=state is None)

    def after(self, ended: Ended, jitter: float) -> Attempt | GiveUp:
        """Decide on the next attempt; 0 <= jitter < 1 is drawn for each call."""
        if ended.verdict is Verdict.STOP and ended.code is not None:
            return GiveUp(ended.code)
        wait_s = self._back_off_s(ended.held_s, jitter)
        if ended.cause is Cause.INVALID_SESSION:
            least_s, most_s = INVALID_WAIT_S
            wait_s = max(wait_s, least_s + (most_s - least_s) * jitter)
        if ended.code == wire.RATE_LIMITED:
            wait_s = max(wait_s, RATE_LIMITED_WAIT_S)
        return self._where(ended, wait_s)

    def _back_off_s(self, held_s: float | None, jitter: float) -> float:
        if held_s is None:
            self._failures += 1
            doublings = self._failures - 1.0
            cap_s = 1.0
        else:
            self._failures = 0
            self._flaps = 0 if held_s > STABLE_S else self._flaps + 1
            doublings = (self._flaps - FLAPS_AT_ONCE) / FLAPS_A_DOUBLING
            if doublings <= 0:
                return 0.0
            cap_s = SHORTEST_WAIT_S
        # min() first: the power of a long outage would be out of a float's range.
        cap_s = min(LONGEST_WAIT_S, cap_s * exp2(min(doublings, 8.0)))
        return max(SHORTEST_WAIT_S, cap_s * jitter)

    def _where(self, ended: Ended, wait_s: float) -> Attempt:
        state = ended.state
        if state is None:
            return self._attempt(wait_s, None, at_base=True)
        if ended.held_s is not None:
            return self._attempt(wait_s, state, at_base=False)
        if self._at_base:
            if ended.spoke:  # Discord is there, and does not resume: a new session
                return self._attempt(wait_s, None, at_base=True)
            # Nobody answers anywhere: that is the network, not the session.
            return self._attempt(wait_s, state, at_base=False)
        unreachable = 0 if ended.spoke else self._unreachable + 1
        unresumed = self._unresumed + 1
        at_base = unreachable >= UNREACHABLE_TRIES or unresumed >= RESUME_TRIES
        attempt = self._attempt(wait_s, state, at_base=at_base)
        if not at_base:
            self._unreachable, self._unresumed = unreachable, unresumed
        return attempt

    def _attempt(
        self, after_s: float, state: SessionState | None, *, at_base: bool
    ) -> Attempt:
        self._at_base = at_base
        self._unreachable = self._unresumed = 0
        return Attempt(after_s, state, at_base)
