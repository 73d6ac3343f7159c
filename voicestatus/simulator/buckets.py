"""Rate limits: of routes, as REST headers tell them, and of callers. Pure.

Source: Discord docs, Rate Limits. The numbers are not documented: these are like
those that were seen.
"""

import hashlib
from collections import defaultdict, deque
from dataclasses import dataclass

LIMIT, WINDOW_S = 50, 1.0
GLOBAL_WINDOW_S = 1.0
_ROLES = ("member-roles", 10, 10.0)
SPECIAL = {
    "GET /channels/:id/messages": ("read-messages", 5, 1.0),
    "POST /channels/:id/messages": ("write-messages", 5, 5.0),
    "PATCH /channels/:id/messages/:id": ("edit-messages", 5, 5.0),
    "DELETE /channels/:id/messages/:id": ("delete-messages", 5, 1.0),
    "POST /channels/:id/invites": ("make-invites", 5, 15.0),
    "PUT /guilds/:id/members/:id/roles/:id": _ROLES,
    "DELETE /guilds/:id/members/:id/roles/:id": _ROLES,
    "POST /guilds/:id/scheduled-events": ("make-events", 5, 60.0),
}
"""Bucket, calls, seconds: of the routes that have another limit than the rest."""


@dataclass(frozen=True, slots=True)
class Grant:
    """How one call stands to its bucket."""

    allowed: bool
    limit: int
    remaining: int
    reset_after_s: float
    bucket: str


class Buckets:
    """So many calls in a window for each bucket and major id; and for each caller."""

    def __init__(self, global_limit: int = LIMIT) -> None:
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}
        self._calls: dict[int, deque[float]] = defaultdict(deque)
        self._global_limit = global_limit

    def take(self, route: str, major: str, now: float) -> Grant:
        """Count one call; `route` is the method and the template of the path."""
        name, limit, window_s = SPECIAL.get(route, (route, LIMIT, WINDOW_S))
        began, used = self._windows.get((name, major), (now, 0))
        if now - began >= window_s:
            began, used = now, 0
        allowed = used < limit
        if allowed:
            used += 1
            self._windows[name, major] = (began, used)
        bucket = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        return Grant(allowed, limit, limit - used, began + window_s - now, bucket)

    def wait_s(self, caller: int, now: float) -> float:
        """Count one call of that caller; tell for how long it comes too soon, or 0."""
        calls = self._calls[caller]
        while calls and calls[0] <= now - GLOBAL_WINDOW_S:
            calls.popleft()
        if len(calls) >= self._global_limit:
            return calls[0] + GLOBAL_WINDOW_S - now
        calls.append(now)
        return 0.0
