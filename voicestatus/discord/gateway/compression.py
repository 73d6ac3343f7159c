"""Transport compression of the Gateway: frames in, whole messages out. Pure.

Source: Discord docs, Gateway, "Transport Compression".
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, Protocol

import zstandard

from voicestatus.core.errors import ProtocolError

MAX_MESSAGE_BYTES: Final = 256 << 20
"""Generous: the GUILD_CREATE of a big guild is many megabytes."""


class Inflater(Protocol):
    """One connection's binary frames to messages; made anew for each connection."""

    def feed(self, frame: bytes) -> bytes | None:
        """Take a frame; return the message that it ends, None before that.

        :raises ProtocolError: then the connection is of no more use.
        """
        ...


class Plain:
    """No compression: a frame is a message."""

    def feed(self, frame: bytes) -> bytes | None:
        return frame


class ZlibStream:
    """One zlib context for the whole life of a connection."""

    _SUFFIX: Final = b"\x00\x00\xff\xff"  # what Z_SYNC_FLUSH ends with

    def __init__(self, limit_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._context = zlib.decompressobj()
        self._waiting = bytearray()
        self._limit_bytes = limit_bytes

    def feed(self, frame: bytes) -> bytes | None:
        if self._waiting or not frame.endswith(self._SUFFIX):
            self._waiting += frame
            if len(self._waiting) > self._limit_bytes:
                raise ProtocolError("a compressed message has no end")
            if not self._waiting.endswith(self._SUFFIX):
                return None
            frame = bytes(self._waiting)
            self._waiting.clear()
        try:
            message = self._context.decompress(frame, self._limit_bytes)
        except zlib.error:
            # The context cannot be mended: all that follows builds on it.
            raise ProtocolError("the zlib stream is broken") from None
        if self._context.unconsumed_tail or self._context.eof:
            raise ProtocolError("a message is too long, or the zlib stream has ended")
        return message


class ZstdStream:
    """One zstd frame that never ends; a binary message is a Gateway message."""

    # zstandard cannot bound what a call gives out. Four bytes can become 128 KB, so
    # what lies between two looks at the sum is 32 MB at the most.
    # Source: RFC 8878 3.1.1.2, "Blocks".
    _SLICE_BYTES: Final = 1024

    def __init__(self, limit_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._context = zstandard.ZstdDecompressor().decompressobj()
        self._limit_bytes = limit_bytes

    def feed(self, frame: bytes) -> bytes | None:
        try:
            if len(frame) <= self._SLICE_BYTES:
                message = self._context.decompress(frame)
            else:
                message = b"".join(self._parts(frame))
        except zstandard.ZstdError:
            # The context cannot be mended: all that follows builds on it.
            raise ProtocolError("the zstd stream is broken") from None
        if len(message) > self._limit_bytes or self._context.eof:
            raise ProtocolError("a message is too long, or the zstd stream has ended")
        return message

    def _parts(self, frame: bytes) -> Iterator[bytes]:
        room_bytes = self._limit_bytes
        for at in range(0, len(frame), self._SLICE_BYTES):
            part = self._context.decompress(frame[at : at + self._SLICE_BYTES])
            room_bytes -= len(part)
            if room_bytes < 0:
                raise ProtocolError("a message is too long")
            yield part


COMPRESSIONS: Final[Mapping[str | None, Callable[[], Inflater]]] = MappingProxyType(
    {None: Plain, "zlib-stream": ZlibStream, "zstd-stream": ZstdStream}
)
"""What may stand in the URL's `compress`, and who undoes it."""
