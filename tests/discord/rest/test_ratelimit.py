"""When the HTTP API may be called, as answers tell."""

import json

import pytest

from voicestatus.discord.rest import wire
from voicestatus.discord.rest.ratelimit import (
    GLOBAL_MOST,
    INVALID_MANY,
    INVALID_MOST,
    LANES_KEPT,
    UNDER_WAY_MOST,
    Answer,
    retry_wait_s,
)
from voicestatus.discord.rest.route import GATEWAY_BOT, Route

ME = Route.to("GET", "/users/@me")


def to(channel, method="POST"):
    return Route.to(method, "/channels/{channel}/messages", channel=channel)


def press(number):
    template = "/interactions/{interaction}/{token}/callback"
    return Route.to("POST", template, interaction=number, token="t")


def ok(remaining, reset_after_s, limit=5, window=1000.0, bucket="b", status=200):
    headers = {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(window),
        "x-ratelimit-reset-after": str(reset_after_s),
        "x-ratelimit-bucket": bucket,
    }
    return Answer(status, headers, None)


FREE = Answer(200, {}, None)
FORBIDDEN = Answer(403, {}, wire.Problem(50001, "Missing Access"))


@pytest.fixture
def answer(sample):
    def make(name):
        stored = sample(f"rest/{name}")
        headers = {key.lower(): value for key, value in stored["headers"].items()}
        body = stored.get("body_text", json.dumps(stored.get("body"))).encode()
        problem = wire.problem(headers["content-type"], body)
        return Answer(stored["status"], headers, problem)

    return make


# -- lanes -------------------------------------------------------------------------


def test_of_an_unknown_route_one_goes_at_a_time(desk):
    calls = [desk.ask(to(1)) for _ in range(3)]
    assert desk.sent == calls[:1]
    desk.answer(calls[0], FREE)
    assert desk.sent == calls


def test_another_major_id_does_not_wait(desk):
    assert desk.sent == [desk.ask(to(1)), desk.ask(to(2))]


def test_somebody_elses_call_of_the_same_route_does_not_wait(desk):
    assert desk.sent == [desk.ask(ME), desk.ask(ME, "ada")]


def test_as_many_go_as_the_bucket_holds_and_the_rest_at_its_reset(desk):
    desk.learn(to(1), ok(remaining=4, reset_after_s=2.0))
    calls = [desk.ask(to(1)) for _ in range(7)]
    assert desk.sent == calls[:4]
    for call, left in zip(calls[:4], (3, 2, 1, 0), strict=True):
        desk.answer(call, ok(left, 1.5))
    desk.advance(2.0)
    assert desk.sent == calls[:4]
    desk.advance(0.06)
    assert desk.sent == calls


def test_the_least_that_was_left_counts_whatever_the_order_of_answers(desk):
    desk.learn(to(1), ok(4, 2.0))
    first, second = desk.ask(to(1)), desk.ask(to(1))
    desk.answer(second, ok(0, 2.0))  # somebody else uses the bucket, too
    desk.answer(first, ok(3, 2.0))
    desk.sent.clear()
    desk.ask(to(1))
    assert desk.sent == []


def test_a_late_answer_of_the_window_before_does_not_fill_or_empty_the_new_one(desk):
    desk.learn(to(1), ok(4, 1.0))
    late = desk.ask(to(1))
    desk.advance(1.1)
    desk.answer(desk.ask(to(1)), ok(4, 1.0, window=1001.0))
    desk.answer(late, ok(0, 0.0))
    desk.sent.clear()
    for _ in range(6):
        desk.ask(to(1))
    assert len(desk.sent) == 4


def test_a_server_whose_clock_was_set_back_is_believed_again(desk):
    desk.learn(to(1), ok(4, 1.0, window=9000.0))
    desk.advance(1.1)
    desk.answer(desk.ask(to(1)), ok(1, 1.0, window=1000.0))
    desk.sent.clear()
    for _ in range(3):
        desk.ask(to(1))
    assert len(desk.sent) == 1


def test_routes_of_one_bucket_share_it_once_that_is_known(desk):
    desk.learn(to(1), ok(1, 9.0))
    desk.learn(to(2, "DELETE"), ok(1, 9.0))  # the same bucket, for another channel
    first, second = desk.ask(to(1)), desk.ask(to(1, "DELETE"))
    assert desk.sent == [first]
    desk.answer(first, ok(0, 9.0))
    desk.advance(9.0)
    assert desk.sent == [first]
    desk.advance(0.1)
    assert desk.sent == [first, second]


def test_calls_keep_their_order_when_their_bucket_becomes_known(desk):
    posts, deletes = [], []
    for _ in range(3):
        posts.append(desk.ask(to(1)))
        deletes.append(desk.ask(to(1, "DELETE")))
    desk.answer(posts[0], ok(1, 1.0, limit=1))
    desk.answer(deletes[0], ok(0, 1.0, limit=1))
    order = [call for pair in zip(posts, deletes, strict=True) for call in pair]
    for _ in range(4):
        desk.advance(1.1)
        desk.answer(desk.sent[-1], ok(0, 1.0, limit=1, window=1000 + desk.now))
    assert desk.sent == order


def test_a_call_that_is_asked_again_goes_first(desk):
    first, second = desk.ask(to(1)), desk.ask(to(1))
    desk.answer(first, Answer(429, {}, wire.Problem(retry_after_s=1.0)))
    desk.take(desk.limits.ask(first, desk.now))
    desk.advance(1.1)
    assert desk.sent == [first, first]
    desk.answer(first, FREE)
    assert desk.sent[-1] is second


def test_who_leaves_the_line_is_not_sent_and_leaves_no_timer(desk):
    desk.learn(to(1), ok(0, 5.0))
    call = desk.ask(to(1))
    desk.lose(call)
    assert (desk.limits.waiting, desk.limits.wake_at(desk.now)) == (0, None)
    desk.lose(call)
    desk.advance(9.0)
    assert desk.sent == []


def test_a_call_without_an_answer_gives_its_place_to_the_next(desk):
    lost, following = desk.ask(to(1)), desk.ask(to(1))
    desk.lose(lost)
    assert desk.sent == [lost, following]


def test_a_call_without_an_answer_is_taken_to_have_counted(desk):
    desk.learn(to(1), ok(2, 5.0))
    desk.lose(desk.ask(to(1)))
    desk.sent.clear()
    desk.ask(to(1))
    desk.ask(to(1))
    assert len(desk.sent) == 1


def test_a_window_of_which_no_answer_came_is_begun_anew_one_at_a_time(desk):
    desk.learn(to(1), ok(0, 1.0))
    desk.advance(1.1)
    calls = [desk.ask(to(1)) for _ in range(5)]
    for call in calls[:4]:
        desk.lose(call)
    waiting = desk.ask(to(1))
    assert waiting not in desk.sent  # four are gone, one is under way: that is five
    desk.lose(calls[4])
    assert waiting in desk.sent
    desk.lose(waiting)
    desk.sent.clear()
    desk.ask(to(1))
    desk.ask(to(1))
    assert len(desk.sent) == 1


def test_an_answer_that_comes_after_all_is_learnt_from(desk):
    call = desk.ask(to(1))
    desk.lose(call)
    desk.answer(call, ok(0, 5.0))
    desk.sent.clear()
    desk.ask(to(1))
    assert desk.sent == []


def test_a_route_without_headers_has_no_limit(desk):
    desk.learn(ME, FREE)
    for _ in range(UNDER_WAY_MOST):
        desk.ask(ME)
    assert len(desk.sent) == UNDER_WAY_MOST


def test_a_server_error_without_headers_tells_nothing(desk):
    desk.learn(ME, Answer(502, {}, None))
    desk.ask(ME)
    desk.ask(ME)
    assert len(desk.sent) == 1


def test_lanes_take_turns(desk):
    busy = [desk.ask(to(1)) for _ in range(3)]
    desk.answer(busy[0], FREE)
    for n in range(UNDER_WAY_MOST):
        desk.ask(press(n))  # these take nobody's place
    full = [desk.ask(to(10 + n)) for n in range(UNDER_WAY_MOST - 2)]
    more, other = desk.ask(to(1)), desk.ask(to(2))
    desk.sent.clear()
    desk.answer(full[0], FREE)
    desk.answer(full[1], FREE)
    assert set(desk.sent) == {more, other}


def test_lanes_that_nobody_uses_are_forgotten(desk):
    for channel in range(20 * LANES_KEPT):
        desk.answer(desk.ask(to(channel)), ok(4, 1.0, window=desk.now))
        desk.advance(0.1)
    assert len(desk.sent) == 20 * LANES_KEPT
    assert len(desk.limits._lanes) <= 2 * LANES_KEPT


# -- 429 ---------------------------------------------------------------------------


def free_after(desk, route):
    call = desk.ask(route)
    wait_s = desk.limits.wait_s(call, desk.now)
    desk.advance(wait_s - 0.001)
    assert call not in desk.sent
    desk.advance(0.002)
    assert call in desk.sent
    return wait_s


def test_a_429_waits_as_long_as_its_body_says(desk, answer):
    desk.learn(to(1), answer("error_429_user"))
    desk.ask(to(2))
    assert len(desk.sent) == 1
    assert free_after(desk, to(1)) == pytest.approx(0.7)


def test_the_body_counts_and_not_the_reset_header(desk, answer):
    desk.learn(to(1), answer("error_429_shared"))
    assert free_after(desk, to(1)) == pytest.approx(1336.62)


def test_a_global_429_pauses_everything_but_interactions(desk, answer):
    desk.learn(to(1), answer("error_429_global"))
    assert desk.ask(press(1)) in desk.sent
    assert free_after(desk, ME) == pytest.approx(0.362)


@pytest.mark.parametrize("route", [ME, GATEWAY_BOT, press(1)])
def test_cloudflares_html_pauses_everything_as_long_as_it_says(desk, answer, route):
    desk.learn(to(1), answer("error_429_cloudflare_html"))
    assert free_after(desk, route) == 600.0


@pytest.mark.parametrize("header", [{}, {"retry-after": "Wed, 21 Oct 2026 07:28:00"}])
def test_a_429_that_says_nothing_pauses_everything_for_ten_minutes(desk, header):
    desk.learn(to(1), Answer(429, header, None))
    assert free_after(desk, ME) == 600.0


@pytest.mark.parametrize(("header", "wait_s"), [({}, 1.0), ({"retry-after": "3"}, 3)])
def test_a_429_without_a_time_in_its_body_waits_as_its_header_says(
    desk, header, wait_s
):
    desk.learn(to(1), Answer(429, header, wire.Problem()))
    assert free_after(desk, to(1)) == pytest.approx(wait_s + 0.05)


def test_retries_wait_1_2_4_and_8_seconds_and_some_more():
    assert [retry_wait_s(tries, 0.0) for tries in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert retry_wait_s(4, 0.5) == 10.0


def test_never_more_than_fifty_go_in_a_second(desk):
    for channel in range(200):
        desk.ask(to(channel))
    times = []
    while len(times) < 200:
        times += [desk.now] * len(desk.sent)
        batch, desk.sent = desk.sent, []
        for call in batch:
            desk.answer(call, FREE)
        if not desk.sent:
            desk.advance(0.01)
    assert all(b - a > 1.0 for a, b in zip(times, times[GLOBAL_MOST:], strict=False))
    assert times[-1] < 3.5


# -- refusals ----------------------------------------------------------------------


def refuse(desk, times, answer=FORBIDDEN):
    """Let each be answered so; return how long that took."""
    began = desk.now
    for n in range(times):
        call = desk.ask(to(n))
        while call not in desk.sent:
            desk.advance(0.1)
        desk.answer(call, answer)
    return desk.now - began


def test_many_refusals_slow_everything_down(desk):
    assert refuse(desk, INVALID_MANY) < 10
    assert refuse(desk, 10) == pytest.approx(10, abs=2)


def test_too_many_refusals_stop_everything_but_the_gateways_address(desk):
    refuse(desk, INVALID_MOST - 1)
    last, waiting = desk.ask(to(1)), [desk.ask(to(1)) for _ in range(3)]
    desk.advance(1.0)
    desk.answer(last, FORBIDDEN)
    assert [call for call, _ in desk.refused] == waiting
    assert desk.limits.waiting == 0
    call = desk.ask(ME)
    assert desk.refused[-1][0] is call
    wait_s = desk.refused[-1][1]
    assert 200 < wait_s < 600
    gateway = desk.ask(GATEWAY_BOT)
    desk.advance(1.1)
    assert gateway in desk.sent
    desk.advance(wait_s)
    desk.ask(ME)
    desk.advance(1.1)
    assert desk.sent[-1].route == ME


def test_a_shared_429_is_not_an_invalid_request(desk, answer):
    assert refuse(desk, INVALID_MOST, answer("error_429_shared")) < 20
    assert desk.refused == []
