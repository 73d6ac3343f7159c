"""WebSocket frames as a small client needs them. Pure.

Source: RFC 6455, section 5.
"""

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
MASK = b"\x37\xfa\x21\x3d"
"""One for all frames: it hides nothing between two ends that are ours."""
MAX_PAYLOAD_BYTES = 15 * 1024
"""The library's limit (WebSockets.h, WEBSOCKETS_MAX_DATA_SIZE)."""


class FrameTooLongError(Exception):
    """A frame that the library would not take."""


def masked(opcode: int, payload: bytes = b"") -> bytes:
    """Make one frame of a client; payload at most 65535 bytes."""
    size = len(payload)
    key = int.from_bytes((MASK * (size // 4 + 1))[:size])
    head = (
        bytes((0x80 | opcode, 0x80 | size))
        if size < 126
        else bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    )
    return head + MASK + (int.from_bytes(payload) ^ key).to_bytes(size)


class Frames:
    """Takes a server's bytes apart."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Give all frames that are whole now, as (opcode, payload).

        :raises FrameTooLongError: when one is longer than the library takes.
        """
        data, frames = self._rest + data, list[tuple[int, bytes]]()
        while len(data) >= 2:
            size, start = data[1] & 0x7F, 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(data[2:10], "big"), 10
            if len(data) >= start and size > MAX_PAYLOAD_BYTES:
                raise FrameTooLongError(f"a frame of {size} bytes")
            if len(data) < start + size:
                break
            frames.append((data[0] & 0x0F, data[start : start + size]))
            data = data[start + size :]
        self._rest = data
        return frames
