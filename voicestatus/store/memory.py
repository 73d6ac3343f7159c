"""Documents that live as long as the object: nothing to install, nothing kept."""

from voicestatus.store.blobs import CHUNK_BYTES, Blob, UploadLost
from voicestatus.store.documents import (
    Change,
    Document,
    Fence,
    NotEmpty,
    Picture,
    Put,
    Store,
    admit,
    check,
)


class MemoryStore(Store):
    """`STORAGE_URL=memory:`; stopping and starting it again keeps what it holds."""

    def __init__(self) -> None:
        self._documents: dict[tuple[str, str], Document] = {}
        self._fences: dict[int, int] = {}
        self._blobs: dict[tuple[str, str], Blob] = {}
        self._contents: dict[int, bytearray] = {}
        self._version = 0

    async def get(self, kind: str, id_: str) -> Document | None:
        self._refuse_unless_running()
        return self._documents.get((kind, id_))

    async def list(self, kind: str, parent: str | None = None) -> tuple[Document, ...]:
        self._refuse_unless_running()
        found = (
            document
            for document in self._documents.values()
            if document.kind == kind and parent in (None, document.parent)
        )
        return tuple(sorted(found, key=lambda document: document.id))

    async def write(self, *changes: Change, fence: Fence | None = None) -> int:
        self._refuse_unless_running()
        if fence is not None:
            admit(fence, self._fences.get(fence.shard))
        version = self._version + 1
        changed: dict[tuple[str, str], Document | None] = {}
        for change in changes:
            key = change.kind, change.id
            now = changed[key] if key in changed else self._documents.get(key)
            check(change, now.version if now else None)
            changed[key] = _after(change, version)
        for key, document in changed.items():
            if document is None:
                self._documents.pop(key, None)
            else:
                self._documents[key] = document
        if fence is not None:
            self._fences[fence.shard] = fence.number
        self._version = version
        return version

    async def sync(self) -> None:
        """Nothing survives anyway."""

    async def pause(self) -> None:
        """Go on at once: nobody else is waited for either."""

    async def blob(self, kind: str, id_: str) -> Blob | None:
        self._refuse_unless_running()
        return self._blobs.get((kind, id_))

    async def blobs(self, kind: str) -> tuple[Blob, ...]:
        self._refuse_unless_running()
        found = (blob for blob in self._blobs.values() if blob.kind == kind)
        return tuple(sorted(found, key=lambda blob: blob.id))

    async def delete_blob(self, kind: str, id_: str) -> None:
        self._refuse_unless_running()
        blob = self._blobs.pop((kind, id_), None)
        if blob is not None:
            del self._contents[blob.content]

    async def begin_upload(self) -> int:
        self._refuse_unless_running()
        self._version += 1
        self._contents[self._version] = bytearray()
        return self._version

    async def append_upload(self, number: int, position: int, data: bytes) -> None:
        self._refuse_unless_running()
        content = self._contents.get(number)
        if content is None or len(content) != position:
            raise UploadLost(number)
        content += data

    async def drop_upload(self, number: int) -> None:
        self._refuse_unless_running()
        if all(blob.content != number for blob in self._blobs.values()):
            self._contents.pop(number, None)

    async def publish(self, blob: Blob) -> Blob:
        self._refuse_unless_running()
        self._refuse_lost(blob)
        before = self._blobs.get((blob.kind, blob.id))
        if before is not None and before.sha256 == blob.sha256:
            del self._contents[blob.content]
            return before
        await self.delete_blob(blob.kind, blob.id)
        self._blobs[blob.kind, blob.id] = blob
        return blob

    async def read_at(self, blob: Blob, position: int) -> bytes:
        self._refuse_unless_running()
        content = self._contents.get(blob.content, b"")
        return bytes(content[position : position + CHUNK_BYTES])

    async def picture(self) -> Picture:
        self._refuse_unless_running()
        return Picture(
            self._version,
            tuple(self._documents.values()),
            tuple(Fence(*fence) for fence in self._fences.items()),
            tuple(self._blobs.values()),
        )

    async def become(self, picture: Picture, *, replace: bool = False) -> None:
        self._refuse_unless_running()
        if (self._documents or self._blobs) and not replace:
            raise NotEmpty
        for blob in picture.blobs:
            self._refuse_lost(blob)
        for blob in self._blobs.values():
            del self._contents[blob.content]
        self._blobs = {(blob.kind, blob.id): blob for blob in picture.blobs}
        self._documents = {(d.kind, d.id): d for d in picture.documents}
        for fence in picture.fences:
            highest = max(fence.number, self._fences.get(fence.shard, 0))
            self._fences[fence.shard] = highest
        self._version = max(self._version, picture.version)

    def _refuse_lost(self, blob: Blob) -> None:
        if len(self._contents.get(blob.content, b"")) != blob.size_bytes:
            raise UploadLost(blob.content)


def _after(change: Change, version: int) -> Document | None:
    if isinstance(change, Put):
        return Document(change.kind, change.id, change.parent, version, change.body)
    return None
