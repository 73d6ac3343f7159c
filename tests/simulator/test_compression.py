"""What is packed can be taken apart as Discord's documentation says."""

import zlib

import zstandard
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.simulator.compression import PACKERS, ZlibStream, ZstdStream

MESSAGES = st.lists(st.binary(min_size=1, max_size=2000), min_size=1, max_size=20)


def test_every_compression_of_the_contract_is_there() -> None:
    assert set(PACKERS) == {"", "zlib-stream", "zstd-stream"}
    assert PACKERS[""]().pack(b"text") == b"text"


@given(MESSAGES)
def test_each_zlib_message_ends_in_the_suffix_and_is_whole(
    messages: list[bytes],
) -> None:
    packer, inflater = ZlibStream(), zlib.decompressobj()
    for message in messages:
        packed = packer.pack(message)
        assert packed.endswith(b"\x00\x00\xff\xff")
        assert inflater.decompress(packed) == message


@given(MESSAGES)
def test_each_zstd_message_is_whole_though_the_frame_never_ends(
    messages: list[bytes],
) -> None:
    packer, unpacker = ZstdStream(), zstandard.ZstdDecompressor().decompressobj()
    for message in messages:
        assert unpacker.decompress(packer.pack(message)) == message
    assert not unpacker.unused_data
