"""Stores of every kind, started and stopped around a test; a real Redis among them."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.logger import LogEvent, eventAsText, globalLogPublisher

from voicestatus.simulator.tls import write_certificate
from voicestatus.store.documents import Store
from voicestatus.store.memory import MemoryStore
from voicestatus.store.open import open_store
from voicestatus.store.sqlite import SqliteStore

Started = Callable[..., SqliteStore]
StartedUrl = Callable[[str], Store]

STARTS_WITHIN_S = 20.0
PASSWORD = "open:sésame/@?"
QUOTED = "open%3As%C3%A9same%2F%40%3F"


def any_free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
            self._process.kill()
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


@pytest.fixture
def free_port() -> Callable[[], int]:
    return any_free_port


@pytest.fixture(scope="session")
def redis_server_program() -> str:
    found = shutil.which("redis-server")
    assert found, "redis-server is not installed: `make test` installs it"
    return found


@pytest.fixture(scope="session")
def redis(redis_server_program: str) -> Iterator[RedisServer]:
    """A Redis that all tests share: each takes a prefix of its own."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.kill()


@pytest.fixture
def make_redis(
    redis_server_program: str, tmp_path: Path
) -> Iterator[Callable[..., RedisServer]]:
    """Make redis-servers that are the test's own; it starts and kills them."""
    servers: list[RedisServer] = []

    def make(*options: str, **more: Any) -> RedisServer:
        folder = tmp_path / f"redis{len(servers)}"
        folder.mkdir()
        servers.append(RedisServer(folder, *options, **more))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def redis_with_password(redis_server_program: str) -> Iterator[RedisServer]:
    """A Redis whose one user is the one that docs/storage.md makes."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        rules = acl_of_the_page().replace("PASSWORD", PASSWORD)
        acl = Path(folder) / "users.acl"
        acl.write_text(f"user default off\n{rules}\n")
        server.start("--aclfile", str(acl))
        yield server
        server.kill()


def acl_of_the_page() -> str:
    page = (Path(__file__).parents[2] / "docs/storage.md").read_text()
    (line,) = (line for line in page.splitlines() if line.startswith("user voice"))
    return line


@pytest.fixture(scope="session")
def redis_with_tls(redis_server_program: str) -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_certificate(folder, lambda: datetime.now(UTC))
        files = ("--tls-cert-file", "--tls-key-file")
        options = [
            part for name in files for part in (name, str(folder / "server.pem"))
        ]
        options += ["--tls-ca-cert-file", str(folder / "ca.pem")]
        options += ["--tls-auth-clients", "no", "--port", "0"]
        server = RedisServer(folder, *options, port_option="tls-port")
        server.start()
        yield server
        server.kill()


_prefixes = count()


@pytest_twisted.async_yield_fixture
async def start_url() -> AsyncIterator[StartedUrl]:
    """Start the store of an address; those that the test did not stop are stopped."""
    from twisted.internet import reactor

    stores: list[Store] = []

    def start(url: str) -> Store:
        stores.append(open_store(url, reactor))
        stores[-1].startService()
        return stores[-1]

    yield start
    for store in stores:
        if store.running:
            await store.stopService()


@pytest_twisted.async_yield_fixture
async def start_sqlite() -> AsyncIterator[Started]:
    """Start SQLite stores; those that the test did not stop are stopped."""
    from twisted.internet import reactor

    stores: list[SqliteStore] = []

    def start(path: Path, busy_limit_s: float = 0.1) -> SqliteStore:
        stores.append(SqliteStore(path, reactor, busy_limit_s=busy_limit_s))
        stores[-1].startService()
        return stores[-1]

    yield start
    for store in stores:
        if store.running:
            await store.stopService()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "voicestatus.db"


@pytest.fixture(
    params=["memory", "sqlite", "redis", "redis-acl", "redis-tls"],
)
def store(request: pytest.FixtureRequest, start_sqlite: Started, path: Path) -> Store:
    if request.param == "sqlite":
        return start_sqlite(path)
    if request.param == "memory":
        memory = MemoryStore()
        memory.startService()
        return memory
    start: StartedUrl = request.getfixturevalue("start_url")
    prefix = f"prefix=voicestatus:{next(_prefixes)}:"
    if request.param == "redis":
        server = request.getfixturevalue("redis")
        return start(f"{server.url}?{prefix}")
    if request.param == "redis-acl":
        server = request.getfixturevalue("redis_with_password")
        user = f"voicestatus:{QUOTED}"
        return start(f"redis://{user}@127.0.0.1:{server.port}/3?{prefix}")
    server = request.getfixturevalue("redis_with_tls")
    ca = server.folder / "ca.pem"
    return start(f"rediss://127.0.0.1:{server.port}?{prefix}&cafile={ca}")


@pytest.fixture
def stop() -> Callable[[Store], Awaitable[None]]:
    """Stop a store and wait until it is closed, whatever it returns."""

    async def stop(store: Store) -> None:
        if (closed := store.stopService()) is not None:
            await closed

    return stop


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """Turn the reactor until a condition holds, for so long at most."""
    from twisted.internet import reactor, task

    async def eventually(holds: Callable[[], object], within_s: float = 20.0) -> None:
        deadline = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline, "it never came true"
            await task.deferLater(reactor, 0.02)

    return eventually


@pytest.fixture
def everything_logged() -> Iterator[list[str]]:
    """All that was logged, as it would be written without a filter."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(f"{eventAsText(event)} {event!r}")

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)
