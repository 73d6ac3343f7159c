"""Frames to messages."""

import json
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.errors import ProtocolError
from voicestatus.discord.gateway.compression import COMPRESSIONS, Plain, ZlibStream


def compressed(messages):
    context = zlib.compressobj()
    return [
        context.compress(message) + context.flush(zlib.Z_SYNC_FLUSH)
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


def test_without_compression_a_frame_is_a_message():
    assert Plain().feed(b"{}") == b"{}"


def test_each_connection_gets_a_context_of_its_own():
    make = COMPRESSIONS["zlib-stream"]
    assert make() is not make()
