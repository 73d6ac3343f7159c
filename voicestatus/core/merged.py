"""A file for the whole flash memory, and what of it a blank chip needs. Pure.

Source: ESP-IDF, "Application Startup Flow"; esptool, `merge-bin`.
"""

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final

from voicestatus.core.chip import Chip
from voicestatus.core.image import (
    DIGEST_BYTES,
    HAS_DIGEST_AT,
    HEAD_BYTES,
    LARGEST_BYTES,
    PROGRAM_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Image,
    ImageReader,
    ImageRefused,
    is_for_esp8266,
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

_LATER = 0x1000
_MAGIC = b"\xe9"
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
    """What starts a program on a chip that holds nothing else, and which program.

    Neither settings (NVS) nor what lies between the parts.
    """

    chip: Chip
    parts: tuple[Part, ...]
    """Boot loader, partition table and, where there is one, otadata. That is written
    blank, too: an older one would start the program of another slot."""
    app_at: int
    app_sha256: str


class MergedReader:
    """Judges a file that comes in pieces of any size, and keeps its parts alone.

    Wants no more once it has refused.
    """

    def __init__(self, limit_bytes: int = LARGEST_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._fed_bytes = 0
        self._file = Intake()
        self._parser = self._parse()

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        :raises FlashRefused: as soon as they show that no chip would start with it.
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

        :raises FlashRefused: when no chip would start with it.
        """
        self._file.end()
        try:
            while True:
                next(self._parser)
        except StopIteration as end:
            merged: Merged = end.value
        return merged

    def _parse(self) -> Generator[None, None, Merged]:
        head = yield from self._file.peek(HEAD_BYTES)
        _refuse_what_is_an_image(head)
        boot_at = 0 if head[:1] == _MAGIC else _LATER
        yield from self._skip(boot_at)
        region = yield from self._take(TABLE_AT - boot_at)
        chip, boot_loader = _boot_loader_in(region, boot_at)
        table = yield from self._take(TABLE_BYTES)
        partitions = partitions_in(table)
        _check_room(partitions, boot_loader)
        parts = [Part(boot_at, boot_loader), Part(TABLE_AT, table)]
        sequence = None
        if (otadata := otadata_in(partitions)) is not None:
            yield from self._skip(otadata.offset - self._file.at)
            data = yield from self._take(OTADATA_BYTES)
            sequence = sequence_in(data, otadata.offset)
            parts.append(Part(otadata.offset, data))
        slot = started(partitions, sequence)
        if slot is None or slot.offset < self._file.at:
            told = "The partition table has no slot for the program behind otadata."
            raise FlashRefused("FLASH_TABLE", told, TABLE_AT)
        yield from self._skip(slot.offset - self._file.at)
        app_sha256 = yield from self._program()
        if self._file.at > slot.end:
            told = f"The program is longer than its slot, of {slot.size_bytes} bytes."
            raise FlashRefused("FLASH_APP", told, slot.end)
        yield from self._skip(self._limit_bytes)
        return Merged(chip, tuple(parts), slot.offset, app_sha256)

    def _program(self) -> Generator[None, None, str]:
        """Walk over a program, as long as its headers say; return its SHA-256."""
        at, digest = self._file.at, hashlib.sha256()
        header = yield from self._hash(PROGRAM_HEADER_BYTES, digest)
        if header[:1] != _MAGIC:
            told = f"At 0x{at:x}, where the chip starts, is no program."
            raise FlashRefused("FLASH_APP", told, at)
        for _ in range(header[1]):
            segment = yield from self._hash(SEGMENT_HEADER_BYTES, digest)
            yield from self._hash(int.from_bytes(segment[4:], "little"), digest)
        yield from self._hash(16 - (self._file.at - at) % 16, digest)
        if header[HAS_DIGEST_AT]:
            yield from self._hash(DIGEST_BYTES, digest)
        return digest.hexdigest()

    # -- bytes -------------------------------------------------------------------------

    def _hash(self, size: int, digest: "hashlib._Hash") -> Look:
        """Go on over what must be there; return the last of it."""
        piece = b""
        while size:
            piece = yield from self._take(min(size, CHUNK_BYTES))
            digest.update(piece)
            size -= len(piece)
        return piece

    def _take(self, size: int) -> Look:
        piece = yield from self._file.peek(size)
        if len(piece) < size:
            end = self._file.at + len(piece)
            told = f"The file ends after {end} bytes, before the program does."
            raise FlashRefused("FLASH_TRUNCATED", told, end)
        self._file.consume(piece)
        return piece

    def _skip(self, size: int) -> Walk:
        """Go on so far, or to the end of the file."""
        while size:
            piece = yield from self._file.peek(min(size, CHUNK_BYTES))
            if not piece:
                return
            self._file.consume(piece)
            size -= len(piece)


def _refuse_what_is_an_image(head: bytes) -> None:
    if is_program(head):
        told = (
            "This is the program alone; `esptool merge-bin` puts it together with its "
            "boot loader and partition table."
        )
        raise FlashRefused("FLASH_BOOT_LOADER", told, 0)
    if is_for_esp8266(head):
        told = "An ESP8266 is flashed with the image alone."
        raise FlashRefused("FLASH_NEEDLESS", told, 0)


def _boot_loader_in(region: bytes, at: int) -> tuple[Chip, bytes]:
    """Return what stands at the beginning of a region that is blank behind it.

    :raises FlashRefused: unless that is a boot loader where its chip looks for it.
    """
    if region[:1] != _MAGIC or is_program(region):
        told = f"There is no boot loader, neither at 0x0 nor at 0x{_LATER:x}."
        raise FlashRefused("FLASH_BOOT_LOADER", told, at)
    # A multiple of 16 bytes, of which the last ones are hardly ever 16 times 0xff.
    size = -(-len(region.rstrip(b"\xff")) // 16) * 16
    reader = ImageReader(boot_loader=True)
    try:
        reader.feed(region[:size])
        chip = reader.finish().chip
    except ImageRefused as e:
        why = _BEHIND if e.code == "IMAGE_TRAILING" else e.message
        told = f"Of the boot loader at 0x{at:x}: {why}"
        code: Code = "FLASH_CHIP" if e.code == "IMAGE_CHIP" else "FLASH_BOOT_LOADER"
        raise FlashRefused(code, told, at + e.offset) from e
    if (meant := BOOT_LOADER_AT.get(chip)) != at:
        told = (
            f"The boot loader is at 0x{at:x}; {chip.title} looks at 0x{meant or 0:x}."
        )
        raise FlashRefused("FLASH_BOOT_LOADER", told, at)
    return chip, region[:size]


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


def check_merged(merged: Merged, image: Image) -> None:
    """:raises FlashRefused: unless it is the image that is started, on its chip."""
    if image.chip not in BOOT_LOADER_AT:
        told = f"A release for {image.chip.title} is flashed with the image alone."
        raise FlashRefused("FLASH_NEEDLESS", told, 0)
    if merged.chip is not image.chip:
        both = f"for {merged.chip.title}, and the image for {image.chip.title}"
        told = f"The boot loader is {both}."
        raise FlashRefused("FLASH_CHIP", told, merged.parts[0].offset)
    if merged.app_sha256 != image.sha256:
        told = (
            f"The program that would be started, at 0x{merged.app_at:x}, is another "
            "one than the release's image."
        )
        raise FlashRefused("FLASH_APP", told, merged.app_at)
