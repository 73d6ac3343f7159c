"""Who is signed in: sessions in the store, so that every node and a restart know them.

The browser has the session's id, 256 random bits; the store has a digest of it.
"""

import hmac
from collections.abc import Callable
from contextlib import suppress

import msgspec
from msgspec import Struct

from voicestatus.core.errors import StoreError
from voicestatus.core.ids import UserId
from voicestatus.store.documents import Change, Delete, Documents
from voicestatus.store.typed import Stored, Typed
from voicestatus.web.auth.identity import Level

KIND = "session"
IDLE_S = 24 * 3600.0
"""A session that nobody uses for so long has ended."""
LASTS_S = 7 * 24 * 3600.0
"""Any session has ended after this."""
NOTE_EVERY_S = 300.0
"""How often it is written down that a session, or an API token, is in use."""


class Account(Struct, frozen=True):
    """A user of Discord, as they were when they signed in."""

    id: UserId
    name: str
    avatar_url: str | None


class Record(Struct, frozen=True, kw_only=True):
    """What is stored of a session. Times are Unix seconds."""

    account: Account | None
    """None: the admin token was shown."""
    level: Level
    agent: str
    began_at: float
    seen_at: float

    @property
    def ends_at(self) -> float:
        return min(self.began_at + LASTS_S, self.seen_at + IDLE_S)


Session = Stored[Record]


class Sessions:
    """The sessions of all nodes."""

    def __init__(
        self,
        documents: Documents,
        key: bytes,
        wall: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """Take a source of ids.

        The digests are keyed: all sessions end when the admin token is changed.
        """
        self._documents = documents
        self._kept = Typed(documents, KIND, Record)
        self._key, self._wall, self._new_id = key, wall, new_id

    def digest(self, id_: str) -> str:
        return hmac.new(self._key, id_.encode(), "sha256").hexdigest()

    def csrf_token(self, id_: str) -> str:
        """Return what pages of this session, and no others, can know."""
        return hmac.new(id_.encode(), b"csrf", "sha256").hexdigest()

    async def begin(
        self, account: Account | None, level: Level, agent: str, *also: Change
    ) -> str:
        """Make a new session, always with a new id; return that."""
        now, id_ = self._wall(), self._new_id()
        record = Record(
            account=account, level=level, agent=agent, began_at=now, seen_at=now
        )
        owner = _owner(None if account is None else account.id)
        put = self._kept.putting(self.digest(id_), record, parent=owner, expected=None)
        await self._documents.write(put, *also)
        return id_

    def ending(self, id_: str) -> Delete:
        """Make the change that ends the session with this id, if there is one."""
        return self._kept.deleting(self.digest(id_))

    async def get(self, digest: str) -> Session | None:
        """Return a session that has not ended."""
        found = await self._kept.get(digest)
        return found if found is not None and self._lasts(found) else None

    async def use(self, digest: str) -> Session | None:
        """Do the same; it will end later for being in use."""
        found, now = await self.get(digest), self._wall()
        if found is not None and now - found.value.seen_at >= NOTE_EVERY_S:
            seen = msgspec.structs.replace(found.value, seen_at=now)
            # A session that was ended meanwhile stays so, and a full disk keeps
            # nobody out.
            with suppress(StoreError):
                await self._kept.put(
                    digest, seen, parent=found.parent, expected=found.version
                )
        return found

    async def of(self, user: UserId | None) -> list[Session]:
        """List the sessions of a user, or of the admin token; the newest first."""
        found = filter(self._lasts, await self._kept.list(_owner(user)))
        return sorted(found, key=lambda session: -session.value.began_at)

    async def end(self, digest: str) -> None:
        """End a session, here and on all nodes."""
        await self._kept.delete(digest)

    async def end_all(self, user: UserId | None) -> None:
        """End all sessions of a user, or of the admin token."""
        for session in await self._kept.list(_owner(user)):
            await self._kept.delete(session.id)

    async def prune(self) -> None:
        """Forget sessions that have ended."""
        for session in await self._kept.list():
            if not self._lasts(session):
                await self._kept.delete(session.id)

    def _lasts(self, session: Session) -> bool:
        return self._wall() < session.value.ends_at


def actor_of(account: Account | None) -> str:
    """Return what the audit log calls those with such a session."""
    if account is None:
        return "session of the admin token"
    return f"session of user {account.id}"


def _owner(user: UserId | None) -> str:
    return "admin token" if user is None else f"user {user}"
