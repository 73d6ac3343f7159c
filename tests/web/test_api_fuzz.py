"""Whatever comes in: never a 500, and every answer is as openapi.json says."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
)
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.test import iosim

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
KEYS = st.sampled_from(
    ["id", "name", "tags", "rule", "type", "seconds", "quiet", "users", "revoked"]
)
BODIES = JSON | st.dictionaries(KEYS, JSON, max_size=4) | st.binary(max_size=200)
WRITES = st.sampled_from(
    [
        ("POST", "/devices"),
        ("PATCH", "/devices/desk-lamp"),
        ("DELETE", "/devices/desk-lamp"),
        ("POST", "/devices/desk-lamp/commands"),
        ("POST", "/devices/desk-lamp/token"),
        ("POST", "/rules/dry-run"),
    ]
)
READS = st.sampled_from(["/devices", "/audit", "/presence", "/devices/desk-lamp"])
LATIN = st.characters(min_codepoint=33, max_codepoint=126)
many = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@many
@given(WRITES, BODIES)
def test_no_body_makes_a_defect(side: Any, write: tuple[str, str], body: object):
    method, path = write
    answer = side.ask(method, path, body)
    assert answer.status < 500
    if answer.status >= 400:
        assert answer.code


@many
@given(READS, st.text(LATIN, max_size=50))
def test_no_query_makes_a_defect(side: Any, path: str, query: str):
    answer = side.ask("GET", f"{path}?{query}")
    assert answer.status < 500
    if answer.status >= 400:
        assert answer.code


@many
@given(st.text(LATIN, max_size=30), st.text("ABCZ", min_size=1, max_size=5))
def test_no_path_and_no_method_makes_a_defect(side: Any, path: str, method: str):
    answer = side.ask(method, f"/{path}")
    assert 200 <= answer.status < 500
    if answer.status >= 400 and method != "HEAD":
        assert answer.code


@many
@given(st.binary(max_size=300))
def test_no_bytes_make_a_defect(
    side: Any, nothing_is_left_behind: list[Any], data: bytes
):
    visitor = side.visit()
    visitor.send(b"GET /api/v1/presence HTTP/1.1\r\n" + data + b"\r\n\r\n")
    assert b" 500 " not in visitor.transport.value()[:20]
    assert nothing_is_left_behind == []


@many
@given(st.text(max_size=100) | JSON)
def test_no_text_on_the_socket_makes_a_defect(side: Any, dial: Any, text: Any):
    browser = dial(side)
    browser.say(text)
    assert [told["error"]["code"] for told in browser.of("error")] == [
        "VALIDATION_FAILED"
    ]
    browser.sendClose()
    browser.pump.flush()


@many
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_no_bytes_on_the_socket_make_a_defect(
    side: Any, dial: Any, nothing_is_left_behind: list[Any], parts: list[bytes]
):
    browser = dial(side)
    for part in parts:
        if browser.closed is None:
            browser.transport.write(part)
            browser.pump.flush()
    assert nothing_is_left_behind == []
    browser.transport.loseConnection()
    browser.pump.flush()


@many
@given(st.binary(max_size=200))
def test_no_handshake_makes_a_defect(
    side: Any, nothing_is_left_behind: list[Any], data: bytes
):
    socket = side.admin.socket.buildProtocol(None)
    transport = iosim.FakeTransport(socket, isServer=True)
    socket.makeConnection(transport)
    socket.dataReceived(b"GET /admin/ws HTTP/1.1\r\n" + data + b"\r\n\r\n")
    assert nothing_is_left_behind == []
    socket.connectionLost(Failure(ConnectionDone()))


class Wsgi:
    """A side as a WSGI application: schemathesis asks it without a port."""

    def __init__(self, side: Any) -> None:
        self.side = side

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        query = environ["QUERY_STRING"]
        headers = {
            name[5:].replace("_", "-").title(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers["Content-Type"] = environ.get("CONTENT_TYPE") or ""
        path = environ["REQUEST_URI"].partition("?")[0].removeprefix("/api/v1")
        visitor = self.side.open(
            environ["REQUEST_METHOD"],
            f"{path}?{query}" if query else path,
            body,
            headers,
        )
        for _ in range(10):
            if visitor.answer.status:
                break
            self.side.clock.advance(10)  # a wrong token waits for its answer
        assert visitor.answer.status
        answer = visitor.answer
        visitor.leave()
        kept = [(k, v) for k, v in answer.headers.items() if k != "connection"]
        start_response(f"{answer.status} x", kept)
        return [answer.body]


NOT_SO = [
    # Rules know more than a schema can say, such as which time zones there are.
    positive_data_acceptance,
    # A query that is wrong by an empty list is no longer wrong when it is written down.
    negative_data_rejection,
]


@pytest.mark.parametrize("mode", GenerationMode)
def test_every_answer_is_as_described(
    make_side: Any, admin_token: str, mode: GenerationMode
):
    side = make_side(community=True)
    side.people_come()
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", Wsgi(side))
    schema.config.generation.with_security_parameters = False  # it is given here
    given_token = {"Authorization": f"Bearer {admin_token}"}
    for operation in schema.get_all_operations():

        @seed(1)
        @settings(
            deadline=None,
            max_examples=settings().max_examples // 4,
            database=None,
            suppress_health_check=[HealthCheck.filter_too_much],
        )
        @given(operation.ok().as_strategy(generation_mode=mode), st.booleans())
        def ask(case: Any, there: bool) -> None:
            for name in {"guild", "organization"} & (case.path_parameters or {}).keys():
                if there:
                    case.path_parameters[name] = "101"
            if side.devices.get("desk-lamp") is None:
                side.sign("desk-lamp", caps=("light",))
            case.call_and_validate(headers=given_token, excluded_checks=NOT_SO)

        with suppress(Unsatisfiable):  # where nothing is sent, nothing is wrong
            ask()
