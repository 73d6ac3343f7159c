"""What every store promises: the same tests run over each kind."""

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from voicestatus.core.errors import StoreError
from voicestatus.store.documents import Delete, Document, Put, VersionConflict


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
