"""What is taken for a firmware image, and why anything else is not."""

import gzip
import hashlib
import re
import shutil
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Any

import pytest

from voicestatus.core import image as images
from voicestatus.core.chip import Chip
from voicestatus.core.image import ImageReader, ImageRefused, Segment
from voicestatus.core.marker import Marker
from voicestatus.simulator.images import make_image

SIZE = 32_768
ESP32_FAMILY = [Chip.ESP32, Chip.ESP32S2, Chip.ESP32S3, Chip.ESP32C3]
ESP32 = make_image(Chip.ESP32, SIZE)
ESP8266 = make_image(Chip.ESP8266, SIZE)
PAGE = Path(__file__).parents[2] / "docs" / "signing.md"

Judge = Callable[..., Any]


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def sealed(esp32: bytes) -> bytes:
    """Give an image of the ESP32 family a right digest again."""
    return esp32[:-32] + hashlib.sha256(esp32[:-32]).digest()


def refused(judge: Judge, data: bytes, **how: Any) -> ImageRefused:
    with pytest.raises(ImageRefused) as caught:
        judge(data, **how)
    return caught.value


# -- what is taken ---------------------------------------------------------------------


@pytest.mark.parametrize("chip", Chip)
def test_an_image_is_taken_and_described(judge: Judge, chip: Chip):
    data = make_image(chip, SIZE, version="1.4.0", build=14, board="lamp")
    image = judge(data)
    assert image.chip is chip
    assert image.size_bytes == SIZE
    assert image.sha256 == hashlib.sha256(data).hexdigest()
    assert image.md5 == hashlib.md5(data).hexdigest()
    assert image.marker == Marker(chip, "lamp", "1.4.0", 14)


def test_the_segments_of_the_esp32_family_are_told(judge: Judge):
    constants, code = judge(ESP32).segments
    assert constants == Segment(24, 0x3F400020, code.offset - 32)
    assert code == Segment(SIZE - 60, 0x40080000, 16)


def test_the_segments_of_an_esp8266_are_those_of_its_boot_loader_too(judge: Judge):
    boot, constants, code = judge(ESP8266).segments
    assert boot.address == 0x4010F000
    assert (constants.offset, constants.address) == (0x1008, 0x40201010)
    assert code.address == 0x40100000


def test_what_tells_damage_is_told(judge: Judge):
    assert judge(ESP32).seal == "sha256"
    assert judge(ESP8266).seal == "crc32"
    assert judge(make_image(Chip.HOST, SIZE)).seal == "none"


def test_an_image_without_a_digest_is_taken(judge: Judge):
    without = changed(ESP32, 23, b"\0")[:-32]
    assert judge(without).seal == "checksum"


def test_an_image_of_an_older_arduino_core_has_no_crc(judge: Judge):
    # Its first words are code, and count for the checksum as all else does.
    words = b"\x12\xc1\xf0\x09\x12\xc1\xf0\x09"  # each byte twice: no XOR is left
    assert judge(changed(ESP8266, 0x1010, words)).seal == "checksum"


def test_the_boot_loader_may_begin_anywhere_in_its_page(judge: Judge, refusal: Judge):
    # Older ones do: 0x4010f45c has been seen. It must be in a segment, though.
    later = changed(ESP8266, 4, (0x4010F008).to_bytes(4, "little"))
    assert refusal(later) == "IMAGE_DIGEST"  # the CRC was another
    assert judge(changed(later, 0x1010, bytes(8))).chip is Chip.ESP8266
    outside = changed(ESP8266, 4, (0x4010F45C).to_bytes(4, "little"))
    assert refusal(outside) == "IMAGE_HEADER"


def test_foreign_firmware_has_no_marker(judge: Judge):
    for chip in (*ESP32_FAMILY, Chip.ESP8266):
        assert judge(make_image(chip, SIZE, marked=False)).marker is None


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_program_for_a_computer_is_the_twin_only_if_it_says_so(
    judge: Judge, tmp_path: Path
):
    source, program = tmp_path / "twin.cpp", tmp_path / "twin"
    source.write_text(
        'extern const char mark[] = "VSFW1|voicestatus|host||2.0|7|";\n'
        "int main() { return mark[0] == 0; }\n"
    )
    subprocess.run(["g++", "-o", program, source], check=True, timeout=60)
    image = judge(program.read_bytes())
    assert (image.chip, image.marker) == (Chip.HOST, Marker(Chip.HOST, "", "2.0", 7))
    assert refused(judge, program.read_bytes()[:-1]).code == "IMAGE_TRUNCATED"
    assert refused(judge, Path(sys.executable).read_bytes()).code in {
        "IMAGE_LINKER_FILE",
        "IMAGE_TOO_LARGE",
    }


# -- damage ----------------------------------------------------------------------------


@pytest.mark.parametrize("chip", [*ESP32_FAMILY, Chip.ESP8266])
def test_each_changed_bit_is_noticed(refusal: Judge, chip: Chip):
    data = make_image(chip, 8192 if chip is Chip.ESP8266 else 1024)
    for at in range(len(data)):
        bit = 1 << at % 8
        spoilt = changed(data, at, bytes([data[at] ^ bit]))
        assert refusal(spoilt), f"bit {at % 8} of byte {at}"


@pytest.mark.parametrize("chip", Chip)
def test_an_image_that_ends_early_is_refused(refusal: Judge, chip: Chip):
    data = make_image(chip, 8192)
    for end in (7, 8, 23, 35, 36, 100, 4095, 4096, 4104, 8000, 8175, 8191):
        assert refusal(data[:end]) == "IMAGE_TRUNCATED", end


def test_a_truncated_image_is_refused_where_it_ends(judge: Judge):
    assert refused(judge, ESP32[:20_000]).offset == 20_000


@pytest.mark.parametrize("more", [b"\xff", bytes(16), ESP32])
@pytest.mark.parametrize("chip", [*ESP32_FAMILY, Chip.ESP8266])
def test_what_follows_an_image_is_refused_and_can_be_cut_off(
    judge: Judge, chip: Chip, more: bytes
):
    why = refused(judge, make_image(chip, SIZE) + more)
    assert (why.code, why.offset, why.app_at) == ("IMAGE_TRAILING", SIZE, 0)


def test_a_wrong_checksum_is_told_from_a_wrong_digest(refusal: Judge):
    spoilt = changed(ESP32, 5_000, bytes([ESP32[5_000] ^ 1]))
    assert refusal(spoilt) == "IMAGE_CHECKSUM"
    # Two changes that the checksum does not see.
    twice = changed(spoilt, 6_000, bytes([ESP32[6_000] ^ 1]))
    assert refusal(twice) == "IMAGE_DIGEST"
    spoilt = changed(ESP8266, 9_000, bytes([ESP8266[9_000] ^ 1]))
    assert refusal(spoilt) == "IMAGE_CHECKSUM"
    twice = changed(spoilt, 10_000, bytes([ESP8266[10_000] ^ 1]))
    assert refusal(twice) == "IMAGE_DIGEST"


def test_the_crc_is_the_one_that_the_arduino_core_makes():
    # Bit by bit, as its elf2bin.py does; the words themselves count as zero.
    crc = 0xFFFFFFFF
    for byte in changed(ESP8266, 0x1010, bytes(8)):
        for mask in (0x80, 0x40, 0x20, 0x10, 8, 4, 2, 1):
            top = bool(crc & 0x80000000) ^ bool(byte & mask)
            crc = (crc << 1 & 0xFFFFFFFF) ^ (0x04C11DB7 if top else 0)
    assert struct.unpack_from("<II", ESP8266, 0x1010) == (SIZE, crc)


# -- headers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "new", "code"),
    [
        (0, b"\xe8", "IMAGE_UNKNOWN"),
        (1, b"\0", "IMAGE_HEADER"),
        (1, b"\x11", "IMAGE_HEADER"),
        (4, b"\0\0\0\x50", "IMAGE_HEADER"),
        (12, b"\x0d\0", "IMAGE_CHIP"),
        (12, b"\x66\x82", "IMAGE_CHIP"),
        (12, b"\xf0\xff", "IMAGE_CHIP"),
        (23, b"\x02", "IMAGE_HEADER"),
        (28, b"\x41", "IMAGE_SEGMENT"),
        (28, b"\0\0\0\x7f", "IMAGE_TOO_LARGE"),
        (32, b"\0", "IMAGE_NOT_APP"),
    ],
)
def test_a_wrong_header_of_the_esp32_family_is_named(
    judge: Judge, at: int, new: bytes, code: str
):
    why = refused(judge, sealed(changed(ESP32, at, new)))
    assert why.code == code
    assert why.details == {"offset": why.offset}


@pytest.mark.parametrize(
    ("at", "new", "code"),
    [
        (1, b"\x14", "IMAGE_HEADER"),
        (8, b"\0\0\0\x50", "IMAGE_SEGMENT"),
        (12, b"\0\x20\0\0", "IMAGE_SEGMENT"),
        (12, b"\xf4\x0f\0\0", "IMAGE_CHECKSUM"),
        (0x1000, b"\xff", "IMAGE_NOT_APP"),
        (0x1004, b"\x10\x10\x20\x40", "IMAGE_HEADER"),
        (0x1008, b"\x20", "IMAGE_SEGMENT"),
    ],
)
def test_a_wrong_header_of_an_esp8266_is_named(
    refusal: Judge, at: int, new: bytes, code: str
):
    # Its checksum covers no header, and older cores make no CRC.
    old = changed(ESP8266, 0x1010, bytes(8))
    assert refusal(changed(old, at, new)) == code


def test_a_boot_loader_that_reaches_into_the_program_is_refused(refusal: Judge):
    large = changed(changed(ESP8266, 0x1010, bytes(8)), 12, b"\xf4\x0f\0\0")
    checksum = reduce(xor, large[16:0x1004], 0xEF)
    assert refusal(changed(large, 0x100F, bytes([checksum]))) == "IMAGE_SEGMENT"


def test_another_chip_of_espressif_is_called_by_its_name(judge: Judge):
    why = refused(judge, changed(ESP32, 12, b"\x0d"))
    assert why.message == "This is for ESP32-C6."


def test_the_digest_protects_the_chip_id(refusal: Judge):
    assert refusal(changed(ESP32, 12, b"\x09")) == "IMAGE_CHIP"  # by its marker
    unmarked = make_image(Chip.ESP32, SIZE, marked=False)
    assert refusal(changed(unmarked, 12, b"\x09")) == "IMAGE_DIGEST"


# -- files for the whole flash memory --------------------------------------------------


def boot_loader(chip: Chip) -> bytes:
    return sealed(changed(make_image(chip, 20_480, marked=False), 32, bytes(4)))


@pytest.mark.parametrize(
    ("chip", "boot_at"), [(Chip.ESP32S2, 0x1000), (Chip.ESP32S3, 0)]
)
def test_a_merged_file_is_refused_and_says_where_its_program_lies(
    judge: Judge, merge: Judge, chip: Chip, boot_at: int
):
    app = make_image(chip, SIZE)
    why = refused(judge, merge(app, boot_loader(chip), boot_at))
    assert (why.code, why.app_at) == ("IMAGE_MERGED", 0x10000)
    assert "0x10000" in why.message
    assert "--extract-app" in why.message
    elsewhere = merge(app, boot_loader(chip), boot_at, app_at=0x20000)
    assert refused(judge, elsewhere).app_at == 0x20000


def test_a_merged_file_is_refused_before_its_program_has_come(merge: Judge):
    reader = ImageReader()
    merged = merge(ESP32, boot_loader(Chip.ESP32), 0x1000)
    with pytest.raises(ImageRefused, match="whole flash"):
        reader.feed(merged[:0x8C00])


def test_a_boot_loader_alone_is_no_program(judge: Judge):
    assert refused(judge, boot_loader(Chip.ESP32C3)).code == "IMAGE_NOT_APP"


def test_a_partition_table_without_a_program_is_no_merged_file(refusal: Judge):
    table = b"\xaaP\x01\x02".ljust(32, b"\0") * (0xC00 // 32)
    assert refusal(b"\xff" * 0x8000 + table) == "IMAGE_UNKNOWN"


# -- what is no image at all -----------------------------------------------------------


def elf(width: int, machine: int) -> bytes:
    return b"\x7fELF" + bytes([width]) + bytes(13) + bytes([machine]) + bytes(60)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "IMAGE_EMPTY"),
        (gzip.compress(ESP8266), "IMAGE_COMPRESSED"),
        (b"PK\x03\x04" + ESP32, "IMAGE_COMPRESSED"),
        (b"\n<!DOCTYPE html><title>404</title>", "IMAGE_WEB_PAGE"),
        (b"<HTML>", "IMAGE_WEB_PAGE"),
        (b"UF2\n\x57\x51\x5d\x9e", "IMAGE_LINKER_FILE"),
        (b":020000042000DA\r\n", "IMAGE_LINKER_FILE"),
        (elf(1, 0x5E), "IMAGE_LINKER_FILE"),
        (elf(1, 0xF3), "IMAGE_LINKER_FILE"),
        (elf(1, 0x28), "IMAGE_LINKER_FILE"),
        (elf(2, 0xF3), "IMAGE_LINKER_FILE"),
        (b"\x01\0\0\0\xff\xff\xff\xf0littlefs", "IMAGE_FILESYSTEM"),
        (b"\x01\x80\xff\xff", "IMAGE_FILESYSTEM"),
        (b"\xeb\xfe\x90MSDOS5.0".ljust(510, b"\0") + b"\x55\xaa", "IMAGE_FILESYSTEM"),
        (b"\xaaP\x01\x02", "IMAGE_NOT_APP"),
        (b"VSOTA\1\0\0", "IMAGE_NOT_APP"),
        (b"\xea\x04", "IMAGE_NOT_APP"),
        (b"\xff" * 8192, "IMAGE_UNKNOWN"),
        (b"\xff" * 65_536, "IMAGE_UNKNOWN"),
        (bytes(8192), "IMAGE_UNKNOWN"),
        (b'{"error":"not found"}', "IMAGE_UNKNOWN"),
    ],
)
def test_what_is_no_image_is_called_what_it_is(refusal: Judge, data: bytes, code: str):
    assert refusal(data) == code


def test_the_linkers_file_of_a_firmware_is_none_though_it_has_the_marker(
    refusal: Judge,
):
    elf = make_image(Chip.HOST, SIZE).replace(b"|host|", b"|esp32|")
    assert refusal(elf) == "IMAGE_LINKER_FILE"


# -- size, memory, time ----------------------------------------------------------------


def test_a_file_that_is_too_large_is_refused_as_soon_as_it_is(judge: Judge):
    assert judge(ESP32, limit=SIZE).size_bytes == SIZE
    twin, reader = make_image(Chip.HOST, SIZE), ImageReader(SIZE - 1)
    reader.feed(twin[:-1])
    with pytest.raises(ImageRefused, match="larger than 32767 bytes"):
        reader.feed(twin[-1:])
    # Its first header tells.
    with pytest.raises(ImageRefused) as caught:
        ImageReader(4096).feed(ESP32[:64])
    assert caught.value.code == "IMAGE_TOO_LARGE"


def test_an_image_is_never_kept():
    data = make_image(Chip.ESP32S3, 2 << 20)
    tracemalloc.start()
    reader = ImageReader()
    for at in range(0, len(data), 16_384):
        reader.feed(data[at : at + 16_384])
    reader.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_an_image_of_four_megabytes_is_judged_in_well_under_100_ms(judge: Judge):
    data = make_image(Chip.ESP32, 4 << 20)

    def taken() -> float:
        began = time.perf_counter()
        judge(data)
        return time.perf_counter() - began

    assert min(taken() for _ in range(5)) < 0.1


# -- markers ---------------------------------------------------------------------------

ROOM = 10_000
"""Where an image holds what nobody looks at."""


def with_marker(text: bytes, at: int = ROOM) -> bytes:
    data = changed(make_image(Chip.ESP32, SIZE, marked=False), at, text)
    constants, code = data[32 : SIZE - 60], data[SIZE - 52 : SIZE - 36]
    checksum = reduce(xor, constants + code, 0xEF)
    return sealed(changed(data, SIZE - 33, bytes([checksum])))


@pytest.mark.parametrize("at", [ROOM, 32 + 256, 65_531, 65_536 + 31])
def test_a_marker_is_found_wherever_it_lies(at: int):
    data = bytearray(make_image(Chip.HOST, 4 * 65_536, marked=False))
    text = b"VSFW1|voicestatus|host|b|9.9|99|\0"
    data[at : at + len(text)] = text
    reader = ImageReader()
    reader.feed(bytes(data))
    assert reader.finish().marker == Marker(Chip.HOST, "b", "9.9", 99)


def test_a_marker_is_found_at_the_very_end_of_what_a_chip_sees(judge: Judge):
    marker = b"VSFW1|voicestatus|esp32||1|1|\0"
    data = with_marker(marker, SIZE - 60 - len(marker))
    assert judge(data).marker == Marker(Chip.ESP32, "", "1", 1)


def test_the_same_marker_twice_is_one(judge: Judge):
    marker = b"VSFW1|voicestatus|esp32||1|1|\0"
    assert judge(with_marker(marker * 2)).marker == Marker(Chip.ESP32, "", "1", 1)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"VSFW1|voicestatus|esp32||1|1|\0VSFW1|voicestatus|esp32||1|2|\0", "MARKER"),
        (b"VSFW1|voicestatus|esp8266||1|1|\0", "CHIP"),
        (b"VSFW1|voicestatus|z80||1|1|\0", "MARKER"),
        (b"VSFW1|toaster|esp32||1|1|\0", "MARKER"),
        (b"VSFW1|voicestatus|esp32||1|1\0", "MARKER"),
        (b"VSFW1|voicestatus|esp32||1|-1|\0", "MARKER"),
        (b"VSFW1|voicestatus|esp32||1|01|\0", "MARKER"),
        (b"VSFW1|voicestatus|esp32||1|4294967296|\0", "MARKER"),
        (b"VSFW1|voicestatus|esp32|" + b"b" * 17 + b"|1|1|\0", "MARKER"),
        (b"VSFW1|voicestatus|esp32||" + b"v" * 25 + b"|1|\0", "MARKER"),
        (b"VSFW1|voicestatus|esp32|||1|\0", "MARKER"),
        (b"VSFW1|voicestatus|esp32||\xc3\xa9|1|\0", "MARKER"),
        (b"VSFW1|voicestatus|esp32||1|1|" + b"x" * 200, "MARKER"),
    ],
)
def test_a_marker_that_says_something_else_is_refused(
    judge: Judge, text: bytes, code: str
):
    why = refused(judge, with_marker(text))
    assert why.code == f"IMAGE_{code}"
    assert ROOM <= why.offset < ROOM + len(text)


@pytest.mark.parametrize("needle", [b"VSFW1|\0", b"VSFW1|voicestatus|\0"])
def test_what_looks_for_markers_is_none(judge: Judge, needle: bytes):
    assert judge(with_marker(needle)).marker is None


# -- the page --------------------------------------------------------------------------


def test_each_refusal_is_explained_on_the_page():
    named = set(re.findall(r"`(IMAGE_[A-Z_]+)`", PAGE.read_text()))
    assert named == images.CODES
