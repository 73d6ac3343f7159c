"""A rollout: offers in stages, how each device fares, and when it stops by itself.

Pure. Facts about devices are looked up, time is handed in as Unix seconds.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final, Literal

from msgspec.structs import replace

from voicestatus.core import course
from voicestatus.core.agenda import SLACK_S, Agenda
from voicestatus.core.course import (
    KEEP,
    LOOK_AGAIN_S,
    MAY_FETCH,
    PROBED_WITHIN_S,
    Course,
    Step,
)
from voicestatus.core.eligibility import (
    MAY_CHANGE,
    Eligible,
    Facts,
    Judge,
    Skip,
    Skipped,
)
from voicestatus.core.pacing import Pacing
from voicestatus.core.release import Release
from voicestatus.core.roll import Lots, needs_probe
from voicestatus.core.rollout_state import (
    UNDER_WAY,
    DeviceState,
    Halt,
    Phase,
    Rollout,
    Status,
)
from voicestatus.core.tally import Tallies

MAX_NAMED: Final = 100
_LOOKS: Final = 100
"""Devices that are looked at in one go, so that nothing else waits for it."""
_OVER: Final = frozenset({Status.ABORTED, Status.ROLLING_BACK, Status.FINISHED})


# ---- effects -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Save:
    """Store what this device's state is now, and show it."""

    device: str


@dataclass(frozen=True, slots=True)
class SaveRollout:
    """Store what the rollout itself is now, and show it."""


@dataclass(frozen=True, slots=True)
class Show:
    """Show this device's state; it need not be stored."""

    device: str


@dataclass(frozen=True, slots=True)
class Offer:
    """Offer a release when all that was to be saved is saved.

    Then say `sent`, `unsent` or `refused`.
    """

    device: str
    release: Release


@dataclass(frozen=True, slots=True)
class Withdraw:
    """See to it that the device can no longer fetch; then say `withdrawn`."""

    device: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask an old device what it runs, when its turn comes and `may_ask` says so.

    Say `asked` before, or `unasked`. What it says becomes facts, then `seen`.
    """

    device: str


@dataclass(frozen=True, slots=True)
class Say:
    """Tell people."""

    what: Literal["stage", "soaking", "halted", "finished"]
    why: str = ""
    devices: tuple[str, ...] = ()


Effect = Save | SaveRollout | Show | Offer | Withdraw | Probe | Say
Look = Callable[[str], Facts | None]
"""Returns what is known of a device now; None: it was forgotten."""

# ---- the machine -------------------------------------------------------------------


class Run:
    """Conducts one rollout.

    Each method takes something that happened and returns what to do about it, in that
    order. Call `tick` when `wakes_at` comes.
    """

    def __init__(
        self,
        rollout: Rollout,
        states: Iterable[DeviceState],
        releases: Sequence[Release],
        look: Look,
    ) -> None:
        """Take up a new rollout; an old one needs `resumed`, too."""
        self.rollout = rollout
        self._plan, self._stages = rollout.plan, rollout.plan.stages
        self._course, self._pacing = Course(rollout.plan), Pacing(rollout.plan)
        self._releases = {release.id: release for release in releases}
        self._judge, self._lots = Judge(rollout.plan, releases), Lots(rollout.plan)
        self._look = look
        self._states: dict[str, DeviceState] = {}
        self.tallies = Tallies(rollout.plan, rollout.sizes)
        self._ready: list[tuple[bool, bytes, str]] = []
        """A heap of those whose turn may come; each is looked at before it does.
        First come those that were touched before: they need no room in the stage."""
        self._in_ready: set[str] = set()
        self._unsent: set[str] = set()
        self._leaving: set[str] = set()
        """Whose offers are being withdrawn, to be free for another one."""
        self._agenda: Agenda[str] = Agenda()
        self._effects: list[Effect] = []
        for state in states:
            self._states[state.device] = state
            self.tallies.add(state)
            if state.phase is Phase.PENDING:
                self._line_up(state.device)

    # ---- what is asked of it -------------------------------------------------------

    def state(self, device: str) -> DeviceState | None:
        return self._states.get(device)

    def states(self) -> Iterable[DeviceState]:
        """All of them, in no order."""
        return self._states.values()

    @property
    def counts(self) -> dict[str, int]:
        """How many devices are in which phase."""
        return {phase.value: self.tallies.phases[phase] for phase in Phase}

    def release_for(self, device: str) -> Release | None:
        """Return what a device may fetch now."""
        state = self._states.get(device)
        if state is None or state.phase not in MAY_FETCH:
            return None
        return self._releases.get(state.release)

    def wants(self, device: str) -> Release | None:
        """Return what a device is to have, now or when its turn comes."""
        state = self._states.get(device)
        if state is None or self.rollout.status in _OVER:
            return None
        if state.phase is not Phase.PENDING and state.phase not in UNDER_WAY:
            return None
        return self._releases.get(state.release)

    @property
    def wakes_at(self) -> float | None:
        """When `tick` has something to do; None: not before something happens."""
        if not self.rollout.alive:
            return None
        times = [self._agenda.next_at]
        if self.rollout.status is Status.RUNNING:
            times += [self.rollout.soak_until, self._offers_at, self._ends_at]
        return min((at for at in times if at is not None), default=None)

    @property
    def _ends_at(self) -> float | None:
        """When it is no longer waited for who is away."""
        if (
            not self.tallies.phases[Phase.PENDING]
            or self.rollout.status is not Status.RUNNING
        ):
            return None
        return self.rollout.created_at + self._plan.keep_s

    @property
    def _offers_at(self) -> float | None:
        """When it may be a device's turn, as far as the clock alone says it."""
        if self._unsent or not self._has_turns:
            return None
        return self._pacing.opens_at

    # ---- what happens --------------------------------------------------------------

    def began(self, now: float) -> list[Effect]:
        """Take it that it begins, and that all it is was stored."""
        self._emit(Say("stage"))
        return self._go_on(now)

    def resumed(self, now: float, taken: Container[str] = ()) -> list[Effect]:
        """Take it that it was read from storage: another process had begun it.

        `taken` are devices that wait for a newer rollout.
        """
        self._pacing.rest(now)
        # Nobody has watched meanwhile.
        self.rollout = replace(self.rollout, soak_until=None)
        if self.rollout.status in _OVER:
            self._skip_pending(Skip.ABORTED, now)
        for state in tuple(self._states.values()):
            if state.phase is Phase.PENDING and state.device in taken:
                self._take(course.superseded(state, now))
                continue
            self._take(self._course.taken_up(state, now))
            if state.phase in UNDER_WAY:
                self._watch(self._states[state.device], now)
        return self._go_on(now)

    def tick(self, now: float) -> list[Effect]:
        """Take it that time went by."""
        for _, device in self._agenda.due(now, _LOOKS):
            self._late(self._states[device], now)
        at = self._ends_at
        if at is not None and now + SLACK_S >= at:
            self._skip_pending(Skip.AWAY, now)
        return self._go_on(now)

    def clock_was_set(self, by_s: float, now: float) -> list[Effect]:
        """Take it that the clock shows so much more than it did: limits stay as long.

        Windows alone are by what it shows.
        """
        for state in tuple(self._states.values()):
            if state.phase in {Phase.PENDING, Phase.CONFIRMED, *UNDER_WAY}:
                self._states[state.device] = course.shifted(state, by_s)
            if state.phase in UNDER_WAY or state.doubtful:
                self._emit(Save(state.device))
        self._agenda.shift(by_s)
        self._pacing.shift(by_s)
        until = self.rollout.soak_until
        self._become(
            created_at=self.rollout.created_at + by_s,
            soak_until=None if until is None else until + by_s,
        )
        return self._go_on(now)

    def seen(self, device: str, now: float) -> list[Effect]:
        """Take it that something is new about a device: look at it."""
        state = self._states.get(device)
        if state is None or not self.rollout.alive:
            return []
        if state.phase is Phase.PENDING:
            self._line_up(device)
        elif state.phase in UNDER_WAY:
            self._watch(state, now)
        elif state.phase is Phase.SKIPPED:
            self._judge_again(state, now)
        elif state.phase is Phase.CONFIRMED:
            self._watch_after(state, now)
        return self._go_on(now)

    def reported(
        self,
        device: str,
        release: str,
        phase: str,
        now: float,
        *,
        progress: int | None = None,
        error: str | None = None,
    ) -> list[Effect]:
        """Take what a device of version 2 says of its update."""
        state = self._states.get(device)
        if state is None or state.release != release or state.phase not in UNDER_WAY:
            return []
        stage = self.rollout.stage
        match phase:
            case "failed":
                self._take(self._course.reported_failure(state, error or "", now))
            case "downloading":
                self._take(self._course.fetching(state, stage, progress or 0, now))
            case "verifying" | "rebooting":
                self._take(self._course.fetched(state, stage, now))
            case _:
                pass  # a word of a newer device
        return self._go_on(now)

    def fetched(
        self, device: str, release: str, sent_bytes: int, whole: bool, now: float
    ) -> list[Effect]:
        """Take it that so much of an image was sent to a device."""
        state = self._states.get(device)
        if state is None or state.release != release or not self.rollout.alive:
            return []
        stage = self.rollout.stage
        if whole:
            self._take(self._course.fetched(state, stage, now))
        elif (known := self._releases.get(release)) is not None:
            progress = 100 * sent_bytes // known.size_bytes
            self._take(self._course.fetching(state, stage, progress, now))
        return self._go_on(now)

    def sent(self, device: str, now: float) -> list[Effect]:
        """Take it that an offer is on its way."""
        self._unsent.discard(device)
        self._pacing.rest(now)
        state = self._states.get(device)
        if state is not None and state.phase is Phase.OFFERED:
            self._take(self._course.sent(state, now))
        return self._go_on(now)

    def unsent(self, device: str, now: float) -> list[Effect]:
        """Take it that an offer could not be sent: the device had just gone."""
        self._unsent.discard(device)
        state = self._states.get(device)
        if state is not None and state.phase is Phase.OFFERED:
            self._wait_again(course.unsent(state, now), now)
        return self._go_on(now)

    def refused(self, device: str, said: str, now: float) -> list[Effect]:
        """Take it that an offer can never be sent as it is; `said` is why."""
        self._unsent.discard(device)
        state = self._states.get(device)
        if state is not None and state.phase is Phase.OFFERED:
            waiting = course.unsent(state, now).state
            self._take(course.ended(waiting, Phase.SKIPPED, Skip.NOT_SENT, now, said))
        return self._go_on(now)

    def withdrawn(self, device: str, now: float) -> list[Effect]:
        """Take it that a device can no longer fetch what it was offered."""
        state = self._states.get(device)
        if state is not None and device in self._leaving:
            self._leaving.discard(device)
            # Else it has begun to fetch before it was withdrawn.
            if state.phase is Phase.OFFERED or state.adrift:
                self._wait_again(self._course.withdrawn(state, now), now)
        return self._go_on(now)

    def asked(self, device: str, now: float) -> list[Effect]:
        """Take it that an old device is being asked what it runs."""
        state = self._states.get(device)
        if state is not None and self.may_ask(device, now):
            self._take(course.asked(state, now))
        return self._go_on(now)

    def unasked(self, device: str, now: float) -> list[Effect]:
        """Take it that it was not asked, and can be another time."""
        state = self._states.get(device)
        if state is not None and state.phase is Phase.PENDING:
            self._take(course.unasked(state, now))
        return self._go_on(now)

    # ---- what people say -----------------------------------------------------------

    def pause(self, now: float) -> list[Effect]:
        """Offer nothing more for now."""
        if self.rollout.status in {Status.RUNNING, Status.HALTED}:
            self._become(status=Status.PAUSED, soak_until=None)
        return self._go_on(now)

    def resume(self, now: float) -> list[Effect]:
        """Go on; failures that halted it are forgiven."""
        if self.rollout.status in {Status.PAUSED, Status.HALTED}:
            if self.rollout.why:
                self._forgive()
            self._become(status=Status.RUNNING, why="", failures=())
        return self._go_on(now)

    def abort(self, now: float, *, undone_by: tuple[str, ...] = ()) -> list[Effect]:
        """Offer nothing more for good; with `undone_by` others roll it back."""
        if self.rollout.status in _OVER and not undone_by:
            return []
        self._skip_pending(Skip.ABORTED, now)
        status = Status.ROLLING_BACK if undone_by else Status.ABORTED
        if self.rollout.alive:
            self._become(status=status, soak_until=None, undone_by=undone_by)
        return self._go_on(now)

    def retry(self, devices: Iterable[str], now: float) -> list[Effect]:
        """Give devices that failed, or were skipped, another chance."""
        for device in () if self.rollout.status in _OVER else devices:
            state = self._states.get(device)
            if state is not None and state.phase in {Phase.FAILED, Phase.SKIPPED}:
                self._take(course.anew(state, now))
                self._line_up(device)
        return self._go_on(now)

    def rolled_back(self, now: float) -> list[Effect]:
        """Take it that those that roll it back have ended."""
        if self.rollout.status is Status.ROLLING_BACK:
            self._become(status=Status.ABORTED)
        return self._go_on(now)

    def supersede(self, devices: Iterable[str], now: float) -> list[Effect]:
        """Take it that a newer rollout has these devices, as far as they wait."""
        for device in devices:
            state = self._states.get(device)
            if state is not None and state.phase in {Phase.PENDING, Phase.SKIPPED}:
                self._take(course.superseded(state, now))
        return self._go_on(now)

    # ---- whose turn it is ----------------------------------------------------------

    def may_send(self, device: str, now: float) -> bool:
        """Whether an offer that waited to be sent still is to be."""
        state = self._states.get(device)
        if state is None or state.phase is not Phase.OFFERED:
            return False
        return self.rollout.status is Status.RUNNING and self._pacing.is_open(now)

    def may_ask(self, device: str, now: float) -> bool:
        """Whether an old device that waited to be asked still is to be."""
        state = self._states.get(device)
        if state is None or state.probed_at is None:
            return False
        if state.phase is Phase.PENDING:
            return self.rollout.status is Status.RUNNING and self._pacing.is_open(now)
        return state.phase is Phase.REBOOTED

    def _line_up(self, device: str) -> None:
        if device not in self._in_ready:
            self._in_ready.add(device)
            untouched = self._states[device].stage is None
            heappush(self._ready, (untouched, self._lots.of(device), device))

    @property
    def _has_turns(self) -> bool:
        """Whether somebody is ready, and there is room."""
        slots = self.tallies.phases[Phase.OFFERED] + self.tallies.phases[Phase.FETCHING]
        if not self._ready or slots >= self._plan.at_once:
            return False
        untouched, _, _ = self._ready[0]
        return not untouched or self._whole or self.tallies.touched < self._size

    def _offer(self, now: float) -> None:
        spoken_to = 0
        for _ in range(_LOOKS):
            if spoken_to == self._pacing.slice or not self._has_turns:
                break
            _, _, device = heappop(self._ready)
            self._in_ready.discard(device)
            spoken_to += self._turn(self._states[device], now)
        if spoken_to:
            self._pacing.rest(now)

    def _turn(self, state: DeviceState, now: float) -> bool:
        """Look what to do with a device whose turn it is; True: it was spoken to."""
        if state.phase is not Phase.PENDING:
            return False
        facts = self._look(state.device)
        if facts is None:
            self._skip(state, Skip.FORGOTTEN, now)
            return False
        verdict = self._judge.verdict(facts, now, again=state.again)
        if isinstance(verdict, Skipped):
            if not needs_probe(self._plan, facts, verdict):
                self._skip(state, verdict.why, now)
                return False
            if state.probed_at is not None:
                if now + SLACK_S >= state.probed_at + PROBED_WITHIN_S:
                    self._skip(state, verdict.why, now)
                return False
        if not facts.connected or not (facts.legacy or facts.introduced):
            return False  # it lines up again when it is seen
        if facts.busy or (self._plan.not_while_lit and facts.lit):
            self._agenda.put(state.device, now + LOOK_AGAIN_S)
            return False
        if isinstance(verdict, Skipped):
            self._take(course.probed(state, now))
            return True
        release = verdict.release
        self._take(course.offered(state, facts, release, self.rollout.stage, now))
        self._unsent.add(state.device)
        self._emit(Offer(state.device, release))
        return True

    def _judge_again(self, state: DeviceState, now: float) -> None:
        """Look whether what kept a device from its release is over."""
        if Skip(state.why) not in MAY_CHANGE or self.rollout.status in _OVER:
            return
        facts = self._look(state.device)
        if facts is None:
            return
        verdict = self._judge.verdict(facts, now, again=state.again)
        if isinstance(verdict, Eligible):
            waits = replace(state, phase=Phase.PENDING, since=now, why="")
            self._take(Step(replace(waits, release=verdict.release.id)))
            self._line_up(state.device)

    # ---- how it goes with one device -----------------------------------------------

    def _watch(self, state: DeviceState, now: float, *, late: bool = False) -> None:
        """Look at a device that is under way; `late`: its time is over."""
        facts, release = self._look(state.device), self._releases.get(state.release)
        if facts is None:
            self._skip(state, Skip.FORGOTTEN, now)
        elif facts.revoked:
            self._skip(state, Skip.REVOKED, now)
        elif release is None:
            self._skip(state, Skip.RELEASE_GONE, now)
        elif late:
            self._take(self._course.late(state, facts, release, now))
        else:
            self._take(self._course.seen(state, facts, release, now))

    def _watch_after(self, state: DeviceState, now: float) -> None:
        """Look at a device that was confirmed, as long as its stage is watched."""
        soak_s = self._stages[state.stage or 0].soak_s
        if now > state.since + soak_s:
            return
        facts, release = self._look(state.device), self._releases.get(state.release)
        if facts is not None and release is not None:
            self._take(course.seen_after(state, facts, release, now))

    def _late(self, state: DeviceState, now: float) -> None:
        """Look at a device whose time has come."""
        if state.phase in UNDER_WAY:
            self._watch(state, now, late=True)
        elif state.phase is Phase.PENDING:
            self._line_up(state.device)
            facts = self._look(state.device) if state.doubtful else None
            if facts is not None:
                self._take(self._course.waited(state, facts, now))

    def _wait_again(self, step: Step, now: float) -> None:
        """Let a device wait for another offer, unless none will be made."""
        self._take(step)
        if step.state.phase is Phase.PENDING and self.rollout.status in _OVER:
            self._skip(step.state, Skip.ABORTED, now)

    def _skip(self, state: DeviceState, why: Skip, now: float) -> None:
        self._take(course.ended(state, Phase.SKIPPED, why, now))

    def _take(self, step: Step | None) -> None:
        """Do what comes of something that happened to a device."""
        if step is None:
            return
        device = step.state.device
        self._put(step.state, stored=not step.minor)
        if step.look_at is not KEEP:
            self._agenda.put(device, step.look_at)
        if step.withdraw:
            if step.state.phase in MAY_FETCH:
                self._leaving.add(device)
            self._emit(Withdraw(device))
        if step.probe:
            self._emit(Probe(device))

    # ---- stages --------------------------------------------------------------------

    def _go_on(self, now: float) -> list[Effect]:
        """Halt, go on to the next stage, make offers, end: whatever it is time for."""
        if self.rollout.status is Status.RUNNING:
            why = self.tallies.limit_met()
            if why is not None:
                self._halt(why)
        elif self.rollout.status is Status.HALTED:
            self._name_failures()
        self._advance(now)
        if (
            self.rollout.status is Status.RUNNING
            and not self._unsent
            and self._has_turns
            and self._pacing.allows(now)
        ):
            self._offer(now)
            self._advance(now)  # whoever was left may have been skipped
        if self.rollout.status is Status.ABORTED and not self.tallies.under_way:
            self._end_all(now)
        effects, self._effects = self._effects, []
        return effects

    def _halt(self, why: Halt) -> None:
        self._become(status=Status.HALTED, why=why.value, soak_until=None)
        self._name_failures()
        self._emit(Say("halted", why.value, self.rollout.failures))

    def _name_failures(self) -> None:
        """Say whose failures halt it; more may come of what is under way."""
        failures = self.rollout.failures
        if len(failures) < min(self.tallies.failed, MAX_NAMED):
            failed = sorted(
                state.device
                for state in self._states.values()
                if state.phase is Phase.FAILED and not state.forgiven
            )
            self._become(failures=tuple(failed[:MAX_NAMED]))

    def _forgive(self) -> None:
        for state in tuple(self._states.values()):
            if state.phase is Phase.FAILED and not state.forgiven:
                self._put(replace(state, forgiven=True))

    @property
    def _full(self) -> bool:
        """Whether the stage has nothing more to do."""
        if self.tallies.under_way or self.tallies.doubtful:
            return False
        if not self.tallies.phases[Phase.PENDING]:
            return True
        return not self._whole and self.tallies.touched >= self._size

    @property
    def _size(self) -> int:
        """How many devices may be touched by the end of this stage."""
        return self.rollout.sizes[self.rollout.stage]

    @property
    def _whole(self) -> bool:
        return self._stages[self.rollout.stage].whole

    def _advance(self, now: float) -> None:
        """Go on to the next stage, or the end, when this one is full and soaked."""
        while self.rollout.status is Status.RUNNING:
            if not self._full:
                if self.rollout.soak_until is not None:
                    self._become(soak_until=None)
                return
            if self.rollout.soak_until is None:
                soak_s = self._stages[self.rollout.stage].soak_s
                self._become(soak_until=now + soak_s)
                self._emit(Say("soaking"))
            if now + SLACK_S < (self.rollout.soak_until or 0):
                return
            following = self._following
            if following is None or not self.tallies.phases[Phase.PENDING]:
                self._finish(now)
            else:
                self._become(stage=following, soak_until=None)
                self._emit(Say("stage"))

    @property
    def _following(self) -> int | None:
        """The next stage that adds anybody."""
        for n in range(self.rollout.stage + 1, len(self._stages)):
            if self._stages[n].whole or self.rollout.sizes[n] > self.tallies.touched:
                return n
        return None

    def _finish(self, now: float) -> None:
        self._skip_pending(Skip.BEYOND, now)
        self._become(status=Status.FINISHED)
        self._end_all(now)
        self._emit(Say("finished"))

    def _end_all(self, now: float) -> None:
        if self.rollout.alive:
            self._become(
                soak_until=None,
                ended_at=now,
                counts=self.counts,
                tallies=self.tallies.picture(),
            )

    def _skip_pending(self, why: Skip, now: float) -> None:
        for state in tuple(self._states.values()):
            if state.phase is Phase.PENDING:
                self._skip(state, why, now)

    # ---- the books -----------------------------------------------------------------

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _become(self, **changes: object) -> None:
        self.rollout = replace(self.rollout, **changes)
        self._emit(SaveRollout())

    def _put(self, state: DeviceState, *, stored: bool = True) -> None:
        before = self._states[state.device]
        if state == before:
            return
        self._states[state.device] = state
        self.tallies.add(before, -1)
        self.tallies.add(state)
        self._emit(Save(state.device) if stored else Show(state.device))
