"""Presence on every node: the holder's events, told by it and followed by the rest."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from voicestatus.cluster import wire
from voicestatus.cluster.bus import Bus
from voicestatus.cluster.follower import Follower
from voicestatus.cluster.leases import Leases, Terms
from voicestatus.cluster.recorder import Recorder
from voicestatus.core.errors import ProtocolError, StoreError
from voicestatus.core.presence import Event, SourceLost
from voicestatus.core.session import SessionState
from voicestatus.hub import Hub
from voicestatus.store.documents import Fence
from voicestatus.tasks import Tasks

LOOKS: Final = 1 / 3
"""Of the lease: how often a holder shows that it is there."""
GRACE_S: Final = 1.0
AGAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Term:
    """What one begins with who holds a shard from now on."""

    fence: Fence | None
    """What to write with; None: there is no other node."""
    session: SessionState | None
    """From where a Resume goes on from the present presence.

    None: nobody here knows. What is stored may; see `picture.recalled`.
    """


class Source(Protocol):
    """The link of one shard to Discord, run by its holder."""

    @property
    def session_state(self) -> SessionState | None:
        """What a Resume needs as of now; stays when the link has ended."""
        ...

    def begin(self, term: Term) -> object:
        """Connect; hand each event to the relay."""
        ...

    def end(self) -> Deferred[None] | None:
        """Do nothing more, at once; fires when another one may begin."""
        ...


class OneNode:
    """The presence of the one node that there is."""

    def __init__(self, hub: Hub, terms: Terms) -> None:
        self._hub, self._terms = hub, terms

    def attach(self, shard: int, source: Source, count: int = 1) -> None:  # noqa: ARG002 - nobody is told
        self._terms.add(shard, _Plain(source))

    def detach(self, shard: int) -> None:
        self._terms.remove(shard)

    def deliver(self, shard: int, event: Event) -> None:  # noqa: ARG002 - any shard
        self._hub.apply(event)

    def in_step(self, shard: int) -> bool:  # noqa: ARG002 - any shard
        return True

    def linked(self, shard: int) -> bool:  # noqa: ARG002 - ours is asked itself
        return False

    def shared(self, shard: int, state: SessionState) -> bool:  # noqa: ARG002 - with nobody
        return True


class _Plain:
    ready = True

    def __init__(self, source: Source) -> None:
        self._source = source

    def begin(self, fence: Fence | None) -> None:
        self._source.begin(Term(fence, None))

    def end(self) -> Deferred[None] | None:
        return self._source.end()


class Relay(Service):
    """Follows every shard; of those that this node holds it tells the others."""

    _log = Logger()

    def __init__(
        self, bus: Bus, leases: Leases, hub: Hub, lease_s: float, clock: IReactorTime
    ) -> None:
        self._bus, self._leases, self._hub = bus, leases, hub
        self._lease_s, self._clock = lease_s, clock
        self._shards: dict[int, _Shard] = {}
        self._tasks = Tasks()
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        bus.subscribe(self._hear, self._missed)

    def attach(self, shard: int, source: Source, count: int = 1) -> None:
        """Let `source` be begun and ended as this node holds the shard or not."""
        self._shards[shard] = _Shard(
            self, shard, count, source, self._bus, self._hub, self._clock
        )
        self._shards[shard].missed()  # also what was said before
        self._leases.add(shard, self._shards[shard])

    def detach(self, shard: int) -> None:
        """End the shard's source, and hear no more of the shard."""
        self._leases.remove(shard)
        del self._shards[shard]

    def deliver(self, shard: int, event: Event) -> None:
        """Take an event of a shard's source: here, and to all nodes.

        It is dropped when this node does not hold the shard any more.
        """
        if (held := self._shards.get(shard)) is not None:
            held.deliver(event)

    def in_step(self, shard: int) -> bool:
        """Whether this node knows what the shard's holder knows, or is that."""
        return self._shards[shard].in_step

    @property
    def shards_in_step(self) -> int:
        """Of how many shards `in_step` holds."""
        return sum(shard.in_step for shard in self._shards.values())

    def linked(self, shard: int) -> bool:
        """Whether another node, that we follow, hears Discord."""
        return self._shards[shard].linked

    def shared(self, shard: int, state: SessionState) -> bool:
        """Whether the others can know all that a session's state stands for."""
        return self._shards[shard].shared(state)

    def startService(self) -> None:
        super().startService()
        self._looking.start(LOOKS * self._lease_s, now=False)

    def stopService(self) -> None:
        super().stopService()
        if self._looking.running:
            self._looking.stop()
        self._tasks.cancel()

    # ---- for the shards ------------------------------------------------------------

    def holds(self, shard: int) -> bool:
        """Whether this node may act for the shard at this very moment."""
        return self._leases.holds(shard)

    def want(self, shard: int) -> None:
        """Ask the holder for a picture."""
        if self.running:
            news = wire.Wanted(shard, self._bus.node)
            self._tasks.spawn("asking for a picture", self._tell(news))

    async def _tell(self, news: wire.News) -> None:
        with suppress(StoreError):  # it is asked again
            await self._bus.tell(news)

    # ---- what is heard -------------------------------------------------------------

    def _hear(self, news: wire.News) -> None:
        match news:
            case wire.Part() | wire.TermBegan() | wire.Wanted():
                if (shard := self._shards.get(news.shard)) is not None:
                    shard.hear(news)
            case _:
                pass

    def _missed(self) -> None:
        for shard in self._shards.values():
            shard.missed()

    def _look(self) -> None:
        quiet_since = self._clock.seconds() - self._lease_s - GRACE_S
        for shard in self._shards.values():
            shard.look(quiet_since)


class _Shard:
    """One shard on this node: held by it, or followed."""

    _log = Logger()

    def __init__(
        self,
        relay: Relay,
        shard: int,
        count: int,
        source: Source,
        bus: Bus,
        hub: Hub,
        clock: IReactorTime,
    ) -> None:
        self._relay, self._source = relay, source
        self._shard, self._count = shard, count
        self._bus, self._hub, self._clock = bus, hub, clock
        self._follower = Follower(shard)
        self._recorder: Recorder | None = None
        self._fence: Fence | None = None
        """Ours, while we hold it: we act when our own first word was heard."""
        self._session: SessionState | None = None
        """What a Resume needed, as of the last event that was taken."""
        self._dropped = False
        """Whether the source has told more since then."""
        self._tasks = Tasks()
        self.heard_at = clock.seconds()
        self._want_at = 0.0

    @property
    def ready(self) -> bool:
        return self._follower.in_step

    @property
    def in_step(self) -> bool:
        return self._recorder is not None or self._follower.in_step

    @property
    def linked(self) -> bool:
        return self._recorder is None and self._follower.linked

    def shared(self, state: SessionState) -> bool:
        told = None if self._recorder is None else self._recorder.told
        if told is None or told.session_id != state.session_id:
            return False
        return told.seq >= state.seq

    def deliver(self, event: Event) -> None:
        if self._recorder is None or not self._relay.holds(self._shard):
            self._dropped = True
            return
        self._hub.apply(event)
        self._session = self._source.session_state
        self._recorder.note(event, self._session)

    def _state(self) -> SessionState | None:
        """Return what a Resume needs: the presence includes all up to there."""
        return self._session if self._dropped else self._source.session_state

    # ---- as the leases say ---------------------------------------------------------

    def begin(self, fence: Fence | None) -> None:
        self._fence = fence
        if fence is not None:
            self._tasks.spawn("beginning a term", self._announce(fence))

    def end(self) -> Deferred[None]:
        recorder, self._recorder, self._fence = self._recorder, None, None
        self._tasks.cancel()
        return Deferred.fromCoroutine(self._end(recorder))

    async def _end(self, recorder: Recorder | None) -> None:
        if recorder is None:
            return
        state = self._state()
        closing = maybeDeferred(self._source.end)
        self._follower.was_holder(state, unshared=recorder.unshared)
        self.heard_at = self._clock.seconds()
        self._hub.apply(SourceLost(self._shard))
        await recorder.finish()
        await closing

    async def _announce(self, fence: Fence) -> None:
        """Say that nothing older is to come, and hear first what was said before."""
        news = wire.TermBegan(fence.shard, fence.number, self._bus.node, self._count)
        while self._recorder is None:
            with suppress(StoreError):
                await self._bus.tell(news, fence.shard, fence.number)
            await deferLater(self._clock, AGAIN_S)

    # ---- what is heard -------------------------------------------------------------

    def hear(self, news: wire.Part | wire.TermBegan | wire.Wanted) -> None:
        """Take it in, unless it comes from a node that lags behind a new `count`."""
        match news:
            case wire.Wanted():
                if self._recorder is not None:
                    self._recorder.want_picture()
            case wire.Part() if news.count == self._count:
                self._hear_part(news)
            case wire.TermBegan() if news.count == self._count:
                self._hear_term(news)
            case _:
                pass

    def _hear_part(self, part: wire.Part) -> None:
        self.heard_at = self._clock.seconds()
        if self._recorder is not None:
            return
        try:
            self._apply(self._follower.part(part))
        except ProtocolError as e:
            self._log.warn("{why}; is a node of another version here?", why=str(e))
            self._apply(self._follower.missed())
        self._want()

    def _hear_term(self, term: wire.TermBegan) -> None:
        self.heard_at = self._clock.seconds()
        if self._recorder is not None:
            return
        ours = term.node == self._bus.node
        self._apply(self._follower.term(term, ours=ours))
        # After a pause of the whole process this may be the first that is heard.
        may_act = self._relay.holds(self._shard)
        if may_act and self._fence is not None and self._fence.number == term.fence:
            self._act(self._fence)
        else:
            self._want()

    def missed(self) -> None:
        if self._recorder is None:
            self._apply(self._follower.missed())
            self._want_at = 0.0
            self._want()

    def look(self, quiet_since: float) -> None:
        if self._recorder is not None:
            self._recorder.beat()
            return
        if self.heard_at < quiet_since:
            self._apply(self._follower.silence())
        self._want()

    def _apply(self, events: Iterable[Event]) -> None:
        for event in events:
            self._hub.apply(event)

    def _act(self, fence: Fence) -> None:
        self._recorder = Recorder(
            self._bus,
            self._hub.presence,
            fence,
            self._count,
            self._state,
            self._clock,
            anew=self._follower.alone,
        )
        self._session, self._dropped = self._follower.session, False
        self._source.begin(Term(fence, self._session))

    def _want(self) -> None:
        now = self._clock.seconds()
        if self._follower.wanting and now >= self._want_at:
            self._want_at = now + AGAIN_S
            self._relay.want(self._shard)
