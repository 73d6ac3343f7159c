"""What holds for every test: it leaves no failure unseen and no timer running.

And what several rooms test with: messages between nodes, a real Redis.
"""

import gc
import json
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from twisted.logger import LogEvent, globalLogPublisher

from voicestatus.cluster.messages import NodeGone


@pytest.fixture(scope="module", autouse=True)
def what_was_there_before_is_not_collected_again() -> None:
    """Each test ends with a collection: let it look at that test's garbage alone."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[list[LogEvent]]:
    """Fail on a logged failure that the test did not take, and on a live timer."""
    from twisted.internet import reactor

    logged: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            logged.append(event)

    globalLogPublisher.addObserver(observe)
    yield logged  # a test that expects a failure checks it and clears the list
    gc.collect()  # an unhandled Deferred speaks only when it dies
    globalLogPublisher.removeObserver(observe)
    timers = [call for call in reactor.getDelayedCalls() if call.active()]
    for call in timers:
        call.cancel()
    assert not logged, [event["log_failure"] for event in logged]
    assert not timers


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak", action="store_true", help="full counts of kills, faults and churn"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Draw few examples each time, and others the next time."""
    many = 1000 if config.getoption("--soak") else 40
    settings.register_profile("ours", max_examples=many)
    settings.load_profile("ours")


# ---- messages between nodes --------------------------------------------------------


class Air:
    """What carries messages between nodes: in order, and only when it is let."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        self.letters: list[tuple[str, str, bytes]] = []
        self.heard: list[Any] = []
        """All that was told, once it was carried."""
        self.holds = False
        self.nodes: dict[str, AirMessages] = {}

    def node(self, name: str) -> "AirMessages":
        self.nodes[name] = AirMessages(self, name)
        return self.nodes[name]

    def carry(self) -> None:
        while self.letters:
            sender, topic, body = self.letters.pop(0)
            self.heard.append(json.loads(body))
            for name, node in self.nodes.items():
                if name != sender and topic in node.hears:
                    node.hears[topic](body)

    def lose(self) -> None:
        """Lose what is under way; who listens learns that."""
        self.letters.clear()
        for node in self.nodes.values():
            for missed in node.misses:
                missed()


class AirMessages:
    """`cluster.messages.Messages` in memory."""

    def __init__(self, air: Air, node: str) -> None:
        self._air, self.node = air, node
        self.hears: dict[str, Callable[[bytes], object]] = {}
        self.serves: dict[str, Callable[[bytes], Any]] = {}
        self.misses: list[Callable[[], object]] = []
        self.problem: Exception | None = None
        """What comes of asking where a device is."""
        self.no_answer: Exception | None = None
        """What comes of asking this node."""
        self.asked: list[str] = []

    def serve(self, topic: str, serve: Callable[[bytes], Any]) -> None:
        self.serves[topic] = serve

    async def ask(
        self, node: str, topic: str, body: bytes, limit_s: float = 3.0
    ) -> bytes:
        if (there := self._air.nodes.get(node)) is None:
            raise NodeGone(f"node {node} is gone")
        there.asked.append(topic)
        if there.no_answer is not None:
            raise there.no_answer
        answer: bytes = await there.serves[topic](body)
        return answer

    def hear(
        self, topic: str, hear: Callable[[bytes], object], missed: Callable[[], object]
    ) -> None:
        self.hears[topic] = hear
        self.misses.append(missed)

    def tell(self, topic: str, body: bytes) -> None:
        self._air.letters.append((self.node, topic, body))
        if not self._air.holds:
            self._air.carry()

    def arrived(self, device: str) -> None:
        self._air.places[device] = self.node

    def departed(self, device: str) -> None:
        if self._air.places.get(device) == self.node:
            del self._air.places[device]

    async def where(self, device: str) -> str | None:
        if self.problem is not None:
            raise self.problem
        return self._air.places.get(device)

    async def everywhere(self) -> dict[str, str]:
        if self.problem is not None:
            raise self.problem
        return dict(self._air.places)


@pytest.fixture
def air() -> Air:
    return Air()


# ---- a real Redis ------------------------------------------------------------------

STARTS_WITHIN_S = 20.0


FREE_PORTS = range(10_000, 32_000)
"""Below those that the kernel gives to connections: nobody gets one in between."""


def any_free_port() -> int:
    while True:
        port = random.choice(FREE_PORTS)
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class RedisServer:
    """One redis-server in a folder of its own, on a port of loopback."""

    def __init__(self, folder: Path, *options: str, port_option: str = "port") -> None:
        self.folder, self.port = folder, any_free_port()
        self._options = (
            *(f"--{port_option}", str(self.port), "--bind", "127.0.0.1"),
            *("--dir", str(folder), "--save", "", "--appendonly", "yes"),
            *options,
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str, wait: bool = True) -> None:
        self.start_with(*self._options, *more, wait=wait)

    def start_with(self, *arguments: str, wait: bool = True) -> None:
        command = ["redis-server", *arguments]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        if wait:
            self.wait_until_reachable()

    def wait_until_reachable(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.02)
            else:
                return

    def log(self) -> str:
        return (self.folder / "redis.log").read_text()

    def send(self, what: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(what)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()  # one that is stopped, too
            self._process.wait()
            self._process = None

    def ask(self, *command: str) -> bytes:
        """Send one command as an operator would; return the raw answer."""
        words = [word.encode() for word in command]
        parts = [b"*%d\r\n" % len(words)]
        parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        with socket.create_connection(("127.0.0.1", self.port), 5) as link:
            link.sendall(b"".join(parts))
            return link.recv(65536)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    return any_free_port


@pytest.fixture(scope="session")
def redis_server() -> type[RedisServer]:
    """What starts a redis-server, for those with options of their own."""
    found = shutil.which("redis-server")
    assert found, "redis-server is not installed: `make test` installs it"
    return RedisServer


@pytest.fixture(scope="session")
def redis(redis_server: type[RedisServer]) -> Iterator[RedisServer]:
    """A Redis that all tests share: each takes a prefix of its own."""
    with tempfile.TemporaryDirectory() as folder:
        server = redis_server(Path(folder))
        server.start()
        yield server
        server.kill()


@pytest.fixture
def make_redis(
    redis_server: type[RedisServer], tmp_path: Path
) -> Iterator[Callable[..., RedisServer]]:
    """Make redis-servers that are the test's own; it starts and kills them."""
    servers: list[RedisServer] = []

    def make(*options: str, **more: Any) -> RedisServer:
        folder = tmp_path / f"redis{len(servers)}"
        folder.mkdir()
        servers.append(redis_server(folder, *options, **more))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def own_redis(make_redis: Callable[..., RedisServer]) -> RedisServer:
    """One that the test may stop and kill: it comes back empty."""
    server = make_redis("--appendonly", "no")
    server.start()
    return server
