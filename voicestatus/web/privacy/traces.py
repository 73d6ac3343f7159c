"""What is stored of one person, kind by kind: found, and taken away."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from voicestatus.core import rules
from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.fleet import Device
from voicestatus.core.ids import UserId
from voicestatus.core.lights import RuleText
from voicestatus.core.presence import Presence
from voicestatus.devices.registry import Patch
from voicestatus.store.documents import Document, Documents, Put, VersionConflict
from voicestatus.web.audit import ENTRIES
from voicestatus.web.auth.api_tokens import KIND as API_TOKENS
from voicestatus.web.auth.sessions import Sessions
from voicestatus.web.views import at

Json = dict[str, Any]
SOMEBODY: Final = "(erased)"
"""Stands where an id stood."""
NOBODY: Final = UserId(1)
_TIME_BITS: Final = 22
"""Ids of Discord's hold milliseconds since 2015 above these; 1 is none, nor is a small
number a person.
"""
TRIES: Final = 5


class Trace(Protocol):
    """One kind of documents in which somebody may be named."""

    name: str

    @property
    def kinds(self) -> tuple[str, ...]: ...

    async def find(self, user: UserId) -> list[Json]:
        """Return what they may know of it.

        :raises StoreError: when the store does not answer.
        """
        ...

    async def erase(self, user: UserId) -> int:
        """Take them out of it; return in how many they were.

        :raises StoreError: when the store does not answer.
        """
        ...


class SessionTraces:
    """Their being signed in."""

    name, kinds = "sessions", ("session",)

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def find(self, user: UserId) -> list[Json]:
        return [
            {
                "name": session.value.account and session.value.account.name,
                "avatarUrl": session.value.account and session.value.account.avatar_url,
                "level": session.value.level.word,
                "agent": session.value.agent,
                "beganAt": at(session.value.began_at),
                "seenAt": at(session.value.seen_at),
            }
            for session in await self._sessions.of(user)
        ]

    async def erase(self, user: UserId) -> int:
        found = len(await self._sessions.of(user))
        await self._sessions.end_all(user)
        return found


class Roster(Protocol):
    """Who is on which roster; see `community.roster`."""

    async def of_user(self, user: UserId) -> list[str]: ...

    async def get(self, organization: str, user: UserId) -> Any: ...

    async def remove(
        self, organization: str, user: UserId, *, may_name: bool
    ) -> None: ...


class RosterTraces:
    """Their places on rosters."""

    name, kinds = "roster", ("organization-member",)

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    async def find(self, user: UserId) -> list[Json]:
        found = []
        for organization in await self._roster.of_user(user):
            member = await self._roster.get(organization, user)
            if member is not None:
                found.append(
                    {
                        "organization": organization,
                        "rank": member.rank,
                        "manager": member.manager,
                    }
                )
        return found

    async def erase(self, user: UserId) -> int:
        organizations = await self._roster.of_user(user)
        for organization in organizations:
            with _unless("MEMBER_NOT_FOUND"):
                await self._roster.remove(organization, user, may_name=True)
        return len(organizations)


class AuditTraces:
    """What they changed, and what was changed of them."""

    name, kinds = "audit", (ENTRIES, "audit-day")

    def __init__(self, documents: Documents) -> None:
        self._named = Named(documents, ENTRIES, ("actor", "target", "details"))

    async def find(self, user: UserId) -> list[Json]:
        found = []
        async for document in self._named.by(user):
            entry = json.loads(document.body)
            own = bool(_word(user).search(entry["actor"]))
            shown = {"at": entry["at"], "action": entry["action"], "by": "somebody"}
            if own:
                # Of what others did, neither who nor where from is theirs to know.
                shown |= {
                    key: entry[key] for key in ("target", "details", "address")
                } | {"by": "you"}
            found.append(shown)
        return found

    async def erase(self, user: UserId) -> int:
        def without(entry: Json) -> Json:
            own = bool(_word(user).search(entry["actor"]))
            return entry | {"address": ""} if own else entry

        return await self._named.rewrite(user, without)


class ApiTokenTraces:
    """Tokens for programs that they made."""

    name, kinds = "apiTokens", (API_TOKENS,)

    def __init__(self, documents: Documents) -> None:
        self._named = Named(documents, API_TOKENS, ("name", "made_by"))

    async def find(self, user: UserId) -> list[Json]:
        bodies = [json.loads(found.body) async for found in self._named.by(user)]
        return [
            {"name": body["name"], "scopes": body["scopes"], "madeAt": body["made_at"]}
            for body in bodies
        ]

    async def erase(self, user: UserId) -> int:
        return await self._named.rewrite(user)


class Devices(Protocol):
    """The signs; see `devices.registry`."""

    def devices(self) -> Iterable[Device]: ...

    async def change(self, id_: str, patch: Patch) -> Device: ...


class RuleTraces:
    """Signs whose rules wait for them."""

    name, kinds = "rules", ("device",)

    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    async def find(self, user: UserId) -> list[Json]:
        return [{"sign": id_} for id_, _ in self._naming(user)]

    async def erase(self, user: UserId) -> int:
        naming = [*self._naming(user)]
        for id_, rule in naming:
            # Without anybody at all it would wait for everybody.
            users = rule.users - {user} or {NOBODY}
            text = rules.write(replace(rule, users=frozenset(users)))
            with _unless("DEVICE_NOT_FOUND"):
                await self._devices.change(id_, Patch(rule=text))
        return len(naming)

    def _naming(self, user: UserId) -> Iterator[tuple[str, rules.Rule]]:
        for device in [*self._devices.devices()]:
            text = device.record.rule
            if text is None or f"{user}" not in text:
                continue  # to read all rules of a fleet would hold up its lights
            rule = _read(text)
            if rule is not None and user in rule.users:
                yield device.id, rule


class VoiceTraces:
    """Where they are in voice now: what they may see, and nobody can take away."""

    name, kinds = "voice", ("presence-voice",)

    def __init__(self, presence: Presence) -> None:
        self._presence = presence

    async def find(self, user: UserId) -> list[Json]:
        found = (
            (guild, voice)
            for guild in self._presence.guilds.values()
            if (voice := guild.voices.get(user)) is not None
        )
        return [
            {
                "guildId": str(guild.id),
                "channelId": str(voice.channel),
                "name": voice.name,
                "avatarUrl": voice.avatar_url,
                "mute": voice.mute or voice.self_mute,
                "deaf": voice.deaf or voice.self_deaf,
                "streaming": voice.streaming,
                "video": voice.video,
                "roles": sorted(map(str, voice.roles)),
            }
            for guild, voice in found
        ]

    async def erase(self, user: UserId) -> int:  # noqa: ARG002 - see `Trace`
        return 0


@dataclass(frozen=True, slots=True)
class Named:
    """Documents of one kind whose bodies are JSON, and who is named in them."""

    documents: Documents
    kind: str
    keys: tuple[str, ...]
    """Under which somebody may be named. What stands elsewhere, such as a time, only
    looks like an id."""

    async def by(self, user: UserId) -> AsyncIterator[Document]:
        """Yield those that name somebody."""
        word = re.compile(_word(user).pattern.encode())
        for number, document in enumerate(await self.documents.list(self.kind)):
            if word.search(document.body):
                body = json.loads(document.body)
                if body != self._without(body, user):
                    yield document
            if number % 500 == 499:
                await self.documents.pause()

    async def rewrite(
        self, user: UserId, change: Callable[[Json], Json] = lambda body: body
    ) -> int:
        """Name somebody in none of them any more; return how many did."""
        count = 0
        async for document in self.by(user):
            await self._rewrite(document, user, change)
            count += 1
        return count

    async def _rewrite(
        self, document: Document, user: UserId, change: Callable[[Json], Json]
    ) -> None:
        current: Document | None = document
        for _ in range(TRIES):
            if current is None:  # it was deleted meanwhile
                return
            body = self._without(change(json.loads(current.body)), user)
            put = Put(
                current.kind,
                current.id,
                json.dumps(body, separators=(",", ":")).encode(),
                current.parent,
                current.version,
            )
            try:
                await self.documents.write(put)
            except VersionConflict:
                current = await self.documents.get(current.kind, current.id)
            else:
                return
        raise StoreError(f"{document.kind} {document.id} changes all the time")

    def _without(self, body: Json, user: UserId) -> Json:
        return body | {key: _without(body[key], user) for key in self.keys}


def _without(value: Any, user: UserId) -> Any:
    """Return JSON in which somebody is not named."""
    match value:
        case str():
            return _word(user).sub(SOMEBODY, value)
        case dict():
            return {
                _word(user).sub(SOMEBODY, key): _without(each, user)
                for key, each in value.items()
            }
        case list():
            return [_without(each, user) for each in value]
        case int() if value == user and user >> _TIME_BITS:
            return SOMEBODY
        case _:
            return value


def _word(user: UserId) -> re.Pattern[str]:
    """Match an id, and no longer number that holds it."""
    return re.compile(rf"(?<![0-9]){user}(?![0-9])")


def _read(text: RuleText) -> rules.Rule | None:
    """Return a rule; None: it cannot be read."""
    try:
        return rules.read(text)
    except Refusal:
        return None


@contextmanager
def _unless(code: str) -> Iterator[None]:
    """Let pass that it was taken away meanwhile, which is refused with this code."""
    try:
        yield
    except Refusal as e:
        if e.code != code:
            raise
