"""Which part of something a request asks for. Pure."""

import re
from typing import NamedTuple

_BYTES = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.IGNORECASE | re.ASCII)


class Span(NamedTuple):
    """From the byte at `start` up to the one before `end`."""

    start: int
    end: int


class Unsatisfiable(Exception):  # noqa: N818 - what is answered
    """There is not one byte there."""


def asked(header: str | None, size_bytes: int) -> Span | None:
    """Read a `Range`; None: the whole is asked for, or what cannot be understood.

    Several ranges at once are answered with the whole.

    Source: RFC 9110 14.1.2, 14.2.

    :raises Unsatisfiable: when it begins behind the end.
    """
    found = _BYTES.fullmatch((header or "").strip())
    if found is None or found.group(0).endswith("=-"):
        return None
    first, last = found.groups()
    if not first:
        suffix = min(int(last), size_bytes)
        if not suffix:
            raise Unsatisfiable
        return Span(size_bytes - suffix, size_bytes)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        raise Unsatisfiable
    return Span(start, min(int(last) + 1, size_bytes) if last else size_bytes)
