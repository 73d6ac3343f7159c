"""`/flash`, `/provisioning`: putting firmware on a chip over USB, and letting it in."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from msgspec import Meta, Struct
from twisted.web.resource import Resource

from voicestatus.core.errors import Refusal
from voicestatus.core.release import Release
from voicestatus.devices.registry import Registry
from voicestatus.ota.catalogue import Catalogue
from voicestatus.web.api.endpoint import endpoint
from voicestatus.web.audit import Audit, Caller
from voicestatus.web.auth.identity import Scope
from voicestatus.web.flash_images import FlashImages
from voicestatus.web.flasher import (
    FlashBuild,
    FlashManifest,
    build_of,
    manifest_of,
    obstacle,
    parts_of,
)
from voicestatus.web.views import at


class FlashOffer(Struct, frozen=True, rename="camel"):
    """All releases for chips, those of the newest builds first."""

    builds: list[FlashBuild]


class ManifestQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which release."""

    release: Annotated[str, Meta(description="its id")]


class Provisioning(Struct, frozen=True, rename="camel"):
    """What a new device has to know."""

    token: Annotated[
        str, Meta(description="enrols one device, once; it is told this once")
    ]
    ends_at: datetime
    url: Annotated[
        str | None,
        Meta(description="where it dials; null: PUBLIC_URL does not say"),
    ]
    path: Annotated[str, Meta(description="where it dials on this very server")]

    def __repr__(self) -> str:
        return "Provisioning()"


class FlashSubject:
    """What esp-web-tools asks for."""

    def __init__(self, catalogue: Catalogue, images: FlashImages) -> None:
        self._catalogue, self._images = catalogue, images

    @endpoint("GET", "/flash")
    def list_(self) -> FlashOffer:
        """List what can be put on a chip over USB, and what cannot, and why."""
        found = [b for r in self._catalogue.releases() if (b := build_of(r))]
        return FlashOffer(sorted(found, key=lambda build: -build.build))

    @endpoint(
        "GET",
        "/flash/manifest",
        refuses=("RELEASE_NOT_FOUND", "RELEASE_NOT_FLASHABLE"),
    )
    def manifest(self, query: ManifestQuery) -> FlashManifest:
        """Show one release as esp-web-tools reads it."""
        return manifest_of(self._flashable(query.release))

    @endpoint(
        "GET",
        "/flash/images/<release>/<offset>",
        refuses=("RELEASE_NOT_FOUND", "RELEASE_NOT_FLASHABLE", "STORE_UNAVAILABLE"),
        media="application/octet-stream",
    )
    async def image(self, release: str, offset: str) -> Resource:
        """Give what a release has at an offset of flash memory."""
        parts = {f"{p.offset}": p for p in parts_of(self._flashable(release))}
        if (part := parts.get(offset)) is None:
            raise Refusal("RELEASE_NOT_FOUND", "This release has nothing there.")
        answer = await self._images.answer(part.sha256)
        if answer is None:
            raise Refusal("RELEASE_NOT_FOUND", "These bytes of the release are lost.")
        return answer

    def _flashable(self, id_: str) -> Release:
        release = self._catalogue.get(id_)
        if release is None or build_of(release) is None:
            raise Refusal("RELEASE_NOT_FOUND", "There is no such release for a chip.")
        if (why := obstacle(release)) is not None:
            text = "A browser cannot put this release on a chip that starts with it."
            raise Refusal("RELEASE_NOT_FLASHABLE", text, reason=why)
        return release


class ProvisioningSubject:
    """Letting a new device in, whatever `ENROLMENT` says of unknown ones."""

    def __init__(
        self, devices: Registry, audit: Audit, public_url: str | None, device_path: str
    ) -> None:
        """Take where the server is found, if the settings say so."""
        self._devices, self._audit, self._path = devices, audit, device_path
        self._url = None if public_url is None else _dialled(public_url, device_path)

    @endpoint(
        "POST",
        "/provisioning",
        HTTPStatus.CREATED,
        scope=Scope.DEVICES,
        refuses=("STORE_UNAVAILABLE",),
    )
    async def provision(self, caller: Caller) -> Provisioning:
        """Make a token with which one new device gets its own, within an hour."""
        entry = self._audit.entry(caller, "device.provision", "")
        token, ends_at = await self._devices.provision(also=entry)
        return Provisioning(token, at(ends_at), self._url, self._path)


def _dialled(public_url: str, path: str) -> str:
    """Return a URL of the web as devices dial it."""
    return f"ws{public_url.removeprefix('http').rstrip('/')}{path}"
