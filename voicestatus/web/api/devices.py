"""`/devices`: the signs, what they show and why, and what may be done to them."""

from bisect import bisect_right
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from voicestatus.core.errors import Refusal
from voicestatus.core.fleet import Device
from voicestatus.core.lights import EVERYTHING
from voicestatus.devices.registry import Patch, Registry
from voicestatus.devices.wire import DeviceId, Line, Word
from voicestatus.web import views
from voicestatus.web.api.endpoint import endpoint
from voicestatus.web.api.rules import Explainer, RuleBody, read_rule
from voicestatus.web.audit import Audit, Caller
from voicestatus.web.commands import Command, Commands

SLICE = 200
"""Devices that are looked at before the reactor turns: one or two milliseconds."""

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

    def takes(self, device: Device) -> bool:
        record, here = device.record, "true" if device.connected else "false"
        return (
            (self.tag is UNSET or self.tag in record.tags)
            and (self.connected is UNSET or self.connected == here)
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


class CommandSent(Struct, frozen=True, rename="camel"):
    """A command that was sent; whether the device obeys, it says itself."""

    device: str
    type: str


class DevicesSubject:
    """The registry, for admins."""

    def __init__(
        self,
        devices: Registry,
        explainer: Explainer,
        commands: Commands,
        audit: Audit,
        clock: IReactorTime,
    ) -> None:
        self._registry, self._explainer = devices, explainer
        self._commands, self._audit, self._clock = commands, audit, clock

    @endpoint("GET", "/devices")
    async def list_(self, query: DevicesQuery) -> DevicePage:
        """List devices, by id.

        Those with an id like `conn-…` showed the shared token alone: they are listed
        for as long as they are connected.
        """
        page: list[views.Device] = []
        ids = self._registry.ids()
        for n, id_ in enumerate(ids[bisect_right(ids, query.after) :], 1):
            device = self._registry.get(id_)
            if device is not None and query.takes(device):
                if len(page) == query.limit:
                    return DevicePage(page, page[-1].id)
                page.append(views.device_of(device))
            if n % SLICE == 0:
                await deferLater(self._clock, 0)
        return DevicePage(page, None)

    @endpoint(
        "POST",
        "/devices",
        HTTPStatus.CREATED,
        refuses=("DEVICE_EXISTS", "STORE_UNAVAILABLE"),
    )
    async def create(self, body: NewDevice, caller: Caller) -> Enrolled:
        """Enrol a device by hand.

        For signs that cannot enrol by themselves, such as old ones: they take the
        token in their portal.
        """
        also = self._audit.entry(caller, "device.create", body.id, _told(body))
        device, token = await self._registry.create(body.id, _patch(body), also=also)
        return Enrolled(views.device_of(device), token)

    @endpoint("GET", "/devices/<device>", refuses=("DEVICE_NOT_FOUND",))
    def show(self, device: str) -> views.Device:
        """Show one device."""
        return views.device_of(self._find(device))

    @endpoint(
        "PATCH",
        "/devices/<device>",
        refuses=("DEVICE_NOT_FOUND", "NOT_ENROLLED", "STORE_UNAVAILABLE"),
    )
    async def change(
        self, device: str, body: DevicePatch, caller: Caller
    ) -> views.Device:
        """Change a device's name, tags or rule; approve of it, or revoke it."""
        also = self._audit.entry(caller, "device.change", device, _told(body))
        changed = await self._registry.change(device, _patch(body), also=also)
        return views.device_of(changed)

    @endpoint(
        "DELETE",
        "/devices/<device>",
        HTTPStatus.NO_CONTENT,
        refuses=("DEVICE_NOT_FOUND", "NOT_ENROLLED", "STORE_UNAVAILABLE"),
    )
    async def forget(self, device: str, caller: Caller) -> None:
        """Forget a device: its tokens die and its connection ends."""
        also = self._audit.entry(caller, "device.delete", device)
        await self._registry.forget(device, also=also)

    @endpoint("GET", "/devices/<device>/explain", refuses=("DEVICE_NOT_FOUND",))
    def explain(self, device: str) -> views.DeviceExplanation:
        """Tell why a device shows what it shows."""
        found, showing = self._find(device), self._registry.showing(device)
        rule = found.record.rule or EVERYTHING if showing is None else showing.rule
        return views.device_explanation_of(
            found, showing, self._explainer.explain(rule)
        )

    @endpoint(
        "POST",
        "/devices/<device>/commands",
        HTTPStatus.ACCEPTED,
        refuses=(
            "DEVICE_NOT_FOUND",
            "DEVICE_OFFLINE",
            "COMMAND_NOT_SUPPORTED",
            "INVALID_COMMAND",
            "STORE_UNAVAILABLE",
        ),
    )
    async def command(self, device: str, body: Command, caller: Caller) -> CommandSent:
        """Send a command to a device that is connected."""
        return CommandSent(device, await self._commands.send(caller, device, body))

    @endpoint(
        "POST",
        "/devices/<device>/token",
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
        return NewToken(await self._registry.rotate(device, also=also))

    def _find(self, id_: str) -> Device:
        if (device := self._registry.get(id_)) is None:
            raise Refusal("DEVICE_NOT_FOUND", "There is no device with this id.")
        return device


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
