"""Opens a listening endpoint, or says in one line why it cannot."""

from errno import EADDRINUSE

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure


class CannotListen(SystemExit, Exception):  # noqa: N818 - what happened
    """Ends the start with one line and status 1.

    As a SystemExit it needs no traceback; as an Exception twistd hands it from its
    background process to whoever waits in the foreground.
    """


class Listener(Service):
    """Listens while it runs; when it cannot, the whole program does not start."""

    _log = Logger()

    def __init__(
        self,
        what: str,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        serves: str,
    ) -> None:
        """Take the endpoint's text, and in words what is served there, for the log."""
        self._what, self._serves = what, serves
        self._endpoint, self._factory = endpoint, factory
        self.port: IListeningPort | None = None
        self._opening: Deferred[IListeningPort] | None = None

    @property
    def address(self) -> str:
        """Where this machine reaches it: `localhost:8080`, or the endpoint's text."""
        host = None if self.port is None else self.port.getHost()
        if isinstance(host, IPv4Address | IPv6Address):
            return f"localhost:{host.port}"
        return self._what

    def startService(self) -> None:
        """:raises CannotListen: with the endpoint and the reason."""
        super().startService()
        failures: list[Failure] = []
        self._opening = opening = self._endpoint.listen(self._factory)
        at_once = opening.called
        opening.addCallback(self._opened)
        opening.addErrback(failures.append if at_once else self._failed_later)
        if failures:
            raise CannotListen(f"cannot listen on {self._what}: {_reason(failures[0])}")

    def stopService(self) -> Deferred[object]:
        super().stopService()
        if self._opening is not None:
            self._opening.cancel()
        port, self.port = self.port, None
        return succeed(None) if port is None else maybeDeferred(port.stopListening)

    def _opened(self, port: IListeningPort) -> None:
        self.port = port
        self._log.info(
            "listening on {what}: {serves}", what=self._what, serves=self._serves
        )

    def _failed_later(self, failure: Failure) -> None:
        # Every endpoint of Twisted's own answers at once; a plugin's may take its time.
        if not failure.check(CancelledError):
            self._log.critical(
                "cannot listen on {what}: {why}", what=self._what, why=_reason(failure)
            )


def _reason(failure: Failure) -> str:
    error = failure.value
    if isinstance(error, CannotListenError):
        error = error.socketError
    if isinstance(error, OSError) and error.errno == EADDRINUSE:
        return f"{error.strerror}; choose another PORT, or stop what listens there"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
