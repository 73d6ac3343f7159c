"""Typed documents: values in, values out, and a clear word about what is not one."""

from dataclasses import dataclass

import msgspec
import pytest
import pytest_twisted

from voicestatus.core.errors import StoreError
from voicestatus.store.documents import SLICE, VersionConflict
from voicestatus.store.memory import MemoryStore
from voicestatus.store.typed import Stored, Typed


class Shard(msgspec.Struct, frozen=True):
    seq: int
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Voice:
    channel: int


@pytest_twisted.ensureDeferred
async def test_a_value_comes_back_with_its_version_and_parent(store):
    shards = Typed(store, "gateway-shard", Shard)
    version = await shards.put("0", Shard(9, "abc"), parent="bot", expected=None)
    stored = Stored("0", "bot", version, Shard(9, "abc"))
    assert await shards.get("0") == stored
    assert await shards.list("bot") == (stored,)
    assert await shards.list("other") == ()
    assert await shards.get("1") is None


@pytest_twisted.ensureDeferred
async def test_others_have_their_turn_while_many_values_are_read():
    class Counting(MemoryStore):
        pauses = 0

        async def pause(self) -> None:
            self.pauses += 1

    store = Counting()
    store.startService()
    shards = Typed(store, "gateway-shard", Shard)
    many = 2 * SLICE + 1
    await store.write(*(shards.putting(str(n), Shard(n)) for n in range(many)))
    assert sorted(each.value.seq for each in await shards.list()) == [*range(many)]
    assert store.pauses == 2


@pytest_twisted.ensureDeferred
async def test_values_of_two_types_are_written_in_one_batch(store):
    shards = Typed(store, "gateway-shard", Shard)
    voices = Typed(store, "voice", Voice)
    await voices.put("1/8", Voice(6), parent="1")
    version = await store.write(
        shards.putting("0", Shard(10)),
        voices.putting("1/7", Voice(5), parent="1"),
        voices.deleting("1/8"),
    )
    assert await voices.list("1") == (Stored("1/7", "1", version, Voice(5)),)


@pytest_twisted.ensureDeferred
async def test_a_version_is_expected_of_a_value_too(store):
    shards = Typed(store, "gateway-shard", Shard)
    version = await shards.put("0", Shard(1))
    with pytest.raises(VersionConflict):
        await shards.put("0", Shard(2), expected=version + 1)
    with pytest.raises(VersionConflict):
        await shards.delete("0", expected=version + 1)
    await shards.delete("0", expected=version)
    assert await shards.get("0") is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"seq":"nine"}', b"\xff"])
@pytest_twisted.ensureDeferred
async def test_a_body_of_another_shape_is_refused_by_kind_and_id(store, body):
    await store.put("gateway-shard", "7", body)
    shards = Typed(store, "gateway-shard", Shard)
    with pytest.raises(StoreError, match="gateway-shard 7"):
        await shards.get("7")
    with pytest.raises(StoreError, match="gateway-shard 7"):
        await shards.list()


@pytest_twisted.ensureDeferred
async def test_fields_that_a_newer_version_wrote_are_passed_over(store):
    await store.put("gateway-shard", "0", b'{"seq":1,"since":"tomorrow"}')
    stored = await Typed(store, "gateway-shard", Shard).get("0")
    assert stored is not None
    assert stored.value == Shard(1)
