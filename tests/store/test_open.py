"""STORAGE_URL names a store, or the start stops with one clear line."""

from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock

from voicestatus.core.errors import ConfigError
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


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "memory:x",
        "sqlite",
        "sqlite:",
        "sqlite://voicestatus.db",
        "sqlite:///data/voicestatus.db",
        "sqlite::memory:",
        "postgres://user:secret@host/name",
        "/data/voicestatus.db",
    ],
)
def test_a_wrong_address_is_refused_by_the_name_of_its_variable(url: str):
    with pytest.raises(ConfigError, match=r"^STORAGE_URL: ") as refused:
        open_store(url, MemoryReactorClock())
    assert "secret" not in str(refused.value)
