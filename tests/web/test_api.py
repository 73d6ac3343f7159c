"""The API's frame: who may, what is refused and how, whatever comes in."""

import json
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from voicestatus.web.site import BoundedRequest


def test_without_a_token_nothing_is_told(side: Any):
    answer = side.ask("GET", "/presence", token=None)
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/openapi.json", "/asyncapi.json"])
def test_the_descriptions_are_for_all(side: Any, path: str):
    assert side.ask("GET", path, token=None).status == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_written_in_any_case(
    side: Any, admin_token: str, scheme: str
):
    given = {"Authorization": f"{scheme} {admin_token}"}
    assert side.ask("GET", "/presence", token=None, headers=given).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "", 404, "NOT_FOUND"),
        ("GET", "/", 404, "NOT_FOUND"),
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("GET", "/devices/", 404, "NOT_FOUND"),
        ("GET", "/devices//explain", 404, "NOT_FOUND"),
        ("GET", "/devices/a/b/c", 404, "NOT_FOUND"),
        ("GET", "/devices/a%2Fb", 404, "NOT_FOUND"),
        ("GET", "/%ff", 404, "NOT_FOUND"),
        ("GET", "/devices/%00", 404, "DEVICE_NOT_FOUND"),
        ("DELETE", "/devices", 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/devices", 405, "METHOD_NOT_ALLOWED"),
        ("BREW", "/devices", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/devices/none", 404, "DEVICE_NOT_FOUND"),
    ],
)
def test_what_is_not_there_is_refused_in_the_one_shape(
    side: Any, method: str, path: str, status: int, code: str
):
    answer = side.ask(method, path)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["cache-control"] == "no-store"
    if status == 405:
        assert answer.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v2", "/api/v1%2Fdevices"])
def test_beside_the_api_there_is_nothing(side: Any, request_bytes: Any, path: str):
    visitor = side.visit()
    visitor.send(request_bytes("GET", path))
    assert (visitor.answer.status, visitor.answer.body) == (404, b"not found")


def test_a_head_tells_what_a_get_would_without_its_body(side: Any):
    got, head = side.ask("GET", "/presence"), side.ask("HEAD", "/presence")
    assert head.body == b""
    assert head.status == 200
    assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b"", None),
        (b"nonsense", None),
        (b"\xff", None),
        (b"[]", None),
        (b'{"id":"a"', None),
        (b'{"id":"a","rule":' + b'{"a":' * 5000, None),
        (b'{"id":"a","rule":{"minCount":' + b"1" * 5000 + b"}}", "rule"),
        ({}, "id"),
        ({"id": 1}, "id"),
        ({"id": "a b"}, "id"),
        ({"id": "a\n"}, "id"),
        ({"id": "conn-1"}, "id"),
        ({"id": "a" * 65}, "id"),
        ({"id": "a", "colour": "red"}, "colour"),
        ({"id": "a", "name": "x" * 65}, "name"),
        ({"id": "a", "tags": ["ok", ""]}, "tags[1]"),
        ({"id": "a", "tags": ["x"] * 33}, "tags"),
        ({"id": "a", "rule": []}, "rule"),
        ({"id": "a", "rule": {"users": []}}, "rule.users"),
        ({"id": "a", "rule": {"user": ["1"]}}, "rule.user"),
        ({"id": "a", "rule": {"quiet": [{"from": 1}]}}, "rule.quiet[0].from"),
    ],
)
def test_a_wrong_body_is_refused_with_the_key_that_is_wrong(
    side: Any, body: Any, key: str | None
):
    answer = side.ask("POST", "/devices", body)
    assert (answer.status, answer.code) == (400, "VALIDATION_FAILED")
    assert answer.json["error"]["details"].get("key") == key
    assert list(side.devices.devices()) == []


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("limit=1.0", "limit"),
        ("limit=null", "limit"),
        ("connected=null", "connected"),
        ("limit=1&limit=2", "limit"),
        ("limit=", "limit"),
        ("connected=yes", "connected"),
        ("colour=red", "colour"),
        ("%ff=%ff", "\ufffd"),
    ],
)
def test_a_wrong_query_is_refused_with_the_key_that_is_wrong(
    side: Any, query: str, key: str
):
    answer = side.ask("GET", f"/devices?{query}")
    assert (answer.status, answer.code) == (400, "VALIDATION_FAILED")
    assert answer.json["error"]["details"]["key"] == key


def test_where_no_query_is_declared_none_is_taken(side: Any):
    assert side.ask("GET", "/presence?x=1").status == 400


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", ""]
)
def test_a_body_that_does_not_say_that_it_is_json_is_refused(side: Any, kind: str):
    given = {"Content-Type": kind}
    answer = side.ask("POST", "/devices", {"id": "a"}, headers=given)
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_json_may_name_its_character_set(side: Any):
    given = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert side.ask("POST", "/devices", {"id": "a"}, headers=given).status == 201


def test_a_body_too_large_is_refused_in_the_one_shape(side: Any):
    answer = side.ask("POST", "/devices", b" " * 70_000)
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")
    assert answer.headers["connection"] == "close"


OPEN_FILES = Path("/dev/fd")
CHUNKED = b"POST /api/v1/devices HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        CHUNKED,
        CHUNKED.replace(b"Transfer-Encoding: chunked", b"Content-Length: 999999"),
    ],
)
def test_a_body_that_is_still_to_come_holds_no_file_open(side: Any, head: bytes):
    before = len([*OPEN_FILES.iterdir()])
    visitor = side.visit()
    visitor.send(head)
    assert len([*OPEN_FILES.iterdir()]) == before
    visitor.leave()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"a=%41&" * 10_000),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 10_000),
    ],
)
def test_nobody_parses_a_form(side: Any, request_bytes: Any, kind: str, body: bytes):
    parsed = []

    class Watched(BoundedRequest):
        def process(self) -> None:
            parsed.append(self.args)
            super().process()

    side.site.requestFactory = Watched
    headers = {"Content-Type": kind}
    answer = side.ask("POST", "/devices", body, token=None, headers=headers)
    assert (answer.status, parsed) == (401, [{}])
    assert side.ask("POST", "/devices", body, headers=headers).status == 415


def test_a_body_in_chunks_has_the_same_limit(side: Any):
    visitor = side.visit()
    visitor.send(CHUNKED)
    for _ in range(5):
        visitor.send(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
    assert visitor.answer.status == 413


@pytest.mark.parametrize(
    ("given", "named"),
    [("abc-1.2_3", "abc-1.2_3"), ("x" * 64, "x" * 64)],
)
def test_a_request_keeps_the_id_that_it_came_with(side: Any, given: str, named: str):
    answer = side.ask("GET", "/presence", headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] == named


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a,b", "<b>", "\xe9"])
def test_an_id_that_is_not_safe_is_replaced(side: Any, given: str):
    answer = side.ask("GET", "/presence", headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] == "r1"


@pytest.mark.parametrize("host", ["a..b", "\xff", "x" * 300, "[", ""])
def test_the_host_that_is_asked_for_does_not_matter(side: Any, host: str):
    assert side.ask("GET", "/presence", headers={"Host": host}).status == 200


def test_a_defect_of_ours_is_logged_and_its_text_stays_here(
    side: Any, nothing_is_left_behind: list[Any]
):
    def broken(rule: str) -> None:
        raise RuntimeError("the secret of the house")

    side.lights.explain = broken
    answer = side.ask("POST", "/rules/dry-run", {"rule": {}})
    assert (answer.status, answer.code) == (500, "INTERNAL")
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    (event,) = nothing_is_left_behind
    assert event["request_id"] == answer.headers["x-request-id"]
    nothing_is_left_behind.clear()


def test_a_store_that_does_not_answer_is_no_defect(side: Any):
    side.store.running = 0
    answer = side.ask("POST", "/devices", {"id": "a"})
    assert (answer.status, answer.code) == (503, "STORE_UNAVAILABLE")
    assert side.ask("GET", "/audit").status == 503
    side.store.running = 1


def test_what_was_begun_is_done_although_the_caller_has_gone(
    side: Any, request_bytes: Any
):
    gate = side.store.gate = Deferred()
    visitor = side.visit()
    visitor.send(request_bytes("POST", "/api/v1/devices", {"id": "a"}))
    visitor.leave()
    side.store.gate = None
    gate.callback(None)
    assert side.ask("GET", "/devices/a").status == 200
    (entry,) = side.ask("GET", "/audit").json["entries"]
    assert entry["target"] == "a"


def test_a_defect_of_ours_that_nobody_waits_for_is_logged(
    side: Any, request_bytes: Any, nothing_is_left_behind: list[Any]
):
    gate = side.store.gate = Deferred()
    side.store.defect = RuntimeError()
    visitor = side.visit()
    visitor.send(request_bytes("POST", "/api/v1/devices", {"id": "a"}))
    visitor.leave()
    gate.callback(None)
    (event,) = nothing_is_left_behind
    assert event["what"] == "POST /devices"
    nothing_is_left_behind.clear()
    side.store.gate = side.store.defect = None


def test_a_write_that_the_end_cuts_off_is_answered(side: Any, request_bytes: Any):
    side.store.gate = Deferred()
    visitor = side.visit()
    visitor.send(request_bytes("POST", "/api/v1/devices", {"id": "a"}))
    side.admin.stopService()
    assert (visitor.answer.status, visitor.answer.code) == (503, "STOPPING")
    side.store.gate = None
    side.admin.startService()


def test_who_asks_while_the_server_stops_is_told_so(side: Any):
    side.admin.stopService()
    answer = side.ask("POST", "/devices", {"id": "a"})
    assert (answer.status, answer.code) == (503, "STOPPING")
    assert side.ask("GET", "/presence", token="wrong").status == 503
    side.admin.startService()
    assert list(side.devices.devices()) == []


def test_presence_tells_counts_and_no_people(side: Any):
    assert side.ask("GET", "/presence").json == {"ready": False, "guilds": []}
    side.people_come()
    answer = side.ask("GET", "/presence")
    rooms = [("201", "room", 0, 1), ("202", "afk", 1, 0)]
    assert answer.json == {
        "ready": True,
        "guilds": [
            {
                "id": "101",
                "name": "The Guild",
                "knowledge": "known",
                "people": 1,
                "bots": 0,
                "channels": [
                    {
                        "id": id_,
                        "name": name,
                        "type": 2,
                        "parentId": None,
                        "position": position,
                        "people": people,
                        "bots": 0,
                    }
                    for id_, name, position, people in rooms
                ],
            }
        ],
    }
    assert b"302" not in answer.body


def test_a_dry_run_tells_what_a_rule_would_do(side: Any):
    side.people_come()
    told = side.ask("POST", "/rules/dry-run", {"rule": {"minCount": 2}}).json
    assert told["rule"] == {"minCount": 2}
    assert (told["light"]["on"], told["counted"], told["needed"]) == (False, 1, 2)
    assert told["guilds"] == {"known": 1} | {
        key: 0 for key in told["guilds"] if key != "known"
    }
    assert json.dumps(told).count("302") == 0
