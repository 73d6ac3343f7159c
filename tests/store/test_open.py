"""STORAGE_URL names a store; which addresses are refused: tests/test_settings.py."""

from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock

from voicestatus.settings import load
from voicestatus.store.memory import MemoryStore
from voicestatus.store.open import open_store
from voicestatus.store.redis import RedisStore
from voicestatus.store.sqlite import SqliteStore


def test_memory_is_a_store_in_memory():
    assert isinstance(open_store("memory:", MemoryReactorClock()), MemoryStore)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel"])
def test_opening_redis_connects_nowhere_before_the_service_starts(scheme: str):
    reactor = MemoryReactorClock()
    store = open_store(f"{scheme}://me:pw@db/1", reactor)
    assert isinstance(store, RedisStore)
    assert not reactor.tcpClients
    assert not reactor.getDelayedCalls()


def test_an_address_of_no_store_is_refused_and_not_repeated():
    with pytest.raises(ValueError, match="no address of a store") as refused:
        open_store("redis://:secret@", MemoryReactorClock())
    assert "secret" not in str(refused.value)


def test_an_address_with_a_password_may_come_from_a_file_and_is_not_shown(
    tmp_path: Path,
):
    url = "redis://me:sesame@db/1"
    (tmp_path / "url").write_text(f"{url}\n")
    (tmp_path / ".env").write_text(
        f"DISCORD_TOKEN=x\nESP_AUTH_TOKEN=x\nSTORAGE_URL_FILE={tmp_path / 'url'}\n"
    )
    settings = load(str(tmp_path / ".env"))
    assert settings.storage_url == url
    assert "sesame" not in repr(settings) + str(settings)


def test_opening_sqlite_touches_no_file_before_the_service_starts(tmp_path: Path):
    path = tmp_path / "voicestatus.db"
    store = open_store(f"sqlite:{path}", MemoryReactorClock())
    assert isinstance(store, SqliteStore)
    assert not list(tmp_path.iterdir())
