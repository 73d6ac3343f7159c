"""`/devices`: the signs, what they show and why, and what may be done to them."""

from bisect import bisect_right
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from voicestatus.core.fleet import Device
from voicestatus.devices.registry import Patch, Registry
from voicestatus.devices.wire import DeviceId, Line, Word
from voicestatus.web import views
from voicestatus.web.api.endpoint import endpoint
from voicestatus.web.api.rules import RuleBody, read_rule
from voicestatus.web.audit import Audit, Caller
from voicestatus.web.auth.identity import Scope
from voicestatus.web.commands import Command, Commands, CommandSent
from voicestatus.web.everywhere import Everywhere

SLICE = 200
"""Devices that are looked at before the reactor turns: one or two milliseconds."""

SOUGHT = ("DEVICE_NOT_FOUND", "NODE_UNREACHABLE", "STORE_UNAVAILABLE")
"""How one is refused who asks where a device is."""

PROBED = (
    "PROBE_NOT_NEEDED",
    "PROBE_UNANSWERED",
    "PUBLIC_URL_MISSING",
    "RETURN_AWAITED",
    "ENROLMENT_CLOSED",
    "ALREADY_ENROLLED",
    "DEVICE_REVOKED",
)
"""How one is refused who has an old device asked what it is."""

Name = Annotated[Line, Meta(examples=["Desk lamp"])]
Tags = Annotated[
    tuple[Annotated[Word, Meta(min_length=1)], ...],
    Meta(max_length=32, examples=[["office"]]),
]
NewId = Annotated[
    DeviceId,
    Meta(
        description="what the device calls itself in its `hello`",
        examples=["desk-lamp"],
    ),
]


class DevicesQuery(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which devices."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="how many at most")] = 100
    after: Annotated[
        str, Meta(description="the `next` of the page before this one")
    ] = ""
    tag: Annotated[str | UnsetType, Meta(description="those that have this tag")] = (
        UNSET
    )
    connected: Annotated[
        Literal["true", "false"] | UnsetType,
        Meta(description="those that are here, or those that are not"),
    ] = UNSET
    q: Annotated[
        str | UnsetType,
        Meta(description="those whose id or name holds this, in any case"),
    ] = UNSET

    def takes(self, device: Device, *, connected: bool) -> bool:
        record, wanted = device.record, "true" if connected else "false"
        return (
            (self.tag is UNSET or self.tag in record.tags)
            and (self.connected is UNSET or self.connected == wanted)
            and (self.q is UNSET or _mentions(device, self.q.casefold()))
        )


class DevicePage(Struct, frozen=True, rename="camel"):
    """Devices by id; `next` leads to the others."""

    devices: list[views.Device]
    next: str | None


class NewDevice(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A device that is enrolled by hand."""

    id: NewId
    name: Name | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    rule: RuleBody | UnsetType | None = UNSET


class DevicePatch(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What is changed; what is left out stays. A `rule` of null takes it away."""

    name: Name | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    rule: RuleBody | UnsetType | None = UNSET
    approved: bool | UnsetType = UNSET
    revoked: bool | UnsetType = UNSET


class NewToken(Struct, frozen=True, rename="camel"):
    """A token of a device's own: told this once."""

    token: str

    def __repr__(self) -> str:
        return "NewToken()"


class Enrolled(Struct, frozen=True, rename="camel"):
    """A new device and its token, which is told this once."""

    device: views.Device
    token: str

    def __repr__(self) -> str:
        return f"Enrolled(device={self.device!r})"


class DevicesSubject:
    """The registry, for admins."""

    def __init__(
        self,
        devices: Registry,
        everywhere: Everywhere,
        commands: Commands,
        audit: Audit,
        clock: IReactorTime,
    ) -> None:
        self._registry, self._everywhere = devices, everywhere
        self._commands, self._audit, self._clock = commands, audit, clock

    @endpoint("GET", "/devices", refuses=("STORE_UNAVAILABLE",))
    async def list_(self, query: DevicesQuery) -> DevicePage:
        """List devices, by id.

        Those with an id like `conn-…` showed the shared token alone: they are listed
        for as long as they are connected.
        """
        places = await self._everywhere.places()
        page: list[str] = []
        ids = sorted({*self._registry.ids(), *places})
        for n, id_ in enumerate(ids[bisect_right(ids, query.after) :], 1):
            device = self._everywhere.device(id_, places)
            if device is not None and query.takes(
                device, connected=device.connected or id_ in places
            ):
                page.append(id_)
                if len(page) > query.limit:
                    break
            if n % SLICE == 0:
                await deferLater(self._clock, 0)
        shown = await self._everywhere.shown(page[: query.limit], places)
        more = len(page) > query.limit
        return DevicePage(shown, page[query.limit - 1] if more else None)

    @endpoint(
        "POST",
        "/devices",
        HTTPStatus.CREATED,
        scope=Scope.DEVICES,
        refuses=("DEVICE_EXISTS", "STORE_UNAVAILABLE"),
    )
    async def create(self, body: NewDevice, caller: Caller) -> Enrolled:
        """Enrol a device by hand.

        For signs that cannot enrol by themselves, such as old ones: they take the
        token in their portal.
        """
        also = self._audit.entry(caller, "device.create", body.id, _told(body))
        device, token = await self._registry.create(body.id, _patch(body), also=also)
        return Enrolled(self._everywhere.view(device), token)

    @endpoint("GET", "/devices/<device>", refuses=SOUGHT)
    async def show(self, device: str) -> views.Device:
        """Show one device."""
        return await self._everywhere.show(device)

    @endpoint(
        "PATCH",
        "/devices/<device>",
        scope=Scope.DEVICES,
        refuses=("DEVICE_NOT_FOUND", "NOT_ENROLLED", "STORE_UNAVAILABLE"),
    )
    async def change(
        self, device: str, body: DevicePatch, caller: Caller
    ) -> views.Device:
        """Change a device's name, tags or rule; approve of it, or revoke it."""
        also = self._audit.entry(caller, "device.change", device, _told(body))
        changed = await self._registry.change(device, _patch(body), also=also)
        return await self._everywhere.changed(changed)

    @endpoint(
        "DELETE",
        "/devices/<device>",
        HTTPStatus.NO_CONTENT,
        scope=Scope.DEVICES,
        refuses=("DEVICE_NOT_FOUND", "NOT_ENROLLED", "STORE_UNAVAILABLE"),
    )
    async def forget(self, device: str, caller: Caller) -> None:
        """Forget a device: its tokens die and its connection ends."""
        also = self._audit.entry(caller, "device.delete", device)
        await self._registry.forget(device, also=also)

    @endpoint("GET", "/devices/<device>/explain", refuses=SOUGHT)
    async def explain(self, device: str) -> views.DeviceExplanation:
        """Tell why a device shows what it shows."""
        return await self._everywhere.explain(device)

    @endpoint(
        "POST",
        "/devices/<device>/commands",
        HTTPStatus.ACCEPTED,
        scope=Scope.DEVICES,
        refuses=(
            "DEVICE_NOT_FOUND",
            "DEVICE_OFFLINE",
            "COMMAND_NOT_SUPPORTED",
            "INVALID_COMMAND",
            "RELEASE_NOT_FOUND",
            *PROBED,
            "DEVICE_NOT_ELIGIBLE",
            "NODE_UNREACHABLE",
            "FATE_UNKNOWN",
            "STORE_UNAVAILABLE",
        ),
    )
    async def command(self, device: str, body: Command, caller: Caller) -> CommandSent:
        """Send a command to a device that is connected.

        A `probe` is answered when the device has, after half a minute at most. With
        `ota` it may be away: it gets the release when it is back.
        """
        return await self._commands.send(caller, device, body)

    @endpoint(
        "POST",
        "/devices/<device>/token",
        scope=Scope.DEVICES,
        refuses=(
            "DEVICE_NOT_FOUND",
            "NOT_ENROLLED",
            "DEVICE_REVOKED",
            "STORE_UNAVAILABLE",
        ),
    )
    async def rotate(self, device: str, caller: Caller) -> NewToken:
        """Give a device a new token.

        Its old ones are good until the new one is in use.
        """
        also = self._audit.entry(caller, "device.rotate", device)
        return NewToken(await self._everywhere.rotate(device, also=also))


def _mentions(device: Device, text: str) -> bool:
    record = device.record
    return text in record.id.casefold() or text in record.name.casefold()


def _patch(body: NewDevice | DevicePatch) -> Patch:
    changed: dict[str, Any] = {
        key: value
        for key in Patch.__slots__
        if (value := getattr(body, key, UNSET)) is not UNSET
    }
    if changed.get("rule") is not None:
        changed["rule"] = read_rule(changed["rule"])
    return Patch(**changed)


def _told(body: NewDevice | DevicePatch) -> Mapping[str, object]:
    """Return what a body names, as it is written down."""
    told: dict[str, object] = msgspec.to_builtins(body)
    return told
