"""Services in a row: started in order, stopped one after the other in reverse."""

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger


class Row(MultiService):
    """What is added later may use what was added before, to the very end."""

    _log = Logger()

    def stopService(self) -> Deferred[None]:
        """Fire when the first service has stopped, and so every one."""
        self.running = 0
        return Deferred.fromCoroutine(self._stop_all())

    async def _stop_all(self) -> None:
        for service in reversed(list(self)):
            try:
                await maybeDeferred(service.stopService)
            except Exception:  # noqa: BLE001 - the others must be stopped all the same
                self._log.failure("{service} did not stop cleanly", service=service)
