"""The rollouts: what an admin asks of them, and what other parts need to know."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from voicestatus.core import course
from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.plan import Plan, Stage, Target, parse
from voicestatus.core.release import Release
from voicestatus.core.roll import Preview, Roll
from voicestatus.core.rollback import Undo, undo
from voicestatus.core.rollout import Effect, Run
from voicestatus.core.rollout_state import DeviceState, Phase, Rollout, Status
from voicestatus.ota.conductor import Conductor
from voicestatus.ota.rollout_ports import Catalogue, Devices, Downloads, Probes
from voicestatus.ota.rollout_views import (
    News,
    RolledBack,
    RolloutView,
    view_of,
    view_of_ended,
)
from voicestatus.ota.writer import BATCH
from voicestatus.store.documents import Change, Documents, Fence

SLICE: Final = 250
"""Devices that are judged in one turn of the reactor."""


class Rollouts:
    """The rollouts, those that are alive and those that have ended.

    One node alone conducts them, between `begin` and `end`.
    """

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
        make_id: Callable[[], str],
        holds: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take `make_id`, which returns what no rollout is called yet.

        `holds` says whether this node may still act.
        """
        self._documents, self._devices, self._catalogue = documents, devices, catalogue
        self._wall, self._make_id = wall, make_id
        self._conductor = Conductor(
            documents,
            devices,
            catalogue,
            downloads,
            probes,
            clock,
            registry,
            wall=wall,
            holds=holds,
        )
        self._records, self._writer = self._conductor.records, self._conductor.writer
        self._starting = DeferredLock()

    # ---- its life ------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether it could go on where another node was."""
        return self._devices.loaded and self._catalogue.loaded

    @property
    def loaded(self) -> bool:
        """Whether this node conducts them, and has read what is stored."""
        return self._conductor.loaded

    @property
    def busy(self) -> bool:
        """Whether a rollout is alive; also while that is not known."""
        return not self.loaded or bool(self._conductor.runs)

    def begin(self, fence: Fence | None) -> None:
        """Conduct the rollouts from now on."""
        self._conductor.begin(fence)

    def end(self) -> Deferred[None]:
        """Stop at once; fires when nothing is under way any more."""
        return self._conductor.end()

    # ---- for the admin side: reading -----------------------------------------------

    def rollouts(self) -> list[RolloutView]:
        """Return all, the newest first."""
        views = [*map(view_of, self._conductor.runs.values())]
        views += map(view_of_ended, self._conductor.ended.values())
        return sorted(views, key=lambda view: (-view.created_at, view.id))

    def get(self, id_: str) -> RolloutView:
        """:raises Refusal: `ROLLOUT_NOT_FOUND`."""
        self._refuse_until_loaded()
        view = self._conductor.view(id_)
        if view is None:
            raise _not_found(id_)
        return view

    async def devices(
        self, id_: str, phase: Phase | None = None
    ) -> tuple[DeviceState, ...]:
        """Return the devices of a rollout by id, all or those that are so far.

        :raises Refusal: `ROLLOUT_NOT_FOUND`.
        """
        self.get(id_)
        run = self._conductor.runs.get(id_)
        if run is None:
            states: Iterable[DeviceState] = await self._records.states(id_)
        else:
            states = sorted(run.states(), key=lambda state: state.device)
        return tuple(state for state in states if phase in {None, state.phase})

    async def dry_run(self, plan: object) -> Preview:
        """Say who would be updated in which stage, and who skipped and why.

        :raises Refusal: `INVALID_PLAN`, `RELEASE_NOT_FOUND`.
        """
        self._refuse_until_loaded()
        parsed = _plan_of(plan)
        return (await self._roll(parsed, self._named(parsed))).preview()

    def subscribe(self, tell: Callable[[News], object]) -> Callable[[], object]:
        """Tell what is new of each rollout, twice a second at most."""
        return self._conductor.newsroom.subscribe(tell)

    # ---- for the admin side: writing -----------------------------------------------

    async def start(
        self, plan: object, *, also: tuple[Change, ...] = ()
    ) -> RolloutView:
        """Begin a rollout: `plan` is a Plan, or one as JSON has it.

        :raises Refusal: `INVALID_PLAN`, `RELEASE_NOT_FOUND`.
        """
        self._refuse_until_loaded()
        return await self._start(_plan_of(plan), self._make_id(), also)

    async def pause(self, id_: str, *, also: tuple[Change, ...] = ()) -> RolloutView:
        """Offer nothing more for now; devices that were offered it go on.

        :raises Refusal: `ROLLOUT_NOT_FOUND`, `ROLLOUT_OVER`.
        """
        run = self._alive(id_)
        return await self._order(run, Status.PAUSED, run.pause, also)

    async def resume(self, id_: str, *, also: tuple[Change, ...] = ()) -> RolloutView:
        """Go on, also after it has halted; its failures are forgiven then.

        :raises Refusal: `ROLLOUT_NOT_FOUND`, `ROLLOUT_OVER`.
        """
        run = self._alive(id_)
        return await self._order(run, Status.RUNNING, run.resume, also)

    async def abort(self, id_: str, *, also: tuple[Change, ...] = ()) -> RolloutView:
        """Offer nothing more for good.

        :raises Refusal: `ROLLOUT_NOT_FOUND`, `ROLLOUT_OVER`.
        """
        run = self._alive(id_)
        return await self._order(run, Status.ABORTED, run.abort, also)

    async def retry(
        self, id_: str, devices: Sequence[str], *, also: tuple[Change, ...] = ()
    ) -> RolloutView:
        """Give devices that failed, or were skipped, another chance.

        :raises Refusal: `ROLLOUT_NOT_FOUND`, `ROLLOUT_OVER`, `DEVICE_NOT_IN_ROLLOUT`
            (of the first that neither failed nor was skipped in it).
        """
        run = self._alive(id_)
        changes: list[Change] = []
        for device in devices:
            state = run.state(device)
            if state is None or state.phase not in {Phase.FAILED, Phase.SKIPPED}:
                text = f"device {device} has not failed in rollout {id_}"
                raise Refusal("DEVICE_NOT_IN_ROLLOUT", text, id=device)
            step = course.anew(state, self._wall())
            changes.append(self._records.device(id_, step.state))

        def retried() -> None:
            self._conductor.perform(run, run.retry(devices, self._conductor.now()))

        await self._writer.write(*changes, *also, done=retried)
        return view_of(run)

    async def rollback(
        self, id_: str, *, dry: bool = False, also: tuple[Change, ...] = ()
    ) -> RolledBack:
        """Abort it, and give back what devices ran before, where they can take it.

        It may have ended, too. `dry`: only say what would be done.

        :raises Refusal: `ROLLOUT_NOT_FOUND`, `ROLLOUT_OVER` (that is under way).
        """
        before = self.get(id_)
        if any(one in self._conductor.runs for one in before.undone_by):
            text = f"rollout {id_} is being rolled back"
            raise Refusal("ROLLOUT_OVER", text, id=id_)
        releases = self._catalogue.releases()
        undos = tuple(
            undo(state, self._devices.look(state.device), releases)
            for state in await self.devices(id_)
            if state.stage is not None
        )
        given = sorted({one.release for one in undos if one.can == "offered"})
        if dry:
            return RolledBack((), undos)
        rollouts = tuple(self._make_id() for _ in given)
        self._conductor.rolling_back.add(id_)
        try:
            await self._undo_by(id_, (*before.undone_by, *rollouts), also)
            for rollout, release in zip(rollouts, given, strict=True):
                await self._start(_plan_back(before.plan, release, undos), rollout, ())
        finally:
            self._conductor.rolling_back.discard(id_)
            self._conductor.settle_rollbacks()
        return RolledBack(rollouts, undos)

    async def _undo_by(
        self, id_: str, rollouts: tuple[str, ...], also: tuple[Change, ...]
    ) -> None:
        run = self._conductor.runs.get(id_)
        if run is not None:
            abort = partial(run.abort, undone_by=rollouts)
            status = Status.ROLLING_BACK if rollouts else Status.ABORTED
            await self._order(run, status, abort, also)
        else:
            ended = replace(self._conductor.ended[id_], undone_by=rollouts)
            await self._writer.write(self._records.rollout(ended), *also)
            self._conductor.ended[id_] = ended
            self._conductor.newsroom.add(id_)

    async def _order(
        self,
        run: Run,
        status: Status,
        act: Callable[[float], list[Effect]],
        also: tuple[Change, ...],
    ) -> RolloutView:
        """Do what a person wants: first in the store, then here."""
        told = replace(run.rollout, status=status)

        def done() -> None:
            self._conductor.perform(run, act(self._conductor.now()))

        await self._writer.write(self._records.rollout(told), *also, done=done)
        return view_of(run)

    # ---- for the others ------------------------------------------------------------

    def assigned(self, device: str) -> Release | None:
        """Return what a device may fetch now."""
        found = (run.release_for(device) for run in self._conductor.runs.values())
        return next((release for release in found if release is not None), None)

    def needed(self, release: str) -> bool:
        """Whether a rollout goes on with a release; also while that is not known."""
        if not self.loaded:
            return True
        runs = self._conductor.runs.values()
        return any(release in run.rollout.plan.releases for run in runs)

    # ---- beginning one -------------------------------------------------------------

    def _named(self, plan: Plan) -> list[Release]:
        releases = []
        for id_ in plan.releases:
            if (release := self._catalogue.get(id_)) is None:
                text = f"there is no release {id_}"
                raise Refusal("RELEASE_NOT_FOUND", text, id=id_)
            releases.append(release)
        return releases

    async def _roll(self, plan: Plan, releases: Sequence[Release]) -> Roll:
        roll = Roll(plan, releases)
        for n, id_ in enumerate(self._devices.ids(), 1):
            facts = self._conductor.facts("", id_)
            if facts is not None:
                roll.take(facts, self._wall())
            if n % SLICE == 0:
                await self._documents.pause()
        return roll

    async def _start(
        self, plan: Plan, id_: str, also: tuple[Change, ...]
    ) -> RolloutView:
        async with self._starting:  # two at once would not know of each other
            roll = await self._roll(plan, self._named(plan))
            waiting = roll.waiting()
            states = [*waiting, *roll.skipped()]
            rollout = Rollout(
                id=id_,
                plan=plan,
                created_at=self._wall(),
                sizes=plan.sizes(len(waiting)),
                enlisted=False,
            )
            await self._writer.write(self._records.rollout(rollout))
            for part in _parts(states):
                await self._writer.write(*map(partial(self._records.device, id_), part))
            rollout = replace(rollout, enlisted=True)
            run = self._conductor.make(rollout, states)

            ids = [state.device for state in waiting]
            await self._writer.write(
                self._records.rollout(rollout),
                *also,
                done=partial(self._conductor.add, run, ids),
            )
        return view_of(run)

    # ---- small things --------------------------------------------------------------

    def _alive(self, id_: str) -> Run:
        self.get(id_)
        run = self._conductor.runs.get(id_)
        if run is None or run.rollout.status in _OVER:
            raise _over(id_)
        return run

    def _refuse_until_loaded(self) -> None:
        if not self.loaded:
            raise StoreError("the rollouts are not read yet")


_OVER: Final = frozenset({Status.ABORTED, Status.ROLLING_BACK, Status.FINISHED})


def _plan_of(plan: object) -> Plan:
    return plan if isinstance(plan, Plan) else parse(plan)


def _plan_back(plan: Plan, release: str, undos: Iterable[Undo]) -> Plan:
    """Return the plan to give a release back to those that ran it."""
    ids = tuple(one.device for one in undos if one.release == release)
    return replace(
        plan,
        name=f"back from {plan.name}"[:64],
        releases=(release,),
        target=Target(ids=ids),
        stages=(Stage(percent=100),),
        again=True,
    )


def _parts(states: Sequence[DeviceState]) -> Iterator[Sequence[DeviceState]]:
    for start in range(0, len(states), BATCH):
        yield states[start : start + BATCH]


def _not_found(id_: str) -> Refusal:
    return Refusal("ROLLOUT_NOT_FOUND", f"there is no rollout {id_}", id=id_)


def _over(id_: str) -> Refusal:
    return Refusal("ROLLOUT_OVER", f"rollout {id_} is over", id=id_)
