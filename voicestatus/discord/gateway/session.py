"""One connection to the Gateway as a state machine: input in, effects out. Pure.

Times are monotonic seconds that the caller passes in. The machine owns no timer: it
asks to be woken, and a wake-up that comes early or twice does no harm.

Source: Discord docs, Gateway, "Connection Lifecycle".
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from voicestatus.core.guild_news import GuildNews
from voicestatus.core.ids import GuildId
from voicestatus.core.presence import (
    Event,
    GuildArrived,
    GuildRemoved,
    GuildUnavailable,
    SessionBegan,
    SessionResumed,
    SourceLost,
    SyncEnded,
)
from voicestatus.core.session import SessionState
from voicestatus.discord.gateway import wire
from voicestatus.discord.gateway.ratelimit import SendLimit
from voicestatus.discord.gateway.wire import Login, Verdict

HELLO_WITHIN_S: Final = 20.0
"""From the TCP connect: TLS, the WebSocket's handshake and Hello."""
ANSWER_WITHIN_S: Final = 60.0
"""For READY or RESUMED; longer while heartbeats are acknowledged, since in an outage
Discord may hold an Identify and answer late."""
ANSWER_AT_LAST_S: Final = 300.0
SYNC_WITHIN_S: Final = 15.0
"""A guild that has not been told this long after the one before is not coming."""
LATE_S: Final = 2.0
"""A wake-up this much over its time means that this process was not running."""
LISTEN_S: Final = 1.0
"""How long it then listens before it judges: what it waits for may lie unread in the
socket."""

RESUMABLY: Final = 4000
"""Our close code. 1000 and 1001 would end the session.
Source: Gateway, "Disconnecting"."""


class Phase(Enum):
    """Where a connection is."""

    OPENING = "opening"
    IDENTIFYING = "identifying"
    RESUMING = "resuming"
    READY = "ready"
    OVER = "over"


class Cause(Enum):
    """Why a connection ended; a label of metrics."""

    UNREACHABLE = "unreachable"
    LOST = "lost"
    CLOSED = "closed"
    RECONNECT = "reconnect"
    INVALID_SESSION = "invalid_session"
    ZOMBIE = "zombie"
    TIMEOUT = "timeout"
    UNREADABLE = "unreadable"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a connection ended and what is left of it."""

    cause: Cause
    state: SessionState | None
    """None: there is no session (any more), the next must identify."""
    code: int | None = None
    verdict: Verdict = Verdict.RESUME
    spoke: bool = False
    """Whether the Gateway said anything at all on it."""
    held_s: float | None = None
    """How long READY or RESUMED held; None: neither came."""


@dataclass(frozen=True, slots=True)
class Send:
    """Write this text. No repr of it: Identify and Resume hold secrets."""

    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wake:
    """Call `wake` at this time; it replaces an earlier wish."""

    at: float


@dataclass(frozen=True, slots=True)
class Deliver:
    """Tell the program."""

    event: Event


@dataclass(frozen=True, slots=True)
class Report:
    """Tell who wants to hear it; it is not about who is in voice."""

    news: GuildNews


@dataclass(frozen=True, slots=True)
class Enter:
    """The connection is in this phase now."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class Keep:
    """Store the state: what a Resume needs is another from here on."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the WebSocket with this code."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Over:
    """The last effect of every connection; what it says afterwards is not heard."""

    ended: Ended


Effect = Send | Wake | Deliver | Report | Enter | Keep | Close | Over


class GatewaySession:
    """One connection of one shard, from the TCP connect to its end.

    With `resume` it resumes that session. Without it identifies, so it may then be
    started only when the identify budget has been charged for it.

    To Discord it confirms only what the next process would know, too: a heartbeat or
    a Resume that names a sequence allows Discord to forget what came up to there.
    """

    def __init__(
        self,
        login: Login,
        resume: SessionState | None,
        jitter: float,
        durable: int | None = None,
    ) -> None:
        """Take `jitter`, 0 <= jitter < 1: when in the interval the first beat falls.

        `durable` is the sequence up to which the resumed session is stored; None: not
        at all.
        """
        self.phase = Phase.OPENING
        self.latency_s: float | None = None
        """Time between the last acknowledged heartbeat and its ACK."""
        self.shard = login.shard
        """Which one it is, and of how many."""
        self.jitter = jitter
        self._login, self._shard = login, login.shard[0]
        self._intents = login.intents if resume is None else resume.intents
        self._session_id = None if resume is None else resume.session_id
        self._resume_url = "" if resume is None else resume.resume_url
        self._seq = None if resume is None else resume.seq
        self._durable = durable
        self._syncing = resume is not None and resume.syncing
        self._awaited: set[GuildId] | None = None  # not known after a resume
        self._spoke = self._told = False
        self._ready_at: float | None = None

        self._interval_s = 0.0
        self._acked = True
        self._beat_sent_at: float | None = None
        self._alive_at = 0.0

        self._commands: deque[bytes] = deque()
        self._limit = SendLimit()

        self._armed_at: float | None = None
        self._listening = False
        self._hello_by: float | None = None
        self._answer_by: float | None = None
        self._answer_at_last = 0.0
        self._beat_at: float | None = None
        self._sync_by: float | None = None
        self._command_at: float | None = None

    @property
    def state(self) -> SessionState | None:
        """What a Resume needs as of now; None while there is no session."""
        if self._session_id is None or self._seq is None:
            return None
        return SessionState(
            self._session_id,
            self._seq,
            self._resume_url,
            self._syncing,
            self._intents,
        )

    # ---- input ---------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Begin, when the TCP connection stands."""
        self._hello_by = now + HELLO_WITHIN_S
        return self._rearm()

    def receive(self, message: wire.Message, now: float) -> list[Effect]:
        """Take one message."""
        if self.phase is Phase.OVER:
            return []
        self._spoke = True
        match message:
            case wire.Dispatch():
                return self._dispatch(message, now)
            case wire.HeartbeatAck():
                self._ack(now)
                return []
            case wire.Heartbeat():
                # The schedule goes on, and its judgement: this one is not awaited.
                return [] if self.phase is Phase.OPENING else [self._beat(now)]
            case wire.Hello(interval_s):
                return self._hello(interval_s, now)
            case wire.Reconnect():
                return self._close(Cause.RECONNECT, "told to reconnect", now)
            case wire.InvalidSession(resumable):
                if not resumable:
                    self._forget()
                return self._close(Cause.INVALID_SESSION, "invalid session", now)
            case wire.Unknown():
                return []

    def wake(self, now: float) -> list[Effect]:
        """Do what is due."""
        if self.phase is Phase.OVER:
            return []
        armed_at, self._armed_at = self._armed_at, None
        late = armed_at is not None and now > armed_at + LATE_S
        self._listening = late and not self._listening
        if self._listening:
            self._armed_at = now + LISTEN_S
            return [Wake(self._armed_at)]
        if self._hello_by is not None and now >= self._hello_by:
            return self._close(Cause.TIMEOUT, "no Hello", now)
        if self._answer_by is not None and now >= self._answer_by:
            began = self._answer_by - ANSWER_WITHIN_S
            if self._alive_at <= began or now >= self._answer_at_last:
                return self._close(Cause.TIMEOUT, "no READY or RESUMED", now)
            self._answer_by = min(now + ANSWER_WITHIN_S, self._answer_at_last)
        effects: list[Effect] = []
        if self._beat_at is not None and now >= self._beat_at:
            if not self._acked:
                return self._close(Cause.ZOMBIE, "no heartbeat ack", now)
            self._acked = False
            self._beat_at = now + self._interval_s
            effects.append(self._beat(now))
        if self._sync_by is not None and now >= self._sync_by:
            effects += self._end_sync()
        if self._command_at is not None and now >= self._command_at:
            effects += self._send_commands(now)
        return effects + self._rearm()

    def send(self, command: bytes, now: float) -> list[Effect]:
        """Send a command when the connection is ready and the send limit allows."""
        if self.phase is Phase.OVER:
            return []
        self._commands.append(command)
        return self._send_commands(now) + self._rearm()

    def closed(self, code: int | None, now: float) -> list[Effect]:
        """Take the other side's close; None where the link was just lost."""
        if self.phase is Phase.OVER:
            return []
        verdict = wire.verdict(code)
        if verdict is not Verdict.RESUME:
            self._forget()
        if code is None:
            return self._end(Cause.LOST, now)
        self._spoke = True
        return self._end(Cause.CLOSED, now, code, verdict)

    def unreadable(self, now: float) -> list[Effect]:
        """Give the connection up: what came is not a Gateway's."""
        self._spoke = True
        return self._close(Cause.UNREADABLE, "decode error", now)

    def stored(self, state: SessionState) -> None:
        """Learn that this state survives the process."""
        if state.session_id == self._session_id:
            self._durable = state.seq

    def stop(self, now: float) -> list[Effect]:
        """End from our side; the session stays resumable."""
        return self._close(Cause.STOPPED, "going away", now)

    # ---- messages ------------------------------------------------------------------

    def _hello(self, interval_s: float, now: float) -> list[Effect]:
        if self.phase is not Phase.OPENING:
            return []
        self._interval_s = interval_s
        self._hello_by = None
        self._beat_at = now + interval_s * self.jitter
        self._answer_by = now + ANSWER_WITHIN_S
        self._answer_at_last = now + ANSWER_AT_LAST_S
        if self._session_id is None or self._seq is None:
            self.phase = Phase.IDENTIFYING
            payload = wire.identify(self._login)
        else:
            self.phase = Phase.RESUMING
            # Nothing of it stored: no other process will ask for it.
            seq = self._seq if self._durable is None else self._durable
            payload = wire.resume(self._login, self._session_id, seq)
        return [Enter(self.phase), Send(payload), *self._rearm()]

    def _dispatch(self, message: wire.Dispatch, now: float) -> list[Effect]:
        if self.phase is Phase.OPENING:
            return []
        body = message.body
        repeated = self._is_repeated(message)
        if message.seq is not None and not repeated:
            self._seq = message.seq
        match body:
            case None:
                return []
            case wire.Ready():
                return self._ready(body, now)
            case wire.Resumed():
                return self._resumed(now)
            case _ if repeated:  # the replay begins at what is stored
                self._alive_at = now
                return []
            case _:
                return self._event(body, now)

    def _is_repeated(self, message: wire.Dispatch) -> bool:
        """Whether a replay tells what was told on a connection before."""
        if self.phase is not Phase.RESUMING or isinstance(message.body, wire.Ready):
            return False
        seq = message.seq
        return seq is not None and self._seq is not None and seq <= self._seq

    def _event(self, event: Event | GuildNews, now: float) -> list[Effect]:
        if self.phase is Phase.IDENTIFYING:
            return []  # no session yet, so of none that we know
        if self.phase is Phase.RESUMING:
            self._alive_at = now
        if isinstance(event, GuildNews):
            return [Report(event)]
        self._told = True
        if self._sync_by is None or not isinstance(
            event, GuildArrived | GuildUnavailable | GuildRemoved
        ):
            return [Deliver(event)]
        self._sync_by = now + SYNC_WITHIN_S
        if self._awaited is None:
            return [Deliver(event)]
        self._awaited.discard(event.guild)
        return [Deliver(event), *([] if self._awaited else self._end_sync())]

    def _ready(self, ready: wire.Ready, now: float) -> list[Effect]:
        self._session_id, self._durable = ready.session_id, None
        self._resume_url = ready.resume_url
        self._syncing, self._awaited = True, set(ready.guilds)
        begun = self._hold(SessionBegan(self._shard, ready.me, ready.guilds), now)
        if not self._awaited:
            return begun + self._end_sync()
        return begun

    def _resumed(self, now: float) -> list[Effect]:
        if self.phase is not Phase.RESUMING:
            return []
        return self._hold(SessionResumed(self._shard), now)

    def _hold(self, news: Event, now: float) -> list[Effect]:
        self.phase = Phase.READY
        self._ready_at, self._answer_by = now, None
        self._told = True
        if self._syncing:
            self._sync_by = now + SYNC_WITHIN_S
        effects: list[Effect] = [Deliver(news), Enter(self.phase), Keep()]
        return effects + self._send_commands(now) + self._rearm()

    def _end_sync(self) -> list[Effect]:
        self._sync_by = self._awaited = None
        self._syncing = False
        return [Deliver(SyncEnded(self._shard)), Keep()]

    # ---- sending -------------------------------------------------------------------

    def _beat(self, now: float) -> Send:
        self._beat_sent_at = now
        return Send(wire.heartbeat(self._durable))

    def _ack(self, now: float) -> None:
        self._acked, self._alive_at = True, now
        if self._beat_sent_at is not None:
            self.latency_s = now - self._beat_sent_at
            self._beat_sent_at = None

    def _send_commands(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self.phase is not Phase.READY:
            return effects
        while self._commands and self._limit.free_at(now) <= now:
            self._limit.sent(now)
            effects.append(Send(self._commands.popleft()))
        self._command_at = self._limit.free_at(now) if self._commands else None
        return effects

    # ---- the end -------------------------------------------------------------------

    def _forget(self) -> None:
        self._session_id = None

    def _close(self, cause: Cause, reason: str, now: float) -> list[Effect]:
        if self.phase is Phase.OVER:
            return []
        return [Close(RESUMABLY, reason), *self._end(cause, now)]

    def _end(
        self,
        cause: Cause,
        now: float,
        code: int | None = None,
        verdict: Verdict = Verdict.RESUME,
    ) -> list[Effect]:
        self.phase = Phase.OVER
        held_s = None if self._ready_at is None else now - self._ready_at
        ended = Ended(cause, self.state, code, verdict, self._spoke, held_s)
        lost: list[Effect] = [Deliver(SourceLost(self._shard))] if self._told else []
        return [*lost, Over(ended)]

    # ---- time ----------------------------------------------------------------------

    def _rearm(self) -> list[Effect]:
        """Ask for the next wake-up, unless an earlier one is on its way."""
        if self._listening:
            return []
        times = (
            self._hello_by,
            self._answer_by,
            self._beat_at,
            self._sync_by,
            self._command_at,
        )
        due = min((time for time in times if time is not None), default=None)
        if due is None or (self._armed_at is not None and self._armed_at <= due):
            return []
        self._armed_at = due
        return [Wake(due)]
