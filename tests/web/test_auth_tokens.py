"""API tokens: what they are good for, for how long, and who made them."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.logger import capturedLogs

from voicestatus.core.errors import StoreError
from voicestatus.web.auth import api_tokens, sessions

DAY_S = 24 * 3600.0


def make(side: Any, *scopes: str, name: str = "deploy", **more: Any) -> Any:
    body = {"name": name, "scopes": list(scopes), **more}
    answer = side.ask("POST", "/tokens", body)
    assert answer.status == 201
    return answer.json


def listed(side: Any) -> Any:
    return side.ask("GET", "/tokens").json["tokens"]


def test_a_token_is_told_once_and_the_store_has_a_digest_of_it(side: Any):
    made = make(side, "read")
    assert made["token"].startswith("vsa_")
    token = made.pop("token")
    assert listed(side) == [made]
    kept = [v for k, v in side.store._documents.items() if k[0] == api_tokens.KIND]
    assert len(kept) == 1
    assert token not in repr(side.store._documents)


def test_it_is_listed_with_all_that_is_known_of_it(side: Any):
    make(side, "devices", "read", days=30)
    (token,) = listed(side)
    assert token == {
        "id": token["id"],
        "name": "deploy",
        "scopes": ["read", "devices"],
        "madeBy": "admin token",
        "madeAt": "2026-11-18T11:06:40Z",
        "endsAt": "2026-12-18T11:06:40Z",
        "usedAt": None,
    }


@pytest.mark.parametrize(
    ("scope", "method", "path", "body", "status"),
    [
        ("read", "GET", "/presence", None, 200),
        ("read", "GET", "/audit", None, 200),
        ("read", "POST", "/rules/dry-run", {"rule": {}}, 200),
        ("read", "POST", "/devices", {"id": "desk"}, 403),
        ("read", "DELETE", "/firmware/releases/x", None, 403),
        ("devices", "POST", "/devices", {"id": "desk"}, 201),
        ("devices", "GET", "/devices", None, 403),
        ("devices", "DELETE", "/firmware/releases/x", None, 403),
        ("firmware", "DELETE", "/firmware/releases/x", None, 404),
        ("firmware", "POST", "/devices", {"id": "desk"}, 403),
        ("settings", "POST", "/devices", {"id": "desk"}, 403),
    ],
)
def test_it_is_good_for_its_scopes_and_nothing_else(
    side: Any, scope: str, method: str, path: str, body: Any, status: int
):
    token = make(side, scope)["token"]
    answer = side.ask(method, path, body, token=token)
    assert answer.status == status
    if status == 403:
        assert answer.code == "FORBIDDEN"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/tokens", {"name": "more", "scopes": ["read"]}),
        ("DELETE", "/tokens/x", None),
        ("DELETE", "/me/sessions/x", None),
    ],
)
def test_no_token_says_who_may_come_in(side: Any, method: str, path: str, body: Any):
    token = make(side, "read", "devices", "firmware", "settings")["token"]
    answer = side.ask(method, path, body, token=token)
    assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert answer.json["error"]["details"]["scope"] is None


def test_all_else_is_for_tokens_of_some_scope(make_side: Any):
    side = make_side(community=True)
    paths = side.ask("GET", "/openapi.json").json["paths"]
    assert {
        (method, path)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if operation.get("x-scope", "anybody's") is None
    } == {
        ("post", "/tokens"),
        ("delete", "/tokens/{token}"),
        ("delete", "/me/sessions/{session}"),
        ("post", "/privacy/erase"),
    }


def test_it_tells_who_it_is(side: Any):
    token = make(side, "read")["token"]
    me = side.ask("GET", "/me", token=token).json
    assert (me["actor"], me["scopes"]) == ("API token deploy", ["read"])
    assert (me["level"], me["csrfToken"]) == ("admin", None)


def test_it_has_no_sessions_and_sees_nobodys(side: Any, surf: Callable[..., Any]):
    surf(side).sign_in()
    token = make(side, "read")["token"]
    assert side.ask("GET", "/me/sessions", token=token).json == {"sessions": []}
    assert len(side.ask("GET", "/me/sessions").json["sessions"]) == 1


def test_the_audit_log_says_which_token_it_was(side: Any):
    token = make(side, "devices")["token"]
    side.ask("POST", "/devices", {"id": "desk"}, token=token)
    newest, made = side.ask("GET", "/audit").json["entries"]
    assert (newest["actor"], newest["action"]) == ("API token deploy", "device.create")
    assert (made["actor"], made["action"], made["target"]) == (
        "admin token",
        "token.create",
        "deploy",
    )
    assert made["details"] == {"name": "deploy", "scopes": ["devices"], "days": 90}


def test_an_expired_token_is_a_wrong_one(side: Any):
    token = make(side, "read", days=1)["token"]
    side.clock.advance(DAY_S - 1)
    assert side.ask("GET", "/presence", token=token).status == 200
    side.clock.advance(1)
    assert side.ask("GET", "/presence", token=token).code == "UNAUTHORIZED"
    assert side.metric("voicestatus_admin_auth_failures_total", reason="wrong") == 1


def test_one_without_an_end_has_none(side: Any):
    token = make(side, "read", days=None)["token"]
    side.clock.advance(20 * 365 * DAY_S)
    assert side.ask("GET", "/presence", token=token).status == 200
    assert listed(side)[0]["endsAt"] is None


def test_a_revoked_token_is_a_wrong_one_at_once_and_on_all_nodes(
    side: Any, make_side: Callable[..., Any]
):
    made = make(side, "read")
    other = make_side()
    other.store._documents = side.store._documents
    assert other.ask("GET", "/presence", token=made["token"]).status == 200
    answer = side.ask("DELETE", f"/tokens/{made['id']}")
    assert (answer.status, listed(side)) == (204, [])
    assert other.ask("GET", "/presence", token=made["token"]).code == "UNAUTHORIZED"
    newest = side.ask("GET", "/audit").json["entries"][0]
    assert (newest["action"], newest["target"]) == ("token.revoke", "deploy")


def test_what_is_not_there_cannot_be_revoked(side: Any):
    answer = side.ask("DELETE", "/tokens/none")
    assert (answer.status, answer.code) == (404, "TOKEN_NOT_FOUND")


def test_a_name_is_given_once(side: Any):
    make(side, "read")
    answer = side.ask("POST", "/tokens", {"name": "deploy", "scopes": ["read"]})
    assert (answer.status, answer.code) == (409, "TOKEN_EXISTS")


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"scopes": ["read"]}, "name"),
        ({"name": "", "scopes": ["read"]}, "name"),
        ({"name": "a\nb", "scopes": ["read"]}, "name"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["all"]}, "scopes[0]"),
        ({"name": "a", "scopes": ["read"], "days": 0}, "days"),
        ({"name": "a", "scopes": ["read"], "level": "admin"}, "level"),
    ],
)
def test_a_wrong_wish_is_refused(side: Any, body: Any, key: str):
    answer = side.ask("POST", "/tokens", body)
    assert (answer.status, answer.code) == (400, "VALIDATION_FAILED")
    assert answer.json["error"]["details"]["key"] == key


def test_its_last_use_is_written_down_now_and_then(side: Any):
    token = make(side, "read")["token"]
    side.ask("GET", "/presence", token=token)
    first = listed(side)[0]["usedAt"]
    assert first == "2026-11-18T11:06:40Z"
    side.clock.advance(sessions.NOTE_EVERY_S - 1)
    side.ask("GET", "/presence", token=token)
    assert listed(side)[0]["usedAt"] == first
    side.clock.advance(1)
    side.ask("GET", "/presence", token=token)
    assert listed(side)[0]["usedAt"] == "2026-11-18T11:11:40Z"


def test_a_disk_that_is_full_keeps_nobody_out(side: Any):
    token = make(side, "read")["token"]
    side.store.defect = StoreError("the disk is full")
    assert side.ask("GET", "/presence", token=token).status == 200


def test_guesses_at_api_tokens_wait_like_all_others(side: Any, request_bytes: Any):
    for _ in range(2):
        visitor = side.visit()
        visitor.send(request_bytes("GET", "/api/v1/presence", token="vsa_guess"))
    assert side.metric("voicestatus_admin_held") == 1
    side.clock.advance(60)
    assert visitor.answer.code == "UNAUTHORIZED"


def test_an_api_token_opens_no_session(side: Any, surf: Callable[..., Any]):
    token = make(side, "read", "devices")["token"]
    surfer = surf(side)
    assert surfer.sign_in(token).code == "UNAUTHORIZED"
    assert surfer.jar == {}


def test_a_token_is_in_no_repr_and_no_log(side: Any):
    from voicestatus.web.api.account import MadeApiToken
    from voicestatus.web.auth.pages import CameBack, TokenShown

    assert "vsa_1" not in repr(
        MadeApiToken("1", "x", (), "me", None, None, None, "vsa_1")
    )
    assert "s3cret" not in repr(TokenShown("s3cret"))
    assert "s3cret" not in repr(CameBack(state="s3cret", code="s3cret"))
    with capturedLogs() as logged:
        token = make(side, "read")["token"]
        side.ask("POST", "/devices", {}, token=token)
    assert token not in repr(logged)
