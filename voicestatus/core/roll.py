"""Who is in a rollout, and in which order their turns come. Pure."""

from collections.abc import Sequence
from hashlib import sha256

from msgspec import Struct

from voicestatus.core.eligibility import Facts, Judge, Skip, Skipped
from voicestatus.core.plan import Plan
from voicestatus.core.release import Release
from voicestatus.core.rollout_state import DeviceState, Phase


class Lots:
    """Draws the order of devices by lot, and always alike for the same releases."""

    def __init__(self, plan: Plan) -> None:
        self._seed = sha256("\n".join((*sorted(plan.releases), "")).encode())

    def of(self, device: str) -> bytes:
        """Return what devices are sorted by."""
        drawn = self._seed.copy()
        drawn.update(device.encode())
        return drawn.digest()


class Roll:
    """Takes down who is to have what."""

    def __init__(self, plan: Plan, releases: Sequence[Release]) -> None:
        self._plan, self._judge = plan, Judge(plan, releases)
        self._states: list[DeviceState] = []

    def take(self, facts: Facts, now: float) -> None:
        """Take a device down, if the target names it."""
        verdict = self._judge.verdict(facts, now)
        if verdict == _OUTSIDE:
            return
        release = "" if verdict.release is None else verdict.release.id
        phase, why = Phase.PENDING, ""
        if isinstance(verdict, Skipped) and not needs_probe(self._plan, facts, verdict):
            phase, why = Phase.SKIPPED, verdict.why.value
        self._states.append(
            DeviceState(
                device=facts.id, phase=phase, since=now, release=release, why=why
            )
        )

    def waiting(self) -> list[DeviceState]:
        """Return those that are to have it, in the order of their turns.

        With `probe` it is an old device's turn, too, whose chip is to be learnt first.
        """
        found = [state for state in self._states if state.phase is Phase.PENDING]
        lots = Lots(self._plan)
        return sorted(found, key=lambda state: lots.of(state.device))

    def skipped(self) -> list[DeviceState]:
        """Return those that get nothing, by id."""
        found = [state for state in self._states if state.phase is not Phase.PENDING]
        return sorted(found, key=lambda state: state.device)

    def preview(self) -> "Preview":
        """Say who would be updated in which stage, and who skipped and why."""
        waiting = self.waiting()
        ends = self._plan.sizes(len(waiting))
        begins = (0, *ends)
        return Preview(
            tuple(tuple(waiting[a:b]) for a, b in zip(begins, ends, strict=False)),
            tuple(waiting[ends[-1] :]),
            tuple(self.skipped()),
        )


_OUTSIDE = Skipped(Skip.OUTSIDE)


def needs_probe(plan: Plan, facts: Facts, verdict: Skipped) -> bool:
    """Whether it may turn out, when it is asked, that a device gets a release."""
    return plan.probe and facts.legacy and verdict.why is Skip.UNKNOWN_CHIP


class Preview(Struct, frozen=True):
    """What a rollout would do."""

    stages: tuple[tuple[DeviceState, ...], ...]
    """By stage those that it adds, if all are here when their turns come."""
    beyond: tuple[DeviceState, ...]
    """Those that no stage reaches."""
    skipped: tuple[DeviceState, ...]
