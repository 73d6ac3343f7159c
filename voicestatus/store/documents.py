"""What a store of documents means; every kind of store keeps the same promises.

A document is `(kind, id, parent, version, body)`; `(kind, id)` names it, `parent`
groups documents of one kind for listing. Every write is a batch: all of its changes
happen, in their order, or none does. Calls take effect in the order they are made.
What an awaited write has returned for survives the end of the process.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, Protocol

from twisted.application.service import Service

from voicestatus.core.errors import StoreError


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


class Documents(Protocol):
    """The port. Each method raises StoreError when storage does not answer."""

    async def get(self, kind: str, id_: str) -> Document | None:
        """Return the document, or None where there is none."""
        ...

    async def list(self, kind: str, parent: str | None = None) -> tuple[Document, ...]:
        """Return those of one kind (and one parent), ordered by id."""
        ...

    async def write(self, *changes: Change) -> int:
        """Do all changes or none; return the version that was written.

        :raises VersionConflict: when a change finds other than it expects.
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


class Store(Service, Documents):
    """Documents with a life: usable from `startService` until `stopService`."""

    problem: str | None = None
    """Why the last call failed, for the operator; None when it did not."""

    def _refuse_unless_running(self) -> None:
        if not self.running:
            raise StoreError("the store is not open")
