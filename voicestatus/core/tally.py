"""How many devices of a rollout are how far, and when too many have failed. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from voicestatus.core.plan import FEWEST, Plan
from voicestatus.core.rollout_state import (
    UNDER_WAY,
    DeviceState,
    Halt,
    Phase,
    Tally,
)

_TINY: Final = 1e-6
"""Percentages are not exact in binary."""


class Tallies:
    """Counts states as they come and go."""

    def __init__(self, plan: Plan, sizes: Sequence[int]) -> None:
        self._plan, self._sizes = plan, sizes
        self.phases: Counter[Phase] = Counter()
        self.stages = tuple(Tally() for _ in plan.stages)
        self.failed = 0
        """Without those that were forgiven."""
        self.touched = 0
        self.doubtful = 0
        """Those that wait, and may have taken the image before."""

    @property
    def under_way(self) -> int:
        return sum(self.phases[phase] for phase in UNDER_WAY)

    def picture(self) -> tuple[Tally, ...]:
        """Return what the stages are now, for good."""
        return tuple(map(replace, self.stages))

    def add(self, state: DeviceState, step: int = 1) -> None:
        """Count a state; with -1: no longer."""
        self.phases[state.phase] += step
        failed = state.phase is Phase.FAILED and not state.forgiven
        self.failed += step * failed
        self.doubtful += step * state.doubtful
        if state.stage is not None:
            tally = self.stages[state.stage]
            self.touched += step
            tally.touched += step
            tally.failed += step * failed
            tally.confirmed += step * (state.phase is Phase.CONFIRMED)

    def limit_met(self) -> Halt | None:
        """Say why it must halt, if it must."""
        at, earlier = self._plan.halt_at, 0
        for tally, size, stage in zip(
            self.stages, self._sizes, self._plan.stages, strict=True
        ):
            adds = max(size - earlier, tally.touched)
            earlier += tally.touched
            if 100 * tally.failed > adds * (100 - stage.success_percent) + _TINY:
                return Halt.STAGE
            ended = max(FEWEST, tally.confirmed + tally.failed)
            if at.percent is not None and 100 * tally.failed > at.percent * ended:
                return Halt.PERCENT
        if at.count is not None and self.failed >= at.count:
            return Halt.COUNT
        return None
