"""Writes a trace while the server runs; the server never waits for it."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from voicestatus.core.ids import GuildId, UserId
from voicestatus.core.presence import Presence, Restored
from voicestatus.discord.gateway.session import Ended, GatewaySession
from voicestatus.trace import lines
from voicestatus.trace.redaction import LARGEST, Pseudonyms, redact

LIMIT_BYTES: Final = 100_000_000
FLUSH_EVERY_S: Final = 1.0
BUFFER_BYTES: Final = 1 << 18


class _Sent(msgspec.Struct):
    op: int


_decode_sent = msgspec.json.Decoder(_Sent).decode


class Recorder(Service):
    """A `connection.Witness` that writes down what it sees, redacted.

    A file that is there is never touched. Whatever goes wrong ends the recording and
    nothing else.
    """

    _log = Logger()

    def __init__(
        self,
        path: Path,
        about: lines.Header,
        presence: Presence,
        clock: IReactorTime,
        monotonic: Callable[[], float],
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        """`monotonic` is the clock of the connections.

        Of `about` the ids are replaced, and `shards` is taken from the first session.
        """
        self._path, self._about, self._presence = path, about, presence
        self._clock, self._now = clock, monotonic
        self._limit_bytes = limit_bytes
        self._file: BinaryIO | None = None
        self._waiting = bytearray()
        self._size_bytes = 0
        self._flush_call: IDelayedCall | None = None
        self._began_at = 0.0
        self._names = Pseudonyms()
        self._shards = 0
        """How many there are; 0: no connection was seen yet."""
        self._seen: set[int] = set()

    def startService(self) -> None:
        super().startService()
        self._began_at = self._now()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            self._file = os.fdopen(os.open(self._path, flags, 0o600), "wb")
        except OSError as e:
            self._log.warn(
                "nothing is recorded: {path} cannot be made: {why}",
                path=str(self._path),
                why=e.strerror,
            )
        else:
            self._log.info("recording to {path}", path=str(self._path))

    def stopService(self) -> None:
        super().stopService()
        self._flush()
        self._end()

    # ---- what a `Witness` sees -----------------------------------------------------

    def opened(self, session: GatewaySession, at: float) -> None:
        if self._shards in {0, session.shard[1]}:
            self._write(session, at, lambda t, _: self._opening(session, t))
        else:
            # The other ids would belong to other shards than those they stand for.
            self._give_up("the number of shards is another one")

    def received(self, session: GatewaySession, text: bytes, at: float) -> None:
        self._write(
            session,
            at,
            lambda t, shard: [lines.Receive(t, shard, redact(text, self._names))],
        )

    def woken(self, session: GatewaySession, at: float) -> None:
        self._write(session, at, lambda t, shard: [lines.Wake(t, shard)])

    def sent(self, session: GatewaySession, payload: bytes, at: float) -> None:
        self._write(
            session,
            at,
            lambda t, shard: [lines.Send(t, shard, _decode_sent(payload).op)],
        )

    def closed(self, session: GatewaySession, ended: Ended, at: float) -> None:
        self._write(
            session,
            at,
            lambda t, shard: [lines.Close(t, shard, ended.cause.value, ended.code)],
        )

    # ---- lines ---------------------------------------------------------------------

    def _opening(self, session: GatewaySession, t: float) -> list[lines.Line]:
        shard, shards = session.shard
        told: list[lines.Line] = []
        if not self._shards:
            self._shards, self._names = shards, Pseudonyms(shards)
            told.append(self._header(shards))
        if shard not in self._seen:
            self._seen.add(shard)
            told += self._picture(shard, t)
        state = session.state
        seq, syncing = (None, False) if state is None else (state.seq, state.syncing)
        if seq is not None:
            seq = min(seq, LARGEST)
        jitter = int(session.jitter * 1e6) / 1e6
        return [*told, lines.Open(t, shard, jitter, seq, syncing)]

    def _header(self, shards: int) -> lines.Header:
        guilds = tuple(GuildId(self._names.id(id_)) for id_ in self._about.guilds)
        return msgspec.structs.replace(self._about, shards=shards, guilds=guilds)

    def _picture(self, shard: int, t: float) -> list[lines.Line]:
        presence = self._presence
        if presence.me is None:  # the process before has left nothing
            return []
        guilds = [guild for guild in presence.guilds.values() if guild.shard == shard]
        restored = Restored(
            UserId(self._names.id(presence.me)),
            self._shards,
            frozenset({shard} if guilds or presence.heard else ()),
            tuple(self._names.picture(guild) for guild in guilds),
        )
        return [lines.Picture(t, shard, restored)]

    # ---- the file ------------------------------------------------------------------

    def _write(
        self,
        session: GatewaySession,
        at: float,
        make: Callable[[float, int], list[lines.Line]],
    ) -> None:
        if self._file is None:
            return
        t = round(max(0.0, at - self._began_at), 6)
        try:
            made = make(t, session.shard[0])
            text = b"".join(lines.encode(line) + b"\n" for line in made)
        except Exception:  # noqa: BLE001 - the recording is given up, never the link
            self._log.failure("a line of the recording could not be made")
            self._give_up("an error of this program")
            return
        if self._size_bytes + len(text) > self._limit_bytes:
            self._give_up("it is as long as it may be")
            return
        self._size_bytes += len(text)
        self._waiting += text
        if len(self._waiting) >= BUFFER_BYTES:
            self._flush()
        elif self._flush_call is None:
            self._flush_call = self._clock.callLater(FLUSH_EVERY_S, self._flush)

    def _give_up(self, why: str) -> None:
        if self._file is None:
            return
        self._flush()
        self._log.warn("the recording has ended: {why}", why=why)
        self._end()

    def _flush(self) -> None:
        self._forget_flush()
        if self._file is None:
            return
        try:
            self._file.write(self._waiting)
            self._file.flush()
        except OSError as e:
            self._log.warn("the recording has ended: {why}", why=e.strerror)
            self._end()
        self._waiting.clear()

    def _end(self) -> None:
        self._forget_flush()
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # what could not be written is tried once more
                file.close()

    def _forget_flush(self) -> None:
        call, self._flush_call = self._flush_call, None
        if call is not None and call.active():
            call.cancel()
