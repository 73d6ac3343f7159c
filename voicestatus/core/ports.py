"""The seams between rooms. Pure."""

from collections.abc import Callable
from typing import Protocol

from voicestatus.core.lights import Light, Scope


class Lights(Protocol):
    """Where signs learn what to show."""

    def follow(
        self, scope: Scope, tell: Callable[[Light], object]
    ) -> Callable[[], object]:
        """Tell the present light at once, then each change; return the way out."""
        ...
