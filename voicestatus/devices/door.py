"""Whether a connection may stay, and what it counts for."""

from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.logger import Logger

from voicestatus.core.addresses import NO_PROXIES, Addresses, end_site
from voicestatus.core.admission import Admission, Limits
from voicestatus.devices.keepalive import Seldom
from voicestatus.devices.metrics import DoorMetrics


class Door:
    """Counts all connections of the port, by their transport, until they depart.

    A transport stays the same while protocols take it over from one another.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        metrics: DoorMetrics,
        limits: Limits,
        addresses: Addresses = NO_PROXIES,
    ) -> None:
        self._now, self._metrics = clock.seconds, metrics
        self._admission = Admission[ITransport](limits)
        self.addresses = addresses
        self._refused = {"all": Seldom(), "address": Seldom()}
        metrics.connections.set_function(lambda: len(self._admission))

    def arrive(self, transport: ITransport) -> bool:
        """Count a new connection; False: it is one too many.

        A trusted proxy's counts for no address until the client's is known.
        """
        host = getattr(transport.getPeer(), "host", None)
        if not self._admission.arrive(transport):
            self._refuse("all", host)
            return False
        return self.addresses.believes(host) or self.claim(transport, host)

    def claim(self, transport: ITransport, address: str | None) -> bool:
        """Count it as a stranger of this address; False: that has too many."""
        # Without an address (a Unix socket) there is nothing to count by.
        if address is None or self._admission.claim(transport, end_site(address)):
            return True
        self._refuse("address", address)
        return False

    def let_in(self, transport: ITransport) -> None:
        """Count it for no address any more: it was answered."""
        self._admission.let_in(transport)

    def depart(self, transport: ITransport) -> None:
        """Take it that a connection is lost."""
        self._admission.depart(transport)

    def __len__(self) -> int:
        return len(self._admission)

    def _refuse(self, reason: str, address: str | None) -> None:
        self._metrics.refused[reason].inc()
        if many := self._refused[reason].happened(self._now()):
            self._log.warn(
                "{many} connection(s) too many {reason}; the last from {address}",
                many=many,
                reason=_IN_WORDS[reason],
                address=address,
            )


_IN_WORDS = {
    "all": "in all (MAX_CONNECTIONS)",
    "address": "of one address (MAX_PER_ADDRESS)",
}
