"""The releases that there are: one document each, and the bytes that it names."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from twisted.application.service import Service
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.image import LARGEST_BYTES
from voicestatus.core.manifest import PublicKey
from voicestatus.core.release import Channel, FlashPart, Release
from voicestatus.ota.images import KIND as IMAGE
from voicestatus.ota.incoming import Incoming, Signed, Terms
from voicestatus.ota.records import KIND, putting, read
from voicestatus.store.documents import ANY, Change, Delete, Document, Store
from voicestatus.tasks import Tasks

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
ORPHANED_AFTER_S = 600.0
"""An image that has had no release for so long is forgotten. Less would be too little:
another node may be about to add one."""


Also = Callable[[Release], tuple[Change, ...]]
"""Makes what is stored in the same batch as a release."""


class Catalogue(Service):
    """Holds the releases in memory; what is written is stored first.

    `needed` tells of a release's id whether something still goes on with it, as far as
    is known here, and `needed_elsewhere` what another node knows of it.
    """

    _log = Logger()

    def __init__(
        self,
        store: Store,
        keys: Sequence[PublicKey],
        clock: IReactorTime,
        *,
        wall: Callable[[], float],
        limit_bytes: int = LARGEST_BYTES,
    ) -> None:
        """Take the keys that may sign releases, and the size of the largest image."""
        self._store, self._keys, self._clock, self._wall = store, keys, clock, wall
        self._limit_bytes = limit_bytes
        self.needed: Callable[[str], bool] = lambda _: False
        self.needed_elsewhere: Callable[[str], Awaitable[bool]] = _needed_nowhere
        self.loaded = False
        """Whether the store was read; until then there seems to be none."""
        self._releases: dict[str, Release] = {}
        self._told: dict[object, Callable[[str], object]] = {}
        self._lock = DeferredLock()
        self._tasks = Tasks()

    # ---- its life ------------------------------------------------------------------

    def startService(self) -> None:
        """Begin to read the store."""
        super().startService()
        self._tasks.spawn("reading the releases", self._load())

    def stopService(self) -> None:
        super().stopService()
        self._tasks.cancel()

    # ---- reading -------------------------------------------------------------------

    def releases(self) -> list[Release]:
        """Return all, by id."""
        return sorted(self._releases.values(), key=lambda release: release.id)

    def get(self, id_: str) -> Release | None:
        return self._releases.get(id_)

    def subscribe(self, tell: Callable[[str], object]) -> Callable[[], object]:
        """Tell the id of each release that came, went, changed; return the way out."""
        self._told[key := object()] = tell
        return lambda: self._told.pop(key, None)

    async def reread(self, id_: str) -> None:
        """Take over what another node stored of a release."""
        async with self._lock:
            await self._take_over(id_)

    async def reread_all(self) -> None:
        """Take over what other nodes stored, whichever releases that were."""
        for document in await self._store.list(KIND):
            await self.reread(document.id)
        for id_ in tuple(self._releases):
            await self.reread(id_)

    # ---- writing -------------------------------------------------------------------

    def incoming(self) -> Incoming:
        """Take a new release: its image in pieces, and its manifest.

        :raises Refusal: `NO_SIGNING_KEYS`.
        """
        if not self._keys:
            raise Refusal(
                "NO_SIGNING_KEYS",
                "No key may sign releases here. Set OTA_PUBLIC_KEYS to what"
                " `voicestatus keygen` wrote to release.pub.",
            )
        return Incoming(self._store, self._keys, self._limit_bytes)

    async def add(
        self, incoming: Incoming, terms: Terms, also: Also = lambda _: ()
    ) -> tuple[Release, bool]:
        """Make it a release; return that, and whether it is new.

        The same image with the same manifest is the release that it was, but for what a
        blank chip needs: the latest that was given stays.

        :raises Refusal: `IMAGE_REFUSED`, `MANIFEST_REFUSED`, `BUILD_EXISTS`.
        """
        signed = incoming.judge()
        async with self._lock:
            self._refuse_until_loaded()
            # Another node may have it; or it was stored, and the answer was lost.
            await self._take_over(signed.id)
            before = self._like(signed)
            # That again heals an image that was lost.
            await incoming.finish(signed)
            kept = self._flash_kept(signed)
            if before is not None and signed.flash in {(), kept}:
                return before, False
            release = replace(
                before or signed.release(self._wall(), terms),
                flash=signed.flash or kept,
            )
            await self._store.write(
                putting(release, ANY if release.id in self._releases else None),
                *also(release),
            )
            await self._store.sync()
            self._put(release.id, release)
            if kept:
                await self._forget_images(part.sha256 for part in kept)
        self._log.info("release {release} was added", release=release.id)
        return release, before is None

    async def change(
        self,
        id_: str,
        *,
        channel: Channel | None = None,
        legacy: bool | None = None,
        notes: str | None = None,
        also: tuple[Change, ...] = (),
    ) -> Release:
        """Change what an admin says of a release; None stays.

        :raises Refusal: `RELEASE_NOT_FOUND`.
        """
        async with self._lock:
            now = self._known(id_)
            release = replace(
                now,
                channel=now.channel if channel is None else channel,
                legacy=now.legacy if legacy is None else legacy,
                notes=now.notes if notes is None else notes,
            )
            await self._store.write(putting(release), *also)
            self._put(id_, release)
            return release

    async def delete(self, id_: str, *, also: tuple[Change, ...] = ()) -> None:
        """Forget a release, its image, and what else a blank chip needs of it.

        :raises Refusal: `RELEASE_NOT_FOUND`, `RELEASE_IN_USE`.
        """
        async with self._lock:
            release = self._known(id_)
            if self.needed(id_) or await self.needed_elsewhere(id_):
                text = f"A rollout still needs release {id_}."
                raise Refusal("RELEASE_IN_USE", text, release=id_)
            await self._store.write(Delete(KIND, id_), *also)
            self._put(id_, None)
            await self._forget_images(_bytes_of(release))

    def _like(self, signed: Signed) -> Release | None:
        """Return the release that it is already.

        One that is trusted no more stands in nobody's way.

        :raises Refusal: `BUILD_EXISTS` when it is another one of the same build.
        """
        mine = signed.manifest
        for other in filter(lambda one: one.trusted, self._releases.values()):
            if (other.chip, other.board, other.build) == (
                mine.chip,
                mine.board,
                mine.build,
            ) or other.id == signed.id:
                if other.manifest == signed.text:
                    return other
                raise Refusal(
                    "BUILD_EXISTS",
                    f"Build {mine.build} for this chip and board is release {other.id}"
                    " already, with another image or manifest.",
                    release=other.id,
                )
        return None

    def _flash_kept(self, signed: Signed) -> tuple[FlashPart, ...]:
        """Return what is known already of how to start the same image."""
        now = self._releases.get(signed.id)
        if now is None or now.sha256 != signed.image.sha256:
            return ()
        return now.flash

    def _known(self, id_: str) -> Release:
        self._refuse_until_loaded()
        if (release := self._releases.get(id_)) is None:
            raise Refusal("RELEASE_NOT_FOUND", "There is no release with this id.")
        return release

    def _refuse_until_loaded(self) -> None:
        if not self.loaded:
            raise StoreError("the releases are not read yet")

    def _put(self, id_: str, release: Release | None) -> None:
        before = self._releases.pop(id_, None)
        if release is not None:
            self._releases[id_] = release
        if before != release:
            for tell in tuple(self._told.values()):
                tell(id_)

    # ---- the store -----------------------------------------------------------------

    async def _take_over(self, id_: str) -> None:
        document = await self._store.get(KIND, id_)
        self._put(id_, None if document is None else self._read(document))

    async def _load(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self.loaded:
            try:
                documents = await self._store.list(KIND)
            except StoreError as e:
                self._log.warn("the releases cannot be read yet: {why}", why=str(e))
                await deferLater(self._clock, pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self.loaded = True
                for document in documents:
                    self._put(document.id, self._read(document))
        await self._sweep()

    def _read(self, document: Document) -> Release | None:
        """Return what it says; what cannot be read is left as it is."""
        try:
            return read(document, self._keys)
        except StoreError as e:
            self._log.warn("a release is left out: {why}", why=str(e))
            return None

    async def _sweep(self) -> None:
        """Forget images that no release has: an upload was cut off at its end."""
        try:
            blobs = await self._store.blobs(IMAGE)
            await deferLater(self._clock, ORPHANED_AFTER_S)
            async with self._lock:
                wanted = await self._wanted()
                for blob in blobs:
                    if blob.id not in wanted:
                        await self._store.delete_blob(IMAGE, blob.id)
        except StoreError as e:
            # One that cannot be read may be the one that has the image.
            self._log.warn("images without a release are kept: {why}", why=str(e))

    async def _forget_images(self, names: Iterable[str]) -> None:
        """Forget those that no release needs: builds may have a boot loader in common.

        Another node may have added one of which nothing is known here yet.
        """
        try:
            for sha256 in set(names) - await self._wanted():
                await self._store.delete_blob(IMAGE, sha256)
        except StoreError as e:
            self._log.warn("images are forgotten later: {why}", why=str(e))

    async def _wanted(self) -> set[str]:
        """:raises StoreError: also when there is a release that cannot be read."""
        stored = await self._store.list(KIND)
        return {sha for document in stored for sha in _bytes_of(read(document, ()))}


def _bytes_of(release: Release) -> set[str]:
    """Return the names of what is stored of it."""
    return {release.sha256, *(part.sha256 for part in release.flash)}


async def _needed_nowhere(_: str) -> bool:
    return False
