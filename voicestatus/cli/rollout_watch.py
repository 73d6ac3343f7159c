"""Follows a rollout to its end: bars on a terminal, else lines for a log."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Protocol

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from voicestatus.cli.client import Unreachable
from voicestatus.cli.rollout_shown import counts_of, report_table, status_of
from voicestatus.cli.shown import Json, printable

LOOK_EVERY_S = 1.0
COUNTS_EVERY_S = 10.0
"""How often a log hears of numbers alone."""
WAIT_FOR_SERVER_S = 600.0
"""So long a server may be away: it is started anew, or moves."""
OVER = frozenset({"halted", "aborted", "finished"})


class Watch:
    """Looks again and again."""

    def __init__(
        self,
        look: Callable[[], Json],
        console: Console,
        sleep: Callable[[float], object],
        seconds: Callable[[], float],
    ) -> None:
        """`look` returns a report; `seconds` is a clock."""
        self._look, self._console = look, console
        self._sleep, self._seconds = sleep, seconds

    def to_the_end(self) -> Json:
        """Show how it goes; return how it is when nothing more is to come.

        :raises ClickException: that cannot be told any more.
        """
        if not self._console.is_terminal:
            return self._show_on(_Lines(self._console, self._seconds))
        with Live(console=self._console, auto_refresh=False) as live:
            return self._show_on(_Bars(live))

    def _show_on(self, screen: "_Screen") -> Json:
        report: Json = {}
        for seen in self._sights():
            if isinstance(seen, Unreachable):
                screen.away(seen.message)
            else:
                report = seen
                screen.show(report)
        return report

    def _sights(self) -> Iterator[Json | Unreachable]:
        """Yield how it is, or why that cannot be told for now, until it is over."""
        seen: Json | Unreachable = self._look()
        here_at = self._seconds()
        while True:
            yield seen
            if not isinstance(seen, Unreachable):
                here_at = self._seconds()
                if seen["status"] in OVER:
                    return
            self._sleep(LOOK_EVERY_S)
            try:
                seen = self._look()
            except Unreachable as e:
                if self._seconds() > here_at + WAIT_FOR_SERVER_S:
                    raise
                seen = e


def watched(watch: Watch, id_: str) -> Json | None:
    """Watch it; return how it is in the end, None if ^C was pressed before."""
    try:
        return watch.to_the_end()
    except KeyboardInterrupt:
        click.echo(
            f"Rollout {id_} goes on; `voicestatus rollout status {id_} --watch` shows "
            f"it again, and `voicestatus rollout pause {id_}` stops it.",
            err=True,
        )
        return None


class _Screen(Protocol):
    """What a watch shows it on."""

    def show(self, report: Json) -> None: ...

    def away(self, why: str) -> None:
        """Take it that the server does not answer."""


class _Bars:
    """A table in its place."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._report: Json = {}

    def show(self, report: Json) -> None:
        self._report = report
        self._live.update(report_table(report, bars=True), refresh=True)

    def away(self, why: str) -> None:
        table = report_table(self._report, bars=True)
        self._live.update(Group(table, Text(why, "red")), refresh=True)


class _Lines:
    """A line for what is new, and for numbers alone now and then."""

    def __init__(self, console: Console, seconds: Callable[[], float]) -> None:
        self._console, self._seconds = console, seconds
        self._status, self._counts, self._told_at = "", "", 0.0
        self._named: set[str] = set()
        self._away = False

    def show(self, report: Json) -> None:
        self._away = False
        for one in report["failed"]:
            if one["device"] not in self._named:
                self._named.add(one["device"])
                self._line(f"{one['device']} failed: {one['reason']}")
        status, counts = status_of(report), counts_of(report["counts"])
        is_time = self._seconds() >= self._told_at + COUNTS_EVERY_S
        if status != self._status or (counts != self._counts and is_time):
            self._status, self._counts = status, counts
            self._told_at = self._seconds()
            self._line(f"{status} ({counts})")

    def away(self, why: str) -> None:
        if not self._away:
            self._away = True
            self._line(why)

    def _line(self, said: str) -> None:
        at = datetime.now(UTC)
        self._console.out(f"{at:%H:%M:%S} {printable(said)}", highlight=False)
