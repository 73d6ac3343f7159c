"""Who asks, and what they may. Pure."""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Protocol

from voicestatus.core.errors import Refusal
from voicestatus.core.ids import UserId


class Level(IntEnum):
    """How far somebody is let in; the higher ones may all that the lower may."""

    ANYBODY = 0
    GUEST = 1
    """Signed in, and that is all."""
    MEMBER = 2
    """In a guild that the bot is in."""
    ADMIN = 3

    @property
    def word(self) -> str:
        return self.name.lower()


class Scope(Enum):
    """What an API token may be good for."""

    READ = "read"
    DEVICES = "devices"
    FIRMWARE = "firmware"
    SETTINGS = "settings"


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, as far as they have shown it. No field of it is a secret."""

    actor: str
    """What the audit log calls them."""
    level: Level
    scopes: frozenset[Scope] | None = None
    """What they are bound to; None: to nothing."""
    user: UserId | None = None
    """Their account on Discord, if they signed in with it."""
    session: str | None = None
    """The document of the session that was shown."""
    api_token: str | None = None
    """The document of the API token that was shown."""
    doubt: Refusal | None = None
    """Why it cannot be known at present whether they may more."""

    def may(self, level: Level, scope: Scope | None) -> bool:
        """Whether they may do what wants this level; and of who is bound, this scope.

        What has no scope is for those alone who are not bound.
        """
        return self.level >= level and (self.scopes is None or scope in self.scopes)


class Standing(Protocol):
    """Who knows what a user of Discord is here now."""

    async def level_of(self, user: UserId) -> Level:
        """:raises Refusal: when that cannot be known at present."""
        ...


NOBODY = Identity("nobody", Level.ANYBODY)
ADMIN_TOKEN = Identity("admin token", Level.ADMIN)
