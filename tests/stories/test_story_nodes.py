"""Three nodes on one Redis, and what may happen to them: no sign ever shows a lie.

`make test` plays each part once, one after the other on the same nodes, and has
patience with a busy machine. `make soak` plays each many times, holds it to its bar,
and tells how long things took.
"""

import json
import random
import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

import voicestatus
from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.simulator.sessions import Rules

pytestmark = pytest.mark.slow

BUSY, QUIET = 1187000000000000001, 1187000000000000002
ADA, BEN = 4001, 4002
LEASE_S = 2.0
PATIENCE_S = 20.0
ADMIN = "open-the-admin-side"
TWISTD = Path(sys.executable).with_name("twistd")
SOURCE = Path(voicestatus.__file__).parents[1]

in_reactor = pytest_twisted.ensureDeferred


class Node:
    """One process, as its user starts it."""

    def __init__(self, house: Any, redis: Any, folder: Path, port: int) -> None:
        self._house, self._redis, self._folder = house, redis, folder
        self.port = port
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    @property
    def log(self) -> str:
        return (self._folder / f"log-{self._starts}").read_text()

    @property
    def lives(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        self._starts += 1
        with (self._folder / f"log-{self._starts}").open("wb") as output:
            self._process = subprocess.Popen(
                [TWISTD, "-n", "--pidfile=", "voicestatus"],
                cwd=self._folder,
                env={
                    "PATH": "/usr/bin:/bin",
                    "PYTHONPATH": str(SOURCE),
                    "DISCORD_TOKEN": "bot-token",
                    "ESP_AUTH_TOKEN": "sesame",
                    "ADMIN_TOKEN": ADMIN,
                    "DISCORD_API_URL": self._house.discord.url,
                    "STORAGE_URL": self._redis.url,
                    "LEASE_S": str(LEASE_S),
                    "HOST": "127.0.0.1",
                    "PORT": str(self.port),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def send(self, what: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(what)

    async def end(self, soon: Callable[..., Any], how: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(how)
        await self.is_over(soon)

    async def is_over(self, soon: Callable[..., Any]) -> None:
        process = self._process
        assert process is not None
        await soon(lambda: process.poll() is not None, self.log)
        self._process = None

    def check(self) -> None:
        for n in range(1, self._starts + 1):
            text = (self._folder / f"log-{n}").read_text()
            assert "Traceback" not in text, text

    async def ask(self, path: str) -> tuple[int, Any]:
        bearer = {"Authorization": f"Bearer {ADMIN}"}
        status, body = await self._house.get(path, port=self.port, **bearer)
        return status, json.loads(body)

    async def knows(self) -> Counter[int] | None:
        """Return how many are in each room; None: not all of it is known."""
        _, told = await self.ask("/api/v1/presence")
        if {guild["knowledge"] for guild in told["guilds"]} != {"known"}:
            return None
        return Counter(
            {
                int(room["id"]): room["people"]
                for guild in told["guilds"]
                for room in guild["channels"]
                if room["people"]
            }
        )

    async def metric(self, name: str) -> float:
        _, body = await self._house.get("/metrics", port=self.port)
        found = re.search(rf"^{name} (.*)$", body.decode(), re.MULTILINE)
        assert found, name
        return float(found[1])

    async def is_ready(self) -> bool:
        if "listening on" not in self.log:
            return False
        return (await self.ask("/health"))[0] == (await self.ask("/readyz"))[0] == 200


class Nodes:
    """Three of them, a sign for each room on each, and all that Discord saw."""

    def __init__(
        self,
        house: Any,
        soon: Any,
        redis: Any,
        folder: Path,
        ports: list[int],
        *,
        soak: bool,
    ) -> None:
        self._house, self._soon, self.redis = house, soon, redis
        self.soak = soak
        self.times = 30 if soak else 1
        self.discord: SimulatedDiscord = house.discord
        self.people = house.discord.people
        self.all = [Node(house, redis, folder / f"node-{port}", port) for port in ports]
        self.lit, self.dark = house.discord.world.guilds[QUIET].rooms[:2]
        self._signs: dict[int, dict[int, Any]] = {}
        self._old_signs: list[tuple[int, Any]] = []
        self.took: defaultdict[str, list[float]] = defaultdict(list)

    @property
    def living(self) -> list[Node]:
        return [node for node in self.all if node.lives]

    def now(self) -> float:
        now: float = self._house.reactor.seconds()
        return now

    async def wait(self, seconds: float) -> None:
        await deferLater(self._house.reactor, seconds)

    async def until(self, holds: Callable[[], Any], bar_s: float = PATIENCE_S) -> float:
        """Wait until the answer is yes; return how long it took.

        The bar is for a machine that has nothing else to do.
        """
        within_s = bar_s if self.soak else max(bar_s, PATIENCE_S)
        began = self.now()
        while not await holds():
            late = self.now() - began > within_s
            assert not late, "\n".join(node.log[-3000:] for node in self.living)
            await self.wait(0.02)
        return self.now() - began

    async def start(self) -> None:
        for node in self.all:
            node.start()
        for node in self.all:
            await self.until(node.is_ready)
            await self.watch(node)

    async def end(self, node: Node, how: signal.Signals) -> None:
        await node.end(self._soon, how)
        self.taken_down(node)

    async def start_again(self, node: Node) -> None:
        node.start()
        await self.until(node.is_ready)
        await self.watch(node)

    async def watch(self, node: Node) -> None:
        """Hang up a sign for each room."""
        await self._soon(lambda: "listening on" in node.log, node.log)
        rooms = [
            room for guild in self.discord.world.guilds.values() for room in guild.rooms
        ]
        self._signs[node.port] = {
            room: await self._house.sign(f"/ws?channel={room}", port=node.port)
            for room in rooms
        }

    def taken_down(self, node: Node) -> None:
        """Take it that the node's signs heard all that they are going to."""
        self._old_signs += self._signs.pop(node.port).items()

    # ---- what is true --------------------------------------------------------------

    def truth(self) -> Counter[int]:
        """Return how many are in each room."""
        guilds = self.discord.state()["guilds"].values()
        return Counter(
            int(room) for guild in guilds for room in guild["voice"].values()
        )

    async def shows_truth(self, node: Node) -> bool:
        signs = self._signs[node.port].items()
        lit = {room for room, sign in signs if sign.light == "1"}
        return lit == set(self.truth()) and await node.knows() == self.truth()

    async def settle(
        self, bar_s: float = PATIENCE_S, *, but: Node | None = None
    ) -> None:
        """Let nobody move any more; wait until every node knows and shows the truth."""
        self.people.stop()
        began = self.now()
        for node in self.living:
            if node is not but:
                left_s = began + bar_s - self.now()
                await self.until(partial(self.shows_truth, node), left_s)

    def check_lights(self) -> None:
        """No sign was told what was never true: Ada was in one room all the time."""
        signs = [
            *self._old_signs,
            *(s for d in self._signs.values() for s in d.items()),
        ]
        for room, sign in signs:
            told = [text for text in sign.heard if text in {"0", "1"}]
            if room == self.lit:
                assert set(told) <= {"1"}
            elif room == self.dark:
                assert set(told) <= {"0"}

    # ---- what Discord saw ----------------------------------------------------------

    def did(self, *kinds: str, since: int = 0) -> list[dict[str, Any]]:
        log: list[dict[str, Any]] = self.discord.log(since)  # type: ignore[assignment] # JSON
        return [entry for entry in log if entry["kind"] in kinds]

    def mark(self) -> int:
        log = self.discord.log()
        return int(str(log[-1]["seq"])) if log else 0

    async def holder(self) -> Node:
        """Ask the nodes who holds the only shard."""
        found: Node | None = None

        async def find() -> bool:
            nonlocal found
            for node in self.living:
                if await node.metric("voicestatus_node_shards"):
                    found = node
            return found is not None

        await self.until(find)
        assert found is not None
        return found

    async def resumed(self, what: str, since: int, bar_s: float) -> None:
        async def resumed() -> bool:
            return bool(self.did("resumed", since=since))

        self.took[what].append(await self.until(resumed, bar_s))

    def check_resumes(self, since: int, count: int) -> None:
        """A node that got no time for too long may have lost its lease once more."""
        resumes = len(self.did("resume", since=since))
        assert resumes == count if self.soak else resumes >= count

    def check_sessions(self) -> None:
        """Never two live connections of a shard: each began after the last one ended.

        One that slept is ended by Discord when the next one resumes.
        """
        assert len(self.did("identify")) == 1
        assert all(entry["ok"] for entry in self.did("resume"))
        began: dict[int, float] = {}
        spans: defaultdict[int, list[float]] = defaultdict(list)
        for entry in self.did("identify", "resumed", "close"):
            number = entry["connection"]
            if entry["kind"] == "close":
                if number in began:
                    spans[number] = [began.pop(number), entry["t"]]
            else:
                began[number] = entry["t"]
        assert len(began) <= 1
        in_order = sorted(spans.values())
        assert all(a[1] <= b[0] + SUPPLANTED_S for a, b in pairwise(in_order))


SUPPLANTED_S = 5.0
"""Who sleeps does not answer the close; its TCP connection lasts for half of it."""


@pytest_twisted.async_yield_fixture()
async def nodes(
    house: Any,
    soon: Any,
    own_redis: Any,
    tmp_path: Path,
    free_port: Any,
    request: Any,
    capsys: Any,
) -> AsyncIterator[Nodes]:
    house.discord = SimulatedDiscord(
        house.reactor,
        guilds=[BUSY, QUIET],
        rules=Rules(heartbeat_interval_s=8.0, resume_window_s=600.0, guilds_a_shard=2),
        people=20,
        rate_per_s=200,
        seed=7,
    )
    house.discord.startService()
    await house.discord.listening()
    house.discord.people.stop()
    own_redis.ask("SET", "voicestatus:born", "1000")
    soak = request.config.getoption("--soak")
    ports = [free_port() for _ in range(3)]
    nodes = Nodes(house, soon, own_redis, tmp_path, ports, soak=soak)
    house.discord.voice(QUIET, ADA, nodes.lit)
    try:
        await nodes.start()
        yield nodes
    finally:
        nodes.people.stop()
        for node in nodes.living:
            await node.end(soon, signal.SIGKILL)
    nodes.check_lights()
    for node in nodes.all:
        node.check()
    if soak:
        with capsys.disabled():
            for what, took in nodes.took.items():
                shown = ", ".join(f"{each:.2f}" for each in sorted(took))
                sys.stdout.write(f"\n{what} after seconds: {shown}\n")


async def a_killed_holder_is_replaced_within_a_lease_and_no_event_is_lost(
    nodes: Nodes,
) -> None:
    rng = random.Random(4)
    for _ in range(nodes.times):
        holder = await nodes.holder()
        nodes.people.start()
        await nodes.wait(rng.uniform(0.3, 0.9))
        since = nodes.mark()
        await nodes.end(holder, signal.SIGKILL)
        await nodes.resumed("a dead holder is replaced", since, LEASE_S + 1)
        await nodes.settle(1.0)
        await nodes.start_again(holder)
        await nodes.settle()


async def a_holder_that_is_told_to_stop_hands_over_within_a_second(
    nodes: Nodes,
) -> None:
    for _ in range(nodes.times):
        holder = await nodes.holder()
        nodes.people.start()
        await nodes.wait(0.3)
        since = nodes.mark()
        holder.send(signal.SIGTERM)
        await nodes.resumed("a holder that stops is replaced", since, 1.0)
        await nodes.end(holder, signal.SIGTERM)
        await nodes.settle(1.0)
        assert {e["code"] for e in nodes.did("close", since=since)} == {4000}
        await nodes.start_again(holder)


async def a_holder_that_slept_past_its_lease_says_nothing_when_it_wakes(
    nodes: Nodes,
) -> None:
    for _ in range(nodes.times):
        holder = await nodes.holder()
        mine = nodes.did("identify", "resumed")[-1]["connection"]
        nodes.people.start()
        await nodes.wait(0.3)
        since = nodes.mark()
        holder.send(signal.SIGSTOP)
        await nodes.resumed("a sleeping holder is replaced", since, LEASE_S + 1)
        await nodes.settle(1.0, but=holder)
        nodes.people.start()
        await nodes.wait(0.2)
        since = nodes.mark()
        holder.send(signal.SIGCONT)
        await nodes.wait(0.3)
        await nodes.settle()
        said = [e for e in nodes.discord.log(since) if e.get("connection") == mine]
        assert [
            e for e in said if (e["kind"], e.get("by")) != ("close", "server")
        ] == []


async def redis_may_go_away_for_less_than_a_lease_and_for_more(nodes: Nodes) -> None:
    for leases, resumes in [(0.4, 0), (1.5, 1)] * nodes.times:
        since = nodes.mark()
        nodes.people.start()
        await nodes.wait(0.2)
        nodes.redis.send(signal.SIGSTOP)
        await nodes.wait(leases * LEASE_S)
        nodes.redis.send(signal.SIGCONT)
        await nodes.wait(0.2)
        await nodes.settle(LEASE_S + 1)
        nodes.check_resumes(since, resumes)
        for node in nodes.all:
            await nodes.until(node.is_ready)


async def redis_may_forget_everything(nodes: Nodes) -> None:
    for _ in range(nodes.times):
        since = nodes.mark()
        nodes.people.start()
        await nodes.wait(0.2)
        nodes.redis.ask("FLUSHALL")
        await nodes.wait(1.0)
        await nodes.settle(LEASE_S + 1)
        nodes.check_resumes(since, 0)  # the holder went on
        nodes.people.start()
        nodes.redis.kill()
        nodes.redis.start()
        await nodes.wait(1.0)
        # Who finds it again too late for this short a lease waits one more.
        await nodes.settle(2 * LEASE_S + 1)
        for node in nodes.all:
            await nodes.until(node.is_ready)
    # What a later start needs is there again.
    await nodes.wait(1.0)
    nodes.people.start()
    for node in nodes.all:
        await nodes.end(node, signal.SIGKILL)
    nodes.people.stop()
    nodes.redis.ask("SET", "voicestatus:born", "1000")
    await nodes.start()
    await nodes.settle()


Part = Callable[[Nodes], Coroutine[Any, Any, None]]
PARTS: list[Part] = [
    a_killed_holder_is_replaced_within_a_lease_and_no_event_is_lost,
    a_holder_that_is_told_to_stop_hands_over_within_a_second,
    a_holder_that_slept_past_its_lease_says_nothing_when_it_wakes,
    redis_may_go_away_for_less_than_a_lease_and_for_more,
    redis_may_forget_everything,
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each part nodes of its own in the soak: starting them takes longest."""
    if "parts" in metafunc.fixturenames:
        soak = metafunc.config.getoption("--soak")
        plays = [[part] for part in PARTS] if soak else [PARTS]
        ids = [part.__name__ for part in PARTS] if soak else ["all"]
        metafunc.parametrize("parts", plays, ids=ids)


@in_reactor
async def test_no_sign_shows_a_lie_and_no_event_is_lost(
    nodes: Nodes, parts: list[Part]
):
    for part in parts:
        await part(nodes)
        nodes.check_sessions()
    await discord_may_want_more_shards(nodes)


async def discord_may_want_more_shards(nodes: Nodes) -> None:
    since = nodes.mark()
    nodes.discord.stage.add_guild(QUIET + (1 << 22))
    nodes.discord.fault("close", code=4011)

    async def identified() -> bool:
        return len(nodes.did("identify", since=since)) == 2

    await nodes.until(identified)
    for node in nodes.all:
        await nodes.until(node.is_ready)
    assert nodes.did("invalid_session", since=since) == []  # none came too soon
    shards = [entry["shard"] for entry in nodes.did("identify", since=since)]
    assert sorted(shards) == [[0, 2], [1, 2]]
    nodes.people.start()
    await nodes.wait(0.5)
    await nodes.settle()

    async def held() -> bool:
        names = [await node.metric("voicestatus_node_shards") for node in nodes.all]
        return sorted(names) == [0, 1, 1]

    await nodes.until(held)
