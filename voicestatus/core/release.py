"""A release: one image for one chip, signed, and whom it may be given to. Pure."""

from dataclasses import dataclass
from enum import Enum

from voicestatus.core.chip import Chip


class Channel(Enum):
    """How far a release is meant to go."""

    STABLE = "stable"
    BETA = "beta"


@dataclass(frozen=True, slots=True)
class FlashPart:
    """Bytes that a chip needs in its flash memory, by their SHA-256, and where."""

    offset: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What the catalogue knows of one image; what stands above `manifest` is signed.

    `id` is `<chip>-<build>-<first 8 hexadecimal digits of the image's SHA-256>`.
    """

    id: str
    chip: Chip
    board: str
    """Empty: any board with this chip."""
    version: str
    build: int
    min_build: int
    """The lowest build that may be updated to this one."""
    floor: int
    not_after: int
    """Unix seconds; 0: for ever."""
    size_bytes: int
    sha256: str
    manifest: str
    """Its 192 bytes in base64, as devices get them."""
    md5: str
    channel: Channel
    legacy: bool
    """Whether an admin allowed it for devices that cannot check a signature."""
    added_at: float
    """Unix seconds."""
    notes: str = ""
    flash: tuple[FlashPart, ...] = ()
    """What starts it on a blank chip, by offset; the image is one of them. Not signed.
    Empty: that was not given, or the image needs nothing else."""
    trusted: bool = True
    """Whether a key that may sign releases today has signed it."""


def release_id(chip: Chip, build: int, sha256: str) -> str:
    """Return what a release is called."""
    return f"{chip.title}-{build}-{sha256[:8]}"
