"""Documents that live as long as the object: nothing to install, nothing kept."""

from voicestatus.store.documents import Change, Document, Put, Store, check


class MemoryStore(Store):
    """`STORAGE_URL=memory:`; stopping and starting it again keeps what it holds."""

    def __init__(self) -> None:
        self._documents: dict[tuple[str, str], Document] = {}
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

    async def write(self, *changes: Change) -> int:
        self._refuse_unless_running()
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
        self._version = version
        return version


def _after(change: Change, version: int) -> Document | None:
    if isinstance(change, Put):
        return Document(change.kind, change.id, change.parent, version, change.body)
    return None
