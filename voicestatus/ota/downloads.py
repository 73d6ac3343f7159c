"""Who may download what, by tokens that end with it, and how far it came."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct, structs
from prometheus_client import CollectorRegistry, Counter, Gauge
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from voicestatus.core.errors import StoreError
from voicestatus.core.fleet import digest_of
from voicestatus.core.release import Release
from voicestatus.ota.catalogue import Catalogue
from voicestatus.ota.updater import Facts
from voicestatus.store.documents import Change, Documents
from voicestatus.store.typed import Typed
from voicestatus.tasks import Tasks

IMAGES_PATH = "/ota/images"
PROBE = "probe"
GRANTS = "download"
"""Kind in the store: the id is the token's digest, the parent the device."""
GOOD_FOR_S = 3600.0
LINGERS_S = 60.0
"""How long the end can be asked for again when the whole was sent: the network may have
lost what was handed over."""
PROBE_GOOD_FOR_S = 120.0
PRUNE_EVERY_S = 600.0
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """How far a device has come with a release's image.

    Told when a download begins, and when it ends or breaks off.
    """

    device: str
    release: str
    sent_bytes: int
    """From the image's start, without a gap."""
    whole: bool
    at: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Probed:
    """A device answered a probe, and told this of itself."""

    device: str
    facts: Facts


class Elsewhere(Protocol):
    """What other nodes know of downloads."""

    def expect_probe(self, digest: str, for_s: float) -> object:
        """Let them know that an answer to a probe is awaited here."""
        ...

    async def answered(self, nonce: str, facts: Facts) -> bool:
        """Pass on what was asked at a probe's path; False: at nobody's.

        :raises StoreError: that cannot be done now.
        """
        ...

    async def assigned(self, device: str) -> Release | None:
        """:raises StoreError: that cannot be known now."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """A right to one image."""

    device: str
    release: Release
    key: str
    """Two with the same key are the same right: the later one takes its place."""
    grant: str | None = None
    """The digest of its token, if it came with one."""
    rest_alone: bool = False
    """Whether the whole was sent once: only the end may be asked for again."""


class Grant(Struct, frozen=True):
    """What a token is good for, as it is stored."""

    device: str
    release: str
    expires_at: float
    spent: bool = False
    """Whether the whole was sent."""


class DownloadMetrics:
    """The downloads' metrics, declared on a registry that is handed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.running = Gauge(
            "voicestatus_downloads_running",
            "Downloads of firmware that are on their way.",
            registry=registry,
        )
        self.waiting = Gauge(
            "voicestatus_downloads_waiting",
            "Downloads of firmware that wait for their turn.",
            registry=registry,
        )
        self.sent_bytes = Counter(
            "voicestatus_downloads_sent_bytes",
            "Bytes of firmware handed to connections.",
            registry=registry,
        )
        ended = Counter(
            "voicestatus_downloads_ended",
            "Requests for firmware by how they ended.",
            ["how"],
            registry=registry,
        )
        self.ended = {how: ended.labels(how) for how in HOW}


HOW = ("whole", "part", "broken", "stalled", "busy", "unknown")


class Progress:
    """How far one answer has come."""

    def __init__(self, downloads: "Downloads", claim: Claim, position: int) -> None:
        self.claim, self.position = claim, position
        self._first, self._downloads = position, downloads

    def sent(self, size_bytes: int) -> None:
        self.position += size_bytes
        self._downloads.metrics.sent_bytes.inc(size_bytes)

    def end(self, *, complete: bool, stalled: bool = False) -> None:
        """Take it that nothing more is sent; `complete`: all that was asked for."""
        self._downloads.ended(self.claim, self._first, self.position, complete, stalled)


class Downloads(Service):
    """Grants downloads, knows who may have what, and tells how it goes.

    `assigned` says which release a device is to have that asks by itself.
    """

    _log = Logger()

    def __init__(
        self,
        documents: Documents,
        catalogue: Catalogue,
        clock: IReactorTime,
        metrics: DownloadMetrics,
        *,
        wall: Callable[[], float],
        make_token: Callable[[], str],
    ) -> None:
        """`make_token` returns 43 random characters, as `secrets.token_urlsafe(32)`."""
        self._grants = Typed(documents, GRANTS, Grant)
        self._documents, self._catalogue = documents, catalogue
        self._clock, self._wall, self._make_token = clock, wall, make_token
        self.metrics = metrics
        self.assigned: Callable[[str], Release | None] = lambda _: None
        self.elsewhere: Elsewhere | None = None
        """None: there are no other nodes."""
        self._reached: dict[str, int] = {}
        """By claim: how far it came without a gap."""
        self._probes: dict[str, tuple[str, float]] = {}
        """By the digest of its nonce: whom a probe is for, and until when."""
        self._told: dict[object, Callable[[Fetched], object]] = {}
        self._probed: dict[object, Callable[[Probed], object]] = {}
        self._tasks = Tasks()
        self._pruning = LoopingCall(
            lambda: self._tasks.spawn("forgetting old downloads", self._prune())
        )
        self._pruning.clock = clock

    def startService(self) -> None:
        super().startService()
        self._pruning.start(PRUNE_EVERY_S)

    def stopService(self) -> None:
        super().stopService()
        self._pruning.stop()
        self._tasks.cancel()

    # ---- for rollouts -------------------------------------------------------------

    async def grant(
        self, device: str, release: Release, *, also: tuple[Change, ...] = ()
    ) -> str:
        """Let a device have an image for an hour; return the path that it asks for.

        What it was granted before is good no more. `also` is stored in the same batch.

        :raises StoreError: when it was not stored.
        """
        token = self._make_token()
        digest = digest_of(token.encode())
        grant = Grant(device, release.id, self._wall() + GOOD_FOR_S)
        before = await self._grants.list(parent=device)
        await self._documents.write(
            *(self._grants.deleting(old.id) for old in before),
            self._grants.putting(digest, grant, parent=device),
            *also,
        )
        return f"{IMAGES_PATH}/{release.id}/{token}"

    async def withdraw(self, device: str) -> None:
        """Let a device begin no download any more that it was granted.

        :raises StoreError: when that was not stored.
        """
        granted = await self._grants.list(parent=device)
        if granted:
            await self._documents.write(
                *(self._grants.deleting(each.id) for each in granted)
            )

    def subscribe(self, tell: Callable[[Fetched], object]) -> Callable[[], object]:
        """Tell how downloads go; return the way out."""
        self._told[key := object()] = tell
        return lambda: self._told.pop(key, None)

    def heard(self, fetched: Fetched) -> None:
        """Take it that a download has come so far, here or at another node."""
        for tell in tuple(self._told.values()):
            tell(fetched)

    # ---- for probes ----------------------------------------------------------------

    def expect_probe(self, device: str) -> str:
        """Return a path at which this device will be known, once, within 2 minutes."""
        now = self._clock.seconds()
        self._probes = {
            nonce: (other, until)
            for nonce, (other, until) in self._probes.items()
            if other != device and now < until
        }
        nonce = self._make_token()
        until = now + PROBE_GOOD_FOR_S
        self._probes[digest := digest_of(nonce.encode())] = device, until
        if self.elsewhere is not None:
            self.elsewhere.expect_probe(digest, PROBE_GOOD_FOR_S)
        return f"{IMAGES_PATH}/{PROBE}/{nonce}"

    def subscribe_probes(
        self, tell: Callable[[Probed], object]
    ) -> Callable[[], object]:
        """Tell who answered a probe; return the way out."""
        self._probed[key := object()] = tell
        return lambda: self._probed.pop(key, None)

    def answered(self, nonce: str, facts: Facts) -> bool:
        """Take it that an updater asked at a probe's path; False: at none of ours."""
        device, until = self._probes.pop(digest_of(nonce.encode()), ("", 0.0))
        if self._clock.seconds() >= until:
            return False
        for tell in tuple(self._probed.values()):
            tell(Probed(device, facts))
        return True

    # ---- for requests --------------------------------------------------------------

    async def claim(self, release: str, token: str) -> Claim | None:
        """Tell what a token gives a right to.

        :raises StoreError: when that cannot be known now.
        """
        if not _TOKEN.fullmatch(token):
            return None
        # A digest tells nothing of the token, however long the search takes.
        digest = digest_of(token.encode())
        stored = await self._grants.get(digest)
        if stored is None or stored.value.release != release:
            return None
        if self._catalogue.get(release) is None:  # what another node has just stored
            await self._catalogue.reread(release)
        found = self._catalogue.get(release)
        if found is None:
            return None
        if not found.trusted:
            return None
        if self._wall() >= stored.value.expires_at:
            return None
        spent = stored.value.spent
        return Claim(stored.value.device, found, digest, digest, rest_alone=spent)

    def assignment(self, device: str) -> Claim | None:
        """Tell what a device may have that asks by itself."""
        return self._claim_of(device, self.assigned(device))

    async def assignment_elsewhere(self, device: str) -> Claim | None:
        """Ask the other nodes the same.

        :raises StoreError: when that cannot be known now.
        """
        if self.elsewhere is None:
            return None
        return self._claim_of(device, await self.elsewhere.assigned(device))

    def _claim_of(self, device: str, release: Release | None) -> Claim | None:
        if release is None or not release.trusted:
            return None
        return Claim(device, release, f"of {device}")

    def begin(self, claim: Claim, position: int) -> Progress:
        """Take it that bytes are about to be sent, from there on."""
        self._tell(claim, whole=False)
        return Progress(self, claim, position)

    def ended(
        self, claim: Claim, first: int, position: int, complete: bool, stalled: bool
    ) -> None:
        """Take it that the bytes from `first` up to `position` were sent."""
        reached = self._reached.get(claim.key, 0)
        if first <= reached < position:
            self._reached[claim.key] = reached = position
        whole = complete and reached == claim.release.size_bytes
        how = "whole" if whole else "part" if complete else "broken"
        self.metrics.ended["stalled" if stalled else how].inc()
        self._tell(claim, whole=whole)
        if claim.grant is None:
            self._reached.pop(claim.key, None)
        elif whole:
            self._tasks.spawn("a token's end", self._spend(claim.grant))

    def _tell(self, claim: Claim, *, whole: bool) -> None:
        reached = self._reached.get(claim.key, 0)
        release, at = claim.release.id, self._wall()
        self.heard(Fetched(claim.device, release, reached, whole, at))

    async def _spend(self, grant: str) -> None:
        try:
            stored = await self._grants.get(grant)
            if stored is None:  # withdrawn meanwhile
                return
            until = min(stored.value.expires_at, self._wall() + LINGERS_S)
            value = structs.replace(stored.value, expires_at=until, spent=True)
            await self._grants.put(
                grant, value, parent=stored.parent, expected=stored.version
            )
        except StoreError as e:
            self._log.warn("a used token lives on for now: {why}", why=str(e))

    async def _prune(self) -> None:
        try:
            stored = await self._grants.list()
            over = [each.id for each in stored if each.value.expires_at <= self._wall()]
            await self._documents.write(*map(self._grants.deleting, over))
        except StoreError as e:
            self._log.warn("old downloads were not forgotten: {why}", why=str(e))
            return
        good = {each.id for each in stored}.difference(over)
        self._reached = {k: v for k, v in self._reached.items() if k in good}
