"""`voicestatus rollout`: releases on their way to signs, in stages."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click
from rich.console import Console

from voicestatus.cli import given
from voicestatus.cli.client import Call, calls_server, server_options
from voicestatus.cli.rollout_shown import (
    device_table,
    list_table,
    preview_table,
    report_table,
    undone_table,
)
from voicestatus.cli.rollout_watch import Watch, watched
from voicestatus.cli.shown import Json, print_wide, show
from voicestatus.core.rollout_state import Phase, Status

PATH = "/firmware/rollouts"
PREVIEWED = 1000
"""Devices that a dry run names on a page."""


@click.group()
@server_options
def rollout() -> None:
    """Give signs a release, in stages that stop by themselves."""


# -- beginning -------------------------------------------------------------------------


@rollout.command()
@click.argument("releases", nargs=-1, metavar="RELEASE...")
@click.option("--name", help="What people call it.")
@click.option(
    "--target",
    multiple=True,
    metavar="KIND=VALUE,...",
    help="Whom it is for: tag, chip, version, build, id. Kinds are ANDed, values of "
    "one kind ORed; without it: all.",
)
@click.option(
    "--stages",
    metavar="N,N%,...",
    help="Signs in all at the end of each stage [default: 1,10%,50%,100%].",
)
@click.option(
    "--soak",
    metavar="TIME",
    help="How long a full stage is watched: 90s, 10m, 2h, 1d [default: 10m].",
)
@click.option(
    "--halt-at",
    metavar="N|N%",
    help="Stop by itself at so many failures; with % of a stage's [default: 20%].",
)
@click.option("--rate", type=click.IntRange(1), help="Offers a minute [default: 60].")
@click.option(
    "--window",
    multiple=True,
    metavar='"DAYS FROM-TO ZONE"',
    help='When signs are offered it: "mon-fri 02:00-05:00 Europe/Berlin".',
)
@click.option("--not-while-lit", is_flag=True, help="Wait until a sign is dark.")
@click.option("--probe", is_flag=True, help="Ask old signs what they run.")
@click.option(
    "--plan",
    metavar="FILE|JSON",
    help="A plan as the API takes it; the other options go before it.",
)
@click.option("--dry-run", is_flag=True, help="Only say who would get it, and who not.")
@click.option("--watch", is_flag=True, help="Follow it to its end.")
@calls_server
def start(
    call: Call,
    /,
    releases: tuple[str, ...],
    plan: str | None,
    dry_run: bool,
    watch: bool,
    **options: Any,
) -> None:
    """Give signs the RELEASEs: each gets the one for its chip and board.

    Signs that are away get it when they come back.
    """
    whole = {} if plan is None else given.json_of(plan, "the plan")
    if not isinstance(whole, dict):
        raise click.UsageError("the plan is no JSON object")
    if releases:
        whole["releases"] = list(releases)
    elif "releases" not in whole:
        raise click.UsageError("say which RELEASE: `voicestatus releases` lists all")
    whole |= _plan_of(options)
    if dry_run:
        _preview(call, whole)
        return
    begun = call.server.post(PATH, whole)
    if watch:
        _watch(call, begun["id"])
    else:
        show(call, begun, f"{begun['id']} has begun: `voicestatus rollout status`")


def _plan_of(options: Json) -> dict[str, Any]:
    """Put together what options say of a plan."""
    said: dict[str, Any] = {}
    soak_s = None if options["soak"] is None else given.seconds(options["soak"])
    stages = options["stages"]
    if stages is not None or soak_s is not None:
        stages = DEFAULT_STAGES if stages is None else stages
        said["stages"] = given.stages(stages, soak_s)
    if options["target"]:
        said["target"] = given.target(options["target"])
    if options["halt_at"] is not None:
        said["haltAt"] = given.halt_at(options["halt_at"])
    if options["window"]:
        said["windows"] = [given.window(each) for each in options["window"]]
    for option, key in PASSED_ON.items():
        if options[option]:
            said[key] = options[option]
    return said


DEFAULT_STAGES = "1,10%,50%,100%"
PASSED_ON = {
    "name": "name",
    "rate": "ratePerMinute",
    "not_while_lit": "notWhileLit",
    "probe": "probe",
}


def _preview(call: Call, plan: Json) -> None:
    path = f"{PATH}/dry-run?limit={PREVIEWED}"
    found = call.server.post(path, plan)
    if not call.as_json:
        print_wide(preview_table(found))
        return
    after = found["next"]
    while after is not None:
        more = call.server.post(f"{path}&after={quote(after, safe='')}", plan)
        found["devices"] += more["devices"]
        after = more["next"]
    click.echo(json.dumps(found | {"next": None}, indent=2))


# -- looking ---------------------------------------------------------------------------


@rollout.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--watch", is_flag=True, help="Follow it to its end.")
@calls_server
def status(call: Call, id_: str | None, watch: bool) -> None:
    """Show all rollouts, or the rollout ID: how far it is, who failed and why.

    With --watch and without an ID it is the only one that has not ended. It fails (1)
    when that halts or is aborted; ^C ends the watching alone.
    """
    if watch:
        _watch(call, _only_one(call) if id_ is None else id_)
    elif id_ is not None:
        report = call.server.get(_path_of(id_))
        show(call, report, report_table(report, bars=Console().is_terminal))
    else:
        _list(call)


@rollout.command()
@click.argument("id_", metavar="ID")
@click.option(
    "--phase",
    type=click.Choice([phase.value for phase in Phase]),
    help="Those that are so far.",
)
@calls_server
def devices(call: Call, id_: str, phase: str | None) -> None:
    """Show the signs of the rollout ID, and how far each is."""
    query = {} if phase is None else {"phase": phase}
    found = list(call.server.pages(f"{_path_of(id_)}/devices", "devices", **query))
    show(call, found, device_table(found))


def _list(call: Call) -> None:
    found = list(call.server.pages(PATH, "rollouts"))
    if call.as_json:
        click.echo(json.dumps(found, indent=2))
    elif found:
        print_wide(list_table(found))
    else:
        click.echo("There is none; `voicestatus rollout start` begins one.")


def _only_one(call: Call) -> str:
    alive = [one["id"] for one in _alive(call)]
    if len(alive) != 1:
        said = f"{len(alive)} rollouts have not ended: {', '.join(alive)}; say which ID"
        raise click.UsageError(said if alive else "no rollout is under way")
    return str(alive[0])


def _alive(call: Call) -> Iterator[Json]:
    for one in call.server.pages(PATH, "rollouts"):
        if one["endedAt"] is None:
            yield one


def _watch(call: Call, id_: str) -> None:
    console = Console(stderr=call.as_json)
    watch = Watch(
        lambda: call.server.get(_path_of(id_)), console, time.sleep, time.monotonic
    )
    report = watched(watch, id_)
    if report is None:
        return
    if call.as_json:
        click.echo(json.dumps(report, indent=2))
    if report["status"] != Status.FINISHED.value:
        raise click.exceptions.Exit(1)


# -- what it does ----------------------------------------------------------------------


@rollout.command()
@click.argument("id_", metavar="ID")
@calls_server
def pause(call: Call, id_: str) -> None:
    """Offer nothing more for now; signs that were offered it go on."""
    _order(call, id_, "pause", "is paused")


@rollout.command()
@click.argument("id_", metavar="ID")
@calls_server
def resume(call: Call, id_: str) -> None:
    """Go on, also after it has halted: its failures are forgiven then."""
    _order(call, id_, "resume", "goes on")


@rollout.command()
@click.argument("id_", metavar="ID")
@calls_server
def abort(call: Call, id_: str) -> None:
    """Offer nothing more for good; signs that fetch it go on."""
    _order(call, id_, "abort", "is aborted")


@rollout.command()
@click.argument("id_", metavar="ID")
@calls_server
def rollback(call: Call, id_: str) -> None:
    """Abort it, and give old signs back what they ran before.

    Signs that check signatures take no lower build: for them the old code is built and
    published as a newer one.
    """
    undone = call.server.post(f"{_path_of(id_)}/rollback")
    show(call, undone, undone_table(id_, undone))


@rollout.command()
@click.argument("id_", metavar="ID")
@click.argument("signs", nargs=-1, required=True, metavar="SIGN...")
@calls_server
def retry(call: Call, id_: str, signs: tuple[str, ...]) -> None:
    """Give SIGNs that failed, or were skipped, another chance."""
    _order(call, id_, "retry", f"tries {', '.join(signs)} again", {"devices": signs})


def _order(call: Call, id_: str, what: str, done: str, body: object = None) -> None:
    answer = call.server.post(f"{_path_of(id_)}/{what}", body)
    show(call, answer, f"{id_} {done}")


def _path_of(id_: str) -> str:
    return f"{PATH}/{quote(id_, safe='')}"
