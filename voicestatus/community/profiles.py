"""What the server calls people who are known by their ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.interfaces import IReactorTime

from voicestatus.community.membership import Membership
from voicestatus.core.errors import Refusal
from voicestatus.core.ids import GuildId, UserId
from voicestatus.discord import cdn
from voicestatus.discord.rest.wire import Member

AT_ONCE: Final = 8
"""Calls to Discord, whoever makes us make them."""
WITHIN_S: Final = 5.0
"""Who is not known by then is told without a name; the next who asks finds it."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Somebody as the members of their server see them."""

    inside: bool | None = None
    """None: it is not known."""
    name: str | None = None
    avatar_url: str | None = None


UNKNOWN: Final = Profile()


class Profiles:
    """Looks up names and avatars; what cannot be had keeps nothing else back."""

    def __init__(self, membership: Membership, clock: IReactorTime) -> None:
        self._membership, self._clock = membership, clock
        self._few = DeferredSemaphore(AT_ONCE)

    async def of(
        self, guild: GuildId | None, users: Sequence[UserId]
    ) -> dict[UserId, Profile]:
        """Return what can be had of each within `WITHIN_S`."""
        if guild is None:
            return dict.fromkeys(users, UNKNOWN)
        asking = [Deferred.fromCoroutine(self._look(guild, user)) for user in users]
        found = await gatherResults(asking, consumeErrors=True)
        return dict(zip(users, found, strict=True))

    async def _look(self, guild: GuildId, user: UserId) -> Profile:
        asked = Deferred.fromCoroutine(self._ask(guild, user))
        try:
            return await asked.addTimeout(WITHIN_S, self._clock)
        except (Refusal, defer.TimeoutError):
            return UNKNOWN

    async def _ask(self, guild: GuildId, user: UserId) -> Profile:
        async with self._few:
            member = await self._membership.inside(guild, user)
        return Profile(inside=False) if member is None else _profile(guild, member)


def _profile(guild: GuildId, member: Member) -> Profile:
    user = member.user
    there = cdn.member_avatar(guild, user.id, member.avatar)
    return Profile(
        inside=True,
        name=member.nick or user.global_name or user.name,
        avatar_url=there or cdn.user_avatar(user.id, user.avatar),
    )
