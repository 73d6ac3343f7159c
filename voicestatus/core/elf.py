"""As much of ELF, the linker's format, as tells whose program a file is. Pure.

Source: System V ABI, "ELF Header"; its numbers of machines.
"""

import struct

MAGIC = b"\x7fELF"
HEAD_BYTES = 64

_WIDE = 2
_LAYOUT_32 = struct.Struct("<28xII4x2xHHHH")
_LAYOUT_64 = struct.Struct("<32xQQ4x2xHHHH")
_XTENSA, _RISCV = 94, 243


def is_for_microcontroller(head: bytes) -> bool:
    """Whether it is for Espressif's chips. 64 bits of RISC-V are a computer's."""
    machine = int.from_bytes(head[18:20], "little")
    return machine == _XTENSA or (machine == _RISCV and head[4] != _WIDE)


def end_of_tables(head: bytes) -> int:
    """Return the size that the file has at least, by its head."""
    layout = _LAYOUT_64 if head[4] == _WIDE else _LAYOUT_32
    programs_at, sections_at, program, programs, section, sections = layout.unpack_from(
        head
    )
    return int(max(programs_at + program * programs, sections_at + section * sections))
