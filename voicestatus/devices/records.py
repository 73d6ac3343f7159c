"""What is stored of devices: one document each."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from sys import intern
from typing import NamedTuple

import msgspec
from twisted.logger import Logger

from voicestatus.core.fleet import MAX_TOKENS, Record, Token, use
from voicestatus.devices.wire import Hello
from voicestatus.store.documents import (
    ANY,
    Change,
    Delete,
    Document,
    Documents,
    Expected,
    Put,
)

KIND = "device"


class Seen(NamedTuple):
    """What the store held of a device when it was last read or written."""

    version: int | None
    """None: it may hold nothing any more."""
    record: Record


class Records:
    """Devices as documents.

    Where others write them, too (`shared`), a write is refused that does not know
    what is stored: who is refused reads, and decides again.
    """

    _log = Logger()

    def __init__(self, documents: Documents, *, shared: bool) -> None:
        self._documents = documents
        self._shared = shared
        self._seen: dict[str, Seen] = {}
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Record).decode

    async def write(
        self, records: Sequence[Record], *also: Change, lasting: bool = False
    ) -> None:
        """Write a batch; `lasting` is what a power cut must not take.

        A device that was given a token, and is not known by it, is bricked.

        :raises VersionConflict: another node has written one of them.
        """
        changes = [self._putting(record) for record in records]
        version = await self._documents.write(*changes, *also)
        for record in records:
            self._note(version, record)
        if lasting:
            await self._documents.sync()

    async def delete(self, id_: str, *also: Change) -> None:
        """Delete one, whatever is stored of it; a power cut does not bring it back."""
        await self._documents.write(Delete(KIND, id_), *also)
        self.forget(id_)
        await self._documents.sync()

    async def get(self, id_: str) -> Document | None:
        return await self._documents.get(KIND, id_)

    async def all(self) -> tuple[Document, ...]:
        """:raises StoreError: storage does not answer."""
        return await self._documents.list(KIND)

    async def pause(self) -> None:
        """Let others have their turn."""
        await self._documents.pause()

    def read(self, document: Document) -> Record | None:
        """Return what a document says; None: it cannot be read.

        That is left as it is: a newer version may have written it.
        """
        record = self._read(document)
        if record is not None:
            self._note(document.version, record)
        return record

    def seen(self, id_: str) -> Seen | None:
        """Return what was last seen of a device, where others write, too."""
        return self._seen.get(id_)

    def forget(self, id_: str) -> None:
        self._seen.pop(id_, None)

    def emptied(self) -> None:
        """Take it that the store has nothing any more, or what others wrote since."""
        self._seen = {id_: Seen(None, seen.record) for id_, seen in self._seen.items()}

    def _putting(self, record: Record) -> Put:
        expected: Expected = ANY
        if self._shared:
            seen = self._seen.get(record.id)
            expected = None if seen is None else seen.version
        return Put(KIND, record.id, self._encode(record), expected=expected)

    def _note(self, version: int, record: Record) -> None:
        if self._shared:
            self._seen[record.id] = Seen(version, record)

    def _read(self, document: Document) -> Record | None:
        try:
            record = self._decode(document.body)
        except msgspec.DecodeError as e:
            self._log.error(
                "what is stored of device {device} cannot be read, and is left alone: "
                "{why}",
                device=document.id,
                why=str(e),
            )
            return None
        return slim(record) if record.id == document.id else None


def merged(stored: Record, base: Record, ours: Record) -> Record:
    """Put what became of `base` here on top of what is stored now."""
    changed = {
        field.name: value
        for field in fields(Record)
        if (value := getattr(ours, field.name)) != getattr(base, field.name)
    }
    changed.pop("tokens", None)
    if stored.name:
        changed.pop("name", None)  # a device but names itself where nobody has
    if (last := changed.get("last_seen_at")) is not None:
        changed["last_seen_at"] = max(last, stored.last_seen_at or last)
    record = replace(stored, **changed) if changed else stored
    # Of tokens a device can but use one; all else is stored before it counts.
    for token in ours.tokens:
        if token.first_used_at is not None and _has(record.tokens, token.digest):
            record = use(record, token.digest, token.first_used_at)
    return record


def refilled(stored: Record, ours: Record) -> Record:
    """Add the tokens that are known here to what another node put in an empty store.

    Either may be the older; but no device may be refused that has shown one of them.
    """
    is_used = any(token.first_used_at is not None for token in stored.tokens)
    more = (
        token
        for token in ours.tokens
        if not _has(stored.tokens, token.digest) and not (token.spare and is_used)
    )
    tokens = (*stored.tokens, *more)
    in_order = tuple(sorted(tokens, key=lambda token: token.issued_at)[-MAX_TOKENS:])
    return stored if in_order == stored.tokens else replace(stored, tokens=in_order)


def _has(tokens: Iterable[Token], digest: str) -> bool:
    return any(token.digest == digest for token in tokens)


def described(record: Record, hello: Hello) -> Record:
    """Return a record with what the device says of itself; an admin's name stays.

    It is the same object where that is nothing new.
    """
    said = hello.chip, hello.board, hello.fw, hello.build, hello.caps
    known = record.chip, record.board, record.fw, record.build, record.caps
    named = record.name or not hello.name
    if said == known and named and record.sketch is None:
        return record
    return slim(
        replace(
            record,
            name=record.name or hello.name,
            chip=hello.chip,
            board=hello.board,
            fw=hello.fw,
            build=hello.build,
            caps=hello.caps,
            sketch=None,
        )
    )


def slim(record: Record) -> Record:
    """Let devices that are alike share what they say alike."""
    return replace(
        record,
        chip=intern(record.chip),
        board=intern(record.board),
        fw=intern(record.fw),
        caps=tuple(map(intern, record.caps)),
    )
