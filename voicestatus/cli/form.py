"""A form that is sent while its file is read."""

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

CHUNK_BYTES = 65_536
BOUNDARY_BYTES = 16


class Form:
    """Fields, and behind them files that are never held as a whole."""

    def __init__(self, fields: Mapping[str, bytes], files: Mapping[str, Path]) -> None:
        """:raises ClickException: a file cannot be read."""
        boundary = secrets.token_hex(BOUNDARY_BYTES)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._begin = b"".join(
            _head(boundary, name) + value + b"\r\n" for name, value in fields.items()
        )
        self._files = [
            (_head(boundary, name, filename=name), file, _size(file))
            for name, file in files.items()
        ]
        self._end = f"--{boundary}--\r\n".encode()

    @property
    def size_bytes(self) -> int:
        files = sum(len(head) + size + len(b"\r\n") for head, _, size in self._files)
        return len(self._begin) + files + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        """Yield all of it, in pieces.

        :raises ClickException: a file cannot be read, or is another one by now.
        """
        yield self._begin
        for head, file, size in self._files:
            yield head
            yield from _content(file, size)
            yield b"\r\n"
        yield self._end


def _content(file: Path, left: int) -> Iterator[bytes]:
    try:
        with file.open("rb") as stream:
            while data := stream.read(min(CHUNK_BYTES, left)):
                yield data
                left -= len(data)
    except OSError as e:
        raise _unreadable(file, e) from e
    if left:
        raise click.ClickException(f"{file} became shorter meanwhile")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as e:
        raise _unreadable(file, e) from e


def _head(boundary: str, name: str, filename: str | None = None) -> bytes:
    also = "" if filename is None else f'; filename="{filename}"'
    said = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{also}'
    return f"{said}\r\n\r\n".encode()


def _unreadable(file: Path, error: OSError) -> click.ClickException:
    return click.ClickException(f"{file} cannot be read: {error.strerror}")
