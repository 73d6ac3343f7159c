"""How often we may send on one connection. Pure."""

from collections import deque
from typing import Final

SENDS: Final = 110
"""Of the 120 that Discord allows; the rest is for heartbeats, Identify and Resume."""
WINDOW_S: Final = 60.0


class SendLimit:
    """At most `sends` in any window of `window_s`.

    The window slides: a bucket that refills while it empties would let nearly twice
    the limit through in its first window.
    """

    def __init__(self, sends: int = SENDS, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._sent: deque[float] = deque(maxlen=sends)

    def free_at(self, now: float) -> float:
        """Return when the next may be sent: `now`, or later."""
        if len(self._sent) != self._sent.maxlen:
            return now
        return max(now, self._sent[0] + self._window_s)

    def sent(self, now: float) -> None:
        """Count one that was sent."""
        self._sent.append(now)
