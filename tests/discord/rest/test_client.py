"""The API's client over an agent that answers from a script."""

import json
from base64 import b64encode

import pytest
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost, DNSLookupError
from twisted.internet.error import ConnectionRefusedError as RefusedError
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed

from voicestatus.discord.rest import calls
from voicestatus.discord.rest.client import RestClient
from voicestatus.discord.rest.errors import (
    DiscordBusy,
    DiscordRefused,
    DiscordUnreachable,
    DiscordUntrusted,
    LoginRefused,
    MissingPermissions,
    OAuthRefused,
    TokenRefused,
    TooManyRefusals,
    UnknownMessage,
)
from voicestatus.discord.rest.messages import Embed
from voicestatus.discord.rest.ratelimit import INVALID_MOST
from voicestatus.discord.rest.scheduled_events import EventDraft, EventStatus
from voicestatus.discord.rest.wire import GatewayBot

TOKEN = "very.secret.token"
BASE = b"https://discord.example/api/v10"
BOT = GatewayBot("wss://gateway.discord.gg", 1, 998, 14400.0, 1)
BROKEN = ResponseFailed([Failure(ConnectionLost())])


def asking(talk):
    results, _ = talk.ask(talk.rest.gateway_bot())
    return results


def error(results):
    (failure,) = results
    value = failure.value
    assert TOKEN not in str(value)
    assert TOKEN not in failure.getTraceback()
    return value


def header(talk, name, call=0):
    values = talk.agent.asked[call][2].getRawHeaders(name)
    return values and values[0]


# -- what is asked -----------------------------------------------------------------


def test_it_says_who_it_is(script, canned):
    talk = script(canned("gateway_bot"))
    assert asking(talk) == [BOT]
    ((method, uri, _),) = talk.agent.asked
    assert (method, uri) == (b"GET", BASE + b"/gateway/bot")
    assert header(talk, "authorization") == f"Bot {TOKEN}"
    assert header(talk, "user-agent") == (
        "DiscordBot (https://github.com/voicestatus/voicestatus, 1.2.3)"
    )


EVENT = EventDraft(status=EventStatus.ACTIVE)
CALLS = [
    ("GET", "/users/@me", "users_me_bot", lambda r: r.own_user()),
    ("GET", "/applications/@me", "users_me_bot", lambda r: r.application()),
    ("GET", "/users/@me/guilds", "users_me_guilds", lambda r: r.own_guilds()),
    ("GET", "/guilds/7", "guild", lambda r: r.guild(7)),
    ("GET", "/guilds/7/channels", "guild_channels", lambda r: r.channels(7)),
    ("GET", "/guilds/7/roles", "guild_roles", lambda r: r.roles(7)),
    ("GET", "/guilds/7/members/8", "guild_member", lambda r: r.member(7, 8)),
    ("GET", "/guilds/7/members/8", "guild_member", lambda r: r.member_roles(7, 8)),
    ("PUT", "/guilds/7/members/8/roles/9", None, lambda r: r.give_role(7, 8, 9)),
    ("DELETE", "/guilds/7/members/8/roles/9", None, lambda r: r.take_role(7, 8, 9)),
    (
        "GET",
        "/channels/5/messages?limit=2",
        "messages_list",
        lambda r: r.messages(5, limit=2),
    ),
    ("GET", "/channels/5/messages/6", "message_edit", lambda r: r.message(5, 6)),
    (
        "POST",
        "/channels/5/messages",
        "message_create",
        lambda r: r.create_message(5, embeds=[Embed(title="t")]),
    ),
    (
        "PATCH",
        "/channels/5/messages/6",
        "message_edit",
        lambda r: r.edit_message(5, 6, "x"),
    ),
    (
        "DELETE",
        "/channels/5/messages/6",
        "message_delete",
        lambda r: r.delete_message(5, 6),
    ),
    ("POST", "/channels/5/invites", "invite_create", lambda r: r.create_invite(5)),
    ("GET", "/invites/abc", "invite_create", lambda r: r.invite("abc")),
    ("DELETE", "/invites/abc", "invite_create", lambda r: r.delete_invite("abc")),
    (
        "GET",
        "/guilds/7/scheduled-events",
        "scheduled_events_list",
        lambda r: r.scheduled_events(7),
    ),
    (
        "POST",
        "/guilds/7/scheduled-events",
        "scheduled_event_create_voice",
        lambda r: r.create_scheduled_event(7, EVENT),
    ),
    (
        "PATCH",
        "/guilds/7/scheduled-events/8",
        "scheduled_event_start",
        lambda r: r.edit_scheduled_event(7, 8, EVENT),
    ),
    (
        "DELETE",
        "/guilds/7/scheduled-events/8",
        "scheduled_event_delete",
        lambda r: r.delete_scheduled_event(7, 8),
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "answer", "call"), CALLS, ids=[f"{c[0]} {c[1]}" for c in CALLS]
)
def test_each_call_has_its_address(script, canned, respond, method, path, answer, call):
    talk = script(canned(answer) if answer else respond(204))
    talk.run(call(talk.rest))
    assert talk.agent.asked[0][:2] == (method.encode(), BASE + path.encode())
    body = talk.agent.bodies[0]
    is_json = body is not None and isinstance(json.loads(body), dict)
    assert is_json == (method in {"POST", "PATCH"})
    assert header(talk, "content-type") == ("application/json" if is_json else None)


def test_a_reason_is_told_to_the_audit_log_percent_encoded(script, respond):
    talk = script(respond(204), respond(204))
    talk.run(talk.rest.give_role(7, 8, 9, reason="Rang für Ada / 3"))
    assert header(talk, "x-audit-log-reason") == "Rang%20f%C3%BCr%20Ada%20%2F%203"
    talk.run(talk.rest.take_role(7, 8, 9, reason="x" * 600))
    assert len(header(talk, "x-audit-log-reason", 1)) == 512


def test_a_guild_that_has_paused_its_invites_refuses(script, respond):
    talk = script(respond(204))
    with pytest.raises(DiscordRefused, match="paused"):
        talk.run(talk.rest.create_invite(5))


# -- what is answered --------------------------------------------------------------


def test_a_429_is_waited_out_and_asked_again(script, canned):
    talk = script(canned("error_429_user"), canned("gateway_bot"))
    results = asking(talk)
    talk.clock.advance(0.69)
    assert len(talk.agent.asked) == 1
    talk.clock.advance(0.02)
    assert results == [BOT]


def test_a_change_that_met_a_429_is_made_again_for_it_was_not_made(script, canned):
    talk = script(canned("error_429_user"), canned("message_edit"))
    talk.run(talk.rest.edit_message(5, 6, "x"))
    assert len(talk.agent.asked) == 2
    assert talk.agent.bodies[0] == talk.agent.bodies[1]


def test_cloudflares_ban_is_waited_out(script, canned):
    talk = script(canned("error_429_cloudflare_html"), canned("gateway_bot"))
    results = asking(talk)
    talk.clock.advance(599)
    assert len(talk.agent.asked) == 1
    talk.clock.advance(1)
    assert results == [BOT]


@pytest.mark.parametrize("trouble", ["error_502_html", BROKEN])
def test_trouble_is_asked_again_after_1_2_4_and_8_seconds(script, canned, trouble):
    step = canned(trouble) if isinstance(trouble, str) else trouble
    talk = script(*[step] * 4, canned("gateway_bot"))
    results = asking(talk)
    for wait_s in (1, 2, 4, 8):
        talk.clock.advance(wait_s - 0.01)
        assert results == []
        talk.clock.advance(0.01)
    assert results == [BOT]


def test_a_server_that_stays_broken_is_given_up(script, canned):
    talk = script(*[canned("error_502_html")] * 5)
    results = asking(talk)
    talk.clock.pump([1, 2, 4, 8])
    assert isinstance(error(results), DiscordUnreachable)
    assert talk.clock.getDelayedCalls() == []


@pytest.mark.parametrize("trouble", ["error_502_html", BROKEN])
@pytest.mark.parametrize(
    ("call", "times"),
    [
        (lambda r: r.create_message(5, "x"), 1),
        (lambda r: r.create_message(5, "x", nonce="n"), 2),
        (lambda r: r.edit_message(5, 6, "x"), 1),
        (lambda r: r.create_invite(5), 1),
        (lambda r: r.create_scheduled_event(7, EVENT), 1),
        (lambda r: r.give_role(7, 8, 9), 2),
        (lambda r: r.delete_message(5, 6), 2),
        (lambda r: r.acknowledge(1, "token"), 1),
    ],
)
def test_only_what_may_be_done_twice_is_asked_again(
    script, canned, trouble, call, times
):
    step = canned(trouble) if isinstance(trouble, str) else trouble
    talk = script(step, canned("message_create"))
    results, _ = talk.ask(call(talk.rest))
    talk.clock.pump([0.5, 0.5])
    assert len(talk.agent.asked) == times
    assert isinstance(results[0], Failure) == (times == 1)


def test_a_401_is_final_and_nothing_is_asked_afterwards(script, canned):
    talk = script(canned("error_401_bad_token"))
    assert isinstance(error(asking(talk)), TokenRefused)
    assert isinstance(error(asking(talk)), TokenRefused)
    assert len(talk.agent.asked) == 1


def test_a_401_ends_the_waiting_of_all(script, canned):
    talk = script(first := Deferred())
    waiting = [asking(talk) for _ in range(100)]
    first.callback(canned("error_401_bad_token"))
    assert all(isinstance(error(results), TokenRefused) for results in waiting)
    assert len(talk.agent.asked) == 1
    assert talk.clock.getDelayedCalls() == []


def test_a_403_is_not_asked_again(script, canned):
    talk = script(canned("error_50013"))
    refused = error(asking(talk))
    assert isinstance(refused, MissingPermissions)
    assert (refused.status, refused.code) == (403, 50013)


def test_a_deleted_message_is_told_apart(script, canned):
    talk = script(canned("error_10008"))
    with pytest.raises(UnknownMessage):
        talk.run(talk.rest.edit_message(5, 6, "x"))


@pytest.mark.parametrize("trouble", [RefusedError(), DNSLookupError(), OSError()])
def test_nobody_there_is_unreachable_at_once(script, trouble):
    talk = script(trouble)
    assert isinstance(error(asking(talk)), DiscordUnreachable)


def test_an_answer_that_does_not_come_is_unreachable_after_fifteen_seconds(script):
    talk = script(Deferred())
    results = asking(talk)
    talk.clock.advance(14.9)
    assert results == []
    talk.clock.advance(0.1)
    assert isinstance(error(results), DiscordUnreachable)


def test_an_answer_that_is_something_else_is_unreachable(script, respond):
    talk = script(respond(200, ["x"]))
    assert isinstance(error(asking(talk)), DiscordUnreachable)


def test_a_redirect_is_not_followed(script, respond):
    talk = script(respond(302))
    assert isinstance(error(asking(talk)), DiscordRefused)
    assert len(talk.agent.asked) == 1


def test_every_answer_is_heard_of(script, canned):
    heard = []
    talk = script(canned("error_429_user"), canned("gateway_bot"), heard=heard.append)
    asking(talk)
    talk.clock.advance(1)
    assert [answer.status for answer in heard] == [429, 200]


def test_a_certificate_that_is_not_trusted_is_told_apart(script):
    talk = script(ResponseFailed([Failure(SSL.Error())]))
    assert isinstance(error(asking(talk)), DiscordUntrusted)


# -- patience ----------------------------------------------------------------------


def test_who_has_no_patience_hears_at_once_how_long_to_wait(script, canned):
    talk = script(canned("error_429_cloudflare_html"), patience_s=10.0)
    busy = error(asking(talk))
    assert isinstance(busy, DiscordBusy)
    assert (busy.status, busy.wait_s) == (429, 600.0)
    assert talk.clock.getDelayedCalls() == []


def test_patience_ends_between_tries_of_a_broken_server(script, canned):
    talk = script(*[canned("error_502_html")] * 4, patience_s=10)
    results = asking(talk)
    talk.clock.pump([1, 2])
    assert results == []
    talk.clock.advance(4)
    busy = error(results)
    assert (type(busy), busy.status) == (DiscordBusy, 502)
    assert talk.clock.getDelayedCalls() == []


def test_patience_ends_in_line(script):
    talk = script(Deferred())
    asking(talk)
    results, _ = talk.ask(talk.rest.within(3.0).gateway_bot())
    talk.clock.advance(2.9)
    assert results == []
    talk.clock.advance(0.1)
    assert isinstance(error(results), DiscordBusy)
    assert len(talk.agent.asked) == 1


def test_a_limit_of_edits_is_told_by_its_code(script, respond):
    said = {"message": "Max edits", "code": 30046, "retry_after": 90.0, "global": False}
    talk = script(respond(429, said))
    with pytest.raises(DiscordBusy) as busy:
        talk.run(talk.rest.within(5.0).edit_message(5, 6, "x"))
    assert (busy.value.code, busy.value.wait_s) == (30046, pytest.approx(90.05))


# -- a line of many ----------------------------------------------------------------


def test_a_cancelled_call_leaves_the_line_and_the_next_one_goes(script, respond):
    talk = script(first := Deferred(), respond(204), respond(204))
    talk.ask(talk.rest.delete_message(5, 1))
    waiting, cancel = talk.ask(talk.rest.delete_message(5, 2))
    following, _ = talk.ask(talk.rest.delete_message(5, 3))
    cancel()
    assert waiting[0].check(CancelledError)
    first.callback(respond(204))
    assert following == [None]
    assert [uri[-1:] for _, uri, _ in talk.agent.asked] == [b"1", b"3"]


def test_a_call_cancelled_on_its_way_gives_its_place_to_the_next(script, respond):
    talk = script(Deferred(), respond(204))
    _, cancel = talk.ask(talk.rest.delete_message(5, 1))
    following, _ = talk.ask(talk.rest.delete_message(5, 2))
    cancel()
    assert following == [None]
    assert talk.clock.getDelayedCalls() == []


def test_a_call_cancelled_between_two_tries_leaves_nothing(script, canned):
    talk = script(canned("error_502_html"))
    results, cancel = talk.ask(talk.rest.gateway_bot())
    cancel()
    assert results[0].check(CancelledError)
    assert talk.clock.getDelayedCalls() == []


def test_a_line_has_an_end(script):
    talk = script(Deferred())
    talk.rest._calls._limits.waiting = calls.LINE_MOST - 1  # real ones take seconds
    asking(talk)
    last = asking(talk)
    assert last == []
    assert isinstance(error(asking(talk)), DiscordBusy)


def test_closing_lets_nobody_wait(script):
    talk = script(Deferred())
    asking(talk)
    results = asking(talk)
    talk.rest.close()
    assert results[0].check(CancelledError)


def test_too_many_refusals_are_an_error_that_says_how_long(script, canned):
    talk = script(*[canned("error_50001")] * INVALID_MOST)
    for _ in range(INVALID_MOST):
        with pytest.raises(DiscordRefused):
            talk.run(talk.rest.guild(7), within_s=5)
    with pytest.raises(TooManyRefusals) as refused:
        talk.run(talk.rest.guild(7))
    assert 200 < refused.value.wait_s < 600


# -- on a real connection ----------------------------------------------------------


def test_a_call_that_is_cancelled_on_its_way_is_cancelled_and_not_made_again(silent):
    results, cancel = silent.ask(silent.rest.guild(7))
    transport = silent.connect()
    assert transport.value().startswith(b"GET /api/v10/guilds/7 HTTP/1.1\r\n")
    cancel()
    assert results[0].check(CancelledError)
    assert not transport.connected
    assert silent.clock.getDelayedCalls() == []
    assert silent.clock.tcpClients == []


def test_no_answer_on_a_connection_is_given_up_and_not_asked_again(silent):
    results, _ = silent.ask(silent.rest.guild(7))
    silent.connect()
    silent.clock.advance(15)
    assert "TimeoutError" in str(error(results))
    assert silent.clock.tcpClients == []


def test_a_connection_that_breaks_is_asked_again(silent):
    results, cancel = silent.ask(silent.rest.guild(7))
    silent.connect()
    silent.lose()
    assert results == []
    silent.clock.advance(1)
    assert silent.connect().value().startswith(b"GET /api/v10/guilds/7")
    cancel()


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"


def test_an_answer_that_breaks_off_is_asked_again(silent):
    results, cancel = silent.ask(silent.rest.guild(7))
    silent.connect()
    silent.hear(HALF)
    silent.lose()
    assert results == []
    silent.clock.advance(1)
    silent.connect()
    cancel()


def test_a_call_cancelled_while_its_answer_comes_closes_the_connection(silent):
    results, cancel = silent.ask(silent.rest.guild(7))
    transport = silent.connect()
    silent.hear(HALF)
    cancel()
    assert results[0].check(CancelledError)
    assert not transport.connected


def test_closing_closes_idle_connections():
    clock = Clock()
    rest = RestClient(
        "https://discord.example/api/v10",
        TOKEN,
        clock,
        version="1",
        jitter=lambda: 0.0,
        monotonic=clock.seconds,
    )
    closed = []
    rest.close().addCallback(closed.append)
    assert closed == [None]


def test_a_body_is_sent_whole(silent):
    _, cancel = silent.ask(silent.rest.edit_message(5, 6, "hi"))
    sent = silent.connect().value()
    assert sent.endswith(b'\r\n{"content":"hi","allowed_mentions":{"parse":[]}}')
    assert b"Content-Length: 48\r\n" in sent
    cancel()


# -- secrets -----------------------------------------------------------------------


def test_no_token_is_in_a_log_or_an_error(script, canned):
    events = []
    globalLogPublisher.addObserver(events.append)
    try:
        talk = script(
            canned("error_10003"), canned("error_50001"), canned("error_401_bad_token")
        )
        for call in (
            talk.rest.acknowledge(1, TOKEN),
            talk.rest.tell_presser(1, TOKEN, "x"),
            talk.rest.gateway_bot(),
        ):
            error(talk.ask(call)[0])
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert any(event.get("log_level") is LogLevel.warn for event in events)
    assert not any(TOKEN in repr(event) for event in events)


def test_no_person_is_in_a_log(script, canned):
    events = []
    globalLogPublisher.addObserver(events.append)
    try:
        talk = script(canned("error_50013"))
        error(talk.ask(talk.rest.give_role(7, 424242, 9))[0])
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert any(event.get("call", "").startswith("PUT /guilds/7") for event in events)
    assert not any("424242" in repr(event) for event in events)


# -- people who sign in ------------------------------------------------------------


def test_a_code_is_redeemed_by_a_form_and_the_applications_secret(script, canned):
    talk = script(canned("oauth_token"))
    oauth = talk.rest.oauth("app", "s:e/c")
    grant = talk.run(oauth.exchange("c0de", "https://x.example/back", "v" * 43))
    assert grant.scopes == {"identify", "guilds", "guilds.members.read"}
    assert (grant.access_token, grant.expires_in_s) == ("<access token>", 604_800)
    assert "token" not in repr(grant)
    assert talk.agent.bodies[0] == (
        b"grant_type=authorization_code&code=c0de&redirect_uri="
        b"https%3A%2F%2Fx.example%2Fback&code_verifier=" + b"v" * 43
    )
    assert header(talk, "content-type") == "application/x-www-form-urlencoded"
    basic = b64encode(b"app:s%3Ae%2Fc").decode()
    assert header(talk, "authorization") == f"Basic {basic}"


def test_a_refusal_of_the_token_endpoint_has_its_word(script, canned):
    talk = script(canned("oauth_error_invalid_grant"))
    with pytest.raises(OAuthRefused) as refused:
        talk.run(talk.rest.oauth("app", "secret").refresh("old"))
    assert refused.value.reason == "invalid_grant"


def test_a_persons_401_does_not_stop_the_bot(script, canned):
    talk = script(canned("error_401_bad_token"), canned("gateway_bot"))
    oauth = talk.rest.oauth("app", "secret")
    refused = error(talk.ask(oauth.user(TOKEN))[0])
    assert isinstance(refused, LoginRefused)
    assert header(talk, "authorization") == f"Bearer {TOKEN}"
    assert asking(talk) == [BOT]


def test_where_people_sign_in_is_beside_the_api(script, sample):
    oauth = script().rest.oauth("app", "secret")
    pkce = sample("derived/pkce_case")
    url = oauth.authorize_url("https://x.example/back", "s", pkce["code_verifier"])
    assert url == (
        "https://discord.example/oauth2/authorize?response_type=code&client_id=app"
        "&scope=identify&state=s&redirect_uri=https%3A%2F%2Fx.example%2Fback"
        f"&prompt=none&code_challenge={pkce['code_challenge']}"
        "&code_challenge_method=S256"
    )
