"""Which roles a member's rank gives and takes. Pure.

Source: Discord docs, Permissions, "Permission Hierarchy".
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final, Protocol

from voicestatus.core.ids import GuildId, RoleId


class Role(Protocol):
    """A role, as Discord tells of it."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def position(self) -> int: ...
    @property
    def managed(self) -> bool: ...


class Obstacle(Enum):
    """Why the bot can neither give a role nor take it."""

    GONE = "gone"
    """The guild has it no more."""
    EVERYONE = "everyone"
    MANAGED = "managed"
    """Discord or another program gives it."""
    ABOVE = "above"
    """It is not below the highest role of the bot."""
    BEYOND = "beyond"
    """Who wants it handed out has less themselves."""
    FORBIDDEN = "forbidden"
    """Discord said no where nothing else told why."""


WORDS: Final[Mapping[Obstacle, str]] = MappingProxyType(
    {
        Obstacle.GONE: "the server has it no more",
        Obstacle.EVERYONE: "everyone has it",
        Obstacle.MANAGED: "Discord or another program gives it",
        Obstacle.ABOVE: "it is not below the highest role of the bot",
        Obstacle.BEYOND: "it is more than you have yourself; ask an admin",
        Obstacle.FORBIDDEN: "Discord does not allow it",
    }
)


@dataclass(frozen=True, slots=True)
class Refused:
    """A role that should be given or taken and cannot be."""

    role: RoleId
    obstacle: Obstacle


@dataclass(frozen=True, slots=True)
class Change:
    """What one member lacks and has too many of."""

    give: tuple[RoleId, ...] = ()
    take: tuple[RoleId, ...] = ()
    refused: tuple[Refused, ...] = ()


class Hierarchy:
    """The roles of one guild, and what stands between each and the bot."""

    def __init__(
        self, guild: GuildId, roles: Iterable[Role], own: Collection[int]
    ) -> None:
        """Take all roles, and the ids of those that the bot holds."""
        self._everyone = int(guild)
        self._roles = {role.id: role for role in roles}
        self._top = top_of(self._roles.values(), own)
        self._barred: dict[RoleId, Obstacle] = {}

    def name(self, role: RoleId) -> str:
        """Return what people call it; its id where it is gone."""
        known = self._roles.get(role)
        return f"{role}" if known is None else known.name

    def bar(self, role: RoleId, obstacle: Obstacle) -> Refused:
        """Take it that this role is not to be given or taken."""
        self._barred[role] = obstacle
        return Refused(role, obstacle)

    def obstacle(self, role: RoleId) -> Obstacle | None:
        """Return what stands in the way of giving or taking a role, if anything."""
        known = self._roles.get(role)
        if role == self._everyone:
            return Obstacle.EVERYONE
        if known is None:
            return Obstacle.GONE
        if known.managed:
            return Obstacle.MANAGED
        if height(known) >= self._top:
            return Obstacle.ABOVE
        return self._barred.get(role)

    def change(
        self, rank: str | None, roles: Mapping[str, RoleId], held: Collection[RoleId]
    ) -> Change:
        """Return what has to be done for whoever has that rank and holds those roles.

        `roles` are those of the ranks; all others are left alone.
        """
        own = None if rank is None else roles.get(rank)
        wanted = set() if own is None else {own}
        give = wanted - {*held}
        take = {role for role in roles.values() if role in held} - wanted
        return Change(
            self._possible(give), self._possible(take), self._refused(give | take)
        )

    def _possible(self, roles: Collection[RoleId]) -> tuple[RoleId, ...]:
        return tuple(sorted(role for role in roles if self.obstacle(role) is None))

    def _refused(self, roles: Collection[RoleId]) -> tuple[Refused, ...]:
        return tuple(
            Refused(role, obstacle)
            for role in sorted(roles)
            if (obstacle := self.obstacle(role)) is not None
        )


def height(role: Role) -> tuple[int, int]:
    """Return what is greater for the higher one of two roles.

    Of two in the same position the one with the lower id is the higher.
    """
    return role.position, -role.id


def top_of(roles: Iterable[Role], held: Collection[int]) -> tuple[int, int]:
    """Return the height of the highest of those that somebody holds."""
    return max((height(role) for role in roles if role.id in held), default=(-1, 0))
