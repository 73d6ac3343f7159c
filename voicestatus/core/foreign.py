"""What a file is that is no firmware image, by how it begins. Pure."""

import re
from collections.abc import Callable, Sequence
from typing import Literal

Code = Literal[
    "IMAGE_COMPRESSED",
    "IMAGE_FILESYSTEM",
    "IMAGE_LINKER_FILE",
    "IMAGE_NOT_APP",
    "IMAGE_UNKNOWN",
    "IMAGE_WEB_PAGE",
]
HEAD_BYTES = 512
"""So much of a file is enough to tell."""


def _begins(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(starts)


def _is_web_page(head: bytes) -> bool:
    return head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml"))


def _is_filesystem(head: bytes) -> bool:
    littlefs = head[8:16] == b"littlefs"
    fat = head[:1] == b"\xeb" and head[510:512] == b"\x55\xaa"
    # The look-up of the first object's index page, as mkspiffs writes it.
    spiffs = head[:2] == b"\x01\x80"
    return littlefs or fat or spiffs


_HEX = re.compile(rb":[0-9A-Fa-f]{10}")

_KINDS: Sequence[tuple[Callable[[bytes], bool], Code, str]] = (
    (
        _begins(b"\x1f\x8b"),
        "IMAGE_COMPRESSED",
        "This is compressed with gzip; unpack it first.",
    ),
    (
        _begins(b"PK\x03\x04"),
        "IMAGE_COMPRESSED",
        "This is a zip archive; the image may lie in it.",
    ),
    (
        _begins(b"UF2\n"),
        "IMAGE_LINKER_FILE",
        "This is a UF2 file, for flashing over USB; the image is the build's .bin.",
    ),
    (
        lambda head: _HEX.match(head) is not None,
        "IMAGE_LINKER_FILE",
        "This is an Intel HEX file; the image is the build's .bin.",
    ),
    (
        _is_web_page,
        "IMAGE_WEB_PAGE",
        "This is a web page, perhaps an error that was saved in place of the image.",
    ),
    (
        _is_filesystem,
        "IMAGE_FILESYSTEM",
        "This is the image of a file system, not of a program.",
    ),
    (
        _begins(b"\xaaP"),
        "IMAGE_NOT_APP",
        "This is a partition table, not a program.",
    ),
    (
        _begins(b"VSOTA"),
        "IMAGE_NOT_APP",
        "This is a manifest; the image is the file that it was made for.",
    ),
    (
        _begins(b"\xea"),
        "IMAGE_NOT_APP",
        "This is an ESP8266 image for another boot loader than Arduino's.",
    ),
)


def kind_of(head: bytes) -> tuple[Code, str]:
    """Say what begins so, as a code and a sentence."""
    for matches, code, sentence in _KINDS:
        if matches(head):
            return code, sentence
    return (
        "IMAGE_UNKNOWN",
        f"This is no firmware image: it begins with 0x{head[0]:02x}, not with 0xe9.",
    )
