"""The devices that are connected to other nodes, watched while somebody looks."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from voicestatus.core.errors import StoreError
from voicestatus.tasks import Tasks
from voicestatus.web import views
from voicestatus.web.everywhere import Everywhere

LOOK_EVERY_S: Final = 5.0
MOST: Final = 200
"""Devices that are asked about at once."""


class Watch:
    """Knows where devices are that are not here, as far as somebody was told.

    Nodes tell what happens to their devices, but not that they die: so now and then it
    looks for one device of each node.
    """

    def __init__(
        self,
        everywhere: Everywhere,
        clock: IReactorTime,
        tell: Callable[[str, views.Device | None], object],
    ) -> None:
        """`tell` takes how a device is that was asked about; None: it is gone."""
        self._everywhere, self._tell = everywhere, tell
        self._places: dict[str, str] = {}
        self._wanted: dict[str, None] = {}
        # Who asks first is answered first: nobody is told what is older than before.
        self._lock = DeferredLock()
        self._working = False
        self._unsure = True
        self._tasks = Tasks()
        self._looks = LoopingCall(
            lambda: self._tasks.spawn("looking for other nodes' devices", self._look())
        )
        self._looks.clock = clock

    def start(self) -> None:
        """Watch from now on."""
        if not self._everywhere.alone:
            self._unsure = True
            self._everywhere.look()
            self._looks.start(LOOK_EVERY_S, now=False)

    def stop(self) -> None:
        """Watch no more, and forget where all are."""
        if self._looks.running:
            self._looks.stop()
        self._tasks.cancel()
        self._places.clear()
        self._wanted.clear()

    def ask(self, id_: str) -> None:
        """Find out about a device that is not here, and tell."""
        self._wanted[id_] = None
        if not self._working:
            self._working = True
            self._tasks.spawn("asking about other nodes' devices", self._work())

    async def places(self) -> Mapping[str, str]:
        """Return where the devices are that are not here, as far as that is known."""
        return await self._find(None)

    async def shown(
        self, ids: Sequence[str], places: Mapping[str, str]
    ) -> list[views.Device]:
        """Show devices that are at these places, or here, or away."""
        self._note(ids, places)
        if self._everywhere.alone:
            return await self._everywhere.shown(ids, places)
        async with self._lock:
            return await self._everywhere.shown(ids, places)

    async def _work(self) -> None:
        try:
            while self._wanted:
                ids = tuple(islice(self._wanted, MOST))
                for id_ in ids:
                    del self._wanted[id_]
                async with self._lock:
                    places = await self._find(ids)
                    shown = await self._everywhere.shown(ids, places)
                self._note(ids, places)
                found = {view.id: view for view in shown}
                for id_ in ids:
                    self._tell(id_, found.get(id_))
        finally:
            self._working = False

    async def _look(self) -> None:
        self._everywhere.look()
        if not self._unsure and not await self._is_another():
            return
        known, now = dict(self._places), await self._find(None)
        moved = [
            id_ for id_ in known.keys() | now.keys() if known.get(id_) != now.get(id_)
        ]
        # Who has gone may be back soon: a Redis that came back empty is told again.
        self._unsure |= bool(moved)
        for id_ in moved:
            self.ask(id_)

    async def _is_another(self) -> bool:
        """Whether of any node a device is not where it was."""
        some = {node: id_ for id_, node in self._places.items()}
        now = await self._find(tuple(some.values()))
        return any(now.get(id_) != node for node, id_ in some.items())

    async def _find(self, ids: Sequence[str] | None) -> Mapping[str, str]:
        try:
            found = await self._everywhere.places(ids)
        except StoreError:
            self._unsure = True
            return dict(self._places)
        if ids is None:
            self._unsure = False
        return found

    def _note(self, ids: Sequence[str], places: Mapping[str, str]) -> None:
        for id_ in ids:
            if (node := places.get(id_)) is None:
                self._places.pop(id_, None)
            else:
                self._places[id_] = node
