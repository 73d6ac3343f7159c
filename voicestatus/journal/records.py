"""What the journal keeps, as documents.

`gateway-session` has one for each shard, `presence-guild` one for each guild, and
`presence-voice` one for each person in voice: id `GUILD:USER`, parent `GUILD`.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import msgspec

from voicestatus.core.errors import StoreError
from voicestatus.core.guild import Picture, Voice
from voicestatus.core.ids import GuildId, UserId
from voicestatus.core.session import SessionState
from voicestatus.store.documents import ANY, Delete, Documents, Expected, Put
from voicestatus.store.typed import Typed

SOURCE, GUILD, VOICE = "gateway-session", "presence-guild", "presence-voice"

Person = tuple[GuildId, UserId]


@dataclass(frozen=True, slots=True)
class Source:
    """One shard: whose it is, and what a Resume needs."""

    made_for: str
    """See `made_for`."""
    at: float
    """Wall-clock time at which a process last vouched for all of it."""
    me: UserId
    session: SessionState | None
    """None: Discord has ended it; the picture stands all the same."""
    count: int = 1
    """Of how many shards it is one."""


@dataclass(frozen=True, slots=True)
class Found:
    """All that was stored."""

    sources: dict[int, Source]
    people: frozenset[Person]
    guilds: tuple[tuple[Picture, tuple[Voice, ...]], ...]


@dataclass(frozen=True, slots=True)
class Names:
    """Which documents there are."""

    shards: set[int]
    guilds: set[GuildId]
    voices: set[Person]


def made_for(token: str, api_url: str, *rest: object) -> str:
    """Return a digest of what a session cannot outlive the change of."""
    text = msgspec.json.encode([token, api_url, *rest])
    return hashlib.blake2b(text, digest_size=16, person=b"voicestatus").hexdigest()


class Records:
    """Reads and makes the journal's documents."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._sources = Typed(documents, SOURCE, Source)
        self._guilds = Typed(documents, GUILD, Picture)
        self._voices = Typed(documents, VOICE, Voice)

    async def read(self) -> Found:
        """:raises StoreError: too, when a document cannot be read."""
        sources = {_number(s.id): s.value for s in await self._sources.list()}
        pictures = [stored.value for stored in await self._guilds.list()]
        stored = await self._voices.list()
        voices: defaultdict[GuildId, list[Voice]] = defaultdict(list)
        for one in stored:
            voices[GuildId(_number(one.parent))].append(one.value)
        guilds = tuple((p, tuple(voices[p.guild])) for p in pictures)
        return Found(sources, frozenset(_person(one.id) for one in stored), guilds)

    async def names(self) -> Names:
        """Tell what there is, readable or not."""
        listed = self._documents.list
        return Names(
            {_number(document.id) for document in await listed(SOURCE)},
            {GuildId(_number(document.id)) for document in await listed(GUILD)},
            {_person(document.id) for document in await listed(VOICE)},
        )

    async def version(self, shard: int) -> int | None:
        """Return that of a shard's session; None: it is not stored."""
        document = await self._documents.get(SOURCE, str(shard))
        return None if document is None else document.version

    def source(
        self, shard: int, source: Source | None, expected: Expected = ANY
    ) -> Put | Delete:
        id_ = str(shard)
        if source is None:
            return self._sources.deleting(id_)
        return self._sources.putting(id_, source, expected=expected)

    def guild(self, id_: GuildId, picture: Picture | None) -> Put | Delete:
        if picture is None:
            return self._guilds.deleting(str(id_))
        return self._guilds.putting(str(id_), picture)

    def voice(self, person: Person, voice: Voice | None) -> Put | Delete:
        guild, user = person
        id_ = f"{guild}:{user}"
        if voice is None:
            return self._voices.deleting(id_)
        return self._voices.putting(id_, voice, parent=str(guild))


def _person(id_: str) -> Person:
    guild, _, user = id_.partition(":")
    return GuildId(_number(guild)), UserId(_number(user))


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise StoreError("a stored id is no number") from None
