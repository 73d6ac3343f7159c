"""What to do about one device's connection, and about those that are held. Pure."""

import hmac
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Generic, TypeVar

from voicestatus.core.fleet import is_own, is_ticket
from voicestatus.core.penalty import PenaltyBox
from voicestatus.devices.wire import parse_auth

AUTH_WITHIN_S = 5.0
"""Source: esp-ws.ts, `AUTH_TIMEOUT_MS`."""
MAX_UNREAD_TEXTS, MAX_UNREAD_BYTES = 16, 4096
"""A device that says more than one of these before it is read is no device."""


class Reason(Enum):
    """Why a device was not let in."""

    WRONG_TOKEN = "token"  # noqa: S105 - the name of a reason
    NOT_AUTH = "not_auth"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Known:
    """A verdict: the token is this device's own. `digest` stands for the token."""

    id: str
    digest: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """A verdict: an admin made the token, for one device that is yet to enrol.

    `version` is that of what is stored of it: who changes that first takes it.
    `device` has taken it, and may again: it may not have got what it was sent.
    """

    digest: str
    version: int
    ends_at: float
    device: str = ""


@dataclass(frozen=True, slots=True)
class Nobody:
    """A verdict: the token is nobody's that may come in."""


@dataclass(frozen=True, slots=True)
class Unsure:
    """A verdict: it can not be told yet; what is not known is not refused."""


Verdict = Known | Ticket | Nobody | Unsure


@dataclass(frozen=True, slots=True)
class LetIn:
    """Say `OK` and show the light from now on; None: to a stranger."""

    known: Known | Ticket | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Find out whose token this is, or what it is for, and say it by `judged`."""

    token: bytes

    def __repr__(self) -> str:
        return "Ask()"


@dataclass(frozen=True, slots=True)
class Hear:
    """Read a text of version 2, when there is time for it."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Refuse:
    """Say `NOAUTH`: once, for three in one connection open the device's portal.

    Source: firmware main.cpp, `MAX_AUTH_FAILURES`.
    """

    reason: Reason


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the connection open and say nothing more for so long, then close it."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection now."""


@dataclass(frozen=True, slots=True)
class PutOff:
    """Close, and ask to come again later."""


@dataclass(frozen=True, slots=True)
class Remove:
    """Close, for it is not wanted."""


_STRANGER = LetIn()
Effect = LetIn | Ask | Hear | Refuse | Hold | Close | PutOff | Remove


class Key:
    """The token that opens the door; never shown, compared in constant time."""

    def __init__(self, token: bytes) -> None:
        self._digest = sha256(token).digest()

    def fits(self, token: bytes) -> bool:
        # Digests are equally long, so that not even the length can be measured.
        return hmac.compare_digest(sha256(token).digest(), self._digest)


K = TypeVar("K", bound=Hashable)


class Holding(Generic[K]):
    """The connections that are held, at most `limit` of them."""

    def __init__(self, limit: int = 1024) -> None:
        self._limit = limit
        self._until: OrderedDict[K, float] = OrderedDict()

    def hold(self, key: K, until_s: float) -> K | None:
        """Hold one more; return the oldest if that has to go for it."""
        self._until[key] = until_s
        if len(self._until) <= self._limit:
            return None
        return self._until.popitem(last=False)[0]

    def release(self, key: K) -> None:
        self._until.pop(key, None)

    def due(self, now_s: float) -> list[K]:
        """Take out those whose time is over."""
        over = [key for key, until_s in self._until.items() if until_s <= now_s]
        for key in over:
            del self._until[key]
        return over

    def __len__(self) -> int:
        return len(self._until)

    def __iter__(self) -> Iterator[K]:
        return iter(self._until)


class _State(Enum):
    NEW = "new"
    UNJUDGED = "unjudged"
    IN = "in"
    OUT = "out"


class DeviceSession:
    """One connection, from its upgrade on."""

    __slots__ = ("_box", "_key", "_state", "_token", "_unread", "_unread_bytes")

    def __init__(self, key: Key, box: PenaltyBox) -> None:
        self._key, self._box = key, box
        self._state = _State.NEW
        self._token = b""
        self._unread = self._unread_bytes = 0

    def text(self, payload: bytes, address: str, now_s: float) -> list[Effect]:
        """Take a text message. After `OK` only those of version 2 say anything."""
        match self._state:
            case _State.NEW:
                return self._auth(payload, address, now_s)
            case _State.IN if payload.startswith(b"{"):
                return self._hear(payload)
            case _:
                return []

    def read(self, text: bytes) -> bool:
        """Take it that a text is about to be read; False: it is too late for that."""
        self._unread -= 1
        self._unread_bytes -= len(text)
        return self._state is _State.IN

    def judged(self, verdict: Verdict, address: str, now_s: float) -> list[Effect]:
        """Take whose the token is that was shown."""
        if self._state is not _State.UNJUDGED:
            return []
        match verdict:
            case Known() | Ticket():
                self._state, self._token = _State.IN, b""
                return [LetIn(verdict)]
            case Nobody():
                return self._refuse(Reason.WRONG_TOKEN, address, now_s)
            case Unsure():
                return []

    def once_more(self) -> list[Effect]:
        """Take it that more is known now than when a token was judged."""
        return [Ask(self._token)] if self._state is _State.UNJUDGED else []

    def silence(self) -> list[Effect]:
        """Take it that nothing was said in time; that is no offence."""
        before, self._state = self._state, _State.OUT
        match before:
            case _State.NEW:
                return [Refuse(Reason.SILENCE), Close()]
            case _State.UNJUDGED:
                return [PutOff()]
            case _:
                self._state = before
                return []

    def end(self) -> None:
        """Take it that the connection is about to end: nothing is heard any more."""
        self._state = _State.OUT

    def _auth(self, payload: bytes, address: str, now_s: float) -> list[Effect]:
        token = parse_auth(payload)
        if token is None:
            return self._refuse(Reason.NOT_AUTH, address, now_s)
        if self._key.fits(token):
            self._state = _State.IN
            return [_STRANGER]
        if is_own(token) or is_ticket(token):
            self._state, self._token = _State.UNJUDGED, token
            return [Ask(token)]
        return self._refuse(Reason.WRONG_TOKEN, address, now_s)

    def _hear(self, text: bytes) -> list[Effect]:
        self._unread += 1
        self._unread_bytes += len(text)
        if self._unread <= MAX_UNREAD_TEXTS and self._unread_bytes <= MAX_UNREAD_BYTES:
            return [Hear(text)]
        self._state = _State.OUT
        return [Remove()]

    def _refuse(self, reason: Reason, address: str, now_s: float) -> list[Effect]:
        self._state, self._token = _State.OUT, b""
        hold_s = self._box.fail(address, now_s)
        return [Refuse(reason), Hold(hold_s) if hold_s else Close()]
