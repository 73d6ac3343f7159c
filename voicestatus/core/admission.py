"""How many may come: connections in all, and strangers of one address. Pure."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections there may be; 0 means any number."""

    in_all: int = 0
    per_address: int = 0


class Admission(Generic[K]):
    """Counts connections, and of each address those that are not let in.

    Who is let in counts for no address: all signs of a house, or behind a tunnel,
    have the same one. Each call costs the same however many there are, and nothing
    is kept of who has left.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._here: dict[K, str | None] = {}
        self._strangers: dict[str, int] = {}

    def arrive(self, who: K) -> bool:
        """Count one more; False: there are too many, and it is not counted."""
        if 0 < self._limits.in_all <= len(self._here):
            return False
        self._here[who] = None
        return True

    def claim(self, who: K, address: str) -> bool:
        """Count it as a stranger of this address and no other; False: too many."""
        self.let_in(who)
        many = self._strangers.get(address, 0)
        if 0 < self._limits.per_address <= many:
            return False
        self._here[who], self._strangers[address] = address, many + 1
        return True

    def let_in(self, who: K) -> None:
        """Count it for no address any more."""
        if (address := self._here.get(who)) is None:
            return
        self._here[who] = None
        self._strangers[address] -= 1
        if not self._strangers[address]:
            del self._strangers[address]

    def depart(self, who: K) -> None:
        """Forget it."""
        self.let_in(who)
        self._here.pop(who, None)

    def __len__(self) -> int:
        return len(self._here)
