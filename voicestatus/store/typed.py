"""Documents of one kind as values of one type, JSON in the store."""

from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from voicestatus.core.errors import StoreError
from voicestatus.store.documents import (
    ANY,
    Delete,
    Document,
    Documents,
    Expected,
    Put,
    in_slices,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """A value, and the document that held it."""

    id: str
    parent: str
    version: int
    value: T


class Typed(Generic[T]):
    """Reads and writes the documents of one kind.

    >>> shards = Typed(store, "gateway-shard", Shard)
    >>> shard = await shards.get("0")
    >>> await shards.put("0", Shard(seq=9), expected=shard.version)
    >>> await store.write(shards.putting("0", Shard(seq=10)), people.deleting("7"))
    """

    def __init__(self, documents: Documents, kind: str, type_: type[T]) -> None:
        self._documents, self._kind = documents, kind
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(type_).decode

    async def get(self, id_: str) -> Stored[T] | None:
        """:raises StoreError: too, when the stored body is not a `T`."""
        document = await self._documents.get(self._kind, id_)
        return None if document is None else self._read(document)

    async def list(self, parent: str | None = None) -> tuple[Stored[T], ...]:
        """:raises StoreError: too, when a stored body is not a `T`."""
        found = await self._documents.list(self._kind, parent)
        return tuple(await in_slices(self._documents, self._read, found))

    async def put(
        self, id_: str, value: T, *, parent: str = "", expected: Expected = ANY
    ) -> int:
        """Write one value; return its version."""
        change = self.putting(id_, value, parent=parent, expected=expected)
        return await self._documents.write(change)

    async def delete(self, id_: str, *, expected: Expected = ANY) -> None:
        """Forget one value."""
        await self._documents.write(self.deleting(id_, expected=expected))

    def putting(
        self, id_: str, value: T, *, parent: str = "", expected: Expected = ANY
    ) -> Put:
        """Make the change for a batch."""
        return Put(self._kind, id_, self._encode(value), parent, expected)

    def deleting(self, id_: str, *, expected: Expected = ANY) -> Delete:
        """Make the change for a batch."""
        return Delete(self._kind, id_, expected)

    def _read(self, document: Document) -> Stored[T]:
        try:
            value = self._decode(document.body)
        except msgspec.DecodeError as e:
            raise StoreError(
                f"{document.kind} {document.id}: what is stored cannot be read: {e}"
            ) from e
        return Stored(document.id, document.parent, document.version, value)
