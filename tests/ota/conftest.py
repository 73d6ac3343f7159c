"""A catalogue and downloads over a store in memory, and releases to put there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from voicestatus.core.chip import Chip
from voicestatus.core.errors import StoreError
from voicestatus.core.manifest import Manifest, PublicKey, sign
from voicestatus.core.release import Release
from voicestatus.ota.catalogue import Catalogue
from voicestatus.ota.downloads import DownloadMetrics, Downloads
from voicestatus.ota.images import Images
from voicestatus.simulator.images import make_image
from voicestatus.store.memory import MemoryStore

NOW = 1_795_000_000.0
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))


@dataclass
class Files:
    """What `voicestatus publish` sends."""

    image: bytes
    manifest: bytes
    flash: bytes = b""


def make_files(
    chip: Chip = Chip.ESP32,
    build: int = 14,
    size_bytes: int = 200_000,
    key: Ed25519PrivateKey = KEY,
    **said: Any,
) -> Files:
    import hashlib

    told = {"version": f"1.{build}.0", "board": ""} | said
    image = make_image(
        chip, size_bytes, version=told["version"], build=build, board=told["board"]
    )
    manifest = Manifest(
        **{
            "chip": chip,
            "build": build,
            "size_bytes": len(image),
            "sha256": hashlib.sha256(image).hexdigest(),
        }
        | told
    )
    return Files(image, sign(manifest, key))


class Store(MemoryStore):
    """A store that can be away, or wait, and counts what is read of blobs."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.gate: Deferred[None] | None = None
        self.reads = 0

    def _refuse_unless_running(self) -> None:
        super()._refuse_unless_running()
        if self.away:
            raise StoreError("the store is away")

    async def read_at(self, blob: Any, position: int) -> bytes:
        self.reads += 1
        if self.gate is not None:
            await self.gate
        return await super().read_at(blob, position)


class Depot:
    """All of it, started."""

    def __init__(self, store: Store | None = None, keys: Any = (KEY,)) -> None:
        self.clock, self.store = Clock(), store or Store()
        self.registry = CollectorRegistry()
        tokens = count(1)
        self.catalogue = Catalogue(
            self.store, [*map(PublicKey.of, keys)], self.clock, wall=self.wall
        )
        self.images = Images(self.store)
        self.downloads = Downloads(
            self.store,
            self.catalogue,
            self.clock,
            DownloadMetrics(self.registry),
            wall=self.wall,
            make_token=lambda: f"{next(tokens):043d}",
        )
        self.fetched: list[Any] = []
        self.changed: list[str] = []
        self.downloads.subscribe(self.fetched.append)
        self.catalogue.subscribe(self.changed.append)
        self.services = [self.store, self.catalogue, self.downloads]

    def wall(self) -> float:
        return NOW + self.clock.seconds()

    def start(self) -> "Depot":
        for service in self.services:
            service.startService()
        return self

    def stop(self) -> None:
        for service in reversed(self.services):
            if service.running:
                service.stopService()

    def publish(self, files: Files | None = None, **terms: Any) -> tuple[Release, bool]:
        return now(publish(self.catalogue, files or make_files(), **terms))


async def publish(catalogue: Catalogue, files: Files, **terms: Any) -> Any:
    from voicestatus.ota.incoming import Terms

    incoming = catalogue.incoming()
    try:
        for at in range(0, len(files.image), 50_000):
            await incoming.append(files.image[at : at + 50_000])
        incoming.sign(files.manifest)
        if files.flash:
            incoming.append_flash(files.flash)
        return await catalogue.add(incoming, Terms(**terms))
    except Exception:
        await incoming.abandon()
        raise


def now(coro: Any) -> Any:
    """Return what a coroutine comes to that need not wait."""
    done: list[Any] = []
    failed: list[Any] = []
    Deferred.fromCoroutine(coro).addCallbacks(done.append, failed.append)
    if failed:
        raise failed[0].value
    assert done, "it still waits"
    return done[0]


@pytest.fixture(name="now", scope="session")
def _now() -> Callable[[Any], Any]:
    return now


@pytest.fixture(name="make_files", scope="session")
def _make_files() -> Callable[..., Files]:
    return make_files


@pytest.fixture(scope="session")
def other_key() -> Ed25519PrivateKey:
    return OTHER_KEY


@pytest.fixture
def make_depot() -> Iterator[Callable[..., Depot]]:
    depots: list[Depot] = []

    def make(**how: Any) -> Depot:
        depots.append(Depot(**how).start())
        return depots[-1]

    yield make
    for depot in depots:
        depot.stop()


@pytest.fixture
def depot(make_depot: Callable[..., Depot]) -> Depot:
    return make_depot()
