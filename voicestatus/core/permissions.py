"""What a member may do: roles, then the channel's overwrites. Pure.

Source: Discord docs, Permissions, "Permission Overwrites", "Implicit Permissions" and
"Permissions for Timed Out Members".
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

CREATE_INSTANT_INVITE: Final = 1 << 0
ADMINISTRATOR: Final = 1 << 3
MANAGE_GUILD: Final = 1 << 5
VIEW_CHANNEL: Final = 1 << 10
SEND_MESSAGES: Final = 1 << 11
SEND_TTS_MESSAGES: Final = 1 << 12
EMBED_LINKS: Final = 1 << 14
ATTACH_FILES: Final = 1 << 15
READ_MESSAGE_HISTORY: Final = 1 << 16
MENTION_EVERYONE: Final = 1 << 17
CONNECT: Final = 1 << 20
MANAGE_ROLES: Final = 1 << 28
MANAGE_EVENTS: Final = 1 << 33
CREATE_EVENTS: Final = 1 << 44
ALL: Final = (1 << 64) - 1
"""Also those that Discord has yet to name."""

_OF_SENDING = EMBED_LINKS | ATTACH_FILES | MENTION_EVERYONE | SEND_TTS_MESSAGES
_WHILE_TIMED_OUT = VIEW_CHANNEL | READ_MESSAGE_HISTORY


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose permissions are asked for; @everyone's role is held by all."""

    user: int
    roles: Collection[int] = ()
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Overwrite:
    """What one channel changes for a role, or for one member."""

    target: int
    allow: int
    deny: int
    of_member: bool = False


def base_of(
    guild: int, owner: int, permissions: Mapping[int, int], holder: Holder
) -> int:
    """Return what roles give, for `in_channel`; `permissions` are those of each role.

    @everyone is the role whose id is the guild's.
    """
    if holder.user == owner:
        return ALL
    base = permissions.get(guild, 0)
    for role in holder.roles:
        base |= permissions.get(role, 0)
    return ALL if base & ADMINISTRATOR else base


def in_guild(
    guild: int, owner: int, permissions: Mapping[int, int], holder: Holder
) -> int:
    """Return what holds outside any channel."""
    return _in_time_out(base_of(guild, owner, permissions, holder), holder)


def in_channel(
    base: int,
    guild: int,
    overwrites: Iterable[Overwrite],
    holder: Holder,
    *,
    voice: bool = False,
    hidden: bool = False,
) -> int:
    """Return what is left of `base_of` in one channel; nothing where it is unseen.

    Of a voice channel or a stage, who may not connect sees that it is there. The
    overwrites of a hidden one are made up: nobody has anything in it.
    """
    if hidden:
        return 0
    if base & ADMINISTRATOR:
        return ALL
    held = _overwritten(base, guild, overwrites, holder)
    if not held & VIEW_CHANNEL:
        return 0
    if voice and not held & CONNECT:
        return VIEW_CHANNEL
    if not held & SEND_MESSAGES:
        held &= ~_OF_SENDING
    return _in_time_out(held, holder)


def _in_time_out(held: int, holder: Holder) -> int:
    if not holder.timed_out or held & ADMINISTRATOR:
        return held
    return held & _WHILE_TIMED_OUT


def _overwritten(
    base: int, guild: int, overwrites: Iterable[Overwrite], holder: Holder
) -> int:
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
    return base


def _apply(permissions: int, layer: Iterable[Overwrite]) -> int:
    """Deny, then allow: of two roles the one that allows wins, whatever its rank."""
    deny = allow = 0
    for overwrite in layer:
        deny |= overwrite.deny
        allow |= overwrite.allow
    return permissions & ~deny | allow
