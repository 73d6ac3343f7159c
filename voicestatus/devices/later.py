"""What can wait: dealt with in slices, so that pings and lights come first."""

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from voicestatus.devices.keepalive import SLICE

SLICE_S = 0.005
"""How long other work waits for a slice of this."""


class Later:
    """Acts in the order they were added, a slice in each turn of the reactor."""

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[Callable[[], object]] = deque()
        self._next: IDelayedCall | None = None

    def add(self, act: Callable[[], object]) -> None:
        self._waiting.append(act)
        if self._next is None:
            self._next = self._clock.callLater(0, self._turn)

    def clear(self) -> None:
        """Give up what waits."""
        self._waiting.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def __len__(self) -> int:
        return len(self._waiting)

    def _turn(self) -> None:
        end = self._clock.seconds() + SLICE_S
        self._next = None
        for _ in range(min(SLICE, len(self._waiting))):
            act = self._waiting.popleft()
            try:
                act()
            except Exception:  # noqa: BLE001 - the others' acts must not wait for ever
                self._log.failure("what a device said could not be dealt with")
            if self._clock.seconds() >= end:
                break
        if self._waiting and self._next is None:
            self._next = self._clock.callLater(0, self._turn)
