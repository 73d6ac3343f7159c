"""Rate limits of routes, as REST headers tell them. Pure.

Source: Discord docs, Rate Limits.
"""

import hashlib
from dataclasses import dataclass

LIMIT, WINDOW_S = 50, 1.0


@dataclass(frozen=True, slots=True)
class Grant:
    """How one call stands to its bucket."""

    allowed: bool
    remaining: int
    reset_after_s: float
    bucket: str


class Buckets:
    """So many calls a second for each route and major id."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def take(self, route: str, major: str, now: float) -> Grant:
        """Count one call; `route` is the method and the template of the path."""
        began, used = self._windows.get((route, major), (now, 0))
        if now - began >= WINDOW_S:
            began, used = now, 0
        allowed = used < LIMIT
        if allowed:
            used += 1
            self._windows[route, major] = (began, used)
        name = hashlib.blake2b(route.encode(), digest_size=16).hexdigest()
        return Grant(allowed, LIMIT - used, began + WINDOW_S - now, name)
