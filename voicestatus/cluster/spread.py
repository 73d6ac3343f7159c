"""Over how many shards the bot is spread: one number, and all nodes go by it."""

from collections.abc import Callable
from typing import Final, Protocol

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from voicestatus.cluster import scripts, wire
from voicestatus.cluster.bus import NEWS_MAX, Bus
from voicestatus.core.errors import StoreError
from voicestatus.tasks import Tasks

AGAIN_S: Final = 0.5
ANY: Final = "*"


class Spread(Protocol):
    """The port."""

    @property
    def problem(self) -> str | None:
        """Why what holds is not known yet."""
        ...

    def follow(self, changed: Callable[[int], object]) -> object:
        """Call `changed` with each number that another node has brought about."""
        ...

    async def current(self) -> int | None:
        """Return what holds; None: nobody has wished for a number yet."""
        ...

    async def agree(self, count: int, instead_of: int | str | None = None) -> int:
        """Wish for `count`; return what holds for all, from now on.

        It holds where there is none yet, or `instead_of` is what has held, or ANY.
        """
        ...


class OwnSpread:
    """The only node's wish is what holds."""

    problem = None

    def follow(self, changed: Callable[[int], object]) -> None:
        """There is nobody who could change it."""

    async def current(self) -> int | None:
        return None

    async def agree(self, count: int, instead_of: int | str | None = None) -> int:  # noqa: ARG002 - whatever has held
        return count


class AgreedSpread(Service):
    """The number that lies in Redis; whatever happens there, all come to the same."""

    def __init__(self, bus: Bus, clock: IReactorTime) -> None:
        self._bus, self._clock = bus, clock
        self._count: int | None = None
        self.problem: str | None = None
        self._heard = 0
        self._changed: Callable[[int], object] = lambda _: None
        self._tasks = Tasks()
        bus.subscribe(self._hear, self._missed)

    def follow(self, changed: Callable[[int], object]) -> None:
        self._changed = changed

    async def current(self) -> int | None:
        return await self._ask(None, "") or None

    async def agree(self, count: int, instead_of: int | str | None = None) -> int:
        self._count = await self._settle(count, instead_of or "")
        return self._count

    def stopService(self) -> None:
        super().stopService()
        self._tasks.cancel()

    async def _settle(self, count: int, old: int | str) -> int:
        heard = -1
        while heard != self._heard:  # what was heard meanwhile may be newer
            heard = self._heard
            count, old = await self._ask(count, old), ""
        return count

    async def _ask(self, count: int | None, instead_of: int | str) -> int:
        news = b"" if count is None else wire.encode(wire.Spread(count))
        asked = ("" if count is None else count, instead_of, news, NEWS_MAX)
        while True:
            try:
                found = int(await self._bus.run(scripts.SPREAD, *asked) or 0)
            except StoreError as e:
                self.problem = f"the nodes cannot agree who acts: {e}"
                await deferLater(self._clock, AGAIN_S)
            else:
                self.problem = None
                return found

    def _hear(self, news: wire.News) -> None:
        if isinstance(news, wire.Spread):
            self._heard += 1
            self._take(news.count)

    def _missed(self) -> None:
        """Look what holds; a Redis that has forgotten it is told."""
        if self._count is not None and self.running:
            self._tasks.spawn("agreeing on the shards", self._look(self._count))

    async def _look(self, count: int) -> None:
        self._take(await self._settle(count, ""))

    def _take(self, count: int) -> None:
        if self._count is not None and count != self._count:
            self._count = count
            self._changed(count)
