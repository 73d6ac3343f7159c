"""Keeps what a restart needs, always as of one place in Discord's stream of events."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeVar, assert_never

from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from voicestatus.core.errors import StoreError
from voicestatus.core.ids import GuildId
from voicestatus.core.presence import (
    Change,
    GuildChanged,
    GuildGone,
    Restored,
    Sharded,
    SourceHeard,
    VoiceChanged,
    shard_of,
)
from voicestatus.core.session import SessionState
from voicestatus.hub import Hub
from voicestatus.journal.metrics import JournalMetrics
from voicestatus.journal.records import Found, Person, Records, Source
from voicestatus.store.documents import Change as Write
from voicestatus.store.documents import Documents, Put
from voicestatus.tasks import Tasks

HELD_FOR_S: Final = 86_400.0
"""An older picture is yesterday's: signs wait for Discord instead."""
STAMP_EVERY_S: Final = 3600.0
"""A quiet server writes nothing else; its picture must not grow old for that."""
LOAD_WITHIN_S: Final = 10.0
"""A store that hangs must not keep us offline."""
WRITE_WITHIN_S: Final = 15.0
FLUSH_WITHIN_S: Final = 5.0
WINDOW_S: Final = 0.5
"""Between two batches. What comes meanwhile shares the next one; a crash replays it."""
BATCH_MAX: Final = 500
"""Documents: to make them ready must not hold the reactor up, nor to write them the
store. More come in several batches."""
LOOK_EVERY_S: Final = 10.0
"""For sequence numbers of events that change nothing here."""
LONGEST_PAUSE_S: Final = 30.0

T = TypeVar("T")


class Link(Protocol):
    """One shard's link to Discord."""

    @property
    def session_state(self) -> SessionState | None:
        """What a Resume needs as of now: the presence includes its `seq`."""
        ...

    def stored(self, state: SessionState) -> None:
        """Learn that this survives the process."""
        ...


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is being written, and what will be stored when it is."""

    whole: bool
    """Whether it is all that there is to write now."""
    writes: list[Write] = field(default_factory=list)
    guilds: dict[GuildId, int | None] = field(default_factory=dict)
    """By the hash of what will be stored; None: nothing."""
    voices: dict[Person, bool] = field(default_factory=dict)
    """Whether they will be there."""
    sources: dict[int, Source | None] = field(default_factory=dict)


class Journal(Service):
    """Restores the presence at the start; then stores what changes in it.

    One batch at a time is on its way to the store. It holds, in one transaction, all
    that has changed since the one before and each session's place in the stream as of
    that same moment. Where that is too much for one, the place comes with the last:
    documents may be ahead of it, never behind. Each event says how something is now, so
    that replaying them over what is ahead ends in the same.

    While the store is away what differs from it is remembered, by name only, and so
    never outgrows the presence and what is stored.
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
        self._hub, self._documents = hub, documents
        self._records = Records(documents)
        self._made_for, self._batch_max = made_for, batch_max
        self._clock, self._wall = clock, wall
        self._metrics = JournalMetrics(registry, self._waiting)
        self._count = 0  # of shards; 0: not said yet
        self._links: Mapping[int, Link] = {}
        self._tasks = Tasks()
        self._leave: Callable[[], object] = lambda: None
        self._looking = LoopingCall(self._soon)
        self._looking.clock = clock

        self._loaded = False
        self._awaiting: list[Deferred[None]] = []
        self._resumable: dict[int, SessionState] = {}
        """Sessions that were stored and that their shards have not taken yet."""
        self._stored_count: int | None = None

        self._call: IDelayedCall | None = None
        self._wanted = self._writing = False
        self._next_at, self._pause_s = 0.0, WINDOW_S

        self._named = False
        """Whether we know which documents are stored: those of the next lines."""
        self._guilds: dict[GuildId, int | None] = {}
        self._voices: set[Person] = set()
        self._sources: dict[int, Source | None] = {}
        # Of what is stored or should be, that which may differ.
        self._dirty_guilds: set[GuildId] = set()
        self._dirty_voices: set[Person] = set()

    def keep(self, count: int, links: Mapping[int, Link]) -> None:
        """Keep from now on these links' sessions, some or all of `count` shards.

        Sessions among another number of shards stand for other guilds.
        """
        self._count, self._links = count, links
        if count != self._stored_count:
            self._resumable.clear()
        self._hub.apply(Sharded(count))
        self._dirty_guilds = set(filter(self._is_ours, self._dirty_guilds))
        self._dirty_voices = {p for p in self._dirty_voices if self._is_ours(p[0])}
        self._soon()

    def startService(self) -> None:
        super().startService()
        self._tasks.spawn("restoring the presence", self._load())

    def stopService(self) -> Deferred[None]:
        """Store what is not stored yet; the links must have ended before."""
        super().stopService()
        self._leave()
        self._tasks.cancel()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._looking.running:
            self._looking.stop()
        return Deferred.fromCoroutine(self._flush())

    async def restored(self, shard: int) -> SessionState | None:
        """Wait until the presence was restored, if it can be.

        Return the session that stands for it; None: this shard must identify.
        """
        await self._restoring()
        return self._resumable.pop(shard, None)

    async def shard_count(self) -> int | None:
        """Wait as `restored`; return the number of shards that could be resumed."""
        await self._restoring()
        return self._stored_count

    def mark(self) -> None:
        """Take note: a session is at another place; the presence may be the same."""
        self._soon()

    # ---- the start -----------------------------------------------------------------

    async def _restoring(self) -> None:
        if not self._loaded:
            loaded: Deferred[None] = Deferred()
            self._awaiting.append(loaded)
            await loaded

    async def _load(self) -> None:
        try:
            self._restore(await self._in_time(self._records.read(), LOAD_WITHIN_S))
        except (StoreError, defer.TimeoutError) as e:
            self._failed("what is stored cannot be read", e)
        finally:
            if self.running:
                self._follow()

    def _restore(self, found: Found) -> None:
        self._named = True
        for picture, _ in found.guilds:
            put = self._records.guild(picture.guild, picture)
            self._guilds[picture.guild] = _digest(put)
        self._voices.update(found.people)
        self._sources.update(found.sources)
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

    def _follow(self) -> None:
        self._leave = self._hub.subscribe(self._changed)
        if self._named:
            # What was restored is stored; what is stored and was not is to go.
            there = self._hub.presence.guilds
            self._dirty_guilds = self._guilds.keys() ^ there.keys()
            self._dirty_voices = self._voices ^ {
                (id_, user) for id_, guild in there.items() for user in guild.voices
            }
        self._loaded = True
        self._looking.start(LOOK_EVERY_S, now=False)
        waiting, self._awaiting = self._awaiting, []
        for loaded in waiting:
            if not loaded.called:
                loaded.callback(None)
        self._soon()

    # ---- what changes --------------------------------------------------------------

    def _is_ours(self, guild: GuildId) -> bool:
        """Whether it is told by a link of this process, as long as we know."""
        return not self._count or shard_of(guild, self._count) in self._links

    def _changed(self, change: Change) -> None:
        match change:
            case VoiceChanged(guild) | GuildChanged(guild) | GuildGone(guild) if (
                not self._is_ours(guild)
            ):
                return
            case VoiceChanged(guild, user, _, after):
                person = guild, user
                if after is not None or person in self._voices:
                    self._dirty_voices.add(person)
                else:  # came and went, and nobody has written it down
                    self._dirty_voices.discard(person)
            case GuildChanged(guild):
                self._dirty_guilds.add(guild)
            case GuildGone(guild):
                if guild in self._guilds:
                    self._dirty_guilds.add(guild)
                else:
                    self._dirty_guilds.discard(guild)
            case SourceHeard():
                pass
            case _:
                assert_never(change)
        self._soon()

    def _waiting(self) -> float:
        return len(self._dirty_guilds) + len(self._dirty_voices)

    # ---- writing -------------------------------------------------------------------

    def _soon(self) -> None:
        """Write in a turn of its own: an event tells its changes one by one."""
        self._wanted = True
        if self._call is None and not self._writing and self._loaded and self.running:
            after_s = max(0.0, self._next_at - self._clock.seconds())
            self._call = self._clock.callLater(after_s, self._begin)

    def _begin(self) -> None:
        self._call = None
        self._tasks.spawn("storing the presence", self._write())

    async def _write(self) -> None:
        self._writing, whole = True, True
        try:
            whole = await self._in_time(self._write_batch(), WRITE_WITHIN_S)
        except (StoreError, defer.TimeoutError) as e:
            self._failed("the presence is not stored", e)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._wanted = True
        else:
            self._pause_s = WINDOW_S
        finally:
            self._writing = False
        self._next_at = self._clock.seconds() + (self._pause_s if whole else 0.0)
        if self._wanted or not whole:
            self._soon()

    async def _flush(self) -> None:
        if not self._loaded:
            return
        try:
            await self._in_time(self._write_all(), FLUSH_WITHIN_S)
        except (StoreError, defer.TimeoutError) as e:
            self._failed("the last changes are not stored", e)

    async def _write_all(self) -> None:
        while not await self._write_batch():
            pass

    async def _write_batch(self) -> bool:
        """Write what fits into one; return whether that was all."""
        self._wanted = False
        if not self._count:
            return True
        if not self._named and not await self._learn_names():
            return True
        batch = self._batch()
        if not batch.writes:
            return batch.whole
        done = False
        try:
            await self._documents.write(*batch.writes)
            done = True
        finally:
            if not done:
                self._dirty_guilds |= batch.guilds.keys()
                self._dirty_voices |= batch.voices.keys()
        self._metrics.writes.inc()
        self._wrote(batch)
        return batch.whole

    async def _learn_names(self) -> bool:
        """List what is stored: all that is not in the presence will be deleted."""
        if self._hub.presence.me is None:
            return False  # what is stored may yet serve the next process
        names = await self._records.names()
        self._guilds = dict.fromkeys(filter(self._is_ours, names.guilds))
        self._voices = {person for person in names.voices if self._is_ours(person[0])}
        self._sources = dict.fromkeys(names.shards)
        self._dirty_guilds |= self._guilds.keys()
        self._dirty_voices |= self._voices
        self._named = True
        return True

    def _batch(self) -> _Batch:
        """Take what differs and, if that is all, the sessions: as of this moment."""
        batch = _Batch(self._waiting() <= self._batch_max)
        there, room = self._hub.presence.guilds, self._batch_max
        for id_ in _taken(self._dirty_guilds, room):
            guild = there.get(id_)
            write = self._records.guild(id_, None if guild is None else guild.picture)
            digest = _digest(write)
            if digest is None or digest != self._guilds.get(id_):
                batch.writes.append(write)
                batch.guilds[id_] = digest
                self._guilds[id_] = None  # until it is written
        for person in _taken(self._dirty_voices, room - len(batch.writes)):
            guild = there.get(person[0])
            voice = None if guild is None else guild.voices.get(person[1])
            batch.writes.append(self._records.voice(person, voice))
            batch.voices[person] = voice is not None
            self._voices.add(person)
        if batch.whole:
            self._add_sources(batch)
        return batch

    def _add_sources(self, batch: _Batch) -> None:
        gone = {shard for shard in self._sources if shard >= self._count}
        for shard in self._links.keys() | gone:
            source, last = self._source(shard), self._sources.get(shard)
            if _differs(source, last) or (source is None and shard in self._sources):
                batch.writes.append(self._records.source(shard, source))
                batch.sources[shard] = source
                self._sources.setdefault(shard, None)

    def _source(self, shard: int) -> Source | None:
        """Say what to store of a shard."""
        link, me = self._links.get(shard), self._hub.presence.me
        if link is None or me is None:
            return None
        session = self._resumable.get(shard, link.session_state)
        named = session is not None or self._hub.presence.heard
        if not named and self._sources.get(shard) is None:
            return None
        # Made for nobody: the picture may be shown, and is no ground for a Resume.
        made_for = self._made_for if named else ""
        return Source(made_for, self._wall(), me, session, self._count)

    def _wrote(self, batch: _Batch) -> None:
        for id_, digest in batch.guilds.items():
            if digest is None:
                self._guilds.pop(id_, None)
            else:
                self._guilds[id_] = digest
        for person, is_there in batch.voices.items():
            if not is_there:
                self._voices.discard(person)
        for shard, source in batch.sources.items():
            if source is None:
                self._sources.pop(shard, None)
                continue
            self._sources[shard] = source
            if source.session is not None and source.count == self._count:
                self._links[shard].stored(source.session)

    # ---- small things --------------------------------------------------------------

    def _in_time(self, call: Coroutine[Any, Any, T], limit_s: float) -> Deferred[T]:
        return Deferred.fromCoroutine(call).addTimeout(limit_s, self._clock)

    def _failed(self, what: str, error: Exception) -> None:
        self._metrics.failures.inc()
        why = str(error) if isinstance(error, StoreError) else "storage does not answer"
        self._log.warn("{what}: {why}", what=what, why=why)


def _taken(names: set[T], most: int) -> list[T]:
    return [names.pop() for _ in range(min(most, len(names)))]


def _digest(write: Write) -> int | None:
    return hash(write.body) if isinstance(write, Put) else None


def _differs(source: Source | None, last: Source | None) -> bool:
    """Whether it says something new, or the same much later."""
    if source is None or last is None:
        return source is not last
    return (
        abs(source.at - last.at) >= STAMP_EVERY_S or replace(source, at=last.at) != last
    )
