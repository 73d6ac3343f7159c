"""Answers that are asked for once, shared by all who wait, and kept for a while."""

from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Asked(Generic[V]):
    """One question: on its way, or answered."""

    waiting: list[Deferred[V]] = field(default_factory=list)
    answer: tuple[V, float] | None = None
    """And until when it stands."""


class Kept(Generic[K, V]):
    """The answers to one kind of question. What fails is told to who waits, not kept.

    Who waits and goes away takes the answer from nobody else.
    """

    def __init__(
        self,
        ask: Callable[[K], Coroutine[Deferred[Any], Any, V]],
        keep_s: Callable[[V], float],
        clock: IReactorTime,
        most: int = 1000,
    ) -> None:
        """Keep each answer as long as `keep_s` says of it, and `most` of them."""
        self._ask, self._keep_s, self._clock, self._most = ask, keep_s, clock, most
        self._asked: dict[K, _Asked[V]] = {}
        self._on_their_way: set[Deferred[None]] = set()

    async def get(self, key: K) -> V:
        """Return the answer that is kept or on its way, or ask."""
        asked = self._asked.get(key)
        if asked is not None and asked.answer is not None:
            answer, until = asked.answer
            if self._clock.seconds() < until:
                return answer
            asked = None
        waiting: Deferred[V] = Deferred()
        if asked is None:
            asked = _Asked([waiting])
            self._begin(key, asked)
        else:
            asked.waiting.append(waiting)
        return await waiting

    def forget(self, key: K) -> None:
        """Ask anew the next time; who waits gets what was asked for before."""
        self._asked.pop(key, None)

    def forget_all(self) -> None:
        """Ask for everything anew."""
        self._asked.clear()

    def close(self) -> None:
        """Give up what is on its way; call it from `stopService`."""
        for asking in tuple(self._on_their_way):
            asking.cancel()

    def _begin(self, key: K, asked: _Asked[V]) -> None:
        self._asked.pop(key, None)
        while len(self._asked) >= self._most:
            del self._asked[next(iter(self._asked))]  # the one asked longest ago
        self._asked[key] = asked
        asking = Deferred.fromCoroutine(self._ask(key)).addCallbacks(
            self._answered, self._failed, (asked,), errbackArgs=(key, asked)
        )
        self._on_their_way.add(asking)
        asking.addBoth(lambda _: self._on_their_way.discard(asking))

    def _answered(self, answer: V, asked: _Asked[V]) -> None:
        asked.answer = answer, self._clock.seconds() + self._keep_s(answer)
        for each in asked.waiting:
            each.callback(answer)

    def _failed(self, failure: Failure, key: K, asked: _Asked[V]) -> None:
        if self._asked.get(key) is asked:
            del self._asked[key]
        for each in asked.waiting:
            each.errback(failure)
