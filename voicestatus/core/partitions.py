"""Partition tables of the ESP32 family, and which program they start. Pure.

Source: ESP-IDF, gen_esp32part.py, flash_partitions.c, bootloader_utility.c.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from voicestatus.core.errors import Refusal

TABLE_AT, TABLE_BYTES = 0x8000, 0xC00
OTADATA_BYTES = 0x2000
"""Two sectors: one is valid while the other is written."""

Code = Literal[
    "FLASH_NEEDLESS",
    "FLASH_TOO_LARGE",
    "FLASH_TRUNCATED",
    "FLASH_BOOT_LOADER",
    "FLASH_CHIP",
    "FLASH_TABLE",
    "FLASH_OTADATA",
    "FLASH_APP",
]

_ENTRY = struct.Struct("<2sBBII16s4x")
_MAGIC, _MD5_MAGIC = b"\xaaP", b"\xeb\xeb" + b"\xff" * 14
_BLANK = b"\xff"
_APP, _DATA, _BOOT_LOADER, _TABLE = range(4)
_FACTORY, _OTA_SLOTS, _OTADATA = 0, range(0x10, 0x20), 0
_APP_ALIGNMENT = 0x10000
_FIRST_AT = 0x9000

_SELECTED = struct.Struct("<I20sII")
_STATES = {0, 2, 0xFFFFFFFF}
"""New, valid, undefined: with any other the boot loader takes another program."""


class FlashRefused(Refusal):
    """Why a file for the whole flash memory is none for a release.

    `offset` is where that shows.
    """

    def __init__(self, code: Code, message: str, offset: int) -> None:
        super().__init__(code, message, offset=offset)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Partition:
    """A region of flash."""

    kind: int
    subtype: int
    offset: int
    size_bytes: int
    name: str

    @property
    def end(self) -> int:
        return self.offset + self.size_bytes


def app_in(table: bytes) -> int | None:
    """Return where the first program lies by a partition table; None: it is none."""
    for start in range(0, len(table) - _ENTRY.size + 1, _ENTRY.size):
        magic, kind, _, offset, _, _ = _ENTRY.unpack_from(table, start)
        if magic != _MAGIC:
            return None
        if kind == _APP:
            return int(offset)
    return None


def partitions_in(table: bytes) -> tuple[Partition, ...]:
    """Return the partitions of a table, by offset.

    :raises FlashRefused: when a boot loader would not take it.
    """
    found: list[Partition] = []
    at = 0
    while table[at : at + len(_MAGIC)] == _MAGIC:
        _, kind, subtype, offset, size, name = _ENTRY.unpack_from(table, at)
        text = name.rstrip(b"\0").decode("ascii", "replace")
        found.append(Partition(kind, subtype, offset, size, text))
        at += _ENTRY.size
    if not found:
        raise _table_refused("There is no partition table", 0)
    if table[at:].startswith(_MD5_MAGIC):
        meant = table[at + len(_MD5_MAGIC) : at + _ENTRY.size]
        if hashlib.md5(table[:at], usedforsecurity=False).digest() != meant:
            raise _table_refused("The partition table is damaged: its MD5 differs", at)
        at += _ENTRY.size
    if not (rest := table[at:]) or not is_blank(rest):
        raise _table_refused("The partition table has no end", at)
    found.sort(key=lambda partition: partition.offset)
    _check(tuple(p for p in found if p.kind not in {_BOOT_LOADER, _TABLE}))
    return tuple(found)


def otadata_in(partitions: Iterable[Partition]) -> Partition | None:
    """Return the partition that says which program is started."""
    return next(
        (p for p in partitions if (p.kind, p.subtype) == (_DATA, _OTADATA)), None
    )


def sequence_in(otadata: bytes, at: int) -> int | None:
    """Return the number that chooses the program; None: nothing chose yet.

    :raises FlashRefused: when it is neither blank nor well formed.
    """
    numbers = []
    half = len(otadata) // 2
    for start in (0, half):
        sector = otadata[start : start + half]
        if is_blank(sector):
            continue
        number, _, state, crc = _SELECTED.unpack_from(sector)
        is_whole = crc == zlib.crc32(sector[:4], 0xFFFFFFFF) and number
        if not is_whole or state not in _STATES or not is_blank(sector[_ENTRY.size :]):
            told = "What should say which program is started (otadata) cannot be read."
            raise FlashRefused("FLASH_OTADATA", told, at + start)
        numbers.append(number)
    return max(numbers, default=None)


def started(partitions: Iterable[Partition], sequence: int | None) -> Partition | None:
    """Return whose program is started; None: there is no place for one.

    Source: `bootloader_utility_get_selected_boot_partition`.
    """
    apps = {p.subtype: p for p in partitions if p.kind == _APP}
    slots = [apps[subtype] for subtype in _OTA_SLOTS if subtype in apps]
    if sequence is not None and slots:
        return slots[(sequence - 1) % len(slots)]
    return apps.get(_FACTORY, slots[0] if slots else None)


def is_blank(data: bytes) -> bool:
    """Whether it is as erased flash is."""
    return not data.strip(_BLANK)


def _check(partitions: Sequence[Partition]) -> None:
    for each in partitions:
        if each.offset < _FIRST_AT:
            raise _table_refused(f"The partition {each.name!r} begins too early", 0)
        if each.kind == _APP and each.offset % _APP_ALIGNMENT:
            raise _table_refused(f"The program slot {each.name!r} begins oddly", 0)
    otadata = otadata_in(partitions)
    if otadata is not None and otadata.size_bytes < OTADATA_BYTES:
        raise _table_refused(f"The partition {otadata.name!r} is too small", 0)
    for one, other in pairwise(partitions):
        if one.end > other.offset:
            both = f"The partitions {one.name!r} and {other.name!r}"
            raise _table_refused(f"{both} overlap", 0)


def _table_refused(what: str, at: int) -> FlashRefused:
    return FlashRefused("FLASH_TABLE", f"{what} (at 0x{TABLE_AT:x}).", TABLE_AT + at)
