"""Signing in with Discord: who comes back, with what, and what becomes of them."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from voicestatus.core.errors import Refusal
from voicestatus.core.ids import GuildId
from voicestatus.discord.rest.errors import (
    DiscordRefused,
    DiscordUnreachable,
    OAuthRefused,
)
from voicestatus.discord.rest.wire import OwnGuild
from voicestatus.web.access import DiscordApp
from voicestatus.web.auth import cookies, discord
from voicestatus.web.auth.identity import Level
from voicestatus.web.pruner import PRUNE_EVERY_S

Surf = Callable[..., Any]
CALLBACK = "/auth/discord/callback"
PRESENCE = "/api/v1/presence"
GUILD, ELSEWHERE, ADA = 101, 999, "302"
MANAGE_GUILD, ADMINISTRATOR = 1 << 5, 1 << 3


def guild(id_: int = GUILD, permissions: int = 0, *, owner: bool = False) -> OwnGuild:
    return OwnGuild(GuildId(id_), "The Guild", owner, permissions)


def leave(surfer: Any, next_: str = "/") -> str:
    """Go to Discord; return its address."""
    answer = surfer.go("GET", f"/auth/discord?{urlencode({'next': next_})}")
    assert answer.status == 303
    url: str = answer.headers["location"]
    return url


def come_back(surfer: Any, **query: str) -> Any:
    return surfer.go("GET", f"{CALLBACK}?{urlencode(query)}")


def reason(answer: Any) -> Any:
    assert (answer.status, answer.code) == (400, "SIGN_IN_REFUSED")
    return answer.json["error"]["details"]["reason"]


# ---- the way there and back --------------------------------------------------------


def test_who_consents_is_signed_in_and_where_they_wanted_to_be(
    discord_side: Any, surf: Surf, by_discord: Any
):
    surfer = surf(discord_side)
    answer = by_discord(surfer, "/signs?tag=office#desk")
    assert (answer.status, answer.body) == (303, b"")
    assert answer.headers["location"] == "/signs?tag=office#desk"
    assert set(surfer.jar) == {cookies.SESSION}
    me = surfer.me()
    assert me["user"] == {"id": ADA, "displayName": "Ada L.", "avatarUrl": None}
    assert me["actor"] == f"session of user {ADA}"


def test_the_way_back_is_built_from_the_public_url(
    make_side: Callable[..., Any], surf: Surf, oauth: Any
):
    side = make_side(discord=DiscordApp(oauth, ()), public_url="https://signs.example")
    query = parse_qs(urlsplit(leave(surf(side, "http://evil.example"))).query)
    assert query["redirect_uri"] == ["https://signs.example/auth/discord/callback"]


def test_each_time_state_and_verifier_are_new(discord_side: Any, surf: Surf):
    surfer = surf(discord_side)
    first, second = leave(surfer), leave(surfer)
    for name in ("state", "challenge"):
        assert (
            parse_qs(urlsplit(first).query)[name]
            != (parse_qs(urlsplit(second).query)[name])
        )


def test_the_verifier_does_not_go_along(discord_side: Any, surf: Surf):
    surfer = surf(discord_side)
    url = leave(surfer)
    kept = json.loads(urlsafe_b64decode(surfer.jar[cookies.SIGN_IN]))
    assert kept["verifier"] not in url
    assert len(kept["verifier"]) >= 43


def test_the_browser_keeps_it_for_ten_minutes_and_for_no_script(
    discord_side: Any, surf: Surf
):
    surfer = surf(discord_side)
    leave(surfer)
    (cookie,) = surfer.set_cookies
    assert cookie.endswith("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax")


def test_without_an_application_there_is_no_such_page(side: Any, surf: Surf):
    for path in ("/auth/discord", CALLBACK):
        assert surf(side).go("GET", path).code == "NOT_FOUND"


def test_who_says_no_is_sent_back_and_not_signed_in(discord_side: Any, surf: Surf):
    surfer = surf(discord_side)
    state = parse_qs(urlsplit(leave(surfer, "/signs")).query)["state"][0]
    answer = come_back(surfer, error="access_denied", state=state)
    assert (answer.status, answer.headers["location"]) == (303, "/signs")
    assert surfer.jar == {}


def test_what_else_discord_does_not_do_is_its_error(discord_side: Any, surf: Surf):
    surfer = surf(discord_side)
    state = parse_qs(urlsplit(leave(surfer)).query)["state"][0]
    answer = come_back(surfer, error="server_error", state=state)
    assert (answer.status, answer.code) == (502, "DISCORD_ERROR")


# ---- attacks -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "next_",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "/\t/evil.example",
        "/x\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "signs",
        "",
        "/" + "x" * 600,
    ],
)
def test_an_open_redirect_is_refused_before_anybody_leaves(
    discord_side: Any, surf: Surf, next_: str
):
    surfer = surf(discord_side)
    answer = surfer.go("GET", f"/auth/discord?{urlencode({'next': next_})}")
    assert (answer.status, answer.code) == (400, "VALIDATION_FAILED")
    assert answer.json["error"]["details"]["key"] == "next"
    assert surfer.jar == {}


@given(st.text())
@example("/")
@example("/\x85/evil.example")
def test_what_is_local_has_no_other_host(next_: str):
    if discord.is_local(next_):
        parts = urlsplit(next_)
        assert (parts.scheme, parts.netloc) == ("", "")
        assert next_.isascii()
        assert next_.isprintable()
        assert next_.startswith("/")


def test_an_open_redirect_in_a_forged_cookie_is_refused(
    discord_side: Any, surf: Surf, oauth: Any
):
    surfer = surf(discord_side)
    back = oauth.consent(leave(surfer))
    kept = json.loads(urlsafe_b64decode(surfer.jar[cookies.SIGN_IN]))
    forged = json.dumps(kept | {"next": "//evil.example"}).encode()
    surfer.jar[cookies.SIGN_IN] = urlsafe_b64encode(forged).decode()
    assert reason(come_back(surfer, **back)) == "it leads elsewhere"


def test_a_stolen_callback_is_of_no_use_in_another_browser(
    discord_side: Any, surf: Surf, oauth: Any
):
    victim, thief = surf(discord_side), surf(discord_side)
    back = oauth.consent(leave(victim))
    answer = come_back(thief, **back)
    assert reason(answer) == "this browser has not begun to sign in"
    leave(thief)
    assert reason(come_back(thief, **back)) == "it was begun elsewhere"
    assert cookies.SESSION not in thief.jar


def test_a_callback_of_an_attacker_signs_the_victim_in_as_nobody(
    discord_side: Any, surf: Surf, oauth: Any
):
    attacker, victim = surf(discord_side), surf(discord_side)
    back = oauth.consent(leave(attacker))
    leave(victim)
    assert reason(come_back(victim, **back)) == "it was begun elsewhere"
    assert cookies.SESSION not in victim.jar


def test_a_code_of_somebody_else_is_refused_for_want_of_its_verifier(
    discord_side: Any, surf: Surf, oauth: Any
):
    attacker, victim = surf(discord_side), surf(discord_side)
    stolen = oauth.consent(leave(victim))["code"]
    own = oauth.consent(leave(attacker))
    answer = come_back(attacker, code=stolen, state=own["state"])
    assert reason(answer) == "Discord does not take the code"


def test_a_replayed_state_is_refused_even_if_discord_took_its_code_again(
    discord_side: Any, surf: Surf, oauth: Any
):
    surfer = surf(discord_side)
    url = leave(surfer)
    kept = dict(surfer.jar)
    assert come_back(surfer, **oauth.consent(url)).status == 303
    replay = surf(discord_side)
    replay.jar |= kept
    assert reason(come_back(replay, **oauth.consent(url))) == "it was finished before"
    assert cookies.SESSION not in replay.jar
    assert oauth.tokens == set()


def test_a_callback_that_is_loaded_again_finds_no_cookie(
    discord_side: Any, surf: Surf, oauth: Any
):
    surfer = surf(discord_side)
    back = oauth.consent(leave(surfer))
    come_back(surfer, **back)
    assert "not begun" in reason(come_back(surfer, **back))
    assert surfer.go("GET", "/api/v1/me").status == 200


def test_who_takes_too_long_has_to_begin_again(
    discord_side: Any, surf: Surf, oauth: Any
):
    surfer = surf(discord_side)
    back = oauth.consent(leave(surfer))
    discord_side.clock.advance(discord.WITHIN_S)
    assert reason(come_back(surfer, **back)) == "it took too long"


def test_a_planted_session_id_is_not_taken_over(
    discord_side: Any, surf: Surf, by_discord: Any
):
    surfer, thief = surf(discord_side), surf(discord_side)
    surfer.jar[cookies.SESSION] = thief.jar[cookies.SESSION] = "planted"
    by_discord(surfer)
    assert surfer.go("GET", "/api/v1/me").status == 200
    assert thief.go("GET", "/api/v1/me").status == 401


@settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary() | st.text().map(str.encode), st.text())
@example(b'{"state":"x","verifier":"","next":"/","began_at":1e999}', "x")
def test_no_cookie_and_no_query_make_a_defect(
    discord_side: Any, surf: Surf, kept: bytes, state: str
):
    surfer = surf(discord_side)
    surfer.jar[cookies.SIGN_IN] = urlsafe_b64encode(kept).decode()
    reason(come_back(surfer, code="x", state=state))


@pytest.mark.parametrize("query", ["", "code=x", "state=x", "state=x&state=y", "x=1"])
def test_a_callback_with_less_is_refused(discord_side: Any, surf: Surf, query: str):
    surfer = surf(discord_side)
    leave(surfer)
    assert surfer.go("GET", f"{CALLBACK}?{query}").status == 400
    assert cookies.SESSION not in surfer.jar


def test_codes_that_are_made_up_do_not_reach_discord_without_end(
    discord_side: Any, surf: Surf, oauth: Any
):
    waiting: list[Deferred[None]] = []

    async def exchange(*_: str) -> None:
        waiting.append(Deferred())
        await waiting[-1]
        raise OAuthRefused(400, "invalid_grant")

    oauth.exchange, exchange = exchange, oauth.exchange
    for _ in range(discord.MAX_AT_ONCE):
        surfer = surf(discord_side)
        assert come_back(surfer, **oauth.consent(leave(surfer))).status == 0
    answer = come_back(surfer, **oauth.consent(leave(surfer)))
    assert (answer.status, answer.code) == (429, "RATE_LIMITED")
    for each in waiting:
        each.callback(None)
    oauth.exchange = exchange
    assert come_back(surfer, **oauth.consent(leave(surfer))).status == 303


# ---- who is what -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "level"),
    [
        ((), "guest"),
        ((guild(ELSEWHERE, owner=True),), "guest"),
        ((guild(),), "member"),
        ((guild(permissions=~(MANAGE_GUILD | ADMINISTRATOR) & 2**60 - 1),), "member"),
        ((guild(permissions=MANAGE_GUILD),), "admin"),
        ((guild(permissions=ADMINISTRATOR),), "admin"),
        ((guild(owner=True),), "admin"),
        ((guild(ELSEWHERE), guild(permissions=MANAGE_GUILD)), "admin"),
    ],
)
def test_what_one_is_follows_from_the_guilds_that_the_bot_is_in(
    discord_side: Any,
    surf: Surf,
    by_discord: Any,
    oauth: Any,
    theirs: tuple[OwnGuild, ...],
    level: str,
):
    oauth.their_guilds = theirs
    surfer = surf(discord_side)
    by_discord(surfer)
    assert surfer.me()["level"] == level
    answer = surfer.go("GET", PRESENCE)
    if level == "admin":
        assert answer.status == 200
    else:
        assert (answer.status, answer.code) == (403, "FORBIDDEN")
        assert answer.json["error"]["details"] == {"level": "admin", "scope": "read"}


def test_who_owns_a_guild_that_the_settings_do_not_name_is_no_admin(
    make_side: Callable[..., Any], surf: Surf, oauth: Any, by_discord: Any
):
    side = make_side(discord=DiscordApp(oauth, ()), public_url="http://sign.example")
    side.people_come()
    oauth.their_guilds = (guild(owner=True),)
    surfer = surf(side)
    by_discord(surfer)
    assert surfer.me()["level"] == "member"


class Knows:
    """The bot's own knowledge of a user, which changes."""

    level = Level.ADMIN
    refusal: Refusal | None = None

    async def level_of(self, user: int) -> Level:
        assert user == int(ADA)
        if self.refusal is not None:
            raise self.refusal
        return self.level


def test_where_the_bot_knows_better_it_is_asked_each_time(
    make_side: Callable[..., Any], surf: Surf, oauth: Any, by_discord: Any
):
    knows = Knows()
    side = make_side(
        discord=DiscordApp(oauth, (), knows), public_url="http://sign.example"
    )
    surfer = surf(side)
    by_discord(surfer)
    assert oauth.asked_for == ("identify",)
    assert surfer.go("GET", PRESENCE).status == 200
    knows.level = Level.GUEST
    assert surfer.go("GET", PRESENCE).code == "FORBIDDEN"


def test_who_one_is_and_the_way_out_need_no_discord(
    make_side: Callable[..., Any], surf: Surf, oauth: Any, by_discord: Any
):
    knows = Knows()
    app = DiscordApp(oauth, (), knows)
    side = make_side(discord=app, public_url="http://sign.example")
    here, there = surf(side), surf(side)
    for surfer in (here, there):
        by_discord(surfer)
    assert (here.me()["level"], here.me()["doubt"]) == ("admin", None)
    knows.refusal = Refusal("DISCORD_UNAVAILABLE", "no answer")
    me = here.me()
    assert (me["level"], me["doubt"]) == ("guest", "DISCORD_UNAVAILABLE")
    assert me["user"]["id"] == ADA
    assert here.go("GET", PRESENCE).code == "DISCORD_UNAVAILABLE"
    assert here.write("POST", "/auth/logout?everywhere=true").status == 204
    assert there.go("GET", "/api/v1/me").code == "UNAUTHORIZED"


def test_an_admin_who_signs_in_is_in_the_audit_log_and_nobody_else(
    discord_side: Any, surf: Surf, by_discord: Any, oauth: Any
):
    by_discord(surf(discord_side))
    assert discord_side.ask("GET", "/audit").json["entries"] == []
    oauth.their_guilds = (guild(owner=True),)
    by_discord(surf(discord_side))
    (entry,) = discord_side.ask("GET", "/audit").json["entries"]
    assert (entry["actor"], entry["action"]) == (
        f"session of user {ADA}",
        "session.begin",
    )


# ---- Discord, and what is kept of it -----------------------------------------------


def test_discords_tokens_are_given_back_and_not_kept(
    discord_side: Any, surf: Surf, by_discord: Any, oauth: Any
):
    by_discord(surf(discord_side))
    assert oauth.made == ["access-0"]
    assert oauth.tokens == set()
    stored = repr(discord_side.store._documents)
    assert ADA in stored
    assert "access-0" not in stored
    assert "refresh" not in stored


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (DiscordUnreachable("no"), 503, "DISCORD_UNAVAILABLE"),
        (OAuthRefused(400, "invalid_grant"), 400, "SIGN_IN_REFUSED"),
        (OAuthRefused(401, "invalid_client"), 502, "DISCORD_ERROR"),
        (DiscordRefused(403, 0, "no"), 502, "DISCORD_ERROR"),
    ],
)
def test_while_discord_does_not_do_it_nobody_is_signed_in(
    discord_side: Any,
    surf: Surf,
    by_discord: Any,
    oauth: Any,
    failure: Exception,
    status: int,
    code: str,
):
    oauth.failure = failure
    surfer = surf(discord_side)
    answer = by_discord(surfer)
    assert (answer.status, answer.code) == (status, code)
    assert cookies.SESSION not in surfer.jar


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (DiscordUnreachable("no"), 503, "DISCORD_UNAVAILABLE"),
        (DiscordRefused(403, 50026, "no"), 502, "DISCORD_ERROR"),
    ],
)
def test_a_token_is_given_back_also_when_it_was_of_no_use(
    discord_side: Any,
    surf: Surf,
    by_discord: Any,
    oauth: Any,
    failure: Exception,
    status: int,
    code: str,
):
    async def fail(_: str) -> None:
        raise failure

    oauth.guilds = fail
    answer = by_discord(surf(discord_side))
    assert (answer.status, answer.code) == (status, code)
    assert (oauth.made, oauth.tokens) == (["access-0"], set())


def test_a_token_that_cannot_be_given_back_keeps_nobody_out(
    discord_side: Any, surf: Surf, by_discord: Any, oauth: Any
):
    async def fail(_: str) -> None:
        raise DiscordUnreachable("no")

    oauth.revoke = fail
    surfer = surf(discord_side)
    assert by_discord(surfer).status == 303
    assert surfer.me()["level"] == "guest"


def test_used_states_are_forgotten(discord_side: Any, surf: Surf, by_discord: Any):
    by_discord(surf(discord_side))
    kinds = [kind for kind, _ in discord_side.store._documents]
    assert discord.KIND in kinds
    discord_side.clock.advance(discord.WITHIN_S)
    discord_side.clock.advance(PRUNE_EVERY_S)
    assert discord.KIND not in [kind for kind, _ in discord_side.store._documents]


def test_no_secret_of_a_sign_in_reaches_the_log_or_an_answer(
    discord_side: Any, surf: Surf, oauth: Any
):
    surfer = surf(discord_side)
    with capturedLogs() as logged:
        url = leave(surfer)
        back = oauth.consent(url)
        kept = surfer.jar[cookies.SIGN_IN]
        oauth.failure = DiscordUnreachable("no")
        answer = come_back(surfer, **back)
    for secret in (kept, back["code"], back["state"]):
        assert secret.encode() not in answer.body
        assert secret not in repr(logged)
