"""Tokens for programs: each with a name, good for some things, for some time."""

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

import msgspec
from msgspec import Struct

from voicestatus.core.errors import Refusal, StoreError
from voicestatus.store.documents import Change, Documents
from voicestatus.store.typed import Stored, Typed
from voicestatus.web.auth.identity import Scope
from voicestatus.web.auth.sessions import NOTE_EVERY_S

KIND = "api-token"
PREFIX = "vsa_"


class Record(Struct, frozen=True, kw_only=True):
    """What is stored of a token. Times are Unix seconds."""

    name: str
    scopes: tuple[Scope, ...]
    made_by: str
    made_at: float
    ends_at: float | None
    used_at: float | None = None


ApiToken = Stored[Record]


class ApiTokens:
    """The API tokens of all nodes; the store has a digest of each, no token."""

    def __init__(
        self,
        documents: Documents,
        wall: Callable[[], float],
        new_secret: Callable[[], str],
    ) -> None:
        self._documents = documents
        self._kept = Typed(documents, KIND, Record)
        self._wall, self._new_secret = wall, new_secret

    async def make(
        self,
        name: str,
        scopes: tuple[Scope, ...],
        ends_at: float | None,
        made_by: str,
        also: tuple[Change, ...] = (),
    ) -> tuple[ApiToken, str]:
        """Make a token; return what is stored of it, and the token itself.

        :raises Refusal: `TOKEN_EXISTS`.
        """
        if any(token.value.name == name for token in await self._kept.list()):
            raise Refusal("TOKEN_EXISTS", f"There is a token called {name} already.")
        record = Record(
            name=name,
            scopes=scopes,
            made_by=made_by,
            made_at=self._wall(),
            ends_at=ends_at,
        )
        token = PREFIX + self._new_secret()
        digest = _digest(token.encode())
        put = self._kept.putting(digest, record, expected=None)
        version = await self._documents.write(put, *also)
        return Stored(digest, "", version, record), token

    async def list(self) -> list[ApiToken]:
        """List all, those too that have ended; the newest first."""
        return sorted(await self._kept.list(), key=lambda token: -token.value.made_at)

    async def revoke(
        self, id_: str, also_of: Callable[[Record], tuple[Change, ...]]
    ) -> None:
        """Forget a token; `also_of` makes what else is written then.

        :raises Refusal: `TOKEN_NOT_FOUND`.
        """
        found = await self._kept.get(id_)
        if found is None:
            raise Refusal("TOKEN_NOT_FOUND", "There is no such token.")
        await self._documents.write(self._kept.deleting(id_), *also_of(found.value))

    async def bearer(self, token: bytes) -> ApiToken | None:
        """Return what is known of a token that is good, and note its use."""
        if not token.startswith(PREFIX.encode()):
            return None
        found, now = await self.get(_digest(token)), self._wall()
        if found is None:
            return None
        used_at = found.value.used_at
        if used_at is None or now - used_at >= NOTE_EVERY_S:
            used = msgspec.structs.replace(found.value, used_at=now)
            # One that was revoked meanwhile stays so; a full disk keeps nobody out.
            with suppress(StoreError):
                await self._kept.put(found.id, used, expected=found.version)
        return found

    async def get(self, id_: str) -> ApiToken | None:
        """Return one that is good."""
        found = await self._kept.get(id_)
        if found is None:
            return None
        ends_at = found.value.ends_at
        return found if ends_at is None or self._wall() < ends_at else None


def _digest(token: bytes) -> str:
    return sha256(token).hexdigest()
