"""What changed of guilds and devices, bundled and encoded once for all who listen."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

import msgspec
from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from voicestatus.core.ids import GuildId
from voicestatus.core.presence import Change, SourceHeard
from voicestatus.devices.later import SLICE_S
from voicestatus.devices.registry import Registry
from voicestatus.hub import Hub
from voicestatus.ota.catalogue import Catalogue
from voicestatus.web import views
from voicestatus.web.everywhere import Everywhere
from voicestatus.web.firmware_feed import FirmwareFeed
from voicestatus.web.messages import (
    DeviceChanged,
    DeviceGone,
    GuildGone,
    PresenceChanged,
    Snapshot,
)
from voicestatus.web.rollouts_everywhere import AnyRollouts
from voicestatus.web.watch import Watch

BUNDLE_S = 0.25
PAGE = 200
"""Devices that are shown before the reactor turns: some milliseconds."""

Tell = Callable[[str, bytes], object]
"""Takes what a text is about, and the text: it replaces what was told of the same."""

encode = msgspec.json.Encoder().encode


class Feed:
    """Tells what changed, a few times a second; costs nothing while it is stopped.

    What is told is how things are when it is told: of many changes of one device only
    the last is seen.
    """

    def __init__(
        self,
        hub: Hub,
        registry: Registry,
        everywhere: Everywhere,
        clock: IReactorTime,
        tell: Tell,
        firmware: tuple[Catalogue, AnyRollouts],
    ) -> None:
        """`firmware`: where releases and rollouts are."""
        self._hub, self._registry, self._clock, self._tell = hub, registry, clock, tell
        self._everywhere = everywhere
        self._watch = Watch(everywhere, clock, self._tell_view)
        self._firmware = FirmwareFeed(
            *firmware, lambda about, message: tell(about, encode(message))
        )
        # Sets that keep the order in which things changed.
        self._guilds: OrderedDict[GuildId, None] = OrderedDict()
        self._devices: OrderedDict[str, None] = OrderedDict()
        self._told: dict[GuildId, bytes] = {}
        self._heard = False
        self._call: IDelayedCall | None = None
        self._leave: list[Callable[[], object]] = []

    def start(self) -> None:
        """Tell from now on."""
        self._leave = [
            self._hub.subscribe(self._hub_changed),
            self._registry.subscribe(self._device_changed),
        ]
        # The hub begins with all that there is; that is the snapshot's to tell.
        self._forget()
        self._watch.start()
        self._firmware.start()

    def stop(self) -> None:
        """Tell no more."""
        for leave in self._leave:
            leave()
        self._leave.clear()
        self._forget()
        self._watch.stop()
        self._firmware.stop()

    async def pages(self) -> AsyncIterator[bytes]:
        """Yield the snapshot, page by page; what changes meanwhile is told as well.

        A page that is made late shows what is then, never less than was told before.
        """
        # Who sees the present may have missed what the others were told last.
        self._told.clear()
        places = await self._watch.places()
        ids = sorted({*self._registry.ids(), *places})
        for start in range(0, len(ids) or 1, PAGE):
            end = start + PAGE
            page = Snapshot(
                await self._watch.shown(ids[start:end], places), end < len(ids)
            )
            yield encode(self._with_the_rest(page) if start == 0 else page)

    def _with_the_rest(self, page: Snapshot) -> Snapshot:
        return msgspec.structs.replace(
            page,
            presence=views.presence_of(self._hub.presence),
            releases=self._firmware.releases(),
            rollouts=self._firmware.rollouts(),
        )

    def _hub_changed(self, change: Change) -> None:
        if isinstance(change, SourceHeard):
            self._heard = True
        else:
            self._guilds[change.guild] = None
        self._wake(BUNDLE_S)

    def _device_changed(self, id_: str) -> None:
        self._devices[id_] = None
        self._wake(BUNDLE_S)

    def _wake(self, after_s: float) -> None:
        if self._call is None:
            self._call = self._clock.callLater(after_s, self._flush)

    def _flush(self) -> None:
        """Tell what changed: as much of it as one turn of the reactor has time for."""
        self._call = None
        end = self._clock.seconds() + SLICE_S
        if self._heard:
            self._heard = False
            self._tell("ready", encode(PresenceChanged(self._hub.presence.heard)))
        for _ in range(PAGE):
            if self._guilds:
                self._tell_guild(self._guilds.popitem(last=False)[0])
            elif self._devices:
                self._tell_device(self._devices.popitem(last=False)[0])
            else:
                return
            if self._clock.seconds() >= end:
                break
        if self._guilds or self._devices:
            self._wake(0)

    def _tell_guild(self, id_: GuildId) -> None:
        text = encode(self._guild(id_))
        # Who mutes himself changes no count.
        if self._told.get(id_) != text:
            self._told[id_] = text
            self._tell(f"guild {id_}", text)

    def _tell_device(self, id_: str) -> None:
        if self._everywhere.alone or self._registry.is_here(id_):
            device = self._registry.get(id_)
            view = None if device is None else self._everywhere.view(device)
            self._tell_view(id_, view)
        else:
            self._watch.ask(id_)

    def _tell_view(self, id_: str, view: views.Device | None) -> None:
        message = DeviceGone(id_) if view is None else DeviceChanged(view)
        self._tell(f"device {id_}", encode(message))

    def _guild(self, id_: GuildId) -> Struct:
        presence = self._hub.presence
        if (guild := presence.guilds.get(id_)) is None:
            return GuildGone(str(id_))
        return PresenceChanged(presence.heard, views.guild_of(guild))

    def _forget(self) -> None:
        self._guilds.clear()
        self._devices.clear()
        self._told.clear()
        self._heard = False
        if self._call is not None:
            self._call.cancel()
            self._call = None
