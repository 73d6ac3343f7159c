"""Who failed lately, and how long to slow it down for that. Pure."""

from collections import OrderedDict


class PenaltyBox:
    """Remembers which addresses failed lately, at most `max_addresses` of them.

    A device with a wrong token dials again as fast as the network lets it
    (Source: firmware main.cpp:721 sets the reconnect interval to 0). Being kept on
    the line slows it down; a closed door does not.
    """

    def __init__(
        self,
        first_s: float = 5.0,
        longest_s: float = 60.0,
        forget_after_s: float = 600.0,
        max_addresses: int = 4096,
    ) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._forget_after_s, self._max = forget_after_s, max_addresses
        self._next: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def fail(self, address: str, now_s: float) -> float:
        """Count a failure; return for how long it is to be held, 0 for the first."""
        hold_s, at_s = self._next.pop(address, (0.0, now_s))
        if now_s - at_s > self._forget_after_s:
            hold_s = 0.0
        longer_s = min(max(2 * hold_s, self._first_s), self._longest_s)
        self._next[address] = longer_s, now_s
        if len(self._next) > self._max:
            self._next.popitem(last=False)
        return hold_s

    def forgive(self, now_s: float) -> None:
        """Forget those that have been quiet for long enough."""
        while self._next:
            address, (_, at_s) = next(iter(self._next.items()))
            if now_s - at_s <= self._forget_after_s:
                break
            del self._next[address]

    def __len__(self) -> int:
        return len(self._next)
