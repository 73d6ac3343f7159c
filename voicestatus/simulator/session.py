"""One gateway connection's side of the talk, without I/O. Pure.

Source: Discord docs, Gateway, "Connections", and Opcodes and Status Codes.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from voicestatus.simulator import answers, intents
from voicestatus.simulator.answers import snowflake
from voicestatus.simulator.log import ClientLog
from voicestatus.simulator.payloads import Json, encode
from voicestatus.simulator.sessions import Refusal, Session, Sessions
from voicestatus.simulator.world import Dispatch, RefusedError, Voice, World

HEARTBEAT, IDENTIFY, RESUME = 1, 2, 6
RECONNECT, INVALID_SESSION, HELLO, ACK = 7, 9, 10, 11
COMMANDS = frozenset({2, 3, 4, 6, 8, 31, 43})
"""What a client may say besides heartbeats.

Source: Discord docs, Opcodes and Status Codes.
"""

MAX_PAYLOAD_BYTES = 4096
MAX_MESSAGES, MESSAGES_WINDOW_S = 120, 60.0
MISSED_BEATS = 1.5
"""After so many intervals without a heartbeat the session times out (4009)."""

ENDS_SESSION = frozenset({4003, 4004, 4005, 4007, 4009, *range(4010, 4015)})
"""Close codes after which a resume is refused."""


@dataclass(frozen=True, slots=True)
class Send:
    """One whole message, JSON."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The end of the connection."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Wake:
    """Call `tick` after so long."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Publish:
    """Tell every session."""

    dispatches: list[Dispatch]


@dataclass(frozen=True, slots=True)
class Supplant:
    """Close that other connection: its session is served here from now on."""

    connection: "Connection"


Effect = Send | Close | Wake | Publish | Supplant


def message(op: int, data: object) -> bytes:
    """Make one message that is no dispatch."""
    return encode({"t": None, "s": None, "op": op, "d": data})


class Connection:
    """One WebSocket's side of the talk: what clients say in, effects out."""

    def __init__(
        self,
        number: int,
        world: World,
        sessions: Sessions,
        log: ClientLog,
        resume_url: str,
    ) -> None:
        self.number = number
        self.session: Session | None = None
        self.acknowledges = True
        self._world, self._sessions, self._log = world, sessions, log
        self._rules = sessions.rules
        self._resume_url = resume_url
        self._over = False
        self._invalidated = False
        self._closing: Close | None = None
        self._beat_at = 0.0
        self._said_at: deque[float] = deque(maxlen=MAX_MESSAGES)

    @property
    def shard(self) -> int | None:
        """Whose it is, once it has a session."""
        return None if self.session is None else self.session.shard[0]

    # -- what happens to it ------------------------------------------------------

    def open(self, query: Mapping[str, str], now: float) -> list[Effect]:
        """The WebSocket stands; `query` is that of its address."""
        self._note(now, "connect", query=dict(query))
        if query.get("v", "10") not in {"9", "10"}:
            return self._close(4012, "Invalid API version", now)
        if query.get("encoding", "json") != "json":
            return self._close(4002, "Only JSON is spoken here", now)
        return []

    def hello(self, now: float) -> list[Effect]:
        """Begin the talk."""
        if self._over:
            return []
        self._beat_at = now
        interval_s = self._rules.heartbeat_interval_s
        told = {"heartbeat_interval": round(interval_s * 1000), "_trace": ["simulator"]}
        return [Send(message(HELLO, told)), Wake(interval_s * MISSED_BEATS)]

    def tick(self, now: float) -> list[Effect]:
        """Look whether heartbeats still come."""
        limit_s = self._rules.heartbeat_interval_s * MISSED_BEATS
        if self._over:
            return []
        if now - self._beat_at >= limit_s:
            return self._close(4009, "Session timed out: no heartbeat", now)
        return [Wake(self._beat_at + limit_s - now)]

    def receive(self, payload: bytes, now: float) -> list[Effect]:
        """The client said something."""
        if self._over:
            return []
        if len(payload) > MAX_PAYLOAD_BYTES:
            return self._close(4002, "Payload too large", now)
        full = len(self._said_at) == MAX_MESSAGES
        if full and now - self._said_at[0] < MESSAGES_WINDOW_S:
            return self._close(4008, "Rate limited", now)
        self._said_at.append(now)
        try:
            said = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._close(4002, "Error while decoding payload", now)
        op = said.get("op") if isinstance(said, dict) else None
        if not isinstance(op, int):
            return self._close(4002, "No opcode", now)
        return self._obey(op, said.get("d"), now)

    def lost(self, code: int | None, now: float) -> None:
        """The connection is gone; `code` is the client's close code, if it had one."""
        self._over = True
        if self._closing is not None:
            told: Json = {"code": self._closing.code, "reason": self._closing.reason}
            self._note(now, "close", by="server", **told)
        else:
            self._note(now, "close", by="client" if code else "lost", code=code)
        session = self._detach(now)
        if session is not None and self._closing is None and code in {1000, 1001}:
            self._sessions.end(session)

    # -- what is done to it ------------------------------------------------------

    def shut(self, code: int, reason: str, now: float) -> list[Effect]:
        """Close it for a reason of the server's own."""
        return [] if self._over else self._close(code, reason, now)

    def ask_to_reconnect(self) -> list[Effect]:
        """Op 7."""
        return [] if self._over else [Send(message(RECONNECT, None))]

    def invalidate(self, *, resumable: bool, now: float) -> list[Effect]:
        """Op 9: whatever the client says after it closes the connection."""
        if self._over:
            return []
        session = self._detach(now)
        if session is not None and not resumable:
            self._sessions.end(session)
        self._invalidated = True
        self._note(now, "invalid_session", resumable=resumable)
        return [Send(message(INVALID_SESSION, resumable))]

    # -- what it says ------------------------------------------------------------

    def _obey(self, op: int, data: Any, now: float) -> list[Effect]:
        if self._invalidated:
            return self._close(4003, "Session no longer valid", now)
        if op == HEARTBEAT:
            return self._heartbeat(data, now)
        if op not in COMMANDS:
            return self._close(4001, "Unknown opcode", now)
        if not isinstance(data, dict):
            return self._close(4002, "Error while decoding payload", now)
        if op in {IDENTIFY, RESUME}:
            if self.session is not None:
                return self._close(4005, "Already authenticated", now)
            if not self._rules.knows(data.get("token")):
                self._note(now, "identify" if op == IDENTIFY else "resume", ok=False)
                return self._close(4004, "Authentication failed", now)
            return (self._identify if op == IDENTIFY else self._resume)(data, now)
        if self.session is None:
            return self._close(4003, "Not authenticated", now)
        try:
            return self._command(op, self.session, data, now)
        except ValueError:  # an id that is none
            return self._close(4002, "Error while decoding payload", now)

    def _command(
        self, op: int, session: Session, data: Json, now: float
    ) -> list[Effect]:
        match op:
            case 4:
                return self._voice_state(data, now)
            case 8:
                self._note(now, "request_members", guild=str(data.get("guild_id")))
                told = answers.members(self._world, session, data, now)
            case 31:
                self._note(now, "request_sounds")
                told = answers.sounds(self._world, session, data)
            case 43:
                self._note(now, "request_channel_info", guild=str(data.get("guild_id")))
                told = answers.channel_info(self._world, session, data)
            case _:  # 3: a presence changes nothing here
                self._note(now, "presence", status=data.get("status"))
                told = []
        return [Send(payload) for payload in told]

    def _heartbeat(self, data: Any, now: float) -> list[Effect]:
        self._beat_at = now
        self._note(now, "heartbeat", d=data if isinstance(data, int) else None)
        return [Send(message(ACK, None))] if self.acknowledges else []

    def _identify(self, data: Json, now: float) -> list[Effect]:
        asked, shard = data.get("intents"), data.get("shard", [0, 1])
        browser = data.get("properties")
        self._note(
            now,
            "identify",
            ok=True,
            intents=asked,
            shard=shard,
            browser=browser.get("browser") if isinstance(browser, dict) else None,
        )
        match shard:
            case [int(number), int(count)] if 0 <= number < count:
                pass
            case _:
                return self._close(4010, "Invalid shard", now)
        if len(self._world.guilds) > count * self._rules.guilds_a_shard:
            return self._close(4011, "Sharding required", now)
        if not isinstance(asked, int) or asked & ~intents.ALL or asked < 0:
            return self._close(4013, "Invalid intents", now)
        if asked & self._rules.disallowed_intents:
            return self._close(4014, "Disallowed intents", now)
        session = self._sessions.begin(asked, (number, count), now)
        if session is Refusal.TOO_SOON:
            return self.invalidate(resumable=False, now=now)
        if session is Refusal.TOO_MANY:
            return self._close(4004, "Too many sessions; the token was reset", now)
        self.session, session.holder = session, self
        return [Send(payload) for payload in self._first_words(session)]

    def _first_words(self, session: Session) -> Iterator[bytes]:
        """READY, then each guild whole, or that it is in outage."""
        world = self._world
        guilds = [g for g in world.guilds.values() if session.covers(g.id)]
        ready = {
            "v": 10,
            "user": world.bot.own_payload(),
            "session_type": "normal",
            "session_id": session.id,
            "resume_gateway_url": self._resume_url,
            "shard": session.shard,
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "application": {
                "id": str(world.bot.id),
                "flags": self._rules.application_flags,
            },
            "user_settings": {},
            "relationships": [],
            "private_channels": [],
            "presences": [],
            "guild_join_requests": [],
            "geo_ordered_rtc_regions": [],
            "_trace": ["simulator"],
        }
        yield session.tell("READY", encode(ready))
        for guild in guilds:
            first = (
                Dispatch("GUILD_DELETE", guild.id, world.guild_unavailable(guild))
                if guild.unavailable
                else Dispatch("GUILD_CREATE", guild.id, world.guild_create(guild))
            )
            payload = session.take(first)
            if payload is not None:
                yield payload

    def _resume(self, data: Json, now: float) -> list[Effect]:
        session, seq = self._sessions.find(data.get("session_id"), now), data.get("seq")
        self._note(
            now, "resume", ok=session is not None, session=data.get("session_id"), d=seq
        )
        if session is None:
            return self.invalidate(resumable=False, now=now)
        if not isinstance(seq, int):
            return self._close(4002, "Error while decoding payload", now)
        if not 0 <= seq <= session.seq:
            self._sessions.end(session)
            return self._close(4007, "Invalid seq", now)
        missed = session.missed(seq)
        if missed is None:
            self._sessions.end(session)
            return self.invalidate(resumable=False, now=now)
        before = session.holder
        if before is not None:
            before.session = None
        self.session, session.holder = session, self
        self._note(now, "resumed", session=session.id, replayed=len(missed))
        resumed = session.tell("RESUMED", b'{"_trace":["simulator"]}', keep=False)
        return [
            *([] if before is None else [Supplant(before)]),
            *(Send(payload) for payload in missed),
            Send(resumed),
        ]

    def _voice_state(self, data: Json, now: float) -> list[Effect]:
        """Move the bot; what cannot be done is not answered.

        Source: Discord docs, Gateway Events, "Update Voice State".
        """
        guild, channel = snowflake(data.get("guild_id")), data.get("channel_id")
        self._note(now, "voice_state", guild=str(guild), channel=channel)
        how = Voice(
            self_mute=bool(data.get("self_mute")), self_deaf=bool(data.get("self_deaf"))
        )
        try:
            bot = self._world.bot.id
            return [
                Publish(
                    self._world.leave(guild, bot)
                    if channel is None
                    else self._world.join(guild, bot, snowflake(channel), how)
                )
            ]
        except RefusedError:
            return []

    # -- inside ------------------------------------------------------------------

    def _detach(self, now: float) -> Session | None:
        session, self.session = self.session, None
        if session is not None:
            session.holder, session.lost_at = None, now
        return session

    def _close(self, code: int, reason: str, now: float) -> list[Effect]:
        self._over = True
        self._closing = Close(code, reason)
        session = self._detach(now)
        if session is not None and code in ENDS_SESSION:
            self._sessions.end(session)
        return [self._closing]

    def _note(self, now: float, kind: str, **fields: object) -> None:
        self._log.add(now, kind, connection=self.number, **fields)
