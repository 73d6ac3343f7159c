"""Rollouts over fleets at random: faults, restarts, pauses, at any moment."""

from collections import deque
from dataclasses import replace

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from voicestatus.core.chip import Chip
from voicestatus.core.eligibility import CAN_UPDATE, Facts
from voicestatus.core.plan import Gate, HaltAt, Limits, Plan, Stage, Target, Window
from voicestatus.core.release import Channel, Release
from voicestatus.core.roll import Roll
from voicestatus.core.rollout import (
    Offer,
    Probe,
    Run,
    Save,
    SaveRollout,
    Withdraw,
)
from voicestatus.core.rollout_state import (
    UNDER_WAY,
    DeviceState,
    Phase,
    Rollout,
    Status,
)

NOON = 1_800_014_400.0  # in UTC
LIMITS = Limits(answer_s=20, download_s=60, back_s=60)
GATE = Gate(stay_s=10, reconnects=2)


def release_of(chip: Chip) -> Release:
    return Release(
        id=f"{chip.title}-2-0",
        chip=chip,
        board="",
        version="2.0",
        build=2,
        min_build=0,
        floor=0,
        not_after=0,
        size_bytes=1000,
        sha256="",
        manifest="",
        md5=f"new {chip.title}",
        channel=Channel.STABLE,
        legacy=True,
        added_at=0.0,
    )


RELEASES = [release_of(Chip.ESP32), release_of(Chip.ESP8266)]


class Device:
    """A device: what is known of it, and what it really does."""

    def __init__(self, facts: Facts, fate: str) -> None:
        self.facts, self.fate = facts, fate
        self.told: Release | None = None
        """What it was offered."""
        self.granted = False
        self.took = False
        """Whether it ever had the image, or part of it."""
        self.image: Release | None = None
        """What it has whole, and will start."""
        self.real = facts.build
        """The build that it runs."""

    @property
    def dead(self) -> bool:
        return self.took and self.fate == "bricks" and self.image is None


class World:
    """The fleet, the storage, and the service between them and the machine."""

    def __init__(self, plan: Plan, devices: list[Device], now: float) -> None:
        self.now, self.plan = now, plan
        self.devices = {device.facts.id: device for device in devices}
        self.queue: deque[object] = deque()
        self.offers: list[tuple[float, str]] = []
        self.retried: set[str] = set()
        roll = Roll(plan, RELEASES)
        for device in devices:
            roll.take(device.facts, now)
        states = [*roll.waiting(), *roll.skipped()]
        sizes = plan.sizes(len(roll.waiting()))
        rollout = Rollout(id="r", plan=plan, created_at=now, sizes=sizes)
        self.stored_rollout = msgspec.json.encode(rollout)
        self.stored = {s.device: msgspec.json.encode(s) for s in states}
        self.failed: set[str] = set()
        """As far as it is stored."""
        self.run = Run(rollout, states, RELEASES, self.look)
        self.queue += self.run.began(now)

    def look(self, id_: str) -> Facts:
        return self.devices[id_].facts

    def restart(self) -> None:
        """Lose all that is not stored, and begin again from that."""
        self.queue.clear()
        rollout = msgspec.json.decode(self.stored_rollout, type=Rollout)
        states = [
            msgspec.json.decode(body, type=DeviceState) for body in self.stored.values()
        ]
        if not rollout.alive:
            return
        self.run = Run(rollout, states, RELEASES, self.look)
        self.queue += self.run.resumed(self.now)

    def perform(self) -> None:
        """Do the next of what is to be done."""
        match self.queue.popleft():
            case Save(device):
                state = self.run.state(device)
                self.stored[device] = msgspec.json.encode(state)
                if state.phase is Phase.FAILED:
                    self.failed.add(device)
                    self.retried.discard(device)
            case SaveRollout():
                self.stored_rollout = msgspec.json.encode(self.run.rollout)
            case Offer(device, release):
                self.offer(self.devices[device], release)
            case Withdraw(device):
                self.devices[device].granted = False
                self.queue += self.run.withdrawn(device, self.now)
            case Probe(device) if self.run.may_ask(device, self.now):
                self.queue += self.run.asked(device, self.now)
                self.probe(self.devices[device])
            case Probe(device):
                self.queue += self.run.unasked(device, self.now)

    def settle(self) -> None:
        while self.queue:
            self.perform()

    def offer(self, device: Device, release: Release) -> None:
        id_ = device.facts.id
        if not self.run.may_send(id_, self.now) or not device.facts.connected:
            self.queue += self.run.unsent(id_, self.now)
            return
        assert id_ not in self.failed - self.retried, "what failed is not offered again"
        assert self.run.rollout.status is Status.RUNNING
        assert device.facts.chip == release.chip.title
        assert not self.plan.target.tags or "lamp" in device.facts.tags
        if self.plan.windows:
            assert (self.now - NOON) % 86_400 < 1800, "only in a window"
        self.offers.append((self.now, id_))
        device.granted = True
        if device.fate != "deaf":
            device.told = release
        self.queue += self.run.sent(id_, self.now)

    def probe(self, device: Device) -> None:
        if device.facts.connected and not device.dead:
            md5 = "" if device.real != 2 else f"new {device.facts.chip}"
            self.change(device, md5=md5, asked_at=self.now)

    def change(self, device: Device, **changes: object) -> None:
        device.facts = replace(device.facts, **changes)
        self.queue += self.run.seen(device.facts.id, self.now)

    # ---- what devices do -----------------------------------------------------------

    def leave(self, device: Device) -> None:
        if device.facts.connected:
            device.told = device.told if device.facts.legacy else None
            self.change(device, connected_at=None, introduced=False)

    def come(self, device: Device) -> None:
        """Connect, with whatever it runs now."""
        if device.facts.connected or device.dead:
            return
        boot = device.facts.boot
        if device.image is not None:
            device.image, device.real = None, 2
            boot = "trial"
            if device.fate == "bricks":
                return
            if device.fate == "rolls back":
                boot, device.real = "rollback", 1
        if device.facts.legacy:
            self.change(device, connected_at=self.now)
        else:
            self.change(device, connected_at=self.now)
            self.change(device, introduced=True, build=device.real, boot=boot)

    def act(self, device: Device) -> None:
        """Go on with an update."""
        release = device.told
        if release is None:
            return
        id_ = device.facts.id
        if device.facts.legacy and device.facts.connected:
            self.leave(device)
            return
        if not device.granted:
            device.told = None
            return
        if not device.took or self.run.state(id_).phase is Phase.OFFERED:
            device.took = True
            self.queue += self.run.fetched(id_, release.id, 0, False, self.now)
            return
        device.told = None
        if device.fate == "loses power":
            self.leave(device)
            return
        device.image, device.granted = release, False
        self.queue += self.run.fetched(id_, release.id, 1000, True, self.now)
        self.leave(device)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.queue += self.run.tick(self.now)

    @property
    def touched(self) -> int:
        return sum(one.took or one.granted for one in self.devices.values())


FATES = ["fine", "fine", "fine", "deaf", "bricks", "rolls back", "loses power"]


@st.composite
def fleets(draw: st.DrawFn) -> list[Device]:
    bad = draw(st.booleans())
    devices = []
    for n in range(draw(st.integers(1, 9))):
        legacy = draw(st.booleans())
        facts = Facts(
            id=f"d{n}",
            tags=draw(st.sampled_from([(), ("lamp",)])),
            legacy=legacy,
            chip=draw(st.sampled_from(["esp32", "esp8266", "esp32c3"])),
            build=None if legacy else draw(st.sampled_from([1, 1, 2])),
            caps=() if legacy else (CAN_UPDATE,),
            connected_at=draw(st.sampled_from([None, NOON - 50])),
            introduced=not legacy,
        )
        fate = "bricks" if bad else draw(st.sampled_from(FATES))
        devices.append(Device(facts, fate))
    return devices


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    percents = [Stage(percent=p, soak_s=s) for p in (20, 50, 100) for s in (0, 30)]
    counts = [Stage(count=n, success_percent=p) for n in (1, 2) for p in (0, 50, 100)]
    stages = [draw(st.sampled_from(counts)), draw(st.sampled_from(percents))]
    if draw(st.booleans()):
        stages.append(Stage(percent=100, soak_s=0, success_percent=50))
    window = Window(from_="12:00", to="12:30", tz="UTC")
    return Plan(
        releases=tuple(release.id for release in RELEASES),
        target=Target(tags=draw(st.sampled_from([(), ("lamp",)]))),
        stages=tuple(stages),
        rate_per_minute=draw(st.sampled_from([3, 60, 6000])),
        at_once=draw(st.sampled_from([1, 3, 100])),
        windows=draw(st.sampled_from([(), (window,)])),
        halt_at=HaltAt(
            percent=draw(st.sampled_from([None, 20.0])),
            count=draw(st.sampled_from([None, 1, 3])),
        ),
        limits=LIMITS,
        gate=GATE,
        probe=draw(st.booleans()),
    )


class RolloutMachine(RuleBasedStateMachine):
    @initialize(plan=plans(), fleet=fleets())
    def begin(self, plan, fleet):
        self.world = World(plan, fleet, NOON)

    @property
    def run(self) -> Run:
        return self.world.run

    def device(self, n: int) -> Device:
        devices = list(self.world.devices.values())
        return devices[n % len(devices)]

    @precondition(lambda self: self.world.queue)
    @rule(most=st.integers(1, 9))
    def something_is_done(self, most):
        for _ in range(most):
            if self.world.queue:
                self.world.perform()

    @rule()
    def all_is_done(self):
        self.world.settle()

    @rule(seconds=st.sampled_from([0.1, 1, 11, 31, 61, 300, 3600]))
    def time_goes_by(self, seconds):
        self.world.tick(seconds)

    @rule()
    def it_wakes(self):
        if (at := self.run.wakes_at) is not None:
            self.world.tick(max(0.0, min(at - self.world.now, 86_400.0)))

    @rule(n=st.integers(0, 8))
    def a_device_acts(self, n):
        self.world.act(self.device(n))

    @rule()
    def all_devices_act(self):
        for device in self.world.devices.values():
            self.world.act(device)

    @rule(n=st.integers(0, 8))
    def a_device_leaves(self, n):
        self.world.leave(self.device(n))

    @rule(n=st.integers(0, 8))
    def a_device_comes(self, n):
        self.world.come(self.device(n))

    @rule(n=st.integers(0, 8), phase=st.sampled_from(["downloading", "failed", "?"]))
    def a_device_reports(self, n, phase):
        device = self.device(n)
        if device.told is not None and not device.facts.legacy and device.took:
            id_ = device.facts.id
            self.world.queue += self.run.reported(
                id_, device.told.id, phase, self.world.now, progress=50, error="why"
            )

    @rule(by_s=st.sampled_from([-86_400, -3600, -10, 10, 3600]))
    def the_clock_is_set(self, by_s):
        self.world.now += by_s
        self.world.offers = [(at + by_s, id_) for at, id_ in self.world.offers]
        self.world.queue += self.run.clock_was_set(by_s, self.world.now)

    @rule()
    def the_server_dies(self):
        for device in self.world.devices.values():
            if device.facts.connected:
                device.facts = replace(
                    device.facts, connected_at=None, introduced=False
                )
        self.world.restart()

    @rule()
    def another_node_takes_over(self):
        self.world.restart()

    @rule()
    def somebody_pauses_it(self):
        if self.run.rollout.alive:
            self.world.queue += self.run.pause(self.world.now)

    @rule()
    def somebody_resumes_it(self):
        self.world.queue += self.run.resume(self.world.now)

    @rule()
    def somebody_aborts_it(self):
        if self.world.now > NOON + 3600 and self.run.rollout.alive:
            self.world.queue += self.run.abort(self.world.now)

    @rule(n=st.integers(0, 8))
    def somebody_wants_a_retry(self, n):
        device = self.device(n)
        state = self.run.state(device.facts.id)
        if self.run.rollout.alive and state is not None:
            if state.phase in {Phase.FAILED, Phase.SKIPPED}:
                # A person sees to it first.
                device.fate = "fine"
                self.world.retried.add(device.facts.id)
            self.world.queue += self.run.retry([device.facts.id], self.world.now)

    # ---- what always holds ---------------------------------------------------------

    @invariant()
    def no_more_are_touched_than_the_stage_holds(self):
        rollout = self.run.rollout
        if not self.world.plan.stages[rollout.stage].whole:
            assert self.world.touched <= rollout.sizes[rollout.stage]

    @invariant()
    def no_minute_has_more_offers_than_it_may(self):
        times = [at for at, _ in self.world.offers]
        most = self.world.plan.rate_per_minute
        for first, last in zip(times, times[most:], strict=False):
            assert last - first >= 60 - 0.1

    @invariant()
    def it_does_not_run_past_a_limit(self):
        run, plan = self.run, self.world.plan
        if run.rollout.status is not Status.RUNNING:
            return
        failed = [s for s in run.states() if s.phase is Phase.FAILED and not s.forgiven]
        assert plan.halt_at.count is None or len(failed) < plan.halt_at.count
        for n, stage in enumerate(plan.stages):
            mine = [state for state in run.states() if state.stage == n]
            adds = max(
                run.rollout.sizes[n]
                - sum(s.stage is not None and s.stage < n for s in run.states()),
                len(mine),
            )
            lost = sum(state in failed for state in mine)
            assert adds - lost >= adds * stage.success_percent / 100 - 1e-6

    @invariant()
    def what_ended_has_a_reason(self):
        for state in self.run.states():
            if state.phase in {Phase.FAILED, Phase.SKIPPED}:
                assert state.why
            if not self.run.rollout.alive:
                assert state.phase not in {Phase.PENDING, *UNDER_WAY}

    @invariant()
    def it_never_sleeps_with_work_to_do(self):
        run = self.run
        if run.tallies.under_way and not self.world.queue:
            assert run.wakes_at is not None

    def teardown(self):
        """Let all come, and all limits pass: every device comes to its end."""
        if not hasattr(self, "world"):
            return
        world = self.world
        for _ in range(3000):
            world.settle()
            if not world.run.rollout.alive:
                break
            if world.run.rollout.status in {Status.PAUSED, Status.HALTED}:
                world.queue += world.run.resume(world.now)
            for device in world.devices.values():
                world.act(device)
                world.settle()
                if device.told is None:
                    world.come(device)
            world.settle()
            self.no_more_are_touched_than_the_stage_holds()
            at = world.run.wakes_at
            world.tick(1.0 if at is None else max(0.01, min(at - world.now, 3600.0)))
        assert not world.run.rollout.alive, [*world.run.states()]
        self.what_ended_has_a_reason()
        self.no_minute_has_more_offers_than_it_may()
        for state in world.run.states():
            device = world.devices[state.device]
            if state.phase is Phase.CONFIRMED and not device.facts.legacy:
                assert device.real == 2


RolloutMachine.TestCase.settings = settings(stateful_step_count=40, deadline=None)
TestRollouts = RolloutMachine.TestCase
