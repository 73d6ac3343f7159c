"""How one device fares with an update, from the offer to its end. Pure.

A device of version 2 says what it does and what it runs. An old one says nothing: it is
judged by what it fetched, that it came back and, where it may be asked, a probe.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from msgspec.structs import replace

from voicestatus.core.agenda import SLACK_S
from voicestatus.core.eligibility import Facts, Skip, runs
from voicestatus.core.plan import Plan
from voicestatus.core.release import Release
from voicestatus.core.rollout_state import Before, DeviceState, Fault, Phase

MAX_TRIES: Final = 3
"""Offers to a device that never began to fetch."""
SETTLES_S: Final = 60.0
"""A device that is back and does not run the release may be about to start it."""
LOOK_AGAIN_S: Final = 30.0
PROBED_WITHIN_S: Final = 120.0
"""Far longer than a device takes that is asked what it runs."""
MAY_FETCH: Final = frozenset({Phase.OFFERED, Phase.FETCHING})
_NOT_YET_BACK: Final = MAY_FETCH | {Phase.FETCHED}


class _Keep(Enum):
    KEEP = "keep"


KEEP: Final = _Keep.KEEP


@dataclass(frozen=True, slots=True)
class Step:
    """What comes of something that happened to a device."""

    state: DeviceState
    look_at: float | Literal[_Keep.KEEP] | None = KEEP
    """When its time is over. KEEP: as it was; None: never."""
    minor: bool = False
    """Whether it need not be stored."""
    withdraw: bool = False
    """Whether it must not fetch any more. If it still could, it may be offered the
    release again when that is sure."""
    probe: bool = False


def offered(
    state: DeviceState, facts: Facts, release: Release, stage: int, now: float
) -> Step:
    """Begin; its time begins when the offer is sent."""
    before = Before(
        build=facts.build,
        version=facts.version,
        md5=facts.md5,
        boot=facts.boot,
        rtt_ms=facts.rtt_ms,
    )
    after = replace(
        state,
        phase=Phase.OFFERED,
        since=now,
        release=release.id,
        progress=0,
        stage=stage if state.stage is None else state.stage,
        tries=state.tries + 1,
        offered_at=now,
        before=before,
        drops=0,
        link=facts.connected_at,
        probed_at=None,
    )
    return Step(after, None)


def ended(
    state: DeviceState, phase: Phase, why: Fault | Skip, now: float, said: str = ""
) -> Step:
    """End as failed, or skipped."""
    after = replace(
        state, phase=phase, since=now, why=why.value, said=said, adrift=False
    )
    return Step(after, None, withdraw=state.phase in MAY_FETCH)


def failed(state: DeviceState, why: Fault, now: float, said: str = "") -> Step:
    return ended(state, Phase.FAILED, why, now, said)


class Course:
    """The way of each device, by one plan's limits.

    A method that returns None has nothing to say about that state.
    """

    def __init__(self, plan: Plan) -> None:
        self._limits, self._gate, self._probe = plan.limits, plan.gate, plan.probe

    # ---- what is known to have happened --------------------------------------------

    def sent(self, state: DeviceState, now: float) -> Step:
        """Take it that the offer is on its way."""
        after = replace(state, since=now, offered_at=now)
        return Step(after, now + self._limits.answer_s, minor=True)

    def withdrawn(self, state: DeviceState, now: float) -> Step:
        """Take it that it can fetch no more, and did not begin to."""
        if state.tries >= MAX_TRIES:
            return failed(state, Fault.UNANSWERED, now)
        return Step(_waiting(state, now), now + LOOK_AGAIN_S)

    def taken_up(self, state: DeviceState, now: float) -> Step | None:
        """Go on with a device that was under way when the process ended."""
        match state.phase:
            case Phase.OFFERED | Phase.FETCHING:
                # Whether it fetched, and what came of it, nobody may have noted.
                after = replace(state, since=now, adrift=True, took=True)
                return Step(after, now + self._limits.back_s)
            case Phase.FETCHED:
                return Step(state, now + self._limits.back_s)
            case Phase.REBOOTED:
                return Step(replace(state, link=None), now + self._gate.stay_s)
            case Phase.PENDING if state.doubtful:
                return Step(state, now + self._limits.back_s)
            case Phase.PENDING if state.probed_at is not None:
                return unasked(state, now)  # nobody waits for its answer
            case _:
                return None

    def fetching(
        self, state: DeviceState, stage: int, progress: int, now: float
    ) -> Step | None:
        """Take it that bytes are on their way to it."""
        progress = max(progress, state.progress)
        if state.phase is Phase.FETCHING and not state.adrift:
            end = state.since + self._limits.download_s
            after = replace(state, progress=progress, settles_at=None)
            return Step(after, end, minor=True)
        if state.phase in {Phase.PENDING, *MAY_FETCH}:
            after = _on_its_way(state, Phase.FETCHING, stage, progress, now)
            return Step(after, now + self._limits.download_s)
        return None

    def fetched(self, state: DeviceState, stage: int, now: float) -> Step | None:
        """Take it that it has all bytes."""
        if state.phase in {Phase.PENDING, *MAY_FETCH}:
            after = _on_its_way(state, Phase.FETCHED, stage, 100, now)
            return Step(after, now + self._limits.back_s)
        return None

    def reported_failure(
        self, state: DeviceState, said: str, now: float
    ) -> Step | None:
        """Take it that the device says it failed."""
        if state.phase in _NOT_YET_BACK:
            return failed(state, Fault.REPORTED, now, said)
        return None

    # ---- how it looks --------------------------------------------------------------

    def seen(
        self, state: DeviceState, facts: Facts, release: Release, now: float
    ) -> Step | None:
        """Look at a device that is under way."""
        if state.phase is Phase.REBOOTED:
            return self._staying(state, facts, release, now)
        if not _speaks(facts):
            return None
        if facts.legacy:
            return self._legacy(state, facts, release, now)
        return self._speaking(state, facts, release, now)

    def _speaking(
        self, state: DeviceState, facts: Facts, release: Release, now: float
    ) -> Step | None:
        """Look at a device of version 2 that has said what it runs."""
        if runs(facts, release):
            if facts.boot == "crash":
                return failed(state, Fault.CRASHED, now)
            return self._back(state, facts, now)
        if not _is_anew(state, facts):
            return None
        before = None if state.before is None else state.before.boot
        # It says why it started last also when it comes back for other reasons.
        if facts.boot == "rollback" and before != "rollback":
            return failed(state, Fault.ROLLED_BACK, now)
        return self._without(state, now)

    def _legacy(
        self, state: DeviceState, facts: Facts, release: Release, now: float
    ) -> Step | None:
        """Look at an old device that is here."""
        told = _has_told(facts, state.offered_at)
        if state.adrift and told and runs(facts, release):
            return self._back(state, facts, now)
        if not _is_anew(state, facts):
            return None
        if state.phase is Phase.FETCHED:
            return self._back(state, facts, now)
        return self._without(state, now)

    def _without(self, state: DeviceState, now: float) -> Step | None:
        """Give a device that is back without the release a moment more."""
        if state.phase is Phase.OFFERED and not state.adrift:
            return None  # it lost its connection; it may yet answer
        if state.settles_at is not None:
            return None
        after = replace(state, settles_at=now + SETTLES_S)
        return Step(after, after.settles_at, minor=True)

    def _back(self, state: DeviceState, facts: Facts, now: float) -> Step:
        after = replace(
            state,
            phase=Phase.REBOOTED,
            since=now,
            progress=100,
            drops=0,
            link=facts.connected_at,
            settles_at=None,
            adrift=False,
            took=True,
        )
        return Step(after, now + self._gate.stay_s)

    def _staying(
        self, state: DeviceState, facts: Facts, release: Release, now: float
    ) -> Step | None:
        """Look at a device that was back."""
        if _has_told(facts, state.probed_at):
            return _judged_by_probe(state, facts, release, now)
        if _speaks(facts) and not facts.legacy:
            if facts.boot == "crash":
                return failed(state, Fault.CRASHED, now)
            if (facts.build or 0) > release.build:
                return ended(state, Phase.SKIPPED, Skip.NEWER, now)
            if not runs(facts, release):
                return failed(state, Fault.ROLLED_BACK, now)
        if facts.connected_at == state.link:
            return None
        # A probe costs it its connection, too.
        lost = state.link is not None and state.probed_at is None
        after = replace(state, link=facts.connected_at, drops=state.drops + lost)
        if after.drops > self._gate.reconnects:
            return failed(after, Fault.UNSTABLE, now)
        return Step(after, minor=True)

    # ---- when its time is over -----------------------------------------------------

    def waited(self, state: DeviceState, facts: Facts, now: float) -> Step | None:
        """Look at a device that waits, and of which it is not sure what it took."""
        end = state.since + self._limits.back_s
        if facts.connected or now + SLACK_S < end:
            return Step(state, max(end, now + LOOK_AGAIN_S))
        return failed(state, Fault.NOT_BACK, now)

    def late(
        self, state: DeviceState, facts: Facts, release: Release, now: float
    ) -> Step | None:
        """Look at a device that is under way, and whose time has come."""
        if state.phase is Phase.REBOOTED:
            return self._stayed(state, facts, release, now)
        if state.phase is Phase.OFFERED and not state.adrift:
            if facts.connected and not _is_anew(state, facts):
                return failed(state, Fault.UNANSWERED, now)
            return _freed(state)
        if _speaks(facts) and _is_anew(state, facts):
            return _came_without(state, now)
        fetches = state.phase is Phase.FETCHING and not state.adrift
        limits = self._limits
        end = state.since + (limits.download_s if fetches else limits.back_s)
        if now + SLACK_S < end:
            return Step(replace(state, settles_at=None), end, minor=True)
        if not facts.connected:
            return failed(state, Fault.NOT_BACK, now)
        if fetches:
            return failed(state, Fault.TIMED_OUT, now)
        return _came_without(state, now)

    def _stayed(
        self, state: DeviceState, facts: Facts, release: Release, now: float
    ) -> Step | None:
        """Judge a device that has been back for as long as the plan wants it."""
        gate = self._gate
        if not _speaks(facts):
            end = state.since + gate.stay_s + self._limits.back_s
            if now + SLACK_S < end:
                return Step(state, min(end, now + LOOK_AGAIN_S), minor=True)
            return failed(state, Fault.GONE, now)
        before = None if state.before is None else state.before.rtt_ms
        if before is not None and facts.rtt_ms is not None:
            worst_ms = max(gate.rtt_ms, gate.rtt_factor * before)
            if facts.rtt_ms > worst_ms:
                return failed(state, Fault.SLOW, now)
        if _has_told(facts, state.since):
            return _judged_by_probe(state, facts, release, now)
        if facts.legacy and self._probe and state.probed_at is None:
            return probed(state, now)
        return _confirmed(state, now)


def unsent(state: DeviceState, now: float) -> Step:
    """Take an offer back that was never made.

    It waits a while: if nothing came of it again, nothing else would be done.
    """
    after = replace(_waiting(state, now), tries=state.tries - 1)
    return Step(after, now + LOOK_AGAIN_S)


def anew(state: DeviceState, now: float) -> Step:
    """Give it another chance. The image may have been in it: it stays touched."""
    after = DeviceState(
        device=state.device,
        phase=Phase.PENDING,
        since=now,
        release=state.release,
        stage=state.stage,
        took=state.stage is not None,
        again=True,
    )
    return Step(after, None)


def shifted(state: DeviceState, by_s: float) -> DeviceState:
    """Move its times: the clock that they are of was set. `link` is a mere name."""

    def moved(at: float | None) -> float | None:
        return None if at is None else at + by_s

    return replace(
        state,
        since=state.since + by_s,
        offered_at=moved(state.offered_at),
        settles_at=moved(state.settles_at),
        probed_at=moved(state.probed_at),
    )


def superseded(state: DeviceState, now: float) -> Step:
    """Leave it to a newer rollout."""
    return Step(replace(state, phase=Phase.SUPERSEDED, since=now, why=""), None)


def _waiting(state: DeviceState, now: float) -> DeviceState:
    """Let it wait for another offer, untouched unless the image may have been in it."""
    stage = state.stage if state.took else None
    return replace(
        state,
        phase=Phase.PENDING,
        since=now,
        stage=stage,
        settles_at=None,
        adrift=False,
    )


def seen_after(
    state: DeviceState, facts: Facts, release: Release, now: float
) -> Step | None:
    """Look at a device that was confirmed, while its stage is watched."""
    if facts.legacy or not _speaks(facts):
        return None
    if facts.boot == "crash" and runs(facts, release):
        return failed(state, Fault.CRASHED, now)
    if facts.build is not None and facts.build < release.build:
        return failed(state, Fault.ROLLED_BACK, now)
    return None


def probed(state: DeviceState, now: float) -> Step:
    """Ask an old device what it runs; its time begins when it is asked."""
    return Step(replace(state, probed_at=now), None, probe=True)


def asked(state: DeviceState, now: float) -> Step:
    """Take it that it is being asked."""
    return Step(replace(state, probed_at=now), now + PROBED_WITHIN_S, minor=True)


def unasked(state: DeviceState, now: float) -> Step:
    """Take it that it was not asked."""
    return Step(replace(state, probed_at=None), now + LOOK_AGAIN_S)


def _on_its_way(
    state: DeviceState, phase: Phase, stage: int, progress: int, now: float
) -> DeviceState:
    return replace(
        state,
        phase=phase,
        since=now,
        # Even one whose offer was withdrawn, if it was too late for that.
        stage=stage if state.stage is None else state.stage,
        progress=progress,
        settles_at=None,
        adrift=False,
        took=True,
    )


def _judged_by_probe(
    state: DeviceState, facts: Facts, release: Release, now: float
) -> Step:
    if runs(facts, release):
        return _confirmed(state, now)
    return failed(state, Fault.OLD_BUILD, now)


def _confirmed(state: DeviceState, now: float) -> Step:
    return Step(replace(state, phase=Phase.CONFIRMED, since=now), None)


def _freed(state: DeviceState) -> Step:
    return Step(state, None, withdraw=True)


def _came_without(state: DeviceState, now: float) -> Step:
    """Deal with a device that is here and does not run the release."""
    if state.phase is Phase.FETCHED:
        return failed(state, Fault.OLD_BUILD, now)
    if state.adrift:
        return _freed(state)  # it may have been our absence that interrupted it
    return failed(state, Fault.INTERRUPTED, now)


def _is_anew(state: DeviceState, facts: Facts) -> bool:
    """Whether it has connected since its phase began."""
    if facts.connected_at is None or facts.connected_at == state.link:
        return False
    return facts.connected_at >= state.since


def _speaks(facts: Facts) -> bool:
    """Whether it is here, and what is known of its firmware is of this connection."""
    return facts.connected and (facts.legacy or facts.introduced)


def _has_told(facts: Facts, since: float | None) -> bool:
    """Whether an old device has told what it runs since then."""
    if since is None or facts.asked_at is None:
        return False
    return facts.legacy and facts.asked_at >= since
