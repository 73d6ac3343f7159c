"""What is to be looked at when: one time for each thing. Pure."""

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K")
SLACK_S = 0.001
"""What is due within it is due: timers and sums of times are not exact."""
_DEAD = 64


class Agenda(Generic[K]):
    """Times for things; a later word on a thing replaces the earlier one."""

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        # Each `put` adds; what it replaced stays until it comes up, and is passed over.
        self._heap: list[tuple[float, int, K]] = []
        self._puts = 0

    def put(self, thing: K, at: float | None) -> None:
        """Look at a thing then; None: not at all."""
        if at is None:
            self._at.pop(thing, None)
        elif self._at.get(thing) != at:
            self._at[thing] = at
            self._push(at, thing)
            if len(self._heap) > 2 * len(self._at) + _DEAD:
                self._rebuild()

    def at(self, thing: K) -> float | None:
        """Return when a thing is due."""
        return self._at.get(thing)

    @property
    def next_at(self) -> float | None:
        """When something is due next."""
        while self._heap and self._at.get(self._heap[0][2]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float, most: int) -> list[tuple[float, K]]:
        """Take out what is due, the earliest `most` of it in order, with its times."""
        things: list[tuple[float, K]] = []
        while (
            len(things) < most
            and (at := self.next_at) is not None
            and at <= now + SLACK_S
        ):
            _, _, thing = heappop(self._heap)
            del self._at[thing]
            things.append((at, thing))
        return things

    def shift(self, by_s: float) -> None:
        """Move all times: the clock that they are of was set."""
        self._at = {thing: at + by_s for thing, at in self._at.items()}
        self._rebuild()

    def clear(self) -> None:
        self._at.clear()
        self._heap.clear()

    def _push(self, at: float, thing: K) -> None:
        self._puts += 1  # so that things of one time are never compared
        heappush(self._heap, (at, self._puts, thing))

    def _rebuild(self) -> None:
        self._heap = [(at, n, thing) for n, (thing, at) in enumerate(self._at.items())]
        heapify(self._heap)
        self._puts = len(self._heap)
