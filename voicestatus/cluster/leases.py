"""Who acts for which shard: this node as long as its lease is good, and no longer."""

from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, assert_never

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from voicestatus.cluster import scripts, wire
from voicestatus.cluster.bus import NEWS_MAX, Bus
from voicestatus.cluster.lease import (
    RENEWS_AT,
    Acquire,
    Answer,
    Begin,
    Effect,
    End,
    Granted,
    Lease,
    Lost,
    Release,
    Renew,
    Renewed,
    Taken,
    Unanswered,
    Wake,
)
from voicestatus.core.errors import StoreError
from voicestatus.store.documents import Fence
from voicestatus.store.redis_link import Argument
from voicestatus.tasks import Tasks

TIMERS: Final = -1
"""Stands among the shards for what must be done by one node alone."""
HESITATES_S: Final = 0.02
"""For each shard that one holds already."""
UNREADY_WAITS_S: Final = 0.3
"""And who is ready hesitates no longer."""
ANSWER_WITHIN: Final = 1 / 3
"""Of the lease; a Redis that is slower is asked again."""


class Acts(Protocol):
    """What one node alone may do for a shard."""

    @property
    def ready(self) -> bool:
        """Whether it could go on where the last holder was; who can goes first."""
        ...

    def begin(self, fence: Fence | None) -> object:
        """Begin to act; write with this fence. None: there is nobody else."""
        ...

    def end(self) -> Deferred[None] | None:
        """Stop at once; fires when nothing is under way any more."""
        ...


class Terms(Protocol):
    """Which shards this node may act for; the port."""

    def add(self, shard: int, acts: Acts) -> object:
        """Let it act whenever this node holds the shard; each shard has one."""
        ...

    def remove(self, shard: int) -> object:
        """End what acts for the shard, for good."""
        ...

    def holds(self, shard: int) -> bool:
        """Whether this node may act at this very moment."""
        ...

    def lasts(self, shard: int) -> bool:
        """Whether nobody else may act yet: one that stops may still say so."""
        ...


class Alone(Service):
    """The one node that there is: it holds every shard."""

    _log = Logger()

    def __init__(self) -> None:
        self._acts: dict[int, Acts] = {}
        self._ending: set[Deferred[None]] = set()

    def add(self, shard: int, acts: Acts) -> None:
        self._acts[shard] = acts
        if self.running:
            acts.begin(None)

    def remove(self, shard: int) -> None:
        acts = self._acts.pop(shard)
        if self.running:
            self._end(acts)

    def holds(self, shard: int) -> bool:  # noqa: ARG002 - all of them
        return bool(self.running)

    def lasts(self, shard: int) -> bool:  # noqa: ARG002 - for ever
        return True

    def startService(self) -> None:
        super().startService()
        for acts in self._acts.values():
            acts.begin(None)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        for acts in self._acts.values():
            self._end(acts)
        return Deferred.fromCoroutine(self._ended())

    def _end(self, acts: Acts) -> None:
        ending: Deferred[None] = Deferred.fromCoroutine(_end_one(acts, self._log))
        self._ending.add(ending)
        ending.addCallback(lambda _: self._ending.discard(ending))

    async def _ended(self) -> None:
        for ending in tuple(self._ending):
            await ending


class Leases(Service):
    """The leases of the shards, and whoever acts under them.

    `begin` and `end` of one shard alternate. Before anything that another node could
    contend for `holds` must be asked: a process that slept for a while has lost its
    lease before it is told to `end`.
    """

    _log = Logger()

    def __init__(self, bus: Bus, lease_s: float, clock: IReactorTime) -> None:
        self._bus, self._clock = bus, clock
        self._lease_s = lease_s
        self._leases: dict[int, Lease] = {}
        self._acts: dict[int, Acts] = {}
        self._timers: dict[int, IDelayedCall] = {}
        self._seen: defaultdict[int, int] = defaultdict(int)
        self._acting: dict[int, int] = {}
        self._ending: defaultdict[int, set[Deferred[None]]] = defaultdict(set)
        self._releasing: set[Deferred[None]] = set()
        self._tasks = Tasks()
        self.renewed = self.lost = 0
        """How often a lease was prolonged, and how often one ended unasked."""
        bus.subscribe(self._hear, lambda: None)

    def add(self, shard: int, acts: Acts) -> None:
        """Let it act whenever this node holds the shard; each shard has one."""
        self._acts[shard], self._leases[shard] = acts, Lease(self._lease_s)
        if self.running:
            self._do(shard, self._leases[shard].start(self._clock.seconds()))

    def remove(self, shard: int) -> None:
        """End what acts for the shard, for good, and give its lease back."""
        self._do(shard, self._leases[shard].stop())
        del self._leases[shard], self._acts[shard]
        if (timer := self._timers.pop(shard, None)) is not None:
            timer.cancel()

    @property
    def held(self) -> int:
        """How many shards this node acts for."""
        return len(self._acting.keys() - {TIMERS})

    def holds(self, shard: int) -> bool:
        """Whether this node may act at this very moment."""
        contest = self._leases.get(shard)
        return contest is not None and contest.holds(self._clock.seconds())

    def lasts(self, shard: int) -> bool:
        """Whether nobody else may act yet: one that stops may still say so."""
        contest = self._leases.get(shard)
        return contest is not None and contest.lasts(self._clock.seconds())

    def share(self, nodes: int) -> None:
        """Give a shard to one of so many nodes, when we hold more than our part."""
        shards = [shard for shard in self._leases if shard != TIMERS]
        ours = [shard for shard in shards if shard in self._acting]
        if len(ours) > -(-len(shards) // nodes) and self.running:
            contest = self._leases[ours[-1]]
            self._do(ours[-1], contest.give_way(self._clock.seconds()))

    def startService(self) -> None:
        super().startService()
        for shard, contest in self._leases.items():
            self._do(shard, contest.start(self._clock.seconds()))

    def stopService(self) -> Deferred[None]:
        """Stop acting, then hand each shard over."""
        super().stopService()
        for shard, contest in self._leases.items():
            self._do(shard, contest.stop())
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        return Deferred.fromCoroutine(self._handed_over())

    async def _handed_over(self) -> None:
        for releasing in tuple(self._releasing):
            await releasing
        for shard in tuple(self._ending):  # of a lease that was lost, too
            await self._ended(shard)
        self._tasks.cancel()

    # ---- what the state machines want ----------------------------------------------

    def _do(self, shard: int, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Acquire(number):
                    self._spawn("acquiring a shard", self._acquire(shard, number))
                case Renew(number, fence):
                    self._spawn("renewing a lease", self._renew(shard, number, fence))
                case Release(fence):
                    self._release(shard, fence)
                case Begin(fence):
                    self._begin(shard, fence)
                case End():
                    self.lost += not any(isinstance(e, Release) for e in effects)
                    self._end(shard)
                case Wake(at):
                    self._wake(shard, at)
                case _:
                    assert_never(effect)

    def _wake(self, shard: int, at: float) -> None:
        if (timer := self._timers.pop(shard, None)) is not None:
            timer.cancel()
        after_s = max(0.0, at - self._clock.seconds())
        self._timers[shard] = self._clock.callLater(after_s, self._tick, shard)

    def _tick(self, shard: int) -> None:
        del self._timers[shard]
        self._do(shard, self._leases[shard].tick(self._clock.seconds()))

    async def _acquire(self, shard: int, number: int) -> None:
        def answer(text: bytes) -> Answer:
            what, value = text.split(b" ")
            if what == b"taken":
                return Taken(int(value) / 1000)
            return Granted(int(value))

        contest = self._leases[shard]
        if not self._acts[shard].ready:
            await deferLater(self._clock, UNREADY_WAITS_S)
        seen = self._seen[shard]
        asked = (shard, self._bus.node, self._lease_ms, seen)
        await self._ask(contest, number, answer, scripts.ACQUIRE, *asked)

    async def _renew(self, shard: int, number: int, fence: int) -> None:
        def answer(text: bytes) -> Answer:
            return Renewed() if text == b"renewed" else Lost()

        contest = self._leases[shard]
        asked = (shard, self._bus.node, self._lease_ms, fence)
        await self._ask(contest, number, answer, scripts.RENEW, *asked)

    async def _ask(
        self,
        contest: Lease,
        number: int,
        read: Callable[[bytes], Answer],
        script: str,
        shard: int,
        *rest: Argument,
    ) -> None:
        answer: Answer
        try:
            limit_s = ANSWER_WITHIN * self._lease_s
            answer = read(await self._bus.run(script, shard, *rest, limit_s=limit_s))
        except StoreError:
            answer = Unanswered()
        self.renewed += answer == Renewed()
        effects = contest.answered(number, answer, self._clock.seconds())
        ours = self.running and self._leases.get(shard) is contest
        self._do(shard, effects if ours else [*_releases(effects)])

    def _release(self, shard: int, fence: int) -> None:
        releasing = Deferred.fromCoroutine(self._give_back(shard, fence))
        self._releasing.add(releasing)
        releasing.addErrback(lambda f: self._log.failure("a release failed", f))
        releasing.addBoth(lambda _: self._releasing.discard(releasing))

    async def _give_back(self, shard: int, fence: int) -> None:
        """Give it back when nothing acts any more: then another one may begin."""
        await self._ended(shard)
        news = wire.encode(wire.Released(shard))
        asked = (shard, self._bus.node, fence, news, NEWS_MAX)
        with suppress(StoreError):  # it ends by itself
            await self._bus.run(scripts.RELEASE, *asked)

    # ---- acting --------------------------------------------------------------------

    def _begin(self, shard: int, fence: int) -> None:
        self._seen[shard] = fence
        if self._ending[shard]:
            self._spawn("beginning again", self._begin_later(shard, fence))
            return
        self._log.info("this node holds shard {shard}", shard=shard)
        self._acting[shard] = fence
        self._acts[shard].begin(Fence(shard, fence))

    async def _begin_later(self, shard: int, fence: int) -> None:
        await self._ended(shard)
        if self.holds(shard) and self._leases[shard].fence == fence:
            self._begin(shard, fence)

    def _end(self, shard: int) -> None:
        if self._acting.pop(shard, None) is None:
            return
        self._log.info("this node does not hold shard {shard} any more", shard=shard)
        ending = Deferred.fromCoroutine(_end_one(self._acts[shard], self._log))
        self._ending[shard].add(ending)
        ending.addCallback(lambda _: self._ending[shard].discard(ending))

    async def _ended(self, shard: int) -> None:
        for ending in tuple(self._ending[shard]):
            over: Deferred[None] = Deferred()
            ending.chainDeferred(over)
            await over

    # ---- news ----------------------------------------------------------------------

    def _hear(self, news: wire.News) -> None:
        match news:
            case wire.Released(shard) if shard in self._leases and self.running:
                # Who has the fewest takes it.
                after_s = min(HESITATES_S * len(self._acting), UNREADY_WAITS_S)
                self._spawn("taking a free shard", self._hurry(shard, after_s))
            case wire.TermBegan(shard, fence, _) | wire.Part(shard, fence):
                self._seen[shard] = max(self._seen[shard], fence)
            case _:
                pass

    async def _hurry(self, shard: int, after_s: float) -> None:
        if after_s > 0:
            await deferLater(self._clock, after_s)
        # Who gave way takes it back by then, and could go on.
        until = self._clock.seconds() + RENEWS_AT * self._lease_s
        while (acts := self._acts.get(shard)) is not None and not acts.ready:
            if self._clock.seconds() > until:
                break
            await deferLater(self._clock, UNREADY_WAITS_S)
        if self.running and acts is not None:
            self._do(shard, self._leases[shard].hurry(self._clock.seconds()))

    def _spawn(self, what: str, coro: Coroutine[Deferred[Any], Any, None]) -> None:
        self._tasks.spawn(what, coro)

    @property
    def _lease_ms(self) -> int:
        return int(1000 * self._lease_s)


async def _end_one(acts: Acts, log: Logger) -> None:
    try:
        await maybeDeferred(acts.end)
    except Exception:  # noqa: BLE001 - the shard has to go on elsewhere
        log.failure("what a shard's end should close may be open")


def _releases(effects: Sequence[Effect]) -> Iterator[Effect]:
    return (effect for effect in effects if isinstance(effect, Release))
