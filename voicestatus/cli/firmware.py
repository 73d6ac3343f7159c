"""Firmware files, as the commands around them read them."""

from pathlib import Path

import click

from voicestatus.core.image import LARGEST_BYTES, Image, ImageReader


def content_of(file: Path) -> bytes:
    """Read a file, or as much of it as shows that it is too large."""
    try:
        with file.open("rb") as stream:
            return stream.read(LARGEST_BYTES + 1)
    except OSError as e:
        raise click.ClickException(f"{file} cannot be read: {e.strerror}") from e


def judge(content: bytes) -> Image:
    """:raises ImageRefused: when it is no image."""
    reader = ImageReader()
    reader.feed(content)
    return reader.finish()


def write(file: Path, content: bytes) -> None:
    """Put it into a file, or take the place of one."""
    try:
        file.write_bytes(content)
    except OSError as e:
        raise click.ClickException(f"{file} cannot be written: {e.strerror}") from e
