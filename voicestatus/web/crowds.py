"""Readers that are sent the same bytes: what is told is framed once for all of them.

Nothing is written while it is told. First the signs have their light, for which the
same event may stand; then all that was told in that turn of the reactor goes out as
one frame, to some hundred readers in each further turn. What is told until they all
have it is the next frame: however much happens, one is on its way.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from voicestatus.devices.fanout import DIRECT, Path, Transport

SLICE: Final = 500
"""How many are written to before the reactor turns: some 5 ms, and a light waits."""


class Source(Protocol, Hashable):
    """What readers follow."""

    def follow(self, tell: Callable[[bytes | None], object]) -> Callable[[], object]:
        """Tell each message, whole, and None at the end; return the way out."""
        ...


class Reader(Protocol, Hashable):
    """What a crowd asks of a connection."""

    transport: Transport
    path: Path
    chunked: bool
    crowd: "Crowd | None"
    """Where it stands now; kept by the crowds."""

    def framed(self, text: bytes) -> bytes:
        """Return a text as it goes over this connection, and all that are like it."""
        ...

    def put(self, frame: bytes) -> None:
        """Write a frame, now or when there is room."""
        ...

    def end(self) -> None:
        """Close the connection, behind what was written."""
        ...


class Crowd:
    """Readers of one source, over connections that are alike."""

    def __init__(self, source: Source, told: Callable[["Crowd"], object]) -> None:
        self.source = source
        self.readers: dict[Reader, None] = {}
        self._told = told
        self._texts: list[bytes | None] = []
        self._leave = source.follow(self._hear)

    def take_texts(self) -> list[bytes | None]:
        """Return what was told since it was asked last."""
        texts, self._texts = self._texts, []
        return texts

    def close(self) -> None:
        self._leave()

    def tell(self, readers: list[Reader], frame: bytes | None) -> None:
        """Write to those of them that are still here; None: end them."""
        left = here = [reader for reader in readers if reader.crowd is self]
        if frame is None:
            for reader in here:
                reader.end()
            return
        if here and here[0].path is DIRECT:
            left = DIRECT.offer_all(here, frame)
        for reader in left:
            reader.put(frame)

    def _hear(self, text: bytes | None) -> None:
        self._texts.append(text)
        if len(self._texts) == 1:
            self._told(self)


@dataclass(frozen=True, slots=True)
class _Round:
    """A frame on its way to those who stood there when it was told."""

    crowd: Crowd
    readers: Iterator[Reader]
    frame: bytes | None
    """None: it is the end."""


class Crowds:
    """All crowds, and the rounds that their frames make."""

    def __init__(self, clock: IReactorTime, count: Callable[[int], object]) -> None:
        """`count` is told how many events go out, counted for each reader."""
        self._clock, self._count = clock, count
        self._crowds: dict[Hashable, Crowd] = {}
        self._told: dict[Crowd, None] = {}
        self._rounds: deque[_Round] = deque()
        self._turn: IDelayedCall | None = None

    def join(self, reader: Reader, source: Source) -> None:
        """Let a reader follow a source: it is sent what is told from now on."""
        key = source, reader.chunked, reader.path
        if (crowd := self._crowds.get(key)) is None:
            crowd = self._crowds[key] = Crowd(source, self._soon)
        self._begin_rounds(crowd)
        crowd.readers[reader] = None
        reader.crowd = crowd

    def leave(self, reader: Reader) -> None:
        """Send a reader nothing any more, not even what was told already."""
        if (crowd := reader.crowd) is None:
            return
        reader.crowd = None
        del crowd.readers[reader]
        if not crowd.readers:
            crowd.close()
            del self._crowds[crowd.source, reader.chunked, reader.path]

    def send_all(self) -> None:
        """Write now whatever is on its way."""
        while self._told or self._rounds:
            self._go_on()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _soon(self, crowd: Crowd) -> None:
        self._told[crowd] = None
        self._call()

    def _call(self) -> None:
        if self._turn is None:
            self._turn = self._clock.callLater(0, self._called)

    def _called(self) -> None:
        self._turn = None
        self._go_on()

    def _go_on(self) -> None:
        if not self._rounds:  # else it waits, and goes out as one frame
            for crowd in tuple(self._told):
                self._begin_rounds(crowd)
        left = SLICE
        while self._rounds and left:
            round_ = self._rounds[0]
            some = list(islice(round_.readers, left))
            if len(some) < left:
                self._rounds.popleft()
            left -= len(some)
            round_.crowd.tell(some, round_.frame)
        if self._rounds or self._told:
            self._call()

    def _begin_rounds(self, crowd: Crowd) -> None:
        """Send what was told so far to those who are there now."""
        self._told.pop(crowd, None)
        texts = crowd.take_texts()
        if not texts or not crowd.readers:
            return
        readers = tuple(crowd.readers)
        told = [text for text in texts if text is not None]
        self._count(len(told) * len(readers))
        if told:
            frame = readers[0].framed(b"".join(told))
            self._rounds.append(_Round(crowd, iter(readers), frame))
        if len(told) < len(texts):
            self._rounds.append(_Round(crowd, iter(readers), None))
        self._call()
