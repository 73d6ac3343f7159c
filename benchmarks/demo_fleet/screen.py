"""What is shown meanwhile: a live view on a terminal, else a line now and then."""

from collections.abc import Mapping
from time import monotonic
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from voicestatus.simulator.signs import Tally

LINE_EVERY_S = 5.0


class Screen:
    """Shows one act after the other."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._began_at = monotonic()
        self._next_line_at = 0.0

    def say(self, text: str) -> None:
        """Show a text that stays."""
        self._console.print(f"[dim]{self._seconds():5.0f} s[/]  {text}")

    def show(self, part: Any) -> None:
        """Show a table that stays."""
        self._console.print(part)

    def open(self) -> None:
        """Begin a live view."""
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    def close(self) -> None:
        """End it."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def progress(self, what: str, done: int, of: int) -> None:
        """Renew the view: so many of so many."""
        self._renew(
            lambda: Group(Text(f"{what}: {done} of {of}"), ProgressBar(of, done)),
            f"{what}: {done} of {of}",
        )

    def rollout(
        self, status: str, stage: str, counts: Mapping[str, int], tally: Tally
    ) -> None:
        """Renew the view: how far a rollout is, by the server and by the signs."""
        told = "  ".join(f"{name} {count}" for name, count in counts.items() if count)

        def view() -> Table:
            table = Table(box=None, show_header=False)
            table.add_row("rollout", f"{status}, {stage}")
            table.add_row("devices", told)
            table.add_row(
                "signs",
                f"connected {tally.connected}  updated {tally.updated}  "
                f"lost power {tally.lost_power}  never back {tally.never_back}  "
                f"rolled back {tally.rolled_back}",
            )
            return table

        self._renew(view, f"{status}, {stage}: {told}")

    def _renew(self, view: Any, line: str) -> None:
        if self._live is not None:
            self._live.update(view(), refresh=True)
        elif monotonic() >= self._next_line_at:
            self._next_line_at = monotonic() + LINE_EVERY_S
            self.say(line)

    def _seconds(self) -> float:
        return monotonic() - self._began_at
