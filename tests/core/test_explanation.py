"""Who does not count, by the first reason; never more than numbers."""

import pytest

from voicestatus.core.counters import Counters
from voicestatus.core.explanation import Census, take_census
from voicestatus.core.guild import Channel, Voice
from voicestatus.core.ids import ChannelId, GuildId, RoleId, UserId
from voicestatus.core.matching import Counting, who_counts
from voicestatus.core.presence import GuildArrived, Presence, SessionBegan, SourceLost
from voicestatus.core.rules import parse

ME, ADA, BEN, BOT = UserId(1), UserId(11), UserId(12), UserId(13)
HOME, AWAY, FAR = GuildId(100), GuildId(200), GuildId(300)
GROUP, LOUNGE, AFK, THERE = map(ChannelId, (150, 101, 103, 201))
ROOMS = (
    Channel(GROUP, "group", 4),
    Channel(LOUNGE, "lounge", 2, GROUP),
    Channel(AFK, "afk", 2),
)


@pytest.fixture
def presence() -> Presence:
    """At home: Ada, Ben and a bot of theirs, ours, and one who is AFK; one away."""
    presence = Presence()
    presence.apply(SessionBegan(0, ME, frozenset({HOME, AWAY})))
    people = (
        Voice(ADA, LOUNGE, streaming=True, roles=frozenset({RoleId(7)})),
        Voice(BEN, LOUNGE),
        Voice(BOT, LOUNGE, bot=True),
        Voice(ME, LOUNGE, bot=True),
        Voice(UserId(14), AFK),
    )
    presence.apply(GuildArrived(0, HOME, "home", AFK, ROOMS, people))
    rooms = (Channel(THERE, "there", 2),)
    visitor = (Voice(UserId(15), THERE),)
    presence.apply(GuildArrived(0, AWAY, "away", None, rooms, visitor))
    return presence


def census(presence: Presence, document: dict[str, object]) -> Census:
    counters = Counters(presence)
    for guild in presence.guilds:
        counters.survey(guild)
    counter = counters.take(who_counts(parse(document), Counting()), gives_up=False)
    taken = take_census(counter.who, counter.reach, counters.sight(False), presence)
    assert taken.counted == counter.count, "it is another number than the light's"
    return taken


HOME_ONLY = {"guilds": [str(HOME)]}


@pytest.mark.parametrize(
    ("document", "counted", "excluded"),
    [
        ({}, 3, {"afk": 1, "bot": 2}),
        ({"countAfk": True, "countBots": True}, 5, {"self": 1}),
        (HOME_ONLY, 2, {"guild": 1, "afk": 1, "bot": 2}),
        ({"channels": [str(AFK)]}, 1, {"channel": 5}),
        ({"categories": [str(GROUP)]}, 2, {"category": 2, "bot": 2}),
        (
            HOME_ONLY | {"users": [str(BEN)]},
            1,
            {"guild": 1, "afk": 1, "bot": 2, "user": 1},
        ),
        ({"roles": ["7"]}, 1, {"afk": 1, "bot": 2, "role": 2}),
        ({"roles": [str(HOME)]}, 2, {"afk": 1, "bot": 2, "role": 1}),
        ({"streaming": True}, 1, {"afk": 1, "bot": 2, "notStreaming": 2}),
        ({"channels": ["999"]}, 0, {"channel": 6}),
    ],
)
def test_each_who_does_not_count_has_one_reason(
    presence: Presence,
    document: dict[str, object],
    counted: int,
    excluded: dict[str, int],
):
    taken = census(presence, document)
    assert (taken.counted, dict(taken.excluded)) == (counted, excluded)


def test_guilds_are_counted_by_how_far_they_are_known(presence: Presence):
    both = {"guilds": [str(HOME), str(FAR)]}
    assert census(presence, {}).guilds == {"known": 2}
    assert census(presence, both).guilds == {"known": 1, "absent": 1}
    presence.apply(SourceLost(0))
    assert census(presence, both).guilds == {"stale": 1, "absent": 1}
