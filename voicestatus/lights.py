"""Turns presence into lights: one group for all signs whose rules are the same."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import assert_never

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from voicestatus.alarm import Alarm
from voicestatus.core.agenda import Agenda
from voicestatus.core.counters import Changed, Counter, Counters
from voicestatus.core.errors import Refusal
from voicestatus.core.explanation import (
    Explanation,
    Pending,
    not_the_rule,
    take_census,
    why,
)
from voicestatus.core.group import Audience, Group, Quiet, Tell
from voicestatus.core.guild import Knowledge
from voicestatus.core.ids import GuildId
from voicestatus.core.lights import EVERYTHING, Light, RuleText
from voicestatus.core.matching import Counting, who_counts
from voicestatus.core.presence import (
    Change,
    GuildChanged,
    GuildGone,
    SourceHeard,
    VoiceChanged,
)
from voicestatus.core.rules import Rule, read, write
from voicestatus.core.sight import UNTOLD, Source, nowhere_of
from voicestatus.hub import Hub
from voicestatus.quiet_times import QuietTimes, Wall

COUNT_EVERY_S = 0.25
"""Changes of the count alone are told no more often."""
WARNINGS = 100
"""What is warned of, each once: signs say what they like in their address."""


@dataclass(frozen=True, slots=True)
class _Unseen:
    """On the agenda: a source is given up then."""

    source: Source


_Due = Group | Quiet | _Unseen | Wall


class LightGroups(Service):
    """The lights that signs follow.

    While a guild is out of sight its last picture stands: for ever, or, for rules that
    want it so, for `off_after_s` seconds, after which nobody is taken to be there.
    """

    _log = Logger()

    def __init__(
        self,
        hub: Hub,
        clock: IReactorTime,
        wall: Callable[[], float],
        counting: Counting,
        off_after_s: float,
        hold: bool,
    ) -> None:
        """`counting` and `hold` are for rules that do not say; `wall` is Unix time."""
        self._hub, self._clock = hub, clock
        self._counting, self._off_after_s, self._hold = counting, off_after_s, hold
        self._counters = Counters(hub.presence)
        self._groups: dict[RuleText, Group] = {}
        self._audiences: dict[Counter, Audience] = {}
        self._agenda: Agenda[_Due] = Agenda()
        self._alarm = Alarm(clock, self._agenda, self._act)
        self._quiet_times = QuietTimes(self._agenda, clock.seconds, wall)
        self._warned_of: set[str] = set()
        self._leave: Callable[[], object] = lambda: None
        self._everything = self._open(EVERYTHING)  # for good: health asks for it

    def startService(self) -> None:
        """Follow the hub from now on."""
        super().startService()
        self._watch(None, seen=self._hub.presence.heard)
        self._leave = self._hub.subscribe(self._changed)
        self._quiet_times.look_at_all()
        self._alarm.start()

    def stopService(self) -> None:
        """Stop following; the lights stay as they are."""
        super().stopService()
        self._leave()
        self._agenda.clear()
        self._alarm.stop()

    @property
    def everything(self) -> Light:
        """What a sign shows that has no rule and names nothing."""
        return self._everything.light

    def follow(
        self, rule: RuleText, tell: Tell, *, counted: bool = False
    ) -> Callable[[], object]:
        """See `core.ports.Lights`."""
        group = self._groups.get(rule)
        if group is None:
            group = self._open(rule)
            self._warn_if_nowhere([group])
            self._alarm.set()
        key = object()
        group.followers[key] = tell
        if group.told != group.light:  # a count that was still to be told
            self._tell(group, group.counted)
        if counted:
            group.counted[key] = tell
            self._audiences[group.counter].counted.add(group)
        tell(group.light)

        def leave() -> None:
            self._part(group, key)

        return leave

    def explain(self, rule: RuleText) -> Explanation:
        """Say why a rule's light is as it is, or what it would be. O(people)."""
        parsed, problem = _read(rule)
        text = rule if problem else write(parsed)
        group = self._groups.get(text)
        if group is not None:
            return self._explain(group)
        group = self._open(text)
        try:
            return self._explain(group)
        finally:
            self._close(group)

    # ---- groups --------------------------------------------------------------------

    def _open(self, text: RuleText) -> Group:
        rule, problem = _read(text)
        if problem:
            self._warn_of_problem(problem)
        gives_up = rule.unknown == "off" if rule.unknown else not self._hold
        who = who_counts(rule, self._counting)
        if who.untold:
            self._watch(UNTOLD, seen=False)
        counter = self._counters.take(who, gives_up)
        group = self._groups[text] = Group(text, rule, problem, counter)
        self._audiences.setdefault(counter, Audience()).add(group)
        self._quiet_times.join(group)
        group.lamp.want(group.wanted, self._clock.seconds())
        group.told = group.light
        return group

    def _close(self, group: Group) -> None:
        del self._groups[group.text]
        self._agenda.put(group, None)
        audience = self._audiences[group.counter]
        audience.discard(group)
        if not audience.by_need:
            del self._audiences[group.counter]
        self._counters.drop(group.counter)
        self._quiet_times.leave(group)

    def _part(self, group: Group, key: object) -> None:
        group.followers.pop(key, None)
        if group.counted.pop(key, None) and not group.counted:
            self._audiences[group.counter].counted.discard(group)
        unused = not group.followers and group is not self._everything
        if unused and self._groups.get(group.text) is group:
            self._close(group)

    # ---- what changes --------------------------------------------------------------

    def _changed(self, change: Change) -> None:
        counters = self._counters
        match change:
            case VoiceChanged(guild, user):
                self._settle(counters.move(guild, user))
            case GuildChanged(guild):
                known = self._hub.presence.guilds[guild].knowledge is Knowledge.KNOWN
                self._watch(guild, seen=known)
                self._survey(guild)
            case GuildGone(guild):
                self._watch(guild, seen=True)
                self._survey(guild)
            case SourceHeard():
                self._watch(None, seen=True)
                self._settle(counters.look_everywhere())
                self._warn_if_nowhere(self._groups.values())
            case _:
                assert_never(change)

    def _survey(self, guild: GuildId) -> None:
        self._settle(self._counters.survey(guild))
        presence = self._hub.presence
        if presence.heard and all(g.pictured for g in presence.guilds.values()):
            for counter in self._counters.lost:
                self._warn_if_nowhere(self._audiences[counter].all())

    def _settle(self, changed: Changed) -> None:
        now = self._clock.seconds()
        for counter, before in changed.items():
            if (audience := self._audiences.get(counter)) is None:
                continue  # its last follower left while others were told
            if before is None:
                groups = audience.all()
            else:
                groups = audience.crossed(before, counter.count)
            for group in groups:
                self._refresh(group)
            for group in tuple(audience.counted):
                self._tell_count(group, now)
        self._alarm.set()

    def _refresh(self, group: Group, at: float = 0.0) -> None:
        """Let a group see what it should see now, or `at`: a timer may be early."""
        if self._groups.get(group.text) is not group:
            return  # nobody follows it any more
        now = max(at, self._clock.seconds())
        self._agenda.put(group, group.lamp.want(group.wanted, now))
        if group.has_news:
            self._tell(group, group.followers)
        else:
            self._tell_count(group, now)

    def _tell_count(self, group: Group, now: float) -> None:
        """Tell a count that is another one, or put it on the agenda."""
        told = group.told
        if not group.counted or not told.known or told.count == group.counter.count:
            return
        next_at, wakes_at = group.counted_at + COUNT_EVERY_S, self._agenda.at(group)
        if now >= next_at:
            self._tell(group, group.counted)
        elif wakes_at is None or next_at < wakes_at:
            self._agenda.put(group, next_at)

    def _tell(self, group: Group, followers: dict[object, Tell]) -> None:
        light = group.told = group.light
        group.counted_at = self._clock.seconds()
        for key, tell in tuple(followers.items()):
            if key not in followers:  # it left while others were told
                continue
            try:
                tell(light)
            except Exception:  # noqa: BLE001 - one follower cannot silence the rest
                self._log.failure("a follower failed and was dropped")
                self._part(group, key)

    # ---- time ----------------------------------------------------------------------

    def _act(self, due: _Due, at: float) -> None:
        match due:
            case Group():
                self._refresh(due, at)
            case Quiet():
                self._look_at(due)
            case _Unseen(source):
                self._settle(self._counters.give_up(source))
            case Wall():
                self._quiet_times.look_for_jump()
            case _:
                assert_never(due)

    def _look_at(self, quiet: Quiet) -> None:
        # Its last group may have left while others were told.
        if quiet.groups and self._quiet_times.look(quiet):
            for group in tuple(quiet.groups):
                self._refresh(group)

    def _watch(self, source: Source, *, seen: bool) -> None:
        """Start or stop the time after which a source out of sight counts as empty."""
        unseen = _Unseen(source)
        if seen:
            self._counters.see(source)
            self._agenda.put(unseen, None)
        elif self._agenda.at(unseen) is None and not self._counters.has_given_up(
            source
        ):
            self._agenda.put(unseen, self._clock.seconds() + self._off_after_s)

    # ---- why -----------------------------------------------------------------------

    def _explain(self, group: Group) -> Explanation:
        counter, rule = group.counter, group.rule
        sight = self._counters.sight(counter.gives_up)
        census = take_census(counter.who, counter.reach, sight, self._hub.presence)
        quiet = group.quiet is not None and group.quiet.now
        pending = tuple(self._pending(group))
        wanted, light, needed = group.wanted, group.light, rule.min_count
        sentence = why(light, wanted, counter.who, sight, census, needed, pending)
        if group.problem:
            sentence = not_the_rule(group.problem, sentence)
        return Explanation(
            EVERYTHING if group.problem else group.text,
            light,
            wanted,
            census.counted,
            needed,
            census.excluded,
            census.guilds,
            quiet,
            pending,
            sentence,
        )

    def _pending(self, group: Group) -> Iterator[Pending]:
        now = self._clock.seconds()
        for kind, at in group.lamp.waits().items():
            if at > now:
                yield Pending(kind, at - now)
        if group.counter.gives_up:
            sources = self._counters.out_of_sight(group.counter)
            times = [self._agenda.at(_Unseen(source)) for source in sources]
            if running := [at for at in times if at is not None]:
                yield Pending("unknown", max(running) - now)
        if group.quiet is not None and group.quiet.now:
            yield Pending("quiet", self._quiet_times.remaining_s(group.quiet))

    # ---- warnings ------------------------------------------------------------------

    def _warn_if_nowhere(self, groups: Iterable[Group]) -> None:
        presence = self._hub.presence
        if not presence.heard or len(self._warned_of) >= WARNINGS:
            return
        for group in groups:
            for nowhere in nowhere_of(group.rule, presence):
                if self._is_new(nowhere):
                    self._log.warn(
                        "signs follow {scope}, which the bot cannot see: "
                        "they stay dark",
                        scope=nowhere,
                    )

    def _warn_of_problem(self, problem: str) -> None:
        if self._is_new(problem):
            self._log.warn(
                "signs follow a rule that cannot be read, as if they had none: {why}",
                why=problem,
            )

    def _is_new(self, subject: str) -> bool:
        """Whether to warn of something: once, and not of too much."""
        if subject in self._warned_of or len(self._warned_of) >= WARNINGS:
            return False
        self._warned_of.add(subject)
        return True


def _read(text: RuleText) -> tuple[Rule, str]:
    """Return a rule, or none and why: a time zone may be gone since it was written."""
    try:
        return read(text), ""
    except Refusal as e:
        return Rule(), e.message
