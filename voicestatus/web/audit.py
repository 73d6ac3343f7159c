"""Who changed what: an entry for each write of the admin side, kept for a while."""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from voicestatus.core.errors import StoreError
from voicestatus.store.documents import Change, Delete, Document, Documents, Put
from voicestatus.web.auth.identity import Identity

KEPT_DAYS = 90
ENTRIES, DAYS = "audit", "audit-day"
"""Kinds in the store. The parent of an entry is its day, and each day is named once,
so that neither reading nor pruning looks at more days than it must."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for something, and from where."""

    who: Identity
    address: str
    request_id: str

    @property
    def actor(self) -> str:
        return self.who.actor


class AuditEntry(Struct, frozen=True, rename="camel"):
    """One write: who, from where, what of which thing, and what it is now."""

    id: str
    at: datetime
    actor: str
    address: str
    action: str
    target: str
    details: dict[str, Any]
    request_id: str


class Audit:
    """The log in the store. Times are UTC."""

    def __init__(self, documents: Documents, wall: Callable[[], float]) -> None:
        """Take a clock that tells Unix seconds."""
        self._documents, self._wall = documents, wall
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(AuditEntry).decode

    def entry(
        self,
        caller: Caller,
        action: str,
        target: str,
        details: Mapping[str, object] | None = None,
    ) -> tuple[Change, ...]:
        """Make the changes for the batch that does what is written down here."""
        at = datetime.fromtimestamp(self._wall(), UTC)
        day = at.date().isoformat()
        # Ids sort by time; the request tells two of one moment apart.
        id_ = f"{at:%Y%m%dT%H%M%S.%f}-{caller.request_id}"
        entry = AuditEntry(
            id_,
            at,
            caller.actor,
            caller.address,
            action,
            target,
            dict(details or {}),
            caller.request_id,
        )
        return (
            Put(ENTRIES, id_, self._encode(entry), parent=day),
            Put(DAYS, day, b"{}"),
        )

    async def note(
        self,
        caller: Caller,
        action: str,
        target: str,
        details: Mapping[str, object] | None = None,
    ) -> None:
        """Write down what left nothing else in the store."""
        await self._documents.write(*self.entry(caller, action, target, details))

    async def newest(self, limit: int, before: str | None = None) -> list[AuditEntry]:
        """Return entries, newest first; with `before` those older than that id."""
        found: list[AuditEntry] = []
        for day in await self._newest_days():
            if before is not None and day.replace("-", "") > before[:8]:
                continue
            stored = await self._documents.list(ENTRIES, day)
            end = len(stored)
            if before is not None:
                end = bisect_left(stored, before, key=lambda document: document.id)
            begin = max(0, end - (limit - len(found)))
            # Of a day with thousands only those are read that are shown.
            found += map(self._read, reversed(stored[begin:end]))
            if len(found) == limit:
                break
        return found

    async def prune(self) -> None:
        """Forget the days that are over `KEPT_DAYS` ago."""
        oldest = _date(self._wall()) - timedelta(days=KEPT_DAYS)
        for day in await self._newest_days():
            if day < oldest.isoformat():
                entries = await self._documents.list(ENTRIES, day)
                await self._documents.write(
                    *(Delete(ENTRIES, entry.id) for entry in entries), Delete(DAYS, day)
                )

    async def _newest_days(self) -> list[str]:
        return [day.id for day in reversed(await self._documents.list(DAYS))]

    def _read(self, document: Document) -> AuditEntry:
        try:
            return self._decode(document.body)
        except msgspec.DecodeError as e:
            raise StoreError(f"audit entry {document.id} cannot be read: {e}") from e


def _date(seconds: float) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()
