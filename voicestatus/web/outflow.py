"""An answer that is written as fast as its connection takes it, and no faster."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

T = TypeVar("T")


@implementer(IPushProducer)
class Outflow:
    """One request's answer; whoever waits with it is cancelled when the caller goes."""

    def __init__(self, request: Request, clock: IReactorTime) -> None:
        self._request, self._clock = request, clock
        self._paused = self._gone = False
        self._awaited: Deferred[object] | None = None
        self._room: Deferred[None] | None = None
        request.notifyFinish().addErrback(self._lost)

    async def run(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Do what answers; if it fails, end the connection: nothing more will come."""
        try:
            await work
        except Exception:
            self.drop()
            raise

    async def wait(self, what: Deferred[T]) -> T:
        """:raises CancelledError: when the connection is lost."""
        if self._gone:
            what.addErrback(lambda _: None)
            what.cancel()
            raise CancelledError
        # What it will be is of no concern to who cancels it.
        self._awaited = what  # type: ignore[assignment] # Deferred is invariant
        try:
            return await what
        finally:
            self._awaited = None

    def begin(self) -> None:
        """Say that `write` will follow."""
        self._request.registerProducer(self, True)

    async def room(self, within_s: float) -> None:
        """Wait until the connection takes more.

        :raises TimeoutError: Twisted's, when it does not for so long.
        :raises CancelledError: when it is lost.
        """
        if self._paused:
            self._room = Deferred()
            await self.wait(self._room.addTimeout(within_s, self._clock))

    def write(self, data: bytes) -> None:
        self._request.write(data)

    def finish(self) -> None:
        """End the answer."""
        self._request.unregisterProducer()
        self._request.finish()

    def drop(self) -> None:
        """End the connection in the midst of it; whoever waits is cancelled at once."""
        if not self._gone:
            transport: Any = self._request.transport
            transport.abortConnection()
            self._leave()

    # ---- what the transport says ---------------------------------------------------

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._room is not None:
            room, self._room = self._room, None
            room.callback(None)

    def stopProducing(self) -> None:
        """Take it that the connection is lost; `_lost` deals with that."""

    def _lost(self, _: Failure) -> None:
        self._leave()

    def _leave(self) -> None:
        self._gone = True
        if self._awaited is not None:
            self._awaited.cancel()
