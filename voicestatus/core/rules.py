"""What lights a sign: a rule as an admin writes it, and as we keep it. Pure."""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Never, TypeVar, cast

import msgspec

from voicestatus.core.errors import Refusal
from voicestatus.core.ids import ChannelId, GuildId, RoleId, UserId
from voicestatus.core.lights import BRIGHTNESS, COLOR, PATTERN, RuleText
from voicestatus.core.quiet import DAYS, MIDNIGHT, QuietHours, zone_of

MAX_IDS: Final = 1000
MAX_QUIET: Final = 50
MAX_COUNT: Final = 1_000_000
MAX_SECONDS: Final = 86_400
PATTERNS: Final = ("solid", "breathe", "blink", "rainbow")
UNKNOWN: Final = ("hold", "off")
_MAX_ID: Final = 2**64 - 1
_NONE: Final[frozenset[Never]] = frozenset()  # each empty one is another object
_T = TypeVar("_T")
_SHOWN: Final = 40
"""Characters of a wrong key that an error repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Conditions, delays, quiet hours and looks; an empty set is no condition.

    None: what the server's settings say.
    """

    guilds: frozenset[GuildId] = _NONE
    channels: frozenset[ChannelId] = _NONE
    categories: frozenset[ChannelId] = _NONE
    users: frozenset[UserId] = _NONE
    roles: frozenset[RoleId] = _NONE
    event: bool = False
    speaking: bool = False
    streaming: bool = False
    min_count: int = 1
    count_bots: bool | None = None
    count_afk: bool | None = None
    on_delay_s: float = 0
    off_delay_s: float = 0
    min_on_s: float = 0
    quiet: tuple[QuietHours, ...] = ()
    unknown: str | None = None
    pattern: str = PATTERN
    color: str = COLOR
    brightness: int = BRIGHTNESS


_KEYS: Final = (
    "guilds", "channels", "categories", "users", "roles", "event", "speaking",
    "streaming", "minCount", "countBots", "countAfk", "onDelayS", "offDelayS", "minOnS",
    "quiet", "unknown", "pattern", "color", "brightness",
)  # fmt: skip
_QUIET_KEYS: Final = ("days", "from", "to", "tz")

# ---- from text and back ------------------------------------------------------------


def read(text: RuleText) -> Rule:
    """Take a rule's text.

    :raises Refusal: as `parse` does.
    """
    try:
        document = msgspec.json.decode(text)
    except (ValueError, RecursionError):  # DecodeError is a ValueError
        raise _wrong("", "a rule is a JSON object") from None
    return parse(document)


def write(rule: Rule) -> RuleText:
    """Return the one text of all rules that mean the same; defaults are left out."""
    said = {
        key: value
        for key, value in _document(rule).items()
        if value != _DEFAULTS.get(key)
    }
    return RuleText(json.dumps(said, sort_keys=True, separators=(",", ":")))


def _document(rule: Rule) -> dict[str, object]:
    return {
        "guilds": _texts(rule.guilds),
        "channels": _texts(rule.channels),
        "categories": _texts(rule.categories),
        "users": _texts(rule.users),
        "roles": _texts(rule.roles),
        "event": rule.event,
        "speaking": rule.speaking,
        "streaming": rule.streaming,
        "minCount": rule.min_count,
        "countBots": rule.count_bots,
        "countAfk": rule.count_afk,
        "onDelayS": rule.on_delay_s,
        "offDelayS": rule.off_delay_s,
        "minOnS": rule.min_on_s,
        "quiet": [_quiet_document(hours) for hours in sorted(set(rule.quiet))],
        "unknown": rule.unknown,
        "pattern": rule.pattern,
        "color": rule.color,
        "brightness": rule.brightness,
    }


def _texts(ids: Collection[int]) -> object:
    return [str(id_) for id_ in sorted(ids)]


def _quiet_document(hours: QuietHours) -> dict[str, object]:
    document: dict[str, object] = {
        "from": _clock_text(hours.begins),
        "to": _clock_text(hours.ends),
        "tz": hours.tz,
    }
    if len(hours.days) < len(DAYS):
        document["days"] = [DAYS[day] for day in hours.days]
    return document


def _clock_text(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


_DEFAULTS: Final = _document(Rule())

# ---- from a document ---------------------------------------------------------------


def parse(document: object) -> Rule:
    """Take a rule as JSON has it.

    :raises Refusal: `VALIDATION_FAILED`; `key` names what is wrong: `quiet[0].from`.
    """
    given = _Object(document, "", _KEYS, "a rule")
    return Rule(
        guilds=given.ids("guilds", GuildId),
        channels=given.ids("channels", ChannelId),
        categories=given.ids("categories", ChannelId),
        users=given.ids("users", UserId),
        roles=given.ids("roles", RoleId),
        event=given.flag("event") or False,
        speaking=given.flag("speaking") or False,
        streaming=given.flag("streaming") or False,
        min_count=given.whole("minCount", 1, MAX_COUNT, 1),
        count_bots=given.flag("countBots"),
        count_afk=given.flag("countAfk"),
        on_delay_s=given.seconds("onDelayS"),
        off_delay_s=given.seconds("offDelayS"),
        min_on_s=given.seconds("minOnS"),
        quiet=_quiet(given),
        unknown=given.word("unknown", UNKNOWN),
        pattern=given.word("pattern", PATTERNS) or PATTERN,
        color=_color(given),
        brightness=given.whole("brightness", 0, 255, BRIGHTNESS),
    )


class _Object:
    """A JSON object whose values are taken out one by one."""

    def __init__(
        self, document: object, path: str, keys: Sequence[str], what: str
    ) -> None:
        if not isinstance(document, dict):
            raise _wrong(path, f"{path or what} should be a JSON object")
        self._values: Mapping[str, object] = document
        self._prefix = f"{path}." if path else ""
        for key in self._values:
            if key not in keys:
                shown = f"{self._prefix}{str(key)[:_SHOWN]}"
                known = ", ".join(keys)
                raise _wrong(shown, f"{shown} is no key of {what}; there are: {known}")

    def has(self, key: str) -> bool:
        return key in self._values

    def path(self, key: str) -> str:
        return self._prefix + key

    def wrong(self, key: str, should: str) -> Refusal:
        path = self.path(key)
        return _wrong(path, f"{path} should be {should}")

    def flag(self, key: str) -> bool | None:
        """None: it is not there."""
        value = self._values.get(key)
        if not isinstance(value, bool) and self.has(key):
            raise self.wrong(key, "true or false")
        return cast("bool | None", value)

    def whole(self, key: str, least: int, most: int, default: int) -> int:
        value = self._values.get(key, default)
        if type(value) is not int or not least <= value <= most:
            raise self.wrong(key, f"a whole number from {least} to {most}")
        return value

    def seconds(self, key: str) -> float:
        value = self._values.get(key, 0)
        # Not a bool, which is an int, too.
        seconds = cast("float", value) if type(value) in {int, float} else -1
        if not 0 <= seconds <= MAX_SECONDS:
            raise self.wrong(key, f"a number of seconds from 0 to {MAX_SECONDS}")
        return int(seconds) if seconds == int(seconds) else seconds

    def text(self, key: str, should: str) -> str:
        value = self._values.get(key)
        if not isinstance(value, str):
            raise self.wrong(key, should)
        return value

    def word(self, key: str, words: Sequence[str]) -> str | None:
        """None: it is not there."""
        if not self.has(key):
            return None
        should = " or ".join(f'"{word}"' for word in words)
        word = self.text(key, should)
        if word not in words:
            raise self.wrong(key, should)
        return word

    def items(self, key: str, most: int, what: str) -> Sequence[object]:
        """Return a list's items; none where the list is not there."""
        if not self.has(key):
            return ()
        value = self._values[key]
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= most:
            raise self.wrong(key, f"a list of 1 to {most} {what}; no list is no limit")
        return value

    def ids(self, key: str, kind: Callable[[int], _T]) -> frozenset[_T]:
        """Return Discord ids: in JSON they are text, as a number they lose digits."""
        found = []
        for n, item in enumerate(self.items(key, MAX_IDS, "Discord ids")):
            one = f"{key}[{n}]"
            if type(item) in {int, float}:
                raise self.wrong(
                    one,
                    'an id in quotation marks ("123…"): as a number it loses digits',
                )
            known = isinstance(item, str) and re.fullmatch(r"[0-9]{1,20}", item)
            if not known or not 1 <= int(cast("str", item)) <= _MAX_ID:
                raise self.wrong(one, "a Discord id: text of up to 20 digits")
            found.append(kind(int(cast("str", item))))
        return frozenset(found) if found else _NONE


def _color(given: _Object) -> str:
    if not given.has("color"):
        return COLOR
    should = 'a colour as "#rrggbb"'
    color = given.text("color", should).lower()
    if not re.fullmatch(r"#[0-9a-f]{6}", color):
        raise given.wrong("color", should)
    return color


def _quiet(given: _Object) -> tuple[QuietHours, ...]:
    hours = []
    for n, item in enumerate(given.items("quiet", MAX_QUIET, "quiet hours")):
        one = _Object(item, given.path(f"quiet[{n}]"), _QUIET_KEYS, "quiet hours")
        begins = _clock(one, "from", MIDNIGHT - 1)
        ends = _clock(one, "to", MIDNIGHT)
        if begins == ends:
            raise one.wrong("to", 'another time than "from"; a day ends at "24:00"')
        hours.append(QuietHours(_days(one), begins, ends, _zone(one)))
    return tuple(sorted(set(hours)))


def _days(given: _Object) -> tuple[int, ...]:
    days = set()
    for n, day in enumerate(given.items("days", len(DAYS), "days")):
        if day not in DAYS:
            raise given.wrong(f"days[{n}]", f"one of {', '.join(DAYS)}")
        days.add(DAYS.index(day))
    return tuple(sorted(days)) or tuple(range(len(DAYS)))


def _clock(given: _Object, key: str, most: int) -> int:
    should = f'a time of the day from "00:00" to "{_clock_text(most)}"'
    told = re.fullmatch(r"([0-9]{2}):([0-5][0-9])", given.text(key, should))
    minutes = most + 1 if told is None else int(told[1]) * 60 + int(told[2])
    if minutes > most:
        raise given.wrong(key, should)
    return minutes


def _zone(given: _Object) -> str:
    should = 'a time zone such as "Europe/Berlin"'
    name = given.text("tz", should)
    if not re.fullmatch(r"[A-Za-z0-9_+/-]{1,64}", name):
        raise given.wrong("tz", should)
    try:
        zone_of(name)
    except (KeyError, ValueError, OSError):  # a folder of zones is an OSError
        raise given.wrong("tz", should) from None
    return name


def _wrong(key: str, sentence: str) -> Refusal:
    return Refusal("VALIDATION_FAILED", sentence, key=key)
