"""Updates on several nodes over one store: one conducts, all tell it and ask it."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from voicestatus.cluster.messages import NodeGone
from voicestatus.core.eligibility import CAN_UPDATE, Facts
from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.fleet import digest_of
from voicestatus.core.plan import HaltAt, Plan, Stage
from voicestatus.core.rollout_state import Phase
from voicestatus.devices.wire import OtaReport
from voicestatus.ota.downloads import Claim, DownloadMetrics, Downloads
from voicestatus.ota.downloads_everywhere import EARLY_MOST, NEWS_WITHIN_S
from voicestatus.ota.incoming import Terms
from voicestatus.ota.node_wire import ALIVE, ANSWERED, ASSIGNED, OFFER, TELL
from voicestatus.ota.rollouts import Rollouts
from voicestatus.ota.seat import LOST_AFTER_S
from voicestatus.ota.several import Several
from voicestatus.ota.signs_everywhere import GATHERS_S, SILENT_S
from voicestatus.ota.telling import LOOK_EVERY_S, MOST
from voicestatus.ota.updater import Facts as Said
from voicestatus.store.documents import FateUnknown, Fence

NOW = 1_800_000_000.0
SAID = Said(
    family="esp8266",
    mac="a0:20:a6:00:00:01",
    version="1.0",
    free_bytes=None,
    sketch_bytes=None,
    sketch_md5="",
    sketch_sha256="",
    chip_bytes=None,
    sdk="",
)


class Signs:
    """The signs of one node; what is stored of them all nodes know."""

    loaded = True

    def __init__(self, node: "Node", records: dict[str, Facts]) -> None:
        self.node, self.records = node, records
        self.here: dict[str, Facts] = {}
        self.told: list[Callable[[str], object]] = []
        self.reports: list[Callable[[str, OtaReport], object]] = []
        self.offers: list[Any] = []
        self.prolonged: list[str] = []

    def ids(self) -> list[str]:
        return sorted(self.records)

    def look(self, id_: str) -> Facts | None:
        return self.here.get(id_) or self.records.get(id_)

    def is_here(self, id_: str) -> bool:
        return id_ in self.here

    def subscribe(self, tell: Any) -> Any:
        self.told.append(tell)
        return lambda: self.told.remove(tell)

    def subscribe_reports(self, tell: Any) -> Any:
        self.reports.append(tell)
        return lambda: self.reports.remove(tell)

    async def offer(self, id_: str, release: Any, path: str) -> None:
        self.pass_on(id_, release)

    def pass_on(self, id_: str, offer: Any) -> None:
        if id_ not in self.here:
            raise Refusal("DEVICE_OFFLINE", "it is away")
        self.offers.append(id_)

    def prolong(self, id_: str) -> None:
        self.prolonged.append(id_)

    # ---- what happens to them --------------------------------------------------------

    def come(self, id_: str, **now: Any) -> None:
        at = self.node.wall()
        how = {"connected_at": at, "introduced": True} | now
        self.here[id_] = replace(self.records[id_], **how)
        self.node.messages.arrived(id_)
        self.changed(id_)

    def go(self, id_: str) -> None:
        del self.here[id_]
        self.node.messages.departed(id_)
        self.changed(id_)

    def changed(self, id_: str) -> None:
        for tell in tuple(self.told):
            tell(id_)

    def report(self, id_: str, release: str, phase: str, **more: Any) -> None:
        for tell in tuple(self.reports):
            tell(id_, OtaReport(release=release, phase=phase, **more))


class Prober:
    """Probes what is connected to its node."""

    def __init__(self, signs: Signs) -> None:
        self._signs = signs

    async def probe(self, device: str) -> Said:
        if not self._signs.is_here(device):
            raise Refusal("DEVICE_OFFLINE", "it is away")
        return SAID


class Node:
    """One node, started."""

    def __init__(self, town: "Town", name: str) -> None:
        self.town, self.ahead_s = town, 0.0
        self.messages = town.air.node(name)
        depot = town.make_depot(store=town.store)
        self.catalogue, store = depot.catalogue, town.store
        self.signs = Signs(self, town.records)
        tokens = town.tokens
        self.downloads = Downloads(
            store,
            self.catalogue,
            town.clock,
            DownloadMetrics(CollectorRegistry()),
            wall=self.wall,
            make_token=lambda: f"{next(tokens):043d}",
        )
        self.lives = True

        def make(devices: Any, probes: Any) -> Rollouts:
            return Rollouts(
                store,
                devices,
                self.catalogue,
                self.downloads,
                probes,
                town.clock,
                CollectorRegistry(),
                wall=self.wall,
                make_id=lambda: f"r{next(tokens)}",
            )

        self.several = Several(
            self.signs,
            self.catalogue,
            self.downloads,
            Prober(self.signs),
            self.messages,
            town.clock,
            self.wall,
            make,
        )
        self.rollouts, self.seat = self.several.rollouts, self.several.seat
        self.mirror = self.several.mirror
        self.several.startService()

    def wall(self) -> float:
        return NOW + self.town.clock.seconds() + self.ahead_s

    def conduct(self, term: int) -> None:
        self.seat.begin(Fence(-1, term))
        self.town.passes(GATHERS_S + 1)
        assert self.rollouts.loaded

    def fetch(self, device: str, release: Any, *, whole: bool = True) -> None:
        progress = self.downloads.begin(Claim(device, release, device), 0)
        progress.sent(release.size_bytes if whole else 10)
        progress.end(complete=whole)

    def die(self) -> None:
        """Say and hear nothing any more."""
        self.messages.no_answer = NodeGone("gone")
        self.town.air.nodes.pop(self.messages.node)
        self.several.seat._calls.stop()
        for device in [*self.signs.here]:
            self.messages.departed(device)

    def stop(self) -> None:
        self.several.stopService()
        self.seat.end()


class Town:
    """Nodes over one store, their signs, and what carries messages."""

    def __init__(self, air: Any, make_depot: Any, now: Any) -> None:
        self.air, self.make_depot, self.now = air, make_depot, now
        self.clock, self.tokens = Clock(), count(1)
        self.records: dict[str, Facts] = {}
        depot = make_depot()
        self.store = depot.store
        self.nodes: list[Node] = []

    def node(self, name: str) -> Node:
        self.nodes.append(Node(self, name))
        return self.nodes[-1]

    def enrol(self, *ids: str, **how: Any) -> None:
        given: dict[str, Any] = {
            "legacy": False,
            "chip": "esp32",
            "build": 1,
            "version": "1.0",
            "caps": (CAN_UPDATE,),
        }
        for id_ in ids:
            self.records[id_] = Facts(id=id_, **given | how)

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)


@pytest.fixture
def town(air: Any, make_depot: Any, now: Any) -> Any:
    town = Town(air, make_depot, now)
    yield town
    for node in town.nodes:
        node.stop()


@pytest.fixture
def a(town: Town) -> Node:
    return town.node("a")


@pytest.fixture
def b(town: Town, a: Node) -> Node:
    return town.node("b")


def publish(town: Town, node: Node, make_files: Any) -> Any:
    files = make_files(build=2)

    async def add() -> Any:
        incoming = node.catalogue.incoming()
        await incoming.append(files.image)
        incoming.sign(files.manifest)
        return await node.catalogue.add(incoming, Terms(legacy=True))

    release, _ = town.now(add())
    return release


@pytest.fixture
def release(town: Town, a: Node, b: Node, make_files: Any) -> Any:
    return publish(town, a, make_files)


def plan(release: Any) -> Plan:
    return Plan(
        releases=(release.id,),
        stages=(Stage(percent=100, soak_s=0),),
        rate_per_minute=6000,
        halt_at=HaltAt(percent=None),
    )


def start(town: Town, node: Node, release: Any) -> str:
    view = town.now(node.rollouts.start(plan(release)))
    town.passes(3)
    return str(view.id)


def phase(town: Town, node: Node, rollout: str, device: str) -> Phase:
    states = town.now(node.rollouts.devices(rollout))
    return next(state.phase for state in states if state.device == device)


# ---- the devices of other nodes ----------------------------------------------------


def test_a_device_of_another_node_is_offered_and_followed_to_the_end(
    town: Town, a: Node, b: Node, release: Any
):
    town.enrol("desk")
    a.conduct(1)
    b.signs.come("desk")
    rollout = start(town, a, release)
    assert b.signs.offers == ["desk"]
    b.signs.report("desk", release.id, "downloading", progress=30)
    town.passes(1)
    assert phase(town, a, rollout, "desk") is Phase.FETCHING
    b.fetch("desk", release)
    town.passes(1)
    assert phase(town, a, rollout, "desk") is Phase.FETCHED
    b.signs.go("desk")
    town.passes(3)
    # What is stored of it may be told later than how it is.
    a.signs.come("desk", build=2)
    town.passes(400)
    assert phase(town, a, rollout, "desk") is Phase.CONFIRMED
    assert town.now(a.rollouts.devices(rollout))[0].tries == 1


def test_what_a_device_says_of_its_failure_is_told(
    town: Town, a: Node, b: Node, release: Any
):
    town.enrol("desk")
    a.conduct(1)
    b.signs.come("desk")
    rollout = start(town, a, release)
    b.signs.report("desk", release.id, "failed", error="no room")
    town.passes(1)
    (state,) = town.now(a.rollouts.devices(rollout))
    assert (state.phase, state.said) == (Phase.FAILED, "no room")


def test_nothing_is_told_while_no_rollout_is_alive(
    town: Town, a: Node, b: Node, release: Any
):
    town.enrol("desk")
    a.conduct(1)
    town.passes(3)
    a.messages.asked.clear()
    b.signs.come("desk")
    b.fetch("desk", release)
    town.passes(30)
    assert TELL not in a.messages.asked
    assert not b.signs.told
    assert not b.signs.reports


def test_only_what_is_new_is_told(town: Town, a: Node, b: Node, release: Any):
    town.enrol("desk", "hall")
    a.conduct(1)
    for id_ in ("desk", "hall"):
        b.signs.come(id_, lit=True)
    start(town, a, release)
    told: list[bytes] = []
    serve = a.messages.serves[TELL]
    a.messages.serves[TELL] = lambda body: (told.append(body), serve(body))[1]
    b.signs.changed("desk")
    town.passes(LOOK_EVERY_S + 2)
    assert not any(b"desk" in body for body in told)
    # A light is told by nobody: it is looked at now and then.
    b.signs.here["desk"] = replace(b.signs.here["desk"], lit=False)
    town.passes(LOOK_EVERY_S + 2)
    assert sum(b"desk" in body for body in told) == 1


def test_many_devices_are_told_in_bundles(town: Town, a: Node, b: Node, release: Any):
    ids = [f"d{n:04}" for n in range(MOST + 1)]
    town.enrol(*ids)
    for id_ in ids:
        b.signs.come(id_)
    town.clock.advance(100)
    a.conduct(1)
    start(town, a, release)
    assert all(a.several.devices.look(id_).connected for id_ in ids)


def test_a_node_that_is_silent_is_gone_with_its_devices_until_it_tells_again(
    town: Town, a: Node, b: Node, release: Any
):
    town.enrol("desk")
    b.signs.come("desk")
    a.conduct(1)
    start(town, a, release)
    devices = a.several.devices
    assert devices.look("desk").connected
    seen: list[str] = []
    devices.subscribe(seen.append)
    a.messages.no_answer = NodeGone("a cut")
    town.passes(SILENT_S + 2)
    assert not devices.look("desk").connected
    assert seen == ["desk"]
    a.messages.no_answer = None
    town.passes(2)
    assert devices.look("desk").connected


def test_times_of_another_clock_are_put_right_and_way_is_no_difference(
    town: Town, a: Node, b: Node, release: Any
):
    town.enrol("desk")
    c = town.node("c")
    b.ahead_s, c.ahead_s = -300.0, 0.5
    a.conduct(1)
    b.signs.come("desk")
    at = a.wall()
    start(town, a, release)
    devices = a.several.devices
    assert devices.look("desk").connected_at == pytest.approx(at, abs=1)
    b.signs.go("desk")
    c.signs.come("desk")
    at = c.wall()
    town.passes(1)
    assert devices.look("desk").connected_at == at


@pytest.mark.parametrize("by_s", [-3600.0, 3600.0])
@pytest.mark.parametrize("which", ["a", "b"])
def test_a_clock_that_is_set_fails_no_device_of_another_node(
    town: Town, a: Node, b: Node, release: Any, which: str, by_s: float
):
    town.enrol("desk")
    a.conduct(1)
    b.signs.come("desk")
    rollout = start(town, a, release)
    b.fetch("desk", release)
    town.passes(1)
    {"a": a, "b": b}[which].ahead_s += by_s
    b.signs.go("desk")
    town.passes(20)
    assert phase(town, a, rollout, "desk") is Phase.FETCHED
    b.signs.come("desk", build=2)
    town.passes(100)
    at = a.several.devices.look("desk").connected_at
    assert a.wall() - 120 < at <= a.wall()
    town.passes(300)
    assert phase(town, a, rollout, "desk") is Phase.CONFIRMED


def test_a_device_that_moved_is_not_lost_by_where_it_was(
    town: Town, a: Node, b: Node, release: Any
):
    town.enrol("desk")
    c = town.node("c")
    a.conduct(1)
    b.signs.come("desk")
    start(town, a, release)
    town.clock.advance(1)
    c.signs.come("desk")
    town.passes(1)
    b.signs.go("desk")
    town.passes(1)
    assert a.several.devices.look("desk").connected


@pytest.mark.parametrize(
    ("why", "after", "tries"),
    [
        (NodeGone("x"), Phase.PENDING, 0),
        (Refusal("DEVICE_OFFLINE", "x"), Phase.PENDING, 0),
        (Refusal("NOT_SERVED", "x"), Phase.PENDING, 0),
        (FateUnknown("x"), Phase.OFFERED, 1),
        (Refusal("OFFER_TOO_LONG", "x"), Phase.SKIPPED, 0),
    ],
)
def test_an_offer_is_made_once_even_if_nobody_knows(
    town: Town,
    a: Node,
    b: Node,
    release: Any,
    why: Exception,
    after: Phase,
    tries: int,
):
    async def fails(_: bytes) -> bytes:
        raise why

    town.enrol("desk")
    a.conduct(1)
    b.signs.come("desk")
    b.messages.serves[OFFER] = fails
    rollout = start(town, a, release)
    (state,) = town.now(a.rollouts.devices(rollout))
    assert (state.phase, state.tries) == (after, tries)


def test_an_old_device_is_awaited_longer_wherever_it_fetches(
    town: Town, a: Node, b: Node, release: Any
):
    town.enrol("old", legacy=True, build=None, caps=())
    a.conduct(1)
    b.signs.come("old", introduced=False)
    start(town, a, release)
    b.fetch("old", release)
    town.passes(1)
    assert "old" in a.signs.prolonged


# ---- one conducts, then another ----------------------------------------------------


def test_who_takes_over_is_told_of_all_before_it_goes_on(
    town: Town, a: Node, b: Node, release: Any
):
    town.enrol("desk", "hall")
    a.conduct(1)
    b.signs.come("desk")
    rollout = start(town, a, release)
    c = town.node("c")
    c.signs.come("hall")
    a.die()
    # Nobody is there to be told.
    c.fetch("hall", release)
    b.fetch("desk", release)
    town.passes(LOST_AFTER_S)
    assert b.seat.owner is None
    b.seat.begin(Fence(-1, 2))
    town.passes(GATHERS_S - 0.2)
    assert not b.rollouts.loaded
    town.passes(2)
    assert b.rollouts.loaded
    assert b.several.devices.look("hall").connected
    assert phase(town, b, rollout, "desk") is Phase.FETCHED
    assert b.signs.offers == ["desk"]


def test_who_does_not_know_that_its_term_is_over_offers_nothing(
    town: Town, a: Node, b: Node, release: Any
):
    town.enrol("desk")
    c = town.node("c")
    a.conduct(1)
    b.signs.come("desk")
    town.air.holds = True
    c.seat.begin(Fence(-1, 2))
    town.air.holds = False
    town.air.carry()
    town.passes(2)
    late = town.now(a.rollouts.start(plan(release)))
    town.passes(3)
    assert b.signs.offers == []
    assert b.seat.owner == "c"
    assert phase(town, a, late.id, "desk") is Phase.PENDING
    assert (a.seat.owner, a.seat.here) == ("c", False)


def test_a_handover_is_known_at_once(town: Town, a: Node, b: Node):
    a.conduct(1)
    assert b.seat.owner == a.seat.owner == "a"
    a.seat.end()
    assert b.seat.owner is a.seat.owner is None
    b.conduct(2)
    assert a.seat.owner == "b"


# ---- the rollouts, as all nodes show them ------------------------------------------


def test_every_node_shows_the_rollouts_that_are_alive(
    town: Town, a: Node, b: Node, release: Any
):
    town.enrol("desk")
    told: list[Any] = []
    b.mirror.subscribe(told.append)
    assert b.mirror.needed(release.id), "nobody knows"
    a.conduct(1)
    assert not b.mirror.needed(release.id)
    rollout = start(town, a, release)
    assert [one.id for one in b.mirror.rollouts()] == [rollout]
    assert b.mirror.needed(release.id)
    assert a.mirror.needed(release.id)
    assert told[-1].rollout == b.mirror.rollouts()[0]
    town.now(a.rollouts.abort(rollout))
    town.passes(2)
    assert told[-1].rollout.ended_at is not None
    assert b.mirror.rollouts() == []
    assert a.mirror.rollouts()[0].id == rollout


def test_who_fails_to_hear_of_rollouts_silences_nobody(
    town: Town, a: Node, b: Node, release: Any, nothing_is_left_behind: Any
):
    def fails(_: Any) -> None:
        raise RuntimeError

    town.enrol("desk")
    told: list[Any] = []
    for node in (a, b):
        node.mirror.subscribe(fails)
        node.mirror.subscribe(told.append)
    a.conduct(1)
    start(town, a, release)
    assert len(told) >= 2
    assert len(nothing_is_left_behind) == 2
    nothing_is_left_behind.clear()


def test_news_that_were_missed_are_asked_for(
    town: Town, a: Node, b: Node, release: Any
):
    town.enrol("desk")
    a.conduct(1)
    told: list[Any] = []
    b.mirror.subscribe(told.append)
    rollout = start(town, a, release)
    town.air.holds = True
    town.now(a.rollouts.pause(rollout))
    town.passes(0.6)
    town.air.lose()
    town.air.holds = False
    town.passes(2)
    assert told[-1].rollout.status.value == "paused"
    town.air.holds = True
    town.now(a.rollouts.abort(rollout))
    town.passes(0.6)
    town.air.lose()
    town.air.holds = False
    town.passes(2)
    assert told[-1].rollout.ended_at is not None
    a.messages.asked.clear()
    town.passes(5)
    assert ALIVE not in a.messages.asked


# ---- releases ----------------------------------------------------------------------


def test_a_release_of_one_node_is_one_of_all(
    town: Town, a: Node, b: Node, release: Any
):
    assert b.catalogue.get(release.id) == release
    a.conduct(1)
    town.now(b.catalogue.change(release.id, notes="soft"))
    assert a.catalogue.get(release.id).notes == "soft"
    town.air.holds = True
    town.now(a.catalogue.delete(release.id))
    assert b.catalogue.get(release.id) is not None
    town.air.lose()
    assert b.catalogue.get(release.id) is None


def test_a_release_is_told_once(town: Town, a: Node, b: Node, release: Any):
    town.node("c")
    a.conduct(1)
    town.air.heard.clear()
    town.now(b.catalogue.change(release.id, notes="soft"))
    assert town.air.heard.count(release.id) == 1


def test_a_release_is_read_when_the_store_is_back(
    town: Town, a: Node, b: Node, release: Any
):
    town.air.holds = True
    town.now(a.catalogue.change(release.id, notes="soft"))
    town.store.away = True
    town.air.carry()
    assert b.catalogue.get(release.id).notes == ""
    town.store.away = False
    town.passes(6)
    assert b.catalogue.get(release.id).notes == "soft"


def test_a_release_that_is_needed_elsewhere_is_not_deleted(
    town: Town, a: Node, b: Node, release: Any
):
    town.enrol("desk")
    with pytest.raises(Refusal) as nobody:
        town.now(b.catalogue.delete(release.id))
    assert nobody.value.code in {"RELEASE_IN_USE", "NODE_UNREACHABLE"}
    a.conduct(1)
    town.passes(1)
    town.air.holds = True  # b has not heard of it yet
    town.now(a.rollouts.start(plan(release)))
    with pytest.raises(Refusal) as needed:
        town.now(b.catalogue.delete(release.id))
    assert needed.value.code == "RELEASE_IN_USE"


# ---- downloads and probes ----------------------------------------------------------


def test_who_asks_any_node_by_itself_gets_what_it_is_to_have(
    town: Town, a: Node, b: Node, release: Any
):
    town.enrol("desk")
    a.conduct(1)
    elsewhere = b.downloads.assignment_elsewhere
    assert town.now(elsewhere("desk")) is None
    assert ASSIGNED not in a.messages.asked, "no rollout is alive"
    b.signs.come("desk")
    start(town, a, release)
    claim = town.now(elsewhere("desk"))
    assert (claim.device, claim.release) == ("desk", release)
    assert town.now(elsewhere("hall")) is None
    assert town.now(a.downloads.assignment_elsewhere("hall")) is None
    a.die()
    town.passes(LOST_AFTER_S)
    with pytest.raises(StoreError):
        town.now(elsewhere("desk"))


def told(answer: "Deferred[bool]") -> bool:
    """Return what has come of it by now."""
    results: list[bool] = []
    answer.addCallback(results.append)
    return results[0]


def test_a_probe_is_answered_at_any_node_once(town: Town, a: Node, b: Node):
    probed: list[Any] = []
    a.downloads.subscribe_probes(probed.append)
    nonce = a.downloads.expect_probe("conn-1").rpartition("/")[2]

    def answered(nonce: str) -> bool:
        asking = Deferred.fromCoroutine(b.downloads.elsewhere.answered(nonce, SAID))
        town.clock.advance(NEWS_WITHIN_S)
        return told(asking)

    assert not answered("0" * 43)
    assert ANSWERED not in a.messages.asked
    assert answered(nonce)
    assert [(one.device, one.facts) for one in probed] == [("conn-1", SAID)]
    assert not answered(nonce)
    late = a.downloads.expect_probe("conn-1").rpartition("/")[2]
    assert digest_of(late.encode()) in str(town.air.heard[-1])
    town.clock.advance(120)
    assert not answered(late)


def test_a_device_may_be_faster_than_the_news_that_it_was_sent(
    town: Town, a: Node, b: Node
):
    town.air.holds = True
    nonce = a.downloads.expect_probe("conn-1").rpartition("/")[2]
    asking = Deferred.fromCoroutine(b.downloads.elsewhere.answered(nonce, SAID))
    town.air.carry()
    assert told(asking)


def test_not_many_wait_for_news_that_never_come(town: Town, a: Node, b: Node):
    asking = [
        Deferred.fromCoroutine(b.downloads.elsewhere.answered(f"{n:043}", SAID))
        for n in range(EARLY_MOST)
    ]
    one_more = Deferred.fromCoroutine(b.downloads.elsewhere.answered("x" * 43, SAID))
    assert not told(one_more)
    asking[0].addErrback(lambda _: None)
    asking[0].cancel()  # its caller is gone: another one may wait
    late = Deferred.fromCoroutine(b.downloads.elsewhere.answered("y" * 43, SAID))
    assert not late.called
    town.clock.advance(NEWS_WITHIN_S)
    assert not any(map(told, [*asking[1:], late]))


def test_an_image_may_be_asked_for_before_its_release_is_known(
    town: Town, a: Node, b: Node, make_files: Any
):
    town.air.holds = True
    release = publish(town, a, make_files)
    assert b.catalogue.get(release.id) is None
    path = town.now(a.downloads.grant("desk", release))
    claim = town.now(b.downloads.claim(release.id, path.rpartition("/")[2]))
    assert claim.release == release


def test_a_device_is_probed_by_its_own_node(town: Town, a: Node, b: Node):
    town.enrol("old")
    b.signs.come("old")
    assert town.now(a.several.probes.probe("old")) == SAID
    with pytest.raises(Refusal) as away:
        town.now(a.several.probes.probe("nobody"))
    assert away.value.code == "DEVICE_OFFLINE"


@pytest.mark.parametrize(
    ("why", "code"),
    [(NodeGone("x"), "NODE_UNREACHABLE"), (FateUnknown("x"), "FATE_UNKNOWN")],
)
def test_a_probe_says_when_a_node_did_not_answer(
    town: Town, a: Node, b: Node, why: Exception, code: str
):
    town.enrol("old")
    b.signs.come("old")
    b.messages.no_answer = why
    with pytest.raises(Refusal) as refused:
        town.now(a.several.probes.probe("old"))
    assert refused.value.code == code
