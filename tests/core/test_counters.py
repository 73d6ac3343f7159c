"""Counters: after any events they hold what a naive count from scratch gives."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from voicestatus.core.counters import Changed, Counter, Counters
from voicestatus.core.guild import Channel, Guild, Knowledge, Voice
from voicestatus.core.ids import ChannelId, GuildId, RoleId, UserId
from voicestatus.core.matching import Counting, Who, who_counts
from voicestatus.core.presence import (
    Change,
    ChannelDeleted,
    ChannelUpserted,
    Event,
    GuildArrived,
    GuildChanged,
    GuildGone,
    GuildRemoved,
    GuildUnavailable,
    GuildUpdated,
    MemberRemoved,
    Presence,
    SessionBegan,
    SessionResumed,
    SourceLost,
    SyncEnded,
    VoiceChanged,
    VoiceUpdated,
)
from voicestatus.core.rules import Rule
from voicestatus.core.sight import Source

ME = UserId(1)
HOME, AWAY, NOWHERE = GuildId(100), GuildId(200), GuildId(300)
GUILDS = (HOME, AWAY)
SHARD = {HOME: 0, AWAY: 1}
ROOMS = {
    HOME: [ChannelId(n) for n in (101, 102, 103)],
    AWAY: [ChannelId(n) for n in (201, 202)],
}
GROUPS = {
    HOME: [ChannelId(n) for n in (151, 152)],
    AWAY: [ChannelId(251)],
}
ROLES = {
    HOME: [RoleId(n) for n in (401, 402)],
    AWAY: [RoleId(n) for n in (501, 502)],
}
PEOPLE = [ME, *(UserId(n) for n in range(11, 16))]


def some(values: Iterable[int]) -> st.SearchStrategy[frozenset[int]]:
    """Nothing, as a rule: with each kind of condition almost nobody would count."""
    ids = st.frozensets(st.sampled_from(list(values)), max_size=2)
    return st.one_of(*[st.just(frozenset[int]())] * 3, ids)


all_rooms = [room for rooms in ROOMS.values() for room in rooms]
all_roles = [role for roles in ROLES.values() for role in roles]
all_groups = [group for groups in GROUPS.values() for group in groups]
rules = st.builds(
    Rule,
    guilds=some([HOME, AWAY, NOWHERE]),
    channels=some([*all_rooms, 999]),
    categories=some([*all_groups, 998]),
    users=some(PEOPLE),
    roles=some([*all_roles, HOME]),
    streaming=st.booleans(),
    speaking=st.sampled_from([False, False, False, True]),
    count_bots=st.booleans(),
    count_afk=st.booleans(),
)


SIMPLE = [
    Rule(),
    Rule(streaming=True),
    Rule(count_bots=True),
    Rule(count_afk=True),
    Rule(guilds=frozenset({HOME})),
    Rule(channels=frozenset(ROOMS[AWAY])),
    Rule(categories=frozenset(all_groups)),
    Rule(users=frozenset(PEOPLE[2:4])),
    Rule(roles=frozenset({ROLES[HOME][0], ROLES[AWAY][0]})),
]


def channels(guild: GuildId) -> st.SearchStrategy[Channel]:
    parents = st.sampled_from([None, *GROUPS[guild]])
    room = st.builds(
        Channel, st.sampled_from(ROOMS[guild]), st.just("room"), st.just(2), parents
    )
    group = st.builds(
        Channel, st.sampled_from(GROUPS[guild]), st.just("group"), st.just(4)
    )
    return st.one_of(room, group)


def voices(guild: GuildId) -> st.SearchStrategy[Voice]:
    return st.builds(
        Voice,
        st.sampled_from(PEOPLE),
        st.sampled_from(ROOMS[guild]),
        bot=st.sampled_from([False, False, True]),
        self_mute=st.booleans(),
        streaming=st.booleans(),
        roles=st.frozensets(st.sampled_from(ROLES[guild]), max_size=2),
    )


def arrivals(guild: GuildId) -> st.SearchStrategy[Event]:
    return st.builds(
        GuildArrived,
        st.just(SHARD[guild]),
        st.just(guild),
        st.just("a guild"),
        st.sampled_from([None, *ROOMS[guild]]),
        st.lists(channels(guild), max_size=4, unique_by=lambda c: c.id).map(tuple),
        st.lists(voices(guild), max_size=4, unique_by=lambda v: v.user).map(tuple),
    )


def events(guild: GuildId) -> st.SearchStrategy[Event]:
    shard, of_it = st.just(SHARD[guild]), st.just(guild)
    people = st.sampled_from(PEOPLE)
    return st.one_of(
        voices(guild).map(lambda v: VoiceUpdated(guild, v.user, v, v.bot)),
        voices(guild).map(lambda v: VoiceUpdated(guild, v.user, v, None)),
        people.map(lambda user: VoiceUpdated(guild, user, None, None)),
        st.builds(MemberRemoved, of_it, people),
        arrivals(guild),
        st.builds(ChannelUpserted, of_it, channels(guild)),
        st.builds(ChannelDeleted, of_it, st.sampled_from(ROOMS[guild] + GROUPS[guild])),
        st.builds(GuildUpdated, of_it, st.just("x"), st.sampled_from(ROOMS[guild])),
        st.builds(GuildUnavailable, of_it),
        st.builds(GuildRemoved, of_it),
        st.builds(
            SessionBegan,
            shard,
            st.just(ME),
            st.sampled_from([frozenset(), frozenset({guild})]),
        ),
        st.builds(SessionResumed, shard),
        st.builds(SourceLost, shard),
        st.builds(SyncEnded, shard),
    )


# ---- the naive count ---------------------------------------------------------------


class Naive:
    """What should be, from the presence alone and without any haste."""

    def __init__(self, presence: Presence, given_up: set[Source]) -> None:
        self.presence, self.given_up = presence, given_up

    def seen(self, guild: Guild) -> bool:
        known = guild.knowledge is Knowledge.KNOWN
        return guild.pictured and (known or guild.id not in self.given_up)

    def count(self, who: Who) -> int:
        return sum(
            self.counts(who, voice, guild)
            for guild in self.presence.guilds.values()
            if self.seen(guild)
            for voice in guild.voices.values()
        )

    def counts(self, who: Who, voice: Voice, guild: Guild) -> bool:
        channel = guild.channels.get(voice.channel)
        parent = None if channel is None else guild.channels.get(channel.parent)
        named = channel is not None and voice.channel in who.channels
        return bool(
            voice.user != ME
            and (not who.guilds or guild.id in who.guilds)
            and (not who.channels or named)
            and (not who.categories or (parent and parent.id in who.categories))
            and (not who.users or voice.user in who.users)
            and (not who.roles or bool(who.roles & (voice.roles | {guild.id})))
            and (not who.streaming or voice.streaming)
            and (who.bots or not voice.bot)
            and (who.afk or named or voice.channel != guild.afk_channel)
        )

    def looked_into(self, who: Who) -> tuple[list[Guild], bool]:
        """Return the guilds, and whether there may be more of them."""
        guilds = self.presence.guilds
        if who.guilds:
            here = [guilds[id_] for id_ in who.guilds if id_ in guilds]
            return here, not self.heard and len(here) < len(who.guilds)
        if places := who.channels or who.categories:
            homes = [self.presence.home_of(place) for place in places]
            found = [home for home in homes if home is not None]
            if None not in homes:
                return found, False
            blank = any(self.blank(guild) for guild in guilds.values())
            return found, not self.heard or blank
        return list(guilds.values()), not self.heard

    @property
    def heard(self) -> bool:
        return self.presence.heard or None in self.given_up

    def blank(self, guild: Guild) -> bool:
        known = guild.knowledge is Knowledge.KNOWN
        return not guild.pictured and (known or guild.id not in self.given_up)

    def is_blank(self, who: Who) -> bool:
        guilds, more = self.looked_into(who)
        return who.untold or more or any(self.blank(guild) for guild in guilds)

    def is_stale(self, who: Who) -> bool:
        guilds, _ = self.looked_into(who)
        return any(
            self.seen(guild) and guild.knowledge is not Knowledge.KNOWN
            for guild in guilds
        )


class CountersAgree(RuleBasedStateMachine):
    """Random events, random rules; both ways to treat what is out of sight."""

    def __init__(self) -> None:
        super().__init__()
        self.presence = Presence(shards=2)
        self.counters = Counters(self.presence)
        self.given_up: set[Source] = set()
        self.taken: list[Counter] = []
        self.before: dict[Counter, tuple[int, bool, bool]] = {}

    @initialize(guild=st.sampled_from(GUILDS), data=st.data())
    def begin_somewhere(self, guild: GuildId, data: st.DataObject) -> None:
        self.presence.apply(SessionBegan(0, ME, frozenset()))
        for simple in SIMPLE:
            self.take(simple, gives_up=False)
            self.take(simple, gives_up=True)
        self.say(data.draw(arrivals(guild)))

    @rule(asked=rules, gives_up=st.booleans())
    def take(self, asked: Rule, gives_up: bool) -> None:
        counter = self.counters.take(who_counts(asked, Counting()), gives_up)
        self.taken.append(counter)
        self.note(counter)

    @rule(n=st.integers(0, 50))
    def drop(self, n: int) -> None:
        if self.taken:
            self.counters.drop(self.taken.pop(n % len(self.taken)))

    @rule(event=st.one_of(*map(events, GUILDS)))
    def say(self, event: Event) -> None:
        for change in self.presence.apply(event):
            self.hear(change)

    @rule(guild=st.sampled_from(GUILDS), data=st.data())
    def change(self, guild: GuildId, data: st.DataObject) -> None:
        """Somebody in voice is different in one thing."""
        home = self.presence.guilds.get(guild)
        if home is None or not home.voices:
            return
        voice = data.draw(st.sampled_from(list(home.voices.values())))
        another = data.draw(voices(guild))
        name = data.draw(st.sampled_from(["channel", "streaming", "roles", "bot"]))
        changed = replace(voice, **{name: getattr(another, name)})
        self.say(VoiceUpdated(guild, voice.user, changed, changed.bot))

    @rule()
    def begin(self) -> None:
        for guild in GUILDS:
            self.say(SessionBegan(SHARD[guild], ME, frozenset({guild})))

    @rule(guild=st.sampled_from(GUILDS), data=st.data())
    def arrive(self, guild: GuildId, data: st.DataObject) -> None:
        self.say(data.draw(arrivals(guild)))

    @rule(source=st.sampled_from([None, *GUILDS]))
    def give_up(self, source: GuildId | None) -> None:
        guild = None if source is None else self.presence.guilds.get(source)
        known = guild is None or guild.knowledge is Knowledge.KNOWN
        if self.presence.heard if source is None else known:
            return
        self.given_up.add(source)
        self.check(self.counters.give_up(source))

    def hear(self, change: Change) -> None:
        counters = self.counters
        match change:
            case VoiceChanged(guild, user):
                self.check(counters.move(guild, user))
            case GuildChanged(guild):
                if self.presence.guilds[guild].knowledge is Knowledge.KNOWN:
                    self.see(guild)
                self.check(counters.survey(guild))
            case GuildGone(guild):
                self.see(guild)
                self.check(counters.survey(guild))
            case _:
                self.see(None)
                self.check(counters.look_everywhere())

    def see(self, source: Source) -> None:
        self.given_up.discard(source)
        self.counters.see(source)

    def check(self, changed: Changed) -> None:
        """What is different must have been named, with the count that was."""
        for counter in set(self.taken):
            count, blank, stale = self.before[counter]
            if (counter.blank, counter.stale) != (blank, stale):
                assert changed[counter] is None
            elif counter.count != count:
                assert changed[counter] in {None, count}
            self.note(counter)

    def note(self, counter: Counter) -> None:
        self.before[counter] = counter.count, counter.blank, counter.stale

    @invariant()
    def all_counts_are_right(self) -> None:
        for counter in self.taken:
            naive = Naive(self.presence, self.given_up if counter.gives_up else set())
            who = counter.who
            assert counter.count == naive.count(who), who
            assert counter.blank == naive.is_blank(who), who
            assert counter.stale == naive.is_stale(who), who

    @invariant()
    def nothing_is_kept_of_what_was_dropped(self) -> None:
        if not self.taken:
            kept = vars(self.counters)
            for index in ("_counters", "_anybody", "_by_key", "_by_place", "_by_reach"):
                assert not kept[index], index


TestCountersAgree = CountersAgree.TestCase
TestCountersAgree.settings = settings(stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("needed", [1, 2])
def test_enough_people_that_are_seen_are_enough_though_not_all_is_seen(needed: int):
    presence = Presence()
    counters = Counters(presence)
    counter = counters.take(who_counts(Rule(), Counting()), gives_up=False)
    assert counter.reaches(needed) is None
    for event in (
        SessionBegan(0, ME, frozenset(GUILDS)),
        GuildArrived(0, HOME, "", None, (), (Voice(PEOPLE[1], ROOMS[HOME][0]),)),
    ):
        for change in presence.apply(event):
            if isinstance(change, GuildChanged):
                counters.survey(change.guild)
    assert counter.reaches(needed) is (True if needed == 1 else None)
