"""Stores what changes in the presence, always as of one place in Discord's stream."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Protocol, TypeVar, assert_never

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
    SourceHeard,
    VoiceChanged,
    shard_of,
)
from voicestatus.core.session import SessionState
from voicestatus.hub import Hub
from voicestatus.journal.metrics import JournalMetrics
from voicestatus.journal.records import Found, Person, Records, Source
from voicestatus.store.documents import (
    ANY,
    Documents,
    Expected,
    Fence,
    Fenced,
    Put,
    VersionConflict,
)
from voicestatus.store.documents import Change as Write
from voicestatus.tasks import Tasks

STAMP_EVERY_S: Final = 3600.0
"""A quiet server writes nothing else; its picture must not grow old for that."""
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
class Desk:
    """What every keeper needs."""

    _log: ClassVar = Logger()

    hub: Hub
    documents: Documents
    records: Records
    made_for: str
    clock: IReactorTime
    wall: Callable[[], float]
    metrics: JournalMetrics
    batch_max: int

    def failed(self, what: str, error: Exception) -> None:
        """Count and tell a failure of the store."""
        self.metrics.failures.inc()
        why = str(error) if isinstance(error, StoreError) else "storage does not answer"
        self._log.warn("{what}: {why}", what=what, why=why)


@dataclass(slots=True)
class Stored:
    """Which documents there are."""

    guilds: dict[GuildId, int | None] = field(default_factory=dict)
    """With the hash of each; None: not known."""
    voices: set[Person] = field(default_factory=set)
    sources: dict[int, Source | None] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Found, records: Records) -> "Stored":
        """Remember what was found, but not all of it."""
        pictures = [picture for picture, _ in found.guilds]
        guilds = {p.guild: _digest(records.guild(p.guild, p)) for p in pictures}
        return cls(guilds, set(found.people), dict(found.sources))


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


class Keeper:
    """Stores what changes in all shards, or in the one that `fence` is for.

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
        self, desk: Desk, count: int, stored: Stored | None, fence: Fence | None = None
    ) -> None:
        """Begin; `stored` is what is stored, None: that is to be looked up."""
        self._hub, self._records = desk.hub, desk.records
        self._desk, self._clock = desk, desk.clock
        self._count, self._fence = count, fence
        self._links: dict[int, Link] = {}
        self._tasks = Tasks()
        self._looking = LoopingCall(self.mark)
        self._looking.clock = desk.clock

        self._call: IDelayedCall | None = None
        self._wanted = self._writing = self._over = False
        self._next_at, self._pause_s = 0.0, WINDOW_S

        self._named = stored is not None
        """Whether we know which documents are stored: those of the next lines."""
        known = stored or Stored()
        self._guilds, self._voices = known.guilds, known.voices
        self._sources = known.sources
        self._place: Expected = ANY
        """The version of our one shard's session; ANY: to be looked up."""
        # Of what is stored or should be, that which may differ.
        self._dirty_guilds: set[GuildId] = set()
        self._dirty_voices: set[Person] = set()

        self._leave = self._hub.subscribe(self._changed)
        if stored is not None:
            # What was restored is stored; what is stored and was not is to go.
            there = desk.hub.presence.guilds
            self._dirty_guilds = self._guilds.keys() ^ there.keys()
            self._dirty_voices = self._voices ^ {
                (id_, user) for id_, guild in there.items() for user in guild.voices
            }
        self._looking.start(LOOK_EVERY_S, now=False)
        self.mark()

    @property
    def waiting(self) -> int:
        """How many documents differ from what is stored."""
        return len(self._dirty_guilds) + len(self._dirty_voices)

    def add(self, shard: int, link: Link) -> None:
        """Keep this link's session from now on."""
        self._links[shard] = link
        self.mark()

    def spread(self, count: int) -> None:
        """Take it that there are so many shards now; their links come anew."""
        self._count = count
        self._links.clear()

    def mark(self) -> None:
        """Take note: a session is at another place; the presence may be the same."""
        self._wanted = True
        if self._call is None and not self._writing and not self._over:
            # In a turn of its own: an event tells its changes one by one.
            after_s = max(0.0, self._next_at - self._clock.seconds())
            self._call = self._clock.callLater(after_s, self._begin)

    def rewrite(self) -> None:
        """Take it that little is stored any more, and store all that is known."""
        there = self._hub.presence.guilds
        ours = set(filter(self._is_ours, there))
        # What was stored since then is there, and may have to go.
        self._guilds = dict.fromkeys(self._guilds)
        self._dirty_guilds |= self._guilds.keys() | ours
        self._dirty_voices |= self._voices
        self._dirty_voices |= {
            (id_, user) for id_ in ours for user in there[id_].voices
        }
        self._sources = dict.fromkeys(self._sources)
        self.mark()

    async def end(self, within_s: float = FLUSH_WITHIN_S) -> None:
        """Store what is not stored yet; the links must have ended before."""
        if self._over:
            return
        self._stop()
        self._tasks.cancel()
        try:
            await self._in_time(self._write_all(), within_s)
        except Fenced:
            pass  # the next holder stores it
        except (StoreError, defer.TimeoutError) as e:
            self._desk.failed("the last changes are not stored", e)

    def _stop(self) -> None:
        self._over = True
        self._leave()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._looking.running:
            self._looking.stop()

    # ---- what changes --------------------------------------------------------------

    def _is_ours(self, guild: GuildId) -> bool:
        return self._fence is None or (
            shard_of(guild, self._count) == self._fence.shard
        )

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
        self.mark()

    # ---- writing -------------------------------------------------------------------

    def _begin(self) -> None:
        self._call = None
        self._tasks.spawn("storing the presence", self._write())

    async def _write(self) -> None:
        self._writing, whole = True, True
        try:
            whole = await self._in_time(self._write_batch(), WRITE_WITHIN_S)
        except Fenced as e:
            self._log.info("another node stores it now: {why}", why=str(e))
            self._stop()
        except VersionConflict:
            # What is stored is of another Redis than before, or of one that was empty.
            self.rewrite()
        except (StoreError, defer.TimeoutError) as e:
            self._desk.failed("the presence is not stored", e)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._wanted = True
        else:
            self._pause_s = WINDOW_S
        finally:
            self._writing = False
        self._next_at = self._clock.seconds() + (self._pause_s if whole else 0.0)
        if self._wanted or not whole:
            self.mark()

    async def _write_all(self) -> None:
        while not await self._write_batch():
            pass

    async def _write_batch(self) -> bool:
        """Write what fits into one; return whether that was all."""
        self._wanted = False
        if not self._named and not await self._learn_names():
            return True
        if self._fence is not None and self._place is ANY:
            await self._find_place(self._fence.shard)
        batch = self._batch()
        if not batch.writes:
            return batch.whole
        place, self._place = self._place, ANY
        try:
            version = await self._desk.documents.write(*batch.writes, fence=self._fence)
        except BaseException:
            self._dirty_guilds |= batch.guilds.keys()
            self._dirty_voices |= batch.voices.keys()
            raise
        if self._fence is not None:
            self._place = version if self._fence.shard in batch.sources else place
        self._desk.metrics.writes.inc()
        self._wrote(batch)
        return batch.whole

    async def _find_place(self, shard: int) -> None:
        """Look for what the next batch replaces, and whether it is still there."""
        self._place = await self._records.version(shard)
        if self._place is None and self._sources.get(shard) is not None:
            self.rewrite()

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
        batch = _Batch(self.waiting <= self._desk.batch_max)
        there, room = self._hub.presence.guilds, self._desk.batch_max
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
        # Not even another holder of now writes of a shard that is no more.
        gone = {shard for shard in self._sources if shard >= self._count}
        for shard in self._links.keys() | gone:
            source, last = self._source(shard), self._sources.get(shard)
            if _differs(source, last) or (source is None and shard in self._sources):
                batch.writes.append(self._records.source(shard, source, self._place))
                batch.sources[shard] = source
                self._sources.setdefault(shard, None)

    def _source(self, shard: int) -> Source | None:
        """Say what to store of a shard."""
        link, me = self._links.get(shard), self._hub.presence.me
        if link is None or me is None:
            return None
        session = link.session_state
        named = session is not None or self._hub.presence.heard
        if not named and self._sources.get(shard) is None:
            return None
        # Made for nobody: the picture may be shown, and is no ground for a Resume.
        made_for = self._desk.made_for if named else ""
        return Source(made_for, self._desk.wall(), me, session, self._count)

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
            link = self._links.get(shard)
            if link and source.session and source.count == self._count:
                link.stored(source.session)

    def _in_time(self, call: Coroutine[Any, Any, T], limit_s: float) -> Deferred[T]:
        return Deferred.fromCoroutine(call).addTimeout(limit_s, self._clock)


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
