"""A request's body that is read while it comes; who sends it waits for the reader."""

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred

from voicestatus.core.errors import Refusal

MAX_UNREAD_BYTES = 131_072


class CallerGone(Exception):  # noqa: N818 - what happened
    """The body ended before its end: nobody is there to be answered."""


class Inflow:
    """Stands where Twisted has a file for the body; one coroutine reads it."""

    def __init__(self, transport: Any, limit_bytes: int) -> None:
        """Take what can be paused. Twisted has no one type for its transports."""
        self._transport, self._limit_bytes = transport, limit_bytes
        self._unread: deque[bytes] = deque()
        self._unread_bytes = self._size_bytes = 0
        self._paused = False
        self._more: Deferred[None] | None = None
        self._broken: Exception | None = None
        self.ended = False
        """Whether all of it has come."""
        self.closed = False
        """Whether the connection has gone."""
        self.outcome: Deferred[object] = Deferred()
        """What its reader makes of it; fires when `ended`, if nothing failed before."""

    async def read(self) -> bytes:
        """Return what came, as soon as something has; empty at the end.

        :raises Refusal: `PAYLOAD_TOO_LARGE`.
        :raises CallerGone: when no more will come.
        """
        while not self._unread and self._broken is None and not self.ended:
            self._more = Deferred()
            await self._more
        if self._broken is not None:
            raise self._broken
        if not self._unread:
            return b""
        data = self._unread.popleft()
        self._unread_bytes -= len(data)
        if self._paused and self._unread_bytes <= MAX_UNREAD_BYTES // 2:
            self._paused = False
            self._transport.resumeProducing()
        return data

    def expect(self, length: bytes | None) -> None:
        """Take what the head says of the length.

        :raises Refusal: `PAYLOAD_TOO_LARGE`.
        """
        if length is not None and int(length) > self._limit_bytes:
            raise self._too_large()

    def end(self) -> None:
        """Take it that all has come."""
        self.ended = True
        self._wake()

    def let_pass(self) -> None:
        """Take it that nobody reads on."""
        self._unread.clear()
        if self._paused:
            self._paused = False
            self._transport.resumeProducing()

    # ---- what Twisted does with its file -------------------------------------------

    def write(self, data: bytes) -> None:
        self._size_bytes += len(data)
        if self._size_bytes > self._limit_bytes:
            self._break(self._too_large())
            return
        self._unread.append(data)
        self._unread_bytes += len(data)
        self._wake()
        if self._unread_bytes > MAX_UNREAD_BYTES and not self._paused:
            self._paused = True
            self._transport.pauseProducing()

    def tell(self) -> int:
        return self._size_bytes

    def seek(self, position: int, whence: int = 0) -> None:
        """Do nothing: it is read once, from the start."""

    def close(self) -> None:
        self.closed = True
        if not self.ended:
            self._break(CallerGone())

    def _too_large(self) -> Refusal:
        text = f"The body has more than {self._limit_bytes} bytes."
        return Refusal("PAYLOAD_TOO_LARGE", text, limitBytes=self._limit_bytes)

    def _break(self, why: Exception) -> None:
        self._unread.clear()
        self._broken = self._broken or why
        self._wake()

    def _wake(self) -> None:
        if self._more is not None:
            more, self._more = self._more, None
            more.callback(None)
