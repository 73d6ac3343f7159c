"""What a rollout is asked to do: which releases, to whom, how fast, when to stop. Pure.

Plans are JSON as they are written here, in camelCase.
"""

import re
from collections.abc import Mapping
from math import ceil
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, ValidationError, convert

from voicestatus.core import rules
from voicestatus.core.errors import Refusal
from voicestatus.core.lights import RuleText
from voicestatus.core.quiet import DAYS, QuietHours

DAY_S: Final = 86_400
MAX_DEVICES: Final = 50_000

Percent = Annotated[float, Meta(ge=0, le=100)]
Seconds = Annotated[float, Meta(ge=0, le=30 * DAY_S)]
Limit = Annotated[float, Meta(ge=5, le=DAY_S)]
_Text = Annotated[str, Meta(min_length=1, max_length=64)]
_Texts = Annotated[tuple[_Text, ...], Meta(max_length=1000)]


class Target(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom it is for. Kinds are ANDed, values within one ORed; nothing said: all."""

    tags: _Texts = ()
    chips: _Texts = ()
    versions: _Texts = ()
    """What they run now, as their firmware calls it."""
    builds: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...], Meta(max_length=1000)
    ] = ()
    ids: Annotated[tuple[_Text, ...], Meta(max_length=MAX_DEVICES)] = ()
    rules: Annotated[tuple[Mapping[str, Any], ...], Meta(max_length=100)] = ()
    """Devices that have one of these rules."""

    def __post_init__(self) -> None:
        self.rule_texts()

    def rule_texts(self) -> frozenset[RuleText]:
        """Return the rules as devices keep them."""
        try:
            return frozenset(rules.write(rules.parse(dict(one))) for one in self.rules)
        except Refusal as e:
            raise ValueError(f"rules: {e.message}") from None


class Stage(
    Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """How many devices in all the rollout may have touched when this stage is full."""

    count: Annotated[int, Meta(ge=1, le=MAX_DEVICES)] | None = None
    percent: Annotated[float, Meta(gt=0, le=100)] | None = None
    """Of the devices that may have it when the rollout begins."""
    success_percent: Percent = 90
    """Of the devices that this stage adds. As soon as so many cannot be reached, the
    rollout halts."""
    soak_s: Seconds = 600
    """How long it is watched, full and well, before the next one begins."""

    def __post_init__(self) -> None:
        if (self.count is None) == (self.percent is None):
            raise ValueError("a stage has either count or percent")

    def size(self, devices: int) -> int:
        """Return how many of so many devices it holds."""
        if self.count is not None:
            return min(self.count, devices)
        # A tenth is not exact in binary: 10 % of 30 must not become 4.
        return min(devices, ceil(round(devices * (self.percent or 0) / 100, 6)))

    @property
    def whole(self) -> bool:
        """Whether it holds everybody, also who may have it only later."""
        return self.percent == 100


_STAGE = re.compile(r"\s*([0-9]{1,5})\s*(%?)\s*")


def stage_of(text: str) -> Stage:
    """Read `1`, `10 %` or `10%`.

    :raises ValueError: it is none of these.
    """
    if (found := _STAGE.fullmatch(text)) is None:
        raise ValueError(f'{text!r} is no stage: write "5" or "10 %"')
    number = int(found[1])
    given = {"percent": number} if found[2] else {"count": number}
    return convert(given, Stage)


class Window(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"from_": "from"},
    forbid_unknown_fields=True,
):
    """When offers may be made, written as quiet hours are."""

    days: Annotated[
        tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...],
        Meta(min_length=1, max_length=7),
    ] = DAYS
    from_: str
    to: str
    tz: str

    def __post_init__(self) -> None:
        self.hours()

    def hours(self) -> QuietHours:
        """Return it as instants are computed from it."""
        said = {"days": self.days, "from": self.from_, "to": self.to, "tz": self.tz}
        try:
            return rules.parse({"quiet": [said]}).quiet[0]
        except Refusal as e:
            raise ValueError(e.message.removeprefix("quiet[0].")) from None


class HaltAt(Struct, frozen=True, forbid_unknown_fields=True):
    """How many failures halt it, whatever its stages say; null: no such limit."""

    percent: Percent | None = 20
    """More than so many of those that a stage brought to an end, taken as
    `FEWEST` at least: of two devices one is no half."""
    count: Annotated[int, Meta(ge=1)] | None = None
    """So many in all."""


FEWEST: Final = 20
"""The smallest number of devices of which a percentage says anything."""


class Limits(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How long a device may take; each is counted from the step before."""

    answer_s: Limit = 60
    """From the offer to the first byte fetched, or the first report. Longer than it
    takes to notice that a connection is dead."""
    download_s: Limit = 900
    back_s: Limit = 600
    """From the last byte to being here again."""


class Gate(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How a device must be after the update to count as well."""

    stay_s: Seconds = 300
    """So long after it is back it is looked at."""
    reconnects: Annotated[int, Meta(ge=0)] = 3
    """More than so many in that time are a failure."""
    rtt_factor: Annotated[float, Meta(ge=1)] = 3
    """So many times the round trip that it had before is a failure..."""
    rtt_ms: Annotated[float, Meta(ge=0)] = 1000
    """... when it is more than that, too."""


class Plan(
    Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """What an admin asks for."""

    name: Annotated[str, Meta(max_length=64)] = ""
    releases: Annotated[tuple[_Text, ...], Meta(min_length=1, max_length=16)]
    """Their ids. Each device gets the one that fits its chip and board."""
    target: Target = Target()
    stages: Annotated[tuple[Stage, ...], Meta(min_length=1, max_length=20)] = (
        Stage(count=1),
        Stage(percent=10),
        Stage(percent=50),
        Stage(percent=100),
    )
    rate_per_minute: Annotated[int, Meta(ge=1, le=6000)] = 60
    """Offers in any minute."""
    at_once: Annotated[int, Meta(ge=1, le=1000)] = 100
    """Devices that are offered it or fetch it at a time."""
    windows: Annotated[tuple[Window, ...], Meta(max_length=50)] = ()
    """Offers are made within these only; none: at any time."""
    not_while_lit: bool = False
    """Wait until a sign is dark: it cannot show its light while it updates."""
    halt_at: HaltAt = HaltAt()
    limits: Limits = Limits()
    gate: Gate = Gate()
    probe: bool = False
    """Ask old devices what they run: afterwards, and those whose chip is not known
    before. It costs each its connection for some seconds."""
    again: bool = False
    """Also to devices that failed with the same release in another rollout."""
    keep_s: Annotated[float, Meta(ge=60, le=365 * DAY_S)] = 30 * DAY_S
    """How long it waits for devices that are away."""

    def sizes(self, devices: int) -> tuple[int, ...]:
        """Return for each stage how many devices may be touched in all."""
        sizes: list[int] = []
        for stage in self.stages:
            sizes.append(max([stage.size(devices), *sizes[-1:]]))
        return tuple(sizes)


def parse(document: object) -> Plan:
    """Take a plan as JSON has it.

    :raises Refusal: `INVALID_PLAN`; `key` names what is wrong: `stages[0].percent`.
    """
    try:
        return convert(document, Plan)
    except ValidationError as e:
        found = _WHERE.fullmatch(str(e))
        said, key = (found[1], found[2] or "") if found else (str(e), "")
        if unknown := _UNKNOWN.search(said):
            key = f"{key}.{unknown[1]}".lstrip(".")
        elif missing := _MISSING.search(said):
            key = f"{key}.{missing[1]}".lstrip(".")
        text = f"{key}: {said}" if key else said
        raise Refusal("INVALID_PLAN", text, key=key) from None


_WHERE = re.compile(r"(.*?)(?: - at `\$\.?([^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"contains unknown field `(\w+)`")
_MISSING = re.compile(r"missing required field `(\w+)`")
