"""The devices: who they are, what they said of themselves, what they may. Pure."""

import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import sha256

from voicestatus.core.lights import RuleText


class Enrolment(Enum):
    """What happens to an unknown device that knows the shared token."""

    OPEN = "open"
    """It gets a token of its own."""
    APPROVE = "approve"
    """It is listed, and gets its token when an admin approves of it."""
    CLOSED = "closed"
    """It stays a stranger with the shared token."""


@dataclass(frozen=True, slots=True)
class Token:
    """A device's own token, as much as is kept of it. Times in Unix seconds.

    It is good until `ends_at`, or for ever.
    """

    digest: str
    """SHA-256 in hexadecimal digits; the token itself is 256 random bits."""
    issued_at: float
    first_used_at: float | None = None
    ends_at: float | None = None
    provisional: bool = False
    """Given to who knew no more than the shared token and an id: it ends, unused, with
    the first use of any other."""

    @property
    def spare(self) -> bool:
        """Whether it may be somebody else's, who waits for his time to come."""
        return self.provisional and self.first_used_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """What a device of version 1 said of its firmware when it last asked for one.

    Such a device has no other way to speak of itself: it has to be sent to ask.
    """

    asked_at: float
    """Unix seconds."""
    md5: str = ""
    size_bytes: int | None = None
    free_bytes: int | None = None
    """The largest image that it can take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is stored of a device: what it is, and what an admin said of it."""

    id: str
    name: str = ""
    tags: tuple[str, ...] = ()
    rule: RuleText | None = None
    approved: bool = True
    revoked: bool = False
    chip: str = ""
    board: str = ""
    fw: str = ""
    build: int | None = None
    caps: tuple[str, ...] = ()
    sketch: Sketch | None = None
    """None: it speaks for itself, or was never asked."""
    first_seen_at: float | None = None
    last_seen_at: float | None = None
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What a device reports or shows while it is here; never stored."""

    protocol: int = 1
    boot: str = ""
    address: str | None = None
    path: str = ""
    """What it dialled, with `guild` and `channel` but nothing else of its query."""
    connected_at: float | None = None
    """None: it is away."""
    reconnects: int = 0
    """How often it came back since the server started."""
    rtt_ms: int | None = None
    """How long its last pong took."""
    rssi_dbm: int | None = None
    heap_free_b: int | None = None
    uptime_s: int | None = None
    reported_at: float | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """One device as the admin side sees it.

    `enrolled` is false for a connection that has shown the shared token alone: its id
    (`conn-…`) lasts as long as the connection, and nothing of it is stored.
    """

    record: Record
    vitals: Vitals
    enrolled: bool = True

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def connected(self) -> bool:
        return self.vitals.connected_at is not None


# ---- tokens ------------------------------------------------------------------------

PREFIX = "vsd_"
"""What every device's own token begins with; 43 characters of base64 follow."""
TICKET = "vst_"
"""What a one-use token begins with, with which a device enrols."""
ROTATION_WINDOW_S = 600.0
"""How long the older tokens are good once a newer one was used."""
MAX_TOKENS = 4

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
STRANGER = "conn-"
"""What the id of a connection begins with that is nobody's known device."""


def is_id(text: str) -> bool:
    """Whether a device may have this id."""
    return bool(_ID.fullmatch(text)) and not text.startswith(STRANGER)


def is_own(token: bytes) -> bool:
    """Whether this is a device's own token, by its looks."""
    return token.startswith(PREFIX.encode())


def is_ticket(token: bytes) -> bool:
    """Whether this is a one-use token, by its looks."""
    return token.startswith(TICKET.encode())


def digest_of(token: bytes) -> str:
    """Return what is kept of a token."""
    return sha256(token).hexdigest()


def issue(
    record: Record, digest: str, now: float, *, provisional: bool = False
) -> Record:
    """Add a token. Of too many the oldest goes, but never the one in use.

    A provisional one takes the place of another, if there is one, so that who knows
    the shared token cannot push out what an admin has made.
    """
    tokens = _good(record.tokens, now)
    if len(tokens) >= MAX_TOKENS:
        in_use = _newest_used(tokens)
        idle = [token for token in tokens if token is not in_use]
        gone = next((token for token in idle if provisional and token.spare), idle[0])
        tokens = tuple(token for token in tokens if token is not gone)
    new = Token(digest, now, provisional=provisional)
    return replace(record, tokens=(*tokens, new))


def use(record: Record, digest: str, now: float) -> Record:
    """Take it that a token was shown; the first time, the older ones begin to end.

    Of those that were got by the shared token all others end at once: somebody else
    may have got them, who would use one when the device has long forgotten it.
    """
    at = _index(record, digest)
    token = record.tokens[at]
    if token.first_used_at is not None:
        return record
    end = now + ROTATION_WINDOW_S
    older = (
        replace(old, ends_at=end) if old.ends_at is None else old
        for old in record.tokens[:at]
    )
    used = replace(token, first_used_at=now)
    tokens = _good((*older, used, *record.tokens[at + 1 :]), now)
    return replace(record, tokens=tuple(one for one in tokens if not one.spare))


def wants_newer(record: Record, digest: str) -> bool:
    """Whether a device that shows this token has missed a newer one."""
    newer = record.tokens[_index(record, digest) + 1 :]
    return any(token.first_used_at is None for token in newer)


def is_used(record: Record, since: float = 0.0) -> bool:
    """Whether the device has shown a token of its own for the first time since then."""
    newest = _newest_used(record.tokens)
    return newest is not None and (newest.first_used_at or 0.0) >= since


def _good(tokens: Iterable[Token], now: float) -> tuple[Token, ...]:
    return tuple(token for token in tokens if _is_good(token, now))


def _is_good(token: Token, now: float) -> bool:
    return token.ends_at is None or now < token.ends_at


def _newest_used(tokens: Sequence[Token]) -> Token | None:
    used = (token for token in reversed(tokens) if token.first_used_at is not None)
    return next(used, None)


def _index(record: Record, digest: str) -> int:
    return next(
        at
        for at, token in enumerate(record.tokens)
        if hmac.compare_digest(token.digest, digest)
    )


# ---- enrolment ---------------------------------------------------------------------


class Standing(Enum):
    """What a device is told that knows the shared token and says who it is."""

    ENROLS = "enrolled"
    """It gets a token of its own."""
    WAITS = "waiting"
    """It is listed until an admin approves of it."""
    STRANGER = "stranger"
    """Nothing is kept of it: enrolment is closed, or the table is full."""
    USED = "already_enrolled"
    """That device has a token and has used it: this is somebody else, or it forgot."""
    REVOKED = "revoked"


def standing(record: Record | None, enrolment: Enrolment) -> Standing:
    """Judge a hello after the shared token by what is known of its id."""
    if record is None:
        return _OF_UNKNOWN[enrolment]
    if record.revoked:
        return Standing.REVOKED
    if is_used(record):
        return Standing.USED
    return Standing.ENROLS if record.approved else Standing.WAITS


_OF_UNKNOWN = {
    Enrolment.OPEN: Standing.ENROLS,
    Enrolment.APPROVE: Standing.WAITS,
    Enrolment.CLOSED: Standing.STRANGER,
}


class Fleet:
    """The table of devices: who has which id, and whose a token is."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._by_digest: dict[str, str] = {}

    def get(self, id_: str) -> Record | None:
        return self._records.get(id_)

    def put(self, record: Record) -> None:
        """Take a new record, or one in place of another."""
        before = self._records.get(record.id)
        self._records[record.id] = record
        if before is None or before.tokens is not record.tokens:
            self._forget_tokens(before)
            for token in record.tokens:
                self._by_digest[token.digest] = record.id

    def remove(self, id_: str) -> None:
        self._forget_tokens(self._records.pop(id_, None))

    def bearer(self, digest: str, now: float) -> Record | None:
        """Return whose token this is; None: nobody's that may come in."""
        record = self._records.get(self._by_digest.get(digest, ""))
        if record is None or record.revoked:
            return None
        token = record.tokens[_index(record, digest)]
        return record if _is_good(token, now) else None

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        """Go through them by id."""
        return iter([self._records[id_] for id_ in sorted(self._records)])

    def _forget_tokens(self, record: Record | None) -> None:
        for token in record.tokens if record else ():
            self._by_digest.pop(token.digest, None)
