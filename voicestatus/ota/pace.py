"""How many bytes may go in a second: in all, and to each address. Pure."""

from collections import OrderedDict
from dataclasses import dataclass

BURST_S = 0.02
"""What was not used of so much time may be used at once."""
MAX_ADDRESSES = 4096


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes a second."""

    in_all: float = 32e6
    per_address: float = 8e6
    """A whole house has one address: forty devices that write to flash at once."""


class Pace:
    """Says when the next bytes may go; whoever asks first goes first."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._next_s = 0.0
        self._next_by_address: OrderedDict[str, float] = OrderedDict()

    def take(self, address: str, size_bytes: int, now_s: float) -> float:
        """Count bytes that are to go to an address; return in how many seconds."""
        first_s = now_s - BURST_S
        at_s = max(self._next_s, first_s)
        self._next_s = at_s + size_bytes / self._rates.in_all
        own_s = max(self._next_by_address.pop(address, 0.0), first_s)
        self._next_by_address[address] = own_s + size_bytes / self._rates.per_address
        if len(self._next_by_address) > MAX_ADDRESSES:
            self._next_by_address.popitem(last=False)
        return max(at_s, own_s) - now_s
