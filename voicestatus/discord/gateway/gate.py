"""Whoever wants to identify comes through here: the budget, kept in the store."""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from voicestatus.cluster.turns import Turns
from voicestatus.core.errors import StoreError
from voicestatus.discord.gateway import identify
from voicestatus.discord.gateway.identify import Spent
from voicestatus.discord.gateway.metrics import GatewayMetrics
from voicestatus.discord.rest.client import RestClient
from voicestatus.discord.rest.errors import TokenRefused
from voicestatus.discord.rest.wire import GatewayBot
from voicestatus.store.documents import ANY, Documents, Expected, VersionConflict
from voicestatus.store.typed import Typed
from voicestatus.tasks import Tasks

KIND: Final = "identify-times"
_ID: Final = "bot"
_ASK_AGAIN_S: Final = 5.0
_FRESH_S: Final = 4.0
"""So long one answer of Discord's serves all shards: it limits how often we may ask."""
STORE_WITHIN_S: Final = 2.0
"""A store that hangs must not keep us offline."""

TURN_S: Final = 15.0
"""So long may one node take until it identifies; if it dies, so long others wait."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Permit:
    """To identify once, at `url`; hand it back with `IdentifyGate.leave`."""

    url: str
    key: int


class IdentifyGate:
    """Lets shards identify one after the other, and never more than is allowed.

    Each Identify is charged in the store before the connection for it is opened, so
    that a crash at any moment costs budget and never overspends it. A permit that was
    not used stays paid for.
    """

    _log = Logger()

    def __init__(
        self,
        api: RestClient,
        documents: Documents,
        turns: Turns,
        metrics: GatewayMetrics,
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        """Take `turns`, by which the gates of all nodes are one."""
        self._api, self._turns, self._metrics = api, turns, metrics
        self._documents = Typed(documents, KIND, Spent)
        self._clock, self._wall = clock, wall
        self._tasks = Tasks()
        self._spent: Spent | None = None
        self._version: Expected = ANY
        """Of what is stored; ANY: it cannot be read."""
        self._unused = 0
        self._last_before: float | None = None  # by the process before this one
        self._last: dict[int, float] = {}
        self._locks: dict[int, DeferredLock] = {}
        self._asking = False
        self._awaiting: list[Deferred[None]] = []
        self._answer: GatewayBot | None = None
        self._answered_at = 0.0
        self._refused: TokenRefused | None = None
        self._granted = 0  # since that answer

    async def enter(self, shard_id: int, explain: Callable[[str], object]) -> Permit:
        """Wait until this shard may identify; long waits are told to `explain`.

        :raises DiscordUnreachable: or another of `rest.errors`.
        """
        bot = await self._with_sessions_left(explain)
        key = identify.rate_limit_key(shard_id, bot.max_concurrency)
        lock = self._locks.setdefault(key, DeferredLock())
        await lock.acquire()
        permit = None
        try:
            await self._wait(key, explain)
            bot = await self._at_our_turn(key, explain)
            self._granted += 1
            await self._pay()
            permit = Permit(bot.url, key)
        finally:
            if permit is None:
                lock.release()
        return permit

    def leave(self, permit: Permit, *, identified: bool) -> None:
        """Hand the permit back, used or not; the next one may enter."""
        if identified:
            self._last[permit.key] = self._wall()
        else:
            self._unused += 1
        self._tasks.spawn("giving a turn", self._give_turn(permit.key, identified))
        self._locks[permit.key].release()

    async def _at_our_turn(
        self, key: int, explain: Callable[[str], object]
    ) -> GatewayBot:
        while True:
            await self._wait_for_turn(key)
            # Meanwhile others have identified.
            if (bot := await self.ask()).remaining > self._granted:
                return bot
            await self._with_sessions_left(explain)  # longer than a turn lasts

    async def _with_sessions_left(self, explain: Callable[[str], object]) -> GatewayBot:
        while (bot := await self.ask()).remaining <= self._granted:
            wait_s = _ASK_AGAIN_S
            if bot.remaining <= 0:
                wait_s = max(bot.reset_after_s, wait_s)
                explain(
                    "Discord's limit of new sessions is used up; "
                    f"it is lifted in {wait_s:.0f} s"
                )
                self._log.warn(
                    "no new session is allowed for {wait_s} s", wait_s=round(wait_s)
                )
            await deferLater(self._clock, wait_s)
        return bot

    async def ask(self) -> GatewayBot:
        """Return what Discord says of new sessions, or said a moment ago.

        :raises DiscordUnreachable: or another of `rest.errors`.
        """
        while self._asking:
            self._awaiting.append(waiting := Deferred[None]())
            await waiting
        if self._refused is not None:  # nor would it be taken from the next shard
            raise self._refused
        age_s = self._clock.seconds() - self._answered_at
        if self._answer is None or age_s >= _FRESH_S:
            self._asking = True
            try:
                self._answer = await self._api.gateway_bot()
            except TokenRefused as refused:
                self._refused = refused
                raise
            finally:
                self._asking = False
                if self._awaiting:
                    # In a turn of their own: after us, each after the one before.
                    self._clock.callLater(0, self._answered)
            self._answered_at, self._granted = self._clock.seconds(), 0
            self._metrics.identifies_left.set(self._answer.remaining)
        return self._answer

    def _answered(self) -> None:
        waiting, self._awaiting = self._awaiting, []
        for each in waiting:
            if not each.called:
                each.callback(None)

    async def _wait(self, key: int, explain: Callable[[str], object]) -> None:
        """Wait for our own limits."""
        spent = await self._load()
        if self._last_before is None:  # else another key's shard was first
            self._last_before = spent.last
        # Asked once: behind a clock that went back the answer stays the same for ever.
        wait_s = self._wait_s(key, spent)
        if wait_s > identify.SPACING_S:
            explain(
                "too many new sessions in a short time; "
                f"the next one is begun in {wait_s:.0f} s"
            )
        if wait_s > 0:
            await deferLater(self._clock, wait_s)

    def _wait_s(self, key: int, spent: Spent) -> float:
        now = self._wall()
        wait_s = identify.spacing_s(self._last.get(key, self._last_before or 0.0), now)
        return wait_s if self._unused else max(wait_s, identify.wait_s(spent, now))

    async def _pay(self) -> None:
        if self._unused:
            self._unused -= 1
            return
        # When it fails, what this process remembers still keeps the limits.
        paid = self._spent or Spent()
        try:
            while True:
                self._spent = identify.spend(paid, self._wall())
                put = self._documents.put(_ID, self._spent, expected=self._version)
                try:
                    self._version = await self._in_time(put)
                except VersionConflict:  # another node has paid meanwhile
                    paid = await self._load()
                else:
                    return
        except (StoreError, defer.TimeoutError):
            self._failed("stored")

    async def _load(self) -> Spent:
        """Learn what other nodes, or the process before, have spent."""
        try:
            stored = await self._in_time(self._documents.get(_ID))
        except (StoreError, defer.TimeoutError):
            self._failed("read")
            self._version, found = ANY, Spent()
        else:
            self._version = None if stored is None else stored.version
            found = Spent() if stored is None else stored.value
        known = self._spent or found
        self._spent = max(known, found, key=lambda spent: spent.paid_until)
        return self._spent

    async def _wait_for_turn(self, key: int) -> None:
        """Wait for the other nodes; without Redis nobody identifies there either."""
        with suppress(StoreError):
            while (wait_s := await self._turns.take(_turn(key), TURN_S)) > 0:
                await deferLater(self._clock, wait_s)

    async def _give_turn(self, key: int, identified: bool) -> None:
        after_s = identify.SPACING_S if identified else 0.0
        with suppress(StoreError):  # it ends by itself
            await self._turns.give(_turn(key), after_s)

    def _in_time(self, call: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        return Deferred.fromCoroutine(call).addTimeout(STORE_WITHIN_S, self._clock)

    def _failed(self, what: str) -> None:
        self._metrics.store_failures.inc()
        self._log.warn("the times of identifying could not be {what}", what=what)


def _turn(key: int) -> str:
    return f"identify:{key}"
