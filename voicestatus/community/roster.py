"""Who has which rank in an organization, and whom an admin named a manager of it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET, Struct, UnsetType
from twisted.logger import Logger

from voicestatus.core.errors import Refusal
from voicestatus.core.ids import UserId
from voicestatus.core.ranks import WORDS, Obstacle
from voicestatus.store.documents import Change, Documents, VersionConflict
from voicestatus.store.typed import Stored, Typed

KIND = "organization-member"
"""The parent of a document is its organization's id."""
TRIES: Final = 5


class Record(Struct, frozen=True, omit_defaults=True):
    """What is stored of a member."""

    rank: str | None = None
    manager: bool = False


@dataclass(frozen=True, slots=True)
class RosterMember:
    """One who is on the roster."""

    user: UserId
    rank: str | None = None
    manager: bool = False


Told = Callable[[str, RosterMember | None, RosterMember | None], object]
"""Hears of an organization's id what one of its roster was and is; None: not on it."""


class Roster:
    """Keeps the rosters of all organizations in the store alone."""

    _log = Logger()

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._records = Typed(documents, KIND, Record)
        self._told: dict[object, Told] = {}

    def subscribe(self, changed: Told) -> Callable[[], object]:
        """Tell what is written at this node; return the way out."""
        self._told[key := object()] = changed
        return lambda: self._told.pop(key, None)

    async def of(self, organization: str) -> list[RosterMember]:
        """Return all of one roster, by id."""
        found = await self._records.list(organization)
        return sorted(map(_member, found), key=lambda member: member.user)

    async def of_user(self, user: UserId) -> list[str]:
        """Return the ids of the organizations on whose roster somebody is."""
        return [
            stored.parent
            for stored in await self._records.list()
            if _member(stored).user == user
        ]

    async def get(self, organization: str, user: UserId) -> RosterMember | None:
        stored = await self._records.get(_id(organization, user))
        return None if stored is None else _member(stored)

    async def put(
        self,
        organization: str,
        user: UserId,
        *also: Change,
        rank: str | UnsetType | None = UNSET,
        manager: bool | UnsetType = UNSET,
        may_name: bool = False,
        beyond: Collection[str] = (),
    ) -> RosterMember:
        """Put somebody on a roster or change what is said there; UNSET stays.

        :raises Refusal: `FORBIDDEN` for who may not name managers, and would;
            `ROLE_NOT_ASSIGNABLE` for who would give or take a rank `beyond` them.
        """
        for _ in range(TRIES):
            stored = await self._records.get(_id(organization, user))
            before = None if stored is None else _member(stored)
            was = before or RosterMember(user)
            after = RosterMember(
                user,
                was.rank if rank is UNSET else rank,
                was.manager if manager is UNSET else manager,
            )
            if after.manager != was.manager and not may_name:
                raise _not_yours()
            if after.rank != was.rank:
                _see_that_none_is(beyond, was.rank, after.rank)
            if after == before:
                return after
            try:
                await self._documents.write(
                    self._records.putting(
                        _id(organization, user),
                        Record(after.rank, after.manager),
                        parent=organization,
                        expected=None if stored is None else stored.version,
                    ),
                    *also,
                )
            except VersionConflict:
                continue
            self._tell(organization, before, after)
            return after
        raise _contended()

    async def remove(
        self,
        organization: str,
        user: UserId,
        *also: Change,
        may_name: bool = False,
        beyond: Collection[str] = (),
    ) -> None:
        """Take somebody off a roster.

        :raises Refusal: `MEMBER_NOT_FOUND`; `FORBIDDEN` for who may not name
            managers, when it is one; `ROLE_NOT_ASSIGNABLE` as `put` does.
        """
        for _ in range(TRIES):
            stored = await self._records.get(_id(organization, user))
            if stored is None:
                raise Refusal("MEMBER_NOT_FOUND", "They are not on the roster.")
            if stored.value.manager and not may_name:
                raise _not_yours()
            _see_that_none_is(beyond, stored.value.rank)
            deleting = self._records.deleting(stored.id, expected=stored.version)
            try:
                await self._documents.write(deleting, *also)
            except VersionConflict:
                continue
            self._tell(organization, _member(stored), None)
            return
        raise _contended()

    async def clearing(self, organization: str) -> list[Change]:
        """Make what takes everybody off; for the batch that deletes it."""
        found = await self._records.list(organization)
        return [self._records.deleting(stored.id) for stored in found]

    def _tell(
        self,
        organization: str,
        before: RosterMember | None,
        after: RosterMember | None,
    ) -> None:
        for tell in tuple(self._told.values()):
            try:
                tell(organization, before, after)
            except Exception:  # noqa: BLE001 - it is written already
                self._log.failure("a change of a roster was not heard")


def _id(organization: str, user: UserId) -> str:
    return f"{organization}:{user}"


def _member(stored: Stored[Record]) -> RosterMember:
    _, _, user = stored.id.rpartition(":")
    return RosterMember(UserId(int(user)), stored.value.rank, stored.value.manager)


def _not_yours() -> Refusal:
    return Refusal(
        "FORBIDDEN", "Only an admin names managers, and takes it back.", key="manager"
    )


def _see_that_none_is(beyond: Collection[str], *ranks: str | None) -> None:
    for rank in ranks:
        if rank in beyond:
            raise Refusal(
                "ROLE_NOT_ASSIGNABLE",
                f"The rank {rank} is not yours to give or take, for its role:"
                f" {WORDS[Obstacle.BEYOND]}.",
                key="rank",
                rank=rank,
                reason=Obstacle.BEYOND.value,
            )


def _contended() -> Refusal:
    return Refusal("VERSION_CONFLICT", "Others write this all the time; try again.")
