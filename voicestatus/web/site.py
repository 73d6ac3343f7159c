"""The HTTP side of the one port: its access log and what it does not take."""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from voicestatus.web.inflow import Inflow

IDLE_S = 60.0
MAX_BODY_BYTES = 65_536
LINGER_S = 1.0
LINGER_BYTES = 4 * 1_048_576
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_SECRET_TAIL = re.compile(rb"(/ota/images/[^/]*/|/members/).*", re.DOTALL)
"""Tokens, and ids of people."""


class BoundedRequest(Request):
    """Ends the connection when a body grows beyond what any page of ours reads.

    Twisted keeps bodies in memory and in temporary files without a bound.
    """

    transport: Any
    """Twisted has no one type for what tcp.Server and its wrappers can do."""
    _refused = False
    _wants_continue = False
    _lingering: IDelayedCall | None = None
    _passed_bytes = 0
    asked_host = ""
    """The `Host` as it came; pages may make the router believe another one."""

    def gotLength(self, length: int | None) -> None:  # noqa: ARG002, N802 - Twisted's
        # Twisted's own opens a file for a body in chunks or of a large length. One for
        # each connection, and none is left to accept with, or to dial Discord.
        self.content = BytesIO()
        self.asked_host = (self.getHeader(b"host") or b"").decode("latin-1")
        channel: Any = self.channel
        # The channel tells a request its own first line when the body is there.
        command, target = channel._command, channel._path  # noqa: SLF001 - see above
        path, _, _ = target.partition(b"?")
        # A slash that is quoted parts nothing: the tree has no page at such a path.
        path = b"" if b"%2f" in path.lower() else unquote_to_bytes(path)
        if (receive := channel.site.receiver_of(command, path)) is not None:
            self.uri, self.clientproto = target, channel._version  # noqa: SLF001
            # Who may not send it is told so instead: see `go_on`.
            expected = self.requestHeaders.getRawHeaders(b"expect") or [b""]
            self._wants_continue = expected[0].lower() == b"100-continue"
            self.requestHeaders.removeHeader(b"expect")
            receive(self)

    def go_on(self) -> None:
        """Tell the client to send its body, if it asked whether it may."""
        if self._wants_continue and self.clientproto == b"HTTP/1.1":
            self.transport.write(_CONTINUE)

    def handleContentChunk(self, data: bytes) -> None:
        if self._refused:
            self._passed_bytes += len(data)
            if self._passed_bytes > LINGER_BYTES:
                self._hang_up()
        elif isinstance(self.content, Inflow):
            self.content.write(data)
        elif self.content is None or self.content.tell() + len(data) <= MAX_BODY_BYTES:
            super().handleContentChunk(data)
        else:
            channel: Any = self.channel
            headers, body = channel.site.too_large(self)
            self.cut_short(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, headers, body)

    def cut_short(
        self, status: HTTPStatus, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Answer before the body is there, and hang up."""
        self._refused = True
        head = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            "Connection: close",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        channel: Any = self.channel
        channel.site.log_as(channel._command, channel._path, status)  # noqa: SLF001
        # Closed with bytes unread, the client would have a reset, and no answer.
        self._lingering = channel.site.clock.callLater(LINGER_S, self._hang_up)

    def connectionLost(self, reason: Failure) -> None:
        self._stop_lingering()
        super().connectionLost(reason)

    def process(self) -> None:
        if self._refused:  # what came was the end of the body
            self._hang_up()
            return
        if isinstance(self.content, Inflow):
            self.content.end()
        super().process()

    def finish(self) -> None:
        channel: Any = self.channel
        if not channel.persistent:
            # Else it is waited for ever for who does not read the end of the answer.
            channel.timeoutConnection = channel.forceAbortClient
            channel.setTimeout(IDLE_S)
        super().finish()

    def _hang_up(self) -> None:
        self._stop_lingering()
        channel: Any = self.channel
        channel.loseConnection()

    def _stop_lingering(self) -> None:
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()


def headers_of(request: Request) -> dict[str, str]:
    """Return a request's headers, their names in lower case."""
    return {
        name.decode("latin-1").lower(): b",".join(values).decode("latin-1")
        for name, values in request.requestHeaders.getAllRawHeaders()
    }


def peer_of(request: Request) -> str | None:
    """Return the address that a request came from; None: it has none."""
    return getattr(request.getClientAddress(), "host", None)


TooLarge = Callable[[Request], tuple[Mapping[str, str], bytes]]
"""Makes headers and body of the answer to a body that is too large."""

Receiver = Callable[[BoundedRequest], None]
"""Begins to read a body while it comes: puts an `Inflow` in place of `content`."""


def _nothing(_: Request) -> tuple[Mapping[str, str], bytes]:
    return {}, b""


def _nobody(_command: bytes, _path: bytes) -> Receiver | None:
    return None


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
        self,
        root: IResource,
        clock: IReactorTime,
        too_large: TooLarge = _nothing,
        receiver_of: Callable[[bytes, bytes], Receiver | None] = _nobody,
    ) -> None:
        """`receiver_of` says of a method and path who reads a body while it comes."""
        super().__init__(
            root,
            BoundedRequest,
            # 64 KiB of a form would take 25 ms, before anybody asked who sends it.
            parsePOSTFormSubmission=False,
            timeout=IDLE_S,
            reactor=clock,
        )
        self.clock, self.too_large, self.receiver_of = clock, too_large, receiver_of

    def log(self, request: HttpRequest) -> None:
        self.log_as(request.method, request.uri, request.code)

    def log_as(self, method: bytes, target: bytes, status: int) -> None:
        """Write a line of the access log."""
        path = unquote_to_bytes(target.partition(b"?")[0])
        self._log.debug(
            "{method} {path} {status}",
            method=method.decode("ascii", "replace"),
            path=_SECRET_TAIL.sub(rb"\1...", path).decode("ascii", "replace"),
            status=int(status),
        )
