"""What commands print: as JSON for programs, and for people."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from voicestatus.cli.client import Call

WIDE = 1000
"""Columns of what is no terminal: nothing is cut off there."""
UNITS = (
    (timedelta(days=1), "days"),
    (timedelta(hours=1), "h"),
    (timedelta(minutes=1), "min"),
)

Json = Mapping[str, Any]


def show(call: Call, answer: object, shown: RenderableType) -> None:
    """Print what the server answered: that itself, or what is shown of it."""
    if call.as_json:
        click.echo(json.dumps(answer, indent=2))
    elif isinstance(shown, str):
        click.echo(shown)
    else:
        print_wide(shown)


def ago(moment: str | None, now: datetime) -> str:
    """Say how long ago a moment was."""
    if moment is None:
        return "never"
    past = now - datetime.fromisoformat(moment)
    return f"{lasting(max(past, timedelta(0)))} ago"


def lasting(time: timedelta) -> str:
    """Say how long that is, in the largest unit of which there are two."""
    for unit, name in UNITS:
        if time >= 2 * unit:
            return f"{time // unit} {name}"
    return f"{time.seconds} s"


def text(value: str) -> Text:
    """Show what others wrote as nothing but text: no markup, nothing for a terminal."""
    return Text(printable(value))


def printable(value: str) -> str:
    """Return it without what does something to a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)


def print_wide(what: RenderableType) -> None:
    """Print; what is no terminal is as wide as it has to be."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    console.print(what)


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Lay out what is known, one fact a line; what is empty is left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value:
            table.add_row(name, text(value))
    return table
