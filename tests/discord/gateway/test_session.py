"""One connection's rules, with values and numbers."""

import json
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from voicestatus.core.guild import Voice
from voicestatus.core.guild_news import InviteDeleted, MemberJoined
from voicestatus.core.presence import (
    GuildArrived,
    GuildRemoved,
    GuildUnavailable,
    SessionBegan,
    SessionResumed,
    SourceLost,
    SyncEnded,
    VoiceUpdated,
)
from voicestatus.core.session import SessionState
from voicestatus.discord.gateway import wire
from voicestatus.discord.gateway.session import (
    Cause,
    Close,
    Deliver,
    Ended,
    Enter,
    GatewaySession,
    Keep,
    Over,
    Phase,
    Report,
    Send,
    Wake,
)
from voicestatus.discord.gateway.wire import (
    Dispatch,
    Heartbeat,
    HeartbeatAck,
    Hello,
    InvalidSession,
    Login,
    Ready,
    Reconnect,
    Resumed,
    Unknown,
    Verdict,
)

LOGIN = Login("a.bot.token", 129, (3, 4))
STATE = SessionState("abc", 41, "wss://resume.example", intents=129)
READY = Dispatch(1, "READY", Ready(100, frozenset({1, 2}), "new", "wss://there"))
NEW = SessionState("new", 1, "wss://there", True, 129)
RESUMED = Dispatch(42, "RESUMED", Resumed())
JOIN = VoiceUpdated(1, 9, Voice(9, 5), bot=False)


def arrival(guild):
    return GuildArrived(3, guild, "", None, (), ())


def start(resume=None, jitter=0.5):
    session = GatewaySession(LOGIN, resume, jitter, resume and resume.seq)
    session.start(0.0)
    return session


def identifying():
    session = start()
    session.receive(Hello(40.0), 1.0)
    return session


def ready(guilds=(1, 2)):
    session = identifying()
    session.receive(
        Dispatch(1, "READY", Ready(100, frozenset(guilds), "new", "wss://there")),
        2.0,
    )
    if not guilds:
        session.wake(17.0)  # asked for while guilds might still come
    session.stored(session.state)
    return session


def resumed(state=STATE):
    session = start(state)
    session.receive(Hello(40.0), 1.0)
    session.receive(RESUMED, 2.0)
    return session


def sent(effects):
    return [json.loads(e.payload) for e in effects if isinstance(e, Send)]


def told(effects):
    return [e.event for e in effects if isinstance(e, Deliver)]


def over(effects):
    (ended,) = [e.ended for e in effects if isinstance(e, Over)]
    return ended


def over_or_none(effects):
    return next((e.ended for e in effects if isinstance(e, Over)), None)


# ---- Hello -------------------------------------------------------------------------


def test_hello_is_awaited_for_twenty_seconds():
    session = GatewaySession(LOGIN, None, 0.5)
    assert session.start(100.0) == [Wake(120.0)]
    assert session.wake(119.9) == [Wake(120.0)]
    assert session.wake(120.0) == [
        Close(4000, "no Hello"),
        Over(Ended(Cause.TIMEOUT, None)),
    ]


def test_hello_is_answered_with_identify_and_a_first_beat_within_the_interval():
    effects = start(jitter=0.25).receive(Hello(40.0), 10.0)
    assert effects == [
        Enter(Phase.IDENTIFYING),
        Send(wire.identify(LOGIN)),
        # The wake-up for Hello stands at 20 s: at 20 the beat of 10 + 10 is due too.
    ]
    assert start(jitter=0.1).receive(Hello(40.0), 10.0)[2:] == [Wake(14.0)]


def test_hello_is_answered_with_resume_where_there_is_a_session():
    effects = start(STATE).receive(Hello(40.0), 1.0)
    assert effects == [Enter(Phase.RESUMING), Send(wire.resume(LOGIN, "abc", 41))]


def test_a_second_hello_is_not_answered():
    assert identifying().receive(Hello(40.0), 2.0) == []


def test_nothing_is_sent_before_hello():
    session = start()
    for message in (Heartbeat(), HeartbeatAck(), READY, RESUMED, Unknown(5)):
        assert session.receive(message, 1.0) == []
    assert session.send(b"{}", 1.0) == []


# ---- heartbeats --------------------------------------------------------------------


def test_beats_come_an_interval_after_the_previous_one():
    session = identifying()
    session.wake(20.0)
    assert session.wake(21.0) == [Send(wire.heartbeat(None)), Wake(61.0)]
    session.receive(HeartbeatAck(), 21.1)
    # 0.5 s late: the next is counted from when this one was really sent.
    assert sent(session.wake(61.5)) == [{"op": 1, "d": None}]
    session.receive(HeartbeatAck(), 61.6)
    assert sent(session.wake(101.4)) == []
    assert sent(session.wake(101.5)) == [{"op": 1, "d": None}]


def test_a_beat_confirms_only_what_is_stored():
    session = ready(guilds=())
    session.receive(Dispatch(17, "MESSAGE_CREATE", None), 3.0)
    session.receive(Dispatch(None, "ODD", None), 3.0)
    assert sent(session.wake(21.0)) == [{"op": 1, "d": 1}]
    session.stored(session.state)
    session.receive(HeartbeatAck(), 21.1)
    session.receive(Dispatch(18, "VOICE_STATE_UPDATE", JOIN), 22.0)
    assert sent(session.wake(61.0)) == [{"op": 1, "d": 17}]


def test_what_is_stored_of_another_session_confirms_nothing():
    session = identifying()
    session.receive(READY, 2.0)
    session.stored(STATE)
    session.wake(17.0)
    assert sent(session.wake(21.0)) == [{"op": 1, "d": None}]


def test_a_resuming_connection_beats_with_the_stored_sequence():
    session = start(STATE, jitter=0.0)
    session.receive(Hello(40.0), 1.0)
    assert sent(session.wake(1.0)) == [{"op": 1, "d": 41}]


def test_a_requested_beat_is_sent_at_once_and_the_schedule_goes_on():
    session = ready(guilds=())
    assert session.receive(Heartbeat(), 20.9) == [Send(wire.heartbeat(1))]
    assert sent(session.wake(21.0)) == [{"op": 1, "d": 1}]


def test_a_requested_beat_just_before_a_due_one_does_not_make_a_zombie():
    session = ready()
    session.wake(21.0)
    session.receive(HeartbeatAck(), 21.1)
    session.receive(Heartbeat(), 60.99)
    assert sent(session.wake(61.0)) == [{"op": 1, "d": 1}]


def test_a_link_without_ack_is_closed_when_the_next_beat_is_due():
    session = ready(guilds=())
    session.wake(21.0)
    assert session.wake(60.9) == [Wake(61.0)]
    effects = session.wake(61.0)
    assert effects == [
        Close(4000, "no heartbeat ack"),
        Deliver(SourceLost(3)),
        Over(
            Ended(
                Cause.ZOMBIE,
                SessionState("new", 1, "wss://there", intents=129),
                spoke=True,
                held_s=59.0,
            )
        ),
    ]


def test_any_ack_is_a_sign_of_life():
    session = ready()
    session.wake(21.0)
    session.receive(Heartbeat(), 30.0)
    session.receive(HeartbeatAck(), 30.1)
    assert sent(session.wake(61.0)) == [{"op": 1, "d": 1}]


def test_latency_is_the_time_from_beat_to_ack():
    session = ready(guilds=())
    assert session.latency_s is None
    session.wake(21.0)
    session.receive(HeartbeatAck(), 21.25)
    assert session.latency_s == 0.25
    session.receive(HeartbeatAck(), 25.0)  # one that nobody asked for
    assert session.latency_s == 0.25


def test_a_process_that_was_asleep_listens_before_it_judges():
    session = ready(guilds=())
    session.wake(21.0)
    # Due at 61, but the process only runs again at 300: the ACK may lie unread.
    assert session.wake(300.0) == [Wake(301.0)]
    session.receive(HeartbeatAck(), 300.1)
    assert sent(session.wake(301.0)) == [{"op": 1, "d": 1}]


def test_a_process_that_was_asleep_finds_the_zombie_a_second_later():
    session = ready(guilds=())
    session.wake(21.0)
    session.wake(300.0)
    assert over(session.wake(310.0)).cause is Cause.ZOMBIE


def test_a_process_that_was_asleep_hears_hello_before_it_judges():
    session = start()
    assert session.wake(300.0) == [Wake(301.0)]
    assert sent(session.receive(Hello(40.0), 300.1))[0]["op"] == 2


def test_a_process_that_was_asleep_hears_the_guilds_before_it_ends_the_telling():
    session = ready()
    assert session.wake(300.0) == [Wake(301.0)]
    session.receive(Dispatch(2, "GUILD_CREATE", arrival(1)), 300.1)
    effects = session.receive(Dispatch(3, "GUILD_CREATE", arrival(2)), 300.1)
    assert Deliver(SyncEnded(3)) in effects


def test_a_process_that_is_always_late_goes_on_all_the_same():
    session, now, beats = ready(guilds=()), 21.0, 0
    for _ in range(100):
        now += 5.0
        beats += len(sent(session.wake(now)))
        session.receive(HeartbeatAck(), now)
    assert beats > 10


# ---- READY -------------------------------------------------------------------------


def test_ready_begins_a_session_and_is_kept():
    session = identifying()
    assert session.receive(READY, 2.0) == [
        Deliver(SessionBegan(3, 100, frozenset({1, 2}))),
        Enter(Phase.READY),
        Keep(),
        Wake(17.0),
    ]
    assert session.state == NEW


def test_without_ready_for_a_minute_the_connection_is_given_up():
    session = identifying()
    session.wake(21.0)
    assert over(session.wake(61.0)).cause is Cause.TIMEOUT


def test_ready_is_awaited_longer_while_beats_are_acknowledged():
    session, now = identifying(), 21.0
    for _ in range(6):
        assert session.phase is Phase.IDENTIFYING
        session.wake(now)
        session.receive(HeartbeatAck(), now + 0.1)
        session.wake(now + 20.0)
        now += 40.0
    assert now == 261.0
    session.wake(261.0)
    ended = over(session.wake(301.0))
    assert (ended.cause, ended.state) == (Cause.TIMEOUT, None)


def test_an_event_before_ready_is_not_told():
    session = identifying()
    assert session.receive(Dispatch(1, "VOICE_STATE_UPDATE", JOIN), 2.0) == []


# ---- the initial sync --------------------------------------------------------------


@pytest.mark.parametrize("news", [arrival(2), GuildUnavailable(2), GuildRemoved(2)])
def test_the_sync_ends_when_every_guild_has_been_told(news):
    session = ready()
    first = session.receive(Dispatch(2, "GUILD_CREATE", arrival(1)), 3.0)
    assert first == [Deliver(arrival(1))]
    last = session.receive(Dispatch(3, "GUILD_CREATE", news), 4.0)
    assert last == [
        Deliver(news),
        Deliver(SyncEnded(3)),
        Keep(),
    ]
    assert session.state == SessionState("new", 3, "wss://there", intents=129)


def test_the_sync_of_a_bot_without_guilds_ends_at_once():
    effects = identifying().receive(
        Dispatch(1, "READY", Ready(100, frozenset(), "new", "wss://there")), 2.0
    )
    assert told(effects) == [SessionBegan(3, 100, frozenset()), SyncEnded(3)]


def test_the_sync_ends_fifteen_seconds_after_the_last_guild():
    session = ready()
    session.receive(Dispatch(2, "GUILD_CREATE", arrival(1)), 12.0)
    assert told(session.wake(17.0)) == []
    assert told(session.wake(26.9)) == []
    assert told(session.wake(27.0)) == [SyncEnded(3)]
    assert told(session.wake(60.0)) == []


def test_a_guild_joined_during_the_sync_does_not_end_it():
    session = ready()
    effects = session.receive(Dispatch(2, "GUILD_CREATE", arrival(77)), 3.0)
    assert told(effects) == [arrival(77)]


@pytest.mark.parametrize("news", [MemberJoined(1, 9), InviteDeleted(1, 5, "abc")])
def test_news_are_reported_once_and_are_no_event_of_the_presence(news):
    dispatch = Dispatch(42, "SOMETHING", news)
    session = start(STATE)
    session.receive(Hello(40.0), 1.0)
    assert session.receive(dispatch, 2.0) == [Report(news)]
    assert session.receive(dispatch, 3.0) == []
    assert session.state.seq == 42
    assert identifying().receive(dispatch, 2.0) == []


def test_a_resumed_session_keeps_the_intents_that_it_began_with():
    state = replace(STATE, intents=131)
    assert over(start(state).closed(None, 2.0)).state == state


def test_a_sync_that_a_reconnect_cut_in_two_still_ends():
    session = ready()
    session.receive(Dispatch(2, "GUILD_CREATE", arrival(1)), 3.0)
    state = over(session.closed(None, 4.0)).state
    assert state == SessionState("new", 2, "wss://there", True, 129)
    session = resumed(state)
    session.receive(Dispatch(43, "GUILD_CREATE", arrival(2)), 3.0)
    assert told(session.wake(17.9)) == []
    assert SyncEnded(3) in told(session.wake(18.0))


# ---- Resume ------------------------------------------------------------------------


def test_missed_events_are_told_in_order_before_resumed():
    session = start(STATE)
    session.receive(Hello(40.0), 1.0)
    replayed = session.receive(Dispatch(42, "VOICE_STATE_UPDATE", JOIN), 1.5)
    assert replayed == [Deliver(JOIN)]
    effects = session.receive(Dispatch(43, "RESUMED", Resumed()), 2.0)
    assert effects == [
        Deliver(SessionResumed(3)),
        Enter(Phase.READY),
        Keep(),
    ]
    assert session.state == SessionState("abc", 43, "wss://resume.example", intents=129)


def test_a_resume_begins_at_what_is_stored_and_repeats_nothing():
    session = GatewaySession(LOGIN, STATE, 0.0, durable=39)
    session.start(0.0)
    (resume,) = sent(session.receive(Hello(40.0), 1.0))
    assert resume["d"]["seq"] == 39
    assert sent(session.wake(1.0)) == [{"op": 1, "d": 39}]
    for seq in (40, 41):
        assert session.receive(Dispatch(seq, "VOICE_STATE_UPDATE", JOIN), 1.5) == []
        assert session.state == STATE
    fresh = session.receive(Dispatch(42, "VOICE_STATE_UPDATE", JOIN), 1.5)
    assert told(fresh) == [JOIN]
    effects = session.receive(Dispatch(43, "RESUMED", Resumed()), 2.0)
    assert told(effects) == [SessionResumed(3)]
    assert session.state.seq == 43


def test_a_resumed_with_an_old_number_takes_nothing_back():
    session = start(STATE)
    session.receive(Hello(40.0), 1.0)
    effects = session.receive(Dispatch(41, "RESUMED", Resumed()), 2.0)
    assert told(effects) == [SessionResumed(3)]
    assert session.state.seq == 41


def test_where_nothing_is_stored_a_resume_begins_at_what_was_told():
    session = GatewaySession(LOGIN, STATE, 0.5)
    session.start(0.0)
    assert sent(session.receive(Hello(40.0), 1.0))[0]["d"]["seq"] == 41


def test_repeated_events_are_a_sign_of_life():
    session = GatewaySession(LOGIN, STATE, 0.5, durable=1)
    session.start(0.0)
    session.receive(Hello(400.0), 1.0)
    session.receive(Dispatch(2, "VOICE_STATE_UPDATE", JOIN), 60.0)
    assert over_or_none(session.wake(61.0)) is None
    assert over_or_none(session.wake(121.0)) is None
    assert over(session.wake(181.0)).cause is Cause.TIMEOUT


def test_a_second_resumed_says_nothing():
    assert resumed().receive(Dispatch(43, "RESUMED", Resumed()), 3.0) == []


def test_a_link_lost_in_a_replay_is_told_as_lost():
    session = start(STATE)
    session.receive(Hello(40.0), 1.0)
    session.receive(Dispatch(42, "GUILD_CREATE", arrival(1)), 1.5)
    effects = session.closed(None, 2.0)
    assert told(effects) == [SourceLost(3)]
    assert over(effects).state == SessionState(
        "abc", 42, "wss://resume.example", intents=129
    )


def test_a_link_that_told_nothing_is_not_told_as_lost():
    assert told(start().closed(None, 1.0)) == []
    assert told(identifying().closed(4000, 2.0)) == []


def test_what_survives_is_plain_json_and_hides_the_session_id():
    assert msgspec.json.decode(msgspec.json.encode(NEW), type=SessionState) == NEW
    assert "new" not in repr(NEW)


def test_a_malformed_dispatch_still_advances_the_sequence():
    session = ready()
    bad = Dispatch(9, "VOICE_STATE_UPDATE", None, fault="Expected `object`")
    assert session.receive(bad, 3.0) == []
    assert session.state.seq == 9


def test_within_a_delivery_the_state_includes_the_event():
    session = ready()
    session.receive(Dispatch(8, "VOICE_STATE_UPDATE", JOIN), 3.0)
    assert session.state == SessionState("new", 8, "wss://there", True, 129)


# ---- op 7, op 9, closes ------------------------------------------------------------


@pytest.mark.parametrize("at", [start, identifying, ready])
def test_op_7_may_come_at_any_time(at):
    session = at()
    effects = session.receive(Reconnect(), 3.0)
    assert effects[0] == Close(4000, "told to reconnect")
    assert over(effects).cause is Cause.RECONNECT


def test_op_7_before_hello_keeps_the_session_to_resume():
    assert over(start(STATE).receive(Reconnect(), 1.0)).state == STATE


def test_op_9_says_whether_the_session_lives():
    kept = over(ready().receive(InvalidSession(resumable=True), 3.0))
    assert (kept.cause, kept.state) == (Cause.INVALID_SESSION, NEW)
    gone = over(ready().receive(InvalidSession(resumable=False), 3.0))
    assert (gone.cause, gone.state) == (Cause.INVALID_SESSION, None)


@pytest.mark.parametrize(
    "end",
    [
        lambda s: s.receive(InvalidSession(resumable=True), 3.0),
        lambda s: s.receive(Reconnect(), 3.0),
        lambda s: s.closed(4000, 3.0),
        lambda s: s.unreadable(3.0),
        lambda s: s.stop(3.0),
    ],
)
def test_after_the_end_nothing_is_said_and_nothing_is_heard(end):
    session = ready()
    end(session)
    before = session.state
    for message in (Hello(40.0), Heartbeat(), READY, RESUMED, Reconnect()):
        assert session.receive(message, 4.0) == []
    assert session.receive(Dispatch(99, "VOICE_STATE_UPDATE", JOIN), 4.0) == []
    assert session.wake(100.0) == session.closed(1000, 100.0) == session.stop(5.0) == []
    assert session.send(b"{}", 100.0) == []
    assert session.state == before  # what was not heard will be replayed


@pytest.mark.parametrize(
    ("code", "verdict", "keeps"),
    [
        (None, Verdict.RESUME, True),
        (1000, Verdict.RESUME, True),
        (4000, Verdict.RESUME, True),
        (4008, Verdict.RESUME, True),
        (4003, Verdict.IDENTIFY, False),
        (4007, Verdict.IDENTIFY, False),
        (4009, Verdict.IDENTIFY, False),
        (4004, Verdict.STOP, False),
        (4014, Verdict.STOP, False),
    ],
)
def test_a_close_code_says_whether_the_session_lives(code, verdict, keeps):
    session = ready(guilds=())
    effects = session.closed(code, 12.0)
    assert effects == [
        Deliver(SourceLost(3)),
        Over(
            Ended(
                Cause.LOST if code is None else Cause.CLOSED,
                SessionState("new", 1, "wss://there", intents=129) if keeps else None,
                code,
                verdict,
                spoke=True,
                held_s=10.0,
            )
        ),
    ]


def test_what_cannot_be_read_costs_the_connection_and_not_the_session():
    effects = ready().unreadable(3.0)
    assert effects[0] == Close(4000, "decode error")
    assert over(effects).state == NEW


def test_our_own_end_is_resumable():
    for session in (start(STATE), identifying(), ready(), resumed()):
        (close,) = [e for e in session.stop(3.0) if isinstance(e, Close)]
        assert close.code == 4000


def test_whether_the_gateway_spoke_is_known():
    assert not over(start(STATE).closed(None, 1.0)).spoke
    assert over(start(STATE).closed(4000, 1.0)).spoke
    session = start(STATE)
    session.receive(Hello(40.0), 1.0)
    assert over(session.closed(None, 2.0)).spoke


# ---- commands ----------------------------------------------------------------------


def test_commands_wait_for_ready_and_for_the_send_limit():
    session = identifying()
    for number in range(111):
        assert sent(session.send(b"%d" % number, 1.0)) == []
    at_ready = session.receive(READY, 2.0)
    assert sent(at_ready) == list(range(110))
    session.wake(17.0)
    assert sent(session.wake(21.0)) == [{"op": 1, "d": None}]  # beats do not wait
    session.receive(HeartbeatAck(), 21.1)
    assert sent(session.wake(61.9)) == [{"op": 1, "d": None}]
    assert sent(session.wake(62.0)) == [110]


# ---- any sequence of input ---------------------------------------------------------

MESSAGES = st.sampled_from(
    [
        Hello(40.0),
        Hello(0.5),
        Heartbeat(),
        HeartbeatAck(),
        HeartbeatAck(),
        HeartbeatAck(),
        READY,
        RESUMED,
        Unknown(77),
        Dispatch(5, "VOICE_STATE_UPDATE", JOIN),
        Dispatch(6, "GUILD_CREATE", arrival(1)),
        Dispatch(7, "GUILD_CREATE", arrival(2)),
        Dispatch(None, "ODD", None),
    ]
)
ENDS = st.sampled_from(
    [Reconnect(), InvalidSession(resumable=True), InvalidSession(resumable=False)]
)


class AnyConversation(RuleBasedStateMachine):
    """Whatever comes in, a connection is polite, waits for something, or is over."""

    def __init__(self):
        super().__init__()
        self.now, self.armed = 0.0, None
        self.hello = self.finished = False
        self.logins = 0

    @initialize(resume=st.none() | st.just(STATE), jitter=st.floats(0, 0.99))
    def begin(self, resume, jitter):
        self.stored = None if resume is None else resume.seq
        self.session = GatewaySession(LOGIN, resume, jitter, self.stored)
        self.take(self.session.start(0.0))

    @rule()
    def store(self):
        state = self.session.state
        if state is not None:
            self.session.stored(state)
            self.stored = state.seq

    def take(self, effects):
        assert not (self.finished and effects)
        for effect in effects:
            match effect:
                case Send(payload):
                    assert self.hello, "sent before Hello"
                    assert not self.finished
                    said = json.loads(payload)
                    self.logins += said["op"] in {2, 6}
                    if said["op"] == 1:
                        assert said["d"] in {None, self.stored}
                    assert self.logins <= 1, "identified twice"
                case Wake(at):
                    assert at >= self.now
                    self.armed = at
                case Close(code, _):
                    assert code == 4000
                case Over():
                    assert not self.finished
                    self.finished = True

    @rule(message=MESSAGES)
    def hear(self, message):
        self.hello |= isinstance(message, Hello)
        self.take(self.session.receive(message, self.now))

    @rule(message=ENDS)
    def hear_the_end(self, message):
        self.take(self.session.receive(message, self.now))
        assert self.finished

    @rule(code=st.none() | st.sampled_from([1000, 4000, 4004, 4009]))
    def lose(self, code):
        self.take(self.session.closed(code, self.now))
        assert self.finished

    @rule(after_s=st.floats(0, 50))
    def wait(self, after_s):
        self.now += after_s
        if self.armed is not None and self.armed <= self.now:
            self.armed = None
            self.take(self.session.wake(self.now))

    @rule()
    def wake_early(self):
        self.armed = None
        self.take(self.session.wake(self.now))

    @rule()
    def command(self):
        self.take(self.session.send(b'{"op":3}', self.now))

    @invariant()
    def it_waits_or_is_over(self):
        if hasattr(self, "session"):
            assert self.finished == (self.session.phase is Phase.OVER)
            assert self.finished or self.armed is not None


AnyConversation.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None
)
TestAnyConversation = AnyConversation.TestCase


@given(st.integers(1, 5), st.floats(0, 0.99))
def test_a_silent_server_is_always_left_in_the_end(intervals, jitter):
    session, now = GatewaySession(LOGIN, STATE, jitter), 0.0
    wakes = [e.at for e in session.start(now) if isinstance(e, Wake)]
    session.receive(Hello(float(intervals)), now)
    for _ in range(1000):
        if session.phase is Phase.OVER:
            return
        now = max(now, wakes[-1])
        wakes += [e.at for e in session.wake(now) if isinstance(e, Wake)]
    pytest.fail("it waits for ever")
