"""Rollouts as tables for people."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from voicestatus.cli.shown import Json, ago, facts, text
from voicestatus.core import reasons

MOST = 20
"""Devices that are named where not all are asked for."""
UNDER_WAY = ("offered", "fetching", "fetched", "rebooted")
BAR = 30


def list_table(found: Sequence[Json]) -> Table:
    """Lay out rollouts, one a line."""
    now = datetime.now(UTC)
    titles = (
        "id",
        "name",
        "status",
        "stage",
        "confirmed",
        "failed",
        "waiting",
        "begun",
    )
    table = _table(titles, numbers={"confirmed", "failed", "waiting"})
    for one in found:
        counts = one["counts"]
        table.add_row(
            text(one["id"]),
            text(one["name"]),
            text(one["status"]),
            f"{one['stage'] + 1} of {len(one['stages'])}",
            str(counts.get("confirmed", 0)),
            str(counts.get("failed", 0)),
            str(counts.get("pending", 0)),
            ago(one["createdAt"], now),
            style="" if one["endedAt"] is None else "dim",
        )
    return table


def report_table(report: Json, *, bars: bool) -> RenderableType:
    """Lay out all that is to be said of one; `bars` on a terminal alone."""
    now = datetime.now(UTC)
    rows = [
        ("rollout", " ".join(filter(None, (report["id"], report["name"])))),
        ("status", status_of(report)),
        ("releases", ", ".join(report["releases"])),
        ("begun", ago(report["createdAt"], now)),
        ("signs", counts_of(report["counts"])),
        ("skipped", _by_reason(report["skippedBy"])),
        ("undone by", ", ".join(report["undoneBy"])),
    ]
    shown: list[RenderableType] = [facts(rows), _stages(report, bars)]
    if report["failed"]:
        shown.append(_failed(report))
    return Group(*shown)


def device_table(found: Sequence[Json]) -> Table:
    """Lay out the signs of a rollout, one a line."""
    table = _table(("sign", "phase", "stage", "release", "ran before", "why"))
    for one in found:
        way = f" {one['progress']} %" if one["phase"] == "fetching" else ""
        table.add_row(
            text(one["device"]),
            text(one["phase"] + way),
            "" if one["stage"] is None else str(one["stage"] + 1),
            text(one["release"]),
            text(one["before"]),
            text(one["reason"]),
        )
    return table


def preview_table(found: Json) -> Table:
    """Lay out what a rollout would do, by stage."""
    rows = []
    for n, stage in enumerate(found["stages"]):
        named = [one["device"] for one in found["devices"] if one["stage"] == n]
        rows.append((f"stage {n + 1}", _named(stage["adds"], named)))
    if found["beyond"]:
        rows.append(("beyond", f"{found['beyond']} that no stage reaches"))
    for why, number in found["skippedBy"].items():
        named = [one["device"] for one in found["devices"] if one["why"] == why]
        rows.append(("skipped", _named(number, named, reasons.of_device(why))))
    return facts(rows)


def undone_table(id_: str, undone: Json) -> RenderableType:
    """Lay out what a rollback does."""
    counts = undone["counts"]
    rows = [
        ("aborted", id_),
        ("given back", f"{counts.get('offered', 0)} old signs"),
        ("by", ", ".join(undone["rollouts"])),
        ("needless", f"{counts.get('needless', 0)}"),
        ("impossible", f"{counts.get('impossible', 0)}"),
    ]
    impossible = [one for one in undone["devices"] if one["can"] == "impossible"]
    rows += [("", f"{one['device']}: {one['reason']}") for one in impossible[:MOST]]
    return facts(rows)


def status_of(report: Json) -> str:
    """Say in a line how it stands."""
    status, stage = report["status"], f"stage {report['stage'] + 1}"
    stage += f" of {len(report['stages'])}"
    match status:
        case "halted":
            return f"halted in {stage}: {report['reason']}"
        case "running" if report["soakUntil"] is not None:
            until = datetime.fromisoformat(report["soakUntil"])
            return f"running, {stage}: watched until {until:%H:%M:%S} UTC"
        case "running" | "paused":
            return f"{status}, {stage}"
        case _:
            end = "" if report["endedAt"] else ", and some signs are still at it"
            return f"{status.replace('_', ' ')}{end}"


def counts_of(counts: Mapping[str, int]) -> str:
    """Say how many signs are how far."""
    told = {
        "confirmed": counts.get("confirmed", 0),
        "failed": counts.get("failed", 0),
        "under way": sum(counts.get(phase, 0) for phase in UNDER_WAY),
        "waiting": counts.get("pending", 0),
        "skipped": counts.get("skipped", 0),
        "taken by a newer rollout": counts.get("superseded", 0),
    }
    return ", ".join(f"{number} {name}" for name, number in told.items() if number)


def _stages(report: Json, bars: bool) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    before = 0
    for n, stage in enumerate(report["stages"]):
        adds = max(stage["size"] - before, stage["touched"])
        before = max(before, stage["size"])
        done = stage["confirmed"] + stage["failed"]
        name = Text(f"stage {n + 1}", "bold" if n == report["stage"] else "")
        said = f"{stage['confirmed']} of {adds} confirmed"
        if stage["failed"]:
            said += f", {stage['failed']} failed"
        bar = [ProgressBar(max(adds, 1), done, BAR)] if bars else []
        table.add_row(name, *bar, said)
    return table


def _failed(report: Json) -> Table:
    table = _table(("failed", "release", "ran before", "why"))
    for one in report["failed"][:MOST]:
        table.add_row(
            text(one["device"]),
            text(one["release"]),
            text(one["before"]),
            text(one["reason"]),
        )
    more = sum(report["failedBy"].values()) - table.row_count
    if more:
        id_ = report["id"]
        table.caption = f"{more} more: voicestatus rollout devices {id_} --phase failed"
        table.caption_justify = "left"
    return table


def _named(number: int, named: Sequence[str], words: str = "") -> str:
    names = ", ".join(named[:MOST])
    if names and number > MOST:
        names += f" and {number - MOST} more"
    return f"{number} {words}".rstrip() + (f": {names}" if names else "")


def _by_reason(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {reasons.of_device(why)}" for why, n in counts.items())


def _table(titles: Sequence[str], numbers: Collection[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        is_number = title in numbers
        table.add_column(title, no_wrap=True, justify="right" if is_number else "left")
    return table
