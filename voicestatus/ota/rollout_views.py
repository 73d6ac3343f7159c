"""Rollouts as the admin side shows them. JSON in camelCase, times in Unix seconds."""

from collections.abc import Mapping

from msgspec import Struct

from voicestatus.core.plan import Plan
from voicestatus.core.rollback import Undo
from voicestatus.core.rollout import Run, Say
from voicestatus.core.rollout_state import DeviceState, Rollout, Status, Tally


class StageView(Struct, frozen=True, rename="camel"):
    """One stage, and what became of the devices that it added."""

    size: int
    """How many devices may be touched in all when it is full."""
    touched: int
    confirmed: int
    failed: int
    """Without those that were forgiven."""


class RolloutView(Struct, frozen=True, rename="camel"):
    """A rollout, and how far it is."""

    id: str
    name: str
    status: Status
    why: str
    """Which limit halted it: `stage`, `percent` or `count`; else empty."""
    failures: tuple[str, ...]
    """The devices that halted it, a hundred at most."""
    created_at: float
    ended_at: float | None
    stage: int
    """Which of `stages` it is in, from 0."""
    soak_until: float | None
    stages: tuple[StageView, ...]
    counts: Mapping[str, int]
    """How many devices are in which phase."""
    undone_by: tuple[str, ...]
    plan: Plan


class RolledBack(Struct, frozen=True):
    """What a rollback does, or would do."""

    rollouts: tuple[str, ...]
    """The rollouts that were started for it."""
    devices: tuple[Undo, ...]


class News(Struct, frozen=True):
    """What is new of one rollout."""

    rollout: RolloutView
    devices: tuple[DeviceState, ...]
    """Those whose state is new."""
    said: tuple[Say, ...]


def view_of(run: Run) -> RolloutView:
    """Show a rollout that is alive."""
    return _view(run.rollout, run.counts, run.tallies.picture())


def view_of_ended(rollout: Rollout) -> RolloutView:
    return _view(rollout, rollout.counts, rollout.tallies)


def _view(
    rollout: Rollout, counts: Mapping[str, int], tallies: tuple[Tally, ...]
) -> RolloutView:
    return RolloutView(
        id=rollout.id,
        name=rollout.plan.name,
        status=rollout.status,
        why=rollout.why,
        failures=rollout.failures,
        created_at=rollout.created_at,
        ended_at=rollout.ended_at,
        stage=rollout.stage,
        soak_until=rollout.soak_until,
        stages=tuple(
            StageView(size, tally.touched, tally.confirmed, tally.failed)
            for size, tally in zip(rollout.sizes, tallies, strict=True)
        ),
        counts=counts,
        undone_by=rollout.undone_by,
        plan=rollout.plan,
    )
