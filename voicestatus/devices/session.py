"""What to do about one device's connection, and about those that keep failing. Pure."""

import hmac
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Generic, TypeVar

from voicestatus.devices.wire import parse_auth

AUTH_WITHIN_S = 5.0
"""Source: esp-ws.ts, `AUTH_TIMEOUT_MS`."""


class Reason(Enum):
    """Why a device was not let in."""

    WRONG_TOKEN = "token"  # noqa: S105 - the name of a reason
    NOT_AUTH = "not_auth"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Welcome:
    """Say `OK` and show the light from now on."""


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


Effect = Welcome | Refuse | Hold | Close


class Key:
    """The token that opens the door; never shown, compared in constant time."""

    def __init__(self, token: bytes) -> None:
        self._digest = sha256(token).digest()

    def fits(self, token: bytes) -> bool:
        # Digests are equally long, so that not even the length can be measured.
        return hmac.compare_digest(sha256(token).digest(), self._digest)


class PenaltyBox:
    """Remembers which addresses failed lately, at most `max_addresses` of them.

    A device with a wrong token dials again as fast as the network lets it
    (Source: firmware main.cpp:721 sets the reconnect interval to 0). Being kept on
    the line slows it down; a closed door does not.
    """

    def __init__(
        self,
        first_s: float = 5.0,
        longest_s: float = 60.0,
        forget_after_s: float = 600.0,
        max_addresses: int = 4096,
    ) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._forget_after_s, self._max = forget_after_s, max_addresses
        self._next: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def fail(self, address: str, now_s: float) -> float:
        """Count a failure; return for how long it is to be held, 0 for the first."""
        hold_s, at_s = self._next.pop(address, (0.0, now_s))
        if now_s - at_s > self._forget_after_s:
            hold_s = 0.0
        longer_s = min(max(2 * hold_s, self._first_s), self._longest_s)
        self._next[address] = longer_s, now_s
        if len(self._next) > self._max:
            self._next.popitem(last=False)
        return hold_s

    def forgive(self, now_s: float) -> None:
        """Forget those that have been quiet for long enough."""
        while self._next:
            address, (_, at_s) = next(iter(self._next.items()))
            if now_s - at_s <= self._forget_after_s:
                break
            del self._next[address]

    def __len__(self) -> int:
        return len(self._next)


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


class DeviceSession:
    """One connection, from its upgrade on."""

    __slots__ = ("_answered", "_box", "_key")

    def __init__(self, key: Key, box: PenaltyBox) -> None:
        self._key, self._box = key, box
        self._answered = False

    def text(self, payload: bytes, address: str, now_s: float) -> list[Effect]:
        """Take a text message. Only the first one says anything in version 1."""
        if self._answered:
            return []
        self._answered = True
        token = parse_auth(payload)
        if token is not None and self._key.fits(token):
            return [Welcome()]
        reason = Reason.NOT_AUTH if token is None else Reason.WRONG_TOKEN
        hold_s = self._box.fail(address, now_s)
        return [Refuse(reason), Hold(hold_s) if hold_s else Close()]

    def silence(self) -> list[Effect]:
        """Take it that nothing was said in time; that is no offence."""
        if self._answered:
            return []
        self._answered = True
        return [Refuse(Reason.SILENCE), Close()]
