"""The descriptions say what there is: no more, no less, and in valid form."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from voicestatus.core.rules import parse
from voicestatus.web.api.errors import STATUS
from voicestatus.web.api.resource import Api


@pytest.fixture
def side(make_side: Any) -> Any:
    return make_side(community=True)


@pytest.fixture
def openapi(side: Any) -> Any:
    return side.ask("GET", "/openapi.json").json


@pytest.fixture
def asyncapi(side: Any) -> Any:
    return side.ask("GET", "/asyncapi.json").json


def references(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        if isinstance(document.get("$ref"), str):
            yield document["$ref"]
        for value in document.values():
            yield from references(value)
    elif isinstance(document, list):
        for value in document:
            yield from references(value)


def find(document: Any, reference: str) -> Any:
    for key in reference.removeprefix("#/").split("/"):
        document = document[key]
    return document


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
def test_every_reference_leads_somewhere(name: str, request: pytest.FixtureRequest):
    document = request.getfixturevalue(name)
    found = set(references(document))
    assert found
    for reference in found:
        assert find(document, reference)


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
def test_every_schema_is_valid(name: str, request: pytest.FixtureRequest):
    schemas = request.getfixturevalue(name)["components"]["schemas"]
    for schema in schemas.values():
        jsonschema_rs.meta.validate(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
        )


def test_every_route_is_described_and_nothing_else_is(side: Any, openapi: Any):
    (api,) = [part for part in side.admin if isinstance(part, Api)]
    routed = {
        (method.lower(), rule.rule.replace("<", "{").replace(">", "}"))
        for rule in api._router.url_map.iter_rules()
        for method in rule.methods - {"HEAD"}
    }
    described = {
        (method, path) for path, item in openapi["paths"].items() for method in item
    }
    assert routed == described
    assert len(described) > 60


def test_the_whole_is_valid_openapi(openapi: Any):
    OPENAPI_31_VALIDATOR.validate(openapi)


def operations(openapi: Any) -> Iterator[tuple[str, Any]]:
    for path, item in openapi["paths"].items():
        for method, operation in item.items():
            yield f"{method} {path}", operation


def test_every_endpoint_says_all_that_is_to_say(openapi: Any):
    names = set()
    for name, operation in operations(openapi):
        names.add(operation["operationId"])
        assert operation["summary"]
        wants_token = operation.get("security") != []
        answers = operation["responses"]
        assert {"400", "500"} <= answers.keys(), name
        assert ({"401", "429"} <= answers.keys()) is wants_token, name
        assert ({"413", "415"} <= answers.keys()) is ("requestBody" in operation), name
        for status, answer in answers.items():
            assert "X-Request-Id" in answer["headers"]
            assert ("content" in answer) is (status != "204"), (name, status)
    assert len(names) == len([*operations(openapi)])


def test_refusals_that_are_declared_have_a_status(side: Any):
    for endpoint in side.admin.descriptions.endpoints:
        assert set(endpoint.refuses) <= STATUS.keys()


def test_every_example_is_right(openapi: Any):
    for schema in openapi["components"]["schemas"].values():
        whole = {"components": openapi["components"], **schema}
        for example in schema.get("examples", ()):
            jsonschema_rs.validate(whole, example)
        for each in schema.get("properties", {}).values():
            for example in each.get("examples", ()):
                jsonschema_rs.validate(
                    {"components": openapi["components"], **each}, example
                )


def test_every_body_has_an_example(openapi: Any):
    for name, operation in operations(openapi):
        if "requestBody" in operation:
            body = operation["requestBody"]
            schemas = [find(openapi, reference) for reference in references(body)]
            assert "examples" in json.dumps([body, schemas]), name


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"guilds": ["1"], "minCount": 2, "color": "#ABCDEF", "unknown": "off"},
        {"quiet": [{"days": ["mon"], "from": "23:00", "to": "07:00", "tz": "UTC"}]},
        {"onDelayS": 0.5, "streaming": True, "pattern": "blink", "brightness": 0},
    ],
)
def test_the_schema_of_a_rule_takes_what_the_rules_take(openapi: Any, rule: Any):
    schema = openapi["components"]["schemas"]["DryRun"]["properties"]["rule"]
    parse(rule)
    jsonschema_rs.validate(schema, rule)


def test_what_a_socket_says_is_as_it_is_described(side: Any, dial: Any, asyncapi: Any):
    from voicestatus.web import feed

    side.people_come()
    side.sign("desk", caps=("light",))
    browser = dial(side)
    browser.say({"type": "command", "id": "1", "device": "x", "command": {}})
    command = {"type": "reboot"}
    browser.say({"type": "command", "id": "2", "device": "desk", "command": command})
    _, here = side.sign()
    side.devices.depart(here)
    side.ask("PATCH", "/devices/desk", {"name": "Desk"})
    side.person(None)
    side.clock.advance(feed.BUNDLE_S)
    browser.pump.flush()
    told = {message["type"] for message in browser.heard}
    assert told == {"snapshot", "error", "result", "device", "presence"}
    hears = asyncapi["operations"]["adminHears"]["messages"]
    schemas = {
        "components": asyncapi["components"],
        "anyOf": [
            find(asyncapi, find(asyncapi, message["$ref"])["$ref"])["payload"]
            for message in hears
        ],
    }
    validator = jsonschema_rs.validator_for(schemas)
    for message in browser.heard:
        validator.validate(message)


def test_the_devices_words_are_described(asyncapi: Any):
    messages = asyncapi["channels"]["devices"]["messages"]
    assert {"Auth", "Ok", "NoAuth", "Lamp", "Hello", "Welcome", "Status"} <= set(
        messages
    )
    assert asyncapi["channels"]["devices"]["address"] == "/ws"
    assert asyncapi["channels"]["admin"]["address"] == "/admin/ws"
    assert msgspec.json.encode(asyncapi)
