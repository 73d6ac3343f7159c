"""`voicestatus releases`: what may be rolled out."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

import click
from rich.table import Table

from voicestatus.cli.client import Call, call_of, calls_server, server_options
from voicestatus.cli.shown import Json, ago, facts, print_wide, show, text
from voicestatus.core.release import Channel

PATH = "/firmware/releases"
TITLES = ("id", "chip", "version", "build", "channel", "old signs", "size", "added")


@click.group(invoke_without_command=True)
@server_options
@click.pass_context
def releases(context: click.Context) -> None:
    """Show all releases, or do something to one."""
    if context.invoked_subcommand is not None:
        return
    call = call_of(context)
    found = list(call.server.pages(PATH, "releases"))
    if call.as_json:
        click.echo(json.dumps(found, indent=2))
    elif found:
        print_wide(_table(found))
    else:
        click.echo("There is none; `voicestatus publish` makes one.")


@releases.command("show")
@click.argument("release", metavar="ID")
@calls_server
def show_(call: Call, release: str) -> None:
    """Show the release ID."""
    shown = call.server.get(_path_of(release))
    show(call, shown, _lines(shown))


@releases.command()
@click.argument("release", metavar="ID")
@click.option(
    "--channel",
    type=click.Choice([channel.value for channel in Channel]),
    help="How far it is meant to go.",
)
@click.option(
    "--legacy/--no-legacy",
    default=None,
    help="Allow it for old signs, which check no signature; or not any more.",
)
@click.option("--notes", metavar="TEXT", help="What is new in it.")
@calls_server
def change(
    call: Call,
    release: str,
    channel: str | None,
    legacy: bool | None,
    notes: str | None,
) -> None:
    """Change what you say of the release ID."""
    given = {"channel": channel, "legacy": legacy, "notes": notes}
    new = {key: value for key, value in given.items() if value is not None}
    if not new:
        raise click.UsageError("say what: --channel, --legacy, --no-legacy or --notes")
    changed = call.server.patch(_path_of(release), new)
    show(call, changed, _lines(changed))


@releases.command()
@click.argument("release", metavar="ID")
@calls_server
def delete(call: Call, release: str) -> None:
    """Forget the release ID and its image; not while a rollout needs it."""
    call.server.delete(_path_of(release))
    show(call, {"release": release}, f"{release} is forgotten")


def _path_of(release: str) -> str:
    return f"{PATH}/{quote(release, safe='')}"


def _table(found: Sequence[Json]) -> Table:
    now = datetime.now(UTC)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in TITLES:
        numbers = title in {"build", "size"}
        table.add_column(title, no_wrap=True, justify="right" if numbers else "left")
    for release in found:
        table.add_row(
            text(release["id"]),
            _made_for(release),
            text(release["version"]),
            str(release["build"]),
            release["channel"] if release["trusted"] else "untrusted",
            "yes" if release["legacy"] else "no",
            str(release["sizeBytes"]),
            ago(release["addedAt"], now),
        )
    return table


def _made_for(release: Json) -> str:
    return " ".join(filter(None, (release["chip"], release["board"])))


def _lines(release: Json) -> Table:
    floor, least = release["floor"], release["minBuild"]
    rows = {
        "id": release["id"],
        "for": _made_for(release),
        "firmware": f"{release['version']} (build {release['build']})",
        "channel": release["channel"],
        "signature": "" if release["trusted"] else "by a key that is trusted no more",
        "old signs": "may have it" if release["legacy"] else "do not get it",
        "notes": release["notes"],
        "min build": f"{least}" if least else "",
        "floor": f"{floor}" if floor else "",
        "not after": release["notAfter"] or "",
        "size": f"{release['sizeBytes']} bytes",
        "sha256": release["sha256"],
        "md5": release["md5"],
        "added": ago(release["addedAt"], datetime.now(UTC)),
        "needed": "by a rollout" if release["needed"] else "",
    }
    return facts(rows.items())
