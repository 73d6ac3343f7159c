"""Images for browsers that put them on a chip: as fast as the connection takes them."""

from http import HTTPStatus
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from voicestatus.core.errors import StoreError
from voicestatus.ota.images import Images
from voicestatus.store.blobs import CHUNK_BYTES, Blob
from voicestatus.store.documents import Store
from voicestatus.tasks import Tasks
from voicestatus.web.outflow import Outflow

STALLED_AFTER_S: Final = 30.0


class FlashImages(Service):
    """Answers with images; stopped, it cuts off those that are on their way."""

    _log = Logger()

    def __init__(self, store: Store, clock: IReactorTime) -> None:
        self._images, self._clock = Images(store), clock
        self._running: set[Outflow] = set()
        self._tasks = Tasks()

    def stopService(self) -> None:
        super().stopService()
        for outflow in tuple(self._running):
            outflow.drop()
        self._tasks.cancel()
        self._images.stop()

    async def answer(self, sha256: str) -> "FlashImage | None":
        """Return what writes the image; None: there is none.

        :raises StoreError: when the store does not answer.
        """
        blob = await self._images.find(sha256)
        return None if blob is None else FlashImage(self, blob)

    def begin(self, request: Request, blob: Blob) -> None:
        """Write an image's bytes, and end the answer."""
        outflow = Outflow(request, self._clock)
        work = outflow.run(self._write(outflow, blob))
        self._tasks.spawn("an image for flashing", work)

    async def _write(self, outflow: Outflow, blob: Blob) -> None:
        self._running.add(outflow)
        try:
            outflow.begin()
            for at in range(0, blob.size_bytes, CHUNK_BYTES):
                await outflow.room(STALLED_AFTER_S)
                piece = self._images.fetch(blob, at, CHUNK_BYTES)
                outflow.write(await outflow.wait(piece))
            outflow.finish()
        except (StoreError, TookTooLong) as e:
            self._log.warn("an image was broken off: {why}", why=str(e))
            outflow.drop()
        finally:
            self._running.discard(outflow)


class FlashImage(Resource):
    """One answer."""

    isLeaf = True

    def __init__(self, images: FlashImages, blob: Blob) -> None:
        super().__init__()
        self._images, self._blob = images, blob

    def render_GET(self, request: Request) -> int:
        request.setResponseCode(HTTPStatus.OK)
        request.setHeader(b"content-length", b"%d" % self._blob.size_bytes)
        self._images.begin(request, self._blob)
        return NOT_DONE_YET

    def render_HEAD(self, request: Request) -> bytes:
        request.setHeader(b"content-length", b"%d" % self._blob.size_bytes)
        return b""
