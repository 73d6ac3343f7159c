"""Frames to messages."""

import json
import random
import tracemalloc
import zlib
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.errors import ProtocolError
from voicestatus.discord.gateway.compression import (
    COMPRESSIONS,
    Plain,
    ZlibStream,
    ZstdStream,
)


def compressed(messages):
    context = zlib.compressobj()
    return [
        context.compress(message) + context.flush(zlib.Z_SYNC_FLUSH)
        for message in messages
    ]


def zstd_compressed(messages):
    context = zstandard.ZstdCompressor().compressobj()
    return [
        context.compress(message) + context.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        for message in messages
    ]


def test_the_sample_stream_gives_its_messages(sample):
    frames = sample("gateway/zlib_stream_frames")
    inflater = ZlibStream()
    fed = [inflater.feed(bytes.fromhex(frame)) for frame in frames["frames_hex"]]
    assert [json.loads(m) for m in fed if m is not None] == frames["messages"]
    assert fed[2] is None  # frames three and four are one message


@given(st.data(), st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=6))
def test_any_split_into_frames_gives_the_same_messages(data, messages):
    inflater, seen = ZlibStream(), []
    for packed in compressed(messages):
        cuts = data.draw(st.sets(st.integers(1, len(packed) - 1), max_size=4))
        # A part that ends like a whole message cannot be told from one.
        ends = [c for c in sorted(cuts) if not packed[:c].endswith(b"\0\0\xff\xff")]
        for start, end in zip([0, *ends], [*ends, len(packed)], strict=True):
            seen.append(inflater.feed(packed[start:end]))
    assert [message for message in seen if message is not None] == messages


@given(st.binary(min_size=1))
def test_any_frame_is_taken_or_is_a_protocol_error(frame):
    with suppress(ProtocolError):
        ZlibStream().feed(frame + b"\x00\x00\xff\xff")


def test_a_broken_stream_is_a_protocol_error():
    with pytest.raises(ProtocolError):
        ZlibStream().feed(b"no zlib at all\x00\x00\xff\xff")


def test_a_stream_of_another_connection_is_a_protocol_error():
    _, second = compressed([b"one", b"two"])
    with pytest.raises(ProtocolError):
        ZlibStream().feed(second)


def test_a_bomb_is_refused():
    (packed,) = compressed([bytes(100_000)])
    with pytest.raises(ProtocolError):
        ZlibStream(limit_bytes=1000).feed(packed)


def test_a_message_without_an_end_is_refused():
    inflater = ZlibStream(limit_bytes=1000)
    assert inflater.feed(bytes(500)) is None
    assert inflater.feed(bytes(500)) is None
    with pytest.raises(ProtocolError):
        inflater.feed(bytes(500))


def test_a_message_of_many_megabytes_is_taken():
    (packed,) = compressed([b"x" * 20_000_000])
    assert len(ZlibStream().feed(packed)) == 20_000_000


def test_the_zstd_sample_gives_a_message_for_each_frame(sample):
    frames = sample("gateway/zstd_stream_frames")
    inflater = ZstdStream()
    fed = [inflater.feed(bytes.fromhex(frame)) for frame in frames["frames_hex"]]
    assert [json.loads(message) for message in fed] == frames["messages"]


@given(st.lists(st.binary(min_size=1, max_size=5000), min_size=1, max_size=6))
def test_any_messages_come_out_of_zstd_as_they_went_in(messages):
    inflater = ZstdStream()
    assert [inflater.feed(f) for f in zstd_compressed(messages)] == messages


@pytest.mark.parametrize("around", [131_072, 1_048_576])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_zstd_message_that_just_fills_a_buffer_is_whole(around, more):
    messages = [bytes(around + more), random.Random(1).randbytes(around + more)]
    inflater = ZstdStream()
    assert [inflater.feed(f) for f in zstd_compressed(messages)] == messages


@given(st.binary())
def test_any_frame_is_taken_by_zstd_or_is_a_protocol_error(frame):
    with suppress(ProtocolError):
        ZstdStream().feed(frame)


@given(st.data())
def test_a_zstd_stream_with_a_wrong_byte_is_taken_or_is_a_protocol_error(data):
    first, second = map(bytearray, zstd_compressed([b"one" * 99, b"two" * 99]))
    second[data.draw(st.integers(0, len(second) - 1))] ^= data.draw(st.integers(1, 255))
    inflater = ZstdStream()
    inflater.feed(bytes(first))
    with suppress(ProtocolError):
        inflater.feed(bytes(second))


@pytest.mark.parametrize(
    "frames",
    [
        [b"no zstd at all"],
        zstd_compressed([b"one", b"two"])[1:],
        [zstandard.compress(b"a frame that ends")],
        [zstandard.compress(b"a frame that ends") * 100],
    ],
    ids=["noise", "another connection's", "ended", "ended, and more"],
)
def test_a_broken_zstd_stream_is_a_protocol_error(frames):
    inflater = ZstdStream()
    with pytest.raises(ProtocolError):
        list(map(inflater.feed, frames))


@pytest.mark.parametrize("size", [2000, 200_000_000])
def test_a_zstd_bomb_is_refused(size):
    (packed,) = zstd_compressed([bytes(size)])
    inflater = ZstdStream(limit_bytes=1000)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            inflater.feed(packed)
        assert tracemalloc.get_traced_memory()[1] < 80_000_000
    finally:
        tracemalloc.stop()


def test_a_zstd_message_of_many_megabytes_is_taken():
    message = random.Random(1).randbytes(1_000_000) * 20
    (packed,) = zstd_compressed([message])
    assert ZstdStream().feed(packed) == message


def test_without_compression_a_frame_is_a_message():
    assert Plain().feed(b"{}") == b"{}"


@pytest.mark.parametrize("compress", ["zlib-stream", "zstd-stream"])
def test_each_connection_gets_a_context_of_its_own(compress):
    make = COMPRESSIONS[compress]
    assert make() is not make()
