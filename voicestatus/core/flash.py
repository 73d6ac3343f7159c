"""The checksums that images have. Pure."""

import struct
import zlib


class Xor:
    """The checksum of segments: all their bytes, each a XOR with the others.

    Source: esptool, loader.py, `ESP_CHECKSUM_MAGIC`.
    """

    _SEED = 0xEF

    def __init__(self) -> None:
        self._folded = 0

    def feed(self, piece: bytes | bytearray) -> None:
        # One operation on a long number is a thousand times as fast as one a byte.
        self._folded ^= int.from_bytes(piece, "little")

    def value(self) -> int:
        left = self._folded
        size = (left.bit_length() + 7) // 8
        while size > 1:
            half = (size + 1) // 2
            left = (left >> 8 * half) ^ (left & ((1 << 8 * half) - 1))
            size = half
        return left ^ self._SEED


_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class CrcOfArduino:
    """The CRC-32 that newer Arduino cores put into an ESP8266 image.

    The words at `AT` are the image's length and its CRC. Both are zero while the
    checksum and the CRC are made. Older cores have a part of the program there.

    Source: elf2bin.py, `write_bin`, `add_crc`, `crc8266`.
    """

    AT = 0x1010
    _WORDS = struct.Struct("<II")

    def __init__(self) -> None:
        self.words = bytearray(self._WORDS.size)
        self._crc = 0

    def feed(self, piece: bytes, at: int) -> None:
        begin, end = max(self.AT - at, 0), self.AT + self._WORDS.size - at
        if end > 0 and (hole := piece[begin:end]):
            piece = piece[:begin] + bytes(len(hole)) + piece[end:]
            start = at + begin - self.AT
            self.words[start : start + len(hole)] = hole
        # zlib's is the same with the bits of each byte and of the result turned round.
        self._crc = zlib.crc32(piece.translate(_MIRRORED), self._crc)

    def is_meant(self, size_bytes: int) -> bool:
        """Whether what stands there is a CRC, in an image of this size."""
        length, _ = self._WORDS.unpack(self.words)
        return bool(length == size_bytes)

    def holds(self) -> bool:
        _, meant = self._WORDS.unpack(self.words)
        made = (self._crc ^ 0xFFFFFFFF).to_bytes(4, "little").translate(_MIRRORED)
        return bool(int.from_bytes(made, "big") == meant)
