"""A release on its way in: judged while it comes, kept nowhere but in the store."""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.image import Image, ImageReader, ImageRefused
from voicestatus.core.manifest import (
    Manifest,
    ManifestRefused,
    PublicKey,
    check_image,
    verified,
)
from voicestatus.core.merged import Merged, MergedReader, check_merged
from voicestatus.core.partitions import FlashRefused
from voicestatus.core.release import Channel, FlashPart, Release, release_id
from voicestatus.ota.images import KIND as IMAGE
from voicestatus.store.documents import Store

_UNNAMED = ""
"""What an image is called is known when all of it has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an admin says of a release."""

    channel: Channel = Channel.STABLE
    legacy: bool = False
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Signed:
    """An image, and the manifest that was signed for it."""

    image: Image
    manifest: Manifest
    text: str
    """The manifest in base64."""
    merged: Merged | None = None
    """What starts it on a blank chip."""

    @property
    def flash(self) -> tuple[FlashPart, ...]:
        """What has to stand where on a blank chip; empty: that was not given."""
        if self.merged is None:
            return ()
        app = FlashPart(self.merged.app_at, self.image.size_bytes, self.image.sha256)
        parts = (
            FlashPart(part.offset, len(part.data), _sha256(part.data))
            for part in self.merged.parts
        )
        return tuple(sorted((*parts, app), key=lambda part: part.offset))

    @property
    def id(self) -> str:
        return release_id(self.manifest.chip, self.manifest.build, self.image.sha256)

    def release(self, now: float, terms: Terms) -> Release:
        """Make it a release."""
        return Release(
            id=self.id,
            chip=self.manifest.chip,
            board=self.manifest.board,
            version=self.manifest.version,
            build=self.manifest.build,
            min_build=self.manifest.min_build,
            floor=self.manifest.floor,
            not_after=self.manifest.not_after,
            size_bytes=self.image.size_bytes,
            sha256=self.image.sha256,
            manifest=self.text,
            md5=self.image.md5,
            channel=terms.channel,
            legacy=terms.legacy,
            added_at=now,
            notes=terms.notes,
            flash=self.flash,
        )


class Incoming:
    """Takes an image, its manifest, and a file for the whole flash memory if there is
    one, in any order. End it with `abandon` or `finish`.

    Awaiting each `append` bounds the memory that it takes.
    """

    def __init__(
        self, store: Store, keys: Sequence[PublicKey], limit_bytes: int
    ) -> None:
        self._store, self._keys, self._limit_bytes = store, keys, limit_bytes
        self._reader = ImageReader(limit_bytes)
        self._upload = store.upload(IMAGE, _UNNAMED)
        self._merged: MergedReader | None = None
        self._manifest: Manifest | None = None
        self._text = ""
        self._stored = False

    async def append(self, data: bytes) -> None:
        """Take the next bytes of the image.

        :raises Refusal: `IMAGE_REFUSED` as soon as they show that it is none.
        """
        try:
            self._reader.feed(data)
        except ImageRefused as e:
            raise _image_refused(e) from e
        await self._upload.append(data)

    def append_flash(self, data: bytes) -> None:
        """Take the next bytes of a file for the whole flash memory.

        :raises Refusal: `IMAGE_REFUSED` as soon as they show that it is none.
        """
        try:
            if self._merged is None:
                self._merged = MergedReader(self._limit_bytes)
            self._merged.feed(data)
        except FlashRefused as e:
            raise _flash_refused(e) from e

    def sign(self, manifest: bytes) -> None:
        """Take the manifest.

        :raises Refusal: `MANIFEST_REFUSED` unless a key that is trusted signed it.
        """
        try:
            self._manifest = verified(manifest, self._keys)
        except ManifestRefused as e:
            raise _manifest_refused(e) from e
        self._text = b64encode(manifest).decode()

    def judge(self) -> Signed:
        """Return what it is, when all has come.

        :raises Refusal: `IMAGE_REFUSED`, `MANIFEST_REFUSED`.
        """
        try:
            image = self._reader.finish()
        except ImageRefused as e:
            raise _image_refused(e) from e
        if self._manifest is None:
            text = "The manifest is missing."
            raise Refusal("MANIFEST_REFUSED", text, key="manifest")
        try:
            check_image(self._manifest, image)
        except ManifestRefused as e:
            raise _manifest_refused(e) from e
        return Signed(image, self._manifest, self._text, self._whole_flash(image))

    def _whole_flash(self, image: Image) -> Merged | None:
        if self._merged is None:
            return None
        try:
            merged = self._merged.finish()
            check_merged(merged, image)
        except FlashRefused as e:
            raise _flash_refused(e) from e
        return merged

    async def finish(self, signed: Signed) -> None:
        """Store what was judged; the same bytes again change nothing."""
        sha256 = signed.image.sha256
        blob = await self._upload.settle(sha256)
        await self._store.publish(replace(blob, id=sha256))
        self._stored = True
        if signed.merged is not None:
            for part in signed.merged.parts:
                upload = self._store.upload(IMAGE, _sha256(part.data))
                await upload.append(part.data)
                await upload.finish()

    async def abandon(self) -> None:
        """Forget what has come; what is stored already stays."""
        if self._stored:
            return
        with suppress(StoreError):  # the store forgets by itself what nobody ends
            await self._upload.abandon()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _image_refused(e: ImageRefused) -> Refusal:
    cut = {} if e.app_at is None else {"appAt": e.app_at}
    details = {"key": "image", "reason": e.code, "offset": e.offset, **cut}
    return Refusal("IMAGE_REFUSED", e.message, **details)


def _flash_refused(e: FlashRefused) -> Refusal:
    told = {"key": "flash", "reason": e.code, "offset": e.offset}
    return Refusal("IMAGE_REFUSED", e.message, **told)


def _manifest_refused(e: ManifestRefused) -> Refusal:
    return Refusal("MANIFEST_REFUSED", e.message, key="manifest", reason=e.code)
