"""STORAGE_URL names a store; which addresses are refused: tests/test_settings.py."""

from pathlib import Path

from twisted.internet.testing import MemoryReactorClock

from voicestatus.store.memory import MemoryStore
from voicestatus.store.open import open_store
from voicestatus.store.sqlite import SqliteStore


def test_memory_is_a_store_in_memory():
    assert isinstance(open_store("memory:", MemoryReactorClock()), MemoryStore)


def test_opening_sqlite_touches_no_file_before_the_service_starts(tmp_path: Path):
    path = tmp_path / "voicestatus.db"
    store = open_store(f"sqlite:{path}", MemoryReactorClock())
    assert isinstance(store, SqliteStore)
    assert not list(tmp_path.iterdir())
