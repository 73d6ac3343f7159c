"""What is to go wrong next with requests and new connections. Pure."""

from collections import deque
from dataclasses import dataclass

BASE = "/api/v10"


@dataclass(slots=True)
class RestFault:
    """The next `left` calls on a route are answered with `status` instead."""

    route: tuple[str, ...]
    status: int
    left: int
    retry_after_s: float = 0.0
    scope: str = "user"
    """Of a 429: user, global, shared, or banned (HTML, as from Cloudflare)."""

    def meets(self, path: tuple[str, ...]) -> bool:
        return len(path) >= len(self.route) and all(
            wanted in {"*", given} or wanted[:1] in ":{"
            for wanted, given in zip(self.route, path, strict=False)
        )


class Faults:
    """The faults that wait for a request or a connection to meet."""

    def __init__(self) -> None:
        self._rest: list[RestFault] = []
        self._slow_hellos: deque[float] = deque()

    def add_rest(
        self,
        route: str,
        status: int,
        count: int,
        retry_after_s: float = 0.0,
        scope: str = "user",
    ) -> None:
        """`route`: a path below the base or its beginning; `*` and `:name` are any."""
        self._rest.append(RestFault(_split(route), status, count, retry_after_s, scope))

    def take_rest(self, path: str) -> RestFault | None:
        """The fault that this request meets, the oldest first."""
        parts = _split(path)
        for fault in self._rest:
            if fault.meets(parts):
                fault.left -= 1
                if fault.left <= 0:
                    self._rest.remove(fault)
                return fault
        return None

    def add_slow_hellos(self, count: int, seconds: float) -> None:
        self._slow_hellos.extend([seconds] * count)

    def take_hello_delay_s(self) -> float:
        """After how long the next connection gets its Hello."""
        return self._slow_hellos.popleft() if self._slow_hellos else 0.0


def _split(route: str) -> tuple[str, ...]:
    path = route.rpartition(" ")[2].removeprefix(BASE).partition("?")[0]
    return tuple(part for part in path.split("/") if part)
