"""The devices' endpoints, one after the other, over the real registry."""

import json
from typing import Any

import pytest

from voicestatus.web.api.devices import SLICE


def create(side: Any, id_: str, **more: object) -> Any:
    answer = side.ask("POST", "/devices", {"id": id_, **more})
    assert answer.status == 201, answer.body
    return answer.json


def ids(answer: Any) -> list[str]:
    return [device["id"] for device in answer.json["devices"]]


def test_a_device_that_is_enrolled_by_hand_gets_its_token_once(side: Any):
    made = create(side, "desk", name="Desk", tags=["office"], rule={"minCount": 2})
    assert made["token"].startswith("vsd_")
    shown = side.ask("GET", "/devices/desk")
    assert shown.json == made["device"]
    assert made["token"].encode() not in shown.body
    digest = next(iter(side.devices.devices())).record.tokens[0].digest
    assert digest.encode() not in shown.body


def test_a_device_is_shown_with_all_its_keys(side: Any):
    create(side, "desk", name="Desk", tags=["office"], rule={"minCount": 2})
    assert side.ask("GET", "/devices/desk").json == {
        "id": "desk",
        "name": "Desk",
        "tags": ["office"],
        "rule": {"minCount": 2},
        "enrolled": True,
        "approved": True,
        "revoked": False,
        "connected": False,
        "connectedSince": None,
        "protocol": 1,
        "chip": "",
        "board": "",
        "fw": "",
        "build": None,
        "caps": [],
        "boot": "",
        "path": "",
        "address": None,
        "firstSeen": None,
        "lastSeen": None,
        "rssiDbm": None,
        "heapFreeB": None,
        "uptimeS": None,
        "reconnects": 0,
        "rttMs": None,
        "tokens": [
            {"issuedAt": "2026-11-18T11:06:40Z", "firstUsedAt": None, "endsAt": None}
        ],
    }


def test_a_connected_device_shows_how_it_is(side: Any):
    side.sign("desk", chip="esp32", fw="1.4.0", build=14, caps=("light",))
    told = side.ask("GET", "/devices/desk").json
    assert told["connected"] is True
    assert told["connectedSince"] == "2026-11-18T11:06:40Z"
    assert (told["protocol"], told["chip"], told["build"]) == (2, "esp32", 14)
    assert (told["address"], told["path"]) == ("192.0.2.7", "/ws")


def test_two_devices_cannot_have_one_id(side: Any):
    create(side, "desk")
    answer = side.ask("POST", "/devices", {"id": "desk"})
    assert (answer.status, answer.code) == (409, "DEVICE_EXISTS")


def test_devices_are_listed_by_id_in_pages(side: Any):
    for id_ in ("c", "a", "b"):
        create(side, id_)
    side.sign()
    everybody = side.ask("GET", "/devices")
    assert ids(everybody)[:3] == ["a", "b", "c"]
    assert ids(everybody)[3].startswith("conn-")
    assert everybody.json["next"] is None
    first = side.ask("GET", "/devices?limit=2")
    assert (ids(first), first.json["next"]) == (["a", "b"], "b")
    rest = side.ask("GET", "/devices?limit=2&after=b")
    assert (ids(rest), rest.json["next"]) == (ids(everybody)[2:], None)


def test_a_page_has_a_hundred_devices_unless_more_are_asked_for(side: Any):
    for n in range(150):
        create(side, f"d{n:03}")
    page = side.ask("GET", "/devices")
    assert (len(ids(page)), page.json["next"]) == (100, "d099")
    assert len(ids(side.ask("GET", "/devices?limit=1000"))) == 150


def test_a_long_search_lets_the_reactor_turn(side: Any):
    for n in range(2 * SLICE + 1):
        create(side, f"d{n:04}")
    visitor = side.open("GET", "/devices?q=00&limit=1000", token="open-sesame")
    assert visitor.answer.status == 0
    side.ask("DELETE", "/devices/d0300")
    create(side, "d0400-new")
    for _ in range(2):
        side.clock.advance(0)
    told = ids(visitor.answer)
    assert told == [
        f"d{n:04}" for n in range(2 * SLICE + 1) if "00" in f"d{n:04}" and n != 300
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tag=office", ["desk"]),
        ("tag=offic", []),
        ("q=null", []),
        ("tag=null", []),
        ("connected=true", ["hall"]),
        ("connected=false", ["desk"]),
        ("q=DES", ["desk"]),
        ("q=lamp", ["desk"]),
        ("q=", ["desk", "hall"]),
        ("q=l&connected=true", ["hall"]),
    ],
)
def test_devices_are_found_by_tag_connection_and_name(
    side: Any, query: str, found: list[str]
):
    create(side, "desk", name="A Lamp", tags=["office"])
    side.sign("hall")
    assert ids(side.ask("GET", f"/devices?{query}")) == found


def test_a_patch_changes_what_it_names_and_nothing_else(side: Any):
    create(side, "desk", name="Desk", tags=["a"], rule={"minCount": 2})
    changed = side.ask("PATCH", "/devices/desk", {"tags": ["b"]}).json
    assert (changed["name"], changed["tags"]) == ("Desk", ["b"])
    assert changed["rule"] == {"minCount": 2}
    assert side.ask("PATCH", "/devices/desk", {}).json == changed
    assert side.ask("PATCH", "/devices/desk", {"rule": None}).json["rule"] is None


def test_a_rule_is_kept_in_its_shortest_form(side: Any):
    create(side, "desk")
    rule = {"minCount": 1, "streaming": True, "brightness": 255}
    assert side.ask("PATCH", "/devices/desk", {"rule": rule}).json["rule"] == {
        "streaming": True
    }


def test_a_new_rule_is_followed_at_once(side: Any):
    sign, _ = side.sign("desk")
    side.ask("PATCH", "/devices/desk", {"rule": {"guilds": ["101"]}})
    assert sign.follows == '{"guilds":["101"]}'


def test_a_revoked_device_has_to_go(side: Any):
    sign, _ = side.sign("desk")
    assert side.ask("PATCH", "/devices/desk", {"revoked": True}).json["revoked"] is True
    assert sign.dismissed
    answer = side.ask("POST", "/devices/desk/token")
    assert (answer.status, answer.code) == (409, "DEVICE_REVOKED")


def test_a_forgotten_device_is_gone(side: Any):
    create(side, "desk")
    answer = side.ask("DELETE", "/devices/desk")
    assert (answer.status, answer.body) == (204, b"")
    assert "content-length" not in answer.headers
    assert side.ask("DELETE", "/devices/desk").code == "DEVICE_NOT_FOUND"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PATCH", "", {}), ("DELETE", "", None), ("POST", "/token", None)],
)
def test_a_stranger_cannot_be_changed(side: Any, method: str, path: str, body: object):
    _, here = side.sign()
    answer = side.ask(method, f"/devices/{here.id}{path}", body)
    assert (answer.status, answer.code) == (409, "NOT_ENROLLED")


def test_a_new_token_is_told_once(side: Any):
    made = create(side, "desk")
    token = side.ask("POST", "/devices/desk/token").json["token"]
    assert token.startswith("vsd_")
    assert token != made["token"]
    assert len(side.ask("GET", "/devices/desk").json["tokens"]) == 2


def test_a_connected_device_is_explained_with_what_it_was_told(side: Any):
    side.people_come()
    side.sign("desk")
    side.ask("PATCH", "/devices/desk", {"rule": {"minCount": 2}})
    told = side.ask("GET", "/devices/desk/explain").json
    assert (told["device"], told["connected"], told["source"]) == (
        "desk",
        True,
        "device",
    )
    assert told["shown"]["count"] == 2
    assert told["frames"] == [{"at": "2026-11-18T11:06:40Z", "text": "1"}]
    assert (told["counted"], told["needed"], told["wanted"]) == (1, 2, False)
    assert told["rule"] == {"minCount": 2}


def test_a_device_that_is_away_is_explained_by_its_rule(side: Any):
    side.people_come()
    create(side, "desk")
    told = side.ask("GET", "/devices/desk/explain").json
    assert (told["connected"], told["source"]) == (False, "default")
    assert (told["shown"], told["frames"]) == (None, [])
    assert told["light"]["on"] is True


def test_a_command_goes_to_its_device(side: Any):
    sign, _ = side.sign("desk")
    answer = side.ask(
        "POST", "/devices/desk/commands", {"type": "identify", "seconds": 5}
    )
    assert (answer.status, answer.json) == (202, {"device": "desk", "type": "identify"})
    assert json.loads(sign.texts[-1]) == {"type": "identify", "seconds": 5}


def test_the_keys_of_a_config_are_passed_on(side: Any):
    sign, _ = side.sign("desk")
    config = {"type": "config", "brightness": 10, "deep": {"er": [1]}}
    assert side.ask("POST", "/devices/desk/commands", config).status == 202
    assert json.loads(sign.texts[-1]) == config


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ({}, "type"),
        ({"type": "dance"}, "type"),
        ({"type": "identify", "seconds": 0}, "seconds"),
        ({"type": "identify", "seconds": 5, "minutes": 1}, "minutes"),
        ({"type": "reboot", "now": True}, "now"),
    ],
)
def test_a_wrong_command_is_refused_with_its_key(side: Any, command: Any, key: str):
    side.sign("desk")
    answer = side.ask("POST", "/devices/desk/commands", command)
    assert (answer.status, answer.code) == (400, "VALIDATION_FAILED")
    assert answer.json["error"]["details"]["key"] == key


def test_a_command_that_is_too_long_is_refused(side: Any):
    side.sign("desk")
    command = {"type": "config", "text": "x" * 2000}
    answer = side.ask("POST", "/devices/desk/commands", command)
    assert (answer.status, answer.code) == (400, "INVALID_COMMAND")


def test_a_device_that_is_away_or_old_takes_no_command(side: Any):
    create(side, "desk")
    _, stranger = side.sign()
    for id_, code in (
        ("desk", "DEVICE_OFFLINE"),
        (stranger.id, "COMMAND_NOT_SUPPORTED"),
    ):
        answer = side.ask("POST", f"/devices/{id_}/commands", {"type": "reboot"})
        assert (answer.status, answer.code) == (409, code)
    assert len(side.ask("GET", "/audit").json["entries"]) == 1
