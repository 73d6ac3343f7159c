"""`/firmware/releases`: what may be rolled out."""

from bisect import bisect_right
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime

from voicestatus.core.errors import Refusal
from voicestatus.core.image import LARGEST_BYTES
from voicestatus.core.manifest import SIZE as MANIFEST_BYTES
from voicestatus.core.release import Channel, Release
from voicestatus.ota.catalogue import Catalogue
from voicestatus.ota.incoming import Incoming, Terms
from voicestatus.store.documents import Change
from voicestatus.web import views
from voicestatus.web.api.endpoint import Again, FormOf, endpoint
from voicestatus.web.api.reading import invalid, read_value
from voicestatus.web.audit import Audit, Caller
from voicestatus.web.auth.identity import Scope
from voicestatus.web.form import Form, Piece

MOST_UPLOADS = 4
UPLOAD_WITHIN_S = 600.0
"""One that comes in drops must not keep the others' place."""
RETRY_AFTER_S = 10
BESIDES_BYTES = 65_536
"""What a form may hold besides image and flash."""
FORM_BYTES = 2 * LARGEST_BYTES + BESIDES_BYTES
FIELD_BYTES = 4096

ChannelName = Literal["stable", "beta"]
ChipName = Literal["esp8266", "esp32", "esp32s2", "esp32s3", "esp32c3", "host"]
Notes = Annotated[str, Meta(max_length=1000, examples=["Softer light at night"])]

RELEASE_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "image": {
            "type": "string",
            "contentMediaType": "application/octet-stream",
            "description": "The program alone, as the chip runs it.",
        },
        "manifest": {
            "type": "string",
            "contentMediaType": "application/octet-stream",
            "description": f"What `voicestatus sign` wrote: {MANIFEST_BYTES} bytes.",
        },
        "flash": {
            "type": "string",
            "contentMediaType": "application/octet-stream",
            "description": "What `esptool merge-bin` made of the image, so that a chip"
            " of the ESP32 family can be flashed over USB. Its boot loader, partition"
            " table and otadata are kept, and nothing else of it.",
        },
        "channel": {"type": "string", "enum": [c.value for c in Channel]},
        "legacy": {
            "type": "string",
            "enum": ["true", "false"],
            "description": "Whether devices may have it that check no signature.",
        },
        "notes": {"type": "string", "maxLength": 1000},
    },
    "required": ["image", "manifest"],
    "additionalProperties": False,
    "examples": [{"image": "light.bin", "manifest": "light.bin.manifest"}],
}


class ReleasesQuery(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which releases."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="how many at most")] = 100
    after: Annotated[
        str, Meta(description="the `next` of the page before this one")
    ] = ""
    chip: Annotated[ChipName | UnsetType, Meta(description="those for this chip")] = (
        UNSET
    )
    channel: Annotated[
        ChannelName | UnsetType, Meta(description="those of this channel")
    ] = UNSET

    def takes(self, release: Release) -> bool:
        return (self.chip is UNSET or self.chip == release.chip.title) and (
            self.channel is UNSET or self.channel == release.channel.value
        )


class ReleasePage(Struct, frozen=True, rename="camel"):
    """Releases by id; `next` leads to the others."""

    releases: list[views.Release]
    next: str | None


class ReleasePatch(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What is changed; what is left out stays."""

    channel: ChannelName | UnsetType = UNSET
    legacy: bool | UnsetType = UNSET
    notes: Notes | UnsetType = UNSET


class _Fields(Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of the form beside the files."""

    channel: ChannelName = "stable"
    legacy: Literal["true", "false"] = "false"
    notes: Notes = ""


class ReleasesSubject:
    """The catalogue, for admins."""

    def __init__(self, catalogue: Catalogue, audit: Audit, clock: IReactorTime) -> None:
        self._catalogue, self._audit, self._clock = catalogue, audit, clock
        self._uploads = 0

    @endpoint("GET", "/firmware/releases")
    def list_(self, query: ReleasesQuery) -> ReleasePage:
        """List releases, by id."""
        releases = self._catalogue.releases()
        first = bisect_right(releases, query.after, key=lambda release: release.id)
        found = [release for release in releases[first:] if query.takes(release)]
        page = [self._view(release) for release in found[: query.limit]]
        return ReleasePage(page, page[-1].id if len(found) > len(page) else None)

    @endpoint(
        "POST",
        "/firmware/releases",
        HTTPStatus.CREATED,
        scope=Scope.FIRMWARE,
        form=FormOf(RELEASE_FORM, FORM_BYTES),
        refuses=(
            "IMAGE_REFUSED",
            "MANIFEST_REFUSED",
            "BUILD_EXISTS",
            "NO_SIGNING_KEYS",
            "TOO_MANY_UPLOADS",
            "UPLOAD_TOO_SLOW",
            "STORE_UNAVAILABLE",
        ),
    )
    async def publish(
        self, form: Form, caller: Caller
    ) -> views.Release | Again[views.Release]:
        """Add a release: an image, and the manifest that was signed for it.

        The same again is answered with 200 and changes nothing but `flash`, if given.
        """
        async with self._upload() as incoming:
            terms = await self._in_time(_read(form, incoming))
            release, is_new = await self._catalogue.add(
                incoming,
                terms,
                lambda release: self._told_of(caller, release, terms),
            )
        shown = self._view(release)
        return shown if is_new else Again(shown)

    @endpoint("GET", "/firmware/releases/<release>", refuses=("RELEASE_NOT_FOUND",))
    def show(self, release: str) -> views.Release:
        """Show one release."""
        if (found := self._catalogue.get(release)) is None:
            raise Refusal("RELEASE_NOT_FOUND", "There is no release with this id.")
        return self._view(found)

    @endpoint(
        "PATCH",
        "/firmware/releases/<release>",
        scope=Scope.FIRMWARE,
        refuses=("RELEASE_NOT_FOUND", "STORE_UNAVAILABLE"),
    )
    async def change(
        self, release: str, body: ReleasePatch, caller: Caller
    ) -> views.Release:
        """Change a release's channel or notes; allow it for old devices, or not."""
        given = {k: v for k, v in structs.asdict(body).items() if v is not UNSET}
        also = self._audit.entry(caller, "release.change", release, given)
        if "channel" in given:
            given["channel"] = Channel(given["channel"])
        changed = await self._catalogue.change(release, **given, also=also)
        return self._view(changed)

    @endpoint(
        "DELETE",
        "/firmware/releases/<release>",
        HTTPStatus.NO_CONTENT,
        scope=Scope.FIRMWARE,
        refuses=(
            "RELEASE_NOT_FOUND",
            "RELEASE_IN_USE",
            "NODE_UNREACHABLE",
            "STORE_UNAVAILABLE",
        ),
    )
    async def delete(self, release: str, caller: Caller) -> None:
        """Forget a release and all its bytes; not while a rollout needs it."""
        also = self._audit.entry(caller, "release.delete", release)
        await self._catalogue.delete(release, also=also)

    def _view(self, release: Release) -> views.Release:
        return views.release_of(release, needed=self._catalogue.needed(release.id))

    def _told_of(
        self, caller: Caller, release: Release, terms: Terms
    ) -> tuple[Change, ...]:
        before = self._catalogue.get(release.id)
        if before is not None and before.trusted:
            given = {"flash": True}
            return self._audit.entry(caller, "release.change", release.id, given)
        told = {
            "version": release.version,
            "channel": terms.channel.value,
            "legacy": terms.legacy,
            "notes": terms.notes,
            "flash": bool(release.flash),
        }
        return self._audit.entry(caller, "release.create", release.id, told)

    @asynccontextmanager
    async def _upload(self) -> AsyncIterator[Incoming]:
        if self._uploads >= MOST_UPLOADS:
            text = f"{MOST_UPLOADS} uploads are on their way already."
            raise Refusal("TOO_MANY_UPLOADS", text, retryAfterS=RETRY_AFTER_S)
        incoming = self._catalogue.incoming()
        self._uploads += 1
        try:
            yield incoming
        except Exception:
            await incoming.abandon()
            raise
        finally:
            self._uploads -= 1

    async def _in_time(self, reading: Coroutine[Any, Any, Terms]) -> Terms:
        read = Deferred.fromCoroutine(reading)
        try:
            return await read.addTimeout(UPLOAD_WITHIN_S, self._clock)
        except TookTooLong as e:
            text = f"The form has not come within {UPLOAD_WITHIN_S:g} s."
            raise Refusal("UPLOAD_TOO_SLOW", text) from e


async def _read(form: Form, incoming: Incoming) -> Terms:
    """Pass the image on as it comes; return what else the form says.

    :raises Refusal: with the part that is wrong as `key`.
    """
    seen: set[str] = set()
    small: dict[str, bytes] = {}
    async for piece in form:
        if piece.first:
            if piece.name in seen:
                raise invalid(piece.name, f"{piece.name} is given more than once")
            seen.add(piece.name)
            if "manifest" in small:  # all of it: this is another part
                incoming.sign(small.pop("manifest"))
        if piece.name == "image":
            await incoming.append(piece.data)
        elif piece.name == "flash":
            incoming.append_flash(piece.data)
        else:
            _collect(small, piece)
    for name in RELEASE_FORM["required"]:
        if name not in seen:
            raise invalid(name, f"{name} is missing")
    if "manifest" in small:
        incoming.sign(small.pop("manifest"))
    fields = read_value(_decoded(small), _Fields)
    return Terms(
        channel=Channel(fields.channel),
        legacy=fields.legacy == "true",
        notes=fields.notes,
    )


def _collect(small: dict[str, bytes], piece: Piece) -> None:
    if piece.name not in RELEASE_FORM["properties"]:
        raise invalid(piece.name, f"there is no part {piece.name!r}")
    data = small.get(piece.name, b"") + piece.data
    if len(data) > FIELD_BYTES:
        raise invalid(piece.name, f"{piece.name} has more than {FIELD_BYTES} bytes")
    small[piece.name] = data


def _decoded(small: dict[str, bytes]) -> dict[str, str]:
    try:
        return {name: data.decode() for name, data in small.items()}
    except UnicodeDecodeError as e:
        raise Refusal("VALIDATION_FAILED", "The fields are not UTF-8.") from e
