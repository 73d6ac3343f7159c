"""When a light that is wanted goes on and off: delays as a state machine. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delays:
    """How long on (or off) must be wanted before it is shown; how long on stays."""

    on_s: float = 0
    off_s: float = 0
    min_on_s: float = 0


class Lamp:
    """One light. It is told what is wanted and when; it has no clock.

    The first thing that is known is shown at once. While nothing is known (None)
    nothing is shown, no delay runs, and what was shown last is kept in mind.
    """

    __slots__ = ("_delays", "_lit", "_lit_at", "_since", "_wanted")

    def __init__(self, delays: Delays) -> None:
        self._delays = delays
        self._wanted: bool | None = None
        self._since = 0.0
        self._lit: bool | None = None
        self._lit_at = 0.0

    @property
    def shown(self) -> bool | None:
        return None if self._wanted is None else self._lit

    def want(self, wanted: bool | None, now: float) -> float | None:
        """Take what is wanted; return when to ask again, if nothing else happens."""
        if wanted is not self._wanted:
            self._wanted, self._since = wanted, now
        at = max(self.waits().values(), default=now)
        if at > now:
            return at
        if wanted is not None and wanted is not self._lit:
            self._lit = wanted
            self._lit_at = now
        return None

    def waits(self) -> dict[str, float]:
        """Return until when each delay keeps what is wanted from being shown."""
        delays = self._delays
        if self._wanted is None or self._lit is None or self._wanted is self._lit:
            return {}
        if self._wanted:
            return {"onDelay": self._since + delays.on_s}
        return {
            "offDelay": self._since + delays.off_s,
            "minOn": self._lit_at + delays.min_on_s,
        }
