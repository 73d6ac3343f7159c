"""What is stored of releases: one document each."""

from dataclasses import fields

import msgspec
from msgspec import Struct, structs

from voicestatus.core.chip import Chip
from voicestatus.core.errors import StoreError
from voicestatus.core.release import Channel, Release
from voicestatus.store.documents import ANY, Document, Expected, Put

KIND = "release"


class Record(Struct, frozen=True):
    """A release as JSON; see `core.release`."""

    id: str
    chip: str
    board: str
    version: str
    build: int
    min_build: int
    floor: int
    not_after: int
    size_bytes: int
    sha256: str
    manifest: str
    md5: str
    channel: str
    legacy: bool
    added_at: float
    notes: str


_decode = msgspec.json.Decoder(Record).decode


def putting(release: Release, expected: Expected = ANY) -> Put:
    """Make the change for a batch."""
    values = {field.name: getattr(release, field.name) for field in fields(release)}
    values |= {"chip": release.chip.title, "channel": release.channel.value}
    body = msgspec.json.encode(Record(**values))
    return Put(KIND, release.id, body, expected=expected)


def read(document: Document) -> Release:
    """Read what is stored.

    :raises StoreError: when it is no release, or names what is not known here.
    """
    try:
        record = _decode(document.body)
        channel, chip = Channel(record.channel), Chip.named(record.chip)
    except ValueError as e:
        raise StoreError(f"release {document.id}: {e}") from e
    if chip is None:
        raise StoreError(f"release {document.id} is for the chip {record.chip!r}")
    return Release(**structs.asdict(record) | {"chip": chip, "channel": channel})
