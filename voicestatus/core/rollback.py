"""What can be undone of an update, device by device. Pure.

A device that checks signatures takes no build lower than its own: who finds an old
release must not be able to bring its holes back. So nothing can be given back to it;
what helps is the old code with a higher build. Old devices check nothing, and may be
given what they ran before. Source: reference/firmware.md 3, threat `rollback`.
"""

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from voicestatus.core.course import MAY_FETCH
from voicestatus.core.eligibility import Facts, same_chip
from voicestatus.core.release import Release
from voicestatus.core.rollout_state import Before, DeviceState, Fault

_NEVER_RAN: Final = frozenset(
    fault.value
    for fault in (
        Fault.UNANSWERED,
        Fault.REPORTED,
        Fault.TIMED_OUT,
        Fault.INTERRUPTED,
        Fault.OLD_BUILD,
        Fault.ROLLED_BACK,
    )
)
"""Failures after which a device runs what it ran before, as far as it does not say."""

Why = Literal[
    "",
    "takes_no_lower_build",
    "unknown_before",
    "no_such_release",
    "still_runs_it",
    "under_way",
    "forgotten",
]


class Undo(Struct, frozen=True, omit_defaults=True):
    """What can be done for one device that an update has touched."""

    device: str
    can: Literal["offered", "impossible", "needless"]
    """`offered`: it is offered `release`, which it ran before."""
    release: str = ""
    why: Why = ""


def undo(state: DeviceState, facts: Facts | None, releases: Iterable[Release]) -> Undo:
    """Say what can be done for a device that a rollout has touched."""
    before = state.before
    if state.phase in MAY_FETCH:
        return Undo(state.device, "impossible", why="under_way")
    if facts is None:
        return Undo(state.device, "needless", why="forgotten")
    says = not facts.legacy and facts.connected and facts.introduced
    if before is not None and says:
        kept = facts.build == before.build
    else:
        kept = state.why in _NEVER_RAN
    if kept:
        return Undo(state.device, "needless", why="still_runs_it")
    if not facts.legacy:
        return Undo(state.device, "impossible", why="takes_no_lower_build")
    if before is None or not (before.md5 or before.version):
        return Undo(state.device, "impossible", why="unknown_before")
    for release in releases:
        may = release.legacy and release.trusted
        if may and same_chip(release.chip, facts) and _was(before, release):
            return Undo(state.device, "offered", release.id)
    return Undo(state.device, "impossible", why="no_such_release")


def _was(before: Before, release: Release) -> bool:
    """Whether that is what a device ran; a sum tells more than a name."""
    if before.md5:
        return before.md5 == release.md5
    return before.version == release.version
