"""Stores of every kind, started and stopped around a test; a real Redis among them."""

import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
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

PASSWORD = "open:sésame/@?"
QUOTED = "open%3As%C3%A9same%2F%40%3F"


@pytest.fixture(scope="session")
def redis_with_password(redis_server: Any) -> Iterator[Any]:
    """A Redis whose one user is the one that docs/storage.md makes."""
    with tempfile.TemporaryDirectory() as folder:
        server = redis_server(Path(folder))
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
def redis_with_tls(redis_server: Any) -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_certificate(folder, lambda: datetime.now(UTC))
        files = ("--tls-cert-file", "--tls-key-file")
        options = [
            part for name in files for part in (name, str(folder / "server.pem"))
        ]
        options += ["--tls-ca-cert-file", str(folder / "ca.pem")]
        options += ["--tls-auth-clients", "no", "--port", "0"]
        server = redis_server(folder, *options, port_option="tls-port")
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
