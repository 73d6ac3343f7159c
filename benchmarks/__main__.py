"""Measures, and writes docs/performance.md; `--help` says what else it does."""

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

from benchmarks import (
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
PARTS = (
    *("fleet", "downloads", "whole", "storm", "rules", "events", "journal"),
    *("nodes", "streams"),
)


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


def _measure(plan: Plan, parts: Sequence[str]) -> tuple[str, dict[str, object]]:
    """Return the page, and all figures behind it."""
    began = time.monotonic()
    fleets: dict[int, fleet.Rounds] = {}
    wholes: list[whole.Measured] = []
    storms: list[storm.Measured] = []
    all_rules: list[rules.Measured] = []
    all_events: list[events.Measured] = []
    journals: list[journal.Measured] = []
    all_nodes: list[nodes.Measured] = []
    all_downloads: list[downloads.Measured] = []
    all_streams = streams.compare(plan) if "streams" in parts else {}
    if "fleet" in parts:
        fleets = dict(fleet.compare(plan))
    for n in range(plan.rounds):
        if "downloads" in parts:
            _say(f"downloads, round {n + 1} of {plan.rounds}")
            all_downloads.append(downloads.measure(plan))
        if "whole" in parts:
            _say(f"the whole program, round {n + 1} of {plan.rounds}")
            wholes.append(whole.measure(plan))
        if "storm" in parts:
            _say(f"a storm of signs, round {n + 1} of {plan.rounds}")
            storms.append(storm.measure(plan))
        if "rules" in parts:
            _say(f"rules, round {n + 1} of {plan.rounds}")
            all_rules.append(rules.measure(plan))
        if "events" in parts:
            _say(f"events, round {n + 1} of {plan.rounds}")
            all_events.append(events.measure(plan) | sustained.measure(plan))
        if "journal" in parts:
            _say(f"the journal, round {n + 1} of {plan.rounds}")
            journals.append(journal.measure(plan))
        if "nodes" in parts:
            _say(f"two nodes, round {n + 1} of {plan.rounds}")
            all_nodes.append(nodes.measure(plan))
    minutes = f"about {(time.monotonic() - began) / 60:.0f} minutes"
    machine = describe()
    measured = report.Parts(
        fleets,
        all_downloads,
        wholes,
        storms,
        all_rules,
        all_events,
        journals,
        all_nodes,
        all_streams,
    )
    page = report.page(machine, plan, measured, minutes)
    figures: dict[str, object] = {
        "machine": dict(machine),
        "plan": asdict(plan),
        "fleet": fleets,
        "downloads": all_downloads,
        "whole": wholes,
        "storm": storms,
        "rules": all_rules,
        "events": all_events,
        "journal": journals,
        "nodes": all_nodes,
        "streams": all_streams,
    }
    return page, figures


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
