"""Presence: any order of events leaves what a rebuild from a snapshot gives."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.guild import Channel, Knowledge, Tally, Voice
from voicestatus.core.ids import ChannelId, GuildId, RoleId, UserId
from voicestatus.core.presence import (
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
    Sharded,
    SourceHeard,
    SourceLost,
    SyncEnded,
    VoiceChanged,
    VoiceUpdated,
)

ME = UserId(1)
ADA, BEN, BOT = UserId(11), UserId(12), UserId(13)
HOME, AWAY = GuildId(100), GuildId(200)
LOUNGE, GAMES, AFK = ChannelId(101), ChannelId(102), ChannelId(103)


def channel(id_: ChannelId, kind: int = 2) -> Channel:
    return Channel(id_, f"channel {id_}", kind)


def arrived(guild: GuildId, *voices: Voice) -> GuildArrived:
    places = (channel(LOUNGE), channel(GAMES), channel(AFK))
    return GuildArrived(0, guild, "a guild", AFK, places, voices)


def joined(user: UserId, where: ChannelId | None, bot: bool | None = False) -> Event:
    voice = None if where is None else Voice(user, where)
    return VoiceUpdated(HOME, user, voice, bot)


@pytest.fixture
def presence() -> Presence:
    presence = Presence()
    presence.apply(SessionBegan(0, ME, frozenset({HOME})))
    presence.apply(arrived(HOME))
    return presence


def test_a_join_a_move_and_a_leave_are_told_with_what_was_before(presence: Presence):
    lounge, games = Voice(ADA, LOUNGE), Voice(ADA, GAMES)
    assert presence.apply(joined(ADA, LOUNGE)) == [
        VoiceChanged(HOME, ADA, None, lounge)
    ]
    assert presence.apply(joined(ADA, GAMES)) == [
        VoiceChanged(HOME, ADA, lounge, games)
    ]
    assert presence.apply(joined(ADA, None)) == [VoiceChanged(HOME, ADA, games, None)]


def test_what_says_nothing_new_changes_nothing(presence: Presence):
    presence.apply(joined(ADA, LOUNGE))
    assert presence.apply(joined(ADA, LOUNGE)) == []
    assert presence.apply(joined(BEN, None)) == []
    assert presence.apply(ChannelUpserted(HOME, channel(LOUNGE))) == []
    assert presence.apply(GuildUpdated(HOME, "a guild", AFK)) == []


def test_a_guild_create_replaces_so_that_no_ghost_stays(presence: Presence):
    presence.apply(joined(ADA, LOUNGE))
    presence.apply(joined(BEN, GAMES))
    changes = presence.apply(arrived(HOME, Voice(BEN, LOUNGE)))
    assert VoiceChanged(HOME, ADA, Voice(ADA, LOUNGE), None) in changes
    assert VoiceChanged(HOME, BEN, Voice(BEN, GAMES), Voice(BEN, LOUNGE)) in changes
    assert presence.guilds[HOME].total == Tally(people=1)


def test_who_it_is_stays_while_payloads_lack_the_member(presence: Presence):
    roles = frozenset({RoleId(7), RoleId(8)})
    ada = Voice(ADA, LOUNGE, roles=roles, name="Ada", avatar_url="https://a.png")
    presence.apply(VoiceUpdated(HOME, ADA, ada, False))
    voices = presence.guilds[HOME].voices
    presence.apply(VoiceUpdated(HOME, ADA, Voice(ADA, GAMES), None))
    assert voices[ADA] == replace(ada, channel=GAMES)
    untold = replace(arrived(HOME, Voice(ADA, LOUNGE)), memberless=frozenset({ADA}))
    presence.apply(untold)
    assert voices[ADA] == ada
    presence.apply(VoiceUpdated(HOME, ADA, Voice(ADA, LOUNGE), False))
    assert voices[ADA] == Voice(ADA, LOUNGE)


def test_an_outage_is_unknown_and_not_empty(presence: Presence):
    presence.apply(joined(ADA, LOUNGE))
    assert presence.apply(GuildUnavailable(HOME)) == [GuildChanged(HOME)]
    guild = presence.guilds[HOME]
    assert guild.knowledge is Knowledge.UNKNOWN
    assert guild.total == Tally(people=1)


def test_a_lost_link_makes_known_stale_and_a_resume_makes_it_known_again(
    presence: Presence,
):
    presence.apply(SourceLost(0))
    assert presence.guilds[HOME].knowledge is Knowledge.STALE
    presence.apply(SessionResumed(0))
    assert presence.guilds[HOME].knowledge is Knowledge.KNOWN


def test_a_new_session_keeps_the_picture_as_stale_until_it_is_told_anew(
    presence: Presence,
):
    presence.apply(joined(ADA, LOUNGE))
    presence.apply(SourceLost(0))
    presence.apply(SessionBegan(0, ME, frozenset({HOME})))
    assert presence.guilds[HOME].knowledge is Knowledge.STALE
    assert presence.guilds[HOME].total.people == 1
    presence.apply(arrived(HOME))
    assert presence.guilds[HOME].knowledge is Knowledge.KNOWN
    assert presence.guilds[HOME].total.people == 0


def test_a_resume_does_not_vouch_for_a_guild_that_was_still_owed(presence: Presence):
    presence.apply(SessionBegan(0, ME, frozenset({HOME})))
    presence.apply(SourceLost(0))
    presence.apply(SessionResumed(0))
    assert presence.guilds[HOME].knowledge is Knowledge.STALE


def test_a_guild_that_never_comes_is_unknown_once_the_session_has_told_all(
    presence: Presence,
):
    presence.apply(SessionBegan(0, ME, frozenset({HOME, AWAY})))
    presence.apply(arrived(HOME))
    presence.apply(SyncEnded(0))
    assert presence.guilds[HOME].knowledge is Knowledge.KNOWN
    assert presence.guilds[AWAY].knowledge is Knowledge.UNKNOWN


def test_a_guild_that_a_new_session_does_not_list_is_gone_with_its_people(
    presence: Presence,
):
    presence.apply(joined(ADA, LOUNGE))
    changes = presence.apply(SessionBegan(0, ME, frozenset({AWAY})))
    assert changes == [
        GuildChanged(AWAY),
        VoiceChanged(HOME, ADA, Voice(ADA, LOUNGE), None),
        GuildGone(HOME),
    ]
    assert presence.home_of(LOUNGE) is None


def test_a_removed_guild_takes_its_people_along(presence: Presence):
    presence.apply(joined(ADA, LOUNGE))
    assert presence.apply(GuildRemoved(HOME)) == [
        VoiceChanged(HOME, ADA, Voice(ADA, LOUNGE), None),
        GuildGone(HOME),
    ]
    assert presence.apply(GuildRemoved(HOME)) == []


def test_whoever_is_in_a_deleted_channel_is_out_and_the_late_update_says_nothing(
    presence: Presence,
):
    presence.apply(joined(ADA, LOUNGE))
    assert presence.apply(ChannelDeleted(HOME, LOUNGE)) == [
        GuildChanged(HOME),
        VoiceChanged(HOME, ADA, Voice(ADA, LOUNGE), None),
    ]
    assert presence.apply(joined(ADA, None)) == []


def test_a_deleted_afk_channel_is_no_longer_the_guilds_afk_channel(presence: Presence):
    assert presence.apply(ChannelDeleted(HOME, AFK)) == [GuildChanged(HOME)]
    assert presence.guilds[HOME].afk_channel is None


def test_an_afk_channel_that_was_never_told_of_can_be_deleted(presence: Presence):
    presence.apply(GuildArrived(0, HOME, "a guild", AFK, (), ()))
    assert presence.apply(ChannelDeleted(HOME, AFK)) == [GuildChanged(HOME)]


def test_a_member_who_is_removed_or_banned_is_out_of_voice(presence: Presence):
    presence.apply(joined(ADA, LOUNGE))
    presence.apply(MemberRemoved(HOME, ADA))
    assert presence.guilds[HOME].voices == {}


def test_bots_are_counted_apart_and_our_own_is_nobody(presence: Presence):
    presence.apply(joined(BOT, LOUNGE, bot=True))
    presence.apply(joined(ME, LOUNGE, bot=True))
    assert presence.guilds[HOME].total == Tally(people=0, bots=1)
    assert presence.guilds[HOME].within(LOUNGE) == Tally(people=0, bots=1)
    presence.apply(joined(ME, GAMES, bot=True))
    presence.apply(joined(ME, None, bot=True))
    assert presence.guilds[HOME].total == Tally(people=0, bots=1)


def test_a_bot_stays_a_bot_where_a_payload_lacks_its_member(presence: Presence):
    presence.apply(joined(BOT, LOUNGE, bot=True))
    presence.apply(joined(BOT, None, bot=None))
    presence.apply(joined(BOT, GAMES, bot=None))
    assert presence.guilds[HOME].total == Tally(people=0, bots=1)


def test_a_bot_stays_a_bot_where_a_guild_create_lacks_its_member(presence: Presence):
    presence.apply(joined(BOT, LOUNGE, bot=True))
    presence.apply(arrived(HOME, Voice(BOT, GAMES)))
    assert presence.guilds[HOME].total == Tally(people=0, bots=1)


def test_a_bot_that_is_known_as_such_late_no_longer_counts_as_a_person(
    presence: Presence,
):
    presence.apply(joined(BOT, LOUNGE, bot=None))
    assert presence.guilds[HOME].total == Tally(people=1)
    presence.apply(joined(BOT, LOUNGE, bot=True))
    assert presence.guilds[HOME].total == Tally(people=0, bots=1)


def test_who_leaves_one_guild_stays_in_voice_in_another():
    presence = Presence()
    presence.apply(SessionBegan(0, ME, frozenset({HOME, AWAY})))
    presence.apply(arrived(HOME))
    presence.apply(arrived(AWAY, Voice(ADA, LOUNGE)))
    assert presence.apply(MemberRemoved(HOME, ADA)) == []
    assert presence.guilds[AWAY].total == Tally(people=1)


def test_a_guild_that_another_shard_lists_is_that_shards_from_then_on():
    presence = Presence(shards=2)
    presence.apply(SessionBegan(0, ME, frozenset({HOME})))
    presence.apply(arrived(HOME))
    presence.apply(SessionBegan(1, ME, frozenset({HOME})))
    presence.apply(SessionBegan(0, ME, frozenset()))
    assert presence.guilds[HOME].shard == 1
    assert presence.guilds[HOME].knowledge is Knowledge.STALE


def test_another_number_of_shards_leaves_the_picture_stale_until_each_has_told():
    presence = Presence()
    there = frozenset({3 << 22, 4 << 22})
    presence.apply(SessionBegan(0, ME, there))
    for guild in there:
        presence.apply(arrived(guild))
    presence.apply(SyncEnded(0))
    changes = presence.apply(Sharded(2))
    assert {change.guild for change in changes} == there
    assert presence.heard
    # A guild is dropped by its own shard's word alone.
    presence.apply(SessionBegan(0, ME, frozenset({4 << 22})))
    presence.apply(SessionResumed(0))
    assert presence.guilds[3 << 22].knowledge is Knowledge.STALE
    presence.apply(SessionBegan(1, ME, frozenset()))
    assert presence.guilds.keys() == {4 << 22}


def test_before_discord_has_spoken_the_number_of_shards_says_how_many_must():
    presence = Presence()
    assert presence.apply(Sharded(2)) == []
    presence.apply(SessionBegan(0, ME, frozenset()))
    assert presence.apply(Sharded(2)) == []
    assert not presence.heard
    presence.apply(SessionBegan(1, ME, frozenset()))
    assert presence.heard


def test_the_stage_audience_is_in_voice(presence: Presence):
    stage = ChannelId(104)
    presence.apply(ChannelUpserted(HOME, channel(stage, kind=13)))
    audience = Voice(ADA, stage, suppress=True)
    presence.apply(VoiceUpdated(HOME, ADA, audience, False))
    assert presence.guilds[HOME].voices[ADA].suppress
    assert presence.guilds[HOME].within(stage) == Tally(people=1)
    speaker = replace(audience, suppress=False)
    changes = presence.apply(VoiceUpdated(HOME, ADA, speaker, False))
    assert changes == [VoiceChanged(HOME, ADA, audience, speaker)]
    assert presence.guilds[HOME].within(stage) == Tally(people=1)


def test_only_the_guilds_that_are_asked_for_are_watched():
    presence = Presence(only={HOME})
    presence.apply(SessionBegan(0, ME, frozenset({HOME, AWAY})))
    presence.apply(arrived(HOME))
    presence.apply(arrived(AWAY))
    presence.apply(VoiceUpdated(AWAY, ADA, Voice(ADA, LOUNGE), False))
    assert set(presence.guilds) == {HOME}


def test_discord_has_spoken_when_every_shard_has_named_its_guilds():
    presence = Presence(shards=2)
    assert SourceHeard() not in presence.apply(SessionBegan(0, ME, frozenset()))
    assert not presence.heard
    assert SourceHeard() in presence.apply(SessionBegan(1, ME, frozenset()))
    assert presence.heard
    assert presence.apply(SessionBegan(0, ME, frozenset())) == []


# ---- any order of events -----------------------------------------------------------

GUILDS = st.sampled_from([HOME, AWAY])
USERS = st.sampled_from([ME, ADA, BEN, BOT])
CHANNELS = st.sampled_from([LOUNGE, GAMES, AFK])
VOICES = st.builds(
    Voice, USERS, CHANNELS, mute=st.booleans(), suppress=st.booleans()
).map(lambda voice: replace(voice, bot=voice.user in {ME, BOT}))


@st.composite
def voice_updates(draw: st.DrawFn) -> Event:
    user = draw(USERS)
    bot = draw(st.sampled_from([user in {ME, BOT}, None]))
    voice = draw(st.none() | st.builds(Voice, st.just(user), CHANNELS))
    return VoiceUpdated(draw(GUILDS), user, voice, bot)


EVENTS = st.one_of(
    voice_updates(),
    voice_updates(),
    st.builds(
        GuildArrived,
        st.just(0),
        GUILDS,
        st.just("a guild"),
        st.none() | CHANNELS,
        st.lists(CHANNELS, unique=True).map(lambda c: tuple(map(channel, c))),
        st.lists(VOICES, unique_by=lambda v: v.user).map(tuple),
    ),
    st.builds(GuildUpdated, GUILDS, st.just("a guild"), st.none() | CHANNELS),
    st.builds(GuildUnavailable, GUILDS),
    st.builds(GuildRemoved, GUILDS),
    st.builds(ChannelUpserted, GUILDS, CHANNELS.map(channel)),
    st.builds(ChannelDeleted, GUILDS, CHANNELS),
    st.builds(MemberRemoved, GUILDS, USERS),
    st.builds(SessionBegan, st.just(0), st.just(ME), st.frozensets(GUILDS)),
    st.sampled_from([SessionResumed(0), SourceLost(0), SyncEnded(0)]),
)


def rebuilt(presence: Presence) -> Presence:
    """Tell a new presence the whole truth of an old one, as Discord would."""
    new = Presence()
    new.apply(SessionBegan(0, ME, frozenset(presence.guilds)))
    for guild in presence.guilds.values():
        new.apply(
            GuildArrived(
                0,
                guild.id,
                guild.name,
                guild.afk_channel,
                tuple(guild.channels.values()),
                tuple(guild.voices.values()),
            )
        )
    return new


@given(st.lists(EVENTS, max_size=60))
def test_any_order_of_events_leaves_what_a_rebuild_gives(events: list[Event]):
    presence = Presence()
    presence.apply(SessionBegan(0, ME, frozenset({HOME})))
    followed: dict[tuple[GuildId, UserId], Voice] = {}
    for event in events:
        for change in presence.apply(event):
            if isinstance(change, VoiceChanged):
                where = (change.guild, change.user)
                assert followed.pop(where, None) == change.before
                if change.after is not None:
                    followed[where] = change.after
    again = rebuilt(presence)
    assert again.guilds.keys() == presence.guilds.keys()
    for guild_id, guild in presence.guilds.items():
        other = again.guilds[guild_id]
        assert guild.voices == other.voices
        assert guild.channels == other.channels
        assert guild.total == other.total
        for place in (LOUNGE, GAMES, AFK):
            assert guild.within(place) == other.within(place)
    assert followed == {
        (guild.id, user): voice
        for guild in presence.guilds.values()
        for user, voice in guild.voices.items()
    }


@given(st.lists(EVENTS, max_size=40))
def test_a_snapshot_tells_a_late_comer_the_same_as_the_changes(events: list[Event]):
    presence = Presence()
    presence.apply(SessionBegan(0, ME, frozenset({HOME})))
    for event in events:
        presence.apply(event)
    told = {
        (change.guild, change.user): change.after
        for change in presence.snapshot()
        if isinstance(change, VoiceChanged)
    }
    assert told == {
        (guild.id, user): voice
        for guild in presence.guilds.values()
        for user, voice in guild.voices.items()
    }
