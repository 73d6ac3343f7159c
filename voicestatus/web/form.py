"""Reads `multipart/form-data` while it comes, without keeping it."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from voicestatus.core.errors import Refusal
from voicestatus.web.inflow import Inflow

# It warns of what peers send, and raises besides.
logging.getLogger("python_multipart").setLevel(logging.ERROR)
_KIND = b"multipart/form-data"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of the part called `name`; the `first` of it may be empty."""

    name: str
    first: bool
    data: bytes


class Form:
    """The parts of a body, each in pieces, as they come."""

    def __init__(self, inflow: Inflow, boundary: bytes) -> None:
        """:raises Refusal: `VALIDATION_FAILED` for a boundary that cannot be one."""
        self._inflow = inflow
        self._found: list[Piece] = []
        self._whole = False
        self._header = self._value = b""
        self._name = ""
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_begin": self._begin_header,
                    "on_header_field": self._take_header,
                    "on_header_value": self._take_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_data,
                    "on_part_data": self._take_data,
                    "on_end": self._end,
                },
            )
        except FormParserError as e:
            raise _not_a_form(str(e)) from e

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """Yield all pieces; the next bytes are asked for when these are done with.

        :raises Refusal: `VALIDATION_FAILED`, `PAYLOAD_TOO_LARGE`.
        :raises CallerGone: when it breaks off.
        """
        while data := await self._inflow.read():
            if not self._whole:  # what follows the last part means nothing
                self._parse(data)
            found, self._found = self._found, []
            for piece in found:
                yield piece
        if not self._whole:
            raise _not_a_form("it ends before its last boundary")

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as e:
            raise _not_a_form(str(e)) from e

    # ---- what the parser calls -----------------------------------------------------

    def _begin_part(self) -> None:
        self._name = ""

    def _begin_header(self) -> None:
        self._header = self._value = b""

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value.decode("latin-1"))
            if (name := options.get(b"name")) is not None:
                self._name = name.decode("utf-8", "replace")

    def _begin_data(self) -> None:
        if not self._name:
            raise _not_a_form("a part has no name")
        self._found.append(Piece(self._name, first=True, data=b""))

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        self._found.append(Piece(self._name, first=False, data=data[start:end]))

    def _end(self) -> None:
        self._whole = True


def boundary_of(content_type: str) -> bytes | None:
    """Return what parts the body of a form; None: it is no form."""
    kind, options = parse_options_header(content_type)
    return options.get(b"boundary") or None if kind == _KIND else None


def _not_a_form(why: str) -> Refusal:
    return Refusal("VALIDATION_FAILED", f"The body is not multipart/form-data: {why}")
