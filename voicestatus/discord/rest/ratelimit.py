"""When the HTTP API may be called: a place in line for each call. Pure.

Calls that share a bucket stand in one lane, first come first served; lanes that may
send take turns. What a lane knows is `told - flying`: the least that an answer of this
window left, less all that are under way. It never sends one that could be too many.

Source: Discord docs, "Rate Limits" and "Invalid Request Limit".
"""

import math
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

from voicestatus.discord.rest.route import GATEWAY_BOT, Route
from voicestatus.discord.rest.wire import Problem

SLACK_S: Final = 0.05
"""Added to a reset, since it is told in milliseconds and takes a while to arrive."""
GLOBAL_MOST: Final = 50
GLOBAL_WINDOW_S: Final = 1.0
UNDER_WAY_MOST: Final = 10
"""Each is a connection; at 200 ms a call they are enough for the global limit."""
BANNED_S: Final = 600.0
"""A 429 that is not JSON is Cloudflare's ban of the IP, for as long as told or this."""
INVALID_WINDOW_S: Final = 600.0
INVALID_MANY: Final = 250
"""Of the 10,000 answers in `INVALID_WINDOW_S` that lead to the ban; then slowly."""
INVALID_MOST: Final = 500
"""Then nothing more is sent."""
SLOWLY_S: Final = 1.0
RETRIES: Final = 4
LANES_KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """What of an answer matters here; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    problem: Problem | None
    """None: the body is not Discord's JSON, or no error."""


@dataclass(eq=False, slots=True)
class Call:
    """One call: in line, or under way, or neither. Asked again it keeps its number."""

    route: Route
    who: str = ""
    """Whose limits: our bot's, or those of a person who signed in."""
    number: int = 0
    lane: "Lane | None" = field(default=None, repr=False)

    def __lt__(self, other: "Call") -> bool:
        return self.number < other.number


@dataclass(frozen=True, slots=True)
class Send:
    """It is that call's turn."""

    call: Call


@dataclass(frozen=True, slots=True)
class Refuse:
    """There were too many refusals: nothing may be sent for so long."""

    call: Call
    wait_s: float


Effect = Send | Refuse


def retry_wait_s(tries: int, jitter: float) -> float:
    """Return how long to wait after the failed try number `tries`: 1, 2, 4, 8 s and
    up to half as much again."""
    return float(2 ** (tries - 1)) * (1 + jitter / 2)


@dataclass(eq=False, slots=True)
class Lane:
    """The calls that share one limit, and what is known of it."""

    key: tuple[object, ...]
    line: list[Call] = field(default_factory=list)
    flying: set[Call] = field(default_factory=set)
    limit: float | None = None
    """None: nobody told, so one at a time; inf: there is none."""
    told: float = 0.0
    reset_at: float = math.inf
    """inf: of a window from which no answer has come."""
    paused_until: float = -math.inf
    due_at: float = math.inf
    """When it is looked at next."""
    _window: float = -math.inf
    """X-RateLimit-Reset: tells windows apart, whatever the order of answers."""

    def free_at(self, now: float) -> float:
        """Return when the next may go; inf: not before an answer has come."""
        if now >= self.reset_at and self.limit is not None:
            self.told, self.reset_at = self.limit, math.inf
        if self.limit is None:
            return math.inf if self.flying else self.paused_until
        if self.told > len(self.flying):
            return self.paused_until
        if self.limit > len(self.flying):
            return max(self.reset_at, self.paused_until)
        return math.inf

    def take(self, answer: Answer, now: float) -> None:
        """Learn from the headers of an answer."""
        limit, remaining, reset_after_s = (
            _number(answer.headers.get(f"x-ratelimit-{name}"))
            for name in ("limit", "remaining", "reset-after")
        )
        if limit is None or remaining is None or reset_after_s is None:
            self._untold(answer.status)
            return
        window = _number(answer.headers.get("x-ratelimit-reset")) or 0.0
        reset_at = now + reset_after_s + SLACK_S
        if self.limit is None or window > self._window + SLACK_S:
            self.told, self.reset_at, self._window = remaining, reset_at, window
        elif self.reset_at == math.inf:
            # Late, from a window that is over; or Discord's clock was set back.
            self.told = min(self.told, remaining)
            self.reset_at, self._window = reset_at, window
        elif window >= self._window - SLACK_S:
            self.told = min(self.told, remaining)
            self.reset_at = max(self.reset_at, reset_at)
            self._window = max(self._window, window)
        # else it is late: what this window has left is known from a newer one.
        self.limit = max(1.0, limit)

    def miss(self) -> None:
        """Take it that a call counted whose answer told nothing."""
        self.told -= 1
        if self.told < 1 and self.reset_at == math.inf:
            self.limit = None  # else nobody would ever learn when it is over

    def is_idle(self, now: float) -> bool:
        """Whether forgetting it changes nothing but that one goes at a time first."""
        return (
            not self.line
            and not self.flying
            and now >= self.paused_until
            and (now >= self.reset_at or self.reset_at == math.inf)
        )

    def _untold(self, status: int) -> None:
        if self.limit not in {None, math.inf}:
            self.miss()
        elif status < 429:  # an answer of Discord's own: there is no limit
            self.limit = self.told = math.inf
        else:
            self.limit = None


class Limits:
    """Says whose turn it is: calls and answers in, `Send` and `Refuse` out.

    After each method that returns effects, ask `wake_at` when to call `tick`.
    """

    def __init__(self) -> None:
        self.waiting = 0
        """How many stand in line."""
        self._lanes: dict[tuple[object, ...], Lane] = {}
        self._buckets: dict[tuple[str, str], str] = {}
        self._ready: OrderedDict[Lane, None] = OrderedDict()
        self._ready_exempt: OrderedDict[Lane, None] = OrderedDict()
        self._due: list[tuple[float, int, Lane]] = []
        self._number = 0
        self._sweep_at = LANES_KEPT
        self._under_way = 0
        self._spent: deque[float] = deque()
        """Until when answered calls count for the global limit: Discord counted each
        somewhere between its sending and its answer."""
        self._sent_at = -math.inf
        self._paused_until = -math.inf
        self._banned_until = -math.inf
        self._invalid: deque[float] = deque(maxlen=INVALID_MOST)

    def ask(self, call: Call, now: float) -> list[Effect]:
        """Put a call in line; one that is asked again, where it stood."""
        wait_s = self._stopped_until() - now
        if wait_s > 0 and call.route != GATEWAY_BOT:
            return [Refuse(call, wait_s)]
        if not call.number:
            call.number = self._next_number()
        lane = call.lane = self._lane_of(call, now)
        insort(lane.line, call)
        self.waiting += 1
        self._settle(lane, now)
        return self._turns(now)

    def answered(self, call: Call, answer: Answer, now: float) -> list[Effect]:
        """Take an answer into account."""
        self._land(call, now)
        bucket = answer.headers.get("x-ratelimit-bucket")
        if bucket is not None and self._buckets.get(call.route.kind) != bucket:
            self._buckets[call.route.kind] = bucket
            self._move(call.route, now)
        lane = self._lane_of(call, now)
        lane.take(answer, now)
        shared = answer.headers.get("x-ratelimit-scope") == "shared"
        if answer.status == 429:
            self._pause(lane, answer, now)
        if answer.status in {401, 403} or (answer.status == 429 and not shared):
            self._invalid.append(now)
        self._settle(lane, now)
        return self._refusals(now) + self._turns(now)

    def gone(self, call: Call, now: float) -> list[Effect]:
        """A call leaves the line, or its answer will never come."""
        lane = call.lane
        if lane is None:
            return []
        if call in lane.flying:
            self._land(call, now)
            lane.miss()
            self._settle(lane, now)
        else:
            self._leave(call, lane)
        return self._turns(now)

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        return self._turns(now)

    def wake_at(self, now: float) -> float | None:
        """Return when `tick` is wanted; None: not before something else happens."""
        while self._due and not self._due[0][2].line:
            heappop(self._due)[2].due_at = math.inf
        times = [math.inf]
        if self._due:
            times.append(self._due[0][0])
        if self._ready:
            times.append(max(self._banned_until, self._global_at(now)))
        if self._ready_exempt:
            times.append(self._banned_until)
        at = min(times)
        return None if at == math.inf else at

    def wait_s(self, call: Call, now: float) -> float:
        """Return how long a call must wait, as far as that is known already."""
        lane = self._lanes.get(self._key(call))
        times = [now, self._banned_until, now if lane is None else lane.free_at(now)]
        if not call.route.of_interaction:
            times.append(self._paused_until)
        return max(at for at in times if at < math.inf) - now

    # -- lanes -------------------------------------------------------------------

    def _key(self, call: Call) -> tuple[object, ...]:
        kind = call.route.kind
        return self._buckets.get(kind, kind), call.route.major, call.who

    def _lane_of(self, call: Call, now: float) -> Lane:
        key = self._key(call)
        lane = self._lanes.get(key)
        if lane is None:
            if len(self._lanes) >= self._sweep_at:
                self._sweep(now)
            lane = self._lanes[key] = Lane(key)
        return lane

    def _sweep(self, now: float) -> None:
        for lane in [each for each in self._lanes.values() if each.is_idle(now)]:
            del self._lanes[lane.key]
        self._sweep_at = max(LANES_KEPT, 2 * len(self._lanes))

    def _move(self, route: Route, now: float) -> None:
        """A route's bucket has become known: its calls go where they belong."""
        for lane in tuple(self._lanes.values()):
            ours = [c for c in (*lane.line, *lane.flying) if c.route.kind == route.kind]
            for call in ours:
                target = call.lane = self._lane_of(call, now)
                if call in lane.flying:
                    lane.flying.remove(call)
                    target.flying.add(call)
                else:
                    lane.line.remove(call)
                    insort(target.line, call)
                self._settle(target, now)
            self._clear(lane)

    def _settle(self, lane: Lane, now: float) -> None:
        """See to it that a lane with a line gets its turn when it is free."""
        if not lane.line:
            return
        at = lane.free_at(now)
        if at <= now:
            exempt = lane.line[0].route.of_interaction
            (self._ready_exempt if exempt else self._ready).setdefault(lane)
        elif at < lane.due_at:
            lane.due_at = at
            heappush(self._due, (at, self._next_number(), lane))

    def _leave(self, call: Call, lane: Lane) -> None:
        del lane.line[bisect_left(lane.line, call)]
        call.lane = None
        self.waiting -= 1
        self._clear(lane)

    def _clear(self, lane: Lane) -> None:
        """An empty lane needs no turn: nothing is waked for it."""
        if not lane.line:
            self._ready.pop(lane, None)
            self._ready_exempt.pop(lane, None)

    # -- turns -------------------------------------------------------------------

    def _turns(self, now: float) -> list[Effect]:
        while self._due and self._due[0][0] <= now:
            _, _, lane = heappop(self._due)
            lane.due_at = math.inf
            self._settle(lane, now)
        sent: list[Effect] = []
        if now >= self._banned_until:
            while self._ready_exempt:
                self._turn(self._ready_exempt, sent, now)
            while self._ready and self._global_at(now) <= now:
                self._turn(self._ready, sent, now)
        return sent

    def _turn(
        self, ready: OrderedDict[Lane, None], sent: list[Effect], now: float
    ) -> None:
        """Send the first of the lane whose turn it is, which then goes to the end."""
        lane, _ = ready.popitem(last=False)
        if lane.free_at(now) <= now:
            call = lane.line.pop(0)
            lane.flying.add(call)
            self.waiting -= 1
            if not call.route.of_interaction:
                self._under_way += 1
                self._sent_at = now
            sent.append(Send(call))
        self._settle(lane, now)

    def _land(self, call: Call, now: float) -> None:
        lane, call.lane = call.lane, None
        if lane is not None:
            lane.flying.remove(call)
            if not call.route.of_interaction:
                self._under_way -= 1
                self._spent.append(now + GLOBAL_WINDOW_S + SLACK_S)
            self._settle(lane, now)

    def _global_at(self, now: float) -> float:
        """Return when the global limit, or prudence, lets the next call go."""
        while self._spent and self._spent[0] <= now:
            self._spent.popleft()
        at = self._paused_until
        if self._under_way >= UNDER_WAY_MOST:
            return math.inf
        if self._under_way + len(self._spent) >= GLOBAL_MOST:
            at = max(at, self._spent[0])
        if self._has_invalid(INVALID_MANY, now):
            at = max(at, self._sent_at + SLOWLY_S)
        return at

    # -- refusals ----------------------------------------------------------------

    def _pause(self, lane: Lane, answer: Answer, now: float) -> None:
        told_s, problem = _number(answer.headers.get("retry-after")), answer.problem
        if problem is None:
            self._banned_until = now + (BANNED_S if told_s is None else told_s)
            return
        # The body is exact; the header is rounded, and silent on hidden limits.
        wait_s = problem.retry_after_s
        if wait_s is None:
            wait_s = 1.0 if told_s is None else told_s
        until = now + wait_s + SLACK_S
        if problem.everywhere or "x-ratelimit-global" in answer.headers:
            self._paused_until = max(self._paused_until, until)
        else:
            lane.paused_until = max(lane.paused_until, until)

    def _has_invalid(self, count: int, now: float) -> bool:
        enough = len(self._invalid) >= count
        return enough and now < self._invalid[-count] + INVALID_WINDOW_S

    def _stopped_until(self) -> float:
        full = len(self._invalid) == INVALID_MOST
        return self._invalid[0] + INVALID_WINDOW_S if full else -math.inf

    def _refusals(self, now: float) -> list[Effect]:
        """Once nothing may be sent, nobody is left to wait for it."""
        wait_s = self._stopped_until() - now
        if wait_s <= 0:
            return []
        refused = [
            (call, lane)
            for lane in self._lanes.values()
            for call in lane.line
            if call.route != GATEWAY_BOT
        ]
        for call, lane in refused:
            self._leave(call, lane)
        return [Refuse(call, wait_s) for call, _ in refused]

    def _next_number(self) -> int:
        self._number += 1
        return self._number


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None
