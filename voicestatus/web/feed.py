"""What changed of guilds and devices, bundled and encoded once for all who listen."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice

import msgspec
from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from voicestatus.core.ids import GuildId
from voicestatus.core.presence import Change, SourceHeard
from voicestatus.devices.later import SLICE_S
from voicestatus.devices.registry import Registry
from voicestatus.hub import Hub
from voicestatus.web import views
from voicestatus.web.messages import (
    DeviceChanged,
    DeviceGone,
    GuildGone,
    PresenceChanged,
    Snapshot,
)

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
        clock: IReactorTime,
        tell: Tell,
    ) -> None:
        self._hub, self._registry, self._clock, self._tell = hub, registry, clock, tell
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

    def stop(self) -> None:
        """Tell no more."""
        for leave in self._leave:
            leave()
        self._leave.clear()
        self._forget()

    def pages(self) -> Iterator[bytes]:
        """Yield the snapshot, page by page; what changes meanwhile is told as well.

        A page that is made late shows what is then, never less than was told before.
        """
        # Who sees the present may have missed what the others were told last.
        self._told.clear()
        listed = iter(self._registry.ids())
        presence: views.Presence | msgspec.UnsetType = views.presence_of(
            self._hub.presence
        )
        more = True
        while more:
            ids = list(islice(listed, PAGE))
            more = len(ids) == PAGE
            found = [d for id_ in ids if (d := self._registry.get(id_)) is not None]
            yield encode(Snapshot([views.device_of(d) for d in found], more, presence))
            presence = msgspec.UNSET

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
        self._tell(f"device {id_}", encode(self._device(id_)))

    def _guild(self, id_: GuildId) -> Struct:
        presence = self._hub.presence
        if (guild := presence.guilds.get(id_)) is None:
            return GuildGone(str(id_))
        return PresenceChanged(presence.heard, views.guild_of(guild))

    def _device(self, id_: str) -> Struct:
        if (device := self._registry.get(id_)) is None:
            return DeviceGone(id_)
        return DeviceChanged(views.device_of(device))

    def _forget(self) -> None:
        self._guilds.clear()
        self._devices.clear()
        self._told.clear()
        self._heard = False
        if self._call is not None:
            self._call.cancel()
            self._call = None
