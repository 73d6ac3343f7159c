"""One rule's light, who is told of it, and when. Pure."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from voicestatus.core.counters import Counter
from voicestatus.core.lamp import Delays, Lamp
from voicestatus.core.lights import NOTHING_TO_SHOW, Light, RuleText
from voicestatus.core.quiet import QuietHours, spell
from voicestatus.core.rules import Rule

Tell = Callable[[Light], object]


class Quiet:
    """Quiet hours that some groups share."""

    __slots__ = ("groups", "hours", "now", "until")

    def __init__(self, hours: tuple[QuietHours, ...]) -> None:
        self.hours = hours
        self.now = False
        self.until = 0.0
        """In Unix seconds."""
        self.groups: set[Group] = set()

    def look(self, now: float) -> bool:
        """Look at the clock; return whether it began or ended to be quiet."""
        before, one = self.now, spell(self.hours, now)
        self.now, self.until = one.quiet, one.until
        return self.now is not before


class Group:
    """All that follow one rule, and what they were told."""

    __slots__ = (
        "counted",
        "counted_at",
        "counter",
        "followers",
        "lamp",
        "problem",
        "quiet",
        "rule",
        "text",
        "told",
    )

    def __init__(
        self, text: RuleText, rule: Rule, problem: str, counter: Counter
    ) -> None:
        self.text, self.rule, self.counter = text, rule, counter
        self.quiet: Quiet | None = None
        self.problem = problem
        """Why `rule` is not what the text says; empty: it is."""
        self.lamp = Lamp(Delays(rule.on_delay_s, rule.off_delay_s, rule.min_on_s))
        self.told = NOTHING_TO_SHOW
        self.counted_at = 0.0
        """When `counted` followers were told last."""
        self.followers: dict[object, Tell] = {}
        self.counted: dict[object, Tell] = {}
        """Those followers to whom the count matters."""

    @property
    def wanted(self) -> bool | None:
        return self.counter.reaches(self.rule.min_count)

    @property
    def shown(self) -> bool | None:
        if self.quiet is not None and self.quiet.now:
            return False
        return self.lamp.shown

    @property
    def light(self) -> Light:
        rule, counter, shown = self.rule, self.counter, self.shown
        if shown is None:
            return NOTHING_TO_SHOW
        look = rule.pattern, rule.color, rule.brightness
        return Light(True, shown, counter.count, counter.stale, *look)

    @property
    def has_news(self) -> bool:
        """Whether more than the count is different from what was told."""
        shown, told = self.shown, self.told
        if shown is None or not told.known:
            return told.known or shown is not None
        return shown is not told.on or self.counter.stale is not told.stale


@dataclass(slots=True)
class Audience:
    """The groups of one counter."""

    by_need: defaultdict[int, set[Group]] = field(
        default_factory=lambda: defaultdict(set)
    )
    counted: set[Group] = field(default_factory=set)

    def add(self, group: Group) -> None:
        self.by_need[group.rule.min_count].add(group)

    def discard(self, group: Group) -> None:
        need = group.rule.min_count
        self.by_need[need].discard(group)
        if not self.by_need[need]:
            del self.by_need[need]
        self.counted.discard(group)

    def all(self) -> list[Group]:
        return [group for groups in self.by_need.values() for group in groups]

    def crossed(self, before: int, now: int) -> list[Group]:
        """Return those that need more than one of the counts and not the other."""
        low, high = (before, now) if before < now else (now, before)
        needs = [need for need in self.by_need if low < need <= high]
        return [group for need in needs for group in self.by_need[need]]
