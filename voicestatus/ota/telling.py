"""Tells the node that conducts the rollouts of the devices that are here."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from voicestatus.cluster.messages import Messages
from voicestatus.core.eligibility import Facts
from voicestatus.core.errors import Refusal, StoreError
from voicestatus.devices.wire import OtaReport
from voicestatus.ota.downloads import Fetched
from voicestatus.ota.node_wire import (
    TELL,
    Bundle,
    Call,
    Downloaded,
    Happened,
    Reported,
    Seen,
    encode,
    seen_of,
)
from voicestatus.tasks import Tasks

TELL_AFTER_S: Final = 0.1
MOST: Final = 500
"""Devices in one bundle."""
LOOK_EVERY_S: Final = 10.0
"""A light or a round trip that changes is not told by itself."""
AGAIN: Final = b"again"
"""The answer of who knows nothing of a node: it wants to be told all."""


class Signs(Protocol):
    """See `ota.signs.Signs`."""

    def ids(self) -> Sequence[str]: ...

    def look(self, id_: str) -> Facts | None: ...

    def is_here(self, id_: str) -> bool: ...

    def subscribe(self, tell: Callable[[str], object]) -> Callable[[], object]: ...

    def subscribe_reports(
        self, tell: Callable[[str, OtaReport], object]
    ) -> Callable[[], object]: ...


class Downloads(Protocol):
    """See `ota.downloads.Downloads`."""

    def subscribe(self, tell: Callable[[Fetched], object]) -> Callable[[], object]: ...


class Telling:
    """Tells what is new, in bundles, for as long as a rollout is alive elsewhere.

    What could not be told is told with the next call, to whoever conducts then: of a
    device how it is, and of each thing that happened to it the newest.
    """

    def __init__(
        self,
        signs: Signs,
        downloads: Downloads,
        messages: Messages,
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        self._signs, self._downloads, self._messages = signs, downloads, messages
        self._clock, self._wall = clock, wall
        self._to: tuple[str, int] | None = None
        self._new: dict[str, None] = {}
        self._said: dict[str, Seen] = {}
        """What it knows of those that are here."""
        self._happened: dict[tuple[str, ...], Happened] = {}
        self._looked_at = 0.0
        self._leaves: list[Callable[[], object]] = []
        self._wake: IDelayedCall | None = None
        self._working = False
        self._tasks = Tasks()

    def heed(self, call: Call) -> None:
        """Take it that somebody conducts the rollouts."""
        if call.over:
            return  # the next one is told what happens meanwhile
        if not call.busy or call.node == self._messages.node:
            self.stop()
            return
        if not self._leaves:
            self._leaves = [
                self._signs.subscribe(self._changed),
                self._signs.subscribe_reports(self._reported),
                self._downloads.subscribe(self._fetched),
            ]
        now = self._clock.seconds()
        if self._to != (call.node, call.term):
            self._to = call.node, call.term
            self._all_anew()
        elif now >= self._looked_at + LOOK_EVERY_S:
            self._looked_at = now
            self._new.update(dict.fromkeys(self._said))
        self._tell()

    def stop(self) -> None:
        """Tell nothing more."""
        self._tasks.cancel()
        for leave in self._leaves:
            leave()
        if self._wake is not None:
            self._wake.cancel()
        self._to = self._wake = None
        for table in (self._leaves, self._new, self._said, self._happened):
            table.clear()

    def untold(self) -> tuple[Happened, ...]:
        """Return what happened here and could not be told."""
        return tuple(self._happened.values())

    # ---- what is new ---------------------------------------------------------------

    def _all_anew(self) -> None:
        self._looked_at = self._clock.seconds()
        self._said.clear()
        here = filter(self._signs.is_here, self._signs.ids())
        self._new = dict.fromkeys(here)

    def _changed(self, id_: str) -> None:
        if id_ in self._said or self._signs.is_here(id_):
            self._new[id_] = None
            self._soon()

    def _reported(self, device: str, report: OtaReport) -> None:
        key = device, report.release, report.phase
        self._happen(key, Reported(device, report))

    def _fetched(self, fetched: Fetched) -> None:
        told = Downloaded(
            fetched.device, fetched.release, fetched.sent_bytes, fetched.whole
        )
        self._happen((told.device, told.release, f"whole {told.whole}"), told)

    def _happen(self, key: tuple[str, ...], happened: Happened) -> None:
        self._happened.pop(key, None)  # in the order of what came last
        self._happened[key] = happened
        self._soon()

    # ---- telling -------------------------------------------------------------------

    def _soon(self) -> None:
        if self._wake is None:
            self._wake = self._clock.callLater(TELL_AFTER_S, self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._tell()

    def _tell(self) -> None:
        if not self._working and self._to is not None:
            self._working = True
            self._tasks.spawn("telling who conducts the rollouts", self._tell_all())

    async def _tell_all(self) -> None:
        try:
            while self._to is not None and await self._tell_some(*self._to):
                pass
        except (Refusal, StoreError):
            pass  # with the next call
        finally:
            self._working = False

    async def _tell_some(self, node: str, term: int) -> bool:
        """Tell a bundle, even one without anything; return whether there is more."""
        some = list(islice(self._new, MOST))
        things = dict(islice(self._happened.items(), MOST))
        seen = {id_: self._seen(id_) for id_ in some}
        news = {id_: one for id_, one in seen.items() if one != self._said.get(id_)}
        for id_ in some:
            del self._new[id_]
        bundle = Bundle(
            node=self._messages.node,
            now=self._wall(),
            here=tuple(one for one in news.values() if one is not None),
            away=tuple(id_ for id_, one in news.items() if one is None),
            happened=tuple(things.values()),
            first=not self._said,
            more=bool(self._new),
        )
        try:
            answer = await self._messages.ask(node, TELL, encode(bundle))
        except (Refusal, StoreError):
            self._new |= dict.fromkeys(some)
            raise
        if (node, term) != self._to:
            return True
        for key, thing in things.items():
            if self._happened.get(key) is thing:
                del self._happened[key]
        if answer == AGAIN:
            self._all_anew()
            return True
        for id_, one in news.items():
            if one is None:
                self._said.pop(id_, None)
            else:
                self._said[id_] = one
        return bundle.more

    def _seen(self, id_: str) -> Seen | None:
        facts = self._signs.look(id_)
        return None if facts is None else seen_of(facts)
