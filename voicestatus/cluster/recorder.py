"""What a shard's holder tells the others, part by part, in order."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from voicestatus.cluster.bus import Bus
from voicestatus.cluster.picture import last_part, picture, resolved
from voicestatus.cluster.wire import Packed, Part, pack
from voicestatus.core.errors import StoreError
from voicestatus.core.presence import (
    Event,
    Presence,
    SessionBegan,
    SessionResumed,
    SourceLost,
)
from voicestatus.core.session import SessionState
from voicestatus.store.documents import Fence
from voicestatus.tasks import Tasks

AT_ONCE: Final = 500
AGAIN_S: Final = 0.2
WAITING_MAX: Final = 20_000
"""Events that wait for Redis; who missed more is told the whole."""
FINISH_WITHIN_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Noted:
    """An event, and how things were right after it."""

    packed: Packed
    session: SessionState | None
    linked: bool


class Recorder:
    """Tells each event of one term; a part is told again until Redis has it."""

    def __init__(
        self,
        bus: Bus,
        presence: Presence,
        fence: Fence,
        count: int,
        session: Callable[[], SessionState | None],
        clock: IReactorTime,
        *,
        anew: bool,
    ) -> None:
        """Tell of one of `count` shards.

        With `anew` the others may know something else: tell them the whole.
        """
        self._bus, self._presence, self._fence = bus, presence, fence
        self._count = count
        self._session, self._clock = session, clock
        # A number that is left out shows the others that they lack something.
        self._number = int(anew)
        self._linked = False
        self._noted: deque[_Noted] = deque()
        self._picture: Iterator[list[Event]] | None = None
        self._first = self._beat = False
        self._wanted = anew
        self._owes = anew
        """Whether the others must be told the whole before they know what we do."""
        self.told: SessionState | None = None
        """What a Resume needs, as Redis has it."""
        self._draining: Deferred[None] | None = None
        self._over = False
        self._tasks = Tasks()

    @property
    def unshared(self) -> bool:
        """Whether the others may not know all that was noted."""
        return self._owes or bool(self._noted) or self._draining is not None

    def note(self, event: Event, session: SessionState | None) -> None:
        """Tell an event that the presence has taken."""
        match event:
            case SessionBegan():
                self._linked = True
                self._wanted = self._wanted or self._picture is not None
                self._picture = None
            case SessionResumed():
                self._linked = True
            case SourceLost():
                self._linked = False
            case _:
                pass
        if (told := resolved(event, self._presence)) is None:
            return
        if len(self._noted) >= WAITING_MAX:
            self._noted.clear()
            self._number += 1
            self._wanted = self._owes = True
        self._noted.append(_Noted(pack(told), session, self._linked))
        self._go()

    def want_picture(self) -> None:
        """Tell the whole truth of the shard beside the news, once more."""
        self._wanted = True
        self._go()

    def beat(self) -> None:
        """Show that we are here, and where in Discord's stream."""
        self._beat = True
        self._go()

    async def finish(self) -> None:
        """Tell what waits, for a short time."""
        self._over, self._wanted, self._picture = True, False, None
        if self._draining is not None:
            with suppress(defer.TimeoutError):
                await self._draining.addTimeout(FINISH_WITHIN_S, self._clock)
        self._tasks.cancel()

    def _go(self) -> None:
        if self._draining is None and not self._over:
            self._draining = Deferred()
            self._tasks.spawn("telling the other nodes", self._drain())

    async def _drain(self) -> None:
        try:
            while (part := self._next()) is not None:
                if not await self._told(part):
                    return
                self.told = part.session
        finally:
            draining, self._draining = self._draining, None
            if draining is not None and not draining.called:
                draining.callback(None)

    async def _told(self, part: Part) -> bool:
        """Tell it until Redis has it; False: there is another holder."""
        while True:
            try:
                return await self._bus.tell(part, self._fence.shard, self._fence.number)
            except StoreError:
                await deferLater(self._clock, AGAIN_S)

    def _next(self) -> Part | None:
        if self._noted:
            many = min(AT_ONCE, len(self._noted))
            some = [self._noted.popleft() for _ in range(many)]
            last = some[-1]
            events = tuple(noted.packed for noted in some)
            return self._part(events, None, last.linked, last.session)
        if self._wanted and self._picture is None and self._presence.me is not None:
            self._picture = picture(self._presence, self._fence.shard)
            self._wanted, self._first = False, True
        if self._picture is not None:
            return self._next_of_picture(self._picture)
        if self._beat:
            return self._part((), None, self._linked, self._session())
        return None

    def _next_of_picture(self, parts: Iterator[list[Event]]) -> Part:
        events = next(parts, None)
        which = "first" if self._first else "next"
        self._first = False
        if events is None:
            events = last_part(self._fence.shard, linked=self._linked)
            which, self._picture, self._owes = "last", None, False
        packed = tuple(map(pack, events))
        return self._part(packed, which, self._linked, self._session())

    def _part(
        self,
        events: tuple[Packed, ...],
        which: str | None,
        linked: bool,
        session: SessionState | None,
    ) -> Part:
        self._beat = False
        self._number += 1
        return Part(
            self._fence.shard,
            self._fence.number,
            self._number,
            events,
            which,
            linked,
            session,
            self._count,
        )
