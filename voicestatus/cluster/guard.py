"""A reactor for those who may act under a lease alone."""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall


class GuardedReactor:
    """Checks the lease before each timer.

    After a pause of the whole process all timers are due at once, in their order: the
    lease's own end is not the first of them.
    """

    def __init__(self, reactor: Any, check: Callable[[], object]) -> None:
        """`check` ends, before it returns, whatever may act no longer."""
        self._reactor, self._check = reactor, check

    def callLater(  # noqa: N802 - Twisted's name
        self, delay: float, function: Callable[..., object], *args: Any, **kwargs: Any
    ) -> IDelayedCall:
        def call() -> None:
            self._check()
            # What was ended takes it for a late call, as any other.
            function(*args, **kwargs)

        later: IDelayedCall = self._reactor.callLater(delay, call)
        return later

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)
