"""Old devices that were sent for an update, and who of those that come is which. Pure.

They do not say who they are: a device that was sent away is taken to be the next one
that comes from where it stood. So only one is awaited from a place at a time.
"""

from dataclasses import dataclass
from itertools import takewhile

RETURN_WITHIN_S = 60.0
"""A device dials again some 5 s after it has asked for an update, or has started."""

Place = tuple[str | None, str]
"""Address, and what was dialled: all that an old device shows of itself."""


@dataclass(slots=True)
class _Awaited:
    name: str
    until_s: float
    came_as: str | None = None


class Returning:
    """Knows who is awaited from where, by the id of a device or of a connection."""

    def __init__(self) -> None:
        self._awaited: dict[Place, _Awaited] = {}

    def expect(self, place: Place, name: str, now_s: float) -> bool:
        """Await one; False: another one is awaited from there."""
        self._forget(now_s)
        before = self._awaited.get(place)
        if before is not None and before.came_as is None and before.name != name:
            return False
        # Anew, so that they stand in the order of their ends.
        self._awaited.pop(place, None)
        self._awaited[place] = _Awaited(name, now_s + RETURN_WITHIN_S)
        return True

    def prolong(self, name: str, now_s: float) -> Place | None:
        """Wait as long again, from now on, for one that has not come yet.

        Return from where; None: it is not awaited.
        """
        self._forget(now_s)
        for place, awaited in self._awaited.items():
            if awaited.name == name and awaited.came_as is None:
                self.expect(place, name, now_s)
                return place
        return None

    def came(self, place: Place, connection: str, now_s: float) -> str | None:
        """Take it that somebody came; return who it is; None: nobody is awaited."""
        self._forget(now_s)
        awaited = self._awaited.get(place)
        if awaited is None or awaited.came_as is not None:
            return None
        awaited.came_as = connection
        return awaited.name

    def learnt(self, name: str, id_: str, now_s: float) -> str | None:
        """Take it that a connection is that device; return as whom it came since."""
        self._forget(now_s)
        for awaited in self._awaited.values():
            if awaited.name == name:
                awaited.name = id_
                return awaited.came_as
        return None

    def __len__(self) -> int:
        return len(self._awaited)

    def _forget(self, now_s: float) -> None:
        over = takewhile(lambda item: item[1].until_s <= now_s, self._awaited.items())
        for place, _ in tuple(over):
            del self._awaited[place]
