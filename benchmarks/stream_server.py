"""Our server for readers of an event stream, and signs beside them.

    python -m benchmarks.stream_server TOKEN

Somebody joins and leaves a voice channel, as the control says: signs show it, and
readers are told. Says its port and that of its control, as every server here.
"""

import secrets
import sys
from itertools import count
from time import time
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.internet import reactor as installed

from benchmarks.control import ControlFactory
from benchmarks.ours import BACKLOG, HOST
from voicestatus.community.activity import voice_channels
from voicestatus.community.voice_stream import VoiceStreams
from voicestatus.core.admission import Limits
from voicestatus.core.fleet import Enrolment
from voicestatus.core.guild import Channel, Voice
from voicestatus.core.ids import ChannelId, GuildId, UserId
from voicestatus.core.matching import Counting
from voicestatus.core.presence import (
    GuildArrived,
    Presence,
    SessionBegan,
    VoiceUpdated,
)
from voicestatus.devices.door import Door
from voicestatus.devices.metrics import DeviceMetrics, DoorMetrics
from voicestatus.devices.registry import Registry
from voicestatus.devices.service import DeviceFactory, DeviceService
from voicestatus.hub import Hub
from voicestatus.lights import LightGroups
from voicestatus.services import Row
from voicestatus.store.memory import MemoryStore
from voicestatus.web.access import Access
from voicestatus.web.api.resource import Api
from voicestatus.web.api.voice_stream import VoiceStreamSubject
from voicestatus.web.audit import Audit, Caller
from voicestatus.web.front import Front
from voicestatus.web.health import ExactTree
from voicestatus.web.request_ids import RequestIds
from voicestatus.web.site import QuietSite
from voicestatus.web.sse import EventStreams, StreamMetrics

GUILD, ROOM, PERSON = GuildId(1), ChannelId(2), UserId(3)


class AllSeen:
    """Whoever is let in may see all channels."""

    async def sees(self, caller: Caller, guild: GuildId) -> None:
        """See `web.permits.Permits`."""


def main() -> None:
    """Serve until it is terminated."""
    reactor: Any = installed
    hub = Hub(Presence())
    front = serve(reactor, hub, sys.argv[1])
    hub.apply(SessionBegan(0, UserId(9), frozenset({GUILD})))
    room = Channel(ROOM, "Lounge", 2)
    hub.apply(GuildArrived(0, GUILD, "Guild", None, (room,), ()))

    def turn(there: bool) -> None:
        voice = Voice(PERSON, ROOM, name="Ada Lovelace") if there else None
        hub.apply(VoiceUpdated(GUILD, PERSON, voice, bot=False))

    port = reactor.listenTCP(0, front, backlog=BACKLOG, interface=HOST)
    control = reactor.listenTCP(0, ControlFactory(turn), interface=HOST)
    sys.stdout.write(f"{port.getHost().port} {control.getHost().port}\n")
    sys.stdout.flush()
    reactor.run()


def serve(reactor: Any, hub: Hub, token: str) -> Front:
    """Start what there is of the program; return the factory to listen with."""
    collectors = CollectorRegistry()
    store, door = MemoryStore(), Door(reactor, DoorMetrics(collectors), Limits())
    lights = LightGroups(hub, reactor, time, Counting(), 60.0, hold=True)
    metrics = DeviceMetrics(collectors)
    registry = Registry(
        store,
        reactor,
        metrics,
        enrolment=Enrolment.OPEN,
        wall=time,
        make_token=lambda: secrets.token_urlsafe(32),
    )
    devices = DeviceFactory(
        lights, token.encode(), reactor, metrics, door, registry, time
    )
    numbers = count()
    ids = RequestIds(lambda: f"{next(numbers)}")
    access = Access(
        token=token,
        documents=store,
        audit=Audit(store, time),
        addresses=door.addresses,
        public_url="http://127.0.0.1",
        discord=None,
        guilds=lambda: hub.presence.guilds,
        metrics=collectors,
        clock=reactor,
        wall=time,
        ids=ids,
        new_secret=lambda: secrets.token_urlsafe(32),
    )
    voice = VoiceStreams(hub, reactor, voice_channels, lambda: secrets.token_hex(4))
    streams = EventStreams(reactor, door, StreamMetrics(collectors))
    subject = VoiceStreamSubject(AllSeen(), voice)
    api = Api([subject], access.gate, ids, streams)
    row = Row()
    signs = DeviceService(devices, reactor)
    for part in (store, registry, lights, signs, voice, access, api, streams):
        part.setServiceParent(row)
    row.startService()
    root, versions = ExactTree({}), ExactTree({})
    root.putChild(b"api", versions)
    versions.putChild(b"v1", api.resource)
    return Front(reactor, QuietSite(root, reactor), {b"/ws": devices}, door)


if __name__ == "__main__":
    main()
