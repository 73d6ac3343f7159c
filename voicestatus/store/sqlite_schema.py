"""The tables of the SQLite file, and how an older file becomes one of today."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from voicestatus.core.errors import StoreError
from voicestatus.store.durable import sync_folder
from voicestatus.store.sqlite_statements import transaction

STEPS: Final = (
    (
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
    ),
    (
        """CREATE TABLE fences (
            shard INTEGER PRIMARY KEY,
            number INTEGER NOT NULL
        )""",
        """CREATE TABLE blobs (
            kind TEXT NOT NULL,
            id TEXT NOT NULL,
            size_bytes INTEGER NOT NULL,
            sha256 TEXT NOT NULL,
            content INTEGER NOT NULL,
            PRIMARY KEY (kind, id)
        ) WITHOUT ROWID""",
        """CREATE TABLE chunks (
            content INTEGER NOT NULL,
            position INTEGER NOT NULL,
            data BLOB NOT NULL,
            PRIMARY KEY (content, position)
        )""",
        """CREATE TABLE uploads (
            content INTEGER PRIMARY KEY,
            size_bytes INTEGER NOT NULL,
            touched_at INTEGER NOT NULL
        )""",
    ),
)
"""Step N takes a file from schema N - 1 to N; one that was released never changes."""

SCHEMA_VERSION: Final = len(STEPS)


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or bring them to the present schema, each step at once or not.

    Before an older file is changed, a copy of it is made: `NAME.before-N`.

    :raises StoreError: when the file is another program's, or a newer version's.
    """
    version = _schema_of(connection, path)
    if 0 < version < SCHEMA_VERSION:
        copy = path.with_name(f"{path.name}.before-{SCHEMA_VERSION}")
        _copy(connection, version, copy)
    for number in range(version + 1, SCHEMA_VERSION + 1):
        with transaction(connection):
            # Another process may have been faster.
            if _schema_of(connection, path) < number:
                for statement in STEPS[number - 1]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")


def _schema_of(connection: sqlite3.Connection, path: Path) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer voicestatus (schema {version}, this"
            f" one knows {SCHEMA_VERSION}); update the program"
        )
    if version == 0 and tables:
        raise StoreError(f"{path} is another program's database; name another file")
    return int(version)


def _copy(connection: sqlite3.Connection, version: int, path: Path) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with closing(sqlite3.connect(unfinished)) as copy:
            connection.backup(copy)
            (copied,) = copy.execute("PRAGMA user_version").fetchone()
        if copied == version:  # else another process has migrated it meanwhile
            unfinished.replace(path)
            sync_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)
