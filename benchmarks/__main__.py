"""Measures, and writes docs/performance.md; `--help` says what else it does."""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

from benchmarks import (
    dashboard,
    downloads,
    events,
    fleet,
    journal,
    nodes,
    report,
    rules,
    storm,
    streams,
    sustained,
    whole,
)
from benchmarks.build import BUILD, HERE
from benchmarks.machine import describe
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.process import BenchmarkError

PAGE = HERE.parent / "docs" / "performance.md"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small numbers: does it work at all?"
    )
    parser.add_argument("--only", choices=PARTS, help="one part, shown and not written")
    parser.add_argument("--rounds", type=int, help="instead of the plan's")
    parser.add_argument(
        "--counts", type=int, nargs="+", help="numbers of signs instead of the plan's"
    )
    return parser.parse_args()


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = QUICK if arguments.quick else FULL
    if arguments.rounds:
        plan = replace(plan, rounds=arguments.rounds)
    if arguments.counts:
        plan = replace(plan, counts=tuple(arguments.counts))
    return plan


def _allow_open_files() -> None:
    """Let servers, who inherit it, have as many connections as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _say(what: str) -> None:
    sys.stderr.write(what + "\n")


def _events(plan: Plan) -> Mapping[str, float]:
    return events.measure(plan) | sustained.measure(plan)


IN_ROUNDS: Mapping[str, tuple[str, Callable[[Plan], Mapping[str, float]]]] = {
    "downloads": ("downloads", downloads.measure),
    "whole": ("the whole program", whole.measure),
    "storm": ("a storm of signs", storm.measure),
    "rules": ("rules", rules.measure),
    "events": ("events", _events),
    "journal": ("the journal", journal.measure),
    "nodes": ("two nodes", nodes.measure),
    "dashboard": ("the dashboard", dashboard.measure),
}
"""What is measured anew in each round: how it is called, and by what."""

PARTS = ("fleet", *IN_ROUNDS, "streams")


def _measure(plan: Plan, parts: Sequence[str]) -> tuple[str, dict[str, object]]:
    """Return the page, and all figures behind it."""
    began = time.monotonic()
    streamed = streams.compare(plan) if "streams" in parts else {}
    fleets = dict(fleet.compare(plan)) if "fleet" in parts else {}
    measured: dict[str, list[Mapping[str, float]]] = {part: [] for part in IN_ROUNDS}
    for n in range(plan.rounds):
        for part, (words, measure) in IN_ROUNDS.items():
            if part in parts:
                _say(f"{words}, round {n + 1} of {plan.rounds}")
                measured[part].append(measure(plan))
    minutes = f"about {(time.monotonic() - began) / 60:.0f} minutes"
    machine = describe()
    all_parts = report.Parts(fleets, streams=streamed, **measured)
    page = report.page(machine, plan, all_parts, minutes)
    figures = {"machine": dict(machine), "plan": asdict(plan), "fleet": fleets}
    return page, {**figures, **measured, "streams": streamed}


def main() -> None:
    """Run what was asked for."""
    arguments = _arguments()
    _allow_open_files()
    parts = [arguments.only] if arguments.only else PARTS
    try:
        page, figures = _measure(_plan(arguments), parts)
    except BenchmarkError as e:
        raise SystemExit(f"benchmarks: {e}") from None
    BUILD.mkdir(parents=True, exist_ok=True)
    whole_run = not (arguments.quick or arguments.only)
    results = BUILD / ("full.json" if whole_run else "partial.json")
    results.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    if whole_run:
        PAGE.write_text(page, encoding="utf-8")
        _say(f"written: {PAGE.relative_to(HERE.parent)}")
    else:
        sys.stdout.write(page)


if __name__ == "__main__":
    main()
