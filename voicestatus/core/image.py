"""What a firmware file is, judged by its bytes while they come in. Pure.

Source: Espressif's "Firmware Image Format"; ESP-IDF, esp_app_format.h and
esp_image_format.c; for the ESP8266 the Arduino core's elf2bin.py and eboot.c.
"""

import struct
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, get_args

from voicestatus.core import elf, foreign
from voicestatus.core.chip import Chip
from voicestatus.core.errors import Refusal
from voicestatus.core.flash import CrcOfArduino, Xor
from voicestatus.core.intake import CHUNK_BYTES, Intake, Look, Walk
from voicestatus.core.marker import Marker, MarkerSearch, parse
from voicestatus.core.partitions import TABLE_AT, TABLE_BYTES, app_in

LARGEST_BYTES = 16 * 1_048_576
"""The largest flash memory that these chips have."""

Code = (
    foreign.Code
    | Literal[
        "IMAGE_EMPTY",
        "IMAGE_TOO_LARGE",
        "IMAGE_TRUNCATED",
        "IMAGE_TRAILING",
        "IMAGE_MERGED",
        "IMAGE_CHIP",
        "IMAGE_HEADER",
        "IMAGE_SEGMENT",
        "IMAGE_CHECKSUM",
        "IMAGE_DIGEST",
        "IMAGE_MARKER",
    ]
)
CODES: frozenset[str] = frozenset(
    code for one in get_args(Code) for code in get_args(one) or (one,)
)

Seal = Literal["checksum", "crc32", "sha256", "none"]


class ImageRefused(Refusal):
    """Why a file is no image that a sign may be given.

    `offset` is where that shows. `app_at` is where in the file an image begins that
    `voicestatus inspect --extract-app` cuts out.
    """

    def __init__(
        self, code: Code, message: str, offset: int, app_at: int | None = None
    ) -> None:
        super().__init__(code, message, offset=offset)
        self.offset, self.app_at = offset, app_at


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of an image, and where on the chip it belongs."""

    offset: int
    """Of its header of 8 bytes."""
    address: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A file that one kind of chip can run."""

    chip: Chip
    size_bytes: int
    sha256: str
    md5: str
    segments: tuple[Segment, ...]
    seal: Seal
    """What in it tells damage, the strongest."""
    marker: Marker | None
    """None: it is not our firmware, or an old one."""


Judged = Generator[None, None, tuple[Chip, Seal]]

_MAGIC = 0xE9
_HEADER = struct.Struct("<BBBBI")
PROGRAM_HEADER_BYTES, HAS_DIGEST_AT = 24, 23
"""Of the ESP32 family."""
_SEGMENT = struct.Struct("<II")
SEGMENT_HEADER_BYTES = _SEGMENT.size
_MOST_SEGMENTS = 16
_DESCRIPTOR_AT, _DESCRIPTOR = 32, bytes.fromhex("3254cdab")
HEAD_BYTES = _DESCRIPTOR_AT + len(_DESCRIPTOR)
"""So many tell a program of the ESP32 family from its boot loader."""
DIGEST_BYTES = 32

_FAMILY = {
    chip.code: chip for chip in (Chip.ESP32, Chip.ESP32S2, Chip.ESP32S3, Chip.ESP32C3)
}
_OTHER_CHIPS = {
    12: "ESP32-C2",
    13: "ESP32-C6",
    16: "ESP32-H2",
    18: "ESP32-P4",
    20: "ESP32-C61",
    23: "ESP32-C5",
}

_EBOOT = 0x4010F
"""The page in which its boot loader begins, as a compiler has laid it out."""
_ESP8266_APP_AT = 0x1000
_ESP8266_FLASH = 0x40200000
_ESP8266_MEMORY = (
    (0x3FFE8000, 0x40000000),
    (0x40100000, 0x40110000),
    (_ESP8266_FLASH, 0x40300000),
)


def is_program(head: bytes) -> bool:
    """Whether a file of the ESP32 family that begins so is a program."""
    return head[_DESCRIPTOR_AT:HEAD_BYTES] == _DESCRIPTOR


def is_for_esp8266(head: bytes) -> bool:
    """Whether an image that begins so is for an ESP8266: it has no chip id."""
    return int.from_bytes(head[4:8], "little") >> 12 == _EBOOT


class ImageReader:
    """Judges a file that comes in pieces of any size, and keeps none of it.

    Wants no more once it has refused.
    """

    def __init__(
        self, limit_bytes: int = LARGEST_BYTES, *, boot_loader: bool = False
    ) -> None:
        """Take whether it is to be a boot loader of the ESP32 family."""
        self._limit_bytes, self._boot_loader = limit_bytes, boot_loader
        self._fed_bytes = 0
        self._file = Intake()
        self._crc = CrcOfArduino()
        self._xor = Xor()
        self._markers = MarkerSearch()
        self._marker: Marker | None = None
        self._chip: Chip | None = None
        self._segments: list[Segment] = []
        self._parser = self._parse()

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        :raises ImageRefused: as soon as they show that it is no image.
        """
        room = self._limit_bytes - self._fed_bytes
        self._file.feed(data[: max(room, 0)])
        self._fed_bytes += len(data)
        next(self._parser)
        if self._fed_bytes > self._limit_bytes:
            raise self._too_large()

    def finish(self) -> Image:
        """Judge the whole, when no more comes.

        :raises ImageRefused: when it is no image.
        """
        self._file.end()
        try:
            while True:
                next(self._parser)
        except StopIteration as end:
            chip, seal = end.value
        return Image(
            chip=chip,
            size_bytes=self._file.at,
            sha256=self._file.sha256.hexdigest(),
            md5=self._file.md5.hexdigest(),
            segments=tuple(self._segments),
            seal=seal,
            marker=self._marker,
        )

    # -- bytes -------------------------------------------------------------------------

    def _take(self, size: int) -> Look:
        """Go on over what must be there."""
        piece = yield from self._file.peek(size)
        if len(piece) < size:
            raise self._truncated(self._file.at + len(piece))
        self._consume(piece)
        return piece

    def _skip(self, size: int) -> Walk:
        """Go on so far, or to the end of the file."""
        while size:
            piece = yield from self._file.peek(min(size, CHUNK_BYTES))
            if not piece:
                return
            self._consume(piece)
            size -= len(piece)

    def _consume(self, piece: bytes) -> None:
        if self._chip is Chip.ESP8266:
            self._crc.feed(piece, self._file.at)
        self._file.consume(piece)
        for offset, text in self._markers.feed(piece):
            self._note(offset, text)

    # -- kinds of files ----------------------------------------------------------------

    def _parse(self) -> Judged:
        head = yield from self._file.peek(_HEADER.size)
        if not head:
            raise ImageRefused("IMAGE_EMPTY", "The file is empty.", 0)
        if head.startswith(elf.MAGIC):
            return (yield from self._elf())
        if head == b"\xff" * _HEADER.size:
            yield from self._whole_flash()
        if head[0] != _MAGIC:
            head = yield from self._file.peek(foreign.HEAD_BYTES)
            raise ImageRefused(*foreign.kind_of(head), 0)
        if is_for_esp8266(head):
            # Before the others: where they have a chip id stands a length.
            judged = yield from self._esp8266()
        else:
            judged = yield from self._esp32()
        if (yield from self._file.peek(1)):
            told = (
                f"The image ends after {self._file.at} bytes, and more follows; "
                "`voicestatus inspect FILE --extract-app APP` cuts it off."
            )
            raise ImageRefused("IMAGE_TRAILING", told, self._file.at, app_at=0)
        for offset, text in self._markers.finish():
            self._note(offset, text)
        return judged

    def _esp32(self) -> Judged:
        head = yield from self._file.peek(HEAD_BYTES)
        if len(head) < HEAD_BYTES:
            raise self._truncated(len(head))
        if not (self._boot_loader or is_program(head)):
            yield from self._whole_flash()
        code = int.from_bytes(head[12:14], "little")
        if (chip := _FAMILY.get(code)) is None:
            name = _OTHER_CHIPS.get(code, f"an unknown chip ({code})")
            raise ImageRefused("IMAGE_CHIP", f"This is for {name}.", 12)
        if head[HAS_DIGEST_AT] > 1:
            told = "Its header does not say whether a digest follows."
            raise ImageRefused("IMAGE_HEADER", told, HAS_DIGEST_AT)
        self._chip = chip
        yield from self._program(PROGRAM_HEADER_BYTES)
        if not head[HAS_DIGEST_AT]:
            return chip, "checksum"
        meant, at = self._file.sha256.digest(), self._file.at
        if (yield from self._take(DIGEST_BYTES)) != meant:
            told = "The image is damaged: its SHA-256 is not the one at its end."
            raise ImageRefused("IMAGE_DIGEST", told, at)
        return chip, "sha256"

    def _esp8266(self) -> Judged:
        self._chip = Chip.ESP8266
        yield from self._program(_HEADER.size)
        if self._file.at > _ESP8266_APP_AT:
            told = "Its boot loader reaches into the program."
            raise ImageRefused("IMAGE_SEGMENT", told, _ESP8266_APP_AT)
        yield from self._take(_ESP8266_APP_AT - self._file.at)
        head = yield from self._file.peek(_HEADER.size)
        if head[:1] not in {b"", bytes([_MAGIC])}:
            told = "This is a boot loader of the ESP8266 without a program behind it."
            raise ImageRefused("IMAGE_NOT_APP", told, _ESP8266_APP_AT)
        yield from self._program(_HEADER.size)
        if not self._crc.is_meant(self._file.at):
            return Chip.ESP8266, "checksum"
        if not self._crc.holds():
            told = "The image is damaged: its CRC-32 is not the one that it names."
            raise ImageRefused("IMAGE_DIGEST", told, self._crc.AT)
        return Chip.ESP8266, "crc32"

    def _elf(self) -> Judged:
        """Read a program for a computer, such as the twin of the firmware."""
        head = yield from self._file.peek(elf.HEAD_BYTES)
        if len(head) < elf.HEAD_BYTES:
            raise self._truncated(len(head))
        if elf.is_for_microcontroller(head):
            raise self._linker_file()
        self._chip = Chip.HOST
        yield from self._skip(self._limit_bytes + 1)  # to its end, wherever that is
        for offset, text in self._markers.finish():
            self._note(offset, text)
        if elf.end_of_tables(head) > self._file.at:
            raise self._truncated(self._file.at)
        if self._marker is None:
            raise self._linker_file()
        return Chip.HOST, "none"

    def _whole_flash(self) -> Walk:
        """Refuse what begins with a boot loader, or with nothing, as flash does."""
        (first,) = yield from self._file.peek(1)
        yield from self._skip(TABLE_AT)
        table = yield from self._file.peek(TABLE_BYTES)
        if (app_at := app_in(table)) is not None:
            told = (
                "This is a file for the whole flash memory; an update takes the "
                f"program alone, which begins at 0x{app_at:x}. `voicestatus inspect "
                "FILE --extract-app APP` cuts it out."
            )
            raise ImageRefused("IMAGE_MERGED", told, TABLE_AT, app_at)
        if first == _MAGIC:
            told = (
                "This is no program for an update: no description of a program stands "
                "at its beginning. It may be a boot loader."
            )
            raise ImageRefused("IMAGE_NOT_APP", told, _DESCRIPTOR_AT)
        raise ImageRefused("IMAGE_UNKNOWN", "This begins as empty flash does.", 0)

    # -- what stands in an image -------------------------------------------------------

    def _program(self, header_bytes: int) -> Walk:
        """Walk over a header, its segments and their checksum."""
        at, first = self._file.at, len(self._segments)
        header = yield from self._take(header_bytes)
        _, count, _, _, entry = _HEADER.unpack_from(header)
        if not 0 < count <= _MOST_SEGMENTS:
            told = f"Its header speaks of {count} segments."
            raise ImageRefused("IMAGE_HEADER", told, at + 1)
        self._xor = Xor()
        for _ in range(count):
            yield from self._segment()
        own = filter(self._is_there_at_boot, self._segments[first:])
        if not any(s.address <= entry < s.address + s.size_bytes for s in own):
            told = f"It begins at address 0x{entry:08x}, where nothing of it is."
            raise ImageRefused("IMAGE_HEADER", told, at + 4)
        # The checksum is the last byte of a block of 16.
        *_, checksum = yield from self._take(16 - self._file.at % 16)
        if self._crc.is_meant(self._file.at):
            self._xor.feed(self._crc.words)  # takes them out again
        if checksum != self._xor.value():
            told = (
                f"The image is damaged: its checksum is 0x{self._xor.value():02x}, and "
                f"0x{checksum:02x} stands there."
            )
            raise ImageRefused("IMAGE_CHECKSUM", told, self._file.at - 1)

    def _segment(self) -> Walk:
        at = self._file.at
        address, size = _SEGMENT.unpack((yield from self._take(_SEGMENT.size)))
        segment = Segment(at, address, size)
        if (fault := self._fault(segment)) is not None:
            raise ImageRefused("IMAGE_SEGMENT", f"A segment {fault}.", at)
        if self._file.at + size > self._limit_bytes:
            raise self._too_large()
        self._segments.append(segment)
        while size:
            piece = yield from self._take(min(size, CHUNK_BYTES))
            self._xor.feed(piece)
            size -= len(piece)

    def _fault(self, segment: Segment) -> str | None:
        address, end = segment.address, segment.address + segment.size_bytes
        if self._chip is not Chip.ESP8266:
            odd = segment.size_bytes % 4
            return "is no multiple of 4 bytes long" if odd else None
        if not any(low <= address and end <= high for low, high in _ESP8266_MEMORY):
            return f"belongs at 0x{address:08x}, where the chip has no memory for it"
        data_at = segment.offset + _SEGMENT.size
        if address >= _ESP8266_FLASH and address - _ESP8266_FLASH != data_at:
            return f"belongs at 0x{address:08x} and will be seen elsewhere"
        return None

    def _is_there_at_boot(self, segment: Segment) -> bool:
        """The ESP8266's boot loader jumps before flash can be seen."""
        return self._chip is not Chip.ESP8266 or segment.address < _ESP8266_FLASH

    def _note(self, offset: int, text: bytes) -> None:
        """Take a marker that was found."""
        marker = parse(text)
        if marker is None:
            told = "What stands there begins as the firmware's marker and is none."
            raise ImageRefused("IMAGE_MARKER", told, offset)
        if self._chip not in {None, marker.chip}:
            if self._chip is Chip.HOST:
                raise self._linker_file()
            told = f"It is made for another chip than its marker ({marker.chip.title})."
            raise ImageRefused("IMAGE_CHIP", told, offset)
        if self._marker not in {None, marker}:
            raise ImageRefused("IMAGE_MARKER", "It has two different markers.", offset)
        self._marker = marker

    # -- refusals ----------------------------------------------------------------------

    @staticmethod
    def _truncated(end: int) -> ImageRefused:
        told = f"The file ends after {end} bytes, before the image does."
        return ImageRefused("IMAGE_TRUNCATED", told, end)

    def _too_large(self) -> ImageRefused:
        told = f"This is larger than {self._limit_bytes} bytes, the most that is taken."
        return ImageRefused("IMAGE_TOO_LARGE", told, self._limit_bytes)

    @staticmethod
    def _linker_file() -> ImageRefused:
        told = (
            "This is the linker's file (ELF); the image is the .bin that is made of it."
        )
        return ImageRefused("IMAGE_LINKER_FILE", told, 0)
