"""Turns presence into lights: one group for all signs whose rules are the same."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import assert_never

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from voicestatus.core.agenda import Agenda
from voicestatus.core.counters import Changed, Counter, Counters
from voicestatus.core.explanation import Explanation, Pending, take_census, why
from voicestatus.core.guild import Knowledge
from voicestatus.core.ids import GuildId
from voicestatus.core.lamp import Delays, Lamp
from voicestatus.core.lights import EVERYTHING, NOTHING_TO_SHOW, Light, RuleText
from voicestatus.core.matching import Counting, who_counts
from voicestatus.core.presence import (
    Change,
    GuildChanged,
    GuildGone,
    SourceHeard,
    VoiceChanged,
)
from voicestatus.core.quiet import QuietHours, spell
from voicestatus.core.rules import Rule, read, write
from voicestatus.core.sight import UNTOLD, Source, nowhere_of
from voicestatus.hub import Hub

Tell = Callable[[Light], object]

COUNT_EVERY_S = 0.25
"""Changes of the count alone are told no more often."""
LOOK_AT_WALL_EVERY_S = 30.0
JUMP_S = 0.5
"""A wall clock that is off by more than that has jumped."""
WARNINGS = 100
"""Ids that are warned of: signs say what they like in their address."""


class _Quiet:
    """Quiet hours that some groups share."""

    __slots__ = ("groups", "hours", "now", "until")

    def __init__(self, hours: tuple[QuietHours, ...]) -> None:
        self.hours = hours
        self.now = False
        self.until = 0.0
        self.groups: set[_Group] = set()


class _Group:
    """All that follow one rule, and what they were told."""

    __slots__ = (
        "counted",
        "counted_at",
        "counter",
        "followers",
        "lamp",
        "quiet",
        "rule",
        "text",
        "told",
    )

    def __init__(
        self, text: RuleText, rule: Rule, counter: Counter, quiet: _Quiet | None
    ) -> None:
        self.text, self.rule, self.counter, self.quiet = text, rule, counter, quiet
        self.lamp = Lamp(Delays(rule.on_delay_s, rule.off_delay_s, rule.min_on_s))
        self.told = NOTHING_TO_SHOW
        self.counted_at = 0.0
        """When `counted` followers were told last."""
        self.followers: dict[object, Tell] = {}
        self.counted: dict[object, Tell] = {}
        """Those followers to whom the count matters."""

    @property
    def wanted(self) -> bool | None:
        return self.counter.reaches(self.rule.min_count)

    @property
    def shown(self) -> bool | None:
        if self.quiet is not None and self.quiet.now:
            return False
        return self.lamp.shown

    @property
    def light(self) -> Light:
        rule, counter, shown = self.rule, self.counter, self.shown
        if shown is None:
            return NOTHING_TO_SHOW
        look = rule.pattern, rule.color, rule.brightness
        return Light(True, shown, counter.count, counter.stale, *look)

    @property
    def has_news(self) -> bool:
        """Whether more than the count is different from what was told."""
        shown, told = self.shown, self.told
        if shown is None or not told.known:
            return told.known or shown is not None
        return shown is not told.on or self.counter.stale is not told.stale


@dataclass(slots=True)
class _Audience:
    """The groups of one counter."""

    by_need: defaultdict[int, set[_Group]] = field(
        default_factory=lambda: defaultdict(set)
    )
    counted: set[_Group] = field(default_factory=set)

    def all(self) -> list[_Group]:
        return [group for groups in self.by_need.values() for group in groups]

    def crossed(self, before: int, now: int) -> list[_Group]:
        """Return those that need more than one of the counts and not the other."""
        low, high = (before, now) if before < now else (now, before)
        needs = [need for need in self.by_need if low < need <= high]
        return [group for need in needs for group in self.by_need[need]]


@dataclass(frozen=True, slots=True)
class _Unseen:
    """On the agenda: a source is given up then."""

    source: Source


class _Wall:
    """On the agenda: whether the wall clock has jumped."""


_WALL = _Wall()


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
        self._hub, self._clock, self._wall = hub, clock, wall
        self._counting, self._off_after_s, self._hold = counting, off_after_s, hold
        self._counters = Counters(hub.presence)
        self._groups: dict[RuleText, _Group] = {}
        self._audiences: dict[Counter, _Audience] = {}
        self._quiets: dict[tuple[QuietHours, ...], _Quiet] = {}
        self._agenda: Agenda[_Group | _Quiet | _Unseen | _Wall] = Agenda()
        self._alarm: IDelayedCall | None = None
        self._wall_ahead_s = 0.0
        """How far the wall clock was ahead of ours when it was looked at last."""
        self._warned_of: set[str] = set()
        self._leave: Callable[[], object] = lambda: None
        self._everything = self._open(EVERYTHING)  # for good: health asks for it

    def startService(self) -> None:
        """Follow the hub from now on."""
        super().startService()
        self._watch(None, seen=self._hub.presence.heard)
        self._leave = self._hub.subscribe(self._changed)
        self._look_at_all_quiet_hours()
        self._set_alarm()

    def stopService(self) -> None:
        """Stop following; the lights stay as they are."""
        super().stopService()
        self._leave()
        self._agenda.clear()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    @property
    def everything(self) -> Light:
        """What a sign shows that has no rule and names nothing."""
        return self._everything.light

    def follow(
        self, rule: RuleText, tell: Tell, *, counted: bool = False
    ) -> Callable[[], object]:
        """See `core.ports.Lights`.

        :raises Refusal: when it is no rule.
        """
        group = self._groups.get(rule)
        if group is None:
            group = self._open(rule)
            self._warn_if_nowhere([group])
            self._set_alarm()
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
        """Say why a rule's light is as it is, or what it would be. O(people).

        :raises Refusal: when it is no rule.
        """
        text = write(read(rule))
        group = self._groups.get(text)
        if group is not None:
            return self._explain(group)
        group = self._open(text)
        try:
            return self._explain(group)
        finally:
            self._close(group)

    # ---- groups --------------------------------------------------------------------

    def _open(self, text: RuleText) -> _Group:
        rule = read(text)
        gives_up = rule.unknown == "off" if rule.unknown else not self._hold
        who = who_counts(rule, self._counting)
        if who.untold:
            self._watch(UNTOLD, seen=False)
        counter = self._counters.take(who, gives_up)
        group = _Group(text, rule, counter, self._quiet_of(rule))
        self._groups[text] = group
        audience = self._audiences.setdefault(counter, _Audience())
        audience.by_need[rule.min_count].add(group)
        if group.quiet is not None:
            group.quiet.groups.add(group)
        group.lamp.want(group.wanted, self._clock.seconds())
        group.told = group.light
        return group

    def _close(self, group: _Group) -> None:
        del self._groups[group.text]
        self._agenda.put(group, None)
        audience = self._audiences[group.counter]
        audience.by_need[group.rule.min_count].discard(group)
        if not audience.by_need[group.rule.min_count]:
            del audience.by_need[group.rule.min_count]
        audience.counted.discard(group)
        if not audience.by_need:
            del self._audiences[group.counter]
        self._counters.drop(group.counter)
        if (quiet := group.quiet) is not None:
            quiet.groups.discard(group)
            if not quiet.groups:
                del self._quiets[quiet.hours]
                self._agenda.put(quiet, None)

    def _part(self, group: _Group, key: object) -> None:
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
        self._set_alarm()

    def _refresh(self, group: _Group, at: float = 0.0) -> None:
        """Let a group see what it should see now, or `at`: a timer may be early."""
        if self._groups.get(group.text) is not group:
            return  # nobody follows it any more
        now = max(at, self._clock.seconds())
        self._agenda.put(group, group.lamp.want(group.wanted, now))
        if group.has_news:
            self._tell(group, group.followers)
        else:
            self._tell_count(group, now)

    def _tell_count(self, group: _Group, now: float) -> None:
        """Tell a count that is another one, or put it on the agenda."""
        told = group.told
        if not group.counted or not told.known or told.count == group.counter.count:
            return
        next_at, wakes_at = group.counted_at + COUNT_EVERY_S, self._agenda.at(group)
        if now >= next_at:
            self._tell(group, group.counted)
        elif wakes_at is None or next_at < wakes_at:
            self._agenda.put(group, next_at)

    def _tell(self, group: _Group, followers: dict[object, Tell]) -> None:
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

    def _set_alarm(self) -> None:
        """See to it that we are woken when something is due."""
        at, alarm = self._agenda.next_at, self._alarm
        if not self.running or at is None:
            return
        if alarm is not None:
            if alarm.getTime() <= at:
                return  # it comes early, and is set anew then
            alarm.cancel()
        delay = max(0.0, at - self._clock.seconds())
        self._alarm = self._clock.callLater(delay, self._wake)

    def _wake(self) -> None:
        self._alarm = None
        for at, due in self._agenda.due(self._clock.seconds()):
            match due:
                case _Group():
                    self._refresh(due, at)
                case _Quiet():
                    if due.groups:
                        self._look_at_quiet_hours(due)
                case _Unseen(source):
                    self._settle(self._counters.give_up(source))
                case _Wall():
                    self._look_for_jump()
        self._set_alarm()

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

    # ---- quiet hours ---------------------------------------------------------------

    def _quiet_of(self, rule: Rule) -> _Quiet | None:
        if not rule.quiet:
            return None
        if not self._quiets:
            self._look_at_wall_again()
        quiet = self._quiets.get(rule.quiet)
        if quiet is None:
            quiet = self._quiets[rule.quiet] = _Quiet(rule.quiet)
            self._look_at_quiet_hours(quiet)
        return quiet

    def _look_at_quiet_hours(self, quiet: _Quiet) -> None:
        now = round(self._wall(), 3)  # a timer is not exact
        one = spell(quiet.hours, now)
        quiet.until = one.until
        self._agenda.put(quiet, self._clock.seconds() + one.until - now)
        if one.quiet != quiet.now:
            quiet.now = one.quiet
            for group in tuple(quiet.groups):
                self._refresh(group)

    def _look_at_all_quiet_hours(self) -> None:
        if self._quiets:
            self._look_at_wall_again()
        for quiet in tuple(self._quiets.values()):
            self._look_at_quiet_hours(quiet)

    def _look_at_wall_again(self) -> None:
        self._wall_ahead_s = self._wall() - self._clock.seconds()
        self._agenda.put(_WALL, self._clock.seconds() + LOOK_AT_WALL_EVERY_S)

    def _look_for_jump(self) -> None:
        ahead_s = self._wall() - self._clock.seconds()
        if abs(ahead_s - self._wall_ahead_s) > JUMP_S:
            self._look_at_all_quiet_hours()
        elif self._quiets:
            self._agenda.put(_WALL, self._clock.seconds() + LOOK_AT_WALL_EVERY_S)

    # ---- why -----------------------------------------------------------------------

    def _explain(self, group: _Group) -> Explanation:
        counter, rule = group.counter, group.rule
        sight = self._counters.sight(counter.gives_up)
        census = take_census(counter.who, counter.reach, sight, self._hub.presence)
        quiet = group.quiet is not None and group.quiet.now
        pending = tuple(self._pending(group))
        wanted, light, needed = group.wanted, group.light, rule.min_count
        return Explanation(
            group.text,
            light,
            wanted,
            census.counted,
            needed,
            census.excluded,
            census.guilds,
            quiet,
            pending,
            why(light, wanted, counter.who, sight, census, needed, pending),
        )

    def _pending(self, group: _Group) -> Iterator[Pending]:
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
            yield Pending("quiet", max(0.0, group.quiet.until - self._wall()))

    def _warn_if_nowhere(self, groups: Iterable[_Group]) -> None:
        presence = self._hub.presence
        if not presence.heard or len(self._warned_of) >= WARNINGS:
            return
        for group in groups:
            for nowhere in nowhere_of(group.rule, presence):
                if nowhere not in self._warned_of and len(self._warned_of) < WARNINGS:
                    self._warned_of.add(nowhere)
                    self._log.warn(
                        "signs follow {scope}, which the bot cannot see: "
                        "they stay dark",
                        scope=nowhere,
                    )
