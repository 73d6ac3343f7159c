"""A file for the whole flash memory: what starts the release, or a clear refusal."""

import hashlib
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.chip import Chip
from voicestatus.core.merged import (
    BOOT_LOADER_AT,
    Merged,
    MergedReader,
    Part,
    check_merged,
)
from voicestatus.core.partitions import Code, FlashRefused
from voicestatus.simulator.images import make_boot_loader, make_image, make_merged

SIZE = 8192
FAMILY = list(BOOT_LOADER_AT)
APPS = {chip: make_image(chip, SIZE) for chip in Chip}
WHOLE = {chip: make_merged(chip, APPS[chip]) for chip in FAMILY}
ENTRY = struct.Struct("<2sBBII16sI")
NVS, OTADATA = (1, 2, 0x9000, 0x5000), (1, 0, 0xE000, 0x2000)
APP0, APP1 = (0, 0x10, 0x10000, 0x100000), (0, 0x11, 0x110000, 0x100000)

Judge = Callable[..., Any]


@pytest.fixture(scope="session")
def read(judge: Judge) -> Callable[..., Merged]:
    images = {app: judge(app) for app in APPS.values()}

    def read(data: bytes, app: bytes, pieces: Iterable[int] = (), **how: Any) -> Merged:
        reader, at = MergedReader(**how), 0
        for size in pieces:
            reader.feed(data[at : at + size])
            at += size
        reader.feed(data[at:])
        merged = reader.finish()
        check_merged(merged, images[app])
        return merged

    return read


@pytest.fixture(scope="session")
def refused(read: Judge) -> Callable[..., str]:
    """Return the code; empty: it is taken."""

    def refused(data: bytes, app: bytes = APPS[Chip.ESP32], **how: Any) -> str:
        try:
            read(data, app, **how)
        except FlashRefused as e:
            return e.code
        return ""

    return refused


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def table_of(*entries: tuple[int, int, int, int], md5: bool = True) -> bytes:
    table = b"".join(ENTRY.pack(b"\xaaP", *entry, b"x", 0) for entry in entries)
    if md5:
        table += b"\xeb\xeb".ljust(16, b"\xff") + hashlib.md5(table).digest()
    return table.ljust(0xC00, b"\xff")


def with_table(*entries: tuple[int, int, int, int], **how: Any) -> bytes:
    return changed(WHOLE[Chip.ESP32], 0x8000, table_of(*entries, **how))


@pytest.mark.parametrize("chip", FAMILY)
def test_what_starts_a_blank_chip_is_kept_and_nothing_else(read: Judge, chip: Chip):
    data, app = WHOLE[chip], APPS[chip]
    boot_at = 0x1000 if chip in {Chip.ESP32, Chip.ESP32S2} else 0
    spoilt = changed(data, 0x9000, b"wifi password" * 100) + b"another program"
    for merged in (read(data, app), read(spoilt, app)):
        assert merged == Merged(
            chip,
            (
                Part(boot_at, make_boot_loader(chip)),
                Part(0x8000, data[0x8000:0x8C00]),
                Part(0xE000, data[0xE000:0x10000]),
            ),
            0x10000,
            hashlib.sha256(app).hexdigest(),
        )


def test_a_table_decides_which_program_is_started(read: Judge, refused: Judge):
    app, factory = APPS[Chip.ESP32], (0, 0, 0x10000, 0x100000)
    assert read(with_table(NVS, OTADATA, APP0, APP1, md5=False), app).app_at == 0x10000
    alone = read(with_table(NVS, factory), app)
    assert ([part.offset for part in alone.parts], alone.app_at) == (
        [0x1000, 0x8000],
        0x10000,
    )
    # Behind a factory's program, or in the second slot, it would not be started.
    both = with_table(NVS, OTADATA, factory, (0, 0x10, 0x110000, 0x100000))
    assert refused(both) == "FLASH_TRUNCATED"
    assert refused(changed(both, 0xE000, b"\xff" * 0x2000)) == ""
    swapped = with_table(OTADATA, (0, 0x11, 0x10000, 0x10000), (0, 0x10, 0x20000, 4096))
    assert refused(swapped + bytes(0x20000)) == "FLASH_APP"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "FLASH_TRUNCATED"),
        (APPS[Chip.ESP32], "FLASH_BOOT_LOADER"),
        (WHOLE[Chip.ESP32][0x1000:], "FLASH_BOOT_LOADER"),
        (WHOLE[Chip.ESP32S2], "FLASH_CHIP"),
        (WHOLE[Chip.ESP32C3], "FLASH_CHIP"),
        (
            changed(WHOLE[Chip.ESP32], 0x1000, make_boot_loader(Chip.ESP32C3)),
            "FLASH_BOOT_LOADER",
        ),
        (changed(WHOLE[Chip.ESP32], 0x1000, APPS[Chip.ESP32]), "FLASH_BOOT_LOADER"),
        (changed(WHOLE[Chip.ESP32], 0x7FFF, b"\0"), "FLASH_BOOT_LOADER"),
        (changed(WHOLE[Chip.ESP32], 0x8000, b"\xff" * 0xC00), "FLASH_TABLE"),
        (changed(WHOLE[Chip.ESP32], 0x80A0, b"x"), "FLASH_TABLE"),
        (with_table(*[NVS] * 95), "FLASH_TABLE"),
        (with_table(*[NVS] * 96, md5=False), "FLASH_TABLE"),
        (with_table(NVS, OTADATA), "FLASH_TABLE"),
        (with_table((1, 0, 0xE000, 0x1000), APP0), "FLASH_TABLE"),
        (with_table(NVS, APP0, (1, 0, 0x200000, 0x2000)), "FLASH_TRUNCATED"),
        (with_table((1, 2, 0x8000, 0x1000), APP0), "FLASH_TABLE"),
        (with_table(NVS, (0, 0x10, 0xF000, 0x100000)), "FLASH_TABLE"),
        (with_table(NVS, (0, 0x10, 0x10000, 0x400000)), "FLASH_TABLE"),
        (with_table(NVS, OTADATA, (0, 0x10, 0x10000, SIZE - 16)), "FLASH_APP"),
        (changed(WHOLE[Chip.ESP32], 0xE000, b"\x02"), "FLASH_OTADATA"),
        (changed(WHOLE[Chip.ESP32], 0xE018, b"\x03\0\0\0"), "FLASH_OTADATA"),
        (changed(WHOLE[Chip.ESP32], 0xF000, b"\0"), "FLASH_OTADATA"),
        (WHOLE[Chip.ESP32][:-1], "FLASH_TRUNCATED"),
        (changed(WHOLE[Chip.ESP32], 0x11000, b"other"), "FLASH_APP"),
        (changed(WHOLE[Chip.ESP32], 0x10000, b"\xff" * SIZE), "FLASH_APP"),
        (changed(WHOLE[Chip.ESP32], 0x1000C, b"\x02"), "FLASH_APP"),
    ],
)
def test_what_would_not_start_it_is_refused(refused: Judge, data: bytes, code: str):
    assert refused(data) == code


def test_a_table_for_more_flash_than_the_boot_loader_knows_is_refused(read: Judge):
    data = WHOLE[Chip.ESP32]
    boot_loader = changed(make_boot_loader(Chip.ESP32), 3, b"\x10")  # 2 MB
    sealed = boot_loader[:-32] + hashlib.sha256(boot_loader[:-32]).digest()
    with pytest.raises(FlashRefused, match=r"'app1' ends at 0x290000.*at 0x200000"):
        read(changed(data, 0x1000, sealed), APPS[Chip.ESP32])


def test_a_file_of_more_than_the_limit_is_refused(refused: Judge):
    data = WHOLE[Chip.ESP32]
    assert refused(data, limit_bytes=len(data)) == ""
    assert refused(data + b"\xff", limit_bytes=len(data)) == "FLASH_TOO_LARGE"


@pytest.mark.parametrize("chip", [Chip.ESP8266, Chip.HOST])
def test_what_starts_with_its_image_alone_needs_none(refused: Judge, chip: Chip):
    for data in (WHOLE[Chip.ESP32], APPS[Chip.ESP8266]):
        assert refused(data, APPS[chip]) == "FLASH_NEEDLESS"


def test_the_page_names_each_reason():
    page = (Path(__file__).parents[2] / "docs" / "flashing.md").read_text()
    assert set(re.findall(r"FLASH_[A-Z_]+", page)) == set(get_args(Code))


@given(
    chip=st.sampled_from(FAMILY),
    at=st.one_of(
        st.integers(0, 40),
        st.integers(0x1000, 0x1028),
        st.integers(0x8000, 0x8100),
        st.integers(0xE000, 0xE020),
        st.integers(0, 0x10000 + SIZE - 1),
    ),
    flipped=st.integers(1, 255),
    pieces=st.lists(st.integers(0, 30_000), max_size=4),
)
def test_any_other_byte_is_refused_or_not_kept(
    read: Judge, refused: Judge, chip: Chip, at: int, flipped: int, pieces: list[int]
):
    app, whole = APPS[chip], WHOLE[chip]
    data = changed(whole, at, bytes([whole[at] ^ flipped]))
    verdict = refused(data, app, pieces=pieces)
    assert verdict == refused(data, app)
    if not verdict:
        own, other = read(data, app), read(whole, app)
        # otadata has a label that nothing reads.
        assert own == other or 0xE004 <= at < 0xE018


def test_what_esptool_merges_is_taken(read: Judge, tmp_path: Path):
    app, whole = APPS[Chip.ESP32], WHOLE[Chip.ESP32]
    files = {
        0x1000: make_boot_loader(Chip.ESP32),
        0x8000: whole[0x8000:0x8C00],
        0xE000: whole[0xE000:0x10000],
        0x10000: app,
    }
    told = []
    for at, content in files.items():
        (tmp_path / f"{at}.bin").write_bytes(content)
        told += [hex(at), f"{at}.bin"]
    # As PlatformIO does: it writes over the boot loader's header, and seals it anew.
    header = ("--flash-mode", "dout", "--flash-freq", "40m", "--flash-size", "16MB")
    command = (sys.executable, "-m", "esptool", "--chip", "esp32", "merge-bin")
    subprocess.run(
        (*command, "-o", "merged.bin", *header, "--pad-to-size", "4MB", *told),
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=True,
    )
    merged = read((tmp_path / "merged.bin").read_bytes(), app)
    boot_loader, *others = merged.parts
    assert boot_loader.data[2:4] == b"\x03\x40"
    assert boot_loader.data[4:-32] == files[0x1000][4:-32]
    assert [(part.offset, part.data) for part in others] == [
        (at, files[at]) for at in (0x8000, 0xE000)
    ]
