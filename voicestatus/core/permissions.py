"""What a member may do: roles, then the channel's overwrites. Pure.

Source: Discord docs, Permissions, "Permission Overwrites".
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

ADMINISTRATOR: Final = 1 << 3
MANAGE_GUILD: Final = 1 << 5
VIEW_CHANNEL: Final = 1 << 10
ALL: Final = (1 << 64) - 1
"""Also those that Discord has yet to name."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose permissions are asked for; @everyone's role is held by all."""

    user: int
    roles: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Overwrite:
    """What one channel changes for a role, or for one member."""

    target: int
    allow: int
    deny: int
    of_member: bool = False


def in_guild(
    guild: int, owner: int, permissions: Mapping[int, int], holder: Holder
) -> int:
    """Return what holds outside any channel; `permissions` are those of each role.

    @everyone is the role whose id is the guild's.
    """
    if holder.user == owner:
        return ALL
    base = permissions.get(guild, 0)
    for role in holder.roles:
        base |= permissions.get(role, 0)
    return ALL if base & ADMINISTRATOR else base


def in_channel(
    base: int, guild: int, overwrites: Iterable[Overwrite], holder: Holder
) -> int:
    """Return what is left of `in_guild` in one channel; nothing where it is unseen."""
    if base & ADMINISTRATOR:
        return ALL
    everyone, roles, member = [], [], []
    for overwrite in overwrites:
        if overwrite.of_member:
            if overwrite.target == holder.user:
                member.append(overwrite)
        elif overwrite.target == guild:
            everyone.append(overwrite)
        elif overwrite.target in holder.roles:
            roles.append(overwrite)
    for layer in (everyone, roles, member):
        base = _apply(base, layer)
    return base if base & VIEW_CHANNEL else 0


def _apply(permissions: int, layer: Iterable[Overwrite]) -> int:
    """Deny, then allow: of two roles the one that allows wins, whatever its rank."""
    deny = allow = 0
    for overwrite in layer:
        deny |= overwrite.deny
        allow |= overwrite.allow
    return permissions & ~deny | allow
