"""What the SQLite store asks its file: one function a call, each in a transaction."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from voicestatus.store.blobs import UPLOAD_IDLE_S, Blob, UploadLost
from voicestatus.store.documents import (
    ANY,
    Change,
    Document,
    Fence,
    NotEmpty,
    Picture,
    Put,
    admit,
    check,
)

_DOCUMENT = "SELECT kind, id, parent, version, body FROM documents"
_PUT = (
    "INSERT INTO documents VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, id) DO UPDATE"
    " SET parent = excluded.parent, version = excluded.version, body = excluded.body"
)
_BLOB = "SELECT kind, id, size_bytes, sha256, content FROM blobs"
_NOW = "CAST(strftime('%s', 'now') AS INTEGER)"


@contextmanager
def transaction(file: sqlite3.Connection) -> Iterator[None]:
    """Do all that is written inside, or none of it."""
    file.execute("BEGIN IMMEDIATE")
    try:
        yield
        file.execute("COMMIT")
    except BaseException:
        if file.in_transaction:  # some errors have rolled back already
            file.execute("ROLLBACK")
        raise


def tidy(file: sqlite3.Connection) -> None:
    """Empty the log beside the file, which holds what was deleted; wait for nobody."""
    (limit_ms,) = file.execute("PRAGMA busy_timeout").fetchone()
    file.execute("PRAGMA busy_timeout = 0")
    try:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        file.execute(f"PRAGMA busy_timeout = {limit_ms}")


def get(file: sqlite3.Connection, kind: str, id_: str) -> Document | None:
    """Read one document."""
    statement = _DOCUMENT + " WHERE kind = ? AND id = ?"
    with closing(file.execute(statement, (kind, id_))) as rows:
        row = rows.fetchone()
    return None if row is None else Document(*row)


def list_(
    file: sqlite3.Connection, kind: str, parent: str | None
) -> tuple[Document, ...]:
    """Read the documents of a kind, or of one parent."""
    if parent is None:
        rows = file.execute(_DOCUMENT + " WHERE kind = ? ORDER BY id", (kind,))
    else:
        rows = file.execute(
            _DOCUMENT + " WHERE kind = ? AND parent = ? ORDER BY id", (kind, parent)
        )
    with closing(rows):
        return tuple(Document(*row) for row in rows)


def write(
    file: sqlite3.Connection, changes: tuple[Change, ...], fence: Fence | None
) -> int:
    """Do a batch; return its version."""
    if fence is not None:
        found = file.execute(
            "SELECT number FROM fences WHERE shard = ?", (fence.shard,)
        ).fetchone()
        admit(fence, found and found[0])
        file.execute(
            "INSERT OR REPLACE INTO fences VALUES (?, ?)", (fence.shard, fence.number)
        )
    version = _next(file)
    for change in changes:
        _apply(file, change, version)
    return version


def _next(file: sqlite3.Connection) -> int:
    file.execute("UPDATE counter SET version = version + 1")
    (version,) = file.execute("SELECT version FROM counter").fetchone()
    return int(version)


def _apply(file: sqlite3.Connection, change: Change, version: int) -> None:
    if change.expected is not ANY:
        found = file.execute(
            "SELECT version FROM documents WHERE kind = ? AND id = ?",
            (change.kind, change.id),
        ).fetchone()
        check(change, found and found[0])
    if isinstance(change, Put):
        file.execute(
            _PUT, (change.kind, change.id, change.parent, version, change.body)
        )
    else:
        file.execute(
            "DELETE FROM documents WHERE kind = ? AND id = ?",
            (change.kind, change.id),
        )


def blob(file: sqlite3.Connection, kind: str, id_: str) -> Blob | None:
    """Read what one blob is."""
    row = file.execute(_BLOB + " WHERE kind = ? AND id = ?", (kind, id_)).fetchone()
    return None if row is None else Blob(*row)


def blobs(file: sqlite3.Connection, kind: str) -> tuple[Blob, ...]:
    """Read what the blobs of a kind are."""
    with closing(file.execute(_BLOB + " WHERE kind = ? ORDER BY id", (kind,))) as rows:
        return tuple(Blob(*row) for row in rows)


def delete_blob(file: sqlite3.Connection, kind: str, id_: str) -> None:
    """Forget a blob and its bytes."""
    found = blob(file, kind, id_)
    if found is not None:
        file.execute("DELETE FROM blobs WHERE kind = ? AND id = ?", (kind, id_))
        file.execute("DELETE FROM chunks WHERE content = ?", (found.content,))


def begin_upload(file: sqlite3.Connection) -> int:
    """Make an upload, and forget those that nobody touches any more."""
    idle = f"touched_at < {_NOW} - ?"
    file.execute(
        f"DELETE FROM chunks WHERE content IN (SELECT content FROM uploads WHERE {idle})",  # noqa: E501, S608 - constants
        (UPLOAD_IDLE_S,),
    )
    file.execute(f"DELETE FROM uploads WHERE {idle}", (UPLOAD_IDLE_S,))  # noqa: S608 - constants
    number = _next(file)
    file.execute(f"INSERT INTO uploads VALUES (?, 0, {_NOW})", (number,))  # noqa: S608 - constants
    return number


def append_upload(
    file: sqlite3.Connection, number: int, position: int, data: bytes
) -> None:
    """Add bytes to the end of an upload."""
    _refuse_lost(file, number, position)
    file.execute("INSERT INTO chunks VALUES (?, ?, ?)", (number, position, data))
    file.execute(
        f"UPDATE uploads SET size_bytes = ?, touched_at = {_NOW} WHERE content = ?",  # noqa: S608 - constants
        (position + len(data), number),
    )


def drop_upload(file: sqlite3.Connection, number: int) -> None:
    """Forget an unfinished upload."""
    gone = file.execute("DELETE FROM uploads WHERE content = ?", (number,))
    if gone.rowcount:
        file.execute("DELETE FROM chunks WHERE content = ?", (number,))


def publish(file: sqlite3.Connection, new: Blob) -> Blob:
    """Make an upload the blob."""
    _refuse_lost(file, new.content, new.size_bytes)
    before = blob(file, new.kind, new.id)
    if before is not None and before.sha256 == new.sha256:
        drop_upload(file, new.content)
        return before
    delete_blob(file, new.kind, new.id)
    _name(file, new)
    return new


def _name(file: sqlite3.Connection, new: Blob) -> None:
    file.execute(
        "INSERT INTO blobs VALUES (?, ?, ?, ?, ?)",
        (new.kind, new.id, new.size_bytes, new.sha256, new.content),
    )
    file.execute("DELETE FROM uploads WHERE content = ?", (new.content,))


def _refuse_lost(file: sqlite3.Connection, number: int, size_bytes: int) -> None:
    row = file.execute(
        "SELECT size_bytes FROM uploads WHERE content = ?", (number,)
    ).fetchone()
    if row != (size_bytes,):
        raise UploadLost(number)


def read_at(file: sqlite3.Connection, content: int, position: int) -> bytes:
    """Read from there to the end of the chunk."""
    row = file.execute(
        "SELECT position, data FROM chunks WHERE content = ? AND position <= ?"
        " ORDER BY position DESC LIMIT 1",
        (content, position),
    ).fetchone()
    return b"" if row is None else bytes(row[1][position - row[0] :])


def picture(file: sqlite3.Connection) -> Picture:
    """Read everything as of one moment, while others write."""
    file.execute("BEGIN")
    try:
        (version,) = file.execute("SELECT version FROM counter").fetchone()
        return Picture(
            int(version),
            tuple(Document(*row) for row in file.execute(_DOCUMENT)),
            tuple(Fence(*row) for row in file.execute("SELECT * FROM fences")),
            tuple(Blob(*row) for row in file.execute(_BLOB)),
        )
    finally:
        if file.in_transaction:
            file.execute("ROLLBACK")


def become(file: sqlite3.Connection, picture: Picture, *, replace: bool) -> None:
    """Put everything in the place of everything."""
    for table in ("documents", "blobs"):
        (held,) = file.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - constants
        if held and not replace:
            raise NotEmpty
    for new in picture.blobs:
        _refuse_lost(file, new.content, new.size_bytes)
    file.execute("DELETE FROM documents")
    file.execute("DELETE FROM chunks WHERE content IN (SELECT content FROM blobs)")
    file.execute("DELETE FROM blobs")
    file.executemany(
        "INSERT INTO documents VALUES (?, ?, ?, ?, ?)",
        ((d.kind, d.id, d.parent, d.version, d.body) for d in picture.documents),
    )
    file.executemany(
        "INSERT INTO fences VALUES (?, ?) ON CONFLICT (shard) DO UPDATE"
        " SET number = max(number, excluded.number)",
        ((fence.shard, fence.number) for fence in picture.fences),
    )
    for new in picture.blobs:
        _name(file, new)
    file.execute("UPDATE counter SET version = max(version, ?)", (picture.version,))
