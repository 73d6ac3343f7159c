"""How one connection's messages are packed for the wire. Pure.

Source: Discord docs, Gateway, "Encoding and Compression".
"""

import zlib
from typing import Protocol

import zstandard

LEVEL = 3
"""A 5 MB guild in a fifth of the default level's time."""


class Packer(Protocol):
    """One connection's way of packing; it lasts as long as the connection."""

    binary: bool

    def pack(self, message: bytes) -> bytes:
        """Pack one whole message into one WebSocket message."""
        ...


class Plain:
    """Text, as it is."""

    binary = False

    def pack(self, message: bytes) -> bytes:
        return message


class ZlibStream:
    """One zlib stream; each message is flushed and so ends in 00 00 FF FF."""

    binary = True

    def __init__(self) -> None:
        self._stream = zlib.compressobj(LEVEL)

    def pack(self, message: bytes) -> bytes:
        return self._stream.compress(message) + self._stream.flush(zlib.Z_SYNC_FLUSH)


class ZstdStream:
    """One zstd frame that never ends; each message is a flushed block of it."""

    binary = True

    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor(LEVEL).compressobj()

    def pack(self, message: bytes) -> bytes:
        return self._stream.compress(message) + self._stream.flush(
            zstandard.COMPRESSOBJ_FLUSH_BLOCK
        )


PACKERS: dict[str, type[Packer]] = {
    "": Plain,
    "zlib-stream": ZlibStream,
    "zstd-stream": ZstdStream,
}
