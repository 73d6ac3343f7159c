"""The API's client over an agent that answers from a script."""

import json

import pytest
from OpenSSL import SSL
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as RefusedError
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer

from voicestatus.discord.rest.client import RestClient
from voicestatus.discord.rest.errors import (
    DiscordBusy,
    DiscordRefused,
    DiscordUnreachable,
    DiscordUntrusted,
    TokenRefused,
)
from voicestatus.discord.rest.wire import GatewayBot

TOKEN = "very.secret.token"
BOT = GatewayBot("wss://gateway.discord.gg", 1, 998, 14400.0, 1)


@implementer(IResponse)
class CannedResponse:
    version = (b"HTTP", 1, 1)
    phrase = b"-"
    request = previousResponse = None  # noqa: N815 - theirs

    def __init__(self, code, headers, body):
        self.code, self._body = code, body
        self.headers = Headers({key: [value] for key, value in headers.items()})
        self.length = len(body)

    def deliverBody(self, protocol):  # noqa: N802 - theirs
        protocol.makeConnection(None)
        protocol.dataReceived(self._body)
        protocol.connectionLost(Failure(ResponseDone()))


@implementer(IAgent)
class ScriptedAgent:
    """Answers each request with the next line of the script."""

    def __init__(self, *script):
        self.script, self.asked = list(script), []

    def request(self, method, uri, headers=None, bodyProducer=None):  # noqa: N803
        self.asked.append((method, uri, headers))
        step = self.script.pop(0)
        if isinstance(step, Deferred):
            return step
        return fail(step) if isinstance(step, Exception) else succeed(step)


@pytest.fixture
def canned(sample):
    def make(name):
        stored = sample(f"rest/{name}")
        body = stored.get("body_text", json.dumps(stored.get("body"))).encode()
        return CannedResponse(stored["status"], stored["headers"], body)

    return make


def client(agent, **options):
    clock = Clock()
    rest = RestClient(
        "https://discord.example/api/v10/",
        TOKEN,
        clock,
        version="1.2.3",
        jitter=lambda: 0.0,
        monotonic=clock.seconds,
        agent=agent,
        **options,
    )
    return rest, clock


def asking(rest):
    results = []
    Deferred.fromCoroutine(rest.gateway_bot()).addBoth(results.append)
    return results


def error(results):
    (failure,) = results
    value = failure.value
    assert TOKEN not in str(value)
    assert TOKEN not in failure.getTraceback()
    return value


def test_it_says_who_it_is(canned):
    agent = ScriptedAgent(canned("gateway_bot"))
    rest, _ = client(agent)
    assert asking(rest) == [BOT]
    ((method, uri, headers),) = agent.asked
    assert (method, uri) == (b"GET", b"https://discord.example/api/v10/gateway/bot")
    assert headers.getRawHeaders("authorization") == [f"Bot {TOKEN}"]
    assert headers.getRawHeaders("user-agent") == [
        "DiscordBot (https://github.com/voicestatus/voicestatus, 1.2.3)"
    ]


def test_a_429_is_waited_out_and_asked_again(canned):
    agent = ScriptedAgent(canned("error_429_user"), canned("gateway_bot"))
    rest, clock = client(agent)
    results = asking(rest)
    clock.advance(0.69)
    assert len(agent.asked) == 1
    clock.advance(0.02)
    assert results == [BOT]


def test_cloudflares_ban_is_waited_out(canned):
    agent = ScriptedAgent(canned("error_429_cloudflare_html"), canned("gateway_bot"))
    rest, clock = client(agent)
    results = asking(rest)
    clock.advance(599)
    assert len(agent.asked) == 1
    clock.advance(1)
    assert results == [BOT]


def test_errors_of_the_server_are_asked_again_after_1_2_4_and_8_seconds(canned):
    agent = ScriptedAgent(*[canned("error_502_html")] * 4, canned("gateway_bot"))
    rest, clock = client(agent)
    results = asking(rest)
    for wait_s in (1, 2, 4, 8):
        clock.advance(wait_s - 0.01)
        assert results == []
        clock.advance(0.01)
    assert results == [BOT]


def test_a_server_that_stays_broken_is_given_up(canned):
    agent = ScriptedAgent(*[canned("error_502_html")] * 5)
    rest, clock = client(agent)
    results = asking(rest)
    clock.pump([1, 2, 4, 8])
    assert isinstance(error(results), DiscordUnreachable)
    assert clock.getDelayedCalls() == []


def test_a_401_is_final_and_nothing_is_asked_afterwards(canned):
    agent = ScriptedAgent(canned("error_401_bad_token"))
    rest, _ = client(agent)
    assert isinstance(error(asking(rest)), TokenRefused)
    assert isinstance(error(asking(rest)), TokenRefused)
    assert len(agent.asked) == 1


def test_a_403_is_not_asked_again(canned):
    agent = ScriptedAgent(canned("error_50001"))
    rest, _ = client(agent)
    refused = error(asking(rest))
    assert isinstance(refused, DiscordRefused)
    assert (refused.status, refused.code) == (403, 50001)


@pytest.mark.parametrize("trouble", [RefusedError(), ResponseFailed([])])
def test_no_answer_is_unreachable(trouble):
    rest, _ = client(ScriptedAgent(trouble))
    assert isinstance(error(asking(rest)), DiscordUnreachable)


def test_an_answer_that_does_not_come_is_unreachable_after_fifteen_seconds():
    rest, clock = client(ScriptedAgent(Deferred()))
    results = asking(rest)
    clock.advance(14.9)
    assert results == []
    clock.advance(0.1)
    assert isinstance(error(results), DiscordUnreachable)


def test_an_answer_that_is_something_else_is_unreachable():
    html = CannedResponse(200, {"Content-Type": "text/html"}, b"<html>")
    rest, _ = client(ScriptedAgent(html))
    assert isinstance(error(asking(rest)), DiscordUnreachable)


def test_a_redirect_is_not_followed():
    moved = CannedResponse(302, {"Location": "https://elsewhere.example"}, b"")
    agent = ScriptedAgent(moved)
    rest, _ = client(agent)
    assert isinstance(error(asking(rest)), DiscordRefused)
    assert len(agent.asked) == 1


def test_the_token_is_in_no_log(canned):
    events = []
    globalLogPublisher.addObserver(events.append)
    try:
        rest, _ = client(ScriptedAgent(canned("error_401_bad_token")))
        asking(rest)
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert any(event.get("log_level") is LogLevel.warn for event in events)
    assert not any(TOKEN in repr(event) for event in events)


@pytest.mark.parametrize(
    ("call", "answer", "path"),
    [
        (lambda rest: rest.own_user(), "users_me_bot", "/users/@me"),
        (lambda rest: rest.own_guilds(), "users_me_guilds", "/users/@me/guilds"),
        (lambda rest: rest.guild(7), "guild", "/guilds/7"),
        (lambda rest: rest.channels(7), "guild_channels", "/guilds/7/channels"),
        (lambda rest: rest.member_roles(7, 8), "guild_member", "/guilds/7/members/8"),
    ],
)
def test_each_call_has_its_address(canned, call, answer, path):
    agent = ScriptedAgent(canned(answer))
    rest, _ = client(agent)
    results = []
    Deferred.fromCoroutine(call(rest)).addBoth(results.append)
    assert not isinstance(results[0], Failure)
    assert agent.asked[0][:2] == (
        b"GET",
        b"https://discord.example/api/v10" + path.encode(),
    )


def test_who_has_no_patience_hears_at_once_how_long_to_wait(canned):
    agent = ScriptedAgent(canned("error_429_cloudflare_html"))
    rest, clock = client(agent, patience_s=10.0)
    busy = error(asking(rest))
    assert isinstance(busy, DiscordBusy)
    assert (busy.status, busy.wait_s) == (429, 600.0)
    assert clock.getDelayedCalls() == []


def test_patience_ends_between_tries_of_a_broken_server(canned):
    rest, clock = client(ScriptedAgent(*[canned("error_502_html")] * 4), patience_s=10)
    results = asking(rest)
    clock.pump([1, 2])
    assert results == []
    clock.advance(4)
    busy = error(results)
    assert (type(busy), busy.status) == (DiscordBusy, 502)
    assert clock.getDelayedCalls() == []


def test_every_answer_is_heard_of(canned):
    heard = []
    agent = ScriptedAgent(canned("error_429_user"), canned("gateway_bot"))
    rest, clock = client(agent, heard=heard.append)
    asking(rest)
    clock.advance(1)
    assert [answer.status for answer in heard] == [429, 200]


def test_a_certificate_that_is_not_trusted_is_told_apart():
    rest, _ = client(ScriptedAgent(ResponseFailed([Failure(SSL.Error())])))
    assert isinstance(error(asking(rest)), DiscordUntrusted)
