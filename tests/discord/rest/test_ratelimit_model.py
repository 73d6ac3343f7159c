"""The limits against a model of Discord: real windows, and answers in any order."""

import heapq
import math
from collections import defaultdict, deque
from itertools import count, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from voicestatus.discord.rest.ratelimit import GLOBAL_MOST, Answer
from voicestatus.discord.rest.route import Route
from voicestatus.discord.rest.wire import Problem

TEMPLATES = tuple(f"/channels/{{channel}}/{name}" for name in "abc")
BUCKETS = st.tuples(
    st.sampled_from(["p", "q"]), st.integers(1, 8), st.sampled_from([0.25, 1.0, 5.0])
)
"""Name, calls, seconds. Two routes may have one bucket."""


class Server:
    """Discord as it is documented: windows of buckets, 50 calls in any second."""

    def __init__(self, buckets):
        self.buckets = buckets
        self._windows, self._recent = {}, deque()

    def bucket(self, route):
        return self.buckets[route.template][0], route.major

    def serve(self, route, now):
        self._count(now)
        name, limit, window_s = self.buckets[route.template]
        began, used = self._windows.get(self.bucket(route), (-math.inf, 0))
        if now >= began + window_s:
            began, used = now, 0
        self._windows[self.bucket(route)] = began, used + 1
        headers = {
            "x-ratelimit-limit": str(limit),
            "x-ratelimit-remaining": str(max(0, limit - used - 1)),
            "x-ratelimit-reset": f"{began + window_s:.3f}",
            "x-ratelimit-reset-after": f"{began + window_s - now:.3f}",
            "x-ratelimit-bucket": name,
        }
        if used < limit:
            return Answer(200, headers, None)
        return Answer(429, headers, Problem(retry_after_s=began + window_s - now))

    def _count(self, now):
        while self._recent and self._recent[0] <= now - 1.0:
            self._recent.popleft()
        self._recent.append(now)
        assert len(self._recent) <= GLOBAL_MOST


class Scene:
    """Calls on their way to the server and answers on their way back."""

    def __init__(self, desk, server, dice, slowest_s, lost):
        self.desk, self.server = desk, server
        self.dice, self._slowest_s, self._lost = dice, slowest_s, lost
        self._events, self._order = [], count()
        self._known, self._guessed = set(), set()
        self.asked, self.done, self.sent = [], set(), defaultdict(list)

    def plan(self, at, what, *details):
        heapq.heappush(self._events, (at, next(self._order), what, details))

    def play(self):
        """Go on until nothing is on its way and nobody waits."""
        while (woken := self._wakes()) or self._events:
            if not woken:
                self.desk.now, _, what, details = heapq.heappop(self._events)
                what(*details)
            self._send()

    def ask(self, route, leaves):
        call = self.desk.ask(route)
        self.asked.append(call)
        if leaves:
            self.plan(self.desk.now + self.dice.uniform(0, 1), self.leave, call)

    def leave(self, call):
        if call.lane is not None and call in call.lane.line:
            self.desk.lose(call)
            self.done.add(call)

    def arrive(self, call):
        said = self.server.serve(call.route, self.desk.now)
        if said.status == 429:
            assert self.server.bucket(call.route) in self._guessed, "it was known"
        lost = self.dice.random() < self._lost
        self.plan(
            self._later(), *((self.lose, call) if lost else (self.answer, call, said))
        )

    def lose(self, call):
        self._guessed.add(self.server.bucket(call.route))
        self.desk.lose(call)
        self.done.add(call)

    def answer(self, call, said):
        self._known.add(call.route.kind)
        self.desk.answer(call, said)
        if said.status == 429:
            self.desk.take(self.desk.limits.ask(call, self.desk.now))
        else:
            self.done.add(call)

    def _wakes(self):
        """Wake the limits, if that is what happens next."""
        at = self.desk.limits.wake_at(self.desk.now)
        if at is None or (self._events and self._events[0][0] <= at):
            return False
        self.desk.now = max(self.desk.now, at)
        self.desk.take(self.desk.limits.tick(self.desk.now))
        return True

    def _send(self):
        sent, self.desk.sent = self.desk.sent, []
        for call in sent:
            self.sent[call.route.kind, call.route.major].append(call.number)
            if call.route.kind not in self._known:  # whose bucket nobody could know
                self._guessed.add(self.server.bucket(call.route))
            self.plan(self._later(), self.arrive, call)

    def _later(self):
        return self.desk.now + self.dice.uniform(0, self._slowest_s)


@settings(max_examples=150, deadline=None)
@given(
    calls=st.integers(1, 150),
    within_s=st.sampled_from([0.0, 1.0, 6.0]),
    slowest_s=st.sampled_from([0.0, 0.05, 0.4]),
    lost=st.sampled_from([0.0, 0.1, 0.6]),
    buckets=st.tuples(*[BUCKETS] * len(TEMPLATES)),
    dice=st.randoms(use_true_random=True),
)
def test_no_429_that_could_be_known_and_everybody_has_their_turn(
    make_desk, calls, within_s, slowest_s, lost, buckets, dice
):
    shapes = {bucket[0]: bucket for bucket in buckets}
    ours = [shapes[name] for name, _, _ in buckets]
    server = Server(dict(zip(TEMPLATES, ours, strict=True)))
    scene = Scene(make_desk(), server, dice, slowest_s, lost)
    for _ in range(calls):
        route = Route.to("POST", dice.choice(TEMPLATES), channel=dice.randint(1, 3))
        leaves = dice.random() < 0.1
        scene.plan(dice.uniform(0, within_s), scene.ask, route, leaves)
    scene.play()
    assert scene.done == set(scene.asked)
    assert scene.desk.limits.waiting == 0
    for numbers in scene.sent.values():  # but for those that were sent again
        assert all(a < b for a, b in pairwise(dict.fromkeys(numbers)))
