"""Lets all nodes know the same releases."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from voicestatus.cluster.messages import Messages
from voicestatus.core.errors import StoreError
from voicestatus.ota.catalogue import Catalogue
from voicestatus.ota.node_wire import RELEASE, encode, hearing
from voicestatus.tasks import Tasks

RETRY_AFTER_S: Final = 5.0


class CatalogueNews(Service):
    """Tells which release is new, or gone, and reads what others have stored."""

    def __init__(
        self, catalogue: Catalogue, messages: Messages, clock: IReactorTime
    ) -> None:
        self._catalogue, self._messages, self._clock = catalogue, messages, clock
        self._reading: set[str] = set()
        """Those that are no news to others: one of them has told."""
        self._reads_all = False
        self._tasks = Tasks()
        self._leave: Callable[[], object] = lambda: None
        messages.hear(RELEASE, hearing(str, self._hear), self._missed)

    def startService(self) -> None:
        super().startService()
        self._leave = self._catalogue.subscribe(self._changed)

    def stopService(self) -> None:
        super().stopService()
        self._leave()
        self._tasks.cancel()

    def _changed(self, id_: str) -> None:
        # What is read at the start the others have read, too.
        if self._catalogue.loaded and not self._reads_all and id_ not in self._reading:
            self._messages.tell(RELEASE, encode(id_))

    def _hear(self, id_: str) -> None:
        if self.running and id_ not in self._reading:
            self._reading.add(id_)
            self._tasks.spawn("reading a release", self._reread(id_))

    async def _reread(self, id_: str) -> None:
        try:
            await self._until_read(lambda: self._catalogue.reread(id_))
        finally:
            self._reading.discard(id_)

    def _missed(self) -> None:
        if self.running and not self._reads_all:
            self._reads_all = True
            self._tasks.spawn("reading all releases again", self._reread_all())

    async def _reread_all(self) -> None:
        try:
            await self._until_read(self._catalogue.reread_all)
        finally:
            self._reads_all = False

    async def _until_read(self, read: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await read()
            except StoreError:
                await deferLater(self._clock, RETRY_AFTER_S)
            else:
                return
