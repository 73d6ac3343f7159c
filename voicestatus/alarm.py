"""Wakes for what is on an agenda: one timer for all of it."""

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from voicestatus.core.agenda import Agenda

K = TypeVar("K")
SLICE = 50
"""How much is dealt with before the reactor turns: thousands of quiet hours may end
with the same stroke of the clock."""


class Alarm(Generic[K]):
    """Calls `act` with each thing that is due and the time that was meant."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, agenda: Agenda[K], act: Callable[[K, float], object]
    ) -> None:
        self._clock, self._agenda, self._act = clock, agenda, act
        self._call: IDelayedCall | None = None
        self._running = False

    def start(self) -> None:
        self._running = True
        self.set()

    def stop(self) -> None:
        """Wake no more."""
        self._running = False
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def set(self) -> None:
        """Take it that something is on the agenda that may be due before all else."""
        at = self._agenda.next_at
        if not self._running or at is None:
            return
        if self._call is not None:
            if self._call.getTime() <= at:
                return  # it comes early, and is set anew then
            self._call.cancel()
        delay_s = max(0.0, at - self._clock.seconds())
        self._call = self._clock.callLater(delay_s, self._wake)

    def _wake(self) -> None:
        self._call = None
        for at, thing in self._agenda.due(self._clock.seconds(), SLICE):
            try:
                self._act(thing, at)
            except Exception:  # noqa: BLE001 - the other lights must not stand still
                self._log.failure("what was due could not be done")
        self.set()
