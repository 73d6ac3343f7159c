"""Updates on several nodes: any is asked, one conducts, and another takes over."""

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import treq
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import deferLater
from twisted.protocols.portforward import ProxyFactory
from twisted.web.client import Agent

import voicestatus
from voicestatus.core.chip import Chip
from voicestatus.core.manifest import Manifest, PublicKey, sign
from voicestatus.ota.signs_everywhere import GATHERS_S
from voicestatus.services import Row
from voicestatus.settings import Settings
from voicestatus.simulator.fates import Updating
from voicestatus.simulator.images import make_image
from voicestatus.simulator.signs import Habits, SignFleet
from voicestatus.tap import build

TWISTD = Path(sys.executable).with_name("twistd")
SOURCE = Path(voicestatus.__file__).parents[1]
ADMIN, TOKEN = "open-the-admin-side", "sesame"
LEASE_S = 2
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PublicKey.of(KEY)
BUILD, SIGNS, FAILING = 20, 10, 1
CHIPS = (Chip.ESP8266, Chip.ESP32, Chip.ESP32S2, Chip.ESP32C3)
HASTE = {
    "stages": [
        {"count": 2, "successPercent": 50, "soakS": 0},
        {"count": 6, "successPercent": 50, "soakS": 0},
        {"percent": 100, "successPercent": 50, "soakS": 0},
    ],
    "ratePerMinute": 6000,
    "atOnce": 3,
    "limits": {"answerS": 5, "downloadS": 10, "backS": 10},
    "gate": {"stayS": 0},
}


class Balancer(ProxyFactory):
    """What stands in front: each connection comes to the next node that lives."""

    def __init__(self) -> None:
        self.host, self.ports = "127.0.0.1", []
        self._turn = count()

    @property
    def port(self) -> int:
        return self.ports[next(self._turn) % len(self.ports)]


class Admin(WebSocketClientProtocol):
    """An admin who looks at the live channel."""

    def onOpen(self) -> None:
        self.statuses: list[str] = []
        self.releases: set[str] = set()
        self.sendMessage(f"AUTH:{ADMIN}".encode())

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        told = json.loads(payload)
        match told["type"]:
            case "snapshot":
                self.releases |= {one["id"] for one in told.get("releases", ())}
            case "release" if not told.get("gone"):
                self.releases.add(told["release"]["id"])
            case "rollout":
                self.statuses.append(told["rollout"]["status"])


class Cluster:
    """Two nodes behind a balancer: one that may be killed, and one in this process."""

    def __init__(self, house: Any, redis: Any, folder: Path, ports: list[int]) -> None:
        self.house, self.reactor, self._folder = house, house.reactor, folder
        self.front, self.first, self.second = ports
        prefix = f"story-updates-{redis.ask('INCR', 'stories').strip()[1:].decode()}:"
        redis.ask("SET", f"{prefix}born", "1000")
        self._given = {
            "DISCORD_TOKEN": "bot-token",
            "ESP_AUTH_TOKEN": TOKEN,
            "ADMIN_TOKEN": ADMIN,
            "DISCORD_API_URL": house.discord.url,
            "STORAGE_URL": f"{redis.url}?prefix={prefix}",
            "LEASE_S": f"{LEASE_S}",
            "PUBLIC_URL": f"http://127.0.0.1:{self.front}",
            "OTA_PUBLIC_KEYS": PUBLIC.text,
        }
        self.balancer = Balancer()
        self.program, self.fleets = Row(), []
        self._log, self._process, self._listening = folder / "log", None, None
        self.admin: Any = None

    def start_the_first(self) -> None:
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(TWISTD, "-n", "--pidfile=", "voicestatus"),
                    *("--listen", f"tcp:{self.first}:interface=127.0.0.1"),
                ],
                cwd=self._folder,
                env={"PYTHONPATH": str(SOURCE), **self._given},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    async def start(self, soon: Any) -> None:
        self.start_the_first()
        await soon(lambda: "shard -1" in self._log.read_text(), "it holds nothing", 20)
        endpoint = f"tcp:{self.second}:interface=127.0.0.1"
        chosen = Settings.model_validate(self._given)
        build(chosen, self.reactor, [endpoint], self.program)
        self.program.startService()
        self.balancer.ports = [self.first, self.second]
        self._listening = self.reactor.listenTCP(
            self.front, self.balancer, interface="127.0.0.1"
        )

    def kill_the_first(self) -> None:
        self.balancer.ports = [self.second]
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    async def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for fleet in self.fleets:
            await fleet.stopService()
        if self.admin is not None:
            self.admin.transport.abortConnection()
        if self._listening is not None:
            await self._listening.stopListening()
        if self.program.running:
            await self.program.stopService()

    async def api(self, port: int, method: str, path: str, body: object = None) -> Any:
        answer = await treq.request(
            method,
            f"http://127.0.0.1:{port}/api/v1{path}",
            headers={"Authorization": f"Bearer {ADMIN}"},
            **({} if body is None else {"json": body}),
            agent=Agent(self.reactor),
        )
        text = await answer.content()
        return answer.code, json.loads(text) if text else None, answer.headers

    async def publish(self, port: int, chip: Chip) -> str:
        image = make_image(chip, 60_000, version="2.0", build=BUILD)
        manifest = Manifest(
            chip=chip,
            version="2.0",
            build=BUILD,
            size_bytes=len(image),
            sha256=sha256(image).hexdigest(),
        )
        answer = await treq.post(
            f"http://127.0.0.1:{port}/api/v1/firmware/releases",
            headers={"Authorization": f"Bearer {ADMIN}"},
            data={"legacy": "true"},
            files={
                "image": ("image", BytesIO(image)),
                "manifest": ("manifest", BytesIO(sign(manifest, KEY))),
            },
            agent=Agent(self.reactor),
        )
        told = await answer.json()
        assert answer.code == 201, told
        return str(told["id"])

    def come(self, port: int, **how: Any) -> SignFleet:
        updating = Updating(keys=(PUBLIC.text,), failing_percent=100 * FAILING / SIGNS)
        fleet = SignFleet(
            self.reactor,
            "127.0.0.1",
            port,
            token=TOKEN,
            habits=Habits(v2=True, updating=updating, **how.pop("habits", {})),
            **how,
        )
        self.fleets.append(fleet)
        fleet.startService()
        return fleet

    async def look(self, port: int) -> Any:
        factory = WebSocketClientFactory(f"ws://127.0.0.1:{port}/admin/ws")
        factory.protocol = Admin
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
        endpoint = HostnameEndpoint(self.reactor, "127.0.0.1", port)
        self.admin = await endpoint.connect(factory)

    async def until(self, holds: Callable[[], Any], within_s: float = 20) -> None:
        """Ask again and again until it holds."""
        deadline = self.reactor.seconds() + within_s
        while not await holds():
            assert self.reactor.seconds() < deadline, "it never came to hold"
            await deferLater(self.reactor, 0.1)


@pytest_twisted.async_yield_fixture
async def cluster(
    house: Any, redis: Any, soon: Any, free_port: Any, tmp_path: Path
) -> AsyncIterator[Cluster]:
    house.discord.startService()
    await house.discord.listening()
    cluster = Cluster(house, redis, tmp_path, [free_port() for _ in range(3)])
    await cluster.start(soon)
    yield cluster
    await cluster.stop()


async def probed(cluster: Cluster, port: int) -> None:
    """Probe the one device that nobody knows."""
    _, found, _ = await cluster.api(port, "GET", "/devices")
    (stranger,) = (one["id"] for one in found["devices"] if not one["enrolled"])
    path = f"/devices/{stranger}/commands"
    status, told, _ = await cluster.api(port, "POST", path, {"type": "probe"})
    assert status == 202, told


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_rollout_over_two_nodes_survives_the_death_of_the_one_that_conducts(
    cluster: Cluster, soon: Any
):
    first, second = cluster.first, cluster.second

    async def answers(path: str = "") -> bool:
        path = f"/firmware/rollouts{path}"
        return (await cluster.api(second, "GET", path))[0] == 200

    await cluster.until(answers)
    fleet = cluster.come(cluster.front, count=SIGNS)
    # The old one lives where nobody dies: with the shared token it has no name.
    old = cluster.come(second, count=1, habits={"legacy_percent": 100})
    await soon(lambda: fleet.tally.enrolled == SIGNS and old.connected == 1)
    await cluster.look(second)
    # What is published at one node is a release of all.
    releases = [await cluster.publish(first, chip) for chip in CHIPS]
    await soon(lambda: cluster.admin.releases == set(releases))
    # The device is at the other node; where it answers, nobody can tell.
    await probed(cluster, first)
    await soon(lambda: old.connected == 1)

    # It is started where it is not conducted.
    plan = HASTE | {"releases": releases}
    _, tried, _ = await cluster.api(second, "POST", "/firmware/rollouts/dry-run", plan)
    assert tried["stages"][-1]["size"] == SIGNS + 1
    status, told, _ = await cluster.api(second, "POST", "/firmware/rollouts", plan)
    assert status == 201, told
    id_ = told["id"]
    path = f"/firmware/releases/{releases[0]}"
    status, told, _ = await cluster.api(second, "DELETE", path)
    assert (status, told["error"]["code"]) == (409, "RELEASE_IN_USE")

    async def states() -> dict[str, Any]:
        path = f"/firmware/rollouts/{id_}/devices"
        _, told, _ = await cluster.api(second, "GET", path)
        return {one["device"]: one for one in told["devices"]}

    async def is_in_the_midst() -> bool:
        found = (await states()).values()
        phases = {one["phase"] for one in found}
        second_stage = any(one["stage"] == 1 for one in found)
        return second_stage and phases >= {"pending", "fetched", "confirmed"}

    await cluster.until(is_in_the_midst)
    before = await states()
    cluster.kill_the_first()
    died = cluster.reactor.seconds()
    path = f"/firmware/rollouts/{id_}"
    status, told, headers = await cluster.api(second, "GET", path)
    assert (status, told["error"]["code"]) == (503, "NODE_UNREACHABLE")
    assert headers.getRawHeaders("retry-after") == ["5"]
    await cluster.until(lambda: answers(f"/{id_}"))
    assert cluster.reactor.seconds() - died < LEASE_S + 1 + GATHERS_S + 1

    async def is_over() -> bool:
        _, told, _ = await cluster.api(second, "GET", path)
        return bool(told["status"] == "finished")

    # What nobody could note while nobody conducted is let settle, and offered anew.
    await cluster.until(is_over, 150)
    after = await states()
    assert {one["phase"] for one in after.values()} == {"confirmed", "failed"}
    failed = [one for one in after.values() if one["phase"] == "failed"]
    assert [(one["why"], one["tries"]) for one in failed] == [("reported", 1)]
    for device, state in before.items():
        if state["phase"] in {"confirmed", "failed"}:
            assert after[device] == state
    assert [one.build for one in old.roll_call] == [BUILD]
    await soon(lambda: cluster.admin.statuses[-1] == "finished")
