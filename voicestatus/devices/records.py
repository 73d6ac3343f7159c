"""What is stored of devices: one document each."""

from dataclasses import replace
from sys import intern

import msgspec
from twisted.logger import Logger

from voicestatus.core.fleet import Record
from voicestatus.devices.wire import Hello
from voicestatus.store.documents import Change, Delete, Document, Documents, Put

KIND = "device"


class Records:
    """Devices as documents."""

    _log = Logger()

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Record).decode

    async def write(self, *changes: Change, lasting: bool = False) -> None:
        """Write a batch; `lasting` is what a power cut must not take.

        A device that was given a token, and is not known by it, is bricked.
        """
        await self._documents.write(*changes)
        if lasting:
            await self._documents.sync()

    async def load(self) -> tuple[list[Record], frozenset[str]]:
        """Return all that can be read, and the ids of what can not.

        What can not be read is left as it is: a newer version may have written it.

        :raises StoreError: storage does not answer.
        """
        records, unreadable = [], set()
        for document in await self._documents.list(KIND):
            record = self._read(document)
            if record is None:
                unreadable.add(document.id)
            else:
                records.append(record)
        return records, frozenset(unreadable)

    def putting(self, record: Record) -> Put:
        """Make the change for a batch."""
        return Put(KIND, record.id, self._encode(record))

    def deleting(self, id_: str) -> Delete:
        """Make the change for a batch."""
        return Delete(KIND, id_)

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


def described(record: Record, hello: Hello) -> Record:
    """Return a record with what the device says of itself; an admin's name stays.

    It is the same object where that is nothing new.
    """
    said = hello.chip, hello.board, hello.fw, hello.build, hello.caps
    known = record.chip, record.board, record.fw, record.build, record.caps
    if said == known and (record.name or not hello.name):
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
