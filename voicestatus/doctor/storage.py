"""Whether what must outlive a restart can be written, and by whom it can be read."""

import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from stat import S_IMODE
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote

from twisted.internet import defer
from twisted.internet.defer import Deferred, maybeDeferred

from voicestatus.core.errors import StoreError
from voicestatus.core.storage_address import InFile, InMemory, InRedis, parse
from voicestatus.doctor.finding import Finding, failed, ok, warning
from voicestatus.store.documents import Store
from voicestatus.store.open import open_store
from voicestatus.store.sqlite_schema import SCHEMA_VERSION

KIND: Final = "doctor"
WITHIN_S: Final = 10.0
FREE_MB_LEAST, FREE_MB_FEW = 20, 200
_BODY: Final = b'"can this be read again?"'


async def examine(url: str, reactor: Any) -> list[Finding]:
    """Try the store that `STORAGE_URL` names."""
    match parse(url):
        case InMemory():
            keep = "Set STORAGE_URL=sqlite:PATH to keep it"
            return [warning("storage", "in memory: a restart forgets all", keep)]
        case InRedis():
            store = open_store(url, reactor)
            trial = await attempt("Redis", store, reactor)
            return [trial, *(warning("storage", *each) for each in store.risks)]
        case InFile(name):
            path = _absolute(name)
            try:
                return await _file(path, url, reactor)
            except OSError as e:
                why = f"{path} cannot be looked at: {e.strerror}"
                mend = "Run the doctor as the user that the server runs as, or as root"
                return [failed("storage", why, mend)]


async def _file(path: Path, url: str, reactor: Any) -> list[Finding]:
    """:raises OSError: where this user may not even look."""
    schema = _schema(path)
    if schema is None:
        return await _beside(path, reactor)
    if 0 < schema < SCHEMA_VERSION:
        # To open it would change it, perhaps under a server that runs.
        older = f"{path} was written by an older voicestatus, and was left as it is"
        next_ = "The next start brings it up to date, and keeps a copy beside it"
        trial = warning("storage", older, next_)
    else:
        trial = await attempt(str(path), open_store(url, reactor), reactor)
    return [trial, *_readable_by_others("storage", path), disk(path.parent)]


async def _beside(path: Path, reactor: Any) -> list[Finding]:
    """Try a store in a folder of its own where the real one is yet to be made.

    A file that this user makes, the server's own user perhaps could not write.
    """
    try:
        with TemporaryDirectory(prefix=".voicestatus-", dir=path.parent) as folder:
            store = open_store(f"sqlite:{folder}/trial", reactor)
            what = f"{path} (made at the first start)"
            return [await attempt(what, store, reactor), disk(path.parent)]
    except OSError as e:
        mend = f"Make the folder {path.parent}, and let this user write there"
        return [failed("storage", f"{path} cannot be made: {e.strerror}", mend)]


def _schema(path: Path) -> int | None:
    """Read the file's schema and change nothing; None: there is no file."""
    if not path.exists():
        return None
    # Who may only read leaves -wal and -shm behind.
    address = f"file:{quote(str(path))}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=1)) as file:
            return int(file.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error:
        return 0  # whoever opens it in earnest says why


def _absolute(name: str) -> Path:
    """Take a relative path from the folder of now, as the store does."""
    return Path(name).absolute()


def disk(folder: Path) -> Finding:
    """Look whether there is room."""
    return judge_room(folder, shutil.disk_usage(folder).free // 10**6)


def judge_room(folder: Path, free_mb: int) -> Finding:
    """Judge what is free."""
    room = f"{free_mb} MB are free for {folder}"
    if free_mb >= FREE_MB_FEW:
        return ok("disk", room)
    judged = warning if free_mb >= FREE_MB_LEAST else failed
    return judged("disk", room, "Make room, or name another place in STORAGE_URL")


def secrets_file(path: Path) -> list[Finding]:
    """Look whether others can read the settings."""
    return _readable_by_others("settings", path)


def _readable_by_others(check: str, path: Path) -> list[Finding]:
    mode = S_IMODE(path.stat().st_mode)
    if not mode & 0o077:
        return []
    told = f"other users may read or write {path} (mode {mode:o})"
    return [warning(check, told, f"chmod 600 {path}")]


async def attempt(what: str, store: Store, reactor: Any) -> Finding:
    """Open the store, write, read and delete a document of our own, and close it."""
    store.startService()
    try:
        trial = Deferred.fromCoroutine(_write_read_delete(store))
        read = await trial.addTimeout(WITHIN_S, reactor)
    except StoreError as e:
        return failed("storage", str(e))
    except defer.TimeoutError:
        return failed("storage", f"{what} did not answer within {WITHIN_S:g} s")
    finally:
        with suppress(StoreError):  # a disk that hangs cannot be closed either
            await maybeDeferred(store.stopService)
    if read != _BODY:
        return failed("storage", f"{what} gives back something else than was written")
    return ok("storage", f"{what} can be written, read and cleared")


async def _write_read_delete(store: Store) -> bytes | None:
    await store.put(KIND, "trial", _BODY)
    document = await store.get(KIND, "trial")
    await store.delete(KIND, "trial")
    return None if document is None else document.body
