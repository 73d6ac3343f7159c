"""Tokens that nobody is known by here: they may be new, and given by another node."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from voicestatus.core.errors import StoreError
from voicestatus.core.fleet import Record
from voicestatus.tasks import Tasks

NEWS_WITHIN_S: Final = 0.5
"""What another node did is told here by then, as a rule."""
REFILLED_WITHIN_S: Final = 15.0
"""Who just came may have read a store that came back empty, and is filled again."""
REST: Final = 20
"""All is read again for a twentieth of the time at most, whoever dials."""
MAX_OPEN, MAX_NOBODYS = 1000, 10_000


class Doubts:
    """Refuses no token before all that is stored was read again.

    While that cannot be done a device is put off: it comes again, and is not refused.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        read_all: Callable[[], Awaitable[None]],
        judge: Callable[[], object],
    ) -> None:
        """`judge` is told that more is known of the tokens that are in doubt."""
        self._clock, self._read_all, self._judge = clock, read_all, judge
        self._open: dict[str, None] = {}
        self._nobodys: OrderedDict[str, None] = OrderedDict()
        self._not_before = 0.0
        self._call: IDelayedCall | None = None
        self._tasks = Tasks()

    def begin(self) -> None:
        """Take it that all was read for the first time."""
        self._not_before = self._clock.seconds() + REFILLED_WITHIN_S

    def end(self) -> None:
        """Decide nothing any more."""
        self._tasks.cancel()
        if self._call is not None and self._call.active():
            self._call.cancel()

    def refuses(self, digest: str) -> bool:
        """Whether a token that nobody is known by is surely nobody's."""
        if digest in self._nobodys:
            return True
        if len(self._open) < MAX_OPEN:
            self._open[digest] = None
        if self._call is None:
            rest_s = self._not_before - self._clock.seconds()
            wait_s = max(NEWS_WITHIN_S, rest_s)
            self._call = self._clock.callLater(wait_s, self._look)
        return False

    def known(self, record: Record) -> None:
        """Take it that another node's record is known here now."""
        found = [token.digest for token in record.tokens if token.digest in self._open]
        for digest in found:
            del self._open[digest]
        if found:
            self._judge()

    def _look(self) -> None:
        self._tasks.spawn("looking for tokens", self._decide())

    async def _decide(self) -> None:
        digests, self._open = self._open, {}
        began = self._clock.seconds()
        try:
            await self._read_all()
        except StoreError as e:
            self._log.warn("devices are put off: {why}", why=str(e))
        else:
            self._nobodys |= digests
            while len(self._nobodys) > MAX_NOBODYS:
                self._nobodys.popitem(last=False)
        finally:
            now = self._clock.seconds()
            self._not_before = max(self._not_before, now + REST * (now - began))
            self._call = None
        self._judge()
