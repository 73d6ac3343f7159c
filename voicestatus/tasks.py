"""Owner of coroutines."""

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure


class Tasks:
    """The coroutines of one service: none outlives it, none fails unseen."""

    _log = Logger()

    def __init__(self) -> None:
        self._running: set[Deferred[None]] = set()

    def spawn(self, what: str, coro: Coroutine[Deferred[Any], Any, None]) -> None:
        """Run `coro` now; `what` names it in the log should it fail."""
        d = Deferred.fromCoroutine(coro)
        self._running.add(d)
        d.addErrback(self._failed, what)
        d.addBoth(lambda _: self._running.discard(d))

    def cancel(self) -> None:
        """Cancel all; call it from `stopService`."""
        for d in tuple(self._running):
            d.cancel()

    def _failed(self, failure: Failure, what: str) -> None:
        if not failure.check(CancelledError):
            self._log.failure("{what} failed", failure, what=what)
