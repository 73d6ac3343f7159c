"""One-use tokens that an admin makes: each enrols one device, within an hour."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from twisted.logger import Logger

from voicestatus.core.errors import StoreError
from voicestatus.core.fleet import TICKET, digest_of
from voicestatus.devices.session import Nobody, Ticket, Unsure
from voicestatus.store.documents import Change, Documents, Put
from voicestatus.store.typed import Stored, Typed
from voicestatus.tasks import Tasks

KIND: Final = "ticket"
GOOD_FOR_S: Final = 3600.0
MAX_ASKED: Final = 256
"""Tickets that are looked for at one time; who shows one more is put off."""


class Made(Struct, frozen=True):
    """What is stored of a ticket; the id is its digest. Times are Unix seconds."""

    ends_at: float
    device: str = ""
    """Who has taken it."""
    taken_at: float = 0.0


class Tickets:
    """They live in the store alone, so that every node knows them at once."""

    _log = Logger()

    def __init__(
        self,
        documents: Documents,
        wall: Callable[[], float],
        make_token: Callable[[], str],
        judge: Callable[[], object],
        has_come_since: Callable[[str, float], bool],
    ) -> None:
        """`judge` is told that a ticket can be judged that was shown before.

        `has_come_since` tells whether a device has first used a token of its own then.
        """
        self._kept = Typed(documents, KIND, Made)
        self._documents, self._wall, self._make_token = documents, wall, make_token
        self._judge, self._has_come_since = judge, has_come_since
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
        made = Made(now + GOOD_FOR_S)
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
            if found is None or self._is_over(found.value):
                return Nobody()
            made = found.value
            return Ticket(digest, found.version, made.ends_at, made.device)
        if digest not in self._asked and len(self._asked) < MAX_ASKED:
            self._asked.add(digest)
            self._tasks.spawn("looking for a ticket", self._look(digest))
        return Unsure()

    def taking(self, ticket: Ticket, device: str) -> Put:
        """Make the change that takes it; it fails when somebody did meanwhile."""
        taken = Made(ticket.ends_at, device, self._wall())
        return self._kept.putting(ticket.digest, taken, expected=ticket.version)

    def _is_over(self, made: Made) -> bool:
        if self._wall() >= made.ends_at:
            return True
        taken = made.device != ""
        return taken and self._has_come_since(made.device, made.taken_at)

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
