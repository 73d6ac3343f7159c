"""A file for the whole flash memory, and what of it a blank chip needs. Pure.

Source: ESP-IDF, "Application Startup Flow"; esptool, `merge-bin`.
"""

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final

from voicestatus.core.chip import Chip
from voicestatus.core.image import (
    HEAD_BYTES,
    LARGEST_BYTES,
    Image,
    ImageReader,
    ImageRefused,
    is_program,
)
from voicestatus.core.intake import CHUNK_BYTES, Intake, Look, Walk
from voicestatus.core.partitions import (
    OTADATA_BYTES,
    TABLE_AT,
    TABLE_BYTES,
    Code,
    FlashRefused,
    Partition,
    otadata_in,
    partitions_in,
    sequence_in,
    started,
)

BOOT_LOADER_AT: Final = {
    Chip.ESP32: 0x1000,
    Chip.ESP32S2: 0x1000,
    Chip.ESP32S3: 0,
    Chip.ESP32C3: 0,
}
"""Where the chip's ROM looks for it. Source: esptool, `BOOTLOADER_FLASH_OFFSET`."""

_MAGIC = 0xE9
_FLASH_SIZE_AT, _MEGABYTE = 3, 1_048_576
"""The high four bits there: 1 MB, doubled so often. Source: esptool, `FLASH_SIZES`."""
_BEHIND = "Behind it stands more, up to the partition table."


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes, and where in flash they belong."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Merged:
    """What starts a release's program on a chip that holds nothing else.

    Neither settings (NVS) nor what lies between the parts.
    """

    parts: tuple[Part, ...]
    """Boot loader, partition table and, where there is one, otadata. That is written
    blank, too: an older one would start the program of another slot."""
    app_at: int
    """Where the release's image belongs."""


class MergedReader:
    """Judges a file that comes in pieces of any size, and keeps its parts alone.

    Wants no more once it has refused.
    """

    def __init__(self, image: Image, limit_bytes: int = LARGEST_BYTES) -> None:
        """Take the image that has to be in it.

        :raises FlashRefused: when its chip starts with the image alone.
        """
        if image.chip not in BOOT_LOADER_AT:
            told = f"A release for {image.chip.title} is flashed without such a file."
            raise FlashRefused("FLASH_NEEDLESS", told, 0)
        self._image, self._limit_bytes = image, limit_bytes
        self._fed_bytes = 0
        self._file = Intake()
        self._parser = self._parse()

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        :raises FlashRefused: as soon as they show that it is none for the image.
        """
        room = self._limit_bytes - self._fed_bytes
        self._file.feed(data[: max(room, 0)])
        self._fed_bytes += len(data)
        next(self._parser)
        if self._fed_bytes > self._limit_bytes:
            told = f"This is larger than {self._limit_bytes} bytes, the most there is."
            raise FlashRefused("FLASH_TOO_LARGE", told, self._limit_bytes)

    def finish(self) -> Merged:
        """Judge the whole, when no more comes.

        :raises FlashRefused: when it is none for the image.
        """
        self._file.end()
        try:
            while True:
                next(self._parser)
        except StopIteration as end:
            merged: Merged = end.value
        return merged

    def _parse(self) -> Generator[None, None, Merged]:
        boot_at = BOOT_LOADER_AT[self._image.chip]
        yield from self._refuse_program_alone()
        yield from self._skip_to(boot_at)
        boot_loader = _boot_loader_in(
            (yield from self._take(TABLE_AT - boot_at)), boot_at, self._image.chip
        )
        table = yield from self._take(TABLE_BYTES)
        partitions = partitions_in(table)
        _check_room(partitions, boot_loader)
        parts = [Part(boot_at, boot_loader), Part(TABLE_AT, table)]
        sequence = None
        if (otadata := otadata_in(partitions)) is not None:
            yield from self._skip_to(otadata.offset)
            data = yield from self._take(OTADATA_BYTES)
            sequence = sequence_in(data, otadata.offset)
            parts.append(Part(otadata.offset, data))
        slot = started(partitions, sequence)
        if slot is None or slot.offset < self._file.at:
            told = "The partition table has no slot for the program behind otadata."
            raise FlashRefused("FLASH_TABLE", told, TABLE_AT)
        yield from self._skip_to(slot.offset)
        yield from self._compare_app(slot)
        yield from self._skip(self._limit_bytes)
        return Merged(tuple(parts), slot.offset)

    def _refuse_program_alone(self) -> Walk:
        if is_program((yield from self._file.peek(HEAD_BYTES))):
            told = (
                "This is the program alone; `esptool merge-bin` puts it together with "
                "its boot loader and partition table."
            )
            raise FlashRefused("FLASH_BOOT_LOADER", told, 0)

    def _compare_app(self, slot: Partition) -> Walk:
        left, digest = self._image.size_bytes, hashlib.sha256()
        if left > slot.size_bytes:
            told = f"The image has no room in its slot of {slot.size_bytes} bytes."
            raise FlashRefused("FLASH_APP", told, slot.offset)
        while left:
            piece = yield from self._take(min(left, CHUNK_BYTES))
            digest.update(piece)
            left -= len(piece)
        if digest.hexdigest() != self._image.sha256:
            told = (
                f"At 0x{slot.offset:x}, where the chip starts ({slot.name!r}), stands "
                "another program than the release's image."
            )
            raise FlashRefused("FLASH_APP", told, slot.offset)

    # -- bytes -------------------------------------------------------------------------

    def _take(self, size: int) -> Look:
        piece = yield from self._file.peek(size)
        if len(piece) < size:
            end = self._file.at + len(piece)
            told = f"The file ends after {end} bytes, before the program does."
            raise FlashRefused("FLASH_TRUNCATED", told, end)
        self._file.consume(piece)
        return piece

    def _skip_to(self, offset: int) -> Walk:
        yield from self._skip(offset - self._file.at)

    def _skip(self, size: int) -> Walk:
        """Go on so far, or to the end of the file."""
        while size:
            piece = yield from self._file.peek(min(size, CHUNK_BYTES))
            if not piece:
                return
            self._file.consume(piece)
            size -= len(piece)


def _boot_loader_in(region: bytes, at: int, chip: Chip) -> bytes:
    """Return what stands at the beginning of a region that is blank behind it.

    :raises FlashRefused: unless that is a boot loader for the chip.
    """
    if region[0] != _MAGIC or is_program(region):
        told = f"There is no boot loader at 0x{at:x}, where {chip.title} looks for it."
        raise FlashRefused("FLASH_BOOT_LOADER", told, at)
    # A multiple of 16 bytes, of which the last ones are hardly ever 16 times 0xff.
    size = -(-len(region.rstrip(b"\xff")) // 16) * 16
    reader = ImageReader(boot_loader=True)
    try:
        reader.feed(region[:size])
        found = reader.finish().chip
    except ImageRefused as e:
        why = _BEHIND if e.code == "IMAGE_TRAILING" else e.message
        told = f"Of the boot loader at 0x{at:x}: {why}"
        code: Code = "FLASH_CHIP" if e.code == "IMAGE_CHIP" else "FLASH_BOOT_LOADER"
        raise FlashRefused(code, told, at + e.offset) from e
    if found is not chip:
        told = f"The boot loader is for {found.title}, and the image for {chip.title}."
        raise FlashRefused("FLASH_CHIP", told, at)
    return region[:size]


def _check_room(partitions: Sequence[Partition], boot_loader: bytes) -> None:
    """:raises FlashRefused: when the table is for more flash than the boot loader.

    Source: flash_partitions.c, `esp_partition_table_verify`.
    """
    flash_bytes = _MEGABYTE << (boot_loader[_FLASH_SIZE_AT] >> 4)
    for each in partitions:
        if each.end > flash_bytes:
            told = (
                f"The partition {each.name!r} ends at 0x{each.end:x}, and by the boot "
                f"loader's header flash does at 0x{flash_bytes:x}."
            )
            raise FlashRefused("FLASH_TABLE", told, TABLE_AT)
