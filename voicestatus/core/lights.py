"""What a sign shows, and what it asks for. Nothing here is about people. Pure."""

from dataclasses import dataclass
from typing import NewType

RuleText = NewType("RuleText", str)
"""A rule as compact JSON with sorted keys: opaque to who only passes it on.

Signs whose rules have the same text share one group.
"""
EVERYTHING = RuleText("{}")
"""What a sign follows that says nothing: anybody, anywhere."""

PATTERN, COLOR, BRIGHTNESS = "solid", "#5865f2", 255


@dataclass(frozen=True, slots=True)
class Light:
    """What a sign should show.

    `known` is false while there is nothing to show: then a sign is told nothing.
    `stale` says that part of it is the last picture and not the present one.
    `brightness` is 0 to 255.
    """

    known: bool
    on: bool = False
    count: int = 0
    stale: bool = False
    pattern: str = PATTERN
    color: str = COLOR
    brightness: int = BRIGHTNESS


NOTHING_TO_SHOW = Light(known=False)
