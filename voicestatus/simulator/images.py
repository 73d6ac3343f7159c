"""Firmware images that hold nothing but what makes them images."""

import struct
import zlib
from functools import reduce
from hashlib import md5, sha256, shake_256
from operator import xor

from voicestatus.core.chip import Chip

_HEADER = struct.Struct("<BBBBI")
_SEGMENT = struct.Struct("<II")
_CODE = bytes(16)
_FOOT_BYTES = 4
"""Three zeros, then the checksum as the last byte of a block of 16."""

_EXTENDED = struct.Struct("<BBBBHBHHIB")
_DESCRIPTOR = struct.Struct("<II8x32s32s16s16s32s32s80x")
_PLACES = {
    # Where constants are seen, and where code lies.
    Chip.ESP32: (0x3F400020, 0x40080000),
    Chip.ESP32S2: (0x3F000020, 0x40024000),
    Chip.ESP32S3: (0x3C000020, 0x40374000),
    Chip.ESP32C3: (0x3C000020, 0x40380000),
}

_BOOT_LOADER_AT = {
    Chip.ESP32: 0x1000,
    Chip.ESP32S2: 0x1000,
    Chip.ESP32S3: 0,
    Chip.ESP32C3: 0,
}
_PARTITION, _PARTITIONS_BYTES = struct.Struct("<2sBBII16sI"), 0xC00
_PARTITIONS = (
    # Kind, subtype, offset, size and name, as in Arduino's default.csv.
    (1, 2, 0x9000, 0x5000, b"nvs"),
    (1, 0, 0xE000, 0x2000, b"otadata"),
    (0, 0x10, 0x10000, 0x140000, b"app0"),
    (0, 0x11, 0x150000, 0x140000, b"app1"),
)
_STARTS_FIRST = bytes.fromhex("01000000" + 24 * "ff" + "9a984347")
"""Arduino's boot_app0.bin, as far as it is not blank."""

_EBOOT_AT, _EBOOT_BYTES = 0x4010F000, 0x1000
_IRAM_AT, _FLASH_AT = 0x40100000, 0x40200000
_WORDS_AT, _WORDS = 0x1010, struct.Struct("<II")

_ELF = struct.Struct("<16sHHIQQQIHHHHHH")
_X86_64 = 62
_PROGRAM = struct.Struct("<IIQQQQQQ")
_SECTION_BYTES = 64


def make_image(
    chip: Chip,
    size_bytes: int,
    *,
    version: str = "1.0.0",
    build: int = 1,
    board: str = "",
    marked: bool = True,
) -> bytes:
    """Make an image of this size, a multiple of 16 and some hundred bytes at least.

    An ESP8266's is 4,096 bytes larger at least: it begins with its boot loader.
    """
    says = f"VSFW1|voicestatus|{chip.title}|{board}|{version}|{build}|".encode()
    content = says + b"\0" if marked else b""
    if chip is Chip.HOST:
        return _elf(size_bytes, content, says)
    if chip is Chip.ESP8266:
        return _esp8266(size_bytes, content, says)
    return _esp32(chip, size_bytes, version, content, says)


def make_merged(chip: Chip, image: bytes) -> bytes:
    """Put an image of the ESP32 family together with what starts it on a blank chip.

    Source: what `esptool merge-bin` makes of the four files of a build.
    """
    table = b"".join(
        _PARTITION.pack(b"\xaaP", *described, 0) for described in _PARTITIONS
    )
    table += b"\xeb\xeb".ljust(16, b"\xff") + md5(table, usedforsecurity=False).digest()
    flash = b""
    for at, content in (
        (_BOOT_LOADER_AT[chip], make_boot_loader(chip)),
        (0x8000, table.ljust(_PARTITIONS_BYTES, b"\xff")),
        (0xE000, _STARTS_FIRST),
        (0x10000, image),
    ):
        flash = flash.ljust(at, b"\xff") + content
    return flash


def make_boot_loader(chip: Chip) -> bytes:
    """Make what stands in flash before the partition table, for the ESP32 family."""
    _, code_at = _PLACES[chip]
    content = _filled(b"", 0x4000, chip.title.encode())
    image = _program(code_at, _extended(chip), (code_at, content))
    return image + sha256(image).digest()


def _esp32(
    chip: Chip, size_bytes: int, version: str, content: bytes, seed: bytes
) -> bytes:
    constants_at, code_at = _PLACES[chip]
    described = _DESCRIPTOR.pack(
        0xABCD5432, 0, version.encode(), b"voicestatus", b"", b"", b"", bytes(32)
    )
    extended = _extended(chip)
    frame_bytes = _HEADER.size + len(extended) + 2 * _SEGMENT.size + len(_CODE)
    room = size_bytes - frame_bytes - _FOOT_BYTES - len(bytes(32))
    constants = _filled(described + content, room, seed)
    image = _program(code_at, extended, (constants_at, constants), (code_at, _CODE))
    return image + sha256(image).digest()


def _extended(chip: Chip) -> bytes:
    return _EXTENDED.pack(0xEE, 0, 0, 0, chip.code, 0, 0, 0xFFFF, 0, 1)


def _esp8266(size_bytes: int, content: bytes, seed: bytes) -> bytes:
    eboot = _program(_EBOOT_AT, b"", (_EBOOT_AT, _CODE))
    frame_bytes = _HEADER.size + 2 * _SEGMENT.size + len(_CODE)
    room = size_bytes - _EBOOT_BYTES - frame_bytes - _FOOT_BYTES
    seen_at = _FLASH_AT + _EBOOT_BYTES + _HEADER.size + _SEGMENT.size
    constants = _filled(bytes(_WORDS.size) + content, room, seed)
    app = _program(_IRAM_AT, b"", (seen_at, constants), (_IRAM_AT, _CODE))
    image = eboot.ljust(_EBOOT_BYTES, b"\xaa") + app
    # As the Arduino core does it: the words are zero until all else is made.
    words = _WORDS.pack(size_bytes, _crc(image))
    return image[:_WORDS_AT] + words + image[_WORDS_AT + _WORDS.size :]


def _elf(size_bytes: int, content: bytes, seed: bytes) -> bytes:
    room = size_bytes - _ELF.size - _PROGRAM.size - _SECTION_BYTES
    loaded = _filled(content, room, seed)
    head = _ELF.pack(
        b"\x7fELF\x02\x01\x01", 2, _X86_64, 1, 0, _ELF.size,
        size_bytes - _SECTION_BYTES, 0, _ELF.size, _PROGRAM.size, 1, _SECTION_BYTES,
        1, 0,
    )  # fmt: skip
    at = _ELF.size + _PROGRAM.size
    program = _PROGRAM.pack(1, 4, at, at, at, len(loaded), len(loaded), 16)
    return head + program + loaded + bytes(_SECTION_BYTES)


def _program(entry: int, extended: bytes, *segments: tuple[int, bytes]) -> bytes:
    """Put header, segments and checksum together."""
    parts = [_HEADER.pack(0xE9, len(segments), 2, 0x20, entry), extended]
    for address, data in segments:
        parts += _SEGMENT.pack(address, len(data)), data
    image = b"".join(parts)
    checksum = reduce(xor, (byte for _, data in segments for byte in data), 0xEF)
    return image + bytes(15 - len(image) % 16) + bytes([checksum])


def _filled(content: bytes, room: int, seed: bytes) -> bytes:
    """Fill up with what is the same nowhere else, here or in another version."""
    if room < len(content) or room % 4:
        raise ValueError("no image can have this size")
    return content + shake_256(seed).digest(room - len(content))


def _crc(image: bytes) -> int:
    """Source: the Arduino core's elf2bin.py, `crc8266`."""
    mirrored = zlib.crc32(image.translate(_MIRRORED)) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
