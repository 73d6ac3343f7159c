"""One shard as the relay runs it: linked to Discord for as long as it is held."""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from voicestatus.cluster.picture import recalled
from voicestatus.cluster.relay import Term
from voicestatus.cluster.service import Presences
from voicestatus.core.session import SessionState
from voicestatus.discord.gateway.shard import Memory, ShardService
from voicestatus.discord.gateway.status import State, Status
from voicestatus.journal.service import Journal


class HeldShard:
    """Makes a link in each term, which goes on from where the last holder was."""

    def __init__(
        self,
        shard: int,
        make: Callable[[Memory], ShardService],
        journal: Journal,
        presences: Presences,
        closing: Callable[[Deferred[None]], object],
    ) -> None:
        """Take `closing`, to wait for connections that have said their last word."""
        self._closing = closing
        self._shard, self._make = shard, make
        self._journal, self._presences = journal, presences
        self._term = Term(None, None)
        self._link: ShardService | None = None
        self._recalled: SessionState | None = None

    @property
    def status(self) -> Status:
        """How the link to Discord is, ours or the holder's."""
        if self._link is not None and self._link.running:
            return self._link.status
        if self._presences.linked(self._shard):
            return Status(State.READY)
        if self._presences.in_step(self._shard):
            what = f"no node hears Discord for shard {self._shard}"
        else:
            what = f"no other node tells of shard {self._shard}"
        return Status(State.WAITING, what)

    # ---- for the relay -------------------------------------------------------------

    @property
    def session_state(self) -> SessionState | None:
        """See `relay.Source`."""
        if self._recalled is not None:
            return self._recalled
        return None if self._link is None else self._link.session_state

    def begin(self, term: Term) -> None:
        """See `relay.Source`."""
        self._term = term
        self._link = self._make(self)
        self._link.startService()

    def end(self) -> Deferred[None]:
        """See `relay.Source`."""
        if self._link is not None:
            self._closing(self._link.stopService())
        return Deferred.fromCoroutine(self._journal.drop(self._shard))

    # ---- for the link: see `shard.Memory` ------------------------------------------

    async def restored(self, shard: int) -> SessionState | None:
        if self._term.fence is None:
            session = await self._journal.restored(shard)
        else:
            session = self._term.session or await self._recall()
        # Not earlier: it would store that there is no session.
        self._journal.add(shard, self, self._term.fence)
        return session

    async def _recall(self) -> SessionState | None:
        """Go back to what is stored, and take all nodes there."""
        found = await self._journal.recall(self._shard)
        if found is None:
            return None
        *events, last = recalled(self._shard, found.me, found.guilds, found.count)
        for event in events:
            self._presences.deliver(self._shard, event)
        # The session stands for the whole, and for no part of it.
        self._recalled = found.session
        self._presences.deliver(self._shard, last)
        self._recalled = None
        return found.session

    def mark(self) -> None:
        self._journal.mark()

    # ---- for the journal: see `journal.keeper.Link` --------------------------------

    def stored(self, state: SessionState) -> None:
        # What the others do not know yet must not be confirmed to Discord: one of them
        # may be the next to ask for it.
        link = self._link
        if link is None or not link.running:
            return
        if self._presences.shared(self._shard, state):
            link.stored(state)
