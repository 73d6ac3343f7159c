"""Our server under the peers' conditions: front and devices, no Discord.

    python -m benchmarks.ours TOKEN

Says its port and that of its control, as every server here.
"""

import secrets
import sys
from collections.abc import Callable
from hashlib import sha256
from time import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from benchmarks.control import ControlFactory
from voicestatus.core.admission import Limits
from voicestatus.core.chip import Chip
from voicestatus.core.fleet import Enrolment
from voicestatus.core.lights import Light, RuleText
from voicestatus.core.manifest import Manifest, PublicKey, sign
from voicestatus.core.ports import Lights
from voicestatus.devices.door import Door
from voicestatus.devices.metrics import DeviceMetrics, DoorMetrics
from voicestatus.devices.registry import Registry
from voicestatus.devices.service import DeviceFactory, DeviceService
from voicestatus.ota.incoming import Terms
from voicestatus.simulator.images import make_image
from voicestatus.store.memory import MemoryStore
from voicestatus.web.front import Front
from voicestatus.web.health import ExactTree, JsonAnswer
from voicestatus.web.ota import OtaSide
from voicestatus.web.site import QuietSite

HOST = "127.0.0.1"
BACKLOG = 1024
"""A fleet dials at once: beyond the default of 50 a dial waits a second or more."""
DOWNLOAD_BYTES = 2_000_000
"""As large as a device's firmware is at most."""


class SettableLights:
    """One light for whoever asks."""

    def __init__(self) -> None:
        self._light = Light(known=True)
        self._told: dict[object, Callable[[Light], object]] = {}

    def follow(
        self,
        rule: RuleText,  # noqa: ARG002 - there is one light
        tell: Callable[[Light], object],
        *,
        counted: bool = False,  # noqa: ARG002 - and nobody is counted
    ) -> Callable[[], object]:
        """See `core.ports.Lights`."""
        self._told[key := object()] = tell
        tell(self._light)
        return lambda: self._told.pop(key)

    def turn(self, on: bool) -> None:
        """Show another light."""
        self._light = Light(known=True, on=on, count=int(on))
        for tell in tuple(self._told.values()):
            tell(self._light)


def main() -> None:
    """Serve until it is terminated."""
    reactor: Any = installed
    lights = SettableLights()
    port = listen(reactor, lights, sys.argv[1].encode(), DOWNLOAD_BYTES)
    control = reactor.listenTCP(0, ControlFactory(lights.turn), interface=HOST)
    sys.stdout.write(f"{port} {control.getHost().port}\n")
    sys.stdout.flush()
    reactor.run()


def listen(
    reactor: Any, lights: Lights, token: bytes, download_bytes: int | None = None
) -> int:
    """Open the front; return its port.

    With `download_bytes` every device that asks `/ota/check` is given an image of that
    size, whatever its MAC.
    """
    collectors = CollectorRegistry()
    door = Door(reactor, DoorMetrics(collectors), Limits())
    metrics = DeviceMetrics(collectors)
    store = MemoryStore()
    store.startService()
    registry = Registry(
        store,
        reactor,
        metrics,
        enrolment=Enrolment.OPEN,
        wall=time,
        make_token=lambda: secrets.token_urlsafe(32),
    )
    registry.startService()
    devices = DeviceFactory(lights, token, reactor, metrics, door, registry, time)
    pages: dict[str, Resource] = {
        "/health": JsonAnswer(lambda: {"ok": True, "espClients": devices.connected})
    }
    root = ExactTree(pages)
    if download_bytes is not None:
        root.putChild(
            b"ota", _updates(reactor, store, door, collectors, download_bytes)
        )
    site = QuietSite(root, reactor)
    front = Front(reactor, site, {b"/ws": devices}, door)
    DeviceService(devices, reactor).startService()
    port = reactor.listenTCP(0, front, backlog=BACKLOG, interface=HOST)
    return int(port.getHost().port)


def _updates(
    reactor: Any,
    store: MemoryStore,
    door: Door,
    collectors: CollectorRegistry,
    size_bytes: int,
) -> Resource:
    key = Ed25519PrivateKey.generate()
    updates = OtaSide(
        store=store,
        keys=[PublicKey.of(key)],
        door=door,
        metrics=collectors,
        clock=reactor,
        wall=time,
        make_token=lambda: secrets.token_urlsafe(32),
        bearer=lambda _: None,
        by_mac=lambda mac: mac,
    )
    updates.startService()
    image = make_image(Chip.ESP32, size_bytes)
    manifest = Manifest(
        chip=Chip.ESP32,
        version="1.0.0",
        build=1,
        size_bytes=size_bytes,
        sha256=sha256(image).hexdigest(),
    )

    async def publish() -> None:
        incoming = updates.catalogue.incoming()
        await incoming.append(image)
        incoming.sign(sign(manifest, key))
        release, _ = await updates.catalogue.add(incoming, Terms(legacy=True))
        updates.downloads.assigned = lambda _: release

    # The store is in memory: nothing of this waits.
    Deferred.fromCoroutine(publish()).addErrback(Failure.raiseException)
    return updates.pages


if __name__ == "__main__":
    main()
