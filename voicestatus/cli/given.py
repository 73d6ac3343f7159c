"""What is written on a command line, as the admin API takes it."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from voicestatus.core.plan import stage_of
from voicestatus.core.quiet import DAYS

UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"([0-9]{1,7})\s*([smhd]?)")
_LIMIT = re.compile(r"([0-9]{1,7})\s*(%?)")
_WINDOW = re.compile(
    r"(?:(?P<days>\S+)\s+)?"
    r"(?P<from>[0-9]{2}:[0-9]{2})-(?P<to>[0-9]{2}:[0-9]{2})\s+(?P<tz>\S+)"
)
TARGETS = {
    "tag": "tags",
    "chip": "chips",
    "version": "versions",
    "build": "builds",
    "id": "ids",
}

Json = dict[str, Any]


def json_of(given: str, what: str) -> Any:
    """Read JSON: text that begins as an object does, a file's name, or -.

    :raises UsageError: it is none of these.
    """
    try:
        if given.lstrip()[:1] == "{":
            content = given
        elif given == "-":
            content = sys.stdin.read()
        else:
            content = Path(given).read_text(encoding="utf-8")
    except (OSError, ValueError) as e:
        raise click.UsageError(f"neither JSON nor a file: {given}") from e
    try:
        return json.loads(content)
    except ValueError as e:
        raise click.UsageError(f"{what} is not JSON: {e}") from None


def seconds(given: str) -> int:
    """Read `90`, `90s`, `10m`, `2h` or `1d`."""
    if (found := _SPAN.fullmatch(given.strip())) is None:
        raise click.BadParameter(f"{given!r}: write 90s, 10m, 2h or 1d")
    return int(found[1]) * UNITS_S[found[2]]


def stages(given: str, soak_s: int | None) -> list[Json]:
    """Read `1,10%,100%`."""
    found: list[Json] = []
    for each in given.split(","):
        try:
            stage = stage_of(each)
        except ValueError:
            wrong = f"{each.strip()!r} is no stage: write 5 or 10%, with commas between"
            raise click.BadParameter(wrong) from None
        kind = "count" if stage.percent is None else "percent"
        found.append({kind: getattr(stage, kind)})
        if soak_s is not None:
            found[-1]["soakS"] = soak_s
    return found


def target(given: Sequence[str]) -> Json:
    """Read `tag=office,chip=esp32`; of one kind there may be several."""
    found: dict[str, list[object]] = {}
    for each in ",".join(given).split(","):
        kind, equals, value = each.strip().partition("=")
        if kind not in TARGETS or not equals or not value:
            kinds = ", ".join(f"{kind}=..." for kind in TARGETS)
            raise click.BadParameter(f"{each.strip()!r} is none of {kinds}")
        if kind == "build" and not value.isdecimal():
            raise click.BadParameter(f"{value!r} is no build")
        wanted = int(value) if kind == "build" else value
        found.setdefault(TARGETS[kind], []).append(wanted)
    return found


def window(given: str) -> Json:
    """Read `mon-fri 02:00-05:00 Europe/Berlin`; without days it is every day's."""
    if (found := _WINDOW.fullmatch(given.strip())) is None:
        raise click.BadParameter(
            f'{given!r} is no window: write "mon-fri 02:00-05:00 Europe/Berlin"'
        )
    said = {key: value for key, value in found.groupdict().items() if key != "days"}
    return said if found["days"] is None else {"days": _days(found["days"]), **said}


def halt_at(given: str) -> Json:
    """Read `20%`, `5`, or both with a comma."""
    found: Json = {}
    for each in given.split(","):
        if (limit := _LIMIT.fullmatch(each.strip())) is None:
            raise click.BadParameter(f"{each.strip()!r} is no limit: write 20% or 5")
        found["percent" if limit[2] else "count"] = int(limit[1])
    return found


def _days(given: str) -> list[str]:
    found: list[str] = []
    for each in given.split(","):
        first, _, last = each.partition("-")
        if not {first, last or first} <= set(DAYS):
            raise click.BadParameter(f"{each!r} is none of {', '.join(DAYS)}")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        length = (end - begin) % len(DAYS) + 1
        found += [DAYS[(begin + n) % len(DAYS)] for n in range(length)]
    return list(dict.fromkeys(found))
