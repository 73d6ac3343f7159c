"""Lights: what a group shows for what is known, and for how long it holds."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from voicestatus.core.guild import Channel, Knowledge, Voice
from voicestatus.core.ids import ChannelId, GuildId, UserId
from voicestatus.core.lights import NOTHING_TO_SHOW, Light, Scope
from voicestatus.core.presence import (
    ChannelDeleted,
    ChannelUpserted,
    Event,
    GuildArrived,
    GuildRemoved,
    GuildUnavailable,
    GuildUpdated,
    Presence,
    SessionBegan,
    SessionResumed,
    SourceLost,
    SyncEnded,
    VoiceUpdated,
)
from voicestatus.hub import Hub
from voicestatus.lights import Counting, LightGroups

ME, ADA, BEN, BOT = UserId(1), UserId(11), UserId(12), UserId(13)
HOME, AWAY = GuildId(100), GuildId(200)
LOUNGE, AFK, FAR = ChannelId(101), ChannelId(103), ChannelId(201)
OFF = Light(True)
PLAIN = Counting()


def on(count: int = 1, stale: bool = False) -> Light:
    return Light(True, True, count, stale)


class House:
    """A hub with lights on it, and what one follower of each scope was told."""

    def __init__(
        self, counting: Counting = PLAIN, off_after_s: float | None = None
    ) -> None:
        self.clock = Clock()
        self.hub = Hub(Presence())
        self.lights = LightGroups(self.hub, self.clock, counting, off_after_s)
        self.lights.startService()

    def watch(
        self, guild: int | None = None, channel: int | None = None
    ) -> list[Light]:
        told: list[Light] = []
        scope = Scope(
            None if guild is None else GuildId(guild),
            None if channel is None else ChannelId(channel),
        )
        self.lights.follow(scope, told.append)
        return told

    def say(self, *events: Event) -> None:
        for event in events:
            self.hub.apply(event)


def ready(*guilds: GuildId) -> SessionBegan:
    return SessionBegan(0, ME, frozenset(guilds))


def arrived(guild: GuildId, *voices: Voice) -> GuildArrived:
    places = {HOME: (LOUNGE, AFK), AWAY: (FAR,)}[guild]
    channels = tuple(Channel(place, "a place", 2) for place in places)
    return GuildArrived(0, guild, "a guild", AFK, channels, voices)


def goes(user: UserId, where: ChannelId | None, guild: GuildId = HOME) -> VoiceUpdated:
    voice = None if where is None else Voice(user, where)
    return VoiceUpdated(guild, user, voice, user == BOT)


def test_nothing_is_told_until_discord_has_spoken():
    house = House()
    told = house.watch()
    assert told == [NOTHING_TO_SHOW]
    house.say(ready(HOME))
    assert told == [NOTHING_TO_SHOW]
    house.say(arrived(HOME))
    assert told == [NOTHING_TO_SHOW, OFF]


def test_a_light_follows_people():
    house = House()
    house.say(ready(HOME), arrived(HOME))
    told = house.watch()
    house.say(goes(ADA, LOUNGE), goes(BEN, LOUNGE), goes(ADA, None), goes(BEN, None))
    assert told == [OFF, on(1), on(2), on(1), OFF]


def test_bots_and_the_afk_channel_light_nothing_unless_they_are_counted():
    plain, counting = House(), House(Counting(bots=True, afk=True))
    for house in (plain, counting):
        house.say(ready(HOME), arrived(HOME), goes(BOT, LOUNGE), goes(ADA, AFK))
    assert plain.lights.everything == OFF
    assert counting.lights.everything == on(2)


def test_our_own_bot_never_counts():
    house = House(Counting(bots=True, afk=True))
    house.say(
        ready(HOME), arrived(HOME), VoiceUpdated(HOME, ME, Voice(ME, LOUNGE), True)
    )
    assert house.lights.everything == OFF


def test_a_changed_afk_channel_changes_the_light():
    house = House()
    house.say(ready(HOME), arrived(HOME, Voice(ADA, LOUNGE)))
    told = house.watch()
    house.say(GuildUpdated(HOME, "a guild", LOUNGE))
    assert told == [on(1), OFF]


def test_a_sign_that_names_the_afk_channel_follows_it():
    house = House()
    house.say(ready(HOME), arrived(HOME, Voice(ADA, AFK)))
    assert house.watch(channel=AFK) == [on(1)]
    assert house.watch(guild=HOME, channel=AFK) == [on(1)]
    assert house.watch(guild=HOME) == [OFF]


def test_scopes_see_their_own_part():
    house = House()
    house.say(ready(HOME, AWAY), arrived(HOME), arrived(AWAY))
    everything, home, away = house.watch(), house.watch(HOME), house.watch(AWAY)
    lounge, far = house.watch(channel=LOUNGE), house.watch(channel=FAR)
    house.say(goes(ADA, FAR, AWAY))
    assert everything[-1] == away[-1] == far[-1] == on(1)
    assert home == lounge == [OFF]


def test_an_unknown_guild_is_judged_only_once_discord_has_spoken():
    house = House()
    told = house.watch(guild=999)
    assert told == [NOTHING_TO_SHOW]
    house.say(ready(HOME))
    assert told == [NOTHING_TO_SHOW, OFF]


def test_an_unknown_channel_is_judged_only_once_every_guild_was_seen():
    house = House()
    told = house.watch(channel=999)
    house.say(ready(HOME, AWAY), arrived(HOME))
    assert told == [NOTHING_TO_SHOW]
    house.say(arrived(AWAY))
    assert told == [NOTHING_TO_SHOW, OFF]


def test_a_channel_that_is_made_later_lights_its_sign():
    house = House()
    house.say(ready(HOME), arrived(HOME))
    told = house.watch(channel=105)
    house.say(ChannelUpserted(HOME, Channel(ChannelId(105), "new", 2)))
    house.say(goes(ADA, ChannelId(105)))
    assert told == [OFF, on(1)]
    house.say(ChannelDeleted(HOME, ChannelId(105)))
    assert told == [OFF, on(1), OFF]


def test_a_guild_that_was_never_seen_keeps_everything_from_being_off():
    house = House()
    told = house.watch()
    house.say(ready(HOME, AWAY), arrived(HOME), GuildUnavailable(AWAY), SyncEnded(0))
    assert told == [NOTHING_TO_SHOW]
    house.say(goes(ADA, LOUNGE))
    assert told[-1] == on(1, stale=False)


def test_a_light_holds_through_an_outage_and_is_right_after_it():
    house = House()
    house.say(ready(HOME), arrived(HOME, Voice(ADA, LOUNGE)))
    told = house.watch()
    house.say(GuildUnavailable(HOME))
    house.clock.advance(10_000)
    assert told == [on(1), on(1, stale=True)]
    house.say(arrived(HOME))
    assert told[-1] == OFF


def test_a_light_holds_while_the_link_is_away():
    house = House()
    house.say(ready(HOME), arrived(HOME, Voice(ADA, LOUNGE)))
    told = house.watch()
    house.say(SourceLost(0))
    assert told[-1] == on(1, stale=True)
    house.say(goes(ADA, None), SessionResumed(0))
    assert told[-1] == OFF


def test_with_policy_off_a_guild_out_of_sight_counts_as_empty_after_its_time():
    house = House(off_after_s=60)
    house.say(ready(HOME), arrived(HOME, Voice(ADA, LOUNGE)))
    told = house.watch()
    house.say(SourceLost(0))
    house.clock.advance(59)
    assert told[-1].on
    house.clock.advance(1)
    assert told[-1] == OFF
    house.say(SessionResumed(0))
    assert told[-1] == on(1)


def test_with_policy_off_a_sign_is_off_after_its_time_though_discord_never_spoke():
    house = House(off_after_s=60)
    everything, home = house.watch(), house.watch(guild=HOME)
    house.clock.advance(60)
    assert everything == home == [NOTHING_TO_SHOW, OFF]
    house.say(ready(HOME), arrived(HOME, Voice(ADA, LOUNGE)))
    assert everything[-1] == home[-1] == on(1)


def test_with_policy_off_a_link_that_comes_back_in_time_changes_nothing():
    house = House(off_after_s=60)
    house.say(ready(HOME), arrived(HOME, Voice(ADA, LOUNGE)))
    house.say(SourceLost(0))
    house.clock.advance(59)
    house.say(SessionResumed(0), SourceLost(0))
    house.clock.advance(59)
    assert house.lights.everything.on


def test_a_removed_guild_is_dark():
    house = House()
    house.say(ready(HOME, AWAY), arrived(HOME, Voice(ADA, LOUNGE)), arrived(AWAY))
    told, home = house.watch(), house.watch(guild=HOME)
    house.say(GuildRemoved(HOME))
    assert told[-1] == home[-1] == OFF


def test_a_sign_stays_lit_when_its_guild_goes_and_a_new_one_is_still_to_be_seen():
    house = House()
    house.say(ready(HOME), arrived(HOME, Voice(ADA, LOUNGE)))
    told, lounge = house.watch(), house.watch(channel=LOUNGE)
    house.say(SourceLost(0), ready(AWAY))
    assert OFF not in told + lounge
    house.say(arrived(AWAY))
    assert told[-1] == lounge[-1] == OFF


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """Collect which scopes are warned of."""
    scopes: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] is LogLevel.warn:
            scopes.append(event["scope"])

    globalLogPublisher.addObserver(observe)
    yield scopes
    globalLogPublisher.removeObserver(observe)


def test_a_scope_that_the_bot_cannot_see_is_warned_of_once(warned: list[str]):
    house = House()
    house.watch(guild=999)
    house.watch(channel=998)
    assert warned == []
    house.say(ready(HOME))
    assert warned == ["guild 999"]
    house.say(arrived(HOME))
    assert warned == ["guild 999", "channel 998"]
    house.say(SourceLost(0), ready(HOME), arrived(HOME), GuildRemoved(HOME))
    assert warned == ["guild 999", "channel 998"]


def test_no_scope_is_warned_of_before_all_guilds_were_seen(warned: list[str]):
    house = House(off_after_s=60)
    house.clock.advance(60)
    home, lounge = house.watch(guild=HOME), house.watch(channel=LOUNGE)
    assert home == lounge == [OFF]
    house.say(ready(HOME))
    house.clock.advance(60)
    house.watch(channel=AFK)
    house.say(arrived(HOME, Voice(ADA, LOUNGE)))
    assert home[-1] == lounge[-1] == on(1)
    assert warned == []


def test_who_left_hears_nothing_more():
    house = House()
    house.say(ready(HOME), arrived(HOME))
    told: list[Light] = []
    leave = house.lights.follow(Scope(), told.append)
    leave()
    leave()
    house.say(goes(ADA, LOUNGE))
    assert told == [OFF]


def test_who_is_made_to_leave_while_others_are_told_hears_nothing_more():
    house = House()
    house.say(ready(HOME), arrived(HOME))
    ways_out: list[Callable[[], object]] = []
    house.lights.follow(Scope(), lambda light: light.on and ways_out[0]())
    told: list[Light] = []
    ways_out.append(house.lights.follow(Scope(), told.append))
    house.say(goes(ADA, LOUNGE))
    assert told == [OFF]


def test_a_follower_that_fails_is_dropped_and_the_rest_are_told(
    nothing_is_left_behind: list[LogEvent],
):
    house = House()
    house.say(ready(HOME), arrived(HOME))
    calls: list[Light] = []

    def fails(light: Light) -> None:
        calls.append(light)
        if light.on:
            raise ValueError

    house.lights.follow(Scope(), fails)
    told = house.watch()
    house.say(goes(ADA, LOUNGE), goes(ADA, None))
    assert told == [OFF, on(1), OFF]
    assert calls == [OFF, on(1)]
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()


def test_stopping_leaves_no_timer():
    house = House(off_after_s=60)
    house.say(ready(HOME), arrived(HOME), SourceLost(0))
    house.lights.stopService()
    assert house.clock.getDelayedCalls() == []


# ---- any order of events -----------------------------------------------------------

SCOPES = [
    Scope(),
    Scope(HOME),
    Scope(AWAY),
    Scope(None, LOUNGE),
    Scope(None, FAR),
    Scope(HOME, LOUNGE),
    Scope(AWAY, LOUNGE),
    Scope(None, AFK),
]
EVENTS = st.one_of(
    st.builds(
        goes,
        st.sampled_from([ADA, BEN, BOT]),
        st.sampled_from([LOUNGE, AFK, None]),
    ),
    st.builds(goes, st.just(ADA), st.sampled_from([FAR, None]), st.just(AWAY)),
    st.sampled_from(
        [
            ready(HOME, AWAY),
            ready(HOME),
            arrived(HOME),
            arrived(HOME, Voice(ADA, LOUNGE)),
            arrived(AWAY),
            arrived(AWAY, Voice(BEN, FAR)),
            GuildUnavailable(HOME),
            GuildRemoved(AWAY),
            GuildUpdated(HOME, "a guild", LOUNGE),
            ChannelDeleted(HOME, LOUNGE),
            ChannelUpserted(HOME, Channel(LOUNGE, "back", 2)),
            SourceLost(0),
            SessionResumed(0),
            SyncEnded(0),
        ]
    ),
)


@given(st.lists(EVENTS, max_size=40), st.sampled_from([None, 60.0]))
def test_who_followed_all_along_was_told_what_a_late_comer_is_told(
    events: list[Event], off_after_s: float | None
):
    house = House(off_after_s=off_after_s)
    followed = {scope: house.watch(scope.guild, scope.channel) for scope in SCOPES}
    for event in events:
        house.say(event)
        house.clock.advance(7)
    late = LightGroups(house.hub, Clock(), Counting(), None)
    late.startService()
    for scope, told in followed.items():
        assert told == [
            light for i, light in enumerate(told) if i == 0 or told[i - 1] != light
        ]
        if off_after_s is None:
            anew: list[Light] = []
            late.follow(scope, anew.append)
            assert told[-1] == anew[-1], scope


@given(st.lists(EVENTS, max_size=40))
def test_nobody_is_never_shown_for_what_was_not_seen(events: list[Event]):
    house = House()
    told = house.watch()
    for event in events:
        before = len(told)
        house.say(event)
        unseen = not house.hub.presence.heard or any(
            not guild.pictured for guild in house.hub.presence.guilds.values()
        )
        known = all(
            guild.knowledge is Knowledge.KNOWN
            for guild in house.hub.presence.guilds.values()
        )
        now = house.lights.everything
        assert not (unseen and OFF in told[before:])
        assert now.stale <= (not known)
        assert told[-1] == now
