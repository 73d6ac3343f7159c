"""What is stored of releases: one document each."""

from base64 import b64decode
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct, structs

from voicestatus.core.chip import Chip
from voicestatus.core.errors import StoreError
from voicestatus.core.manifest import ManifestRefused, PublicKey, verified
from voicestatus.core.release import Channel, FlashPart, Release
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
    flash: tuple[FlashPart, ...] = ()


_SIGNED = (
    *("chip", "board", "version", "build", "min_build", "floor", "not_after"),
    *("size_bytes", "sha256"),
)
_decode = msgspec.json.Decoder(Record).decode


def putting(release: Release, expected: Expected = ANY) -> Put:
    """Make the change for a batch."""
    values = {name: getattr(release, name) for name in Record.__struct_fields__}
    values |= {"chip": release.chip.title, "channel": release.channel.value}
    body = msgspec.json.encode(Record(**values))
    return Put(KIND, release.id, body, expected=expected)


def read(document: Document, keys: Sequence[PublicKey]) -> Release:
    """Read what is stored, and judge it anew: keys may have been taken away.

    :raises StoreError: when it is no release, or names what is not known here.
    """
    try:
        record = _decode(document.body)
        channel, chip = Channel(record.channel), Chip.named(record.chip)
    except ValueError as e:
        raise StoreError(f"release {document.id}: {e}") from e
    if chip is None:
        raise StoreError(f"release {document.id} is for the chip {record.chip!r}")
    known = structs.asdict(record) | {"chip": chip, "channel": channel}
    return Release(**known, trusted=_is_signed(known, keys))


def _is_signed(known: Mapping[str, object], keys: Sequence[PublicKey]) -> bool:
    """Whether one of the keys has signed just what is known of a release."""
    try:
        manifest = verified(b64decode(str(known["manifest"])), keys)
    except (ManifestRefused, ValueError):
        return False
    return all(getattr(manifest, name) == known[name] for name in _SIGNED)
