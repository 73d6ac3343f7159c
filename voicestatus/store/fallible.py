"""A store whose storage can fail: it tells so, and tries until it works again."""

from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger

from voicestatus.store.blobs import UploadLost
from voicestatus.store.documents import Fenced, NotEmpty, Store, VersionConflict

T = TypeVar("T")

PROBE_EVERY_S = 2.0


class FallibleStore(Store):
    """Knows the problem of its storage, from the calls that fail.

    A full disk can still be read: only a write shows that the problem is gone. So
    while there is one, an empty batch is written now and then.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._probe: IDelayedCall | None = None

    async def pause(self) -> None:
        """Let others have their turn, in the midst of long work."""
        await deferLater(self._reactor, 0)

    def stopService(self) -> Any:
        """Refuse new calls; stop trying."""
        super().stopService()
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None

    async def _asked(self, answer: Deferred[T], *, writes: bool = False) -> T:
        """Wait for an answer of the storage, and learn from it how it is."""
        try:
            result = await answer
        except (VersionConflict, Fenced, NotEmpty, UploadLost):  # these are answers
            raise
        except CancelledError:  # who gave up learnt nothing
            raise
        except Exception as e:
            self._ill(str(e) or type(e).__name__)
            raise
        if writes:
            self._well()
        return result

    def _well(self) -> None:
        if self.problem is not None:
            self.problem = None
            self._log.info("storage works again")

    def _ill(self, why: str) -> None:
        if not self.running:  # that the store ends is no problem of its storage
            return
        if why != self.problem:
            self.problem = why
            self._log.critical("storage: {why}", why=why)
        if self._probe is None:
            self._probe = self._reactor.callLater(PROBE_EVERY_S, self._try_again)

    def _try_again(self) -> None:
        self._probe = None
        if self.problem is not None:
            # Why it fails is told by then.
            Deferred.fromCoroutine(self.write()).addErrback(lambda _: None)
