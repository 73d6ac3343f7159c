"""`voicestatus devices`: who the signs are and how they are."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from voicestatus.cli.client import Call, calls_server
from voicestatus.cli.shown import Json, ago, print_wide, text

FOLLOW_EVERY_S = 2.0
TITLES = (
    *("id", "name", "state", "fw", "chip", "signal"),
    *("last seen", "address", "tags"),
)


@click.command("devices")
@click.option("--tag", help="Those that have this tag.")
@click.option("--offline", is_flag=True, help="Those that are not connected.")
@click.option("--search", metavar="TEXT", help="Those with TEXT in their id or name.")
@click.option("--once", is_flag=True, help="Print once, and do not follow.")
@calls_server
def devices(
    call: Call, tag: str | None, offline: bool, search: str | None, once: bool
) -> None:
    """Show all signs.

    On a terminal the table follows what happens, until ^C.
    """
    wanted = {"tag": tag, "connected": "false" if offline else None, "q": search}
    query = {key: value for key, value in wanted.items() if value is not None}

    def fetch() -> list[Json]:
        return list(call.server.pages("/devices", "devices", **query))

    console = Console()
    if call.as_json:
        click.echo(json.dumps(fetch(), indent=2))
    elif once or not console.is_terminal:
        print_wide(table_of(fetch(), datetime.now(UTC)))
    else:
        with suppress(KeyboardInterrupt):
            follow(fetch, console, time.sleep)


def follow(
    fetch: Callable[[], Sequence[Json]],
    console: Console,
    sleep: Callable[[float], object],
) -> None:
    """Show the devices as they are, again and again, until it is interrupted.

    A server that is away for a while is waited for.
    """

    def table() -> Table:
        return table_of(fetch(), datetime.now(UTC), max(console.height - 4, 1))

    shown = table()
    with Live(shown, console=console, auto_refresh=False) as live:
        while True:
            sleep(FOLLOW_EVERY_S)
            try:
                shown = table()
                live.update(shown, refresh=True)
            except click.ClickException as e:
                live.update(Group(shown, Text(e.message, "red")), refresh=True)


def table_of(devices: Sequence[Json], now: datetime, most: int | None = None) -> Table:
    """Lay the devices out, or as many of them as there is room for."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in TITLES:
        table.add_column(title, no_wrap=True)
    for device in devices[:most]:
        table.add_row(
            text(device["id"]),
            text(device["name"]),
            text(state_of(device)),
            text(device["fw"]),
            text(device["chip"]),
            "" if device["rssiDbm"] is None else f"{device['rssiDbm']} dBm",
            "now" if device["connected"] else ago(device["lastSeen"], now),
            text(device["address"] or ""),
            text(", ".join(device["tags"])),
            style="" if device["connected"] else "dim",
        )
    here = sum(device["connected"] for device in devices)
    hidden = len(devices) - table.row_count
    more = f"; {hidden} are not shown" if hidden else ""
    table.caption = f"{here} of {len(devices)} connected{more}"
    table.caption_justify = "left"
    return table


def state_of(device: Json) -> str:
    """Say in a few words how a device stands."""
    state = "connected" if device["connected"] else "away"
    if not device["enrolled"]:
        return f"{state}, stranger"
    if device["revoked"]:
        return f"{state}, revoked"
    return state if device["approved"] else f"{state}, to approve"
