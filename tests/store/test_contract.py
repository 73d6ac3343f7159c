"""What every store promises: the same tests run over each kind."""

import hashlib

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from voicestatus.core.errors import StoreError
from voicestatus.store.blobs import CHUNK_BYTES
from voicestatus.store.documents import (
    Delete,
    Document,
    Fence,
    Fenced,
    NotEmpty,
    Picture,
    Put,
    VersionConflict,
)
from voicestatus.store.memory import MemoryStore


@pytest_twisted.ensureDeferred
async def test_what_was_put_is_got(store):
    version = await store.put("sign", "a", b"one", parent="home")
    assert await store.get("sign", "a") == Document(
        "sign", "a", "home", version, b"one"
    )


@pytest_twisted.ensureDeferred
async def test_what_was_never_put_is_none(store):
    await store.put("sign", "a", b"one")
    assert await store.get("sign", "b") is None
    assert await store.get("lamp", "a") is None


@pytest_twisted.ensureDeferred
async def test_a_put_replaces_body_parent_and_version(store):
    first = await store.put("sign", "a", b"one", parent="home")
    second = await store.put("sign", "a", b"two", parent="away")
    assert second > first
    assert await store.list("sign") == (Document("sign", "a", "away", second, b"two"),)
    assert await store.list("sign", "home") == ()


@pytest_twisted.ensureDeferred
async def test_any_bytes_and_any_names_come_back_unchanged(store):
    body = bytes(range(256))
    await store.put("art/ärt", "a/b:c\0d", body, parent="zu Hause 🏠")
    document = await store.get("art/ärt", "a/b:c\0d")
    assert document is not None
    assert (document.parent, document.body) == ("zu Hause 🏠", body)


@pytest_twisted.ensureDeferred
async def test_a_put_that_expects_nothing_refuses_what_is_there(store):
    version = await store.put("sign", "a", b"one", expected=None)
    with pytest.raises(VersionConflict) as conflict:
        await store.put("sign", "a", b"two", expected=None)
    assert conflict.value.found == version
    assert str(conflict.value) == f"sign a: expected none, found version {version}"


@pytest_twisted.ensureDeferred
async def test_a_put_that_expects_a_version_refuses_another_or_none(store):
    first = await store.put("sign", "a", b"one")
    second = await store.put("sign", "a", b"two", expected=first)
    with pytest.raises(VersionConflict):
        await store.put("sign", "a", b"late", expected=first)
    with pytest.raises(VersionConflict) as conflict:
        await store.put("sign", "b", b"late", expected=second)
    assert conflict.value.found is None
    document = await store.get("sign", "a")
    assert document is not None
    assert (document.version, document.body) == (second, b"two")
    assert await store.get("sign", "b") is None


@pytest_twisted.ensureDeferred
async def test_a_deleted_document_is_gone_and_deleting_it_again_is_no_mistake(store):
    await store.put("sign", "a", b"one")
    await store.delete("sign", "a")
    await store.delete("sign", "a")
    assert await store.get("sign", "a") is None
    assert await store.list("sign") == ()


@pytest_twisted.ensureDeferred
async def test_a_delete_that_expects_another_version_deletes_nothing(store):
    version = await store.put("sign", "a", b"one")
    with pytest.raises(VersionConflict):
        await store.delete("sign", "a", expected=version + 1)
    assert await store.get("sign", "a") is not None
    await store.delete("sign", "a", expected=version)
    assert await store.get("sign", "a") is None


@pytest_twisted.ensureDeferred
async def test_a_version_never_comes_twice_even_after_a_delete(store):
    before = await store.put("sign", "a", b"one")
    await store.delete("sign", "a")
    after = await store.put("sign", "a", b"one")
    assert after > before
    with pytest.raises(VersionConflict):
        await store.put("sign", "a", b"late", expected=before)


@pytest_twisted.ensureDeferred
async def test_a_list_holds_one_kind_and_one_parent_ordered_by_id(store):
    for id_ in ("b", "B", "ä", "10", "9", "a"):
        await store.put("voice", id_, b"", parent="1")
    await store.put("voice", "c", b"", parent="2")
    await store.put("voice", "d", b"")
    await store.put("sign", "a", b"", parent="1")
    ids = ["10", "9", "B", "a", "b", "ä"]
    assert [document.id for document in await store.list("voice", "1")] == ids
    assert [document.id for document in await store.list("voice", "")] == ["d"]
    everything = ["10", "9", "B", "a", "b", "c", "d", "ä"]
    assert [document.id for document in await store.list("voice")] == everything
    assert await store.list("lamp") == ()


@pytest_twisted.ensureDeferred
async def test_a_batch_writes_all_its_changes_with_one_version(store):
    await store.put("sign", "old", b"")
    version = await store.write(
        Put("sign", "a", b"one"), Put("voice", "b", b"two"), Delete("sign", "old")
    )
    assert await store.list("sign") == (Document("sign", "a", "", version, b"one"),)
    assert await store.list("voice") == (Document("voice", "b", "", version, b"two"),)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest_twisted.ensureDeferred
async def test_one_conflict_anywhere_in_a_batch_undoes_all_of_it(store, place):
    await store.put("sign", "kept", b"before")
    before = await store.list("sign")
    changes = [Put("sign", "new", b""), Delete("sign", "kept")]
    changes.insert(place, Put("sign", "missing", b"", expected=7))
    with pytest.raises(VersionConflict):
        await store.write(*changes)
    assert await store.list("sign") == before


@pytest_twisted.ensureDeferred
async def test_a_change_sees_what_earlier_changes_of_its_batch_did(store):
    await store.put("sign", "a", b"one")
    await store.write(Delete("sign", "a"), Put("sign", "a", b"two", expected=None))
    with pytest.raises(VersionConflict):
        await store.write(
            Put("sign", "b", b"one", expected=None),
            Put("sign", "b", b"two", expected=None),
        )
    assert [document.body for document in await store.list("sign")] == [b"two"]


@pytest_twisted.ensureDeferred
async def test_calls_made_at_once_take_effect_in_their_order(store):
    puts = [store.put("sign", "a", b"%d" % number) for number in range(50)]
    begun = [Deferred.fromCoroutine(put) for put in puts]
    listed = await store.list("sign")
    versions = await gatherResults(begun)
    assert versions == sorted(set(versions))
    assert [document.body for document in listed] == [b"49"]


@pytest_twisted.ensureDeferred
async def test_of_two_who_expect_the_same_version_one_wins(store):
    version = await store.put("lease", "0", b"nobody")

    async def take(name: bytes) -> bytes:
        try:
            await store.put("lease", "0", name, expected=version)
        except VersionConflict:
            return b"lost"
        return name

    both = [Deferred.fromCoroutine(take(name)) for name in (b"one", b"two")]
    assert await gatherResults(both) == [b"one", b"lost"]


@pytest_twisted.ensureDeferred
async def test_a_stopped_store_refuses_and_a_started_one_has_everything(store, stop):
    await store.put("sign", "a", b"one")
    await stop(store)
    for call in (
        store.get("sign", "a"),
        store.list("sign"),
        store.put("sign", "a", b"two"),
        store.delete("sign", "a"),
    ):
        with pytest.raises(StoreError, match="not open"):
            await call
    store.startService()
    assert [document.body for document in await store.list("sign")] == [b"one"]


@pytest_twisted.ensureDeferred
async def test_a_lower_fence_than_was_ever_seen_writes_nothing(store):
    await store.write(Put("shard", "0", b"one"), fence=Fence(0, 7))
    await store.write(Put("shard", "0", b"two"), fence=Fence(0, 7))
    await store.write(Put("shard", "0", b"three"), fence=Fence(0, 8))
    with pytest.raises(Fenced, match="shard 0: fence 7 is lower than 8"):
        await store.write(
            Put("shard", "0", b"late"), Put("shard", "1", b""), fence=Fence(0, 7)
        )
    assert [document.body for document in await store.list("shard")] == [b"three"]


@pytest_twisted.ensureDeferred
async def test_each_shard_has_its_own_fence_and_a_batch_without_one_passes(store):
    await store.write(fence=Fence(3, 10))
    await store.write(Put("shard", "1", b""), fence=Fence(1, 1))
    await store.write(Put("shard", "3", b""))
    assert len(await store.list("shard")) == 2


@pytest_twisted.ensureDeferred
async def test_a_batch_that_conflicts_leaves_the_fence_as_it_was(store):
    with pytest.raises(VersionConflict):
        await store.write(Put("shard", "0", b"", expected=1), fence=Fence(0, 9))
    await store.write(Put("shard", "0", b""), fence=Fence(0, 1))


@pytest_twisted.ensureDeferred
async def test_a_fence_outlives_the_store_that_saw_it(store, stop):
    await store.write(fence=Fence(0, 7))
    await stop(store)
    store.startService()
    with pytest.raises(Fenced):
        await store.write(fence=Fence(0, 6))


LONG = bytes(range(256)) * 1000 + b"end"


async def whole(store, blob, start=0, end=None) -> bytes:
    pieces = [piece async for piece in store.read(blob, start, end)]
    assert all(0 < len(piece) <= CHUNK_BYTES for piece in pieces)
    return b"".join(pieces)


async def uploaded(store, data: bytes, id_: str = "a"):
    upload = store.upload("image", id_)
    for start in range(0, len(data), 10_000):
        await upload.append(data[start : start + 10_000])
    return await upload.finish()


@pytest.mark.parametrize("data", [b"", b"\0", LONG, LONG[: 3 * CHUNK_BYTES]])
@pytest_twisted.ensureDeferred
async def test_a_blob_comes_back_byte_for_byte(store, data):
    blob = await uploaded(store, data)
    assert (blob.kind, blob.id, blob.size_bytes) == ("image", "a", len(data))
    assert blob.sha256 == hashlib.sha256(data).hexdigest()
    assert await store.blob("image", "a") == blob
    assert await whole(store, blob) == data


@pytest_twisted.ensureDeferred
async def test_any_range_of_a_blob_can_be_read(store):
    blob = await uploaded(store, LONG)
    for start, end in [(0, 1), (65_535, 65_537), (100_000, 250_000), (5, 5), (9, 4)]:
        assert await whole(store, blob, start, end) == LONG[start:end]
    assert await whole(store, blob, len(LONG) - 3) == b"end"
    assert await whole(store, blob, len(LONG) - 3, len(LONG) + 99) == b"end"
    assert await whole(store, blob, len(LONG) + 1) == b""


@pytest_twisted.ensureDeferred
async def test_a_blob_is_not_seen_before_it_is_whole(store):
    upload = store.upload("image", "a")
    await upload.append(LONG)
    assert await store.blob("image", "a") is None
    assert await store.blobs("image") == ()
    await upload.finish()
    assert [blob.id for blob in await store.blobs("image")] == ["a"]


@pytest_twisted.ensureDeferred
async def test_the_old_blob_stays_until_the_new_one_is_whole(store):
    old = await uploaded(store, b"old" * 50_000)
    upload = store.upload("image", "a")
    await upload.append(LONG)
    assert await whole(store, old) == b"old" * 50_000
    new = await upload.finish()
    assert await store.blob("image", "a") == new
    assert await whole(store, new) == LONG
    with pytest.raises(StoreError, match="image a is gone or was replaced"):
        await whole(store, old)


@pytest_twisted.ensureDeferred
async def test_the_same_bytes_again_change_nothing(store):
    first = await uploaded(store, LONG)
    assert await uploaded(store, LONG) == first
    assert await whole(store, first) == LONG


@pytest_twisted.ensureDeferred
async def test_bytes_of_another_sha256_are_refused_and_not_kept(store):
    upload = store.upload("image", "a")
    await upload.append(LONG)
    with pytest.raises(StoreError, match=r"the bytes have SHA-256 .*not kept"):
        await upload.finish(sha256="0" * 64)
    assert await store.blob("image", "a") is None


@pytest_twisted.ensureDeferred
async def test_an_abandoned_upload_leaves_nothing(store):
    upload = store.upload("image", "a")
    await upload.append(LONG)
    settled = await upload.settle()
    await upload.abandon()
    await upload.abandon()
    assert await store.blob("image", "a") is None
    with pytest.raises(StoreError, match="was given up in the meantime"):
        await store.publish(settled)


@pytest_twisted.ensureDeferred
async def test_what_was_finished_cannot_be_abandoned_any_more(store):
    upload = store.upload("image", "a")
    await upload.append(LONG)
    blob = await upload.finish()
    await upload.abandon()
    assert await whole(store, blob) == LONG


@pytest_twisted.ensureDeferred
async def test_a_deleted_blob_is_gone_and_deleting_it_again_is_no_mistake(store):
    blob = await uploaded(store, LONG)
    await uploaded(store, LONG, "b")
    await store.delete_blob("image", "a")
    await store.delete_blob("image", "a")
    assert await store.blob("image", "a") is None
    assert [blob.id for blob in await store.blobs("image")] == ["b"]
    with pytest.raises(StoreError, match="gone"):
        await whole(store, blob)


@pytest_twisted.ensureDeferred
async def test_blobs_are_listed_by_kind_and_ordered_and_outlive_a_stop(store, stop):
    for id_ in ("b", "ä/\0", "a"):
        await uploaded(store, id_.encode(), id_)
    other = store.upload("imag", "ea")
    await other.finish()
    await stop(store)
    store.startService()
    assert [blob.id for blob in await store.blobs("image")] == ["a", "b", "ä/\0"]
    assert [blob.id for blob in await store.blobs("imag")] == ["ea"]


async def filled(store) -> Picture:
    """Fill a store; return what it should show of itself."""
    await store.write(Put("sign", "gone", b""), Put("voice", "1", b"", parent="x"))
    await store.write(Put("sign", "a", b"\0\xff", parent="home"), fence=Fence(2, 5))
    await store.delete("sign", "gone")
    blob = await uploaded(store, LONG)
    picture = await store.picture()
    assert set(picture.documents) == {
        *await store.list("sign"),
        *await store.list("voice"),
    }
    assert picture.fences == (Fence(2, 5),)
    assert picture.blobs == (blob,)
    assert picture.version >= max(document.version for document in picture.documents)
    return picture


async def moved(picture: Picture, store) -> Picture:
    upload = store.upload("image", "a")
    await upload.append(LONG)
    blobs = (await upload.settle(),)
    return Picture(picture.version, picture.documents, picture.fences, blobs)


@pytest_twisted.ensureDeferred
async def test_a_store_becomes_what_another_was(store):
    picture = await filled(in_memory())
    await store.become(await moved(picture, store))
    assert {*await store.list("sign"), *await store.list("voice")} == {
        *picture.documents
    }
    assert [document.id for document in await store.list("sign", "home")] == ["a"]
    blob = await store.blob("image", "a")
    assert await whole(store, blob) == LONG
    with pytest.raises(Fenced):
        await store.write(fence=Fence(2, 4))
    assert await store.put("sign", "b", b"") > picture.version


@pytest_twisted.ensureDeferred
async def test_a_store_that_holds_something_becomes_nothing_else_unasked(store):
    picture = await filled(store)
    nothing = Picture(version=1)
    with pytest.raises(NotEmpty):
        await store.become(nothing)
    await store.delete("sign", "a")
    await store.delete("voice", "1")
    with pytest.raises(NotEmpty):
        await store.become(nothing)
    assert await whole(store, picture.blobs[0]) == LONG
    await store.delete_blob("image", "a")
    await store.become(nothing)


@pytest_twisted.ensureDeferred
async def test_a_store_that_is_replaced_keeps_nothing_but_its_highest_numbers(store):
    before = await filled(store)
    document = Document("sign", "z", "p", 1, b"new")
    await store.become(Picture(1, (document,), (Fence(2, 3),)), replace=True)
    after = await store.picture()
    assert after.documents == (document,)
    assert after.blobs == ()
    assert after.fences == (Fence(2, 5),)
    assert await store.list("sign", "home") == ()
    assert await store.put("sign", "a", b"") > before.version
    with pytest.raises(StoreError):
        await whole(store, before.blobs[0])


@pytest_twisted.ensureDeferred
async def test_a_store_does_not_become_what_lacks_a_blob(store):
    picture = await filled(store)
    with pytest.raises(StoreError, match="given up in the meantime"):
        await store.become(await moved(picture, in_memory()), replace=True)
    assert (await store.picture()).documents == picture.documents


def in_memory() -> MemoryStore:
    store = MemoryStore()
    store.startService()
    return store
