"""From `STORAGE_URL` to the store that it names."""

from pathlib import Path
from typing import Any

from voicestatus.store.documents import Store
from voicestatus.store.memory import MemoryStore
from voicestatus.store.sqlite import SqliteStore


def open_store(url: str, reactor: Any) -> Store:
    """Make the store; it opens its file in `startService`.

    `memory:`, or `sqlite:PATH` (a relative path is taken from the folder of now).
    """
    if url == "memory:":
        return MemoryStore()
    return SqliteStore(Path(url.removeprefix("sqlite:")).absolute(), reactor)
