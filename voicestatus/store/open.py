"""From `STORAGE_URL` to the store that it names."""

from pathlib import Path
from typing import Any

from voicestatus.core.storage_address import InFile, InMemory, InRedis, parse
from voicestatus.store.documents import Store
from voicestatus.store.memory import MemoryStore
from voicestatus.store.sqlite import SqliteStore


def open_store(url: str, reactor: Any) -> Store:
    """Make the store; it opens its file or connection in `startService`.

    A relative path is taken from the folder of now.

    :raises ValueError: when the address is none; its text holds nothing of it.
    """
    match parse(url):
        case InMemory():
            return MemoryStore()
        case InFile(path):
            return SqliteStore(Path(path).absolute(), reactor)
        case InRedis() as address:
            # txredisapi imports the reactor, which must be chosen before.
            from voicestatus.store.redis import RedisStore  # noqa: PLC0415

            return RedisStore(address, reactor)
