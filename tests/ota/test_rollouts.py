"""The rollouts' service: what is stored when, restarts, refusals, and what it tells."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock

from voicestatus.core.chip import Chip
from voicestatus.core.eligibility import CAN_UPDATE, Facts
from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.release import Channel, Release
from voicestatus.core.rollout_state import DeviceState, Phase, Rollout
from voicestatus.devices.wire import OtaReport
from voicestatus.ota.conductor import KEPT
from voicestatus.ota.downloads import Fetched
from voicestatus.ota.rollout_records import DEVICE, PAST, ROLLOUT
from voicestatus.ota.rollout_views import News
from voicestatus.ota.rollouts import Rollouts
from voicestatus.store.documents import Change, Fence, Put
from voicestatus.store.memory import MemoryStore
from voicestatus.store.typed import Typed

NOW = 1_800_014_400.0
NOTE = Put("audit", "1", b"{}")


def release_of(build: int = 2, chip: Chip = Chip.ESP32, **changes: Any) -> Release:
    release = Release(
        id=f"{chip.title}-{build}-abc",
        chip=chip,
        board="",
        version=f"{build}.0",
        build=build,
        min_build=0,
        floor=0,
        not_after=0,
        size_bytes=1000,
        sha256="abc",
        manifest="",
        md5=f"{build:032}",
        channel=Channel.STABLE,
        legacy=True,
        added_at=0.0,
    )
    return replace(release, **changes)


RELEASE = release_of()


def new(id_: str, **changes: object) -> Facts:
    """Return a sign of version 2 that is here."""
    return Facts(
        **{
            "id": id_,
            "legacy": False,
            "chip": "esp32",
            "version": "1.0",
            "build": 1,
            "caps": (CAN_UPDATE,),
            "connected_at": NOW - 100,
            "introduced": True,
            **changes,
        }
    )


def old(id_: str, **changes: object) -> Facts:
    return new(
        id_,
        **{"legacy": True, "build": None, "caps": (), "introduced": False, **changes},
    )


class Releases:
    """A catalogue."""

    loaded = True

    def __init__(self, *releases: Release) -> None:
        self.table = {release.id: release for release in releases}

    def get(self, id_: str) -> Release | None:
        return self.table.get(id_)

    def releases(self) -> list[Release]:
        return [*self.table.values()]


class Signs:
    """The signs, what they do with an offer, and the downloads and probes between."""

    loaded = True

    def __init__(self, clock: Clock, *facts: Facts) -> None:
        self.clock = clock
        self.ahead_s = NOW
        """How far the wall clock is ahead of the other one."""
        self.table = {one.id: one for one in facts}
        self.told: list[Callable[[str], object]] = []
        self.reports: list[Callable[[str, OtaReport], object]] = []
        self.fetches: list[Callable[[Fetched], object]] = []
        self.offers: list[tuple[float, str, str]] = []
        self.at_offer: Callable[[str], object] = lambda _: None
        self.refuse: str | None = None
        self.granted: dict[str, str] = {}
        self.bad: set[str] = set()
        """Those that what they fetch bricks."""
        self.took: set[str] = set()
        self.probed: list[str] = []
        self.probe_takes: Deferred[None] | None = None
        self.runs: dict[str, str] = {}
        """What old ones run by now: they tell it when they are probed."""
        self.stubborn: set[str] = set()
        """Old ones that start what they ran before."""
        self.problem: StoreError | None = None

    def wall(self) -> float:
        return self.ahead_s + self.clock.seconds()

    # ---- what rollouts ask of devices, downloads and probes --------------------------

    def ids(self) -> list[str]:
        return sorted(self.table)

    def look(self, id_: str) -> Facts | None:
        return self.table.get(id_)

    def subscribe(self, tell: Callable[[Any], object]) -> Callable[[], object]:
        self.told.append(tell)
        return lambda: self.told.remove(tell)

    def subscribe_reports(self, tell: Any) -> Callable[[], object]:
        self.reports.append(tell)
        return lambda: self.reports.remove(tell)

    async def offer(self, id_: str, release: Release, path: str) -> None:
        if self.refuse is not None:
            raise Refusal(self.refuse, "it cannot be said")
        assert path == self.granted[id_]
        self.at_offer(id_)
        self.offers.append((self.clock.seconds(), id_, release.id))
        self.clock.callLater(1, self.fetch, id_, release, path)

    def prolong(self, id_: str) -> None:
        pass

    async def grant(self, device: str, release: Release) -> str:
        if self.problem is not None:
            raise self.problem
        self.granted[device] = path = f"/{release.id}/{device}"
        return path

    async def withdraw(self, device: str) -> None:
        self.granted.pop(device, None)

    async def probe(self, device: str) -> None:
        self.probed.append(device)
        facts = self.table[device]
        await (self.probe_takes or succeed(None))
        if facts.md5 == "deaf":
            raise Refusal("PROBE_UNANSWERED", "it did not ask")
        version = self.runs.get(device, facts.version)
        self.see(device, chip="esp32", version=version, asked_at=self.wall())

    # ---- what signs do ---------------------------------------------------------------

    def see(self, id_: str, **changes: object) -> None:
        self.table[id_] = replace(self.table[id_], **changes)
        for tell in [*self.told]:
            tell(id_)

    def fetch(self, id_: str, release: Release, path: str) -> None:
        if self.granted.get(id_) != path or id_ not in self.table:
            return
        self.took.add(id_)
        legacy = self.table[id_].legacy
        if legacy:
            self.see(id_, connected_at=None, introduced=False)
        self.sent(id_, release, 0, whole=False)
        self.clock.callLater(5, self.finish, id_, release)

    def finish(self, id_: str, release: Release) -> None:
        self.sent(id_, release, 1000, whole=True)
        self.granted.pop(id_, None)
        self.see(id_, connected_at=None, introduced=False)
        if id_ not in self.bad:
            self.clock.callLater(10, self.back, id_, release)

    def back(self, id_: str, release: Release) -> None:
        at = self.wall()
        if self.table[id_].legacy:
            if id_ not in self.stubborn:
                self.runs[id_] = release.version
            self.see(id_, connected_at=at)
        else:
            self.see(id_, connected_at=at, introduced=True, build=release.build)

    def sent(self, id_: str, release: Release, size: int, *, whole: bool) -> None:
        at = self.wall()
        for tell in [*self.fetches]:
            tell(Fetched(id_, release.id, size, whole, at))

    @property
    def offered(self) -> list[str]:
        return [id_ for _, id_, _ in self.offers]


class Fetches:
    """The downloads, as the rollouts see them."""

    def __init__(self, signs: Signs) -> None:
        self.grant, self.withdraw = signs.grant, signs.withdraw
        self.signs = signs

    def subscribe(self, tell: Callable[[Fetched], object]) -> Callable[[], object]:
        self.signs.fetches.append(tell)
        return lambda: self.signs.fetches.remove(tell)


class Died(CancelledError):  # noqa: N818 - what happened, not whose fault
    """The process is gone: nobody is there to log it."""


class Store(MemoryStore):
    """A store that can refuse, stall, or end the process at a write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.dies_at: int | None = None
        self.dies_after = False
        self.problem: StoreError | None = None
        self.stalled: Deferred[None] | None = None
        self.largest = 0

    async def write(self, *changes: Change, fence: Fence | None = None) -> int:
        self.writes += 1
        self.largest = max(self.largest, len(changes))
        if self.stalled is not None:
            await self.stalled
        if self.problem is not None:
            raise self.problem
        dies = self.dies_at is not None and self.writes >= self.dies_at
        if dies and not self.dies_after:
            raise Died
        version = await super().write(*changes, fence=fence)
        if dies:
            raise Died
        return version


class Bench:
    """Signs, a store that outlives processes, and the service of one process."""

    def __init__(
        self, *facts: Facts, releases: tuple[Release, ...] = (RELEASE,)
    ) -> None:
        self.clock = Clock()
        self.signs = Signs(self.clock, *facts)
        self.catalogue = Releases(*releases)
        self.store = Store()
        self.store.startService()
        self.ids = iter(f"r{n}" for n in count(1))
        self.holds = True
        self.serve(None)

    def serve(self, fence: Fence | None) -> None:
        self.registry = CollectorRegistry()
        self.service = Rollouts(
            self.store,
            self.signs,
            self.catalogue,
            Fetches(self.signs),
            self.signs,
            self.clock,
            self.registry,
            wall=self.signs.wall,
            make_id=lambda: next(self.ids),
            holds=lambda: self.holds,
        )
        self.service.begin(fence)

    def die(self) -> None:
        """End the process as kill -9 does: nothing is written, nothing is told."""
        self.store.dies_at = 0
        self.service.end().addErrback(lambda _: None)
        self.store.dies_at = None
        self.signs.told.clear()
        self.signs.reports.clear()
        self.signs.fetches.clear()

    def restart(self) -> None:
        self.die()
        self.serve(None)

    def wait(self, seconds: float) -> None:
        end = self.clock.seconds() + seconds
        while True:
            calls = [call.getTime() for call in self.clock.getDelayedCalls()]
            at = min(calls, default=None)
            if at is None or at > end:
                break
            self.clock.advance(max(0.0, at - self.clock.seconds()))
        self.clock.advance(end - self.clock.seconds())

    def start(self, **plan: object) -> str:
        plan = {
            "releases": [RELEASE.id],
            "stages": [{"percent": 100, "soakS": 0}],
            "ratePerMinute": 6000,
            **plan,
        }
        return done(self.service.start(plan)).id

    def phases(self, id_: str) -> dict[str, str]:
        return {
            state.device: state.phase.value + (f": {state.why}" if state.why else "")
            for state in done(self.service.devices(id_))
        }

    def status(self, id_: str) -> str:
        return self.service.get(id_).status.value

    def stored(self, id_: str) -> dict[str, DeviceState]:
        found = done(Typed(self.store, DEVICE, DeviceState).list(id_))
        return {each.value.device: each.value for each in found}

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"voicestatus_{name}", labels)


def done(coro: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine that waits for nothing returns."""
    results: list[Any] = []
    Deferred.fromCoroutine(coro).addBoth(results.append)
    (result,) = results
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result


def refusal(coro: Coroutine[Any, Any, Any]) -> str:
    with pytest.raises(Refusal) as refused:
        done(coro)
    return refused.value.code


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(*facts: Facts, **more: Any) -> Bench:
        benches.append(Bench(*facts, **more))
        return benches[-1]

    yield make
    for each in benches:
        each.service.end()
        each.wait(100)
        assert each.clock.getDelayedCalls() == []


def fleet(count: int) -> list[Facts]:
    return [(old if n % 3 == 0 else new)(f"d{n}") for n in range(count)]


# ---- from the beginning to the end ---------------------------------------------------


def test_a_good_release_reaches_all(bench):
    bench = bench(*fleet(30))
    id_ = bench.start(stages=[{"count": 1}, {"percent": 10}, {"percent": 100}])
    assert len(bench.signs.offers) == 1
    bench.wait(5000)
    assert bench.status(id_) == "finished"
    view = bench.service.get(id_)
    assert view.counts["confirmed"] == 30
    assert [(s.size, s.touched, s.confirmed) for s in view.stages] == [
        (1, 1, 1),
        (3, 2, 2),
        (30, 27, 27),
    ]
    assert sorted(bench.signs.offered) == sorted(bench.signs.table)
    assert bench.metric("rollout_offers_total") == 30
    assert bench.metric("rollouts_active") == 0


def test_a_bad_release_is_halted_in_the_first_stage(bench):
    bench = bench(*fleet(100))
    bench.signs.bad = {*bench.signs.table}
    id_ = bench.start(stages=[{"count": 4}, {"percent": 100}])
    bench.wait(10_000)
    view = bench.service.get(id_)
    assert (view.status.value, view.why, view.stage) == ("halted", "stage", 0)
    assert len(bench.signs.took) == 4
    assert set(view.failures) <= bench.signs.took
    failed = done(bench.service.devices(id_, Phase.FAILED))
    assert {state.device for state in failed} == bench.signs.took
    assert {state.why for state in failed} == {"not_back"}
    assert bench.metric("rollout_halts_total", reason="stage") == 1
    assert bench.metric("rollout_failures_total", reason="not_back") == 4
    assert bench.metric("rollout_devices", phase="pending") == 96


def test_what_is_offered_was_stored_before(bench):
    bench = bench(*fleet(9))
    seen = []

    def look(device: str) -> None:
        state = bench.stored("r1")[device]
        seen.append((state.phase, state.release, state.stage))

    bench.signs.at_offer = look
    bench.start()
    bench.wait(10)
    assert seen == [(Phase.OFFERED, RELEASE.id, 0)] * 9


def test_reports_are_followed(bench):
    bench = bench(new("a"))
    id_ = bench.start()
    (tell,) = bench.signs.reports
    tell("a", OtaReport(release=RELEASE.id, phase="downloading", progress=30))
    assert bench.phases(id_) == {"a": "fetching"}
    tell("a", OtaReport(release=RELEASE.id, phase="failed", error="no room"))
    (state,) = done(bench.service.devices(id_))
    assert (state.why, state.said) == ("reported", "no room")


def test_a_device_may_fetch_while_it_is_offered_something(bench):
    bench = bench(new("a"), new("b", connected_at=None))
    assert bench.service.assigned("a") is None
    bench.start()
    assert bench.service.assigned("a") == RELEASE
    assert bench.service.assigned("b") is None
    bench.wait(10)
    assert bench.service.assigned("a") is None


def test_a_release_is_needed_while_a_rollout_is_alive(bench):
    bench = bench(new("a"))
    assert not bench.service.needed(RELEASE.id)
    bench.start()
    assert bench.service.needed(RELEASE.id)
    bench.wait(1000)
    assert not bench.service.needed(RELEASE.id)
    bench.service.end()
    assert bench.service.needed(RELEASE.id), "nobody knows"


def test_a_device_that_comes_back_gets_what_it_missed(bench):
    bench = bench(new("a"), new("b", connected_at=None))
    id_ = bench.start()
    bench.wait(5000)
    assert bench.phases(id_) == {"a": "confirmed", "b": "pending"}
    bench.restart()
    bench.signs.see("b", connected_at=NOW + bench.clock.seconds())
    bench.wait(1000)
    assert bench.phases(id_)["b"] == "confirmed"
    assert bench.status(id_) == "finished"


def test_old_devices_are_probed_where_the_plan_allows_it(bench):
    bench = bench(old("a", chip=""), old("b", chip="", md5="deaf"))
    bench.signs.stubborn = {"a"}
    all_at_once = [{"percent": 100, "soakS": 0, "successPercent": 0}]
    id_ = bench.start(probe=True, stages=all_at_once)
    bench.wait(2000)
    assert bench.phases(id_) == {"a": "failed: old_build", "b": "skipped: unknown_chip"}
    assert bench.signs.probed.count("b") == 1


# ---- plans ---------------------------------------------------------------------------


def test_who_waits_to_be_asked_is_not_asked_while_it_is_paused(bench):
    bench = bench(*(old(f"d{n}", chip="") for n in range(3)))
    bench.signs.probe_takes = Deferred()
    id_ = bench.start(probe=True)
    bench.wait(2)
    assert len(bench.signs.probed) == 1
    done(bench.service.pause(id_))
    bench.wait(1000)
    answers, bench.signs.probe_takes = bench.signs.probe_takes, None
    answers.callback(None)
    bench.wait(100)
    assert len(bench.signs.probed) == 1
    done(bench.service.resume(id_))
    bench.wait(1000)
    assert {*bench.signs.offered} == {"d0", "d1", "d2"}
    assert bench.status(id_) == "finished"


def test_who_waits_long_to_be_asked_is_not_given_up_meanwhile(bench):
    bench = bench(*(old(f"d{n}", chip="") for n in range(3)))
    bench.signs.probe_takes = Deferred()
    id_ = bench.start(probe=True)
    bench.wait(1000)
    assert sorted(bench.phases(id_).values()) == [
        "pending",
        "pending",
        "skipped: unknown_chip",
    ]
    answers, bench.signs.probe_takes = bench.signs.probe_takes, None
    answers.callback(None)
    bench.wait(1000)
    assert bench.phases(id_) == {f"d{n}": "confirmed" for n in range(3)}


def test_a_dry_run_says_who_would_be_updated_and_touches_nobody(bench):
    bench = bench(*fleet(10), new("current", build=2), new("other", chip="esp8266"))
    plan = {"releases": [RELEASE.id], "stages": [{"count": 2}, {"percent": 100}]}
    shown = done(bench.service.dry_run(plan))
    assert [len(stage) for stage in shown.stages] == [2, 8]
    assert [(s.device, s.why) for s in shown.skipped] == [
        ("current", "current"),
        ("other", "wrong_chip"),
    ]
    assert bench.store.writes == 0
    first = {state.device for state in shown.stages[0]}
    done(bench.service.start(plan))
    bench.wait(2)
    assert {*bench.signs.offered} == first


def test_a_mixed_fleet_is_one_rollout(bench):
    other = release_of(chip=Chip.ESP8266)
    bench = bench(new("a"), new("b", chip="esp8266"), releases=(RELEASE, other))
    bench.start(releases=[RELEASE.id, other.id])
    bench.wait(1)
    assert {(id_, release) for _, id_, release in bench.signs.offers} == {
        ("a", RELEASE.id),
        ("b", other.id),
    }


def test_what_cannot_be_begun_is_refused(bench):
    bench = bench(new("a"))
    service = bench.service
    assert refusal(service.start({"releases": []})) == "INVALID_PLAN"
    assert refusal(service.start({"releases": ["x"]})) == "RELEASE_NOT_FOUND"
    assert refusal(service.dry_run({"releases": ["x"]})) == "RELEASE_NOT_FOUND"
    assert service.rollouts() == []


def test_what_there_is_not_is_not_found(bench):
    service = bench().service
    for order in (service.pause, service.resume, service.abort, service.rollback):
        assert refusal(order("r9")) == "ROLLOUT_NOT_FOUND"
    assert refusal(service.devices("r9")) == "ROLLOUT_NOT_FOUND"
    with pytest.raises(Refusal, match="r9"):
        service.get("r9")


def test_until_it_has_read_what_is_stored_it_does_nothing(bench):
    bench = bench(new("a"))
    bench.service.end()
    bench.signs.loaded = False
    bench.serve(None)
    assert not bench.service.ready
    with pytest.raises(StoreError):
        done(bench.service.start({"releases": [RELEASE.id]}))
    bench.signs.loaded = True
    bench.wait(6)
    assert bench.service.ready
    assert bench.service.loaded


# ---- what people say -----------------------------------------------------------------


def test_each_order_is_written_down_in_the_batch_that_does_it(bench):
    bench = bench(*fleet(3))
    service = bench.service

    def noted() -> bool:
        found = done(bench.store.get("audit", "1"))
        done(bench.store.delete("audit", "1"))
        return found is not None

    plan = {"releases": [RELEASE.id], "ratePerMinute": 1}
    id_ = done(service.start(plan, also=(NOTE,))).id
    assert noted()
    assert done(service.pause(id_, also=(NOTE,))).status.value == "paused"
    assert noted()
    assert done(service.resume(id_, also=(NOTE,))).status.value == "running"
    assert noted()
    bench.wait(1)
    (first,) = bench.signs.offered
    done(service.retry(id_, [], also=(NOTE,)))
    assert noted()
    assert done(service.abort(id_, also=(NOTE,))).status.value == "aborted"
    assert noted()
    assert bench.phases(id_)[first] != "skipped: aborted"
    for order in (service.pause, service.resume, service.abort):
        assert refusal(order(id_)) == "ROLLOUT_OVER"
    bench.wait(1000)
    assert bench.phases(id_)[first] == "confirmed"
    assert refusal(service.retry(id_, [first])) == "ROLLOUT_OVER"


def test_an_order_that_is_not_stored_is_not_obeyed(bench):
    bench = bench(*fleet(3))
    id_ = bench.start(ratePerMinute=1)
    bench.store.problem = StoreError("disk full")
    for order in (bench.service.pause, bench.service.abort):
        with pytest.raises(StoreError):
            done(order(id_))
    assert bench.status(id_) == "running"


def test_paused_it_offers_nothing(bench):
    bench = bench(*fleet(5))
    id_ = bench.start(ratePerMinute=1)
    done(bench.service.pause(id_))
    bench.restart()
    bench.wait(3600)
    assert len(bench.signs.offers) == 1
    assert bench.status(id_) == "paused"
    done(bench.service.resume(id_))
    bench.wait(600)
    assert len(bench.signs.offers) == 5


@pytest.mark.parametrize("device", [new("a"), old("a")])
def test_what_failed_is_offered_again_at_a_persons_word(bench, device):
    bench = bench(device, new("b"))
    bench.signs.bad = {"a"}
    id_ = bench.start(stages=[{"percent": 100, "successPercent": 0}])
    bench.wait(700)
    assert bench.phases(id_) == {"a": "failed: not_back", "b": "confirmed"}
    code = refusal(bench.service.retry(id_, ["b"]))
    assert code == "DEVICE_NOT_IN_ROLLOUT"
    bench.signs.bad.clear()
    bench.signs.see("a", connected_at=NOW + 700, introduced=not device.legacy)
    bench.wait(100)
    assert bench.signs.offered.count("a") == 1
    done(bench.service.retry(id_, ["a"]))
    bench.wait(1000)
    assert bench.signs.offered.count("a") == 2
    assert bench.phases(id_)["a"] == "confirmed"


def test_what_failed_before_is_not_offered_in_another_rollout_either(bench):
    bench = bench(new("a"))
    bench.signs.bad = {"a"}
    bench.start(stages=[{"percent": 100, "successPercent": 0, "soakS": 0}])
    bench.wait(700)
    bench.restart()
    bench.signs.see("a", connected_at=NOW + 700, introduced=True)
    second = bench.start()
    assert bench.phases(second) == {"a": "skipped: failed_before"}
    bench.signs.bad.clear()
    third = bench.start(again=True)
    bench.wait(1000)
    assert bench.phases(third) == {"a": "confirmed"}
    assert done(bench.store.list(PAST)) == ()


def test_what_an_old_device_was_given_is_remembered(bench):
    bench = bench(old("a"))
    bench.start()
    bench.wait(1000)
    bench.restart()
    assert bench.phases(bench.start()) == {"a": "skipped: current"}
    bench.signs.see("a", asked_at=NOW + 2000, md5="another")
    assert bench.phases(bench.start()) == {"a": "offered"}


def test_of_a_device_that_is_forgotten_nothing_is_kept(bench):
    bench = bench(old("a"))
    bench.start()
    bench.wait(1000)
    assert done(bench.store.get(PAST, "a")) is not None
    del bench.signs.table["a"]
    for tell in bench.signs.told:
        tell("a")
    bench.wait(1)
    assert done(bench.store.get(PAST, "a")) is None


# ---- several rollouts ----------------------------------------------------------------


def test_a_newer_rollout_takes_those_that_wait(bench):
    newer = release_of(3)
    bench = bench(new("a"), new("b", connected_at=None), releases=(RELEASE, newer))
    first = bench.start()
    bench.wait(0.5)
    second = bench.start(releases=[newer.id])
    assert bench.phases(first) == {"a": "offered", "b": "superseded"}
    assert bench.phases(second) == {"a": "pending", "b": "pending"}
    bench.signs.see("b", connected_at=NOW + 1)
    bench.wait(2000)
    assert bench.signs.offers[-1][1:] == ("a", newer.id)
    assert bench.phases(second) == {"a": "confirmed", "b": "confirmed"}
    assert bench.signs.offered.count("b") == 1
    assert [view.id for view in bench.service.rollouts()] == [second, first]


def test_an_older_release_takes_nobody_from_a_newer_one(bench):
    older = release_of(1, md5="x" * 32)
    bench = bench(new("b", build=0, connected_at=None), releases=(RELEASE, older))
    bench.start()
    second = bench.start(releases=[older.id])
    assert bench.phases(second) == {"b": "skipped: other_rollout"}


def test_who_was_taken_stays_taken_after_a_crash(bench):
    newer = release_of(3)
    bench = bench(new("b", connected_at=None), releases=(RELEASE, newer))
    first = bench.start()
    bench.store.dies_at = bench.store.writes + 4  # the one after it has begun
    done(bench.service.start({"releases": [newer.id]}))
    bench.restart()
    assert bench.phases(first) == {"b": "superseded"}


# ---- rolling back --------------------------------------------------------------------


def test_rolled_back_old_devices_get_what_they_ran(bench):
    before = release_of(1)
    bench = bench(
        new("a"), old("b"), old("c", version="own"), releases=(RELEASE, before)
    )
    id_ = bench.start()
    bench.wait(100)
    shown = done(bench.service.rollback(id_, dry=True))
    said = {one.device: (one.can, one.release, one.why) for one in shown.devices}
    assert said == {
        "a": ("impossible", "", "takes_no_lower_build"),
        "b": ("offered", before.id, ""),
        "c": ("impossible", "", "no_such_release"),
    }
    assert bench.status(id_) == "running"
    back = done(bench.service.rollback(id_, also=(NOTE,)))
    assert back.devices == shown.devices
    (child,) = back.rollouts
    assert bench.service.get(id_).undone_by == (child,)
    assert bench.status(id_) == "rolling_back"
    assert done(bench.store.get("audit", "1")) is not None
    assert refusal(bench.service.rollback(id_)) == "ROLLOUT_OVER"
    bench.wait(2000)
    assert bench.phases(child) == {"b": "confirmed"}
    assert bench.signs.offers[-1][1:] == ("b", before.id)
    assert bench.status(id_) == "aborted"


def test_what_has_ended_can_be_rolled_back(bench):
    before = release_of(1)
    bench = bench(old("b"), releases=(RELEASE, before))
    id_ = bench.start()
    bench.wait(1000)
    assert bench.status(id_) == "finished"
    (child,) = done(bench.service.rollback(id_)).rollouts
    bench.wait(1000)
    assert bench.phases(child) == {"b": "confirmed"}
    assert bench.status(id_) == "finished"
    bench.restart()
    assert bench.service.get(id_).undone_by == (child,)


def test_with_nothing_to_give_back_a_rollback_is_an_abort(bench):
    bench = bench(new("a"))
    id_ = bench.start()
    back = done(bench.service.rollback(id_))
    assert back.rollouts == ()
    assert bench.status(id_) == "aborted"


def test_a_rollback_that_died_before_it_began_is_over(bench):
    before = release_of(1)
    bench = bench(old("b"), releases=(RELEASE, before))
    id_ = bench.start()
    bench.wait(100)
    bench.store.dies_at = bench.store.writes + 2
    with pytest.raises(Died):
        done(bench.service.rollback(id_))
    bench.restart()
    bench.wait(1000)
    assert bench.status(id_) == "aborted"
    assert [view.id for view in bench.service.rollouts()] == [id_]


# ---- offers that are not sent --------------------------------------------------------


def test_a_device_that_has_just_gone_is_offered_it_later(bench):
    bench = bench(new("a"))
    bench.signs.refuse = "DEVICE_OFFLINE"
    id_ = bench.start()
    bench.wait(100)
    assert bench.phases(id_)["a"] in {"pending", "offered"}
    bench.signs.refuse = None
    bench.wait(1000)
    assert bench.phases(id_) == {"a": "confirmed"}
    assert done(bench.service.devices(id_))[0].tries == 1


def test_what_cannot_be_said_is_not_tried_again(bench):
    bench = bench(old("a"))
    bench.signs.refuse = "PUBLIC_URL_MISSING"
    id_ = bench.start()
    bench.wait(100)
    (state,) = done(bench.service.devices(id_))
    assert (state.why, state.said) == ("not_sent", "it cannot be said")


def test_who_may_no_longer_act_offers_nothing(bench):
    bench = bench(*fleet(3))
    bench.holds = False
    id_ = bench.start()
    bench.wait(100)
    assert bench.signs.offers == []
    bench.holds = True
    bench.wait(1000)
    assert bench.status(id_) == "finished"


# ---- the store -----------------------------------------------------------------------


def test_while_the_store_refuses_nothing_is_offered(bench):
    bench = bench(*fleet(6))
    id_ = bench.start(ratePerMinute=6)
    bench.wait(1)
    bench.store.problem = StoreError("disk full")
    bench.wait(3600)
    assert len(bench.signs.offers) == 1
    bench.store.problem = None
    bench.wait(3600)
    assert len(bench.signs.offers) == 6
    assert bench.status(id_) == "finished"
    assert {s.phase for s in bench.stored(id_).values()} == {Phase.CONFIRMED}


def test_while_the_store_stalls_one_write_is_under_way(bench):
    bench = bench(*fleet(6))
    bench.start(ratePerMinute=6)
    bench.wait(1)
    bench.store.stalled, before = Deferred(), bench.store.writes
    bench.wait(600)
    assert bench.store.writes <= before + 1
    assert len(bench.signs.offers) == 1
    stalled, bench.store.stalled = bench.store.stalled, None
    stalled.callback(None)
    bench.wait(3600)
    assert len(bench.signs.offers) == 6


def test_a_grant_that_is_not_stored_is_tried_again(bench):
    bench = bench(new("a"))
    bench.signs.problem = StoreError("disk full")
    id_ = bench.start()
    bench.wait(100)
    assert bench.signs.offers == []
    bench.signs.problem = None
    bench.wait(1000)
    assert bench.phases(id_) == {"a": "confirmed"}
    assert bench.signs.offered == ["a"]


def test_an_offer_that_was_paused_meanwhile_is_not_sent(bench):
    bench = bench(new("a"))
    granted: Deferred[None] = Deferred()

    async def grant(device: str, release: Release) -> str:
        await granted
        return ""

    bench.service._conductor._downloads.grant = grant
    id_ = bench.start()
    done(bench.service.pause(id_))
    granted.callback(None)
    assert bench.signs.offers == []
    assert bench.phases(id_) == {"a": "pending"}


def test_ended_while_the_store_refuses_it_gives_up(bench):
    bench = bench(new("a"))
    bench.start()
    bench.store.problem = StoreError("disk full")
    bench.wait(2)
    ended: list[object] = []
    bench.service.end().addBoth(ended.append)
    assert ended == [None]


def test_a_large_fleet_is_looked_at_in_slices(bench):
    bench = bench(*[new(f"d{n}", connected_at=None) for n in range(600)])
    id_ = bench.start(stages=[{"percent": 100, "successPercent": 0, "soakS": 0}])
    for device in bench.signs.table:
        bench.signs.see(device, connected_at=NOW + 1)
    bench.wait(1000)
    assert bench.service.get(id_).counts["confirmed"] == 600


def test_large_fleets_are_written_in_parts(bench):
    bench = bench(*fleet(1200))
    bench.start(ratePerMinute=1)
    assert bench.store.largest <= 501


def test_what_never_began_is_forgotten(bench):
    bench = bench(*fleet(600))
    bench.store.dies_at = bench.store.writes + 3
    with pytest.raises(Died):
        done(bench.service.start({"releases": [RELEASE.id]}))
    bench.restart()
    assert bench.service.rollouts() == []
    assert done(bench.store.list(ROLLOUT)) == ()
    assert done(bench.store.list(DEVICE)) == ()
    assert bench.signs.offers == []


@pytest.mark.parametrize("by_s", [-3600, 3600, 40 * 86_400])
def test_a_clock_that_is_set_fails_nobody(bench, by_s):
    bench = bench(*fleet(30))
    id_ = bench.start(stages=[{"count": 10, "soakS": 300}, {"percent": 100}])
    for _ in range(9):
        bench.wait(7)
        bench.signs.ahead_s += by_s
    bench.wait(5000)
    assert bench.status(id_) == "finished"
    assert bench.service.get(id_).counts["confirmed"] == 30
    assert len(bench.signs.offered) == 30


def test_of_those_that_have_ended_the_newest_are_kept(bench):
    bench = bench(new("a"), new("b", build=2))
    bench.signs.bad = {"a"}
    bench.start(stages=[{"percent": 100, "successPercent": 0, "soakS": 0}])
    bench.wait(1000)
    for _ in range(KEPT):
        bench.wait(1)
        newest = bench.start()
    assert bench.status(newest) == "finished"
    bench.wait(1)
    assert len(bench.service.rollouts()) == KEPT
    assert refusal(bench.service.devices("r1")) == "ROLLOUT_NOT_FOUND"
    assert not bench.stored("r1")
    assert bench.stored("r2")
    assert done(bench.store.get(ROLLOUT, "r1")) is None
    assert bench.signs.offered == ["a"], "what it failed with is still known"


def test_what_is_too_old_goes_at_the_next_start_if_the_process_dies_first(bench):
    bench = bench(new("a", build=2))
    for _ in range(KEPT):
        bench.wait(1)
        bench.start()
    bench.wait(1)
    bench.store.dies_at = bench.store.writes + 5
    with suppress(Died):
        bench.start()
    bench.restart()
    bench.wait(1)
    assert len(bench.service.rollouts()) == KEPT
    assert len(done(bench.store.list(ROLLOUT))) == KEPT
    assert len(done(bench.store.list(DEVICE))) == KEPT


def test_another_node_goes_on_and_the_first_one_offers_nothing_more(bench):
    bench = bench(*fleet(9))
    bench.service.end()
    bench.serve(Fence(-1, 1))
    id_ = bench.start(ratePerMinute=6)
    bench.wait(15)
    first = bench.service
    offered = len(bench.signs.offers)
    bench.serve(Fence(-1, 2))
    bench.wait(3600)
    assert sorted(bench.signs.offered) == sorted(bench.signs.table)
    assert bench.status(id_) == "finished"
    assert offered < 9
    first.end()


def test_a_store_that_cannot_be_read_at_first_is_read_later(bench):
    bench = bench(new("a"))
    id_ = bench.start(ratePerMinute=1)
    bench.die()
    bench.store.running = 0
    bench.serve(None)
    assert not bench.service.loaded
    bench.store.running = 1
    bench.wait(6)
    assert bench.status(id_) == "running"


@pytest.mark.parametrize("dies_after", [False, True])
@pytest.mark.parametrize("write", range(1, 40))
def test_killed_at_any_write_it_goes_on(bench, write, dies_after):
    bench = bench(*fleet(7))
    bench.signs.bad = {"d1"}
    counts = {"soakS": 30, "successPercent": 40}
    stages = [{"count": 2, **counts}, {"percent": 100, **counts}]
    plan = {"releases": [RELEASE.id], "stages": stages, "ratePerMinute": 60}
    bench.store.dies_at, bench.store.dies_after = write, dies_after
    with suppress(Died):
        done(bench.service.start(plan))
    for _ in range(200):
        if bench.store.writes >= write:
            break
        bench.wait(10)
    took = {*bench.signs.took}
    died = bench.store.writes >= write
    bench.store.dies_at = None
    bench.restart()
    views = bench.service.rollouts()
    if not views:
        assert took == set()
        return
    (view,) = views
    if view.stage == 0:
        assert len(took) <= 2
    for _ in range(60):
        bench.wait(120)
        view = bench.service.get(view.id)
        if view.stage == 0:
            assert len(bench.signs.took) <= 2
    assert died or write > 20
    assert bench.status(view.id) == "finished", bench.phases(view.id)
    phases = bench.phases(view.id)
    assert phases.pop("d1").startswith("failed")
    assert set(phases.values()) == {"confirmed"}
    assert bench.signs.offered.count("d1") <= 2
    assert all(bench.signs.offered.count(id_) <= 2 for id_ in phases)


# ---- news ----------------------------------------------------------------------------


def test_what_is_new_is_told_in_bundles(bench):
    bench = bench(*fleet(20))
    told: list[News] = []
    leave = bench.service.subscribe(told.append)
    id_ = bench.start()
    bench.wait(1)
    assert {news.rollout.id for news in told} == {id_}
    assert len(told) <= 2
    assert told[0].said[0].what == "stage"
    assert len({state.device for news in told for state in news.devices}) == 20
    bench.wait(3600)
    assert told[-1].said[-1].what == "finished"
    assert len(told) < 60
    leave()
    before = len(told)
    bench.start()
    bench.wait(2)
    assert len(told) == before


def test_a_subscriber_that_fails_is_dropped(bench, nothing_is_left_behind):
    bench = bench(new("a"))
    bench.service.subscribe(lambda _: 1 / 0)
    told: list[News] = []
    bench.service.subscribe(told.append)
    bench.start()
    bench.wait(1000)
    assert len(told) > 1
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()


def test_ended_it_has_no_timers_and_hears_nothing(bench):
    bench = bench(*fleet(3))
    bench.service.subscribe(lambda _: None)
    bench.start(ratePerMinute=1)
    bench.service.end()
    assert bench.signs.told == bench.signs.reports == bench.signs.fetches == []
    bench.clock.calls = [c for c in bench.clock.calls if c.func == bench.signs.fetch]
    assert bench.service.rollouts() == []
    stored = done(Typed(bench.store, ROLLOUT, Rollout).list())
    assert [each.value.status.value for each in stored] == ["running"]
