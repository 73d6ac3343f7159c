"""Plays a trace again: the real sessions, presence and lights, on its own time."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, assert_never

import msgspec
from twisted.internet.task import Clock

from voicestatus.core.errors import ProtocolError, VoiceStatusError
from voicestatus.core.guild import Knowledge, Tally
from voicestatus.core.ids import GuildId
from voicestatus.core.lights import EVERYTHING, Light, RuleText
from voicestatus.core.matching import Counting
from voicestatus.core.presence import (
    Change,
    Event,
    GuildChanged,
    GuildGone,
    Presence,
    Restored,
    SourceHeard,
    VoiceChanged,
)
from voicestatus.core.session import SessionState
from voicestatus.discord.gateway import wire
from voicestatus.discord.gateway.session import (
    Cause,
    Deliver,
    Effect,
    Ended,
    Enter,
    GatewaySession,
    Over,
    Phase,
    Send,
    Wake,
)
from voicestatus.hub import Hub
from voicestatus.lights import LightGroups
from voicestatus.trace import lines
from voicestatus.trace.redaction import RESUME_URL, SESSION_ID

EARLY_S: Final = 0.001
"""Times are rounded: a session that is woken so little early is woken in time."""
_HEARTBEAT: Final = 1


class NoTrace(VoiceStatusError):  # noqa: N818 - it says what is wrong
    """What is to be played is no trace, or one of another format."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One entry of the timeline."""

    t: float
    kind: str
    """`link`, `gap`, `heartbeat`, `guild`, `people`, `light`, `fault`, `error` or
    `note`: the last two are about the trace, not about what it tells."""
    facts: Mapping[str, object]


@dataclass(slots=True)
class _Link:
    """One shard's connection."""

    session: GatewaySession | None = None
    ended: Ended | None = None
    seq: int | None = None
    wakes_at: float = 0.0
    said: deque[int] = field(default_factory=deque)
    """Opcodes that the replay sent and the trace has not shown yet."""


@dataclass(slots=True)
class Tallies:
    """What a replay has counted."""

    received: int = 0
    unused: int = 0
    faults: int = 0
    gaps: int = 0
    missed_heartbeats: int = 0
    errors: int = 0


class Replay:
    """Takes the lines of a trace one by one and tells what follows from them."""

    def __init__(
        self,
        header: lines.Header,
        tell: Callable[[Moment], object],
        rule: RuleText | None = None,
    ) -> None:
        """`rule` is one besides that of a sign that has none; it names other ids."""
        self.tallies = Tallies()
        self._header, self._tell_moment = header, tell
        self._clock = Clock()
        self.now = 0.0
        """As the trace has it: a sum of steps would not be exact."""
        self._presence = Presence(header.guilds, header.shards)
        self._hub = Hub(self._presence)
        self._lights = LightGroups(
            self._hub,
            self._clock,
            lambda: header.started + self._clock.seconds(),
            Counting(header.count_bots, header.count_afk),
            off_after_s=header.unknown_after_s,
            hold=header.unknown_policy == "hold",
        )
        self._links: dict[int, _Link] = {}
        self._line = 1
        self._told_guilds: dict[GuildId, tuple[Knowledge, Tally]] = {}
        self._hub.subscribe(self._changed)
        self._lights.startService()
        self._lights.follow(EVERYTHING, lambda light: self._shows("default", light))
        if rule is not None:
            self._lights.follow(rule, lambda light: self._shows("rule", light))

    @property
    def light(self) -> Light:
        """That of a sign without a rule."""
        return self._lights.everything

    def feed(self, number: int, moment: lines.Moment) -> None:
        """Take one line, the `number`th of the file."""
        self._line = number
        if moment.t < self.now:
            self.error("goes back in time")
        self.reach(moment.t)
        if moment.shard < self._header.shards:
            self._play(self._links.setdefault(moment.shard, _Link()), moment)
        else:
            self.error("names a shard that there is not", shard=moment.shard)

    def reach(self, t: float) -> None:
        """Let time pass until then, and happen what is due."""
        clock = self._clock
        while (left := t - clock.seconds()) > 0:
            due = (call.getTime() - clock.seconds() for call in clock.getDelayedCalls())
            clock.advance(max(0.0, min([left, *due])))
        self.now = max(self.now, t)

    def stop(self) -> None:
        self._lights.stopService()

    def note(self, said: str) -> None:
        """Add a word on the trace itself."""
        self._tell("note", said=said)

    def error(self, said: str, **facts: object) -> None:
        """Add what is wrong with the line that is being played."""
        self.tallies.errors += 1
        self._tell("error", line=self._line, said=said, **facts)

    def unreadable(self, number: int, text: bytes, why: Exception | None) -> None:
        """Take a line that is none; the last one may have been cut off by a crash."""
        self._line = number
        if not text.endswith(b"\n"):
            self.note(f"line {number} is cut off: the recording ended there")
        elif why is None:
            self.error("is a second header")
        else:
            self.error("is no line of a trace", why=str(why))

    # ---- lines ---------------------------------------------------------------------

    def _play(self, link: _Link, moment: lines.Moment) -> None:
        match moment:
            case lines.Picture(restored=restored):
                self._recall(restored)
            case lines.Open():
                self._open(link, moment)
            case _ if link.session is None:
                self.error("has no connection before it", shard=moment.shard)
            case lines.Receive(message=message):
                self._receive(link, link.session, bytes(message))
            case lines.Wake():
                at = link.wakes_at
                early = self.now < at <= self.now + EARLY_S
                self._perform(
                    link, link.session, link.session.wake(at if early else self.now)
                )
            case lines.Send(op=op):
                self._compare(link, op)
            case lines.Close():
                self._close(link, link.session, moment)
            case _:
                assert_never(moment)

    def _recall(self, restored: Restored) -> None:
        if restored.count == self._header.shards:
            self._deliver(restored)
        else:
            self.error("has another number of shards", count=restored.count)

    def _open(self, link: _Link, opened: lines.Open) -> None:
        if link.session is not None and link.ended is None:
            self.error("opens a connection beside another", shard=opened.shard)
        login = wire.Login(
            "", self._header.intents, (opened.shard, self._header.shards)
        )
        state = None
        if opened.seq is not None:
            state = SessionState(SESSION_ID, opened.seq, RESUME_URL, opened.syncing)
        link.session = session = GatewaySession(login, state, opened.jitter)
        link.ended, link.seq, link.wakes_at = None, opened.seq, 0.0
        link.said.clear()
        how = {} if opened.seq is None else {"resumesAt": opened.seq}
        self._tell("link", shard=opened.shard, state="open", **how)
        self._perform(link, session, session.start(self.now))

    def _receive(self, link: _Link, session: GatewaySession, text: bytes) -> None:
        if link.ended is not None:
            self.error("is heard after the end", shard=session.shard[0])
            return
        self.tallies.received += 1
        try:
            message = wire.decode(text, session.shard[0])
        except ProtocolError as e:
            self._fault(session, "message", str(e))
            self._perform(link, session, session.unreadable(self.now))
            return
        if type(message) is wire.Dispatch:
            self._look_at(link, session, message)
        self._perform(link, session, session.receive(message, self.now))

    def _look_at(
        self, link: _Link, session: GatewaySession, dispatch: wire.Dispatch
    ) -> None:
        if dispatch.fault is not None:
            self._fault(session, dispatch.name, dispatch.fault)
        elif dispatch.body is None:
            self.tallies.unused += 1
        seq, before = dispatch.seq, link.seq
        if seq is None:
            return
        if isinstance(dispatch.body, wire.Ready):
            link.seq = seq
            return
        if before is not None and seq > before + 1:
            self.tallies.gaps += 1
            self._tell("gap", shard=session.shard[0], after=before, came=seq)
        link.seq = seq if before is None else max(before, seq)

    def _fault(self, session: GatewaySession, what: str, why: str) -> None:
        self.tallies.faults += 1
        shard = session.shard[0]
        self._tell("fault", line=self._line, shard=shard, what=what, why=why)

    def _compare(self, link: _Link, op: int) -> None:
        while link.said:
            if link.said.popleft() == op:
                return
        self.error("was sent then, and is not now", op=op)

    def _close(self, link: _Link, session: GatewaySession, closed: lines.Close) -> None:
        if link.ended is None:
            match closed.cause:
                case Cause.STOPPED.value:
                    effects = session.stop(self.now)
                case Cause.UNREADABLE.value:  # the compression was
                    effects = session.unreadable(self.now)
                case Cause.CLOSED.value:
                    effects = session.closed(closed.code, self.now)
                case _:  # lost, or ended by a decision that is not taken now
                    effects = session.closed(None, self.now)
            self._perform(link, session, effects)
        ended = link.ended.cause.value if link.ended is not None else None
        if ended != closed.cause:
            self.error("ended otherwise then", then=closed.cause, now=ended)

    # ---- what follows --------------------------------------------------------------

    def _perform(
        self, link: _Link, session: GatewaySession, effects: Iterable[Effect]
    ) -> None:
        for effect in effects:
            match effect:
                case Deliver(event):
                    self._deliver(event)
                case Enter(phase):
                    self._entered(session, phase)
                case Send(payload):
                    link.said.append(msgspec.json.decode(payload)["op"])
                case Wake(at):
                    link.wakes_at = at
                case Over(ended):
                    link.ended = ended
                    self._over(session, ended)
                case _:
                    pass

    def _deliver(self, event: Event) -> None:
        try:
            self._hub.apply(event)
        except Exception as e:  # noqa: BLE001 - as the link does: one event is given up
            self.error("cannot be applied", why=type(e).__name__)

    def _entered(self, session: GatewaySession, phase: Phase) -> None:
        self._tell("link", shard=session.shard[0], state=phase.value)

    def _over(self, session: GatewaySession, ended: Ended) -> None:
        shard = session.shard[0]
        if ended.cause is Cause.ZOMBIE:
            self.tallies.missed_heartbeats += 1
            self._tell("heartbeat", shard=shard, state="not acknowledged")
        code = {} if ended.code is None else {"code": ended.code}
        kept = {} if ended.state is None else {"resumableAt": ended.state.seq}
        cause = ended.cause.value
        self._tell("link", shard=shard, state="over", cause=cause, **code, **kept)

    def _changed(self, change: Change) -> None:
        match change:
            case GuildChanged(id_) | VoiceChanged(id_):
                self._look_at_guild(id_)
            case GuildGone(id_):
                self._told_guilds.pop(id_, None)
                self._tell("guild", guild=str(id_), state="gone")
            case SourceHeard():
                self._tell("link", state="guilds named")
            case _:
                assert_never(change)

    def _look_at_guild(self, id_: GuildId) -> None:
        guild = self._presence.guilds.get(id_)
        if guild is None:  # it is gone, and with it everybody in it
            return
        before = self._told_guilds.get(id_)
        now = self._told_guilds[id_] = guild.knowledge, guild.total
        if before is None or before[0] is not now[0]:
            self._tell("guild", guild=str(id_), state=guild.knowledge.value)
        if (Tally() if before is None else before[1]) != guild.total:
            people, bots = guild.total.people, guild.total.bots
            self._tell("people", guild=str(id_), people=people, bots=bots)

    def _shows(self, which: str, light: Light) -> None:
        if not light.known:
            self._tell("light", which=which, state="unknown")
            return
        state = "on" if light.on else "off"
        facts = {"count": light.count, "stale": light.stale}
        self._tell("light", which=which, state=state, **facts)

    def _tell(self, kind: str, **facts: object) -> None:
        self._tell_moment(Moment(round(self._clock.seconds(), 6), kind, facts))


def play(
    trace: Iterable[bytes],
    tell: Callable[[Moment], object],
    *,
    rule: RuleText | None = None,
    until_s: float | None = None,
) -> Replay:
    """Play a whole trace, given line by line with its line ends; return how it ended.

    :raises NoTrace: when its first line says so.
    """
    numbered = enumerate(trace, 1)
    replay = Replay(_header(next(numbered, (1, b""))[1]), tell, rule)
    for number, text in numbered:
        try:
            line = lines.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError) as e:
            replay.unreadable(number, text, e)
            continue
        if isinstance(line, lines.Header):
            replay.unreadable(number, text, None)
            continue
        if until_s is not None and line.t > until_s:
            replay.reach(until_s)
            break
        replay.feed(number, line)
    replay.stop()
    return replay


def _header(text: bytes) -> lines.Header:
    try:
        header = lines.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as e:
        raise NoTrace("no trace: the first line is no header") from e
    if not isinstance(header, lines.Header):
        raise NoTrace("no trace: the first line is no header")
    if header.format != lines.FORMAT:
        raise NoTrace(f"a trace of format {header.format}; this is {lines.FORMAT}")
    return header
