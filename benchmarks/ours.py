"""Our server under the peers' conditions: front and devices, no Discord.

    python -m benchmarks.ours TOKEN

Says its port and that of its control, as every server here.
"""

import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.internet import reactor as installed
from twisted.web.resource import Resource

from benchmarks.control import ControlFactory
from voicestatus.core.admission import Limits
from voicestatus.core.fleet import Enrolment
from voicestatus.core.lights import Light, RuleText
from voicestatus.core.ports import Lights
from voicestatus.devices.door import Door
from voicestatus.devices.metrics import DeviceMetrics, DoorMetrics
from voicestatus.devices.registry import Registry
from voicestatus.devices.service import DeviceFactory, DeviceService
from voicestatus.store.memory import MemoryStore
from voicestatus.web.front import Front
from voicestatus.web.health import ExactTree, JsonAnswer
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
    # Twisted's module uses what Twisted deprecates: who imports this one is spared.
    from twisted.web.static import File  # noqa: PLC0415 - the line above

    with TemporaryDirectory() as folder:
        download = Path(folder) / "download"
        download.write_bytes(bytes(DOWNLOAD_BYTES))
        _serve(sys.argv[1].encode(), File(str(download)))


def _serve(token: bytes, download: Resource) -> None:
    reactor: Any = installed
    lights = SettableLights()
    port = listen(reactor, lights, token, download)
    control = reactor.listenTCP(0, ControlFactory(lights.turn), interface=HOST)
    sys.stdout.write(f"{port} {control.getHost().port}\n")
    sys.stdout.flush()
    reactor.run()


def listen(
    reactor: Any, lights: Lights, token: bytes, download: Resource | None = None
) -> int:
    """Open the front; return its port."""
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
    if download is not None:
        pages["/download"] = download
    site = QuietSite(ExactTree(pages), reactor)
    front = Front(reactor, site, {b"/ws": devices}, door)
    DeviceService(devices, reactor).startService()
    port = reactor.listenTCP(0, front, backlog=BACKLOG, interface=HOST)
    return int(port.getHost().port)


if __name__ == "__main__":
    main()
