"""Gateway sessions: what outlives a connection, and who may begin one. Pure.

Source: Discord docs, Gateway, "Connections".
"""

import hmac
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from voicestatus.simulator import intents
from voicestatus.simulator.payloads import Json
from voicestatus.simulator.world import Dispatch

if TYPE_CHECKING:
    from voicestatus.simulator.session import Connection

STARTS_WINDOW_S = 86_400.0


class Refusal(Enum):
    """Why a session does not begin."""

    TOO_SOON = auto()
    TOO_MANY = auto()


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
    shards: int = 1
    """Recommended."""
    guilds_a_shard: int = 2500
    """At most; who has more must have more shards."""
    disallowed_intents: int = 0
    global_limit: int = 50
    """REST calls of one caller in a second."""
    invalid_limit: int = 10_000
    """Answers of 401, 403 or 429 in 10 minutes; then the IP is banned."""
    client_secret: str | None = None
    """None: any secret of the application is taken."""

    def recommended_shards(self, guilds: int) -> int:
        """How many shards a bot in so many guilds should have."""
        return max(self.shards, -(-guilds // self.guilds_a_shard))

    @property
    def application_flags(self) -> int:
        """What the bot's application tells of the intents that it may use."""
        return sum(
            flag
            for intent, flag in intents.APPLICATION_FLAGS.items()
            if not intent & self.disallowed_intents
        )

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
        self.members_asked_at: dict[int, float] = {}
        """When all members of a guild were asked for last."""
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

    def forget(self, shard: int | None = None) -> None:
        """Lose all that is kept: nothing that began before now can be resumed.

        Who is connected stays served, so that no client is left deaf without a word.
        """
        for session in tuple(self._sessions.values()):
            if shard not in {None, session.shard[0]}:
                continue
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
    ) -> Session | Refusal:
        """Begin a session, unless one of that shard's key has just begun.

        Source: Discord docs, Gateway, "Session Start Limit" and "Rate Limiting";
        over the limit Discord ends all sessions and resets the token.
        """
        self._renew_starts(now)
        if self._started >= self.rules.session_starts:
            self._sessions.clear()
            return Refusal.TOO_MANY
        key = shard[0] % self.rules.max_concurrency
        last = self._identified_at.get(key)
        if last is not None and now - last < self.rules.identify_every_s:
            return Refusal.TOO_SOON
        self._identified_at[key] = now
        self._started += 1
        self._started_at = now if self._started_at is None else self._started_at
        session = Session(self._new_id(), asked, shard, self.rules.replay_limit)
        self._sessions[session.id] = session
        return session

    def _renew_starts(self, now: float) -> None:
        if self._started_at is not None and now - self._started_at >= STARTS_WINDOW_S:
            self._started, self._started_at = 0, None
