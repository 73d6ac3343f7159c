"""Writes what changes often: in batches, one after the other, the newest state each."""

from collections import deque
from collections.abc import Callable, Coroutine, Hashable
from itertools import islice
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from voicestatus.core.errors import StoreError
from voicestatus.store.documents import Change, Documents, Fence, Fenced
from voicestatus.tasks import Tasks

BATCH = 500
"""Documents: to make them ready must not hold the reactor up."""
RETRY_AFTER_S = 5.0

Act = Callable[[], Coroutine[Any, Any, None]]


class Writer:
    """Remembers what differs from what is stored, by name only, until it is written.

    An act comes after all is written that differed when it was asked for, so that a
    process that dies has never done what it does not know of.
    """

    _log = Logger()

    def __init__(self, documents: Documents, clock: IReactorTime, what: str) -> None:
        """`what` names the documents in the log."""
        self._documents, self._clock, self._what = documents, clock, what
        self._fence: Fence | None = None
        self._marked: dict[Hashable, Callable[[], Change]] = {}
        self._acts: deque[Act] = deque()
        self._lock = DeferredLock()
        self._tasks = Tasks()
        self._working = False
        self._may_write = False
        self._retry: IDelayedCall | None = None

    def begin(self, fence: Fence | None) -> None:
        """Write with this fence from now on."""
        self._marked.clear()
        self._fence, self._may_write = fence, True

    async def end(self) -> None:
        """Write what is not written yet, unless the store refuses; begin no act."""
        self._may_write = False
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._acts.clear()
        self._tasks.cancel()
        try:
            await self._write_marked()
        except StoreError as e:
            why = str(e)
            self._log.warn("{what} are not stored: {why}", what=self._what, why=why)
        self._marked.clear()

    def mark(self, name: Hashable, make: Callable[[], Change]) -> None:
        """Take it that a document differs; `make` says what it is by then."""
        if self._may_write:  # else it is somebody else's by now
            self._marked[name] = make
            self._wake()

    def then(self, act: Act) -> None:
        """Do this when all is written. If it raises StoreError, it is done again."""
        if self._may_write:
            self._acts.append(act)
            self._wake()

    async def write(
        self, *changes: Change, done: Callable[[], object] = lambda: None
    ) -> None:
        """Write these at once; nothing else is written before `done` was called.

        :raises StoreError: when they were not written.
        """
        async with self._lock:
            await self._documents.write(*changes, fence=self._fence)
            done()

    def _wake(self) -> None:
        if not self._working and self._retry is None:
            self._working = True
            self._tasks.spawn(f"writing {self._what}", self._work())

    def _try_again(self) -> None:
        self._retry = None
        self._wake()

    async def _work(self) -> None:
        try:
            while self._marked or self._acts:
                await self._go_on()
        except Fenced as e:
            # Somebody else acts already: who lends us the lease will say so, too.
            self._may_write = False
            self._log.warn(
                "{what} belong to another node now: {why}", what=self._what, why=str(e)
            )
        except StoreError as e:
            self._log.warn(
                "{what} cannot be stored now: {why}", what=self._what, why=str(e)
            )
            self._retry = self._clock.callLater(RETRY_AFTER_S, self._try_again)
        finally:
            self._working = False

    async def _go_on(self) -> None:
        acts = len(self._acts)
        await self._write_marked()
        for _ in range(acts):
            await self._acts[0]()
            self._acts.popleft()

    async def _write_marked(self) -> None:
        async with self._lock:
            while self._marked:
                batch = dict(islice(self._marked.items(), BATCH))
                for name in batch:
                    del self._marked[name]
                try:
                    changes = [make() for make in batch.values()]
                    await self._documents.write(*changes, fence=self._fence)
                except BaseException:
                    # What was marked anew meanwhile is as good.
                    self._marked = batch | self._marked
                    raise
