"""Documents in one SQLite file: no server to run, nothing lost in a crash."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from voicestatus.core.errors import StoreError
from voicestatus.store.documents import (
    Change,
    Document,
    Put,
    Store,
    VersionConflict,
    check,
)
from voicestatus.store.worker import Worker

T = TypeVar("T")

CALL_LIMIT_S = 10.0
BUSY_LIMIT_S = 2.0
"""How long another program may hold the file before a call fails."""

SCHEMA_VERSION = 1
_SCHEMA = (
    """CREATE TABLE documents (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        parent TEXT NOT NULL,
        version INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (kind, id)
    ) WITHOUT ROWID""",
    "CREATE INDEX documents_by_parent ON documents (kind, parent, id)",
    "CREATE TABLE counter (version INTEGER NOT NULL)",
    "INSERT INTO counter VALUES (0)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class SqliteStore(Store):
    """`STORAGE_URL=sqlite:PATH`; the file is touched by one thread only.

    When the file could not be opened, or failed later, the next call opens it anew:
    a disk that has room again needs no restart.
    """

    _log = Logger()

    def __init__(
        self, path: Path, reactor: Any, *, busy_limit_s: float = BUSY_LIMIT_S
    ) -> None:
        self._path, self._busy_limit_s = path, busy_limit_s
        self._worker = Worker(reactor, CALL_LIMIT_S)
        self._connection: sqlite3.Connection | None = None

    def startService(self) -> None:
        super().startService()
        self._worker.start()
        opened = self._ask(lambda _: None)
        opened.addErrback(self._cannot_open)

    def stopService(self) -> Deferred[None]:
        """Refuse new calls, finish those that wait, close the file."""
        super().stopService()
        closed = self._worker.do(self._close)
        self._worker.stop()
        return closed

    async def get(self, kind: str, id_: str) -> Document | None:
        self._refuse_unless_running()
        return await self._ask(lambda connection: _get(connection, kind, id_))

    async def list(self, kind: str, parent: str | None = None) -> tuple[Document, ...]:
        self._refuse_unless_running()
        return await self._ask(lambda connection: _list(connection, kind, parent))

    async def write(self, *changes: Change) -> int:
        self._refuse_unless_running()
        return await self._ask(lambda connection: _write(connection, changes))

    def _ask(self, command: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        asked = self._worker.do(lambda: self._perform(command))
        return asked.addCallbacks(self._went_well, self._went_wrong)

    def _went_well(self, result: T) -> T:
        self.problem = None
        return result

    def _went_wrong(self, failure: Failure) -> Failure:
        if failure.check(VersionConflict):
            self.problem = None  # it is an answer: the store itself is well
        elif not failure.check(CancelledError):  # who gave up learnt nothing
            self.problem = failure.getErrorMessage()
        return failure

    def _cannot_open(self, failure: Failure) -> None:
        self._log.critical("storage: {why}", why=failure.getErrorMessage())

    # In the worker's thread:

    def _perform(self, command: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = _open(self._path, self._busy_limit_s)
            return command(self._connection)
        except (sqlite3.Error, OSError) as e:
            self._close()
            raise explain(self._path, e) from e

    def _close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()


def explain(path: Path, error: sqlite3.Error | OSError) -> StoreError:
    """Say what is wrong with the file, and what to do about it."""
    if isinstance(error, OSError):
        return StoreError(
            f"{path} cannot be made: {error.strerror};"
            " the folder must exist and this user must be allowed to write there"
        )
    # Source: https://sqlite.org/rescode.html; the low byte is the primary code.
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            what = "is held by another program; end that program"
        case sqlite3.SQLITE_FULL:
            what = "cannot grow: the disk is full; make room"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            what = (
                "is read-only; let this user write the file, its -wal and -shm,"
                " and their folder"
            )
        case sqlite3.SQLITE_CANTOPEN:
            what = (
                "cannot be opened; the folder must exist, and this user must be"
                " allowed to write there"
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            what = (
                "is damaged, or no SQLite database; stop the server, move the file"
                " (and its -wal and -shm) away, and put a backup in its place"
            )
        case _:
            what = "failed"
    return StoreError(f"{path} {what} ({error})")


def _open(path: Path, busy_limit_s: float) -> sqlite3.Connection:
    if not path.exists():
        # It will hold hashes of tokens. SQLite gives -wal and -shm the same mode.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=busy_limit_s, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # A commit is in the operating system's hands when it returns, so it survives
        # the death of the process (kill -9). A power cut may take the last commits,
        # never the file's soundness. FULL would wait for the disk at each voice event.
        connection.execute("PRAGMA synchronous = NORMAL")
        # A leave deletes: no trace of who was where stays in free pages.
        connection.execute("PRAGMA secure_delete = ON")
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    with _transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{path} was written by a newer voicestatus (schema {version}, this"
                f" one knows {SCHEMA_VERSION}); update the program"
            )
        if version == 0 and tables:
            raise StoreError(f"{path} is another program's database; name another file")
        if version == 0:
            for statement in _SCHEMA:
                connection.execute(statement)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors have rolled back already
            connection.execute("ROLLBACK")
        raise


_COLUMNS = "SELECT kind, id, parent, version, body FROM documents"


def _get(connection: sqlite3.Connection, kind: str, id_: str) -> Document | None:
    statement = _COLUMNS + " WHERE kind = ? AND id = ?"
    with closing(connection.execute(statement, (kind, id_))) as rows:
        row = rows.fetchone()
    return None if row is None else Document(*row)


def _list(
    connection: sqlite3.Connection, kind: str, parent: str | None
) -> tuple[Document, ...]:
    if parent is None:
        rows = connection.execute(_COLUMNS + " WHERE kind = ? ORDER BY id", (kind,))
    else:
        rows = connection.execute(
            _COLUMNS + " WHERE kind = ? AND parent = ? ORDER BY id", (kind, parent)
        )
    with closing(rows):
        return tuple(Document(*row) for row in rows)


def _write(connection: sqlite3.Connection, changes: tuple[Change, ...]) -> int:
    with _transaction(connection):
        connection.execute("UPDATE counter SET version = version + 1")
        (version,) = connection.execute("SELECT version FROM counter").fetchone()
        for change in changes:
            _apply(connection, change, int(version))
    return int(version)


def _apply(connection: sqlite3.Connection, change: Change, version: int) -> None:
    found = connection.execute(
        "SELECT version FROM documents WHERE kind = ? AND id = ?",
        (change.kind, change.id),
    ).fetchone()
    check(change, found and found[0])
    if isinstance(change, Put):
        connection.execute(
            "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?)",
            (change.kind, change.id, change.parent, version, change.body),
        )
    else:
        connection.execute(
            "DELETE FROM documents WHERE kind = ? AND id = ?",
            (change.kind, change.id),
        )
