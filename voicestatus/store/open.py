"""From `STORAGE_URL` to the store that it names."""

from pathlib import Path
from typing import Any

from voicestatus.core.errors import ConfigError
from voicestatus.store.documents import Store
from voicestatus.store.memory import MemoryStore
from voicestatus.store.sqlite import SqliteStore


def open_store(url: str, reactor: Any) -> Store:
    """Make the store; it opens its file in `startService`.

    `memory:`, `sqlite:PATH` (a relative path is taken from the folder of now).

    :raises ConfigError: never with the address itself, which may hold a password.
    """
    scheme, _, rest = url.partition(":")
    match scheme:
        case "memory" if url == "memory:":
            return MemoryStore()
        case "sqlite" if rest and not rest.startswith(("//", ":")):
            return SqliteStore(Path(rest).absolute(), reactor)
        case "sqlite":
            raise ConfigError(
                "STORAGE_URL: after sqlite: comes a path, as in sqlite:voicestatus.db"
                " or sqlite:/data/voicestatus.db"
            )
        case _:
            raise ConfigError("STORAGE_URL: must be sqlite:PATH or memory:")
