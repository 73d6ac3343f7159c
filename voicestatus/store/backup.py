"""Everything that a store holds as lines of text, and back, between stores of any kind.

One JSON object a line: a header, the fences, the documents, the blobs (each followed
by its bytes), and a last line with the SHA-256 of all lines before it: a file that
was cut off or changed is refused before anything is done with it.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from voicestatus.core.errors import StoreError, VoiceStatusError
from voicestatus.store.blobs import Blob, Upload
from voicestatus.store.documents import Document, Fence, Picture, Store

FORMAT = 1
LINE_MAX_BYTES = 64 * 1024 * 1024

Told = Callable[[int], None]
"""Hears how many bytes more are done."""


class BadBackup(VoiceStatusError):  # noqa: N818 - what was found, not whose fault
    """This file is no whole backup."""


class _Line(msgspec.Struct, tag_field="type", omit_defaults=True, frozen=True):
    """What stands in one line; `bytes` are base64."""


class _Header(_Line, tag="voicestatus-backup", frozen=True):
    format: int
    version: int
    documents: int
    blobs: int


class _Fence(_Line, tag="fence", frozen=True):
    shard: int
    number: int


class _Document(_Line, tag="document", frozen=True):
    kind: str
    id: str
    version: int
    parent: str = ""
    body: str | None = None
    body64: bytes | None = None


class _Blob(_Line, tag="blob", frozen=True):
    kind: str
    id: str
    size_bytes: int
    sha256: str


class _Data(_Line, tag="data", frozen=True):
    base64: bytes


class _End(_Line, tag="end", frozen=True):
    sha256: str


_AnyLine = _Header | _Fence | _Document | _Blob | _Data | _End
_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], _AnyLine] = msgspec.json.Decoder(_AnyLine).decode


@dataclass(frozen=True, slots=True)
class Contained:
    """What is in a backup."""

    documents: int
    blobs: int
    size_bytes: int


async def write_backup(store: Store, stream: BinaryIO, told: Told) -> Contained:
    """Write what the store holds at this moment; others may go on writing to it.

    :raises StoreError: too, when a blob is deleted while its turn is still to come.
    """
    sum_, size_bytes = hashlib.sha256(), 0

    def put(line: _Line) -> None:
        nonlocal size_bytes
        text = _encode(line) + b"\n"
        sum_.update(text)
        size_bytes += stream.write(text)
        told(len(text))

    held = await store.picture()
    put(_Header(FORMAT, held.version, len(held.documents), len(held.blobs)))
    for fence in held.fences:
        put(_Fence(fence.shard, fence.number))
    for document in held.documents:
        put(_line_of(document))
    for blob in held.blobs:
        put(_Blob(blob.kind, blob.id, blob.size_bytes, blob.sha256))
        async for data in store.read(blob):
            put(_Data(data))
    put(_End(sum_.hexdigest()))
    return Contained(len(held.documents), len(held.blobs), size_bytes)


def check_backup(stream: BinaryIO) -> Contained:
    """Read the file to its end, and count what is in it.

    :raises BadBackup: when it is no backup, of a newer format, changed or cut off.
    """
    documents = blobs = size_bytes = 0
    for text, line in _lines(stream):
        documents += isinstance(line, _Document)
        blobs += isinstance(line, _Blob)
        size_bytes += len(text)
    return Contained(documents, blobs, size_bytes)


async def restore_backup(
    store: Store, stream: BinaryIO, told: Told, *, replace: bool = False
) -> None:
    """Put what a file holds into the store, at once or not at all.

    :raises BadBackup: when it is no whole backup.
    :raises NotEmpty: when the store holds something, and not `replace`.
    """
    if not replace:
        await store.become(Picture(version=0))  # refuses before the long part
    uploads: list[Upload] = []
    try:
        picture = await _picture(store, stream, told, uploads)
        await store.become(picture, replace=replace)
    except BaseException:
        for upload in uploads:
            with suppress(StoreError):  # then they are forgotten in an hour
                await upload.abandon()
        raise


async def _picture(
    store: Store, stream: BinaryIO, told: Told, uploads: list[Upload]
) -> Picture:
    """Read the file to its end, and upload the bytes of its blobs."""
    version, fences, documents = 0, list[Fence](), list[Document]()
    blobs: list[Blob] = []
    lines = _lines(stream)
    for text, line in lines:
        told(len(text))
        match line:
            case _Header():
                version = line.version
            case _Fence():
                fences.append(Fence(line.shard, line.number))
            case _Document():
                documents.append(_document_of(line))
            case _Blob():
                uploads.append(store.upload(line.kind, line.id))
                blobs.append(await _filled(uploads[-1], line, lines, told))
            case _Data():
                raise BadBackup("bytes stand where no blob is")
            case _End():
                pass
    return Picture(version, tuple(documents), tuple(fences), tuple(blobs))


async def _filled(
    upload: Upload, blob: _Blob, lines: Iterator[tuple[bytes, _AnyLine]], told: Told
) -> Blob:
    left_bytes = blob.size_bytes
    while left_bytes > 0:
        text, line = next(lines)
        if not isinstance(line, _Data):
            raise BadBackup(f"{blob.kind} {blob.id}: bytes are missing")
        told(len(text))
        await upload.append(line.base64)
        left_bytes -= len(line.base64)
    return await upload.settle(blob.sha256)


def _lines(stream: BinaryIO) -> Iterator[tuple[bytes, _AnyLine]]:
    """Yield line by line; who comes to the end has read a whole backup.

    :raises BadBackup: when it is none.
    """
    sum_, last, number = hashlib.sha256(), None, 0
    while text := stream.readline(LINE_MAX_BYTES):
        number += 1
        line = _decoded(text, number)
        if isinstance(last, _End):
            raise BadBackup("something follows the end of the backup")
        if isinstance(line, _End) and line.sha256 != sum_.hexdigest():
            raise BadBackup("the file was changed: its checksum is wrong")
        sum_.update(text)
        yield text, line
        last = line
    if not isinstance(last, _End):
        raise BadBackup("the file was cut off: its last line is missing")


def _decoded(text: bytes, number: int) -> _AnyLine:
    try:
        line = _decode(text)
    except msgspec.DecodeError as e:
        if number == 1:
            raise BadBackup("the file is no backup of voicestatus") from e
        raise BadBackup(f"the file was cut off or changed in line {number}") from e
    if number == 1 and not isinstance(line, _Header):
        raise BadBackup("the file is no backup of voicestatus")
    if isinstance(line, _Header) and line.format > FORMAT:
        raise BadBackup("the file was written by a newer voicestatus; update this one")
    return line


def _line_of(document: Document) -> _Document:
    named = document.kind, document.id, document.version, document.parent
    try:
        return _Document(*named, body=document.body.decode())
    except UnicodeDecodeError:
        return _Document(*named, body64=document.body)


def _document_of(line: _Document) -> Document:
    body = line.body64 if line.body is None else line.body.encode()
    return Document(line.kind, line.id, line.parent, line.version, body or b"")
