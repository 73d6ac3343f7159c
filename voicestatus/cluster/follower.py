"""What a node makes of the words of a shard's holder. Pure."""

from collections.abc import Iterator
from enum import Enum
from typing import Final

from voicestatus.cluster.wire import Part, TermBegan, unpack
from voicestatus.core.presence import Event, SessionResumed, SourceLost
from voicestatus.core.session import SessionState

_LAST: Final = 2**62


class _Sync(Enum):
    NONE = "none"
    """Something was missed; what follows is not taken, so that the session fits."""
    FILLING = "filling"
    FULL = "full"


class Follower:
    """Turns parts into events, in order; drops what comes twice or from the past.

    While nothing is heard of a shard its guilds are stale, as without a link.
    """

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._sync = _Sync.NONE
        self._number = 0
        self._silent = False
        self._unshared = False
        self.fence = 0
        """The highest that was seen."""
        self._linked = False
        """Whether the holder's link to Discord stood when it was heard last."""
        self.session: SessionState | None = None
        """From where a Resume goes on from what was taken; None: from nowhere."""

    @property
    def in_step(self) -> bool:
        """Whether all that the holder has said was taken."""
        return self._sync is _Sync.FULL

    @property
    def linked(self) -> bool:
        """Whether all is taken, and is what Discord says now."""
        return self._linked and self.in_step and not self._silent

    @property
    def alone(self) -> bool:
        """Whether we know what others may not, or less than they."""
        return self._unshared or self._sync is not _Sync.FULL

    @property
    def wanting(self) -> bool:
        """Whether a picture is needed, and none is coming."""
        return self._sync is _Sync.NONE

    def part(self, part: Part) -> Iterator[Event]:
        """Take a part; apply each event before the next is asked for.

        :raises ProtocolError: when there is an event that we do not know.
        """
        if (part.fence, part.number) <= (self.fence, self._number):
            return
        if part.fence != self.fence or part.number != self._number + 1:
            yield from self.missed()
        self.fence, self._number = part.fence, part.number
        if part.picture == "first" and self._sync is not _Sync.FULL:
            self._sync, self.session = _Sync.FILLING, None
        if self._sync is _Sync.FILLING or (
            self._sync is _Sync.FULL and part.picture is None
        ):
            for packed in part.events:
                yield unpack(packed)
        if part.picture == "last" and self._sync is _Sync.FILLING:
            self._sync = _Sync.FULL
        if self._sync is not _Sync.FULL:
            return
        self.session, self._linked = part.session, part.linked
        if self._silent:
            self._silent = False
            if part.linked:
                yield SessionResumed(self._shard)

    def term(self, term: TermBegan, *, ours: bool) -> Iterator[Event]:
        """Take it that somebody holds the shard anew, and has no link yet."""
        if term.fence <= self.fence:
            return
        if not ours:
            if self._sync is _Sync.FILLING or self._unshared:
                self._sync = _Sync.NONE
            self._unshared = False
        self.fence, self._number, self._linked = term.fence, 0, False
        yield SourceLost(self._shard)

    def was_holder(self, session: SessionState | None, *, unshared: bool) -> None:
        """Go on from what we knew as the holder; `unshared`: the others do not."""
        self._sync, self._number = _Sync.FULL, _LAST
        self.session, self._unshared, self._linked = session, unshared, False

    def missed(self) -> Iterator[Event]:
        """Take it that something may have been said that was not heard."""
        if self._sync is not _Sync.NONE:
            self._sync = _Sync.NONE
            yield SourceLost(self._shard)

    def silence(self) -> Iterator[Event]:
        """Take it that the holder has not been heard for longer than a lease."""
        if not self._silent:
            self._silent = True
            yield SourceLost(self._shard)
