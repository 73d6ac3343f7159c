"""A small fleet updates itself over a real port: offers, downloads, reports, probes."""

import json
from base64 import b64encode
from hashlib import sha256
from io import StringIO
from itertools import count
from socket import socket

import msgspec
import pytest
import pytest_twisted
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry
from rich.console import Console
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import deferLater

from benchmarks.demo_fleet.firmware import Maker
from benchmarks.demo_fleet.screen import Screen
from benchmarks.demo_fleet.story import BAD, Story
from voicestatus.core.admission import Limits
from voicestatus.core.chip import Chip
from voicestatus.core.fleet import Enrolment
from voicestatus.core.lights import Light
from voicestatus.core.manifest import Manifest, PublicKey, sign
from voicestatus.core.rollout_state import Phase
from voicestatus.devices.door import Door
from voicestatus.devices.metrics import DeviceMetrics, DoorMetrics
from voicestatus.devices.registry import Registry
from voicestatus.devices.service import DeviceFactory, DeviceService
from voicestatus.devices.wire import Offer
from voicestatus.ota.incoming import Terms
from voicestatus.ota.probe import Probes
from voicestatus.ota.rollouts import Rollouts
from voicestatus.ota.signs import Signs
from voicestatus.services import Row
from voicestatus.simulator.fates import Updating
from voicestatus.simulator.images import make_image
from voicestatus.simulator.signs import Habits, SignFleet
from voicestatus.store.memory import MemoryStore
from voicestatus.web.front import Front
from voicestatus.web.health import ExactTree
from voicestatus.web.ota import OtaSide
from voicestatus.web.rollout_views import device_of, report_of
from voicestatus.web.site import QuietSite

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = b64encode(KEY.public_key().public_bytes_raw()).decode()
NOW = 1_800_000_000.0
SPEED = 8
"""Signs need seconds to start; faster than this a busy machine would lose pongs."""


class Call:
    """A delayed call of a hurried reactor."""

    def __init__(self, call, speed):
        self._call, self._speed = call, speed

    def getTime(self):  # noqa: N802 - Twisted's
        return self._call.getTime() * self._speed

    def __getattr__(self, name):
        return getattr(self._call, name)


class Hurried:
    """A reactor whose time goes faster than that of the machine."""

    def __init__(self, reactor, speed):
        self._reactor, self._speed = reactor, speed

    def seconds(self):
        return self._reactor.seconds() * self._speed

    def callLater(self, delay, *args, **kwargs):  # noqa: N802 - Twisted's
        call = self._reactor.callLater(delay / self._speed, *args, **kwargs)
        return Call(call, self._speed)

    def __getattr__(self, name):
        return getattr(self._reactor, name)


class Lit:
    """Lights that are on."""

    def follow(self, rule, tell, *, counted=False):
        tell(Light(known=True, on=True, count=1))
        return lambda: None


class Village:
    """A server with devices and updates, and the signs that live around it."""

    def __init__(self, reactor, public_key=PUBLIC):
        self.reactor, self._public_key = reactor, public_key
        began = reactor.seconds()
        self.wall = lambda: NOW + reactor.seconds() - began
        with socket() as free:
            free.bind(("127.0.0.1", 0))
            self.number = free.getsockname()[1]
        metrics, store = CollectorRegistry(), MemoryStore()
        door = Door(reactor, DoorMetrics(metrics), Limits())
        device_metrics = DeviceMetrics(metrics)
        tokens = iter(f"{n:A>43}" for n in range(10_000))
        self.devices = Registry(
            store,
            reactor,
            device_metrics,
            enrolment=Enrolment.OPEN,
            wall=self.wall,
            make_token=lambda: next(tokens),
            public_url=f"http://127.0.0.1:{self.number}",
        )
        signs = DeviceFactory(
            Lit(), b"secret", reactor, device_metrics, door, self.devices, self.wall
        )
        self.ota = OtaSide(
            store=store,
            keys=[PublicKey.parse(public_key)],
            door=door,
            metrics=metrics,
            clock=reactor,
            wall=self.wall,
            make_token=lambda: next(tokens),
            bearer=lambda _: None,
            by_mac=lambda _: None,
        )
        root = ExactTree({})
        root.putChild(b"ota", self.ota.pages)
        self._front = Front(reactor, QuietSite(root, reactor), {b"/ws": signs}, door)
        self.probes = Probes(self.devices, self.ota.downloads, reactor, self.wall)
        self.rollouts = Rollouts(
            store,
            Signs(self.devices),
            self.ota.catalogue,
            self.ota.downloads,
            self.probes,
            reactor,
            metrics,
            wall=self.wall,
            make_id=(f"r{n}" for n in count(1)).__next__,
        )
        self.row, self.fleet, self._port = Row(), None, None
        for part in (store, self.devices, DeviceService(signs, reactor), self.ota):
            part.setServiceParent(self.row)

    async def open(self, count, seed=0, legacy_percent=50, **how):
        self.row.startService()
        self.rollouts.begin(None)
        endpoint = TCP4ServerEndpoint(self.reactor, self.number, interface="127.0.0.1")
        self._port = await endpoint.listen(self._front)
        updating = Updating(keys=(self._public_key,), **how)
        self.fleet = SignFleet(
            self.reactor,
            "127.0.0.1",
            self.number,
            token="secret",
            count=count,
            habits=Habits(
                v2=True,
                legacy_percent=legacy_percent,
                own_addresses=True,
                updating=updating,
                seed=seed,
            ),
        )
        self.fleet.startService()
        await self.until(lambda: self.fleet.connected == count)
        new = sum(not each.legacy for each in self.fleet.roll_call)
        await self.until(lambda: self.fleet.tally.enrolled == new)

    async def close(self):
        if self.fleet is not None:
            await self.fleet.stopService()
        if self._port is not None:
            await self._port.stopListening()
        await self.rollouts.end()
        await self.row.stopService()

    async def until(self, holds, within_s=100):
        deadline = self.reactor.seconds() + within_s
        while not holds():
            assert self.reactor.seconds() < deadline, self.fleet.tally
            await deferLater(self.reactor, 0.02)

    async def publish(self, build):
        """Make releases for all chips; return them by chip."""
        releases = {}
        for chip in (Chip.ESP8266, Chip.ESP32, Chip.ESP32S2, Chip.ESP32C3):
            image = make_image(chip, 20_480, version=f"{build}.0.0", build=build)
            manifest = Manifest(
                chip=chip,
                version=f"{build}.0.0",
                build=build,
                size_bytes=len(image),
                sha256=sha256(image).hexdigest(),
            )
            coming = self.ota.catalogue.incoming()
            coming.sign(sign(manifest, KEY))
            await coming.append(image)
            releases[chip.title], _ = await self.ota.catalogue.add(
                coming, Terms(legacy=True)
            )
        return releases

    async def offer(self, device, release):
        path = await self.ota.downloads.grant(device, release)
        self.devices.offer(
            device,
            Offer(
                release=release.id,
                path=path,
                md5=release.md5,
                chip=release.chip,
                version=release.version,
                size_bytes=release.size_bytes,
                sha256=release.sha256,
                manifest=release.manifest,
            ),
        )


@pytest_twisted.async_yield_fixture
async def village():
    from twisted.internet import reactor

    village = Village(Hurried(reactor, SPEED))
    yield village
    await village.close()


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_signs_of_both_kinds_are_probed_updated_and_known_again(village):
    await village.open(8)
    devices, reports, fetched = village.devices, [], []
    devices.subscribe_reports(lambda id_, report: reports.append((id_, report.phase)))
    village.ota.downloads.subscribe(fetched.append)
    releases = await village.publish(20)

    strangers = [each.id for each in devices.devices() if not each.enrolled]
    assert len(strangers) == 4
    macs = [(await village.probes.probe(name)).mac for name in strangers]
    old = [mac.replace(":", "") for mac in macs]
    await village.until(lambda: all(devices.get(id_).connected for id_ in old))
    assert all(devices.get(id_).record.fw in {"1.4.0", "1.3.2"} for id_ in old)
    assert village.fleet.tally.probed == 4

    new = [sign.id for sign in village.fleet.roll_call if not sign.legacy]
    chips = {sign.id: sign.chip for sign in village.fleet.roll_call}
    for device in (*new, *old):
        await village.offer(device, releases[chips[device]])
    await village.until(lambda: village.fleet.tally.updated == 8)
    await village.until(lambda: all(devices.get(id_).connected for id_ in (*new, *old)))
    await village.until(lambda: all(devices.get(id_).record.build == 20 for id_ in new))
    assert {each.device for each in fetched if each.whole} == {*new, *old}
    for device in new:
        phases = [phase for id_, phase in reports if id_ == device]
        assert phases[-2:] == ["verifying", "rebooting"]
    await village.until(
        lambda: all(devices.get(id_).vitals.boot == "ota" for id_ in new)
    )
    facts = await village.probes.probe(old[0])
    assert facts.version == "20.0.0"
    assert facts.sketch_md5 == releases[chips[old[0]]].md5


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_what_befalls_signs_is_seen_from_the_server(village):
    await village.open(
        8, power_loss_percent=25, never_back_percent=25, bad_builds=frozenset({30})
    )
    devices, fleet = village.devices, village.fleet

    def new():
        return [each for each in fleet.roll_call if not each.legacy]

    def server_agrees():
        return all(
            devices.get(each.id).connected is not each.off
            and (each.off or devices.get(each.id).record.build == each.build)
            for each in new()
        )

    releases = await village.publish(20)
    for each in new():
        await village.offer(each.id, releases[each.chip])
    await village.until(lambda: fleet.tally.updated == 2)
    await village.until(lambda: [each.off for each in new()].count(True) == 1)
    await village.until(server_agrees)
    assert sorted(each.build for each in new() if not each.off) == [14, 20, 20]
    assert (fleet.tally.lost_power, fleet.tally.never_back) == (1, 1)

    bad = await village.publish(30)
    here = [each for each in new() if not each.off]
    for each in here:
        await village.offer(each.id, bad[each.chip])
    await village.until(
        lambda: all(devices.get(each.id).vitals.boot == "rollback" for each in here)
    )
    assert sorted(each.build for each in new() if not each.off) == [14, 20, 20]


# ---- the whole of it, smaller than `make demo-fleet` ---------------------------------


class Desk:
    """What `benchmarks.demo_fleet.admin.Admin` asks of a server, asked of its parts."""

    def __init__(self, village):
        self._village, self._rollouts = village, village.rollouts

    async def publish(self, built):
        catalogue = self._village.ota.catalogue
        coming = catalogue.incoming()
        coming.sign(built.manifest)
        await coming.append(built.image)
        release, _ = await catalogue.add(coming, Terms(legacy=built.legacy))
        return release.id

    async def strangers(self):
        devices = self._village.devices.devices()
        return [each.id for each in devices if not each.enrolled]

    async def probe(self, device):
        await self._village.probes.probe(device)

    async def start(self, plan):
        return (await self._rollouts.start(plan)).id

    async def rollout(self, id_):
        devices = await self._rollouts.devices(id_)
        report = report_of(self._rollouts.get(id_), devices)
        return json.loads(msgspec.json.encode(report))

    async def failed_in(self, id_):
        failed = await self._rollouts.devices(id_, Phase.FAILED)
        return {each.device: device_of(each).reason for each in failed}


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_good_build_reaches_the_fleet_and_a_bad_one_is_halted_at_once():
    from twisted.internet import reactor

    maker, seen = Maker(64 * 1024), StringIO()
    village = Village(Hurried(reactor, SPEED), maker.public_key)
    try:
        await village.open(
            40,
            legacy_percent=20,
            power_loss_percent=3,
            never_back_percent=2,
            bad_builds=frozenset({BAD}),
        )
        screen = Screen(Console(file=seen, width=120))
        story = Story(village.reactor, Desk(village), village.fleet, maker, screen)
        bars = await story.play()
    finally:
        await village.close()
    assert len(bars) == 6
    assert all(bar.met for bar in bars), (bars, seen.getvalue())
