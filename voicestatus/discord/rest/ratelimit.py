"""When the HTTP API may be called: limits, pauses, retries. Pure.

Source: Discord docs, "Rate Limits" and "Invalid Request Limit".
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from voicestatus.discord.rest.wire import GATEWAY_BOT, Problem, Route

SLACK_S: Final = 0.05
"""Added to a reset, since it is told in milliseconds and takes a while to arrive."""
BANNED_S: Final = 600.0
"""A 429 that is not JSON is Cloudflare's ban of the IP, for as long as told or this."""
INVALID_MOST: Final = 500
"""Of the 10,000 answers in `INVALID_WINDOW_S` that lead to the ban."""
INVALID_WINDOW_S: Final = 600.0
RETRIES: Final = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """What of an answer matters here; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    problem: Problem | None
    """None: the body is not Discord's JSON, or no error."""


def retry_wait_s(tries: int, jitter: float) -> float:
    """Return how long to wait after the failed try number `tries`: 1, 2, 4, 8 s and
    up to half as much again."""
    return float(2 ** (tries - 1)) * (1 + jitter / 2)


class Limits:
    """Learns from each answer when which route may be called again."""

    def __init__(self) -> None:
        self._everything_free_at = 0.0
        self._free_at: dict[Route, float] = {}
        self._invalid: deque[float] = deque(maxlen=INVALID_MOST)

    def free_at(self, route: Route, now: float) -> float:
        """Return when `route` may be called: `now`, or later."""
        times = [now, self._everything_free_at, self._free_at.get(route, now)]
        if route != GATEWAY_BOT and self._has_many_invalid(now):
            times.append(self._invalid[0] + INVALID_WINDOW_S)
        return max(times)

    def answered(self, route: Route, answer: Answer, now: float) -> None:
        """Take an answer into account."""
        headers = answer.headers
        shared = headers.get("x-ratelimit-scope") == "shared"
        if answer.status in {401, 403} or (answer.status == 429 and not shared):
            self._invalid.append(now)
        if answer.status == 429:
            self._pause(route, answer, now)
        elif headers.get("x-ratelimit-remaining") == "0":
            reset_after_s = _seconds(headers.get("x-ratelimit-reset-after"))
            if reset_after_s is not None:
                self._free_at[route] = now + reset_after_s + SLACK_S

    def _pause(self, route: Route, answer: Answer, now: float) -> None:
        told_s = _seconds(answer.headers.get("retry-after"))
        if answer.problem is None:
            self._everything_free_at = now + (BANNED_S if told_s is None else told_s)
            return
        # The body is exact; the header is rounded, and silent on hidden limits.
        wait_s = answer.problem.retry_after_s
        if wait_s is None:
            wait_s = 1.0 if told_s is None else told_s
        until = now + wait_s + SLACK_S
        if answer.problem.everywhere or "x-ratelimit-global" in answer.headers:
            self._everything_free_at = max(self._everything_free_at, until)
        else:
            self._free_at[route] = until

    def _has_many_invalid(self, now: float) -> bool:
        full = len(self._invalid) == self._invalid.maxlen
        return full and now < self._invalid[0] + INVALID_WINDOW_S


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
