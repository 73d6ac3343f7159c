"""The two connections of a node to Redis: one asks, one listens."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from voicestatus.cluster import scripts, wire
from voicestatus.core.errors import ProtocolError, StoreError
from voicestatus.core.storage_address import InRedis
from voicestatus.store.redis_link import Argument, Ask, RedisLink, Refused
from voicestatus.tasks import Tasks

NEWS_MAX: Final = 20_000
"""Told within a minute at most; who is further behind asks for a picture."""
LISTEN_S: Final = 2.0
LISTEN_LIMIT_S: Final = LISTEN_S + 3.0
READ_MAX: Final = 100
"""Parts that are taken in one turn: a light waits meanwhile."""
AGAIN_S: Final = 0.2


class Bus(Service):
    """Tells news to all nodes and letters to one, and hears both in their order."""

    _log = Logger()

    def __init__(self, address: InRedis, node: str, reactor: Any) -> None:
        """Take a `node` that no other process has, nor had within minutes."""
        self.node = node
        self._prefix, self._reactor = address.prefix, reactor
        self._asks = RedisLink(address, reactor, greet=_load, away=self._away)
        self._listens = RedisLink(address, reactor, greet=_load, away=self._away)
        self._tasks = Tasks()
        self._hears: list[Callable[[wire.News], object]] = []
        self._misses: list[Callable[[], object]] = []
        self._reads: Callable[[wire.Letter], object] = lambda _: None
        self._news_at, self._inbox_at = b"", b"0-0"
        self._count = 0
        self._problem: str | None = None

    def subscribe(
        self, hear: Callable[[wire.News], object], missed: Callable[[], object]
    ) -> None:
        """Tell all news from the start on; `missed`: some may have been lost."""
        self._hears.append(hear)
        self._misses.append(missed)

    def read_letters(self, read: Callable[[wire.Letter], object]) -> None:
        """Hand over what is written to this node alone."""
        self._reads = read

    def startService(self) -> None:
        super().startService()
        self._asks.start()
        self._listens.start()
        self._tasks.spawn("listening to the other nodes", self._listen())

    def stopService(self) -> Deferred[None]:
        """Send what is under way, then close both connections."""
        super().stopService()
        return Deferred.fromCoroutine(self._close())

    async def run(
        self, script: str, *arguments: Argument, limit_s: float | None = None
    ) -> Any:
        """Run one of the scripts; see `RedisLink.call`."""
        rest = 1, self._prefix, *arguments
        try:
            return await self._asks.call(
                "EVALSHA", _sha1(script), *rest, limit_s=limit_s
            )
        except Refused as e:
            if e.kind != "NOSCRIPT":
                raise
            return await self._asks.call("EVAL", script, *rest, limit_s=limit_s)

    async def tell(self, news: wire.News, *fence: int) -> bool:
        """Tell all nodes; with `fence` (shard, number) only if nobody has a higher."""
        proof: tuple[Argument, ...] = fence or ("", "")
        answer = await self.run(scripts.TELL, *proof, wire.encode(news), NEWS_MAX)
        return bool(answer.startswith(b"done"))

    async def write(self, node: str, letter: wire.Letter, limit_s: float) -> bytes:
        """Write to one node; return the letter's id, empty: there is no such node."""
        limit_ms = int(1000 * limit_s)
        id_: bytes = await self.run(scripts.ASK, node, wire.encode(letter), limit_ms)
        return id_

    async def withdraw(self, node: str, id_: bytes) -> bool:
        """Take a letter out of an inbox; False: somebody else has done so."""
        return bool(await self._asks.call("XDEL", self._inbox(node), id_) == 1)

    # ---- listening -----------------------------------------------------------------

    async def _listen(self) -> None:
        while self.running:
            try:
                if not self._news_at:
                    await self._find_place()
                await self._read_once()
            except CancelledError:
                raise
            except Exception as e:  # noqa: BLE001 - whatever it is, listen on
                if not self.running:
                    return
                if not isinstance(e, StoreError):
                    self._log.failure("listening to the other nodes failed")
                await deferLater(self._reactor, AGAIN_S)

    async def _find_place(self) -> None:
        last, count = await self.run(scripts.LATEST)
        self._news_at, self._count = last, int(count)
        self._miss()

    async def _read_once(self) -> None:
        streams = (f"{self._prefix}news", self._inbox(self.node))
        found = await self._listens.call(
            *("XREAD", "COUNT", READ_MAX, "BLOCK", int(1000 * LISTEN_S)),
            *("STREAMS", *streams, self._news_at, self._inbox_at),
            limit_s=LISTEN_LIMIT_S,
        )
        self._problem = None
        if found is None:
            await self._look_back()
        for stream, entries in found or ():
            if stream == streams[0].encode():
                self._take_news(entries)
            else:
                self._take_letters(entries)

    async def _look_back(self) -> None:
        """See whether this is still the Redis whose place we know."""
        last, count = await self.run(scripts.LATEST)
        if int(count) != self._count and _place(last) <= _place(self._news_at):
            self._news_at, self._count = last, int(count)
            self._miss()

    def _take_news(self, entries: list[Any]) -> None:
        for id_, fields in entries:
            number = int(fields[1])
            if number != self._count + 1:
                self._miss()
            self._news_at, self._count = id_, number
            try:
                news = wire.decode_news(fields[3])
            except ProtocolError as e:
                self._log.warn("{why}; is a node of another version here?", why=str(e))
                self._miss()
                continue
            for hear in self._hears:
                self._call(hear, news)

    def _take_letters(self, entries: list[Any]) -> None:
        for id_, fields in entries:
            self._inbox_at = id_
            self._tasks.spawn("taking a letter", self._take(id_, fields[1]))

    async def _take(self, id_: bytes, body: bytes) -> None:
        try:
            if await self.withdraw(self.node, id_):
                self._reads(wire.decode_letter(body))
        except (StoreError, ProtocolError) as e:
            self._log.warn("a letter of another node is lost: {why}", why=str(e))

    def _miss(self) -> None:
        for missed in self._misses:
            self._call(missed)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            function(*arguments)
        except Exception:  # noqa: BLE001 - the others must hear it all the same
            self._log.failure("what another node told could not be taken")

    # ---- small things --------------------------------------------------------------

    async def _close(self) -> None:
        inbox = self._inbox(self.node)
        with suppress(StoreError):  # wakes the one that listens
            await self._asks.call("XADD", inbox, "*", "b", wire.encode(wire.Nothing()))
        await self._listens.stop()
        with suppress(StoreError):
            await self._asks.call("DEL", inbox)
        self._tasks.cancel()
        await self._asks.stop()

    def _inbox(self, node: str) -> str:
        return f"{self._prefix}inbox:{node}"

    def _away(self, why: str) -> None:
        if why != self._problem:
            self._problem = why
            self._log.warn("this node is alone: {why}", why=why)


async def _load(ask: Ask) -> None:
    for script in scripts.ALL:
        await ask("SCRIPT", "LOAD", script)


@lru_cache
def _sha1(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _place(id_: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in id_.split(b"-"))
