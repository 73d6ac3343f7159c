"""Rollouts as the admin side shows them, as JSON types."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from voicestatus.core import reasons
from voicestatus.core.plan import Plan
from voicestatus.core.roll import Preview
from voicestatus.core.rollback import Undo
from voicestatus.core.rollout_state import DeviceState, Phase
from voicestatus.ota.rollout_views import RolledBack as Undone
from voicestatus.ota.rollout_views import RolloutView
from voicestatus.web.views import at

MOST_NAMED = 100
"""Devices that failed, as far as an answer about the whole names them."""

PhaseName = Literal[
    "pending",
    "offered",
    "fetching",
    "fetched",
    "rebooted",
    "confirmed",
    "failed",
    "skipped",
    "superseded",
]
Why = Annotated[str, Meta(description="why it failed or is skipped, for programs")]
Reason = Annotated[str, Meta(description="the same in words, for people")]
ByReason = Annotated[dict[str, int], Meta(examples=[{"not_back": 2}])]


class RolloutStage(Struct, frozen=True, rename="camel"):
    """One stage, and what became of the devices that it added."""

    size: Annotated[
        int, Meta(description="devices that may be touched in all when it is full")
    ]
    touched: int
    confirmed: int
    failed: Annotated[int, Meta(description="without those that were forgiven")]


class Rollout(Struct, frozen=True, kw_only=True, rename="camel"):
    """A rollout, and how far it is."""

    id: str
    name: str
    releases: tuple[str, ...]
    status: Literal[
        "running", "paused", "halted", "aborted", "rolling_back", "finished"
    ]
    why: Annotated[
        str, Meta(description="which limit halted it: `stage`, `percent`, `count`")
    ]
    reason: Reason
    failures: Annotated[
        tuple[str, ...],
        Meta(description="the devices that halted it, a hundred at most"),
    ]
    created_at: datetime
    ended_at: Annotated[
        datetime | None, Meta(description="when its last device was settled")
    ]
    stage: Annotated[int, Meta(description="which of `stages` it is in, from 0")]
    soak_until: Annotated[
        datetime | None, Meta(description="until then a full stage is watched")
    ]
    stages: tuple[RolloutStage, ...]
    counts: Annotated[dict[str, int], Meta(description="devices by phase")]
    undone_by: Annotated[
        tuple[str, ...], Meta(description="the rollouts that roll it back")
    ]


class RolloutDevice(Struct, frozen=True, rename="camel"):
    """A device in a rollout, and how far it is."""

    device: str
    phase: PhaseName
    since: datetime
    release: Annotated[str, Meta(description="empty: none is for it, as far as known")]
    stage: Annotated[int | None, Meta(description="the stage that touched it")]
    progress: Annotated[int, Meta(description="percent of the bytes")]
    tries: int
    why: Why
    reason: Reason
    before: Annotated[str, Meta(description="what it ran when it was offered this")]
    forgiven: Annotated[bool, Meta(description="a person went on in spite of it")]


class RolloutReport(Rollout, frozen=True, kw_only=True, rename="camel"):
    """A rollout, what was asked for, and who failed and why."""

    plan: Plan
    failed: Annotated[
        tuple[RolloutDevice, ...], Meta(description="a hundred at most, by id")
    ]
    failed_by: ByReason
    skipped_by: ByReason


class RolloutPage(Struct, frozen=True, rename="camel"):
    """Rollouts, the newest first; `next` leads to the others."""

    rollouts: list[Rollout]
    next: str | None


class RolloutDevicePage(Struct, frozen=True, rename="camel"):
    """Devices of a rollout by id; `next` leads to the others."""

    devices: list[RolloutDevice]
    next: str | None


class StagePreview(Struct, frozen=True, rename="camel"):
    """How many devices a stage would add."""

    size: Annotated[int, Meta(description="in all, with the stages before it")]
    adds: int


class PreviewDevice(Struct, frozen=True, rename="camel"):
    """What would be done with a device."""

    device: str
    release: str
    stage: Annotated[
        int | None, Meta(description="from 0; null: skipped, or no stage reaches it")
    ]
    why: Why
    reason: Reason


class RolloutPreview(Struct, frozen=True, rename="camel"):
    """Who would be updated, in the order of their turns, and then who would not."""

    stages: tuple[StagePreview, ...]
    beyond: Annotated[int, Meta(description="devices that no stage reaches")]
    skipped_by: ByReason
    devices: list[PreviewDevice]
    next: str | None


class UndoneDevice(Struct, frozen=True, rename="camel"):
    """What a rollback does for one device."""

    device: str
    can: Literal["offered", "impossible", "needless"]
    release: Annotated[str, Meta(description="what it is given back")]
    why: Why
    reason: Reason


class RolledBack(Struct, frozen=True, rename="camel"):
    """What a rollback does."""

    rollouts: Annotated[
        tuple[str, ...], Meta(description="those that were started for it")
    ]
    counts: Annotated[
        dict[str, int], Meta(description="devices by what can be done for them")
    ]
    devices: Annotated[
        tuple[UndoneDevice, ...],
        Meta(description="a hundred at most, those that are not helped first"),
    ]


def rollout_of(view: RolloutView) -> Rollout:
    """Show a rollout in short."""
    return Rollout(**_shown(view))


def report_of(view: RolloutView, states: Sequence[DeviceState]) -> RolloutReport:
    """Show a rollout with all that is to be said of it."""
    failed = [state for state in states if state.phase is Phase.FAILED]
    skipped = [state for state in states if state.phase is Phase.SKIPPED]
    return RolloutReport(
        **_shown(view),
        plan=view.plan,
        failed=tuple(map(device_of, failed[:MOST_NAMED])),
        failed_by=_by_reason(failed),
        skipped_by=_by_reason(skipped),
    )


def device_of(state: DeviceState) -> RolloutDevice:
    """Show a device of a rollout."""
    before = state.before
    return RolloutDevice(
        device=state.device,
        phase=state.phase.value,
        since=at(state.since),
        release=state.release,
        stage=state.stage,
        progress=state.progress,
        tries=state.tries,
        why=state.why,
        reason=reasons.of_device(state.why, state.said),
        before="" if before is None else before.version,
        forgiven=state.forgiven,
    )


def turns_of(preview: Preview) -> list[PreviewDevice]:
    """Show what would be done with each device, in order."""
    return [
        *(_turn(s, n) for n, stage in enumerate(preview.stages) for s in stage),
        *(_turn(state, None) for state in preview.beyond),
        *(_turn(state, None) for state in preview.skipped),
    ]


def preview_of(
    preview: Preview, page: list[PreviewDevice], following: str | None
) -> RolloutPreview:
    """Show what a rollout would do; `page` is a part of `turns_of`."""
    stages, size = [], 0
    for stage in preview.stages:
        size += len(stage)
        stages.append(StagePreview(size, len(stage)))
    skipped = _by_reason(preview.skipped)
    return RolloutPreview(tuple(stages), len(preview.beyond), skipped, page, following)


def rolled_back_of(undone: Undone) -> RolledBack:
    """Show what a rollback does."""
    counts: Counter[str] = Counter(one.can for one in undone.devices)
    helped = sorted(undone.devices, key=lambda one: one.can != "impossible")
    named = map(_undone, helped[:MOST_NAMED])
    return RolledBack(undone.rollouts, dict(counts), tuple(named))


def _shown(view: RolloutView) -> dict[str, Any]:
    return {
        "id": view.id,
        "name": view.name,
        "releases": view.plan.releases,
        "status": view.status.value,
        "why": view.why,
        "reason": reasons.of_halt(view.why),
        "failures": view.failures,
        "created_at": at(view.created_at),
        "ended_at": None if view.ended_at is None else at(view.ended_at),
        "stage": view.stage,
        "soak_until": None if view.soak_until is None else at(view.soak_until),
        "stages": tuple(
            RolloutStage(one.size, one.touched, one.confirmed, one.failed)
            for one in view.stages
        ),
        "counts": dict(view.counts),
        "undone_by": view.undone_by,
    }


def _turn(state: DeviceState, stage: int | None) -> PreviewDevice:
    words = reasons.of_device(state.why)
    return PreviewDevice(state.device, state.release, stage, state.why, words)


def _undone(one: Undo) -> UndoneDevice:
    words = reasons.of_device(one.why)
    return UndoneDevice(one.device, one.can, one.release, one.why, words)


def _by_reason(states: Iterable[DeviceState]) -> dict[str, int]:
    return dict(Counter(state.why for state in states).most_common())
