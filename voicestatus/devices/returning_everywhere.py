"""Old devices that were sent away by one node and come back to another."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

from voicestatus.devices.news import Others
from voicestatus.devices.returning import Place, Returning

TOPIC: Final = "returning"


class Expected(Struct, frozen=True, tag="expected"):
    """One is awaited, for as long as that takes from now on."""

    place: Place
    name: str


class Came(Struct, frozen=True, tag="came"):
    """Somebody came from there."""

    place: Place
    connection: str


class Learnt(Struct, frozen=True, tag="learnt"):
    """A connection is that device."""

    name: str
    id: str


News = Expected | Came | Learnt


class ReturningEverywhere:
    """As `Returning`; what one node knows, all do."""

    def __init__(
        self,
        others: Others,
        now: Callable[[], float],
        became: Callable[[str, str], object],
    ) -> None:
        """`became` takes a connection and the device that another node learnt it is."""
        self._others, self._now, self._became = others, now, became
        self._here = Returning()
        others.hear(TOPIC, self._hear, lambda: None)

    def expect(self, place: Place, name: str, now_s: float) -> bool:
        expected = self._here.expect(place, name, now_s)
        if expected:
            self._tell(Expected(place, name))
        return expected

    def prolong(self, name: str, now_s: float) -> Place | None:
        place = self._here.prolong(name, now_s)
        if place is not None:
            self._tell(Expected(place, name))
        return place

    def came(self, place: Place, connection: str, now_s: float) -> str | None:
        name = self._here.came(place, connection, now_s)
        if name is not None:
            self._tell(Came(place, connection))
        return name

    def learnt(self, name: str, id_: str, now_s: float) -> str | None:
        self._tell(Learnt(name, id_))
        return self._here.learnt(name, id_, now_s)

    def _tell(self, news: News) -> None:
        self._others.tell(TOPIC, msgspec.json.encode(news))

    def _hear(self, body: bytes) -> None:
        with suppress(msgspec.DecodeError):  # of another version
            self._take(msgspec.json.decode(body, type=News))

    def _take(self, news: News) -> None:
        now_s = self._now()
        match news:
            case Expected(place, name):
                self._here.expect(place, name, now_s)
            case Came(place, connection):
                self._here.came(place, connection, now_s)
            case Learnt(name, id_):
                came_as = self._here.learnt(name, id_, now_s)
                if came_as is not None:
                    self._became(came_as, id_)
