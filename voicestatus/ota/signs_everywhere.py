"""The devices of all nodes, as the node knows them that conducts the rollouts."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from msgspec.structs import replace as changed
from twisted.internet.interfaces import IReactorTime

from voicestatus.cluster.messages import Messages, NodeGone
from voicestatus.core.eligibility import Facts
from voicestatus.core.errors import Refusal
from voicestatus.core.release import Release
from voicestatus.devices.wire import OtaReport
from voicestatus.ota.downloads import Downloads, Fetched
from voicestatus.ota.node_wire import (
    OFFER,
    TELL,
    Bundle,
    Call,
    Happened,
    Reported,
    Seen,
    Sent,
    decode,
    encode,
    offer_in,
    sent_of,
)
from voicestatus.ota.seat import Seat, nobody
from voicestatus.ota.signs import Signs, offer_of
from voicestatus.ota.telling import AGAIN, Telling
from voicestatus.store.documents import FateUnknown

GATHERS_S: Final = 1.5
"""So long one who begins waits for others to tell what devices they have."""
GATHERS_AT_MOST_S: Final = 6.0
SILENT_S: Final = 6.0
"""A node that tells nothing for so long is gone, with its devices."""
SAME_TIME_S: Final = 2.0
"""Clocks that are so near are taken to agree: the rest is the way of the message."""


class _Node:
    """What is known of another node."""

    def __init__(self, ahead_s: float) -> None:
        self.ahead_s = ahead_s
        """How far this node's clock is ahead of that one's."""
        self.heard_at = 0.0
        self.more = False


class SignsEverywhere:
    """Devices that are here, and those of which other nodes tell.

    They are told of while a rollout is alive; without one all others seem away.
    """

    def __init__(
        self,
        signs: Signs,
        downloads: Downloads,
        telling: Telling,
        seat: Seat,
        messages: Messages,
        clock: IReactorTime,
        *,
        wall: Callable[[], float],
        conducts: Callable[[], bool],
    ) -> None:
        """`conducts`: whether the rollouts of this node take what is told."""
        self._signs, self._downloads, self._telling = signs, downloads, telling
        self._seat, self._messages, self._clock = seat, messages, clock
        self._wall, self._conducts = wall, conducts
        self._there: dict[str, tuple[str, Seen]] = {}
        """By device: its node, and how it is."""
        self._nodes: dict[str, _Node] = {}
        self._since: float | None = None
        """When this node began to gather; None: it does not."""
        self._waiting: list[Happened] = []
        self._told: dict[object, Callable[[str], object]] = {}
        self._told_reports: dict[object, Callable[[str, OtaReport], object]] = {}
        messages.serve(TELL, self._serve_tell)
        messages.serve(OFFER, self._serve_offer)
        seat.subscribe(self._heed)

    # ---- what rollouts ask: see `rollout_ports.Devices` ----------------------------

    @property
    def loaded(self) -> bool:
        """Whether they are known; for who conducts also those of other nodes."""
        return self._signs.loaded and not self._gathers

    def ids(self) -> Sequence[str]:
        return self._signs.ids()

    def look(self, id_: str) -> Facts | None:
        facts = self._signs.look(id_)
        if facts is None or facts.connected or id_ not in self._there:
            return facts
        _, seen = self._there[id_]
        return replace(
            facts,
            connected_at=seen.connected_at,
            introduced=seen.introduced,
            boot=seen.boot,
            rtt_ms=seen.rtt_ms,
            lit=seen.lit,
            legacy=seen.legacy,
            chip=seen.chip,
            board=seen.board,
            version=seen.version,
            build=seen.build,
            caps=seen.caps,
        )

    def subscribe(self, tell: Callable[[str], object]) -> Callable[[], object]:
        leave = self._signs.subscribe(tell)
        self._told[key := object()] = tell
        return lambda: (leave(), self._told.pop(key, None))

    def subscribe_reports(
        self, tell: Callable[[str, OtaReport], object]
    ) -> Callable[[], object]:
        leave = self._signs.subscribe_reports(tell)
        self._told_reports[key := object()] = tell
        return lambda: (leave(), self._told_reports.pop(key, None))

    async def offer(self, id_: str, release: Release, path: str) -> None:
        """Offer it where it is connected.

        If nobody knows whether that was done, it counts as done.
        """
        node = None
        if not self._signs.is_here(id_):
            node = await self._messages.where(id_)
        if node is None or node == self._messages.node:
            await self._signs.offer(id_, release, path)
            return
        sent = sent_of(self._seat.term, id_, offer_of(release, path))
        try:
            await self._messages.ask(node, OFFER, encode(sent))
        except NodeGone as e:
            raise Refusal("NODE_UNREACHABLE", str(e), node=node) from None
        except FateUnknown:
            return
        except Refusal as e:
            if e.code == "NOT_SERVED":
                raise Refusal("NODE_UNREACHABLE", e.message, node=node) from None
            raise

    def prolong(self, id_: str) -> None:
        self._signs.prolong(id_)  # which tells the others

    # ---- who conducts --------------------------------------------------------------

    @property
    def _gathers(self) -> bool:
        if self._since is None:
            return False
        passed_s = self._clock.seconds() - self._since
        if passed_s >= GATHERS_AT_MOST_S:
            return False
        return passed_s < GATHERS_S or any(one.more for one in self._nodes.values())

    def _heed(self, call: Call) -> None:
        if call.over or call.node != self._messages.node or not call.busy:
            self._forget_all()
            return
        now = self._clock.seconds()
        if self._since is None:
            self._since = now
            self._waiting += self._telling.untold()
        for name, node in tuple(self._nodes.items()):
            if now >= node.heard_at + SILENT_S:
                self._forget(name)
        self._pass_on()

    def _forget_all(self) -> None:
        self._since = None
        for table in (self._nodes, self._there, self._waiting):
            table.clear()

    def _forget(self, name: str) -> None:
        del self._nodes[name]
        gone = [id_ for id_, (node, _) in self._there.items() if node == name]
        for id_ in gone:
            del self._there[id_]
            self._tell(id_)

    # ---- what other nodes tell -----------------------------------------------------

    async def _serve_tell(self, body: bytes) -> bytes:
        bundle = decode(body, Bundle)
        if self._since is None:
            raise nobody()
        node = self._nodes.get(bundle.node)
        answer, ahead_s = b"", self._wall() - bundle.now
        if node is None:
            # What it has told may have been forgotten, when it was silent.
            answer = b"" if bundle.first else AGAIN
            same = abs(ahead_s) < SAME_TIME_S
            node = self._nodes[bundle.node] = _Node(0.0 if same else ahead_s)
        # A clock was set; no way makes a message come early, or so late.
        elif not -SAME_TIME_S < ahead_s - node.ahead_s < SILENT_S:
            node.ahead_s = ahead_s
        node.heard_at, node.more = self._clock.seconds(), bundle.more
        self._waiting += bundle.happened
        self._pass_on()
        for seen in bundle.here:
            self._see(bundle.node, seen, node.ahead_s)
        for id_ in bundle.away:
            if self._there.get(id_, ("",))[0] == bundle.node:
                del self._there[id_]
                self._tell(id_)
        return answer

    def _see(self, node: str, seen: Seen, ahead_s: float) -> None:
        seen = changed(seen, connected_at=seen.connected_at + ahead_s)
        other, before = self._there.get(seen.id, (node, seen))
        # It may be told late that it went from where it was before.
        if other == node or seen.connected_at >= before.connected_at:
            self._there[seen.id] = node, seen
            self._tell(seen.id)

    def _pass_on(self) -> None:
        """Pass on what happened, as soon as somebody takes it."""
        if not self._conducts():
            return
        waiting, self._waiting = self._waiting, []
        for happened in waiting:
            if isinstance(happened, Reported):
                for tell in tuple(self._told_reports.values()):
                    tell(happened.device, happened.report)
            else:
                self._downloads.heard(
                    Fetched(
                        happened.device,
                        happened.release,
                        happened.sent_bytes,
                        happened.whole,
                        self._wall(),
                    )
                )

    async def _serve_offer(self, body: bytes) -> bytes:
        sent = decode(body, Sent)
        if sent.term < self._seat.highest:
            raise Refusal("NODE_UNREACHABLE", "another node conducts the rollouts now")
        self._signs.pass_on(sent.device, offer_in(sent))
        return b""

    def _tell(self, id_: str) -> None:
        for tell in tuple(self._told.values()):
            tell(id_)
