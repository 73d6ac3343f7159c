"""The table of devices: in memory at once, in the store one batch after the other."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.fleet import Fleet, Record
from voicestatus.devices.catching_up import RETRY_AFTER_S, CatchingUp
from voicestatus.devices.news import News
from voicestatus.devices.records import KIND, Records, merged, refilled
from voicestatus.store.documents import (
    Change,
    Document,
    Documents,
    FateUnknown,
    VersionConflict,
)
from voicestatus.tasks import Tasks

FLUSH_EVERY_S = 60.0
"""How long the store may lag behind in what devices say of themselves."""
LONGEST_PAUSE_S = 30.0
BATCH = 500
"""Documents in one batch: some milliseconds of encoding, and a light waits."""
TRIES = 10
"""How often one decides anew because another node wrote first."""


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

    Other nodes write the same documents. They tell of it, and it is read; a write that
    comes too early for that is refused by the store, and decided once more.
    """

    _log = Logger()

    def __init__(
        self,
        documents: Documents,
        clock: IReactorTime,
        wishes: Callable[[int], Sequence[Wish]],
        news: News | None,
        learnt: Callable[[Record | None, Record | None], object],
    ) -> None:
        """Take how to tell other nodes; None: there are none.

        `wishes` returns what else waits to be stored, at most so many. `learnt` is
        told what another node made of a record: before and after, None: none.
        """
        self._records = Records(documents, shared=news is not None)
        self._clock, self._wishes, self._news = clock, wishes, news
        self._learnt = learnt
        self.fleet = Fleet()
        self.unreadable: set[str] = set()
        """The ids of documents that are no record to us."""
        self.loaded = False
        self._unsaved: set[str] = set()
        self._unsaved_now: set[str] = set()
        self._lock = DeferredLock()
        self.others = CatchingUp(self, self._records, self._lock, clock)
        """What other nodes write."""
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
            self.others.end()
            if self._news is not None:
                self._news.flush()

    async def _load(self, loaded: Callable[[], object]) -> None:
        pause_s = 1.0
        while not self.loaded:
            try:
                found = await self._records.all()
            except StoreError as e:
                self._log.warn("the devices cannot be read yet: {why}", why=str(e))
                await deferLater(self._clock, pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                for document in found:
                    if (record := self._read(document)) is not None:
                        self.fleet.put(record)
                self.loaded = True
        loaded()
        self.others.read_soon()

    def _read(self, document: Document) -> Record | None:
        record = self._records.read(document)
        if record is None:
            self.unreadable.add(document.id)
        else:
            self.unreadable.discard(document.id)
        return record

    # ---- stored first --------------------------------------------------------------

    async def add(self, record: Record, also: tuple[Change, ...]) -> None:
        """:raises Refusal: `DEVICE_EXISTS`."""
        async with self._lock:
            self._refuse_until_loaded()
            if self.get(record.id) is not None or record.id in self.unreadable:
                raise already_there(record.id)
            try:
                await self._write([record], *also)
            except VersionConflict as e:
                if e.kind != KIND:  # one of `also`
                    raise
                await self.others.read_again([record.id])
                raise already_there(record.id) from None
            self.fleet.put(record)
            self._tell([record.id])

    async def change(
        self, id_: str, change: Callable[[Record], Record], also: tuple[Change, ...]
    ) -> Record:
        """:raises Refusal: `DEVICE_NOT_FOUND`, and what `change` raises."""
        async with self._lock:
            await self._change(id_, change, also)
            # Once more, on what it is now: the device may have spoken meanwhile.
            changed = change(self._known(id_))
            self.fleet.put(changed)
            self._tell([id_])
            return changed

    async def _change(
        self, id_: str, change: Callable[[Record], Record], also: tuple[Change, ...]
    ) -> None:
        for tries_left in reversed(range(TRIES)):
            changed = change(self._known(id_))
            try:
                await self._write([changed], *also)
            except VersionConflict as e:
                if e.kind != KIND or not tries_left:
                    raise
                await self.others.read_again([id_])
            else:
                return

    async def remove(self, id_: str, also: tuple[Change, ...]) -> None:
        """:raises Refusal: `DEVICE_NOT_FOUND`."""
        async with self._lock:
            self._known(id_)
            await self._records.delete(id_, *also)
            self._drop(id_)
            if self._news is not None:
                self._news.forgotten(id_)

    async def _write(
        self, records: Sequence[Record], *also: Change, lasting: bool = True
    ) -> None:
        try:
            await self._records.write(records, *also, lasting=lasting)
        except FateUnknown:
            if self._news is not None:  # what has become of it is read
                ids = [record.id for record in records]
                self._news.changed(ids)
                self.others.wrote(ids)
            raise

    def _known(self, id_: str) -> Record:
        self._refuse_until_loaded()
        record = self.get(id_)
        if record is None:
            raise not_found(id_)
        if id_ in self.others.missing:
            raise StoreError(f"device {id_} is known and not stored; is it forgotten?")
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
        """Write some of what waits; False: there was nothing."""
        unsaved = tuple(islice(self._unsaved_now, BATCH))
        self._unsaved_now.difference_update(unsaved)
        self._unsaved.difference_update(unsaved)
        wished = {wish.record.id: wish.record for wish in wishes}
        known = map(self.get, filter(self.is_open, set(unsaved) - wished.keys()))
        records = [record for record in (*known, *wished.values()) if record]
        if not records:
            return bool(unsaved)
        try:
            await self._write(records, lasting=bool(wishes))
        except VersionConflict:
            self._unsaved_now.update(unsaved)
            await self.others.read_again(record.id for record in records)
            return True
        except BaseException:
            self._unsaved_now.update(unsaved)
            raise
        self._tell(record.id for record in records)
        for wish in wishes:
            wish.stored()
        return True

    # ---- what other nodes write ----------------------------------------------------

    def is_open(self, id_: str) -> bool:
        """Whether what is stored of an id is ours to write."""
        return id_ not in self.unreadable and id_ not in self.others.missing

    @property
    def complete(self) -> bool:
        """Whether all is known that is stored, and stored all that is known."""
        return self.loaded and not self.unreadable and not self.others.missing

    def refill(self) -> None:
        """Take it that the store came back empty: write again what is known."""
        self._records.emptied()
        self.others.missing.clear()
        self._unsaved_now |= {record.id for record in self.fleet}
        self.wake()

    def take(self, document: Document) -> None:
        """Take what is stored, and what happened here since it was last seen."""
        ours, seen = self.get(document.id), self._records.seen(document.id)
        stored = self._read(document)
        if stored is None:
            return
        now = stored
        if ours is not None:
            new = Record(id=ours.id, approved=ours.approved)
            now = merged(stored, seen.record if seen else new, ours)
            if seen is not None and seen.version is None:
                now = refilled(now, ours)
        if now == stored:
            self._unsaved.discard(document.id)
            self._unsaved_now.discard(document.id)
        else:
            self._unsaved_now.add(document.id)
            self.wake()
        if now != ours:
            self.fleet.put(now)
            self._learnt(ours, now)

    def lose(self, id_: str) -> None:
        """Take it that another node deleted it."""
        before = self.get(id_)
        self._drop(id_)
        self._learnt(before, None)

    def _drop(self, id_: str) -> None:
        self.fleet.remove(id_)
        self._records.forget(id_)
        self._unsaved.discard(id_)
        self._unsaved_now.discard(id_)

    def _tell(self, ids: Iterable[str]) -> None:
        if self._news is not None:
            self._news.changed(ids)


def already_there(id_: str) -> Refusal:
    return Refusal("DEVICE_EXISTS", f"there is a device {id_}", id=id_)


def not_found(id_: str) -> Refusal:
    return Refusal("DEVICE_NOT_FOUND", f"there is no device {id_}", id=id_)
