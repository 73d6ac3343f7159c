"""Long byte strings beside documents: images of firmware, written and read in pieces.

A blob is named by `(kind, id)` and known by its SHA-256. It is seen when it is whole,
and never in part: its bytes are uploaded under a number of their own, and one
transaction makes them the blob. They never change; another upload takes their place.
"""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from voicestatus.core.errors import StoreError

CHUNK_BYTES = 64 * 1024

UPLOAD_IDLE_S = 3600
"""An unfinished upload that nobody touches for so long is forgotten."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What is stored under `(kind, id)`; `content` is the number of its bytes."""

    kind: str
    id: str
    size_bytes: int
    sha256: str
    content: int


class UploadLost(StoreError):  # noqa: N818 - what happened, not whose fault
    """An upload is not, or not as long, as it was thought to be."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"upload {number} was given up in the meantime; begin it again"
        )


class Contents(Protocol):
    """What a kind of store does for blobs; each method raises StoreError.

    Numbers of uploads never come twice.
    """

    async def begin_upload(self) -> int:
        """Make an empty upload; return its number."""
        ...

    async def append_upload(self, number: int, position: int, data: bytes) -> None:
        """Add bytes to the end, which is at `position`."""
        ...

    async def drop_upload(self, number: int) -> None:
        """Forget an unfinished upload."""
        ...

    async def publish(self, blob: Blob) -> Blob:
        """Make an upload the blob, or forget it when the blob has the same bytes."""
        ...

    async def read_at(self, blob: Blob, position: int) -> bytes:
        """Return some bytes from there on; none when the blob is gone by now."""
        ...


class Upload:
    """A blob on its way in; nobody sees it before `finish` has returned.

    Awaiting each `append` bounds the memory that it takes.
    """

    def __init__(self, contents: Contents, kind: str, id_: str) -> None:
        self._contents, self._kind, self._id = contents, kind, id_
        self._hash = hashlib.sha256()
        self._unsent = bytearray()
        self._sent_bytes = 0
        self._number: int | None = None

    async def append(self, data: bytes) -> None:
        """Add bytes, as many as there are."""
        self._hash.update(data)
        self._unsent += data
        while len(self._unsent) >= CHUNK_BYTES:
            await self._send(CHUNK_BYTES)

    async def settle(self, sha256: str | None = None) -> Blob:
        """Store the last bytes; what returns is what `publish` takes.

        :raises StoreError: when they are other bytes than `sha256` says.
        """
        found = self._hash.hexdigest()
        if sha256 not in (None, found):
            await self.abandon()
            raise StoreError(
                f"{self._kind} {self._id}: the bytes have SHA-256 {found},"
                f" not {sha256}; they are not kept"
            )
        await self._send(len(self._unsent))
        return Blob(self._kind, self._id, self._sent_bytes, found, await self._begun())

    async def finish(self, sha256: str | None = None) -> Blob:
        """Make all bytes so far the blob; the same bytes again change nothing.

        :raises StoreError: when they are other bytes than `sha256` says.
        """
        return await self._contents.publish(await self.settle(sha256))

    async def abandon(self) -> None:
        """Forget what was uploaded."""
        self._unsent.clear()
        if self._number is not None:
            number, self._number = self._number, None
            await self._contents.drop_upload(number)

    async def _begun(self) -> int:
        if self._number is None:
            self._number = await self._contents.begin_upload()
        return self._number

    async def _send(self, size_bytes: int) -> None:
        number = await self._begun()
        data = bytes(self._unsent[:size_bytes])
        if data:
            await self._contents.append_upload(number, self._sent_bytes, data)
        del self._unsent[:size_bytes]
        self._sent_bytes += len(data)


async def read(
    contents: Contents, blob: Blob, start: int, end: int | None
) -> AsyncIterator[bytes]:
    """Yield the bytes from `start` up to `end`, in pieces of CHUNK_BYTES or less.

    :raises StoreError: when the blob is deleted or replaced before the last piece.
    """
    end = blob.size_bytes if end is None else min(end, blob.size_bytes)
    while start < end:
        data = await contents.read_at(blob, start)
        if not data:
            raise StoreError(f"{blob.kind} {blob.id} is gone or was replaced")
        yield data[: end - start]
        start += len(data)
