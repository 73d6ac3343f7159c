"""A file that comes in pieces, as a parser wants to read it. Pure."""

import hashlib
from collections.abc import Generator

CHUNK_BYTES = 65_536
"""So much of it is looked at, and held, at once."""

Walk = Generator[None, None, None]
Look = Generator[None, None, bytes]


class Intake:
    """Holds what came until it is consumed, and makes digests of what was.

    A parser is a generator that yields while it waits. It looks at a number of bytes
    that it has chosen: how they came cannot change what it finds.
    """

    def __init__(self) -> None:
        self.at = 0
        """How much was consumed."""
        self.sha256 = hashlib.sha256()
        self.md5 = hashlib.md5(usedforsecurity=False)  # what old signs compare
        self._waiting = bytearray()
        self._ended = False

    def feed(self, data: bytes) -> None:
        self._waiting += data

    def end(self) -> None:
        """No more comes."""
        self._ended = True

    def peek(self, size: int) -> Look:
        """Look at the next bytes. Fewer: the file ends there."""
        while len(self._waiting) < size and not self._ended:
            yield
        return bytes(self._waiting[:size])

    def consume(self, piece: bytes) -> None:
        """Go on behind what was looked at."""
        del self._waiting[: len(piece)]
        self.sha256.update(piece)
        self.md5.update(piece)
        self.at += len(piece)
