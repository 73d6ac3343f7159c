"""Who may go first when only so many may go at a time."""

from collections import deque

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime


class Line:
    """So many places, and a line in front of them."""

    def __init__(self, places: int, clock: IReactorTime) -> None:
        self._places, self._clock = places, clock
        self.taken = 0
        self._waiting: deque[Deferred[None]] = deque()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    async def enter(self, patience_s: float) -> bool:
        """Take a place, if need be when one is free; False: none was for so long."""
        if self.taken < self._places:
            self.taken += 1
            return True
        if not patience_s:
            return False
        turn: Deferred[None] = Deferred()
        turn.addTimeout(patience_s, self._clock)
        self._waiting.append(turn)
        try:
            await turn
        except TookTooLong:
            return False
        finally:
            # Who was let in was taken out already.
            if turn in self._waiting:
                self._waiting.remove(turn)
        return True

    def leave(self) -> None:
        """Give the place to who waits longest."""
        if self._waiting:
            self._waiting.popleft().callback(None)
        else:
            self.taken -= 1
