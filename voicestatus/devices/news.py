"""What the nodes tell each other of devices: who came and went, whose record is new."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import Final, Literal, Protocol

import msgspec
from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from voicestatus.core.errors import StoreError

TOPIC: Final = "devices"
BUNDLE_S: Final = 0.05
MOST: Final = 500
"""Devices in one bundle."""
LOOK_AFTER_S: Final = (0.0, 2.0)
"""When one looks where a device is: news may be faster than what they are about."""
LOOKED_S: Final = 15.0
"""So long after somebody looked it is told what devices say of themselves."""

Event = Literal["came", "went", "said", "changed", "forgotten"]


class Others(Protocol):
    """The other nodes, as far as devices need them; see `cluster.messages`."""

    node: str

    def hear(
        self, topic: str, hear: Callable[[bytes], object], missed: Callable[[], object]
    ) -> object: ...

    def tell(self, topic: str, body: bytes) -> object: ...

    def arrived(self, device: str) -> object: ...

    def departed(self, device: str) -> object: ...

    async def where(self, device: str) -> str | None: ...


class Bundle(Struct, frozen=True, omit_defaults=True):
    """Ids of devices. `changed` and `forgotten` are about what is stored of them."""

    came: tuple[str, ...] = ()
    went: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()
    looks: bool = False
    """Whether somebody looks at all devices there."""

    @property
    def ids(self) -> Iterable[str]:
        """Whom it is about."""
        return {*self.came, *self.went, *self.said, *self.changed, *self.forgotten}


class News:
    """Tells the other nodes, some at a time, and hears them."""

    _log = Logger()

    def __init__(
        self,
        others: Others,
        clock: IReactorTime,
        hear: Callable[[Bundle], object],
        missed: Callable[[], object],
    ) -> None:
        """`missed` is told that something may have been told and not heard."""
        self._others, self._clock, self._hear = others, clock, hear
        self._untold: dict[tuple[Event, str], None] = {}
        self._call: IDelayedCall | None = None
        self._looked_until = 0.0
        others.hear(TOPIC, self._heard, missed)

    def came(self, id_: str) -> None:
        self._others.arrived(id_)
        self._tell("came", id_)

    def went(self, id_: str) -> None:
        self._others.departed(id_)
        self._tell("went", id_)

    def said(self, id_: str) -> None:
        """Tell that a device said how it is, if anybody looks."""
        if self._clock.seconds() < self._looked_until:
            self._tell("said", id_)

    def looks(self) -> None:
        """Tell that somebody looks at all devices here."""
        self._others.tell(TOPIC, msgspec.json.encode(Bundle(looks=True)))

    def changed(self, ids: Iterable[str]) -> None:
        """Tell that something else is stored of these now."""
        for id_ in ids:
            self._tell("changed", id_)

    def forgotten(self, id_: str) -> None:
        """Tell that nothing is stored of it any more."""
        self._tell("forgotten", id_)

    async def is_elsewhere(self, id_: str) -> bool:
        """Whether another node is where it came last, as far as that can be told."""
        for wait_s in LOOK_AFTER_S:
            await deferLater(self._clock, wait_s)
            with suppress(StoreError):
                if await self._others.where(id_) not in {None, self._others.node}:
                    return True
        return False  # who is dead here is found out by pings

    def flush(self) -> None:
        """Tell at once what is not told yet."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        while self._untold:
            some = tuple(islice(self._untold, MOST))
            for key in some:
                del self._untold[key]
            told: dict[Event, list[str]] = {}
            for event, id_ in some:
                told.setdefault(event, []).append(id_)
            self._others.tell(TOPIC, msgspec.json.encode(told))

    def _tell(self, event: Event, id_: str) -> None:
        self._untold[event, id_] = None
        if self._call is None:
            self._call = self._clock.callLater(BUNDLE_S, self.flush)

    def _heard(self, body: bytes) -> None:
        try:
            bundle = msgspec.json.decode(body, type=Bundle)
        except msgspec.DecodeError as e:
            self._log.warn("what another node told cannot be read: {why}", why=str(e))
        else:
            if bundle.looks:
                self._looked_until = self._clock.seconds() + LOOKED_S
            self._hear(bundle)
