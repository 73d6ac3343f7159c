"""One thread for calls that block, asked from the reactor's thread."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from voicestatus.core.errors import StoreError
from voicestatus.store.documents import FateUnknown

T = TypeVar("T")

WAITING_MAX = 10_000
"""Calls that may wait; more means that storage stands still."""


class Worker:
    """Does one call after another, in the order asked, each within `limit_s`."""

    def __init__(
        self, reactor: Any, limit_s: float, waiting_max: int = WAITING_MAX
    ) -> None:
        self._reactor, self._limit_s = reactor, limit_s
        self._waiting_max = waiting_max
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def start(self) -> None:
        # A daemon: a disk that hangs for ever must not keep the process alive.
        Thread(target=self._work, name="voicestatus store", daemon=True).start()

    def stop(self) -> None:
        """End the thread after what was asked so far."""
        self._jobs.put(None)

    def do(self, call: Callable[[], T], limit_s: float | None = None) -> Deferred[T]:
        """Run `call` in the thread.

        A call that is given up (too late, or cancelled) while it waits is never
        run; one that is given up while it runs may still take effect.

        :raises StoreError: when its turn does not come within `limit_s`.
        :raises FateUnknown: when it began, and did not end within `limit_s`.
        """
        turn = Lock()  # whoever takes it, the thread or who gives up, has it for good
        never_runs = False

        def give_up(_: object) -> None:
            nonlocal never_runs
            never_runs = turn.acquire(blocking=False)

        def job() -> None:
            if turn.acquire(blocking=False):
                self._reactor.callFromThread(finish, _outcome(call))

        done: Deferred[T] = Deferred(give_up)

        def finish(result: T | Failure) -> None:
            if not done.called:
                done.callback(result)  # a Failure makes it fail

        if self._jobs.qsize() >= self._waiting_max:
            done.errback(StoreError(f"storage is {self._waiting_max} calls behind"))
            return done
        self._jobs.put(job)
        return done.addTimeout(
            self._limit_s if limit_s is None else limit_s,
            self._reactor,
            lambda _, waited_s: _too_late(waited_s, never_runs),
        )

    def _work(self) -> None:
        for job in iter(self._jobs.get, None):
            job()


def _outcome(call: Callable[[], T]) -> T | Failure:
    try:
        return call()
    except BaseException:  # noqa: BLE001 - whatever it is, the asker must hear it
        return Failure()


def _too_late(limit_s: float, never_runs: bool) -> Failure:
    late = f"storage did not answer within {limit_s:g} s"
    if never_runs:
        return Failure(StoreError(late))
    return Failure(FateUnknown(f"{late}; a write may have happened, or not"))
