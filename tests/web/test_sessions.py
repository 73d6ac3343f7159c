"""Being signed in: how it begins, what it is good for, and how it ends."""

from collections.abc import Callable
from typing import Any

import pytest

from voicestatus.core.errors import StoreError
from voicestatus.web.auth import cookies, sessions
from voicestatus.web.pruner import PRUNE_EVERY_S

Surf = Callable[..., Any]
PRESENCE, DEVICES = "/api/v1/presence", "/api/v1/devices"
BACKWARD = {"id": "desk"}


@pytest.fixture
def surfer(side: Any, surf: Surf) -> Any:
    """A browser that is signed in with the admin token."""
    surfer = surf(side)
    assert surfer.sign_in().status == 204
    return surfer


def stored(side: Any, kind: str = sessions.KIND) -> list[Any]:
    return [doc for key, doc in side.store._documents.items() if key[0] == kind]


# ---- coming in ---------------------------------------------------------------------


def test_the_admin_token_opens_a_session(side: Any, surf: Surf):
    surfer = surf(side)
    assert surfer.go("GET", PRESENCE).status == 401
    assert (surfer.sign_in().status, surfer.sign_in().body) == (204, b"")
    assert surfer.go("GET", PRESENCE).status == 200


def test_its_cookie_is_for_no_script_and_no_other_site(side: Any, surfer: Any):
    (cookie,) = surfer.set_cookies
    assert cookie == (
        f"{cookies.SESSION}={surfer.jar[cookies.SESSION]}; Path=/; Max-Age=604800; "
        "HttpOnly; SameSite=Lax"
    )


def test_behind_https_its_cookie_is_for_tls_and_this_host_alone(
    make_side: Callable[..., Any], surf: Surf
):
    surfer = surf(make_side(public_url="https://sign.example"), "https://sign.example")
    surfer.sign_in()
    (cookie,) = surfer.set_cookies
    assert cookie.startswith(f"__Host-{cookies.SESSION}=")
    assert cookie.endswith("; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax; Secure")
    assert surfer.go("GET", PRESENCE).status == 200


def test_a_wrong_token_opens_none_and_waits_like_any_guess(side: Any, surf: Surf):
    first, second = surf(side), surf(side)
    assert first.sign_in("wrong").code == "UNAUTHORIZED"
    assert second.sign_in("wrong").status == 0
    assert side.metric("voicestatus_admin_held") == 1
    assert surf(side).sign_in().status == 204
    side.clock.advance(60)
    assert (first.jar, stored(side)[1:]) == ({}, [])


def test_another_sites_page_cannot_sign_anybody_in(side: Any, surf: Surf):
    evil = surf(side)
    body, origin = {"token": "open-sesame"}, {"Origin": "http://evil.example"}
    answer = evil.go("POST", "/auth/token", body, origin)
    assert (answer.status, answer.code) == (403, "CSRF_REFUSED")
    assert evil.go("POST", "/auth/token", body, {"Origin": "null"}).status == 403
    assert stored(side) == []


def test_a_form_of_another_site_cannot_send_what_signs_in(side: Any, surf: Surf):
    kind = {"Content-Type": "text/plain"}
    assert surf(side).go("POST", "/auth/token", b"{}", kind).status == 415


def test_a_planted_session_id_is_not_taken_over(side: Any, surf: Surf):
    surfer = surf(side)
    surfer.jar[cookies.SESSION] = "planted"
    surfer.sign_in()
    assert surfer.jar[cookies.SESSION] != "planted"
    thief = surf(side)
    thief.jar[cookies.SESSION] = "planted"
    assert thief.go("GET", PRESENCE).status == 401


def test_signing_in_again_ends_the_session_that_was(side: Any, surf: Surf, surfer: Any):
    old = surf(side)
    old.jar |= surfer.jar
    surfer.sign_in()
    assert old.go("GET", PRESENCE).status == 401
    assert surfer.go("GET", PRESENCE).status == 200


def test_the_store_does_not_know_a_sessions_id(side: Any, surfer: Any):
    id_ = surfer.jar[cookies.SESSION]
    assert id_ not in repr(stored(side))
    assert id_ not in repr(vars(side.admin))


def test_another_admin_token_ends_all_sessions(
    side: Any, make_side: Callable[..., Any], surf: Surf, surfer: Any
):
    other = make_side(token="another")
    other.store._documents |= side.store._documents
    moved = surf(other)
    moved.jar |= surfer.jar
    assert moved.go("GET", PRESENCE).status == 401


def test_a_restart_and_other_nodes_know_it(
    side: Any, make_side: Callable[..., Any], surf: Surf, surfer: Any
):
    other = make_side()
    other.store._documents |= side.store._documents
    moved = surf(other)
    moved.jar |= surfer.jar
    assert moved.go("GET", PRESENCE).status == 200


# ---- what it is good for -----------------------------------------------------------


def test_who_one_is_and_what_a_page_needs_is_told(side: Any, surfer: Any):
    me = surfer.me()
    assert me == {
        "actor": "session of the admin token",
        "level": "admin",
        "scopes": None,
        "user": None,
        "endsAt": me["endsAt"],
        "csrfToken": me["csrfToken"],
        "doubt": None,
    }
    assert len(me["csrfToken"]) == 64


def test_the_admin_token_as_bearer_needs_no_page(side: Any):
    me = side.ask("GET", "/me").json
    assert (me["actor"], me["level"], me["csrfToken"]) == ("admin token", "admin", None)


def test_a_write_with_its_csrf_token_is_done_and_the_audit_log_says_by_whom(
    side: Any, surfer: Any
):
    assert surfer.write("POST", DEVICES, BACKWARD).status == 201
    newest = side.ask("GET", "/audit").json["entries"][0]
    assert newest["actor"] == "session of the admin token"
    assert (newest["action"], newest["target"]) == ("device.create", "desk")


@pytest.mark.parametrize("token", [None, "", "wrong", "\xff"])
def test_a_write_without_the_csrf_token_is_refused(
    side: Any, surfer: Any, token: str | None
):
    headers = None if token is None else {"X-CSRF-Token": token}
    answer = surfer.go("POST", DEVICES, BACKWARD, headers)
    assert (answer.status, answer.code) == (403, "CSRF_REFUSED")
    assert answer.json["error"]["details"] == {"reason": "token"}
    assert list(side.devices.devices()) == []


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://sign.example", "http://sign.example:81"]
)  # fmt: skip
def test_a_write_of_another_origin_is_refused(side: Any, surfer: Any, origin: str):
    headers = {"X-CSRF-Token": surfer.me()["csrfToken"], "Origin": origin}
    answer = surfer.go("POST", DEVICES, BACKWARD, headers)
    assert (answer.status, answer.code) == (403, "CSRF_REFUSED")
    assert answer.json["error"]["details"] == {"reason": "origin"}
    assert side.metric("voicestatus_admin_auth_failures_total", reason="csrf") == 1


def test_a_write_that_names_no_origin_is_refused(
    side: Any, surfer: Any, request_bytes: Any
):
    headers = {
        "X-CSRF-Token": surfer.me()["csrfToken"],
        "Cookie": f"{cookies.SESSION}={surfer.jar[cookies.SESSION]}",
    }
    answer = side.ask("POST", "/devices", BACKWARD, token=None, headers=headers)
    assert (answer.status, answer.code) == (403, "CSRF_REFUSED")


def test_the_csrf_token_of_one_session_is_none_of_another(
    side: Any, surf: Surf, surfer: Any
):
    other = surf(side)
    other.sign_in()
    headers = {"X-CSRF-Token": other.me()["csrfToken"]}
    assert surfer.go("POST", DEVICES, BACKWARD, headers).code == "CSRF_REFUSED"


def test_a_bearer_needs_no_csrf_token_even_beside_a_cookie(
    side: Any, surfer: Any, admin_token: str
):
    headers = {
        "Authorization": f"Bearer {admin_token}",
        "Origin": "http://evil.example",
    }
    assert surfer.go("POST", DEVICES, BACKWARD, headers).status == 201


def test_a_wrong_bearer_is_not_saved_by_a_cookie(side: Any, surfer: Any):
    headers = {"Authorization": "Bearer wrong"}
    assert surfer.go("GET", PRESENCE, headers=headers).status == 401


def test_what_a_proxy_authorises_leaves_the_cookie_in_force(side: Any, surfer: Any):
    headers = {"Authorization": "Basic dTpw"}
    assert surfer.go("GET", PRESENCE, headers=headers).status == 200


def test_how_one_may_sign_in_is_told_to_all(side: Any, discord_side: Any):
    asked = side.ask("GET", "/sign-in", token=None)
    assert asked.json == {"adminToken": True, "discord": False}
    asked = discord_side.ask("GET", "/sign-in", token=None)
    assert asked.json == {"adminToken": True, "discord": True}


# ---- how it ends -------------------------------------------------------------------


def test_signing_out_ends_it_and_takes_the_cookie_away(
    side: Any, surf: Surf, surfer: Any
):
    copy = surf(side)
    copy.jar |= surfer.jar
    assert surfer.write("POST", "/auth/logout").status == 204
    assert surfer.jar == {}
    assert copy.go("GET", PRESENCE).code == "UNAUTHORIZED"
    assert stored(side) == []


def test_another_site_cannot_sign_anybody_out(side: Any, surfer: Any):
    assert surfer.go("POST", "/auth/logout").code == "CSRF_REFUSED"
    assert surfer.go("GET", PRESENCE).status == 200


def test_signing_out_here_leaves_other_browsers_alone(
    side: Any, surf: Surf, surfer: Any
):
    other = surf(side)
    other.sign_in()
    surfer.write("POST", "/auth/logout")
    assert other.go("GET", PRESENCE).status == 200


def test_signing_out_everywhere_ends_all_of_ones_sessions(
    side: Any, surf: Surf, surfer: Any
):
    other = surf(side)
    other.sign_in()
    surfer.write("POST", "/auth/logout?everywhere=true")
    assert other.go("GET", PRESENCE).status == 401
    assert stored(side) == []


def test_ones_sessions_are_listed_and_each_can_be_ended(
    side: Any, surf: Surf, surfer: Any
):
    side.clock.advance(10)
    other = surf(side, agent="Phone " + "x" * 500)
    other.sign_in()
    listed = surfer.go("GET", "/api/v1/me/sessions").json["sessions"]
    assert [(each["agent"][:7], each["current"]) for each in listed] == [
        ("Phone x", False),
        ("Firefox", True),
    ]
    assert len(listed[0]["agent"]) == 120
    path = f"/api/v1/me/sessions/{listed[0]['id']}"
    assert surfer.write("DELETE", path).status == 204
    assert other.go("GET", PRESENCE).status == 401
    assert surfer.write("DELETE", path).code == "SESSION_NOT_FOUND"


def test_nobody_ends_a_session_of_somebody_else(
    discord_side: Any, surf: Surf, by_discord: Any
):
    admin, guest = surf(discord_side), surf(discord_side)
    admin.sign_in()
    by_discord(guest)
    (theirs,) = admin.go("GET", "/api/v1/me/sessions").json["sessions"]
    path = f"/api/v1/me/sessions/{theirs['id']}"
    assert guest.write("DELETE", path).code == "SESSION_NOT_FOUND"
    assert guest.write("POST", "/auth/logout?everywhere=true").status == 204
    assert admin.go("GET", PRESENCE).status == 200


def test_a_session_that_nobody_uses_expires(side: Any, surfer: Any):
    side.clock.advance(sessions.IDLE_S)
    assert surfer.go("GET", PRESENCE).code == "UNAUTHORIZED"
    assert side.metric("voicestatus_admin_auth_failures_total", reason="session") == 1


def test_one_that_is_used_lasts_longer_but_not_for_ever(side: Any, surfer: Any):
    alive_s = 0.0
    while surfer.go("GET", PRESENCE).status == 200:
        alive_s += sessions.IDLE_S - 1
        side.clock.advance(sessions.IDLE_S - 1)
        assert alive_s < 2 * sessions.LASTS_S
    assert alive_s >= sessions.LASTS_S


def test_its_use_is_written_down_now_and_then_alone(side: Any, surfer: Any):
    (before,) = stored(side)
    for _ in range(10):
        surfer.go("GET", PRESENCE)
    assert stored(side) == [before]
    side.clock.advance(sessions.NOTE_EVERY_S)
    surfer.go("GET", PRESENCE)
    assert stored(side) != [before]


def test_a_disk_that_is_full_signs_nobody_out(side: Any, surfer: Any):
    side.clock.advance(sessions.NOTE_EVERY_S)
    side.store.defect = StoreError("the disk is full")
    assert surfer.go("GET", PRESENCE).status == 200


def test_while_the_store_is_away_the_admin_token_alone_is_known(side: Any, surfer: Any):
    side.store.running = 0
    assert surfer.go("GET", PRESENCE).code == "STORE_UNAVAILABLE"
    assert side.ask("GET", "/presence").status == 200
    side.store.running = 1


def test_what_has_expired_is_forgotten(side: Any, surfer: Any):
    side.clock.advance(sessions.IDLE_S - PRUNE_EVERY_S)
    surfer.sign_in()
    surfer.jar.clear()
    surfer.sign_in()
    assert len(stored(side)) == 2
    side.clock.advance(sessions.IDLE_S)
    side.clock.advance(PRUNE_EVERY_S)
    assert stored(side) == []
