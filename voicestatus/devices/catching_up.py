"""What other nodes wrote of devices, read again."""

from collections.abc import Iterable
from typing import Final, Protocol

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from voicestatus.core.errors import StoreError
from voicestatus.core.fleet import Fleet
from voicestatus.devices.records import Records
from voicestatus.store.documents import SLICE, Document
from voicestatus.tasks import Tasks

RETRY_AFTER_S: Final = 5.0
FORGOTTEN_AFTER_S: Final = 60.0
"""A store that came back empty is filled again by then: what is not there is gone."""


class Table(Protocol):
    """The table of devices, as far as it is caught up here."""

    fleet: Fleet
    loaded: bool

    def take(self, document: Document) -> object:
        """Take what is stored of a device."""
        ...

    def lose(self, id_: str) -> object:
        """Take it that another node deleted a device."""
        ...


class CatchingUp:
    """Reads under the table's lock what other nodes say that they wrote.

    A device that is known here and not stored is forgotten at once only when a node
    says so: the store may have come back empty.
    """

    _log = Logger()

    def __init__(
        self, table: Table, records: Records, lock: DeferredLock, clock: IReactorTime
    ) -> None:
        self._table, self._records = table, records
        self._lock, self._clock = lock, clock
        self.missing: set[str] = set()
        """Known here, and not stored."""
        self._told: dict[str, None] = {}
        self._told_all = self._reading = False
        self._retry: IDelayedCall | None = None
        self._look: IDelayedCall | None = None
        self._tasks = Tasks()

    def end(self) -> None:
        """Read no more."""
        self._tasks.cancel()
        for call in (self._retry, self._look):
            if call is not None and call.active():
                call.cancel()

    # ---- what nodes say ------------------------------------------------------------

    def wrote(self, ids: Iterable[str]) -> None:
        """Take it that other nodes wrote of these."""
        self._told |= dict.fromkeys(ids)
        self.read_soon()

    def may_have_written(self) -> None:
        """Take it that other nodes may have written of any."""
        self._told_all = True
        self.read_soon()

    def deleted(self, id_: str) -> None:
        """Take it that another node deleted one; it may have come anew since."""
        if not self._table.loaded:
            self._told_all = True
        elif self._table.fleet.get(id_) is not None:
            self.missing.add(id_)
            self._tasks.spawn("forgetting a device", self._settle([id_]))

    # ---- reading -------------------------------------------------------------------

    async def read_all(self) -> None:
        """:raises StoreError: not all could be read."""
        async with self._lock:
            await self._read_all()

    async def read_again(self, ids: Iterable[str]) -> None:
        """Read some; the caller holds the lock.

        :raises StoreError: not all could be read.
        """
        for id_ in tuple(ids):
            document = await self._records.get(id_)
            if document is None:
                self._miss([id_])
            else:
                self._take(document)

    def read_soon(self) -> None:
        """Read what was told, if it is time for that."""
        waits = self._told or self._told_all
        if waits and self._table.loaded and not self._reading:
            self._reading = True
            self._tasks.spawn("reading what other nodes wrote", self._read_told())

    async def _read_told(self) -> None:
        try:
            while self._told or self._told_all:
                async with self._lock:
                    told, self._told = self._told, {}
                    told_all, self._told_all = self._told_all, False
                    if told_all:
                        await self._read_all()
                    else:
                        await self.read_again(told)
        except StoreError as e:
            self._log.warn("other nodes' devices are read later: {why}", why=str(e))
            self._told_all = True
            if self._retry is None:
                self._retry = self._clock.callLater(RETRY_AFTER_S, self._try_again)
        finally:
            self._reading = False

    def _try_again(self) -> None:
        self._retry = None
        self.read_soon()

    async def _read_all(self) -> None:
        found = await self._records.all()
        for n, document in enumerate(found, 1):
            seen = self._records.seen(document.id)
            if seen is None or seen.version != document.version:
                self._take(document)
            if n % SLICE == 0:
                await self._records.pause()
        stored = {document.id for document in found}
        self._miss(r.id for r in self._table.fleet if r.id not in stored)

    def _take(self, document: Document) -> None:
        self.missing.discard(document.id)
        self._table.take(document)

    # ---- what is missing -----------------------------------------------------------

    def _miss(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            seen = self._records.seen(id_)
            # Else it is about to be written.
            if seen is not None and seen.version is not None:
                self.missing.add(id_)
        if self.missing:
            self._look_later()

    def _look_later(self) -> None:
        if self._look is None:
            self._look = self._clock.callLater(FORGOTTEN_AFTER_S, self._look_again)

    def _look_again(self) -> None:
        self._look = None
        missing = tuple(self.missing)
        self._tasks.spawn("looking for missing devices", self._settle(missing))

    async def _settle(self, ids: Iterable[str]) -> None:
        """Forget those of the missing ones that are not stored now, either."""
        try:
            async with self._lock:
                for id_ in ids:
                    document = await self._records.get(id_)
                    if document is not None:
                        self._take(document)
                    elif id_ in self.missing:
                        self.missing.discard(id_)
                        self._table.lose(id_)
        except StoreError:
            self._look_later()
