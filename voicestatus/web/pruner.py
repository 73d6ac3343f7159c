"""Forgets what is over, once an hour."""

from collections.abc import Awaitable, Callable

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from voicestatus.core.errors import StoreError
from voicestatus.tasks import Tasks

PRUNE_EVERY_S = 3600.0


class Pruner(Service):
    """Prunes one thing while it runs."""

    _log = Logger()

    def __init__(
        self, what: str, prune: Callable[[], Awaitable[None]], clock: IReactorTime
    ) -> None:
        """Take what it is called in the log."""
        self._what, self._prune = what, prune
        self._tasks = Tasks()
        self._loop = LoopingCall(
            lambda: self._tasks.spawn(f"pruning {what}", self._once())
        )
        self._loop.clock = clock

    def startService(self) -> None:
        super().startService()
        # At once, too: a server that runs an hour a day forgets as well.
        self._loop.start(PRUNE_EVERY_S)

    def stopService(self) -> None:
        super().stopService()
        self._loop.stop()
        self._tasks.cancel()

    async def _once(self) -> None:
        try:
            await self._prune()
        except StoreError as e:
            self._log.warn("{what} was not pruned: {why}", what=self._what, why=str(e))
