"""`voicestatus replay`: what a recorded trace of the Gateway led to."""

import json
from collections.abc import Callable
from itertools import starmap
from pathlib import Path
from typing import Final

import click

from voicestatus.core.errors import Refusal
from voicestatus.core.lights import RuleText
from voicestatus.core.rules import read, write
from voicestatus.trace.replay import Moment, NoTrace, Replay, play

_CLEAR: Final = frozenset({"state", "which", "said"})
"""What needs no name before it."""


def _rule(_: click.Context, _parameter: click.Parameter, text: str | None) -> object:
    try:
        return None if text is None else write(read(RuleText(text)))
    except Refusal as e:
        raise click.BadParameter(str(e)) from e


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option(
    "--until", type=click.FloatRange(min=0), metavar="T", help="Stop T seconds in."
)
@click.option(
    "--rule",
    callback=_rule,
    metavar="JSON",
    help="A sign's rule besides the default, with the ids of the trace.",
)
@click.pass_context
def replay(
    context: click.Context,
    file: Path,
    as_json: bool,
    until: float | None,
    rule: RuleText | None,
) -> None:
    """Play FILE, a trace that `twistd voicestatus --record` wrote, and say what it did.

    The same trace gives the same output. Exit status 0: it was played as it was
    recorded; 1: it is no trace, or lines of it are broken or led to something else.
    """
    show: Callable[[Moment], None] = _show_json if as_json else _show_text
    try:
        with file.open("rb") as trace:
            played = play(trace, show, rule=rule, until_s=until)
    except NoTrace as e:
        raise click.ClickException(f"{file} is {e}") from e
    except OSError as e:
        raise click.ClickException(f"{file} cannot be read: {e.strerror}") from e
    show(Moment(round(played.now, 6), "summary", _summary(played)))
    context.exit(1 if played.tallies.errors else 0)


def _summary(played: Replay) -> dict[str, object]:
    light, tallies = played.light, played.tallies
    state = ("on" if light.on else "off") if light.known else "unknown"
    return {
        "state": state,
        "count": light.count,
        "received": tallies.received,
        "unused": tallies.unused,
        "faults": tallies.faults,
        "gaps": tallies.gaps,
        "missedHeartbeats": tallies.missed_heartbeats,
        "errors": tallies.errors,
    }


def _show_json(moment: Moment) -> None:
    click.echo(json.dumps({"t": moment.t, "kind": moment.kind, **moment.facts}))


def _show_text(moment: Moment) -> None:
    facts = "  ".join(filter(None, starmap(_fact, moment.facts.items())))
    click.echo(f"{moment.t:12.3f}  {moment.kind:9}  {facts}")


def _fact(key: str, value: object) -> str:
    if isinstance(value, bool):
        return key if value else ""
    text = str(value) if key in _CLEAR else f"{key} {value}"
    # It must do nothing to a terminal: somebody else has made the file.
    return "".join(each if each.isprintable() else "?" for each in text)
