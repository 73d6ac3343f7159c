"""Firmware files, whole and spoilt, and what is made of them."""

import struct
from collections.abc import Callable, Iterable

import pytest

from voicestatus.core.image import Image, ImageReader, ImageRefused

ENTRY = struct.Struct("<2sBBII16sI")
APP_AT = 0x10000


def judge(data: bytes, pieces: Iterable[int] = (), limit: int = 1 << 24) -> Image:
    """Feed a file in pieces of these sizes, and the rest at once."""
    reader, at = ImageReader(limit), 0
    for size in pieces:
        reader.feed(data[at : at + size])
        at += size
    reader.feed(data[at:])
    return reader.finish()


def refusal(data: bytes, pieces: Iterable[int] = (), limit: int = 1 << 24) -> str:
    """Return the code with which a file is refused; empty: it is taken."""
    try:
        judge(data, pieces, limit)
    except ImageRefused as refused:
        return refused.code
    return ""


def merge(app: bytes, boot: bytes, boot_at: int, app_at: int = APP_AT) -> bytes:
    """Make a file for the whole flash memory, as `esptool merge-bin` does."""
    table = b"".join(
        ENTRY.pack(b"\xaaP", kind, subtype, at, size, name, 0)
        for kind, subtype, at, size, name in (
            (1, 2, 0x9000, 0x5000, b"nvs"),
            (1, 0, 0xE000, 0x2000, b"otadata"),
            (0, 0x10, app_at, 0x140000, b"app0"),
            (0, 0x11, app_at + 0x140000, 0x140000, b"app1"),
        )
    )
    flash = b"\xff" * boot_at + boot
    for at, content in ((0x8000, table), (app_at, app)):
        flash = flash.ljust(at, b"\xff") + content
    return flash


@pytest.fixture(scope="session", name="judge")
def _judge() -> Callable[..., Image]:
    return judge


@pytest.fixture(scope="session", name="refusal")
def _refusal() -> Callable[..., str]:
    return refusal


@pytest.fixture(scope="session", name="merge")
def _merge() -> Callable[..., bytes]:
    return merge
