"""One-use tokens that an admin makes: each enrols one device, within an hour."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from twisted.logger import Logger

from voicestatus.core.errors import StoreError
from voicestatus.core.fleet import TICKET, digest_of
from voicestatus.devices.session import Nobody, Ticket, Unsure
from voicestatus.store.documents import Change, Delete, Documents
from voicestatus.store.typed import Stored, Typed
from voicestatus.tasks import Tasks

KIND: Final = "ticket"
GOOD_FOR_S: Final = 3600.0
MAX_ASKED: Final = 256
"""Tickets that are looked for at one time; who shows one more is put off."""


class Made(Struct, frozen=True):
    """What is stored of a ticket; the id is its digest. Times are Unix seconds."""

    made_at: float
    ends_at: float


class Tickets:
    """They live in the store alone, so that every node knows them at once."""

    _log = Logger()

    def __init__(
        self,
        documents: Documents,
        wall: Callable[[], float],
        make_token: Callable[[], str],
        judge: Callable[[], object],
    ) -> None:
        """`judge` is told that a ticket can be judged that was shown before."""
        self._kept = Typed(documents, KIND, Made)
        self._documents, self._wall, self._make_token = documents, wall, make_token
        self._judge = judge
        self._asked: set[str] = set()
        self._found: OrderedDict[str, Stored[Made] | None] = OrderedDict()
        """What the store has just said, for one judgement each."""
        self._tasks = Tasks()

    def end(self) -> None:
        """Look for nothing any more."""
        self._tasks.cancel()

    async def make(self, also: tuple[Change, ...] = ()) -> tuple[str, float]:
        """Make one; return it, and when it ends. Those that have ended are forgotten.

        :raises StoreError: when it was not stored.
        """
        token, now = TICKET + self._make_token(), self._wall()
        over = (old for old in await self._kept.list() if old.value.ends_at <= now)
        made = Made(now, now + GOOD_FOR_S)
        await self._documents.write(
            *(self._kept.deleting(old.id) for old in over),
            self._kept.putting(digest_of(token.encode()), made),
            *also,
        )
        return token, made.ends_at

    def judge(self, token: bytes) -> Ticket | Nobody | Unsure:
        """Tell whether it is good, if that is known yet; else ask."""
        digest = digest_of(token)
        if digest in self._found:
            found = self._found.pop(digest)
            if found is None or self._wall() >= found.value.ends_at:
                return Nobody()
            return Ticket(digest, found.version)
        if digest not in self._asked and len(self._asked) < MAX_ASKED:
            self._asked.add(digest)
            self._tasks.spawn("looking for a ticket", self._look(digest))
        return Unsure()

    def spending(self, ticket: Ticket) -> Delete:
        """Make the change that takes it; it fails when it was taken before."""
        return self._kept.deleting(ticket.digest, expected=ticket.version)

    async def _look(self, digest: str) -> None:
        try:
            # A digest tells nothing of the ticket, however long the search takes.
            self._found[digest] = await self._kept.get(digest)
        except StoreError as e:
            self._log.warn("a device is put off: {why}", why=str(e))
            return
        finally:
            self._asked.discard(digest)
        if len(self._found) > MAX_ASKED:  # who showed it is gone
            self._found.popitem(last=False)
        self._judge()
