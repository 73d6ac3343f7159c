"""Conducts rollouts: tells each what happens, and does what comes of it."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Final

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from voicestatus.core import reasons
from voicestatus.core.agenda import SLACK_S
from voicestatus.core.eligibility import Facts
from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.release import Release
from voicestatus.core.rollout import (
    Effect,
    Offer,
    Probe,
    Run,
    Save,
    SaveRollout,
    Say,
    Show,
    Withdraw,
)
from voicestatus.core.rollout_state import (
    UNDER_WAY,
    DeviceState,
    Phase,
    Rollout,
    Status,
)
from voicestatus.devices.wire import OtaReport
from voicestatus.ota.downloads import Fetched
from voicestatus.ota.rollout_metrics import RolloutMetrics
from voicestatus.ota.rollout_news import Newsroom
from voicestatus.ota.rollout_ports import Catalogue, Devices, Downloads, Probes
from voicestatus.ota.rollout_records import NO_PAST, Past, Records, past_after
from voicestatus.ota.rollout_views import RolloutView, view_of, view_of_ended
from voicestatus.ota.writer import BATCH, Writer
from voicestatus.store.documents import Change, Documents, Fence
from voicestatus.tasks import Tasks

LOOK_AFTER_S: Final = 0.05
"""What is new about devices within it is looked at together."""
LONGEST_SLEEP_S: Final = 60.0
"""The wall clock may be set meanwhile."""
RETRY_AFTER_S: Final = 5.0
KEPT: Final = 100
"""Rollouts that have ended, the newest: each has a document for every device."""
JUMP_S: Final = 2.0
"""What the wall clock differs by from one that only runs: it was set."""
SLICE: Final = 250
"""Devices that are looked at in one turn of the reactor."""
LATER: Final = frozenset(
    {"DEVICE_NOT_FOUND", "DEVICE_OFFLINE", "NODE_UNREACHABLE", "RETURN_AWAITED"}
)
"""Why an offer was not sent that may be sent another time."""


class Conductor:
    """Owns the rollouts between `begin` and `end`.

    Nothing is offered before it is stored that it is offered.
    """

    _log = Logger()

    def __init__(
        self,
        documents: Documents,
        devices: Devices,
        catalogue: Catalogue,
        downloads: Downloads,
        probes: Probes,
        clock: IReactorTime,
        registry: CollectorRegistry,
        *,
        wall: Callable[[], float],
        holds: Callable[[], bool],
    ) -> None:
        """`holds` says whether this node may still act."""
        self._devices, self._catalogue = devices, catalogue
        self._downloads, self._probes = downloads, probes
        self._clock, self._wall, self._holds = clock, wall, holds
        self.records = Records(documents)
        self.writer = Writer(documents, clock, "rollouts")
        self.newsroom = Newsroom(clock, self.view)
        self._metrics = RolloutMetrics(registry)
        self._metrics.active.set_function(lambda: len(self.runs))
        for phase, gauge in self._metrics.devices.items():
            gauge.set_function(partial(self._count, phase))
        self._ahead_s = 0.0
        """How far the wall clock is ahead of one that only runs."""
        self.loaded = False
        """Whether this node conducts them, and has read what is stored."""
        self.runs: dict[str, Run] = {}
        """Those that are alive."""
        self.ended: dict[str, Rollout] = {}
        self.rolling_back: set[str] = set()
        """Those for which rollouts are being started."""
        self._pasts: dict[str, Past] = {}
        self._seen: dict[str, None] = {}
        self._look: IDelayedCall | None = None
        self._wake: IDelayedCall | None = None
        self._leaves: list[Callable[[], object]] = []
        self._asking = DeferredLock()
        """One device is probed at a time: the others wait here, and may be spared."""
        self._tasks = Tasks()

    # ---- its life ------------------------------------------------------------------

    def begin(self, fence: Fence | None) -> None:
        """Conduct the rollouts from now on."""
        self.writer.begin(fence)
        self._tasks.spawn("reading the rollouts", self._load())

    def end(self) -> Deferred[None]:
        """Stop at once; fires when nothing is under way any more."""
        for call in (self._look, self._wake):
            if call is not None:
                call.cancel()
        self._look = self._wake = None
        for leave in self._leaves:
            leave()
        self._leaves.clear()
        self._tasks.cancel()
        self.loaded = False
        for table in (self.runs, self.ended, self._pasts, self._seen):
            table.clear()
        self.newsroom.clear()
        return Deferred.fromCoroutine(self.writer.end())

    async def _load(self) -> None:
        while not (self._devices.loaded and self._catalogue.loaded):
            await deferLater(self._clock, LOOK_AFTER_S)
        while not self.loaded:
            try:
                await self._read()
            except StoreError as e:
                why = str(e)
                self._log.warn("the rollouts cannot be read yet: {why}", why=why)
                await deferLater(self._clock, RETRY_AFTER_S)

    async def _read(self) -> None:
        found, gone = await self.records.load()
        await self._delete(gone)
        self._pasts = found.pasts
        self._leaves = [
            self._devices.subscribe(self._saw),
            self._devices.subscribe_reports(self._report),
            self._downloads.subscribe(self._fetched),
        ]
        for rollout in sorted(found.rollouts, key=lambda one: one.created_at):
            if rollout.alive:
                states = found.states[rollout.id]
                self.runs[rollout.id] = self.make(rollout, states)
            else:
                self.ended[rollout.id] = rollout
        self._ahead_s = self._wall() - self._clock.seconds()
        self.loaded = True
        taken: set[str] = set()
        for run in reversed(tuple(self.runs.values())):
            waiting = [one.device for one in run.states() if one.phase is Phase.PENDING]
            self.perform(run, run.resumed(self.now(), taken))
            taken.update(waiting)
        self.settle_rollbacks()
        self._forget_oldest()

    def make(self, rollout: Rollout, states: Iterable[DeviceState]) -> Run:
        """Make what conducts one rollout."""
        releases = [*filter(None, map(self._catalogue.get, rollout.plan.releases))]
        return Run(rollout, states, releases, partial(self.facts, rollout.id))

    def add(self, run: Run, devices: Sequence[str]) -> None:
        """Begin a rollout that is stored; these devices wait for it."""
        for older in tuple(self.runs.values()):
            self.perform(older, older.supersede(devices, self.now()))
        self.runs[run.rollout.id] = run
        self.perform(run, run.began(self.now()))

    # ---- what happens --------------------------------------------------------------

    def now(self) -> float:
        """Return what the wall clock shows, when all know that it was set."""
        now = self._wall()
        by_s = now - self._clock.seconds() - self._ahead_s
        if self.loaded and abs(by_s) > JUMP_S:
            self._ahead_s += by_s
            self._log.warn("the clock was set by {by_s:.1f} s", by_s=by_s)
            for run in tuple(self.runs.values()):
                self.perform(run, run.clock_was_set(by_s, now))
        return now

    def _saw(self, device: str) -> None:
        if device in self._pasts and self._devices.look(device) is None:
            self._remember(device, NO_PAST)
        self._seen[device] = None
        if self._look is None:
            self._look = self._clock.callLater(LOOK_AFTER_S, self._look_at_them)

    def _look_at_them(self) -> None:
        self._look = None
        for device in [*islice(self._seen, SLICE)]:
            del self._seen[device]
            for run in tuple(self.runs.values()):
                self.perform(run, run.seen(device, self.now()))
        if self._seen:
            self._look = self._clock.callLater(0, self._look_at_them)

    def _report(self, device: str, report: OtaReport) -> None:
        for run in tuple(self.runs.values()):
            effects = run.reported(
                device,
                report.release,
                report.phase,
                self.now(),
                progress=report.progress,
                error=report.error,
            )
            self.perform(run, effects)

    def _fetched(self, fetched: Fetched) -> None:
        self._devices.prolong(fetched.device)
        for run in tuple(self.runs.values()):
            effects = run.fetched(
                fetched.device,
                fetched.release,
                fetched.sent_bytes,
                fetched.whole,
                self.now(),
            )
            self.perform(run, effects)

    def _tick(self) -> None:
        self._wake = None
        now = self.now()
        for run in tuple(self.runs.values()):
            at = run.wakes_at
            if at is not None and at <= now + SLACK_S:
                self.perform(run, run.tick(now))
        self._sleep()

    def _sleep(self) -> None:
        """See to it that `_tick` is called when it is time."""
        times = [at for run in self.runs.values() if (at := run.wakes_at) is not None]
        if not times:
            return
        after_s = min(max(0.0, min(times) - self.now()), LONGEST_SLEEP_S)
        if self._wake is not None:
            if self._wake.getTime() <= self._clock.seconds() + after_s:
                return
            self._wake.cancel()
        self._wake = self._clock.callLater(after_s, self._tick)

    # ---- what is done about it -----------------------------------------------------

    def perform(self, run: Run, effects: Iterable[Effect]) -> None:
        """Do what comes of something that happened."""
        for effect in effects:
            self._perform(run, effect)
        id_ = run.rollout.id
        if not run.rollout.alive and self.runs.pop(id_, None) is not None:
            self.ended[id_] = run.rollout
            self.settle_rollbacks()
            self._forget_oldest()
        if self.loaded:
            self._sleep()

    def _perform(self, run: Run, effect: Effect) -> None:
        id_ = run.rollout.id
        match effect:
            case Save(device):
                self._save(run, device)
            case SaveRollout():
                self.writer.mark(id_, lambda: self.records.rollout(run.rollout))
                self.newsroom.add(id_)
            case Show(device):
                self.newsroom.add(id_, run.state(device))
            case Offer(device, release):
                self.writer.then(partial(self._offer, run, device, release))
            case Withdraw(device):
                self.writer.then(partial(self._withdraw, run, device))
            case Probe(device):
                self._tasks.spawn("probing a device", self._probe(run, device))
            case Say():
                self._say(run, effect)

    def _save(self, run: Run, device: str) -> None:
        id_, state = run.rollout.id, run.state(device)
        if state is None:
            return
        name = id_, device
        # Made when it is written: what it is by then.
        self.writer.mark(
            name, lambda: self.records.device(id_, run.state(device) or state)
        )
        self.newsroom.add(id_, state)
        if state.phase not in {Phase.FETCHED, Phase.FAILED, Phase.CONFIRMED}:
            return
        if state.phase is Phase.FAILED and not state.forgiven:
            self._metrics.failures[state.why].inc()
        facts = self._devices.look(device)
        if facts is not None:
            past = self._pasts.get(device, NO_PAST)
            after = past_after(past, state, legacy=facts.legacy)
            if after != past:
                self._remember(device, after)

    def _remember(self, device: str, past: Past) -> None:
        if past == NO_PAST:
            self._pasts.pop(device, None)
        else:
            self._pasts[device] = past
        # By the past, not by the device: `clear` must not make it nothing.
        self.writer.mark(("", device), partial(self.records.past, device, past))

    async def _offer(self, run: Run, device: str, release: Release) -> None:
        if not self._may_send(run, device):
            self.perform(run, run.unsent(device, self.now()))
            return
        path = await self._downloads.grant(device, release)
        if not self._may_send(run, device):
            self.perform(run, run.unsent(device, self.now()))
            return
        try:
            await self._devices.offer(device, release, path)
        except Refusal as e:
            now = self.now()
            if e.code in LATER:
                self.perform(run, run.unsent(device, now))
            else:
                self.perform(run, run.refused(device, e.message, now))
            return
        self._metrics.offers.inc()
        self.perform(run, run.sent(device, self.now()))

    def _may_send(self, run: Run, device: str) -> bool:
        return self._holds() and run.may_send(device, self.now())

    async def _withdraw(self, run: Run, device: str) -> None:
        await self._downloads.withdraw(device)
        self.perform(run, run.withdrawn(device, self.now()))

    async def _probe(self, run: Run, device: str) -> None:
        async with self._asking:
            now = self.now()
            if not (self._holds() and run.may_ask(device, now)):
                self.perform(run, run.unasked(device, now))
                return
            self.perform(run, run.asked(device, now))
            try:
                await self._probes.probe(device)
            except (Refusal, StoreError) as e:
                why = str(e)
                self._log.info(
                    "device {device} was not probed: {why}", device=device, why=why
                )
        self._saw(device)

    def _say(self, run: Run, said: Say) -> None:
        id_ = run.rollout.id
        self.newsroom.say(id_, said)
        if said.what == "halted":
            self._metrics.halts[said.why].inc()
            self._log.critical(
                "rollout {rollout} halted in stage {stage}: {why}; failed: {count}",
                rollout=id_,
                stage=run.rollout.stage + 1,
                why=reasons.of_halt(said.why),
                count=run.tallies.failed,
            )
        else:
            self._log.info(
                "rollout {rollout}: {what}, stage {stage}",
                rollout=id_,
                what=said.what,
                stage=run.rollout.stage + 1,
            )

    def settle_rollbacks(self) -> None:
        """End what is rolled back when those that do it have ended."""
        for id_, run in tuple(self.runs.items()):
            waits = id_ in self.rolling_back
            waits = waits or any(one in self.runs for one in run.rollout.undone_by)
            if run.rollout.status is Status.ROLLING_BACK and not waits:
                self.perform(run, run.rolled_back(self.now()))

    def _forget_oldest(self) -> None:
        """Let go of those that ended long ago; what devices failed with is kept."""
        ended = sorted(self.ended.values(), key=lambda one: one.ended_at or 0)
        for rollout in ended[:-KEPT]:
            del self.ended[rollout.id]
            self.writer.then(partial(self._forget, rollout.id))

    async def _forget(self, id_: str) -> None:
        await self._delete(await self.records.deleting(id_))

    async def _delete(self, changes: Sequence[Change]) -> None:
        for start in range(0, len(changes), BATCH):
            await self.writer.write(*changes[start : start + BATCH])

    # ---- what is known -------------------------------------------------------------

    def facts(self, rollout: str, device: str) -> Facts | None:
        """Return what is known of a device, for one of the rollouts."""
        facts = self._devices.look(device)
        if facts is None:
            return None
        past = self._pasts.get(device, NO_PAST)
        told = facts.asked_at is not None and facts.asked_at >= past.at
        others = [run for id_, run in self.runs.items() if id_ != rollout]
        states = [run.state(device) for run in others]
        wanted = [run.wants(device) for run in others]
        return dataclasses.replace(
            facts,
            failed=frozenset(past.failed),
            presumed="" if told or not facts.legacy else past.runs,
            busy=any(state and state.phase in UNDER_WAY for state in states),
            rival=max((one.build for one in wanted if one), default=None),
        )

    def view(self, id_: str) -> RolloutView | None:
        if (run := self.runs.get(id_)) is not None:
            return view_of(run)
        ended = self.ended.get(id_)
        return None if ended is None else view_of_ended(ended)

    def _count(self, phase: Phase) -> int:
        return sum(run.tallies.phases[phase] for run in self.runs.values())
