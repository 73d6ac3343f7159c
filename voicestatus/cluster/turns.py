"""What no two nodes may do at the same time, nor too soon one after the other."""

from typing import Protocol

from voicestatus.cluster import scripts
from voicestatus.cluster.bus import Bus


class Turns(Protocol):
    """The port. Times are Redis'; with one node there is nobody to wait for."""

    async def take(self, name: str, for_s: float) -> float:
        """Return 0 when it is our turn, for so long; else how long it is another's.

        :raises StoreError: when Redis does not answer.
        """
        ...

    async def give(self, name: str, after_s: float) -> None:
        """End our turn; the next one begins `after_s` from now.

        :raises StoreError: when Redis does not answer: it ends by itself.
        """
        ...


class OwnTurns:
    """It is always the only node's turn."""

    async def take(self, name: str, for_s: float) -> float:  # noqa: ARG002 - any
        return 0.0

    async def give(self, name: str, after_s: float) -> None:
        """Nobody waits for it."""


class SharedTurns:
    """Turns that lie in Redis."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def take(self, name: str, for_s: float) -> float:
        return int(await self._bus.run(scripts.TURN, name, *self._for(for_s))) / 1000

    async def give(self, name: str, after_s: float) -> None:
        await self._bus.run(scripts.PASS, name, *self._for(after_s))

    def _for(self, seconds: float) -> tuple[str, int]:
        return self._bus.node, int(1000 * seconds)
