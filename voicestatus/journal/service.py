"""Gives back what a restart needs, and has it kept while the program runs."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from voicestatus.core.errors import StoreError
from voicestatus.core.guild import Picture, Voice
from voicestatus.core.ids import UserId
from voicestatus.core.presence import Restored, Sharded, shard_of
from voicestatus.core.session import SessionState
from voicestatus.hub import Hub
from voicestatus.journal.keeper import BATCH_MAX, Desk, Keeper, Link, Stored
from voicestatus.journal.metrics import JournalMetrics
from voicestatus.journal.records import Found, Records, Source
from voicestatus.store.documents import Documents, Fence
from voicestatus.tasks import Tasks

HELD_FOR_S: Final = 86_400.0
"""An older picture is yesterday's: signs wait for Discord instead."""
LOAD_WITHIN_S: Final = 10.0
"""A store that hangs must not keep us offline."""
HAND_OVER_WITHIN_S: Final = 0.5
"""The next holder stores all of it anyway."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is stored of one shard: a session, and the picture that it stands for."""

    session: SessionState
    me: UserId
    guilds: tuple[tuple[Picture, tuple[Voice, ...]], ...]
    count: int


class Journal(Service):
    """Restores the presence at the start; then `Keeper` stores what changes in it.

    The only node keeps all shards in one, so that a batch is one moment of all. One of
    several keeps each shard that it holds, under that shard's fence.
    """

    _log = Logger()

    def __init__(
        self,
        hub: Hub,
        documents: Documents,
        *,
        made_for: str,
        clock: IReactorTime,
        wall: Callable[[], float],
        registry: CollectorRegistry,
        batch_max: int = BATCH_MAX,
    ) -> None:
        """Take `made_for` of `records.made_for`: what a session is good for."""
        self._hub, self._clock, self._wall = hub, clock, wall
        self._made_for = made_for
        self._records = Records(documents)
        self._desk = Desk(
            hub,
            documents,
            self._records,
            made_for,
            clock,
            wall,
            JournalMetrics(registry, self._waiting),
            batch_max,
        )
        self._tasks = Tasks()
        self._count = 0
        self._keepers: dict[int | None, Keeper] = {}
        """By shard; None: the one for all of them."""

        self._loaded = False
        self._awaiting: list[Deferred[None]] = []
        self._stored: Stored | None = None
        """What was there at the start, as far as it could be read."""
        self._resumable: dict[int, SessionState] = {}
        """Sessions that were stored and that their shards have not taken yet."""
        self._stored_count: int | None = None

    def startService(self) -> None:
        super().startService()
        self._tasks.spawn("restoring the presence", self._load())

    def stopService(self) -> Deferred[None]:
        """Store what is not stored yet; the links must have ended before."""
        super().stopService()
        self._tasks.cancel()
        return Deferred.fromCoroutine(self._end())

    # ---- what was ------------------------------------------------------------------

    async def shard_count(self) -> int | None:
        """Wait until the presence was restored, if it can be.

        Return the number of shards that could be resumed.
        """
        await self._restoring()
        return self._stored_count

    async def restored(self, shard: int) -> SessionState | None:
        """Wait as `shard_count`; return the session that stands for the presence.

        None: this shard must identify.
        """
        await self._restoring()
        return self._resumable.pop(shard, None)

    async def recall(self, shard: int) -> Recalled | None:
        """Read again what is stored of a shard; None: there is no session."""
        try:
            found = await self._in_time(self._records.read())
        except (StoreError, defer.TimeoutError) as e:
            self._desk.failed("what is stored cannot be read", e)
            return None
        source = found.sources.get(shard)
        if source is None or source.session is None or not self._fits(source):
            return None
        if source.count != self._count:
            return None
        guilds = tuple(
            (picture, voices)
            for picture, voices in found.guilds
            if shard_of(picture.guild, self._count) == shard
        )
        return Recalled(source.session, source.me, guilds, self._count)

    # ---- what is -------------------------------------------------------------------

    def spread(self, count: int) -> None:
        """Take it that there are so many shards; each one's link is added anew.

        Sessions among another number of shards stand for other guilds.
        """
        self._count = count
        if count != self._stored_count:
            self._resumable.clear()
        self._hub.apply(Sharded(count))
        if (for_all := self._keepers.get(None)) is not None:
            for_all.spread(count)

    def add(self, shard: int, link: Link, fence: Fence | None) -> None:
        """Keep a shard's session and presence from now on, under a fence if given.

        The link is where it begins by then.
        """
        if fence is not None:
            keeper = self._keepers[shard] = Keeper(self._desk, self._count, None, fence)
        elif (for_all := self._keepers.get(None)) is not None:
            keeper = for_all
        else:
            keeper = Keeper(self._desk, self._count, self._stored)
            self._keepers[None] = keeper
        keeper.add(shard, link)

    async def drop(self, shard: int) -> None:
        """Keep a shard no more that was added with a fence; its link has ended."""
        if (keeper := self._keepers.pop(shard, None)) is not None:
            await keeper.end(HAND_OVER_WITHIN_S)

    def mark(self) -> None:
        """Take note: a session is at another place; the presence may be the same."""
        for keeper in self._keepers.values():
            keeper.mark()

    def rewrite(self) -> None:
        """Take it that nothing is stored any more, and store what is known."""
        for keeper in self._keepers.values():
            keeper.rewrite()

    # ---- the start and the end -----------------------------------------------------

    async def _restoring(self) -> None:
        if not self._loaded:
            loaded: Deferred[None] = Deferred()
            self._awaiting.append(loaded)
            await loaded

    async def _load(self) -> None:
        try:
            self._restore(await self._in_time(self._records.read()))
        except (StoreError, defer.TimeoutError) as e:
            self._desk.failed("what is stored cannot be read", e)
        finally:
            if self.running:
                self._loaded = True
                waiting, self._awaiting = self._awaiting, []
                for loaded in waiting:
                    if not loaded.called:
                        loaded.callback(None)

    def _restore(self, found: Found) -> None:
        self._stored = Stored.of(found, self._records)
        if not found.sources:
            return
        newest = max(found.sources.values(), key=lambda source: source.at)
        age_s = self._wall() - newest.at
        if age_s > HELD_FOR_S:
            self._log.info("what is stored is {hours} h old", hours=int(age_s / 3600))
            return
        ours = {
            shard: source
            for shard, source in found.sources.items()
            if source.made_for == self._made_for and source.count == newest.count
        }
        told = frozenset(ours)
        self._hub.apply(Restored(newest.me, newest.count, told, found.guilds))
        for shard, source in ours.items():
            if source.session is not None:
                self._resumable[shard] = source.session
                self._stored_count = source.count
        self._log.info(
            "restored {guilds} guilds; sessions to resume: {sessions}",
            guilds=len(found.guilds),
            sessions=len(self._resumable),
        )

    def _fits(self, source: Source) -> bool:
        """Whether it is young enough, and was made for our purpose."""
        age_s = self._wall() - source.at
        return age_s <= HELD_FOR_S and source.made_for == self._made_for

    async def _end(self) -> None:
        for keeper in self._keepers.values():
            await keeper.end()
        self._keepers.clear()

    def _waiting(self) -> float:
        return sum(keeper.waiting for keeper in self._keepers.values())

    def _in_time(self, call: Coroutine[Any, Any, T]) -> Deferred[T]:
        return Deferred.fromCoroutine(call).addTimeout(LOAD_WITHIN_S, self._clock)
