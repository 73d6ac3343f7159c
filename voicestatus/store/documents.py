"""What a store of documents means; every kind of store keeps the same promises.

A document is `(kind, id, parent, version, body)`; `(kind, id)` names it, `parent`
groups documents of one kind for listing. Every write is a batch: all of its changes
happen, in their order, or none does. Calls take effect in the order they are made.
What an awaited write has returned for survives the end of the process.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, Protocol, TypeVar

from twisted.application.service import Service

from voicestatus.core.errors import StoreError
from voicestatus.store.blobs import Blob, Contents, Upload, read

A = TypeVar("A")
B = TypeVar("B")

SLICE = 500
"""Documents that are read in one turn of the reactor: a millisecond or two."""


class _Expect(Enum):
    ANY = "any"


ANY: Final = _Expect.ANY
"""Write whatever is stored now."""

Expected = int | Literal[_Expect.ANY] | None
"""What must be stored for a change to happen: that version, ANY, or None: nothing."""


@dataclass(frozen=True, slots=True)
class Document:
    """What is stored under `(kind, id)`.

    `version` is the number of the batch that wrote it: it only grows, and no number
    comes twice, not even for a document that was deleted and made anew.
    """

    kind: str
    id: str
    parent: str
    version: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Put:
    """Store this document, new or in place of the one that is there."""

    kind: str
    id: str
    body: bytes
    parent: str = ""
    expected: Expected = ANY


@dataclass(frozen=True, slots=True)
class Delete:
    """Forget this document; forgetting what is not there is no mistake."""

    kind: str
    id: str
    expected: Expected = ANY


Change = Put | Delete


@dataclass(frozen=True, slots=True)
class Fence:
    """Whoever writes with it may do so for `shard` until somebody has a higher number.

    The store compares it with the highest number that it ever saw for the shard, in
    the transaction of the batch itself: who lost a lease unawares can write nothing.
    """

    shard: int
    number: int


class Fenced(StoreError):  # noqa: N818 - what happened, not whose fault
    """Somebody else holds this shard now; nothing was written."""

    def __init__(self, fence: Fence, highest: int) -> None:
        super().__init__(
            f"shard {fence.shard}: fence {fence.number} is lower than {highest}"
        )
        self.fence, self.highest = fence, highest


class FateUnknown(StoreError):  # noqa: N818 - what happened, not whose fault
    """No answer came: what was asked may have happened, may happen yet, or never."""


class NotEmpty(StoreError):  # noqa: N818 - what happened, not whose fault
    """There is something already where a whole store was to be put."""

    def __init__(self) -> None:
        super().__init__("the store is not empty; nothing was changed")


class VersionConflict(StoreError):  # noqa: N818 - what happened, not whose fault
    """Somebody else wrote first; read again and decide again."""

    def __init__(self, change: Change, found: int | None) -> None:
        wanted = "none" if change.expected is None else f"version {change.expected}"
        is_there = "none" if found is None else f"version {found}"
        super().__init__(
            f"{change.kind} {change.id}: expected {wanted}, found {is_there}"
        )
        self.kind, self.id = change.kind, change.id
        self.expected, self.found = change.expected, found


def check(change: Change, found: int | None) -> None:
    """Compare what `change` expects with the version found (None: nothing).

    :raises VersionConflict: when they differ.
    """
    if change.expected is not ANY and change.expected != found:
        raise VersionConflict(change, found)


def admit(fence: Fence, highest: int | None) -> None:
    """Compare a fence with the highest number seen for its shard (None: none yet).

    :raises Fenced: when it is lower.
    """
    if highest is not None and fence.number < highest:
        raise Fenced(fence, highest)


class Documents(Protocol):
    """The port. Each method raises StoreError when storage does not answer."""

    async def get(self, kind: str, id_: str) -> Document | None:
        """Return the document, or None where there is none."""
        ...

    async def list(self, kind: str, parent: str | None = None) -> tuple[Document, ...]:
        """Return those of one kind (and one parent), ordered by id."""
        ...

    async def write(self, *changes: Change, fence: Fence | None = None) -> int:
        """Do all changes or none; return the version that was written.

        :raises VersionConflict: when a change finds other than it expects.
        :raises Fenced: when a higher fence was seen for its shard.
        :raises FateUnknown: when it may have been written, and may not.
        """
        ...

    async def put(
        self,
        kind: str,
        id_: str,
        body: bytes,
        *,
        parent: str = "",
        expected: Expected = ANY,
    ) -> int:
        """Write one document: a batch of one `Put`."""
        return await self.write(Put(kind, id_, body, parent, expected))

    async def delete(self, kind: str, id_: str, *, expected: Expected = ANY) -> None:
        """Forget one document: a batch of one `Delete`."""
        await self.write(Delete(kind, id_, expected))

    async def sync(self) -> None:
        """Return when what was written survives a power cut, too, as far as it can.

        What an awaited write has returned for survives the process without this.
        """
        ...

    async def pause(self) -> None:
        """Let others have their turn, in the midst of long work."""
        ...


async def in_slices(
    documents: Documents, read: Callable[[A], B], items: Iterable[A]
) -> list[B]:
    """Read each item; after each `SLICE` of them, let others have their turn."""
    done: list[B] = []
    for item in items:
        done.append(read(item))
        if len(done) % SLICE == 0:
            await documents.pause()
    return done


@dataclass(frozen=True, slots=True)
class Picture:
    """All that a store holds at one moment; of blobs the names, not the bytes."""

    version: int
    documents: tuple[Document, ...] = ()
    fences: tuple[Fence, ...] = ()
    blobs: tuple[Blob, ...] = ()


class Whole(Protocol):
    """A store as a whole, for backups."""

    async def picture(self) -> Picture:
        """Return everything, as it was at one moment."""
        ...

    async def become(self, picture: Picture, *, replace: bool = False) -> None:
        """Take over everything at once; the bytes of its blobs are settled uploads.

        Documents keep their versions; versions and fences never go back.

        :raises NotEmpty: when there is a document or a blob, and not `replace`.
        """
        ...


class Store(Service, Documents, Contents, Whole):
    """Usable from `startService` until `stopService`."""

    problem: str | None = None
    """Why the store does not work at present, for the operator; None when it does."""

    risks: tuple[tuple[str, str], ...] = ()
    """How storage that works may lose what it keeps, and what to do about each."""

    def upload(self, kind: str, id_: str) -> Upload:
        """Begin to write a blob; append to it, then finish it."""
        return Upload(self, kind, id_)

    async def blob(self, kind: str, id_: str) -> Blob | None:
        """Return what the blob is, or None where there is none."""
        raise NotImplementedError

    async def blobs(self, kind: str) -> tuple[Blob, ...]:
        """Return the blobs of one kind, ordered by id."""
        raise NotImplementedError

    async def delete_blob(self, kind: str, id_: str) -> None:
        """Forget a blob; forgetting what is not there is no mistake."""
        raise NotImplementedError

    def read(
        self, blob: Blob, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield its bytes, or a part of them, in pieces.

        :raises StoreError: too, when it is deleted or replaced before the last piece.
        """
        return read(self, blob, start, end)

    def _refuse_unless_running(self) -> None:
        if not self.running:
            raise StoreError("the store is not open")
