"""A backup: between all kinds of stores, whole or refused."""

import io
import json
import sqlite3
from contextlib import closing

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from voicestatus.core.errors import StoreError
from voicestatus.store.backup import (
    BadBackup,
    check_backup,
    restore_backup,
    write_backup,
)
from voicestatus.store.documents import Fence, Fenced, NotEmpty, Put
from voicestatus.store.memory import MemoryStore

LONG = bytes(range(256)) * 700


def nobody(_size_bytes: int) -> None:
    """Hear nothing of the progress."""


def in_memory() -> MemoryStore:
    store = MemoryStore()
    store.startService()
    return store


async def fill(store) -> None:
    await store.write(
        Put("sign", "a", b'{"name":"Fl\xc3\xbcr"}', parent="home"),
        Put("sign", "b\0", b"\0\xff"),
        fence=Fence(0, 7),
    )
    for id_, data in (("long", LONG), ("empty", b"")):
        upload = store.upload("image", id_)
        await upload.append(data)
        await upload.finish()


async def backed_up(store) -> bytes:
    stream = io.BytesIO()
    held = await write_backup(store, stream, nobody)
    assert check_backup(io.BytesIO(stream.getvalue())) == held
    assert held.size_bytes == len(stream.getvalue())
    return stream.getvalue()


async def contents(store) -> dict[str, bytes]:
    return {
        blob.id: b"".join([piece async for piece in store.read(blob)])
        for blob in await store.blobs("image")
    }


@pytest_twisted.ensureDeferred
async def test_what_a_store_of_any_kind_held_is_in_one_of_another_kind(store):
    await fill(store)
    other = in_memory()
    await restore_backup(other, io.BytesIO(await backed_up(store)), nobody)
    assert set((await other.picture()).documents) == set(
        (await store.picture()).documents
    )
    assert await contents(other) == {"empty": b"", "long": LONG}
    with pytest.raises(Fenced):
        await other.write(fence=Fence(0, 6))


@pytest_twisted.ensureDeferred
async def test_what_was_in_memory_is_in_a_store_of_any_kind(store):
    other = in_memory()
    await fill(other)
    await restore_backup(store, io.BytesIO(await backed_up(other)), nobody)
    assert set((await other.picture()).documents) == set(
        (await store.picture()).documents
    )
    assert await contents(store) == {"empty": b"", "long": LONG}
    version = await store.put("sign", "c", b"")
    assert version > max(d.version for d in (await other.picture()).documents)


@pytest_twisted.ensureDeferred
async def test_a_store_that_is_not_empty_is_replaced_only_when_asked(store):
    other = in_memory()
    await fill(other)
    file = await backed_up(other)
    await store.put("sign", "mine", b"kept")
    with pytest.raises(NotEmpty):
        await restore_backup(store, io.BytesIO(file), nobody)
    assert [document.id for document in await store.list("sign")] == ["mine"]
    await restore_backup(store, io.BytesIO(file), nobody, replace=True)
    assert [document.id for document in await store.list("sign")] == ["a", "b\0"]


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_cut_off_anywhere_is_refused():
    store = in_memory()
    await fill(store)
    file = await backed_up(store)
    for size in {*range(0, len(file), 997), *range(len(file) - 120, len(file) - 1)}:
        with pytest.raises(BadBackup):
            check_backup(io.BytesIO(file[:size]))


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_cut_off_after_it_was_checked_changes_nothing(store):
    other = in_memory()
    await fill(other)
    file = await backed_up(other)
    await store.put("sign", "mine", b"kept")
    for size in (0, 100, len(file) // 2, len(file) - 100):
        cut_off = io.BytesIO(file[:size])
        with pytest.raises(BadBackup):
            await restore_backup(store, cut_off, nobody, replace=True)
    held = await store.picture()
    assert [(d.id, d.body) for d in held.documents] == [("mine", b"kept")]
    assert held.blobs == ()


@pytest_twisted.ensureDeferred
async def test_a_restore_that_fails_leaves_no_bytes_behind(start_sqlite, path):
    other = in_memory()
    await fill(other)
    file, store = await backed_up(other), start_sqlite(path)
    for cut_off in (file[: len(file) // 2], file[: len(file) - 100]):
        with pytest.raises(BadBackup):
            await restore_backup(store, io.BytesIO(cut_off), nobody)
        with closing(sqlite3.connect(path)) as held:
            assert held.execute("SELECT count(*) FROM chunks").fetchone() == (0,)


@pytest_twisted.ensureDeferred
async def test_a_file_that_was_changed_or_goes_on_is_refused():
    store = in_memory()
    await fill(store)
    file = await backed_up(store)
    with pytest.raises(BadBackup, match="checksum"):
        check_backup(io.BytesIO(file.replace(b'"home"', b'"away"')))
    with pytest.raises(BadBackup, match="follows the end"):
        check_backup(io.BytesIO(file + file.splitlines(keepends=True)[1]))
    with pytest.raises(BadBackup, match="changed in line"):
        check_backup(io.BytesIO(file + b"x"))


@pytest.mark.parametrize("file", [b"", b"\n", b"SQLite format 3\0", b'{"type":"end"}'])
def test_what_is_no_backup_is_refused(file):
    with pytest.raises(BadBackup):
        check_backup(io.BytesIO(file))


@pytest_twisted.ensureDeferred
async def test_a_file_of_a_newer_format_is_refused():
    file = await backed_up(in_memory())
    newer = file.replace(b'"format":1', b'"format":2')
    with pytest.raises(BadBackup, match="newer voicestatus; update"):
        check_backup(io.BytesIO(newer))


@pytest_twisted.ensureDeferred
async def test_each_line_is_an_object_and_text_stays_readable():
    store = in_memory()
    await fill(store)
    lines = [json.loads(line) for line in (await backed_up(store)).splitlines()]
    assert lines[0]["type"] == "voicestatus-backup"
    assert lines[-1]["type"] == "end"
    documents = {line["id"]: line for line in lines if line["type"] == "document"}
    assert documents["a"]["body"] == '{"name":"Flür"}'
    assert documents["b\0"]["body64"] == "AP8="


@pytest_twisted.ensureDeferred
async def test_a_blob_that_is_replaced_meanwhile_ends_the_backup_with_a_word():
    store = in_memory()
    await fill(store)

    def replace(_size_bytes: int) -> None:
        if stream.getvalue().endswith(b'"}\n') and b'"data"' in stream.getvalue():
            deleted = Deferred.fromCoroutine(store.delete_blob("image", "long"))
            assert deleted.called

    stream = io.BytesIO()
    with pytest.raises(StoreError, match="image long is gone or was replaced"):
        await write_backup(store, stream, replace)
