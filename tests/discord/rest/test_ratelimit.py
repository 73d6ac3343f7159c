"""When the HTTP API may be called."""

import json

import pytest

from voicestatus.discord.rest import wire
from voicestatus.discord.rest.ratelimit import Answer, Limits, retry_wait_s
from voicestatus.discord.rest.wire import GATEWAY_BOT, Route

OTHER = Route("GET", "/users/@me")


@pytest.fixture
def answer(sample):
    def make(name):
        stored = sample(f"rest/{name}")
        headers = {key.lower(): value for key, value in stored["headers"].items()}
        body = stored.get("body_text", json.dumps(stored.get("body"))).encode()
        problem = wire.problem(headers["content-type"], body)
        return Answer(stored["status"], headers, problem)

    return make


def test_a_429_waits_as_long_as_its_body_says(answer):
    limits = Limits()
    limits.answered(GATEWAY_BOT, answer("error_429_user"), 100.0)
    assert limits.free_at(GATEWAY_BOT, 100.0) == pytest.approx(100.7)
    assert limits.free_at(OTHER, 100.0) == 100.0


def test_the_body_counts_and_not_the_reset_header(answer):
    limits = Limits()
    limits.answered(OTHER, answer("error_429_shared"), 0.0)
    assert limits.free_at(OTHER, 0.0) == pytest.approx(1336.62)


def test_a_global_429_pauses_everything(answer):
    limits = Limits()
    limits.answered(OTHER, answer("error_429_global"), 0.0)
    assert limits.free_at(GATEWAY_BOT, 0.0) == pytest.approx(0.362)


def test_cloudflares_html_pauses_everything_as_long_as_it_says(answer):
    limits = Limits()
    limits.answered(OTHER, answer("error_429_cloudflare_html"), 0.0)
    assert limits.free_at(GATEWAY_BOT, 0.0) == 600.0


@pytest.mark.parametrize("header", [{}, {"retry-after": "Wed, 21 Oct 2026 07:28:00"}])
def test_a_429_that_says_nothing_pauses_everything_for_ten_minutes(header):
    limits = Limits()
    limits.answered(OTHER, Answer(429, header, None), 0.0)
    assert limits.free_at(GATEWAY_BOT, 0.0) == 600.0


def test_an_empty_bucket_waits_for_its_reset():
    limits = Limits()
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset-after": "1.5"}
    limits.answered(OTHER, Answer(200, headers, None), 10.0)
    assert limits.free_at(OTHER, 10.0) == pytest.approx(11.55)
    assert limits.free_at(OTHER, 20.0) == 20.0


def test_many_invalid_requests_stop_everything_but_the_gateways_address():
    limits = Limits()
    for number in range(500):
        assert limits.free_at(OTHER, 100.0) == 100.0
        limits.answered(OTHER, Answer(403, {}, wire.Problem()), number / 10)
    assert limits.free_at(OTHER, 100.0) == 600.0
    assert limits.free_at(GATEWAY_BOT, 100.0) == 100.0
    assert limits.free_at(OTHER, 600.1) == 600.1


def test_a_shared_429_is_not_an_invalid_request(answer):
    limits = Limits()
    for _ in range(600):
        limits.answered(Route("GET", "/elsewhere"), answer("error_429_shared"), 0.0)
    assert limits.free_at(OTHER, 0.0) == 0.0


def test_retries_wait_1_2_4_and_8_seconds_and_some_more():
    assert [retry_wait_s(tries, 0.0) for tries in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert retry_wait_s(4, 0.5) == 10.0


def test_html_is_not_read_as_an_error(sample):
    assert wire.problem("text/html", b"<html>") is None
    assert wire.problem("application/json; charset=utf-8", b'{"code":5}').code == 5
    assert wire.problem("application/json", b"<html>") is None
    assert wire.problem("application/json", b'{"code":"x"}') is None


def test_the_gateways_address_is_read(sample):
    body = json.dumps(sample("rest/gateway_bot")["body"]).encode()
    assert wire.gateway_bot(body) == wire.GatewayBot(
        "wss://gateway.discord.gg", 1, 998, 14400.0, 1
    )


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"url":1}', b"\xff"])
def test_what_is_not_the_gateways_address_is_a_protocol_error(body):
    with pytest.raises(wire.ProtocolError):
        wire.gateway_bot(body)
