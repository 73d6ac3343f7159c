"""Lights: what a group shows for what is known, and for how long it holds."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from voicestatus.alarm import SLICE
from voicestatus.core.explanation import Explanation, Pending
from voicestatus.core.guild import Channel, Knowledge, Voice
from voicestatus.core.ids import ChannelId, GuildId, RoleId, UserId
from voicestatus.core.lights import EVERYTHING, NOTHING_TO_SHOW, Light, RuleText
from voicestatus.core.matching import Counting
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
from voicestatus.core.rules import parse, write
from voicestatus.hub import Hub
from voicestatus.lights import LightGroups

ME, ADA, BEN, BOT = UserId(1), UserId(11), UserId(12), UserId(13)
HOME, AWAY = GuildId(100), GuildId(200)
LOUNGE, AFK, FAR = ChannelId(101), ChannelId(103), ChannelId(201)
OFF = Light(True)
PLAIN = Counting()


def on(count: int = 1, stale: bool = False) -> Light:
    return Light(True, True, count, stale)


NOW = 1_800_000_000.0  # Fri 2027-01-15 08:00:00 UTC


def rule(**document: object) -> RuleText:
    return write(parse(document))


class House:
    """A hub with lights on it, and what one follower of each rule was told."""

    def __init__(
        self, counting: Counting = PLAIN, off_after_s: float | None = None
    ) -> None:
        self.clock = Clock()
        self.wall_s = NOW
        self.hub = Hub(Presence())
        self.lights = LightGroups(
            self.hub,
            self.clock,
            lambda: self.wall_s + self.clock.seconds(),
            counting,
            off_after_s or 60.0,
            hold=off_after_s is None,
        )
        self.lights.startService()

    def watch(self, *, counted: bool = False, **document: object) -> list[Light]:
        told: list[Light] = []
        self.lights.follow(rule(**document), told.append, counted=counted)
        return told

    def guild(self, guild: int) -> list[Light]:
        return self.watch(guilds=[str(guild)])

    def channel(self, channel: int) -> list[Light]:
        return self.watch(channels=[str(channel)])

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
    assert told == [OFF, on(1), OFF]


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
    assert house.channel(AFK) == [on(1)]
    assert house.watch(guilds=[str(HOME)], channels=[str(AFK)]) == [on(1)]
    assert house.guild(HOME) == [OFF]


def test_scopes_see_their_own_part():
    house = House()
    house.say(ready(HOME, AWAY), arrived(HOME), arrived(AWAY))
    everything, home, away = house.watch(), house.guild(HOME), house.guild(AWAY)
    lounge, far = house.channel(LOUNGE), house.channel(FAR)
    house.say(goes(ADA, FAR, AWAY))
    assert everything[-1] == away[-1] == far[-1] == on(1)
    assert home == lounge == [OFF]


def test_an_unknown_guild_is_judged_only_once_discord_has_spoken():
    house = House()
    told = house.guild(999)
    assert told == [NOTHING_TO_SHOW]
    house.say(ready(HOME))
    assert told == [NOTHING_TO_SHOW, OFF]


def test_an_unknown_channel_is_judged_only_once_every_guild_was_seen():
    house = House()
    told = house.channel(999)
    house.say(ready(HOME, AWAY), arrived(HOME))
    assert told == [NOTHING_TO_SHOW]
    house.say(arrived(AWAY))
    assert told == [NOTHING_TO_SHOW, OFF]


def test_a_channel_that_is_made_later_lights_its_sign():
    house = House()
    house.say(ready(HOME), arrived(HOME))
    told = house.channel(105)
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
    everything, home = house.watch(), house.guild(HOME)
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
    told, home = house.watch(), house.guild(HOME)
    house.say(GuildRemoved(HOME))
    assert told[-1] == home[-1] == OFF


def test_a_sign_stays_lit_when_its_guild_goes_and_a_new_one_is_still_to_be_seen():
    house = House()
    house.say(ready(HOME), arrived(HOME, Voice(ADA, LOUNGE)))
    told, lounge = house.watch(), house.channel(LOUNGE)
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
            scopes.append(event.get("scope", "") or event["why"])

    globalLogPublisher.addObserver(observe)
    yield scopes
    globalLogPublisher.removeObserver(observe)


def test_a_scope_that_the_bot_cannot_see_is_warned_of_once(warned: list[str]):
    house = House()
    house.guild(999)
    house.channel(998)
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
    home, lounge = house.guild(HOME), house.channel(LOUNGE)
    assert home == lounge == [OFF]
    house.say(ready(HOME))
    house.clock.advance(60)
    house.channel(AFK)
    house.say(arrived(HOME, Voice(ADA, LOUNGE)))
    assert home[-1] == lounge[-1] == on(1)
    assert warned == []


def test_who_left_hears_nothing_more():
    house = House()
    house.say(ready(HOME), arrived(HOME))
    told: list[Light] = []
    leave = house.lights.follow(EVERYTHING, told.append)
    leave()
    leave()
    house.say(goes(ADA, LOUNGE))
    assert told == [OFF]


def test_who_is_made_to_leave_while_others_are_told_hears_nothing_more():
    house = House()
    house.say(ready(HOME), arrived(HOME))
    ways_out: list[Callable[[], object]] = []
    house.lights.follow(EVERYTHING, lambda light: light.on and ways_out[0]())
    told: list[Light] = []
    ways_out.append(house.lights.follow(EVERYTHING, told.append))
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

    house.lights.follow(EVERYTHING, fails)
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


# ---- who counts --------------------------------------------------------------------


def lively(counting: Counting = PLAIN) -> House:
    """A house that knows both its guilds, with nobody in voice."""
    house = House(counting)
    house.say(ready(HOME, AWAY), arrived(HOME), arrived(AWAY))
    return house


def test_a_rule_may_want_several_people():
    house = lively()
    told = house.watch(minCount=2)
    house.say(goes(ADA, LOUNGE), goes(BEN, FAR, AWAY), goes(ADA, None))
    assert told == [OFF, on(2), Light(True, count=1)]


def test_several_people_that_were_not_all_seen_are_not_too_few():
    house = House()
    told = house.watch(minCount=2)
    house.say(ready(HOME, AWAY), arrived(HOME, Voice(ADA, LOUNGE)))
    assert told == [NOTHING_TO_SHOW]
    house.say(goes(BEN, LOUNGE))
    assert told[-1] == on(2)


def test_each_guild_that_a_rule_names_is_judged():
    house = House()
    told = house.watch(guilds=[str(HOME), str(AWAY)])
    house.say(ready(HOME, AWAY), arrived(HOME))
    assert told == [NOTHING_TO_SHOW]
    house.say(arrived(AWAY))
    assert told[-1] == OFF
    house.say(goes(ADA, FAR, AWAY))
    assert told[-1] == on(1)


def test_a_rule_says_for_itself_whether_bots_and_afk_count():
    house = lively(Counting(bots=True, afk=True))
    plain = house.watch(countBots=False, countAfk=False)
    house.say(goes(BOT, LOUNGE), goes(ADA, AFK))
    assert plain == [OFF]
    assert house.lights.everything == on(2)


def test_a_rule_says_for_itself_what_it_shows_while_nothing_is_known():
    house = House(off_after_s=60)
    house.say(ready(HOME), arrived(HOME, Voice(ADA, LOUNGE)))
    holds, gives_up = house.watch(unknown="hold"), house.watch(unknown="off")
    house.say(SourceLost(0))
    house.clock.advance(60)
    assert holds[-1] == on(1, stale=True)
    assert gives_up[-1] == OFF


def test_people_are_known_by_their_roles_and_everybody_has_the_guilds_own():
    house = lively()
    crew = house.watch(roles=["77"])
    anybody = house.watch(roles=[str(HOME)])
    house.say(goes(BEN, LOUNGE))
    assert (crew[-1], anybody[-1]) == (OFF, on(1))
    ada = Voice(ADA, LOUNGE, roles=frozenset({RoleId(77)}))
    house.say(VoiceUpdated(HOME, ADA, ada, False))
    assert crew[-1] == on(1)
    house.say(VoiceUpdated(HOME, ADA, Voice(ADA, LOUNGE, mute=True), None))
    assert crew[-1].on, "a payload without a member took the roles away"
    house.say(VoiceUpdated(HOME, ADA, Voice(ADA, LOUNGE), False))
    assert crew[-1] == OFF


def test_a_channel_that_moves_into_a_category_counts_for_it():
    house = lively()
    category = ChannelId(150)
    house.say(ChannelUpserted(HOME, Channel(category, "rooms", 4)), goes(ADA, LOUNGE))
    told = house.watch(categories=[str(category)])
    assert told == [OFF]
    house.say(ChannelUpserted(HOME, Channel(LOUNGE, "lounge", 2, category)))
    assert told[-1] == on(1)


@pytest.mark.parametrize("key", ["speaking", "event"])
def test_what_nothing_tells_is_unknown_and_never_nobody(key: str):
    house = lively()
    told = house.watch(**{key: True})
    gives_up = house.watch(**{key: True, "unknown": "off"})
    house.say(goes(ADA, LOUNGE), goes(ADA, None))
    assert told == gives_up == [NOTHING_TO_SHOW]
    house.clock.advance(60)
    assert told == [NOTHING_TO_SHOW]
    assert gives_up[-1] == OFF


def test_a_light_has_the_looks_of_its_rule():
    house = lively()
    looks = {"pattern": "blink", "color": "#00ff00", "brightness": 9}
    told = house.watch(**looks)
    house.say(goes(ADA, LOUNGE))
    assert told[-1] == Light(True, True, 1, False, *looks.values())


# ---- time --------------------------------------------------------------------------


def test_a_light_waits_for_its_delays():
    house = lively()
    told = house.watch(onDelayS=5, offDelayS=10, minOnS=30)
    house.say(goes(ADA, LOUNGE))
    house.clock.advance(4)
    house.say(goes(ADA, None))
    house.clock.advance(100)
    assert told == [OFF]
    house.say(goes(ADA, LOUNGE))
    house.clock.advance(5)
    assert told == [OFF, on(1)]
    house.say(goes(ADA, None))
    house.clock.advance(29)
    assert told[-1].on
    house.clock.advance(1)
    assert told == [OFF, on(1), OFF]


def test_the_first_light_of_a_group_is_not_delayed():
    house = lively()
    house.say(goes(ADA, LOUNGE))
    assert house.watch(onDelayS=5) == [on(1)]


def test_a_count_is_told_at_once_and_then_a_few_times_a_second_at_most():
    house = lively()
    counted, plain = house.watch(counted=True), house.watch()
    house.clock.advance(10)
    for user in range(11, 16):
        house.say(goes(UserId(user), LOUNGE))
        house.clock.advance(0.01)
    assert counted == [OFF, on(1)]
    house.clock.advance(0.21)
    assert counted == [OFF, on(1), on(4)]  # one of them is the bot
    house.clock.advance(10)
    house.say(goes(ADA, None))
    assert counted[-1] == on(3)
    assert plain == [OFF, on(1)]


def test_a_count_does_not_wait_for_a_delay():
    house = lively()
    house.say(goes(ADA, LOUNGE), goes(BEN, LOUNGE))
    told = house.watch(counted=True, minCount=2, offDelayS=60)
    house.clock.advance(10)
    house.say(goes(ADA, None), goes(BEN, None))
    house.clock.advance(0.25)
    assert told == [on(2), on(1), on(0)]
    house.clock.advance(60)
    assert told[-1] == OFF


def test_who_comes_between_two_counts_does_not_make_others_miss_one():
    house = lively()
    early = house.watch(counted=True)
    house.say(goes(ADA, LOUNGE), goes(BEN, LOUNGE))
    late = house.watch(counted=True)
    house.say(goes(BEN, None))
    house.clock.advance(1)
    assert early[-1] == late[-1] == on(1)


BERLIN = {"from": "23:00", "to": "07:00", "tz": "Europe/Berlin"}
TO_23_S = 14 * 3600  # in Berlin it is 09:00 when a test begins
NIGHT_S = 8 * 3600


def test_in_quiet_hours_a_light_is_off_whatever_it_would_be():
    house = lively()
    told = house.watch(quiet=[BERLIN], minOnS=86_400)
    house.say(goes(ADA, LOUNGE))
    house.clock.advance(TO_23_S - 1)
    assert told[-1] == on(1)
    house.clock.advance(1)
    assert told[-1] == Light(True, False, 1)
    house.say(goes(BEN, LOUNGE))
    house.clock.advance(NIGHT_S - 1)
    assert told[-1] == Light(True, False, 1)
    house.clock.advance(1)
    assert told[-1] == on(2)


def test_quiet_hours_are_a_known_off_even_while_nothing_is_known():
    house = House()
    told = house.watch(quiet=[BERLIN])
    house.clock.advance(TO_23_S)
    assert told == [NOTHING_TO_SHOW, OFF]
    house.clock.advance(NIGHT_S)
    assert told[-1] == NOTHING_TO_SHOW


def test_a_jump_of_the_wall_clock_is_noticed_within_half_a_minute():
    house = lively()
    house.say(goes(ADA, LOUNGE))
    told = house.watch(quiet=[BERLIN])
    house.wall_s += TO_23_S + 60
    house.clock.advance(30)
    assert [light.on for light in told] == [True, False]
    house.wall_s -= TO_23_S
    house.clock.advance(30)
    assert [light.on for light in told] == [True, False, True]


def test_a_jump_of_the_wall_clock_does_not_hold_up_the_reactor():
    house = lively()
    house.say(goes(ADA, LOUNGE))
    told = [
        house.watch(quiet=[BERLIN | {"from": f"22:{n:02}"}]) for n in range(SLICE + 9)
    ]
    dark: list[int] = []

    def count(light: Light) -> None:
        if not light.on:  # others have their turn right after this one's
            house.clock.callLater(0, lambda: dark.append(_dark(told)))

    house.lights.follow(rule(quiet=[BERLIN | {"from": "22:00"}]), count)
    house.wall_s += TO_23_S + 60
    house.clock.advance(30)
    assert 0 < dark[0] <= SLICE
    assert _dark(told) == len(told)


def _dark(told: list[list[Light]]) -> int:
    return sum(not lights[-1].on for lights in told)


def test_what_is_due_and_fails_does_not_stop_the_other_lights(
    nothing_is_left_behind: list[LogEvent],
):
    house = lively()
    lamp, quiet = house.watch(onDelayS=20), house.watch(quiet=[BERLIN])
    house.say(goes(ADA, LOUNGE))
    wall, house.wall_s = house.wall_s, "no clock"  # type: ignore[assignment] # on purpose
    house.clock.advance(TO_23_S)
    house.wall_s = wall
    assert lamp[-1].on
    assert quiet[-1].on
    assert nothing_is_left_behind
    nothing_is_left_behind.clear()
    house.say(goes(ADA, None))
    assert not lamp[-1].on


def test_many_rules_with_many_times_need_one_timer():
    house = lively()
    for n in range(50):
        house.watch(offDelayS=5 + n, quiet=[BERLIN])
    house.say(goes(ADA, LOUNGE), goes(ADA, None))
    assert len(house.clock.getDelayedCalls()) == 1
    house.lights.stopService()
    assert house.clock.getDelayedCalls() == []


def test_a_group_that_nobody_follows_leaves_nothing_on_the_agenda():
    house = lively()
    told: list[Light] = []
    text = rule(offDelayS=5, quiet=[BERLIN])
    leave = house.lights.follow(text, told.append)
    house.say(goes(ADA, LOUNGE), goes(ADA, None))
    leave()
    house.clock.advance(3600)
    assert told == [OFF, on(1)]
    assert house.clock.getDelayedCalls() == []


NO_RULE = RuleText('{"quiet":[{"from":"23:00","to":"07:00","tz":"Not/There"}]}')


@pytest.mark.parametrize("text", [NO_RULE, RuleText('{"guild":[]}'), RuleText("{")])
def test_a_sign_whose_stored_rule_is_none_any_more_shows_everything(
    text: RuleText, warned: list[str]
):
    house = lively()
    told: list[Light] = []
    leave = house.lights.follow(text, told.append)
    house.lights.follow(text, told.append)()
    house.say(goes(ADA, LOUNGE))
    assert told == [OFF, OFF, on(1)]
    explained = house.lights.explain(text)
    leave()
    assert house.lights.explain(text) == explained
    assert explained.rule == EVERYTHING
    assert explained.why.startswith("The rule cannot be read (")
    assert explained.why.endswith("), so there is none. On: 1 counts.")
    assert len(warned) == 1


# ---- why ---------------------------------------------------------------------------


def test_a_light_is_explained_in_numbers():
    house = lively()
    house.say(goes(ADA, LOUNGE), goes(BOT, LOUNGE), goes(BEN, FAR, AWAY))
    text = rule(guilds=[str(HOME)])
    followed = house.lights.follow(text, lambda light: None)
    told = house.lights.explain(text)
    followed()
    assert told == Explanation(
        text,
        on(1),
        True,
        1,
        1,
        {"bot": 1, "guild": 1},
        {"known": 1},
        False,
        (),
        "On: 1 counts.",
    )
    assert house.lights.explain(text) == told, "a dry run says something else"


def why(house: House, **document: object) -> str:
    return house.lights.explain(rule(**document)).why


NOTHING_TELLS = (
    "Not known: the rule asks who speaks or for an event, which nothing tells yet."
)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "On: 2 count."),
        ({"minCount": 3}, "Off: 2 count, 3 are needed."),
        ({"users": ["999"]}, "Off: nobody counts."),
        (
            {"guilds": ["999"]},
            "Off: nobody counts; the bot is not in a server that the rule names.",
        ),
        (
            {"channels": ["999"]},
            "Off: nobody counts; the bot sees none of the places that the rule names.",
        ),
        ({"event": True}, NOTHING_TELLS),
    ],
)
def test_why_is_a_sentence(document: dict[str, object], sentence: str):
    house = lively()
    house.say(goes(ADA, LOUNGE), goes(BEN, FAR, AWAY))
    assert why(house, **document) == sentence


def test_why_names_what_is_out_of_sight():
    house = House(off_after_s=60)
    silent = "Not known: Discord has not named its servers yet; off in 1 min 0 s."
    assert why(house) == silent
    house.say(ready(HOME, AWAY), arrived(HOME, Voice(ADA, LOUNGE)))
    house.clock.advance(20)
    assert why(house, guilds=[str(AWAY)]) == (
        "Not known: a server was never seen, and too few people count elsewhere; "
        "off in 40 s."
    )
    house.say(arrived(AWAY), SourceLost(0))
    assert why(house) == (
        "On: 1 counts; part of it is the last picture, for Discord is out of sight."
    )


def test_why_names_the_time_that_runs():
    house = lively()
    document = {"offDelayS": 90, "minOnS": 5}
    text = rule(**document)
    house.watch(**document)
    house.say(goes(ADA, LOUNGE), goes(ADA, None))
    house.clock.advance(1)
    told = house.lights.explain(text)
    assert told.pending == (Pending("offDelay", 89.0), Pending("minOn", 4.0))
    assert (
        told.why == "Still on: nobody counts, but offDelayS runs for 1 min 29 s more."
    )
    house.clock.advance(TO_23_S)
    assert why(house, quiet=[BERLIN]) == (
        "Off: these are quiet hours, for 7 h 59 min more."
    )


# ---- any order of events -----------------------------------------------------------

RULES: list[dict[str, object]] = [
    {},
    {"guilds": [str(HOME)]},
    {"guilds": [str(AWAY)]},
    {"guilds": [str(HOME), str(AWAY)]},
    {"channels": [str(LOUNGE)]},
    {"channels": [str(FAR)]},
    {"guilds": [str(HOME)], "channels": [str(LOUNGE)]},
    {"guilds": [str(AWAY)], "channels": [str(LOUNGE)]},
    {"channels": [str(AFK)]},
    {"channels": [str(LOUNGE), str(FAR)], "minCount": 2},
    {"users": [str(ADA)]},
    {"minCount": 2},
    {"unknown": "off"},
    {"unknown": "hold"},
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
    followed = [(document, house.watch(**document)) for document in RULES]
    for event in events:
        house.say(event)
        house.clock.advance(7)
    late = LightGroups(house.hub, Clock(), lambda: NOW, PLAIN, 60.0, hold=True)
    late.startService()
    for document, told in followed:
        assert told == [
            light for i, light in enumerate(told) if i == 0 or told[i - 1] != light
        ]
        if off_after_s is None and document.get("unknown") != "off":
            anew: list[Light] = []
            late.follow(rule(**document), anew.append)
            assert replace(told[-1], count=anew[-1].count) == anew[-1], document


SLOW: list[dict[str, object]] = [
    {"onDelayS": 3},
    {"offDelayS": 8},
    {"minOnS": 20},
    {"onDelayS": 1, "offDelayS": 2, "minOnS": 9, "minCount": 2},
    {"guilds": [str(AWAY)], "offDelayS": 5, "quiet": [BERLIN]},
    {"quiet": [BERLIN | {"from": "09:00", "to": "09:01"}], "onDelayS": 3},
    {"channels": [str(LOUNGE)], "minOnS": 4, "quiet": [BERLIN]},
]
STEPS = st.one_of(
    EVENTS,
    st.sampled_from([0.1, 0.25, 1.0, 5.0, 30.0]),  # seconds
    st.sampled_from([-3600, 60, TO_23_S]),  # the wall clock jumps
    st.sampled_from(["one follows", "one leaves"]),
)


@given(st.lists(STEPS, max_size=40))
def test_when_all_times_are_over_each_light_is_what_a_late_comer_is_told(
    steps: list[Event | float | int | str],
):
    house = House()
    followed = [
        (document, counted, house.watch(counted=counted, **document))
        for document in SLOW
        for counted in (True, False)
    ]
    ways_out: list[Callable[[], object]] = []
    for step in [*steps, 40.0]:
        match step:
            case float():
                house.clock.advance(step)
            case int():
                house.wall_s += step
            case "one follows":
                text = rule(**SLOW[len(ways_out) % len(SLOW)])
                ways_out.append(house.lights.follow(text, lambda _: None, counted=True))
            case "one leaves":
                if ways_out:
                    ways_out.pop(0)()
            case str():
                raise AssertionError(step)
            case _:
                house.say(step)
    wall = house.wall_s + house.clock.seconds()
    late = LightGroups(house.hub, Clock(), lambda: wall, PLAIN, 60.0, hold=True)
    late.startService()
    for document, counted, told in followed:
        anew: list[Light] = []
        late.follow(rule(**document), anew.append)
        known = told[-1] if counted else replace(told[-1], count=anew[-1].count)
        assert known == anew[-1], document
        assert house.lights.explain(rule(**document)).light == anew[-1]
        assert all(a != b for a, b in pairwise(told))


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
        assert replace(told[-1], count=now.count) == now
