"""The table of devices: in memory at once, in the store one batch after the other."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.fleet import Fleet, Record
from voicestatus.devices.records import Records
from voicestatus.store.documents import Change, Documents
from voicestatus.tasks import Tasks

FLUSH_EVERY_S = 60.0
"""How long the store may lag behind in what devices say of themselves."""
RETRY_AFTER_S = 5.0
LONGEST_PAUSE_S = 30.0
BATCH = 500
"""Documents in one batch: some milliseconds of encoding, and a light waits."""


class Wish(Protocol):
    """A record that has to be stored before it counts."""

    record: Record

    def stored(self) -> None:
        """Take it that it is durable."""
        ...


class Table:
    """Keeps the records. One write is in flight at a time, so that none is lost.

    What an admin does, and tokens, are stored first and count then. What a device says
    or does counts first and is stored later, many together.
    """

    _log = Logger()

    def __init__(
        self,
        documents: Documents,
        clock: IReactorTime,
        wishes: Callable[[int], Sequence[Wish]],
    ) -> None:
        """`wishes` returns what else waits to be stored, at most so many."""
        self._records, self._clock, self._wishes = Records(documents), clock, wishes
        self.fleet = Fleet()
        self.unreadable: frozenset[str] = frozenset()
        """The ids of documents that are no record to us."""
        self.loaded = False
        self._unsaved: set[str] = set()
        self._unsaved_now: set[str] = set()
        self._lock = DeferredLock()
        self._tasks = Tasks()
        self._working = False
        self._flush: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None

    def __iter__(self) -> Iterator[Record]:
        return iter(self.fleet)

    def __len__(self) -> int:
        return len(self.fleet)

    def get(self, id_: str) -> Record | None:
        return self.fleet.get(id_)

    # ---- its life ------------------------------------------------------------------

    def open(self, loaded: Callable[[], object]) -> None:
        """Begin to read; tell when all is read."""
        self._tasks.spawn("reading the devices", self._load(loaded))

    async def close(self) -> None:
        """Write what is not written yet, unless the store refuses."""
        for call in (self._flush, self._retry):
            if call is not None and call.active():
                call.cancel()
        try:
            async with self._lock:
                self._unsaved_now |= self._unsaved
                while self._unsaved_now:
                    await self._write_batch(())
        except StoreError as e:
            self._log.warn("what devices said last is not stored: {why}", why=str(e))
        finally:
            self._tasks.cancel()

    async def _load(self, loaded: Callable[[], object]) -> None:
        pause_s = 1.0
        while not self.loaded:
            try:
                records, self.unreadable = await self._records.load()
            except StoreError as e:
                self._log.warn("the devices cannot be read yet: {why}", why=str(e))
                await deferLater(self._clock, pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                for record in records:
                    self.fleet.put(record)
                self.loaded = True
        loaded()

    # ---- stored first --------------------------------------------------------------

    async def add(self, record: Record, also: tuple[Change, ...]) -> None:
        """:raises Refusal: `DEVICE_EXISTS`."""
        async with self._lock:
            self._refuse_until_loaded()
            if self.get(record.id) is not None or record.id in self.unreadable:
                text = f"there is a device {record.id}"
                raise Refusal("DEVICE_EXISTS", text, id=record.id)
            put = self._records.putting(record)
            await self._records.write(put, *also, lasting=True)
            self.fleet.put(record)

    async def change(
        self, id_: str, change: Callable[[Record], Record], also: tuple[Change, ...]
    ) -> Record:
        """:raises Refusal: `DEVICE_NOT_FOUND`, and what `change` raises."""
        async with self._lock:
            changed = change(self._known(id_))
            put = self._records.putting(changed)
            await self._records.write(put, *also, lasting=True)
            # Once more, on what it is now: the device may have spoken meanwhile.
            changed = change(self._known(id_))
            self.fleet.put(changed)
            return changed

    async def remove(self, id_: str, also: tuple[Change, ...]) -> None:
        """:raises Refusal: `DEVICE_NOT_FOUND`."""
        async with self._lock:
            self._known(id_)
            deleted = self._records.deleting(id_)
            await self._records.write(deleted, *also, lasting=True)
            self.fleet.remove(id_)

    def _known(self, id_: str) -> Record:
        self._refuse_until_loaded()
        record = self.get(id_)
        if record is None:
            raise not_found(id_)
        return record

    def _refuse_until_loaded(self) -> None:
        if not self.loaded:
            raise StoreError("the devices are not read yet")

    # ---- stored later --------------------------------------------------------------

    def save(self, record: Record, *, soon: bool = False) -> None:
        """Take a record; it is stored within `FLUSH_EVERY_S`, or in the next batch."""
        self.fleet.put(record)
        if soon:
            self._unsaved_now.add(record.id)
            self.wake()
            return
        self._unsaved.add(record.id)
        if self._flush is None:
            self._flush = self._clock.callLater(FLUSH_EVERY_S, self._flush_now)

    def wake(self) -> None:
        """Take it that there is something to store."""
        if self._retry is None and not self._working and self.loaded:
            self._working = True
            self._tasks.spawn("writing the devices", self._work())

    def _flush_now(self) -> None:
        self._flush = None
        self._unsaved_now |= self._unsaved
        self.wake()

    def _try_again(self) -> None:
        self._retry = None
        self.wake()

    async def _work(self) -> None:
        more = True
        try:
            while more:
                async with self._lock:
                    more = await self._write_batch(self._wishes(BATCH))
        except StoreError as e:
            self._log.warn("the devices cannot be stored now: {why}", why=str(e))
            self._retry = self._clock.callLater(RETRY_AFTER_S, self._try_again)
        finally:
            self._working = False

    async def _write_batch(self, wishes: Sequence[Wish]) -> bool:
        """Write what waits; False: there was nothing."""
        unsaved = tuple(islice(self._unsaved_now, BATCH))
        self._unsaved_now.difference_update(unsaved)
        self._unsaved.difference_update(unsaved)
        wished = {wish.record.id: wish.record for wish in wishes}
        known = map(self.get, set(unsaved) - wished.keys())
        records = [record for record in (*known, *wished.values()) if record]
        if not records:
            return False
        try:
            changes = map(self._records.putting, records)
            await self._records.write(*changes, lasting=bool(wishes))
        except BaseException:
            self._unsaved_now.update(unsaved)
            raise
        for wish in wishes:
            wish.stored()
        return True


def not_found(id_: str) -> Refusal:
    return Refusal("DEVICE_NOT_FOUND", f"there is no device {id_}", id=id_)
