"""Guessing the admin token takes longer each time; knowing it never does."""

from collections.abc import Callable
from typing import Any

from voicestatus.web.auth import gate

PRESENCE = "/api/v1/presence"


def guess(side: Any, request_bytes: Any, host: str = "192.0.2.66", **more: str) -> Any:
    visitor = side.visit(host)
    visitor.send(request_bytes("GET", PRESENCE, token="wrong", headers=more))
    return visitor


def test_the_first_wrong_token_is_refused_at_once(side: Any, request_bytes: Any):
    answer = guess(side, request_bytes).answer
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert side.metric("voicestatus_admin_auth_failures_total", reason="wrong") == 1


def test_each_further_one_waits_twice_as_long(side: Any, request_bytes: Any):
    guess(side, request_bytes)
    for hold_s in (1, 2, 4, 8, 16, 30, 30):
        visitor = guess(side, request_bytes)
        assert side.metric("voicestatus_admin_held") == 1
        side.clock.advance(hold_s - 0.1)
        assert visitor.answer.status == 0
        side.clock.advance(0.1)
        assert visitor.answer.status == 401
    assert side.metric("voicestatus_admin_held") == 0


def test_a_right_token_of_the_same_address_is_never_slowed(
    side: Any, request_bytes: Any
):
    visitors = [guess(side, request_bytes) for _ in range(3)]
    assert side.ask("GET", "/presence", host="192.0.2.66").status == 200
    side.clock.advance(60)
    assert [visitor.answer.status for visitor in visitors] == [401] * 3


def test_a_missing_token_is_no_guess(side: Any):
    for _ in range(5):
        assert side.ask("GET", "/presence", token=None).status == 401
    count = side.metric("voicestatus_admin_auth_failures_total", reason="missing")
    assert count == 5


def test_a_token_of_any_bytes_is_just_wrong(side: Any):
    given = {"Authorization": "Bearer \xff\xfe"}
    assert side.ask("GET", "/presence", token=None, headers=given).status == 401


def test_another_address_starts_anew(side: Any, request_bytes: Any):
    for _ in range(3):
        guess(side, request_bytes)
    assert guess(side, request_bytes, "192.0.2.67").answer.status == 401
    side.clock.advance(60)


def test_a_trusted_proxys_word_tells_whose_guess_it_is(
    make_side: Callable[..., Any], request_bytes: Any
):
    side = make_side(trusted="192.0.2.66")
    for n in range(5):
        header = {"X-Forwarded-For": f"198.51.100.{n}"}
        assert guess(side, request_bytes, **header).answer.status == 401


def test_nobody_elses_word_does(side: Any, request_bytes: Any):
    for n in range(2):
        held = guess(side, request_bytes, **{"X-Forwarded-For": f"198.51.100.{n}"})
    assert held.answer.status == 0
    side.clock.advance(60)


def test_too_many_that_wait_are_told_to_come_later(side: Any, request_bytes: Any):
    guess(side, request_bytes)
    for _ in range(gate.MAX_HELD):
        guess(side, request_bytes)
    assert side.metric("voicestatus_admin_held") == gate.MAX_HELD
    answer = guess(side, request_bytes).answer
    assert (answer.status, answer.code) == (429, "RATE_LIMITED")
    assert int(answer.headers["retry-after"]) >= gate.LONGEST_HOLD_S
    assert side.ask("GET", "/presence").status == 200
    side.clock.advance(60)


def test_who_goes_away_is_held_no_longer(side: Any, request_bytes: Any):
    guess(side, request_bytes)
    guess(side, request_bytes).leave()
    assert side.metric("voicestatus_admin_held") == 0


def test_who_waits_is_let_go_when_the_server_stops(side: Any, request_bytes: Any):
    guess(side, request_bytes)
    held = guess(side, request_bytes)
    side.admin.stopService()
    assert (held.answer.status, held.answer.code) == (503, "STOPPING")
    side.admin.startService()


def test_a_token_is_in_no_repr(side: Any, admin_token: str):
    from voicestatus.web.api.devices import Enrolled, NewToken

    assert "vsd_1" not in repr(NewToken("vsd_1"))
    assert "vsd_1" not in repr(Enrolled(None, "vsd_1"))
    assert admin_token not in repr(vars(side.admin))


def test_a_token_is_never_said_back(side: Any, request_bytes: Any, capsys: Any):
    answer = guess(side, request_bytes).answer
    assert b"wrong" not in answer.body
    assert "wrong-" not in capsys.readouterr().err
