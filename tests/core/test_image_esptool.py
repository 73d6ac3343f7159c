"""Our verdicts beside those of esptool, Espressif's own tool.

We take nothing that it finds damaged. It takes more than we do: it tells what an image
is, and we decide whether a sign may have it; those differences stand in LENIENT.
"""

import hashlib
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from esptool import bin_image
from esptool.logger import log
from esptool.util import FatalError
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.chip import Chip
from voicestatus.simulator.images import make_image

SIZE = 4096
FAMILY = [Chip.ESP32, Chip.ESP32S2, Chip.ESP32S3, Chip.ESP32C3]
WHOLE = {chip: make_image(chip, SIZE) for chip in FAMILY}
ARDUINO = make_image(Chip.ESP8266, 2 * SIZE)
OLD_ARDUINO = ARDUINO[:0x1010] + bytes(8) + ARDUINO[0x1018:]
"""Without the CRC that newer cores put in when the checksum is made."""

Judge = Callable[..., Any]


@pytest.fixture(scope="session", autouse=True)
def esptool_is_quiet() -> None:
    log.set_verbosity("silent")


def esptool_takes(chip: Chip, data: bytes) -> bool:
    try:
        image = bin_image.LoadFirmwareImage(chip.title, data)
    except (FatalError, RuntimeError, struct.error, TypeError):
        return False
    digest = getattr(image, "append_digest", False)
    return image.checksum == image.calculate_checksum() and (
        not digest or image.stored_digest == image.calc_digest
    )


def esptool_takes_esp8266(data: bytes) -> bool:
    """It sees the boot loader, and the program behind it when shown that alone."""
    return all(esptool_takes(Chip.ESP8266, part) for part in (data, data[0x1000:]))


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def sealed(data: bytes) -> bytes:
    return data[:-32] + hashlib.sha256(data[:-32]).digest()


@pytest.mark.parametrize("chip", FAMILY)
def test_what_we_build_is_an_image_for_esptool_too(chip: Chip):
    assert esptool_takes(chip, WHOLE[chip])


def test_an_esp8266_image_of_an_older_core_is_one_for_both(refusal: Judge):
    assert esptool_takes_esp8266(OLD_ARDUINO)
    assert not refusal(OLD_ARDUINO)


def test_esptool_cannot_know_of_the_crc_that_the_arduino_core_puts_in_later(
    refusal: Judge,
):
    # Its checksum was made before: nothing on the chip compares it. We take it out.
    assert not esptool_takes_esp8266(ARDUINO)
    assert not refusal(ARDUINO)


@pytest.mark.parametrize("chip", FAMILY)
def test_what_esptool_builds_is_an_image_for_us(judge: Judge, chip: Chip):
    image = {
        Chip.ESP32: bin_image.ESP32FirmwareImage,
        Chip.ESP32S2: bin_image.ESP32S2FirmwareImage,
        Chip.ESP32S3: bin_image.ESP32S3FirmwareImage,
        Chip.ESP32C3: bin_image.ESP32C3FirmwareImage,
    }[chip]()
    rom = image.ROM_LOADER
    descriptor = bytes.fromhex("3254cdab") + bytes(252)
    marker = f"VSFW1|voicestatus|{chip.title}||3.1|31|".encode() + b"\0"
    iram = next(start for start, _, name in rom.MEMORY_MAP if name == "IRAM")
    image.segments = [
        bin_image.ELFSection(name, at, data, flags=0)
        for name, at, data in (
            (b".flash.appdesc", rom.DROM_MAP_START + 0x20, descriptor + marker),
            (b".flash.text", rom.IROM_MAP_START + 0x10020, bytes(range(256)) * 20),
            (b".iram0.text", iram, b"\x36\x41\x00" * 100),
        )
    ]
    image.entrypoint = iram + 16
    found = judge(image.save(None))
    assert (found.chip, found.seal) == (chip, "sha256")
    assert (found.marker.version, found.marker.build) == ("3.1", 31)


CORRUPTED = {
    "ends early": lambda data: data[:2000],
    "lacks its digest": lambda data: data[:-32],
    "lacks a part of its digest": lambda data: data[:-1],
    "begins otherwise": lambda data: changed(data, 0, b"\xe8"),
    "has too many segments": lambda data: changed(data, 1, b"\x11"),
    "has a segment more": lambda data: changed(data, 1, b"\x03"),
    "has a segment less": lambda data: changed(data, 1, b"\x01"),
    "may have a digest": lambda data: changed(data, 23, b"\x07"),
    "has a longer segment": lambda data: changed(data, 28, b"\xff\xff"),
    "has a shorter segment": lambda data: changed(data, 28, b"\x04\x00"),
    "has another byte": lambda data: changed(data, 1500, b"\x00\x01\x02"),
    "has another checksum": lambda data: sealed(changed(data, -33, b"\x00")),
    "has another digest": lambda data: changed(data, -1, b"\x00"),
}


@pytest.mark.parametrize("chip", FAMILY)
@pytest.mark.parametrize("how", CORRUPTED)
def test_what_is_damaged_is_so_for_both(refusal: Judge, chip: Chip, how: str):
    data = CORRUPTED[how](WHOLE[chip])
    assert not esptool_takes(chip, data)
    assert refusal(data)


LENIENT = {
    "is followed by more": (lambda data: data + bytes(16), "IMAGE_TRAILING"),
    "is for a chip that is none": (
        lambda data: sealed(changed(data, 12, b"\x42\x42")),
        "IMAGE_CHIP",
    ),
    "is for another chip than its marker": (
        lambda data: sealed(changed(data, 12, b"\x02" if data[12] != 2 else b"\x09")),
        "IMAGE_CHIP",
    ),
    "begins where nothing is": (
        lambda data: sealed(changed(data, 4, bytes(4))),
        "IMAGE_HEADER",
    ),
    "has no segments": (lambda data: changed(data, 1, b"\0"), "IMAGE_HEADER"),
}


@pytest.mark.parametrize("chip", FAMILY)
@pytest.mark.parametrize("how", LENIENT)
def test_esptool_is_more_lenient_where_an_image(refusal: Judge, chip: Chip, how: str):
    change, code = LENIENT[how]
    data = change(WHOLE[chip])
    if how != "has no segments":  # then the checksum is wrong, too
        assert esptool_takes(chip, data)
    assert refusal(data) == code


@given(
    chip=st.sampled_from(FAMILY),
    at=st.one_of(st.integers(0, 64), st.integers(0, SIZE - 1)),
    new=st.binary(min_size=1, max_size=8),
    end=st.integers(SIZE - 50, SIZE),
    seal=st.booleans(),
)
def test_what_we_take_esptool_takes(
    refusal: Judge, chip: Chip, at: int, new: bytes, end: int, seal: bool
):
    data = changed(WHOLE[chip], at, new)[:end]
    data = sealed(data) if seal else data
    if not refusal(data):
        assert esptool_takes(chip, data)


@given(
    at=st.one_of(st.integers(0, 32), st.integers(0x1000, 0x1020)),
    new=st.binary(min_size=1, max_size=4),
)
def test_what_we_take_for_an_esp8266_esptool_takes(refusal: Judge, at: int, new: bytes):
    data = changed(OLD_ARDUINO, at, new)
    if not refusal(data):
        assert esptool_takes_esp8266(data)


def test_the_command_agrees(tmp_path: Path):
    file = tmp_path / "app.bin"
    file.write_bytes(WHOLE[Chip.ESP32C3])
    command = (sys.executable, "-m", "esptool", "image-info", file)
    told = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True
    )
    assert "ESP32-C3" in told.stdout
    assert told.stdout.count("(valid)") == 2
