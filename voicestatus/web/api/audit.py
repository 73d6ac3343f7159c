"""`/audit`: who changed what."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from voicestatus.web.api.endpoint import endpoint
from voicestatus.web.audit import Audit, AuditEntry


class AuditQuery(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which entries."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="how many at most")] = 100
    before: Annotated[
        str | UnsetType, Meta(description="the `next` of the page before this one")
    ] = UNSET


class AuditPage(Struct, frozen=True, rename="camel"):
    """Entries, the newest first; `next` leads to older ones."""

    entries: list[AuditEntry]
    next: str | None


class AuditSubject:
    """The audit log."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    @endpoint("GET", "/audit", refuses=("STORE_UNAVAILABLE",))
    async def show(self, query: AuditQuery) -> AuditPage:
        """List who changed what, the newest first."""
        before = None if query.before is UNSET else query.before
        found = await self._audit.newest(query.limit + 1, before)
        entries = found[: query.limit]
        more = len(found) > len(entries)
        return AuditPage(entries, entries[-1].id if more else None)
