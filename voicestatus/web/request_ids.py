"""Names requests, so that an answer, a log line and an audit entry can be matched."""

import re
from collections.abc import Callable

from twisted.web.http import Request

HEADER = b"x-request-id"
_SAFE = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RequestIds:
    """Takes the caller's own `X-Request-Id` if it is short and safe, else makes one."""

    def __init__(self, new: Callable[[], str]) -> None:
        self.new = new

    def name(self, request: Request) -> str:
        """Return the request's id, the same each time; the answer will carry it."""
        named = request.responseHeaders.getRawHeaders(HEADER)
        if named is None:
            given = request.getHeader(HEADER) or b""
            safe = _SAFE.fullmatch(given)
            named = [given if safe else self.new().encode("ascii")]
            request.setHeader(HEADER, named[0])
        return named[0].decode("ascii")
