"""The bytes of images: read from the store once for all that download them."""

from collections import OrderedDict

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from voicestatus.store.blobs import CHUNK_BYTES, Blob
from voicestatus.store.documents import Store
from voicestatus.tasks import Tasks

KIND = "image"
"""Of blobs, also of what else a blank chip needs. The id of one is its SHA-256."""
KEPT_BYTES = 16 * 1_048_576
"""The images of a rollout to every chip."""

_Key = tuple[str, int]


class Images:
    """Keeps the pieces that were wanted last."""

    def __init__(self, store: Store, kept_bytes: int = KEPT_BYTES) -> None:
        self._store, self._kept_bytes = store, kept_bytes
        self._tasks = Tasks()
        self._bytes = 0
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()
        self._coming: dict[_Key, list[Deferred[bytes]]] = {}

    async def find(self, sha256: str) -> Blob | None:
        """:raises StoreError: when the store does not answer."""
        return await self._store.blob(KIND, sha256)

    def kept(self, blob: Blob, position: int, most_bytes: int) -> bytes | None:
        """Return bytes from there on, no further than their piece; None: `fetch` it."""
        number, offset = divmod(position, CHUNK_BYTES)
        key = blob.sha256, number
        piece = self._kept.get(key)
        if piece is None:
            return None
        self._kept.move_to_end(key)
        return piece[offset : offset + most_bytes]

    def fetch(self, blob: Blob, position: int, most_bytes: int) -> Deferred[bytes]:
        """Return what `kept` does, from the store.

        Who gives up waiting leaves the others alone.

        :raises StoreError: when it does not answer, or has it no more.
        """
        number, offset = divmod(position, CHUNK_BYTES)
        waiting: Deferred[bytes] = Deferred()
        others = self._coming.get((blob.sha256, number))
        if others is not None:
            others.append(waiting)
        else:
            self._coming[blob.sha256, number] = [waiting]
            self._tasks.spawn("reading an image", self._read(blob, number))
        return waiting.addCallback(lambda piece: piece[offset : offset + most_bytes])

    def stop(self) -> None:
        """Read no more."""
        self._tasks.cancel()

    async def _read(self, blob: Blob, number: int) -> None:
        key, start = (blob.sha256, number), number * CHUNK_BYTES
        outcome: bytes | Failure
        try:
            pieces = self._store.read(blob, start, start + CHUNK_BYTES)
            outcome = b"".join([piece async for piece in pieces])
            self._keep(key, outcome)
        except Exception:  # noqa: BLE001 - else all who wait would do so for ever
            outcome = Failure()
        finally:
            waiting = self._coming.pop(key)
        for each in waiting:
            each.callback(outcome)

    def _keep(self, key: _Key, piece: bytes) -> None:
        self._kept[key] = piece
        self._bytes += len(piece)
        while self._bytes > self._kept_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest)
