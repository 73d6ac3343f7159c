"""When a rollout may speak to devices: so many a minute, in its windows only. Pure.

Times in Unix seconds.
"""

from typing import Final

from voicestatus.core.agenda import SLACK_S
from voicestatus.core.plan import Plan
from voicestatus.core.quiet import Spell, spell

_SLICES_PER_MINUTE: Final = 600
"""More are bundled: a timer for each offer would be too many timers."""


class Pacing:
    """Spaces slices of offers evenly, so that no minute holds more than it may."""

    def __init__(self, plan: Plan) -> None:
        self.slice = max(1, plan.rate_per_minute // _SLICES_PER_MINUTE)
        """Offers that may be made at one moment."""
        self._gap_s = 60 / (plan.rate_per_minute // self.slice)
        self._hours = tuple(window.hours() for window in plan.windows)
        self._rest_until = 0.0
        self._spell = Spell(True, 0.0)
        self._spell_from = 0.0

    def rest(self, now: float) -> None:
        """Take it that offers were made, or may have been."""
        self._rest_until = max(self._rest_until, now + self._gap_s)

    def shift(self, by_s: float) -> None:
        """Take it that the clock was set: windows are by what it shows now."""
        self._rest_until += by_s
        self._spell = Spell(True, 0.0)

    def allows(self, now: float) -> bool:
        """Whether a slice of offers may be made."""
        return self._rest_until <= now + SLACK_S and self.is_open(now)

    @property
    def opens_at(self) -> float:
        """When that may be different from what `allows` said last."""
        return self._rest_until if self._spell.quiet else self._spell.until

    def is_open(self, now: float) -> bool:
        """Whether one of the windows is open, or none is needed."""
        # A window is what quiet hours are to a light.
        if self._hours and not self._spell_from <= now < self._spell.until:
            self._spell, self._spell_from = spell(self._hours, now), now
        return self._spell.quiet
