"""Gateway sessions, and one connection's side of the talk. Pure.

A session outlives its connections: it keeps what it told for the next one to resume.
Source: Discord docs, Gateway, "Connections", and Opcodes and Status Codes.
"""

import hmac
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from voicestatus.simulator import intents
from voicestatus.simulator.log import ClientLog
from voicestatus.simulator.payloads import VOICE_LIKE, Json, encode
from voicestatus.simulator.world import Dispatch, Refused, Voice, World

HEARTBEAT, IDENTIFY, RESUME, RECONNECT, INVALID_SESSION, HELLO, ACK = 1, 2, 6, 7, 9, 10, 11
COMMANDS = frozenset({2, 3, 4, 6, 8, 31, 43})
"""What a client may say besides heartbeats.

Source: Discord docs, Opcodes and Status Codes.
"""

MAX_PAYLOAD_BYTES = 4096
MAX_MESSAGES, MESSAGES_WINDOW_S = 120, 60.0
MISSED_BEATS = 1.5
"""After so many intervals without a heartbeat the session times out (4009)."""
MEMBERS_AGAIN_S = 30.0
CHUNK = 1000
STARTS_WINDOW_S = 86_400.0

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


@dataclass(frozen=True, slots=True)
class Rules:
    """What this Discord insists on."""

    token: str | None = None
    """None: any token is taken."""
    heartbeat_interval_s: float = 41.25
    resume_window_s: float = 120.0
    replay_limit: int = 5000
    identify_every_s: float = 5.0
    session_starts: int = 1000
    max_concurrency: int = 1
    disallowed_intents: int = 0

    def knows(self, token: object) -> bool:
        """Whether that is the bot's token."""
        if not isinstance(token, str):
            return False
        if self.token is None:
            return bool(token)
        return hmac.compare_digest(token.encode(), self.token.encode())


class Session:
    """What one Identify began: a numbered stream of dispatches, some of it kept."""

    def __init__(
        self, session_id: str, asked: int, shard: tuple[int, int], replay_limit: int
    ) -> None:
        self.id, self.intents, self.shard = session_id, asked, shard
        self.seq = 0
        self.holder: Connection | None = None
        self.lost_at = 0.0
        """When its last connection went; means something without a holder."""
        self.resumable = True
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=replay_limit)

    def covers(self, guild: int | None) -> bool:
        """Whether that guild falls on this session's shard.

        Source: Discord docs, Gateway, "Sharding".
        """
        shard, count = self.shard
        return shard == (0 if guild is None else (guild >> 22) % count)

    def take(self, dispatch: Dispatch) -> bytes | None:
        """Number and keep one dispatch; None if it is not for this session."""
        needed = intents.NEEDED.get(dispatch.name, 0)
        if needed & ~self.intents or not self.covers(dispatch.guild):
            return None
        body = dispatch.body
        return self.tell(
            dispatch.name, body if isinstance(body, bytes) else body(self.intents)
        )

    def tell(self, name: str, body: bytes, *, keep: bool = True) -> bytes:
        """Number one dispatch for this session alone; keep it for a resume."""
        self.seq += 1
        payload = b'{"t":"%b","s":%d,"op":0,"d":%b}' % (name.encode(), self.seq, body)
        if keep:
            self._kept.append((self.seq, payload))
        return payload

    def missed(self, seq: int) -> list[bytes] | None:
        """What came after `seq`; None when some of it is no longer kept."""
        oldest = self._kept[0][0] if self._kept else self.seq + 1
        if len(self._kept) == self._kept.maxlen and seq + 1 < oldest:
            return None
        return [payload for number, payload in self._kept if number > seq]


class Sessions:
    """All sessions, and who may begin one now."""

    def __init__(self, rules: Rules, new_id: Callable[[], str]) -> None:
        self.rules = rules
        self._new_id = new_id
        self._sessions: dict[str, Session] = {}
        self._identified_at: dict[int, float] = {}
        self._started = 0
        self._started_at: float | None = None

    def alive(self, now: float) -> list[Session]:
        """Those that are connected or may still be resumed, oldest first."""
        for session in tuple(self._sessions.values()):
            lost_for = now - session.lost_at
            if session.holder is None and lost_for > self.rules.resume_window_s:
                del self._sessions[session.id]
        return list(self._sessions.values())

    def find(self, session_id: object, now: float) -> Session | None:
        """The session of that id, if it can be resumed."""
        self.alive(now)
        session = (
            self._sessions.get(session_id) if isinstance(session_id, str) else None
        )
        return session if session is not None and session.resumable else None

    def end(self, session: Session) -> None:
        """It is no more; what it kept is gone."""
        self._sessions.pop(session.id, None)
        session.holder = None

    def forget(self) -> None:
        """Lose all that is kept: nothing that began before now can be resumed.

        Who is connected stays served, so that no client is left deaf without a word.
        """
        for session in tuple(self._sessions.values()):
            session.resumable = False
            if session.holder is None:
                self.end(session)

    def start_limit(self, now: float) -> Json:
        """Tell `session_start_limit` of GET /gateway/bot."""
        self._renew_starts(now)
        began = now if self._started_at is None else self._started_at
        return {
            "total": self.rules.session_starts,
            "remaining": max(0, self.rules.session_starts - self._started),
            "reset_after": round((began + STARTS_WINDOW_S - now) * 1000)
            if self._started
            else 0,
            "max_concurrency": self.rules.max_concurrency,
        }

    def begin(
        self, asked: int, shard: tuple[int, int], now: float
    ) -> Session | Close | None:
        """Begin a session; None when it is too soon for one of that shard's key.

        Source: Discord docs, Gateway, "Session Start Limit" and "Rate Limiting";
        over the limit Discord ends all sessions and resets the token.
        """
        self._renew_starts(now)
        if self._started >= self.rules.session_starts:
            self._sessions.clear()
            return Close(4004, "Session start limit exceeded; token was reset")
        key = shard[0] % self.rules.max_concurrency
        last = self._identified_at.get(key)
        if last is not None and now - last < self.rules.identify_every_s:
            return None
        self._identified_at[key] = now
        self._started += 1
        self._started_at = now if self._started_at is None else self._started_at
        session = Session(self._new_id(), asked, shard, self.rules.replay_limit)
        self._sessions[session.id] = session
        return session

    def _renew_starts(self, now: float) -> None:
        if self._started_at is not None and now - self._started_at >= STARTS_WINDOW_S:
            self._started, self._started_at = 0, None


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
        self._members_at: dict[int, float] = {}

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
                return self._request_members(session, data, now)
            case 31:
                return self._request_sounds(session, data, now)
            case 43:
                return self._request_channel_info(session, data, now)
        self._note(now, "presence", status=data.get("status"))
        return []

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
        if not isinstance(asked, int) or asked & ~intents.ALL or asked < 0:
            return self._close(4013, "Invalid intents", now)
        if asked & self._rules.disallowed_intents:
            return self._close(4014, "Disallowed intents", now)
        session = self._sessions.begin(asked, (number, count), now)
        if session is None:
            return self.invalidate(resumable=False, now=now)
        if isinstance(session, Close):
            return self._close(session.code, session.reason, now)
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
            "application": {"id": str(world.bot.id), "flags": 565_248},
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
        guild, channel = _id(data.get("guild_id")), data.get("channel_id")
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
                    else self._world.join(guild, bot, _id(channel), how)
                )
            ]
        except Refused:
            return []

    def _request_members(
        self, session: Session, data: Json, now: float
    ) -> list[Effect]:
        """Source: Discord docs, Gateway Events, "Request Guild Members"."""
        guild, query, nonce = _id(data.get("guild_id")), data.get("query"), None
        if isinstance(data.get("nonce"), str) and len(str(data["nonce"])) <= 32:
            nonce = data["nonce"]
        limit, wanted = int(str(data.get("limit") or 0)), data.get("user_ids")
        self._note(now, "request_members", guild=str(guild), query=query)
        home = self._world.guilds.get(guild)
        if home is None or home.unavailable or not session.covers(guild):
            return []
        missing: list[str] = []
        if isinstance(query, str):
            everybody = query == "" and limit == 0
            if everybody and not session.intents & intents.GUILD_MEMBERS:
                return []
            last = self._members_at.get(guild)
            if everybody and last is not None and now - last < MEMBERS_AGAIN_S:
                meta = {"guild_id": str(guild)} | ({"nonce": nonce} if nonce else {})
                wait_s = round(last + MEMBERS_AGAIN_S - now, 3)
                told: Json = {"opcode": 8, "retry_after": wait_s, "meta": meta}
                return [Send(session.tell("RATE_LIMITED", encode(told)))]
            if everybody:
                self._members_at[guild] = now
            found = [
                member
                for member in home.members.values()
                if member.user.name.startswith(query.lower())
            ][: None if everybody else min(limit or 100, 100)]
        else:
            ids = wanted if isinstance(wanted, list) else [wanted]
            asked = [_id(one) for one in ids[:100]]
            found = [home.members[user] for user in asked if user in home.members]
            missing = [str(user) for user in asked if user not in home.members]
        parts = [found[n : n + CHUNK] for n in range(0, len(found), CHUNK)] or [[]]
        effects: list[Effect] = []
        for index, part in enumerate(parts):
            chunk: Json = {
                "guild_id": str(guild),
                "members": [member.encoded() for member in part],
                "chunk_index": index,
                "chunk_count": len(parts),
                "not_found": missing,
            }
            if nonce is not None:
                chunk["nonce"] = nonce
            effects.append(Send(session.tell("GUILD_MEMBERS_CHUNK", encode(chunk))))
        return effects

    def _request_sounds(
        self, session: Session, data: Json, now: float
    ) -> list[Effect]:
        """Source: Discord docs, Gateway Events, "Request Soundboard Sounds"."""
        ids = data.get("guild_ids")
        asked = [_id(one) for one in ids] if isinstance(ids, list) else []
        self._note(now, "request_sounds", guilds=[str(guild) for guild in asked])
        return [
            Send(
                session.tell(
                    "SOUNDBOARD_SOUNDS",
                    encode({"guild_id": str(guild), "soundboard_sounds": []}),
                )
            )
            for guild in asked
            if guild in self._world.guilds and session.covers(guild)
        ]

    def _request_channel_info(
        self, session: Session, data: Json, now: float
    ) -> list[Effect]:
        """Answer with every voice channel; nobody here sets a status or a start.

        Source: Discord docs, Gateway Events, "Request Channel Info".
        """
        guild, fields = _id(data.get("guild_id")), data.get("fields")
        self._note(now, "request_channel_info", guild=str(guild))
        home = self._world.guilds.get(guild)
        if home is None or not isinstance(fields, list) or not session.covers(guild):
            return []
        told = {
            "guild_id": str(guild),
            "channels": [
                {"id": str(channel.id)}
                | {
                    name: None
                    for name in ("status", "voice_start_time")
                    if name in fields
                }
                for channel in home.channels.values()
                if channel.type in VOICE_LIKE
            ],
        }
        return [Send(session.tell("CHANNEL_INFO", encode(told)))]

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


def _id(text: object) -> int:
    """:raises ValueError: when it is no snowflake."""
    return int(str(text))

