"""Documents in one SQLite file: no server to run, nothing lost in a crash."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from voicestatus.core.errors import StoreError
from voicestatus.store import sqlite_statements as statements
from voicestatus.store.blobs import Blob
from voicestatus.store.documents import Change, Document, Fence, Picture
from voicestatus.store.fallible import FallibleStore
from voicestatus.store.sqlite_schema import prepare
from voicestatus.store.worker import Worker

T = TypeVar("T")

CALL_LIMIT_S = 10.0
WHOLE_LIMIT_S = 600.0
"""A backup or restore of everything may take so long."""
BUSY_LIMIT_S = 2.0
"""How long another program may hold the file before a call fails."""
TIDY_AFTER_S = 10.0
"""For so long after a write what was deleted, or may be lost in a power cut, stays."""


class SqliteStore(FallibleStore):
    """`STORAGE_URL=sqlite:PATH`; the file is touched by one thread only.

    When the file could not be opened, or failed later, the next call opens it anew:
    a disk that has room again needs no restart.
    """

    def __init__(
        self, path: Path, reactor: Any, *, busy_limit_s: float = BUSY_LIMIT_S
    ) -> None:
        super().__init__(reactor)
        self._path, self._busy_limit_s = path, busy_limit_s
        self._worker = Worker(reactor, CALL_LIMIT_S)
        self._connection: sqlite3.Connection | None = None
        self._tidying: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._worker.start()
        opened = Deferred.fromCoroutine(self._ask(lambda _: None))
        opened.addErrback(lambda _: None)  # `problem` tells it

    def stopService(self) -> Deferred[None]:
        """Refuse new calls, finish those that wait, close the file."""
        super().stopService()
        if self._tidying is not None:
            self._tidying.cancel()
            self._tidying = None
        closed = self._worker.do(self._close)
        self._worker.stop()
        return closed

    async def get(self, kind: str, id_: str) -> Document | None:
        return await self._ask(lambda file: statements.get(file, kind, id_))

    async def list(self, kind: str, parent: str | None = None) -> tuple[Document, ...]:
        return await self._ask(lambda file: statements.list_(file, kind, parent))

    async def write(self, *changes: Change, fence: Fence | None = None) -> int:
        return await self._write(lambda file: statements.write(file, changes, fence))

    async def sync(self) -> None:
        await self._ask(statements.tidy)

    async def blob(self, kind: str, id_: str) -> Blob | None:
        return await self._ask(lambda file: statements.blob(file, kind, id_))

    async def blobs(self, kind: str) -> tuple[Blob, ...]:
        return await self._ask(lambda file: statements.blobs(file, kind))

    async def delete_blob(self, kind: str, id_: str) -> None:
        await self._write(lambda file: statements.delete_blob(file, kind, id_))

    async def begin_upload(self) -> int:
        return await self._write(statements.begin_upload)

    async def append_upload(self, number: int, position: int, data: bytes) -> None:
        await self._write(
            lambda file: statements.append_upload(file, number, position, data)
        )

    async def drop_upload(self, number: int) -> None:
        await self._write(lambda file: statements.drop_upload(file, number))

    async def publish(self, blob: Blob) -> Blob:
        return await self._write(lambda file: statements.publish(file, blob))

    async def read_at(self, blob: Blob, position: int) -> bytes:
        return await self._ask(
            lambda file: statements.read_at(file, blob.content, position)
        )

    async def picture(self) -> Picture:
        return await self._ask(statements.picture, limit_s=WHOLE_LIMIT_S)

    async def become(self, picture: Picture, *, replace: bool = False) -> None:
        await self._write(
            lambda file: statements.become(file, picture, replace=replace),
            limit_s=WHOLE_LIMIT_S,
        )

    async def _ask(
        self,
        command: Callable[[sqlite3.Connection], T],
        *,
        writes: bool = False,
        limit_s: float = CALL_LIMIT_S,
    ) -> T:
        self._refuse_unless_running()
        answer = self._worker.do(lambda: self._perform(command), limit_s)
        return await self._asked(answer, writes=writes)

    async def _write(
        self,
        command: Callable[[sqlite3.Connection], T],
        limit_s: float = CALL_LIMIT_S,
    ) -> T:
        def transact(file: sqlite3.Connection) -> T:
            with statements.transaction(file):
                return command(file)

        if self._tidying is None and self.running:
            self._tidying = self._reactor.callLater(TIDY_AFTER_S, self._tidy)
        return await self._ask(transact, writes=True, limit_s=limit_s)

    def _tidy(self) -> None:
        self._tidying = None
        tidied = Deferred.fromCoroutine(self._ask(statements.tidy))
        tidied.addErrback(lambda _: None)  # `problem` tells it

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
        case sqlite3.SQLITE_IOERR:
            what = "cannot be read or written: the disk fails, or has no room"
        case _:
            what = "failed"
    return StoreError(f"{path} {what} ({error})")


def _open(path: Path, busy_limit_s: float) -> sqlite3.Connection:
    with suppress(FileExistsError):
        # It will hold hashes of tokens. SQLite gives -wal and -shm the same mode.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=busy_limit_s, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # A commit is in the operating system's hands when it returns, so it survives
        # the death of the process (kill -9). A power cut may take what was not tidied
        # or synced yet, never the file's soundness. FULL would wait for the disk at
        # each batch.
        connection.execute("PRAGMA synchronous = NORMAL")
        # A leave deletes: no trace of who was where stays in free pages.
        connection.execute("PRAGMA secure_delete = ON")
        prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection
