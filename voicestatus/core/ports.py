"""The seams between rooms. Pure."""

from collections.abc import Callable
from typing import Protocol

from voicestatus.core.lights import Light, RuleText


class Lights(Protocol):
    """Where signs learn what to show."""

    def follow(
        self, rule: RuleText, tell: Callable[[Light], object], *, counted: bool = False
    ) -> Callable[[], object]:
        """Tell the present light at once, then each change; return the way out.

        What is no rule (any more) shows what no rule shows.

        With `counted` a change of the count alone is told too, a few times a second
        at most.
        """
        ...
