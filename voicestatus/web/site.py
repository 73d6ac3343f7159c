"""The HTTP side of the one port: its access log and how it refuses."""

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import Site

_IDLE_S = 60.0


class QuietSite(Site):
    """Logs requests at debug and without their query: that may hold a secret."""

    _log = Logger()
    displayTracebacks = False
    noisy = False

    def __init__(self, root: IResource, clock: IReactorTime) -> None:
        super().__init__(root, timeout=_IDLE_S, reactor=clock)

    def log(self, request: Request) -> None:
        self._log.debug(
            "{method} {path} {status}",
            method=request.method.decode("ascii", "replace"),
            path=request.uri.partition(b"?")[0].decode("ascii", "replace"),
            status=request.code,
        )
