"""When, where and how to connect next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.discord.gateway.reconnect import Attempt, GiveUp, Reconnect
from voicestatus.discord.gateway.session import Cause, Ended, SessionState
from voicestatus.discord.gateway.wire import Verdict

STATE = SessionState("abc", 41, "wss://resume.example")
LONG = Ended(Cause.LOST, STATE, spoke=True, held_s=3600.0)
SHORT = Ended(Cause.CLOSED, STATE, 4000, spoke=True, held_s=0.5)
UNREACHABLE = Ended(Cause.UNREACHABLE, STATE)
NOBODY = Ended(Cause.UNREACHABLE, None)
NOT_RESUMED = Ended(Cause.CLOSED, STATE, 4000, spoke=True)


def attempts(*endings, jitter=0.5):
    reconnect = Reconnect()
    reconnect.first(endings[0].state)
    return [reconnect.after(ended, jitter) for ended in endings]


def test_the_first_attempt_is_at_once():
    assert Reconnect().first(None) == Attempt(0.0, None, at_base=True)
    assert Reconnect().first(STATE) == Attempt(0.0, STATE, at_base=False)


@pytest.mark.parametrize("cause", [Cause.LOST, Cause.RECONNECT, Cause.ZOMBIE])
def test_a_held_session_is_resumed_at_once(cause):
    ended = Ended(cause, STATE, spoke=True, held_s=3600.0)
    assert attempts(ended) == [Attempt(0.0, STATE, at_base=False)]


def test_back_off_doubles_up_to_a_minute():
    waits = [a.after_s for a in attempts(*[NOBODY] * 9, jitter=0.999999)]
    assert [round(wait) for wait in waits] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_back_off_has_full_jitter_but_never_none():
    assert [a.after_s for a in attempts(*[NOBODY] * 4, jitter=0.5)] == [0.5, 1, 2, 4]
    assert {a.after_s for a in attempts(*[NOBODY] * 9, jitter=0.0)} == {0.25}


@pytest.mark.parametrize("held", [SHORT, LONG])
def test_ready_or_resumed_resets_the_back_off(held):
    made = attempts(*[NOBODY] * 5, held, UNREACHABLE, jitter=0.999999)
    waits = [attempt.after_s for attempt in made]
    assert round(waits[4]) == 16
    assert waits[5] == 0.0
    assert round(waits[6]) == 1


def test_faults_in_a_row_cost_no_wait_but_a_flapping_server_is_not_hammered():
    waits = [attempt.after_s for attempt in attempts(*[SHORT] * 2000)]
    assert set(waits[:20]) == {0.0}
    assert all(0.25 <= wait_s < 1 for wait_s in waits[20:420])
    assert sum(waits[1000:]) > 3600


def test_a_connection_that_held_for_long_clears_the_record_of_flaps():
    waits = [a.after_s for a in attempts(*[SHORT] * 900, LONG, SHORT)]
    assert waits[899] > 1
    assert waits[900:] == [0.0, 0.0]


@pytest.mark.parametrize("state", [STATE, None])
def test_an_invalid_session_waits_one_to_five_seconds(state):
    ended = Ended(Cause.INVALID_SESSION, state, spoke=True, held_s=3600.0)
    for jitter, wait_s in ((0.0, 1.0), (0.5, 3.0), (0.9999999, 5.0)):
        (attempt,) = attempts(ended, jitter=jitter)
        assert attempt.after_s == pytest.approx(wait_s)
        assert attempt.state == state
        assert attempt.at_base == (state is None)


def test_a_rate_limited_close_waits_five_seconds():
    ended = Ended(Cause.CLOSED, STATE, 4008, spoke=True, held_s=3600.0)
    assert attempts(ended) == [Attempt(5.0, STATE, at_base=False)]


@pytest.mark.parametrize("code", [4003, 4005, 4007, 4009])
def test_a_lost_session_is_begun_anew_at_the_base(code):
    ended = Ended(Cause.CLOSED, None, code, Verdict.IDENTIFY, spoke=True, held_s=3600.0)
    assert attempts(ended) == [Attempt(0.0, None, at_base=True)]


@pytest.mark.parametrize("code", [4004, 4010, 4011, 4012, 4013, 4014])
def test_a_fatal_close_ends_it(code):
    ended = Ended(Cause.CLOSED, None, code, Verdict.STOP, spoke=True)
    assert attempts(ended) == [GiveUp(code)]


def test_an_unreachable_resume_url_gives_way_to_the_base():
    ways = [a.at_base for a in attempts(LONG, UNREACHABLE, UNREACHABLE)]
    assert ways == [False, False, True]


def test_a_refused_resume_at_the_base_becomes_an_identify():
    made = attempts(LONG, UNREACHABLE, UNREACHABLE, NOT_RESUMED)
    assert made[-1].state is None
    assert made[-1].at_base


def test_our_own_dead_network_never_costs_the_session():
    made = attempts(LONG, *[UNREACHABLE] * 50)
    assert all(attempt.state == STATE for attempt in made)
    assert {attempt.at_base for attempt in made} == {True, False}


def test_a_resume_url_that_never_resumes_gives_way_to_the_base():
    made = attempts(LONG, *[NOT_RESUMED] * 5)
    assert [a.at_base for a in made] == [False, False, False, False, True, True]
    assert [a.state for a in made] == [STATE] * 5 + [None]


def test_one_that_speaks_in_between_is_not_two_unreachable_in_a_row():
    made = attempts(LONG, UNREACHABLE, NOT_RESUMED, UNREACHABLE)
    assert [a.at_base for a in made] == [False] * 4


ENDINGS = st.sampled_from(
    [
        SHORT,
        UNREACHABLE,
        NOBODY,
        NOT_RESUMED,
        Ended(Cause.RECONNECT, STATE, spoke=True),
        Ended(Cause.INVALID_SESSION, None, spoke=True),
        Ended(Cause.TIMEOUT, None, spoke=True),
    ]
)


@given(st.lists(ENDINGS, min_size=10, max_size=40), st.floats(0, 0.99))
def test_no_row_of_failures_is_ever_hot(endings, jitter):
    waits = [a.after_s for a in attempts(*endings, jitter=jitter)]
    hot = [wait_s for wait_s in waits if wait_s < 0.25]
    assert len(hot) <= 20
    assert all(wait_s <= 60 for wait_s in waits)
