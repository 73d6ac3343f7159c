"""Which node holds which device, and what nodes ask of each other."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, Protocol

from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from voicestatus.cluster import scripts, wire
from voicestatus.cluster.bus import Bus
from voicestatus.core.errors import Refusal, StoreError
from voicestatus.store.documents import FateUnknown
from voicestatus.store.redis_link import Argument
from voicestatus.tasks import Tasks

ANSWER_WITHIN_S: Final = 3.0
DEVICES_AT_ONCE: Final = 1000

Serve = Callable[[bytes], Awaitable[bytes]]
"""Answers a question; a Refusal that it raises is raised where it was asked."""


class NodeGone(StoreError):  # noqa: N818 - what happened, not whose fault
    """There is no such node any more, or it does not answer: nothing was done."""


class Messages(Protocol):
    """What the other nodes have, and how to ask them."""

    node: str

    def serve(self, topic: str, serve: Serve) -> object:
        """Answer what other nodes ask about this; before the start."""
        ...

    async def ask(
        self, node: str, topic: str, body: bytes, limit_s: float = ANSWER_WITHIN_S
    ) -> bytes:
        """Ask one node, this one too.

        :raises Refusal: as that node's own.
        :raises NodeGone: it was not done, and will not be.
        :raises FateUnknown: it was taken, and no answer came in time.
        :raises StoreError: when Redis is away.
        """
        ...

    def hear(
        self, topic: str, hear: Callable[[bytes], object], missed: Callable[[], object]
    ) -> object:
        """Be told what other nodes tell all; `missed`: something may be lost."""
        ...

    def tell(self, topic: str, body: bytes) -> object:
        """Tell all other nodes; who does not hear it learns that it missed it."""
        ...

    def arrived(self, device: str) -> object:
        """Let all nodes know that the device is connected here."""
        ...

    def departed(self, device: str) -> object:
        """Let all nodes know that it is not any more."""
        ...

    async def where(self, device: str) -> str | None:
        """Return the node where it came last and still is.

        :raises StoreError: when Redis is away.
        """
        ...

    async def everywhere(self) -> Mapping[str, str]:
        """Return the node of each device that is connected.

        :raises StoreError: when Redis is away.
        """
        ...


class Post(Service):
    """Messages by way of Redis.

    A node shows every `beat` that it lives; its devices are forgotten with it. A Redis
    that has forgotten them is told them again.
    """

    _log = Logger()

    def __init__(
        self,
        bus: Bus,
        lease_s: float,
        clock: IReactorTime,
        *,
        living: Callable[[int], object],
    ) -> None:
        """`living` is told now and then how many nodes there are."""
        self.node = bus.node
        self._bus, self._clock, self._lease_s = bus, clock, lease_s
        self._living = living
        self._serves: dict[str, Serve] = {}
        self._hears: dict[str, Callable[[bytes], object]] = {}
        self._misses: list[Callable[[], object]] = []
        self._emptied: list[Callable[[], object]] = []
        self._waiting: dict[int, Deferred[wire.Answer]] = {}
        self._number = 0
        self._born: bytes | None = None
        self._here: set[str] = set()
        self._moved: dict[str, str] = {}
        """As `scripts.HERE` takes it; "?" is a "+" that Redis may know already.

        Who comes and goes while Redis is away leaves nothing to be told.
        """
        self._moving = self._beating = self._untold = False
        self._tasks = Tasks()
        self._beats = LoopingCall(self.beat)
        self._beats.clock = clock
        bus.subscribe(self._heard, self._missed)
        bus.read_letters(self._read)

    def serve(self, topic: str, serve: Serve) -> None:
        self._serves[topic] = serve

    def hear(
        self, topic: str, hear: Callable[[bytes], object], missed: Callable[[], object]
    ) -> None:
        self._hears[topic] = hear
        self._misses.append(missed)

    def when_emptied(self, refill: Callable[[], object]) -> None:
        """Call `refill` each time that Redis has forgotten what it was told."""
        self._emptied.append(refill)

    def startService(self) -> None:
        super().startService()
        self._beats.start(self._lease_s / 3)

    def stopService(self) -> Deferred[None]:
        """Take leave: what is asked of this node is refused at once from now on."""
        super().stopService()
        if self._beats.running:
            self._beats.stop()
        return Deferred.fromCoroutine(self._leave())

    async def _leave(self) -> None:
        with suppress(StoreError):  # it counts as dead after a lease
            await self._bus.run(scripts.BYE, self.node)
        self._tasks.cancel()

    # ---- questions and answers -----------------------------------------------------

    async def ask(
        self, node: str, topic: str, body: bytes, limit_s: float = ANSWER_WITHIN_S
    ) -> bytes:
        if node == self.node:
            return await self._serves[topic](body)
        self._number += 1
        number, answer = self._number, Deferred[wire.Answer]()
        self._waiting[number] = answer
        try:
            letter = wire.Ask(number, self.node, topic, body)
            id_ = await self._bus.write(node, letter, limit_s)
            if not id_:
                raise NodeGone(f"node {node} is gone")
            return _body(await self._in_time(answer, node, id_, limit_s))
        finally:
            del self._waiting[number]

    async def _in_time(
        self, answer: Deferred[wire.Answer], node: str, id_: bytes, limit_s: float
    ) -> wire.Answer:
        try:
            return await answer.addTimeout(limit_s, self._clock)
        except defer.TimeoutError:
            withdrawn = False
            with suppress(StoreError):
                withdrawn = await self._bus.withdraw(node, id_)
            if withdrawn:
                raise NodeGone(f"node {node} does not answer") from None
            raise FateUnknown(
                f"node {node} did not answer within {limit_s:g} s; what was asked may"
                " have happened, or not"
            ) from None

    def _read(self, letter: wire.Letter) -> None:
        match letter:
            case wire.Ask():
                self._tasks.spawn("answering another node", self._answer(letter))
            case wire.Answer(number):
                waiting = self._waiting.get(number)
                if waiting is not None and not waiting.called:
                    waiting.callback(letter)
            case wire.Nothing():
                pass

    async def _answer(self, ask: wire.Ask) -> None:
        serve = self._serves.get(ask.topic)
        if serve is None:
            answer = wire.Answer(ask.number, b"", "NOT_SERVED", "of another version")
        else:
            try:
                answer = wire.Answer(ask.number, await serve(ask.body))
            except Refusal as e:
                answer = wire.Answer(ask.number, b"", e.code, e.message)
            except StoreError as e:
                answer = wire.Answer(ask.number, b"", "STORE_UNAVAILABLE", str(e))
        try:
            await self._bus.write(ask.node, answer, ANSWER_WITHIN_S)
        except StoreError as e:
            self._log.warn("an answer to another node is lost: {why}", why=str(e))

    # ---- for all -------------------------------------------------------------------

    def tell(self, topic: str, body: bytes) -> None:
        news = wire.Told(self.node, topic, body)
        self._tasks.spawn("telling all nodes", self._tell(news))

    async def _tell(self, news: wire.Told) -> None:
        try:
            await self._bus.tell(news)
        except StoreError as e:
            self._log.warn("the other nodes are told later: {why}", why=str(e))
            self._untold = True

    async def _tell_what_was_not(self) -> None:
        """Let the others look for themselves."""
        self._untold = False
        await self._tell(wire.Told(self.node, "", b""))

    def _heard(self, news: wire.News) -> None:
        if not isinstance(news, wire.Told) or news.node == self.node:
            return
        if not news.topic:
            self._missed()
        elif (hear := self._hears.get(news.topic)) is not None:
            hear(news.body)

    def _missed(self) -> None:
        for missed in self._misses:
            missed()

    # ---- devices -------------------------------------------------------------------

    def arrived(self, device: str) -> None:
        may_be_told = device in self._here or device in self._moved
        self._here.add(device)
        self._move(device, "?" if may_be_told else "+")

    def departed(self, device: str) -> None:
        self._here.discard(device)
        if self._moved.pop(device, None) != "+":
            self._move(device, "-")

    async def where(self, device: str) -> str | None:
        node: bytes = await self._bus.run(scripts.WHERE, device)
        return node.decode() or None

    async def everywhere(self) -> Mapping[str, str]:
        found: dict[str, tuple[int, str]] = {}
        answer = await self._bus.run(scripts.EVERYWHERE)
        for node, devices in zip(answer[::2], answer[1::2], strict=True):
            for device, at in zip(devices[::2], devices[1::2], strict=True):
                since = int(at), node.decode()
                known = found.setdefault(device.decode(), since)
                found[device.decode()] = max(known, since)
        return {device: node for device, (_, node) in found.items()}

    def _move(self, device: str, sign: str) -> None:
        self._moved.pop(device, None)
        self._moved[device] = sign
        if not self._moving and self.running:
            self._moving = True
            self._tasks.spawn("telling where devices are", self._tell_moves())

    async def _tell_moves(self) -> None:
        try:
            while self._moved:
                names = list(self._moved)[:DEVICES_AT_ONCE]
                some = {name: self._moved.pop(name) for name in names}
                try:
                    await self._tell_here(some.items())
                except StoreError as e:
                    self._tell_later(some, sent=isinstance(e, FateUnknown))
                    return  # the next beat tries again
        finally:
            self._moving = False

    def _tell_later(self, moves: Mapping[str, str], *, sent: bool) -> None:
        unsure = moves.keys() if sent else moves.keys() & self._moved.keys()
        self._moved = {**moves, **self._moved}
        for device in unsure:
            if self._moved[device] == "+":
                self._moved[device] = "?"

    async def _tell_here(self, moves: Iterable[tuple[str, str]]) -> None:
        words: list[Argument] = []
        for device, sign in moves:
            words += ["+" if sign == "?" else sign, device]
        await self._bus.run(scripts.HERE, self.node, self._alive_ms, *words)

    # ---- being alive ---------------------------------------------------------------

    def beat(self) -> None:
        """Show that this node lives, and see whether Redis is what it was."""
        if not self._beating:
            self._beating = True
            self._tasks.spawn("showing that this node lives", self._beat())

    async def _beat(self) -> None:
        try:
            born, known, nodes = await self._bus.run(
                scripts.BEAT, self.node, self._alive_ms
            )
            emptied = self._born not in {None, born}
            if emptied or int(known) < len(self._here - self._moved.keys()):
                self._moved = dict.fromkeys(self._here, "=") | self._moved
            self._born = born
            self._living(int(nodes))
            if emptied:
                self._log.warn("Redis came back empty: it is told again what is known")
                for refill in self._emptied:
                    refill()
            if self._untold:
                await self._tell_what_was_not()
            if self._moved and not self._moving:
                self._moving = True
                await self._tell_moves()
        except StoreError:
            pass  # its link says so
        finally:
            self._beating = False

    @property
    def _alive_ms(self) -> int:
        return int(1000 * self._lease_s)


def _body(answer: wire.Answer) -> bytes:
    if answer.refusal is not None:
        raise Refusal(answer.refusal, answer.message)
    return answer.body
