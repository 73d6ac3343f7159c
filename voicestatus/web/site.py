"""The HTTP side of the one port: its access log and what it does not take."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from io import BytesIO
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

IDLE_S = 60.0
MAX_BODY_BYTES = 65_536


class BoundedRequest(Request):
    """Ends the connection when a body grows beyond what any page of ours reads.

    Twisted keeps bodies in memory and in temporary files without a bound.
    """

    _refused = False

    def gotLength(self, length: int | None) -> None:  # noqa: ARG002, N802 - Twisted's
        # Twisted's own opens a file for a body in chunks or of a large length. One for
        # each connection, and none is left to accept with, or to dial Discord.
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        channel: Any = self.channel
        if self.content is None or self.content.tell() + len(data) <= MAX_BODY_BYTES:
            super().handleContentChunk(data)
        elif not channel.transport.disconnecting:
            self._refused = True
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            headers, body = channel.site.too_large(self)
            head = [
                f"HTTP/1.1 {status.value} {status.phrase}",
                "Connection: close",
                f"Content-Length: {len(body)}",
                *(f"{name}: {value}" for name, value in headers.items()),
            ]
            channel.transport.write("\r\n".join([*head, "", ""]).encode() + body)
            channel.loseConnection()

    def process(self) -> None:
        if not self._refused:  # what came may have been the end of the body
            super().process()


TooLarge = Callable[[Request], tuple[Mapping[str, str], bytes]]
"""Makes headers and body of the answer to a body that is too large."""


def _nothing(_: Request) -> tuple[Mapping[str, str], bytes]:
    return {}, b""


class Page(Resource):
    """A leaf that is read."""

    isLeaf = True

    def render_HEAD(self, request: Request) -> bytes:
        """Tell what GET would, but for the body.

        Twisted drops a body too, but logs each time, with the query.
        """
        request.setHeader(b"content-length", b"%d" % len(self.render_GET(request)))
        return b""

    def render_GET(self, request: Request) -> bytes:
        raise NotImplementedError


class QuietSite(Site):
    """Logs requests at debug and without their query: that may hold a secret."""

    _log = Logger()
    displayTracebacks = False
    noisy = False

    def __init__(
        self, root: IResource, clock: IReactorTime, too_large: TooLarge = _nothing
    ) -> None:
        super().__init__(
            root,
            BoundedRequest,
            # 64 KiB of a form would take 25 ms, before anybody asked who sends it.
            parsePOSTFormSubmission=False,
            timeout=IDLE_S,
            reactor=clock,
        )
        self.too_large = too_large

    def log(self, request: HttpRequest) -> None:
        self._log.debug(
            "{method} {path} {status}",
            method=request.method.decode("ascii", "replace"),
            path=request.uri.partition(b"?")[0].decode("ascii", "replace"),
            status=request.code,
        )
