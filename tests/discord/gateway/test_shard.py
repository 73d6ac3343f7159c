"""One shard against a Gateway in memory: each rule seen on the wire."""

import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher

from voicestatus.core.features import Feature
from voicestatus.core.guild import Voice
from voicestatus.core.guild_news import MemberJoined, MemberLeft
from voicestatus.core.presence import (
    SessionBegan,
    SessionResumed,
    SourceLost,
    SyncEnded,
    VoiceUpdated,
)
from voicestatus.core.session import SessionState
from voicestatus.discord.gateway.identify import Spent
from voicestatus.discord.gateway.shard import CONNECT_AT_LAST_S
from voicestatus.discord.gateway.status import State
from voicestatus.discord.rest.errors import (
    DiscordRefused,
    DiscordUnreachable,
    TokenRefused,
)
from voicestatus.discord.rest.wire import GatewayBot

TOKEN = "very.secret.token"
STATE = SessionState("the-session", 7, "wss://resume.example", intents=129)
BASE = "wss://base.example/?v=10&encoding=json"
RESUME = "wss://resume.example/?v=10&encoding=json"
JOIN = {"guild_id": "1", "channel_id": "5", "user_id": "9"}
JOINED = VoiceUpdated(1, 9, Voice(9, 5), bot=None)


def events(world):
    return [event for event, _ in world.told]


def urls(world):
    return [url for _, url in world.gateway.connects]


@pytest.fixture
def logged():
    seen = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


# ---- identify ----------------------------------------------------------------------


def test_it_identifies_and_is_ready(world):
    shard = world.start()
    assert urls(world) == [BASE]
    assert not shard.status.ready
    world.ready(guilds=())
    (identify,) = world.gateway.link.heard
    assert identify["op"] == 2
    assert identify["d"]["token"] == TOKEN
    assert identify["d"]["intents"] == 129
    assert shard.status.ready
    assert events(world) == [SessionBegan(0, 100, frozenset()), SyncEnded(0)]
    assert [status.state for status in world.statuses] == [
        State.WAITING,
        State.CONNECTING,
        State.IDENTIFYING,
        State.READY,
    ]
    assert world.value("voicestatus_gateway_identifies_total", shard="0") == 1


def test_an_identify_is_charged_in_the_store_before_the_connection_is_opened(world):
    waiting = []

    async def slow_write(*changes, write=world.store.write):
        waiting.append(Deferred())
        await waiting[-1]
        return await write(*changes)

    world.store.write = slow_write
    world.start()
    assert len(waiting) == 1
    assert world.gateway.connects == []
    waiting[0].callback(None)
    assert len(world.gateway.connects) == 1
    (put,) = world.store.writes
    assert put.kind == "identify-times"
    world.ready()
    world.store.write = type(world.store).write.__get__(world.store)
    for write in waiting[1:]:
        write.callback(None)


def test_a_supervisors_restart_loop_is_slowed_down(world):
    spent = Spent(1_800_000_000.0 + 200 * 120, 1_800_000_000.0 - 60)
    Deferred.fromCoroutine(
        world.store.put("identify-times", "bot", msgspec.json.encode(spent))
    )
    shard = world.start()
    assert world.gateway.connects == []
    assert shard.status.state is State.WAITING
    assert "too many new sessions" in shard.status.problem
    world.advance(119)
    assert world.gateway.connects == []
    world.advance(1.1)
    assert len(world.gateway.connects) == 1


def test_no_session_left_at_discord_is_waited_out(world):
    world.api.bot = GatewayBot("wss://base.example", 1, 0, 3600.0, 1)
    shard = world.start()
    assert "used up" in shard.status.problem
    world.advance(3599)
    assert world.gateway.connects == []
    world.api.bot = GatewayBot("wss://base.example", 1, 1000, 0.0, 1)
    world.advance(1.1)
    assert len(world.gateway.connects) == 1


def test_a_connection_that_never_identified_costs_no_budget(world):
    world.gateway.reachable = False
    world.start()
    world.advance(600)
    assert len(world.gateway.connects) > 5
    assert [put.kind for put in world.store.writes].count("identify-times") == 1


def test_a_store_that_fails_is_counted_and_does_not_keep_us_offline(world):
    world.store.broken = True
    shard = world.start()
    world.ready()
    assert shard.status.ready
    assert world.value("voicestatus_gateway_store_failures_total") >= 2


def test_without_a_store_this_process_still_keeps_the_limit(world):
    world.store.broken = True
    world.start()
    for _ in range(1000):
        link = world.gateway.link
        if not link.gone and not link.heard:
            link.say(10, {"heartbeat_interval": 40000})
            world.gateway.flush()
            link.say(9, False)
            world.gateway.flush()
        world.advance(30)
    identifies = sum(link.ops == [2] for link in world.gateway.links)
    assert 400 < identifies <= 200 + 30_000 / 120


# ---- resume ------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 4000, 4001, 4002])
def test_a_resumable_close_is_followed_by_a_resume_at_once(world, code):
    world.start()
    world.ready()
    world.gateway.link.say(0, JOIN, 2, "VOICE_STATE_UPDATE")
    world.gateway.flush()
    world.gateway.link.sendClose(code)
    world.gateway.flush()
    assert urls(world) == [BASE, RESUME]
    assert world.clock.seconds() == 0
    world.resumed(3)
    (resume,) = world.gateway.link.heard
    assert resume == {
        "op": 6,
        "d": {"token": TOKEN, "session_id": "the-session", "seq": 2},
    }
    assert events(world)[2:] == [JOINED, SourceLost(0), SessionResumed(0)]
    assert world.shard.status.ready


@pytest.mark.parametrize("code", [1000, 4000, 4009])
def test_a_close_is_never_answered_with_a_code_that_ends_the_session(world, code):
    world.start()
    world.ready()
    link = world.gateway.link
    link.sendClose(code)
    world.gateway.flush()
    assert link.closed_with == 4000


def test_a_name_that_is_never_resolved_is_unreachable(world):
    world.gateway.answer = Deferred
    shard = world.start(resume_from=STATE)
    world.advance(CONNECT_AT_LAST_S)
    assert "took too long" in shard.status.problem
    world.gateway.answer = None
    world.advance(5)
    world.resumed(8)
    assert shard.status.ready


def test_a_status_subscriber_that_fails_costs_nothing(world, nothing_is_left_behind):
    def tell(status):
        if status.state is State.IDENTIFYING:
            raise ValueError("a bug")

    world.start().subscribe(tell)
    world.ready()
    assert world.shard.status.ready
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()


def test_a_close_is_acted_on_though_the_other_side_keeps_tcp_open(world):
    world.start()
    world.ready()
    link = world.gateway.link
    link.dropConnection = lambda abort=False: None
    link.sendClose(4000)
    world.gateway.flush()
    world.gateway.flush()
    assert len(world.gateway.connects) == 2
    assert not link.gone
    world.advance(2)
    assert link.gone


def test_a_lost_link_is_told_at_once_and_resumed(world):
    world.start()
    world.ready()
    world.advance(10)
    world.told.clear()
    world.gateway.link.transport.abortConnection()
    world.gateway.flush()
    assert events(world) == [SourceLost(0)]
    assert urls(world)[-1] == RESUME
    assert world.shard.status.state is State.CONNECTING
    assert not world.shard.status.ready


def test_op_7_even_instead_of_hello_is_followed_by_a_resume(world):
    world.start(resume_from=STATE)
    assert urls(world) == [RESUME]
    link = world.gateway.link
    link.say(7)
    world.gateway.flush()
    assert link.closed_with == 4000
    assert link.heard == []
    world.advance(1)
    assert urls(world) == [RESUME, RESUME]


def test_a_zombie_is_closed_resumably_and_its_late_words_are_not_heard(world):
    world.start()
    world.ready()
    zombie = world.gateway.link
    zombie.onCloseFrame = lambda *args: None  # it does not answer
    world.advance(60)
    assert zombie.ops == [2, 1]
    assert len(world.gateway.connects) == 2
    world.told.clear()
    zombie.say(0, JOIN, 2, "VOICE_STATE_UPDATE")
    world.gateway.flush()
    assert events(world) == []
    world.advance(2)
    assert zombie.gone
    world.resumed(3)
    assert world.gateway.link.heard[0]["d"]["seq"] == 1
    assert events(world) == [SessionResumed(0)]


def test_beats_go_on_for_an_hour(world):
    world.start()
    world.ready()
    link = world.gateway.link
    for _ in range(90):
        world.advance(40)
        link.say(11)
        world.gateway.flush()
    assert link.ops == [2] + [1] * 90
    assert len(world.gateway.connects) == 1
    assert world.shard.status.latency_s == pytest.approx(20)


def test_an_invalid_session_waits_and_then_identifies(world):
    world.start()
    world.ready()
    world.gateway.link.say(9, False)
    world.gateway.flush()
    world.advance(2.9)
    assert len(world.gateway.connects) == 1
    world.advance(2.4)
    assert urls(world) == [BASE, BASE]
    world.ready()
    assert world.gateway.link.ops == [2]


def test_two_identifies_are_five_seconds_apart(world):
    world.start()
    world.ready()
    world.gateway.link.sendClose(4009)
    world.gateway.flush()
    world.advance(5.1)
    assert len(world.gateway.connects) == 1
    world.advance(0.2)
    assert urls(world) == [BASE, BASE]


def test_an_unreachable_resume_url_gives_way_to_the_base(world):
    world.start(resume_from=STATE)
    world.gateway.reachable = False
    world.gateway.link.transport.abortConnection()
    world.gateway.flush()
    world.advance(5)
    assert urls(world)[:3] == [RESUME, RESUME, BASE]
    world.gateway.reachable = True
    world.advance(5)
    world.resumed(8)
    assert world.gateway.link.ops == [6]
    assert world.shard.status.ready


def test_a_resume_url_that_is_no_address_gives_way_to_the_base(world):
    world.start()
    world.ready(resume_url="garbage")
    world.gateway.link.transport.abortConnection()
    world.gateway.flush()
    world.advance(5)
    assert urls(world) == [BASE, BASE]
    world.resumed(2)
    assert world.gateway.link.ops == [6]


def test_a_base_that_no_longer_answers_is_asked_for_anew(world):
    world.start()
    world.ready()
    world.gateway.reachable = False
    world.gateway.link.transport.abortConnection()
    world.gateway.flush()
    world.api.bot = GatewayBot("wss://moved.example", 1, 900, 0.0, 1)
    world.advance(300)
    assert "wss://moved.example/?v=10&encoding=json" in urls(world)
    assert BASE in urls(world)[1:]


def test_an_outage_of_hours_is_neither_hot_nor_costs_the_session(world):
    world.gateway.reachable = False
    world.start(resume_from=STATE)
    world.advance(3600)
    assert 60 < len(world.gateway.connects) < 200
    assert "out of reach" in world.shard.status.problem
    world.gateway.reachable = True
    world.advance(60)
    world.gateway.link.say(10, {"heartbeat_interval": 40000})
    world.gateway.flush()
    assert world.gateway.link.ops == [6]


def test_a_server_that_accepts_and_closes_at_once_is_not_hammered(world):
    world.start(resume_from=STATE)
    for _ in range(600):
        for link in world.gateway.links:
            if not link.gone:
                link.sendClose(4000)
        world.gateway.flush()
        world.advance(1)
    assert len(world.gateway.connects) < 40


def test_what_cannot_be_read_costs_the_connection_and_not_the_session(world):
    world.start()
    world.ready()
    link = world.gateway.link
    link.sendMessage(b"this is not JSON")
    world.gateway.flush()
    assert link.closed_with == 4000
    assert urls(world) == [BASE, RESUME]


def test_a_malformed_event_is_counted_and_its_sequence_stands(world):
    world.start()
    world.ready()
    world.gateway.link.say(0, {"user_id": []}, 2, "VOICE_STATE_UPDATE")
    world.gateway.link.say(0, {}, 3, "SOMETHING_NEW")
    world.gateway.flush()
    assert world.shard.session_state.seq == 3
    outcomes = ("applied", "malformed", "unknown")
    assert [
        world.value("voicestatus_gateway_events_total", outcome=outcome)
        for outcome in outcomes
    ] == [2, 1, 1]


# ---- features ----------------------------------------------------------------------

WITH_MEMBERS = {Feature.PRESENCE, Feature.MEMBERS, Feature.MESSAGE_CONTENT}
MEMBERS_ON, CONTENT_ON = 1 << 15, 1 << 19


def asked_for(world):
    """Return the intents of the newest connection's Identify."""
    world.gateway.link.say(10, {"heartbeat_interval": 40000})
    world.gateway.flush()
    (identify,) = world.gateway.link.heard
    return identify["d"]["intents"]


@pytest.mark.parametrize(
    ("flags", "asks", "off"),
    [
        (MEMBERS_ON | CONTENT_ON, 131, set()),
        (1 << 14 | 1 << 18, 131, set()),
        (MEMBERS_ON, 131, {Feature.MESSAGE_CONTENT}),
        (0, 129, {Feature.MEMBERS, Feature.MESSAGE_CONTENT}),
    ],
)
def test_what_the_portal_does_not_allow_is_left_out_and_told_once(
    world, logged, flags, asks, off
):
    world.api.flags = flags
    world.start(features=WITH_MEMBERS)
    assert asked_for(world) == asks
    assert world.portal.switched_off.keys() == off
    warned = [e["feature"] for e in logged if "is off" in e.get("log_format", "")]
    assert sorted(warned) == sorted(feature.value for feature in off)
    assert all("and restart" in why for why in world.portal.switched_off.values())
    assert world.api.asked_flags == 1


def test_intents_that_are_refused_all_the_same_are_left_out_of_the_next_identify(world):
    world.api.flags = MEMBERS_ON | CONTENT_ON
    shard = world.start(features=WITH_MEMBERS)
    assert asked_for(world) == 131
    world.gateway.link.sendClose(4014)
    world.gateway.flush()
    world.advance(10)
    assert asked_for(world) == 129
    assert world.portal.switched_off.keys() == {Feature.MEMBERS}
    world.ready()
    assert shard.status.ready
    assert shard.session_state.intents == 129
    assert len(world.gateway.links) == 2


def test_flags_that_discord_does_not_tell_stop_nothing(world):
    world.api.flags_error = DiscordRefused(403, 0, "no")
    world.start(features=WITH_MEMBERS)
    assert asked_for(world) == 131
    assert world.portal.switched_off == {}


def test_a_feature_that_is_not_built_is_off_and_asks_nobody(world):
    world.start(features={Feature.PRESENCE, Feature.SPEAKING})
    Deferred.fromCoroutine(world.portal.look())
    assert "voice listener" in world.portal.switched_off[Feature.SPEAKING]
    assert asked_for(world) == 129
    assert world.api.asked_flags == 0


@pytest.mark.parametrize(
    ("features", "flags", "error", "op"),
    [
        ({Feature.PRESENCE}, 0, None, 6),  # nobody is asked
        ({Feature.PRESENCE, Feature.COMMUNITY}, 0, None, 2),
        (WITH_MEMBERS, 0, None, 6),  # it is still off
        (WITH_MEMBERS, MEMBERS_ON, None, 2),  # it was switched on
        (WITH_MEMBERS, 0, DiscordUnreachable("no answer"), 6),
        ({Feature.MESSAGE_CONTENT}, 0, DiscordUnreachable("no answer"), None),
    ],
)
def test_a_session_is_resumed_only_if_a_new_one_would_hear_the_same(
    world, features, flags, error, op
):
    world.api.flags, world.api.flags_error = flags, error
    world.start(resume_from=STATE, features=features)
    if op is None:  # what it hears is more than wished; a new one waits for Discord
        assert world.gateway.links == []
        world.stop()
        return
    world.gateway.link.say(10, {"heartbeat_interval": 40000})
    world.gateway.flush()
    assert world.gateway.link.ops == [op]


def test_news_go_to_who_wants_them_and_one_who_fails_costs_nothing(
    world, nothing_is_left_behind
):
    def fail(_):
        raise ValueError("a bug")

    shard = world.start()
    world.ready()
    member = {"guild_id": "1", "user": {"id": "9"}}
    world.gateway.link.say(0, member, 2, "GUILD_MEMBER_ADD")
    world.gateway.link.say(0, member, 3, "GUILD_MEMBER_REMOVE")
    world.gateway.flush()
    assert world.news == [MemberJoined(1, 9), MemberLeft(1, 9)]
    shard._hear_news = fail
    world.gateway.link.say(0, member, 4, "GUILD_MEMBER_ADD")
    world.gateway.flush()
    assert shard.session_state.seq == 4
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()


# ---- the end -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (4004, "DISCORD_TOKEN"),
        (4011, "too many servers"),
        (4014, "calls them privileged now"),
    ],
)
def test_a_fatal_close_stops_for_good_and_says_what_to_do(world, logged, code, word):
    shard = world.start()
    world.gateway.link.say(10, {"heartbeat_interval": 40000})
    world.gateway.flush()
    world.gateway.link.sendClose(code)
    world.gateway.flush()
    world.advance(7200)
    assert len(world.gateway.connects) == 1
    assert shard.status.state is State.STOPPED
    assert word in shard.status.problem
    critical = [e for e in logged if e.get("log_level") is LogLevel.critical]
    assert len(critical) == 1
    assert shard.running


def test_a_refused_token_stops_before_there_is_a_connection(world):
    world.api.error = TokenRefused(401, 0, "401: Unauthorized")
    shard = world.start()
    world.advance(3600)
    assert world.api.asked == 1
    assert world.gateway.connects == []
    assert shard.status.state is State.STOPPED
    assert "DISCORD_TOKEN" in shard.status.problem


def test_an_api_that_is_away_is_asked_again(world):
    world.api.error = DiscordUnreachable("no answer")
    shard = world.start()
    world.advance(300)
    assert 5 < world.api.asked < 30
    assert shard.status.problem == "Discord is out of reach: no answer"
    world.api.error = None
    world.advance(60)
    world.ready()
    assert shard.status.problem is None


def test_stopping_closes_resumably_and_leaves_what_a_resume_needs(world):
    shard = world.start()
    world.ready(seq=41)
    world.gateway.link.say(0, JOIN, 42, "VOICE_STATE_UPDATE")
    world.gateway.flush()
    done = shard.stopService()
    world.gateway.flush()
    assert done.called
    assert world.gateway.link.closed_with == 4000
    assert events(world)[-1] == SourceLost(0)
    assert shard.session_state == SessionState(
        "the-session", 42, "wss://resume.example", intents=129
    )
    assert shard.status.state is State.STOPPED


def test_stopping_does_not_wait_for_a_peer_that_does_not_answer(world):
    shard = world.start()
    world.ready()
    world.gateway.link.onCloseFrame = lambda *args: None
    done = shard.stopService()
    world.gateway.flush()
    assert not done.called
    world.advance(2)
    assert done.called


def test_who_may_no_longer_act_says_nothing_and_is_gone(world):
    world.start()
    world.ready()
    link = world.gateway.link
    said = list(link.heard)
    world.may_act = False
    link.say(1)  # asks for a heartbeat
    world.advance(25)  # and one is due
    stopped = world.shard.stopService()
    world.advance(0.1)
    assert stopped.called
    assert link.heard == said
    assert (link.gone, link.closed_with) == (True, 1006)


def test_who_may_no_longer_act_counts_nothing_as_heard(world):
    shard = world.start()
    world.ready()
    before, told = shard.session_state, list(world.told)
    world.may_act = False
    world.gateway.link.say(
        0, {"guild_id": "5", "user_id": "6"}, 2, "VOICE_STATE_UPDATE"
    )
    world.gateway.flush()
    assert (shard.session_state, world.told) == (before, told)


def test_whose_close_is_not_to_be_answered_is_gone_at_once(world):
    world.start()
    world.ready()
    link = world.gateway.link
    world.may_act = False
    link.sendClose(4000)
    world.gateway.flush()
    world.advance(0.1)
    assert (link.gone, link.closed_with) == (True, 1006)


@pytest.mark.parametrize("reachable", [True, False])
def test_it_can_be_stopped_before_anything_came_of_it(world, reachable):
    world.gateway.reachable = reachable
    world.start()
    world.stop()
    count = len(world.gateway.connects)
    world.advance(600)
    assert len(world.gateway.connects) == count


def test_it_can_be_stopped_while_it_waits_for_the_gate(world):
    world.api.bot = GatewayBot("wss://base.example", 1, 0, 3600.0, 1)
    world.start()
    world.stop()
    assert world.gateway.connects == []


def test_it_can_be_started_again(world):
    shard = world.start()
    world.ready()
    world.stop()
    shard.startService()
    world.gateway.flush()
    assert urls(world) == [BASE, RESUME]


def test_a_session_that_discord_ended_is_forgotten(world):
    world.start()
    world.ready()
    marks = world.journal.marks
    world.gateway.link.say(9, False)
    world.gateway.flush()
    assert world.shard.session_state is None
    assert world.journal.marks == marks + 1


# ---- what is stored ----------------------------------------------------------------


def test_nobody_identifies_before_what_is_stored_was_read(world):
    world.journal.loading = Deferred()
    world.start(resume_from=STATE)
    world.advance(1)
    assert urls(world) == []
    world.journal.loading.callback(None)
    assert urls(world) == [RESUME]


def test_it_can_be_stopped_while_what_is_stored_is_read(world):
    world.journal.loading = Deferred()
    world.start()
    world.stop()
    assert urls(world) == []


def test_discord_hears_of_no_event_that_is_not_stored(world):
    world.start()
    world.ready()
    link = world.gateway.link
    world.journal.store()
    link.say(0, JOIN, 2, "VOICE_STATE_UPDATE")
    link.say(1)
    world.gateway.flush()
    assert link.heard[-1] == {"op": 1, "d": 1}
    world.journal.store()
    link.say(1)
    world.gateway.flush()
    assert link.heard[-1] == {"op": 1, "d": 2}


def test_a_reconnect_resumes_from_what_is_stored_and_tells_nothing_twice(world):
    world.start()
    world.ready()
    world.journal.store()
    world.gateway.link.say(0, JOIN, 2, "VOICE_STATE_UPDATE")
    world.gateway.link.say(0, JOIN | {"channel_id": None}, 3, "VOICE_STATE_UPDATE")
    world.gateway.flush()
    world.gateway.link.transport.abortConnection()
    world.gateway.flush()
    world.told.clear()
    link = world.gateway.link
    link.say(10, {"heartbeat_interval": 40000})
    world.gateway.flush()
    assert link.heard[-1]["d"]["seq"] == 1
    link.say(0, JOIN, 2, "VOICE_STATE_UPDATE")
    link.say(0, JOIN | {"channel_id": None}, 3, "VOICE_STATE_UPDATE")
    link.say(0, JOIN, 4, "VOICE_STATE_UPDATE")
    link.say(0, {}, 5, "RESUMED")
    world.gateway.flush()
    assert events(world) == [JOINED, SessionResumed(0)]


# ---- what the program sees ---------------------------------------------------------


def test_events_come_with_the_time_at_which_their_bytes_arrived(world):
    world.start()
    world.ready()
    world.advance(3)
    world.gateway.link.say(0, JOIN, 2, "VOICE_STATE_UPDATE")
    world.gateway.flush()
    assert world.told[-1] == (JOINED, 3.0)


def test_an_event_that_cannot_be_applied_costs_neither_link_nor_sequence(
    world, nothing_is_left_behind
):
    def deliver(event, at):
        raise ValueError("a bug")

    world.start(deliver=deliver)
    world.ready()
    assert world.shard.status.ready
    assert world.shard.session_state.seq == 1
    assert world.value("voicestatus_gateway_events_total", outcome="failed") == 2
    assert len(nothing_is_left_behind) == 2
    world.stop()
    nothing_is_left_behind.clear()


def test_within_deliver_the_session_state_includes_the_event(world):
    seen = []

    def deliver(event, at):
        seen.append(world.shard.session_state.seq)

    world.start(deliver=deliver)
    world.ready()
    world.gateway.link.say(0, JOIN, 17, "VOICE_STATE_UPDATE")
    world.gateway.flush()
    assert seen == [1, 1, 17]


def test_neither_token_nor_session_id_is_ever_logged(world, logged):
    world.start()
    world.ready()
    world.gateway.link.say(9, True)
    world.gateway.flush()
    world.advance(10)
    world.resumed(2)
    world.gateway.link.sendMessage(b"garbage")
    world.gateway.flush()
    world.stop()
    assert logged
    for event in logged:
        assert TOKEN not in repr(event)
        assert "the-session" not in repr(event)


def test_metrics_follow_the_link(world):
    world.start()
    world.ready()
    assert world.value(
        "voicestatus_gateway_state", shard="0", voicestatus_gateway_state="ready"
    )
    world.gateway.link.say(7)
    world.gateway.flush()
    world.resumed(2)
    name = "voicestatus_gateway_reconnects_total"
    assert world.value(name, shard="0", cause="reconnect") == 1
    assert world.value("voicestatus_gateway_resumes_total", shard="0") == 1
    world.stop()
    for name in ("state", "heartbeat_latency_seconds"):
        labels = {"voicestatus_gateway_state": "stopped"} if name == "state" else {}
        assert world.value(f"voicestatus_gateway_{name}", shard="0", **labels) is None


def test_a_subscriber_that_left_is_not_told(world):
    shard = world.start()
    seen = []
    leave = shard.subscribe(seen.append)
    leave()
    leave()
    world.ready()
    assert [status.state for status in seen] == [State.CONNECTING]
