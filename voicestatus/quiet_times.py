"""The quiet hours of all rules, looked at when they begin and end."""

from collections.abc import Callable
from typing import Any

from voicestatus.core.agenda import Agenda
from voicestatus.core.group import Group, Quiet
from voicestatus.core.quiet import QuietHours

LOOK_AT_WALL_EVERY_S = 30.0
JUMP_S = 0.5
"""A wall clock that is off by more than that has jumped."""


class Wall:
    """On the agenda: whether the wall clock has jumped."""


_WALL = Wall()


class QuietTimes:
    """Puts quiet hours on an agenda, which goes by another clock than they do."""

    def __init__(
        self,
        agenda: Agenda[Any],
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """`now` is the agenda's time, `wall` Unix time."""
        self._agenda, self._now, self._wall = agenda, now, wall
        self._quiets: dict[tuple[QuietHours, ...], Quiet] = {}
        self._wall_ahead_s = 0.0
        """How far the wall clock was ahead when it was looked at last."""

    def join(self, group: Group) -> None:
        """Let a group have the quiet hours of its rule, if it has any."""
        hours = group.rule.quiet
        if not hours:
            return
        if not self._quiets:
            self._look_at_wall_again()
        quiet = self._quiets.get(hours)
        if quiet is None:
            quiet = self._quiets[hours] = Quiet(hours)
            self.look(quiet)
        quiet.groups.add(group)
        group.quiet = quiet

    def leave(self, group: Group) -> None:
        """Let a group go; hours that nobody has any more are not looked at."""
        if (quiet := group.quiet) is None:
            return
        quiet.groups.discard(group)
        if not quiet.groups:
            del self._quiets[quiet.hours]
            self._agenda.put(quiet, None)

    def look(self, quiet: Quiet) -> bool:
        """Look at the clock; return whether it began or ended to be quiet."""
        now = round(self._wall(), 3)  # a timer is not exact
        changed = quiet.look(now)
        self._agenda.put(quiet, self._now() + quiet.until - now)
        return changed

    def look_at_all(self) -> None:
        """See to it that all are looked at next: thousands would take a second."""
        if not self._quiets:
            return
        self._look_at_wall_again()
        for quiet in self._quiets.values():
            self._agenda.put(quiet, self._now())

    def look_for_jump(self) -> None:
        """Look whether the wall clock was set."""
        ahead_s = self._wall() - self._now()
        if abs(ahead_s - self._wall_ahead_s) > JUMP_S:
            self.look_at_all()
        elif self._quiets:
            self._agenda.put(_WALL, self._now() + LOOK_AT_WALL_EVERY_S)

    def remaining_s(self, quiet: Quiet) -> float:
        return max(0.0, quiet.until - self._wall())

    def _look_at_wall_again(self) -> None:
        self._wall_ahead_s = self._wall() - self._now()
        self._agenda.put(_WALL, self._now() + LOOK_AT_WALL_EVERY_S)
