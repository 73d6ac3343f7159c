"""A form that is sent while its file is read."""

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

CHUNK_BYTES = 65_536
BOUNDARY_BYTES = 16


class Form:
    """Fields, and at the end one file that is never held as a whole."""

    def __init__(self, fields: Mapping[str, bytes], name: str, file: Path) -> None:
        """:raises ClickException: the file cannot be read."""
        boundary = secrets.token_hex(BOUNDARY_BYTES)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._file = file
        try:
            self.file_bytes = file.stat().st_size
        except OSError as e:
            raise _unreadable(file, e) from e
        parts = [_head(boundary, key) + value for key, value in fields.items()]
        parts.append(_head(boundary, name, filename="image"))
        self._begin = b"\r\n".join(parts)
        self._end = f"\r\n--{boundary}--\r\n".encode()

    @property
    def size_bytes(self) -> int:
        return len(self._begin) + self.file_bytes + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        """Yield all of it, in pieces.

        :raises ClickException: the file cannot be read, or is another one by now.
        """
        yield self._begin
        left = self.file_bytes
        try:
            with self._file.open("rb") as stream:
                while data := stream.read(min(CHUNK_BYTES, left)):
                    yield data
                    left -= len(data)
        except OSError as e:
            raise _unreadable(self._file, e) from e
        if left:
            raise click.ClickException(f"{self._file} became shorter meanwhile")
        yield self._end


def _head(boundary: str, name: str, filename: str | None = None) -> bytes:
    also = "" if filename is None else f'; filename="{filename}"'
    said = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{also}'
    return f"{said}\r\n\r\n".encode()


def _unreadable(file: Path, error: OSError) -> click.ClickException:
    return click.ClickException(f"{file} cannot be read: {error.strerror}")
