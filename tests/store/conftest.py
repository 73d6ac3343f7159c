"""Stores of every kind, started and stopped around a test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_twisted

from voicestatus.store.documents import Store
from voicestatus.store.memory import MemoryStore
from voicestatus.store.sqlite import SqliteStore

Started = Callable[..., SqliteStore]


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


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, start_sqlite: Started, path: Path) -> Store:
    if request.param == "sqlite":
        return start_sqlite(path)
    memory = MemoryStore()
    memory.startService()
    return memory


@pytest.fixture
def stop() -> Callable[[Store], Awaitable[None]]:
    """Stop a store and wait until it is closed, whatever it returns."""

    async def stop(store: Store) -> None:
        if (closed := store.stopService()) is not None:
            await closed

    return stop
