"""Time for many connections at once: one beat moves them all, none has a timer."""

from collections.abc import Hashable, Iterator
from itertools import chain, islice, takewhile
from typing import Generic, Protocol, TypeVar

PING_EVERY_S = 15.0
"""Source: esp-ws.ts, `HEARTBEAT_INTERVAL_MS`."""

MAX_MISSED = 2

SLICE = 200
"""How many are dealt with before the reactor turns: some 10 ms, and a light waits."""

K = TypeVar("K", bound=Hashable)


class Peer(Protocol):
    """Who is pinged. It sets `missed` to 0 whenever something arrives."""

    slot: int
    missed: int


P = TypeVar("P", bound=Peer)


class PingWheel(Generic[P]):
    """Says who is to be pinged, a slot of its members at each beat.

    It counts beats and not seconds: after our own process was stopped for a minute
    nobody is taken for dead who had no chance to answer.
    """

    def __init__(self, slots: int) -> None:
        self._slots: list[set[P]] = [set() for _ in range(slots)]
        self._turned_s = [0.0] * slots
        """When each slot's members were pinged last: one number for all of them."""
        self._at = self._newest = 0

    def add(self, peer: P) -> None:
        # In turn, not by the moment: a whole fleet that comes back within a second
        # is spread over the round.
        self._newest = (self._newest + 1) % len(self._slots)
        peer.slot, peer.missed = self._newest, 0
        self._slots[self._newest].add(peer)

    def remove(self, peer: P) -> None:
        self._slots[peer.slot].discard(peer)

    def turn(self, now_s: float) -> tuple[list[P], list[P]]:
        """Turn by a slot; return whom to ping, and who is dead.

        Dead is who has left two pings unanswered.
        """
        self._at = (self._at + 1) % len(self._slots)
        self._turned_s[self._at] = now_s
        alive, dead = [], []
        for peer in self._slots[self._at]:
            if peer.missed >= MAX_MISSED:
                dead.append(peer)
            else:
                peer.missed += 1
                alive.append(peer)
        return alive, dead

    def turned_s(self, slot: int) -> float:
        """Return when the members of a slot were pinged last."""
        return self._turned_s[slot]

    def __len__(self) -> int:
        return sum(map(len, self._slots))

    def __iter__(self) -> Iterator[P]:
        return chain.from_iterable(self._slots)


class Deadlines(Generic[K]):
    """Those that have `after_s` seconds from when they were added."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        # All wait equally long, so that the order of arrival is that of the ends.
        self._until: dict[K, float] = {}

    def add(self, key: K, now_s: float) -> None:
        self._until.pop(key, None)
        self._until[key] = now_s + self._after_s

    def discard(self, key: K) -> None:
        self._until.pop(key, None)

    def due(self, now_s: float) -> list[K]:
        """Take out those whose time is over, the first `SLICE` of them."""
        ended = takewhile(lambda key: self._until[key] <= now_s, self._until)
        over = list(islice(ended, SLICE))
        for key in over:
            del self._until[key]
        return over

    def __len__(self) -> int:
        return len(self._until)

    def __iter__(self) -> Iterator[K]:
        return iter(self._until)


class Seldom:
    """Lets the first of many alike be said at once, then one line a minute."""

    def __init__(self, every_s: float = 60.0) -> None:
        self._every_s = every_s
        self._next_s = float("-inf")
        self._unsaid = 0

    def happened(self, now_s: float) -> int:
        """Count one; return how many to tell of now, 0 for silence."""
        self._unsaid += 1
        if now_s < self._next_s:
            return 0
        self._next_s = now_s + self._every_s
        many, self._unsaid = self._unsaid, 0
        return many
