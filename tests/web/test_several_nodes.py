"""The admin sides of two nodes over one store: each shows and commands all devices."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from voicestatus.cluster.messages import NodeGone
from voicestatus.core.errors import Refusal, StoreError
from voicestatus.devices.news import BUNDLE_S
from voicestatus.store.documents import FateUnknown
from voicestatus.web.feed import PAGE
from voicestatus.web.watch import LOOK_EVERY_S

IDENTIFY = {"type": "identify", "seconds": 5}


@pytest.fixture
def here(air: Any, make_side: Callable[..., Any]) -> Any:
    """The node that is asked."""
    return make_side(messages=air.node("here"))


@pytest.fixture
def there(air: Any, here: Any, make_side: Callable[..., Any]) -> Any:
    """The node where the devices are."""
    return make_side(messages=air.node("there"), store=here.store, clock=here.clock)


@pytest.fixture
def sign(there: Any) -> Any:
    """A device that is connected there."""
    sign, _ = there.sign("desk", fw="1.0", caps=("light",))
    there.clock.advance(BUNDLE_S)
    return sign


def pass_time(side: Any, seconds: float = 1.0) -> None:
    for _ in range(round(seconds / BUNDLE_S)):
        side.clock.advance(BUNDLE_S)
        for browser in side.browsers:
            browser.pump.flush()


def listed(side: Any, query: str = "") -> dict[str, Any]:
    devices = side.ask("GET", f"/devices{query}").json["devices"]
    return {device["id"]: device for device in devices}


# ---- what is asked once ------------------------------------------------------------


def test_a_device_is_shown_as_its_node_shows_it(here: Any, there: Any, sign: Any):
    shown = here.ask("GET", "/devices/desk").json
    assert shown == there.ask("GET", "/devices/desk").json
    assert (shown["node"], shown["connected"], shown["protocol"]) == ("there", True, 2)


def test_a_device_that_is_away_has_no_node(here: Any, there: Any, sign: Any):
    here.ask("POST", "/devices", {"id": "away"})
    for side in (here, there):
        pass_time(side)
        assert "node" not in side.ask("GET", "/devices/away").json


def test_the_list_has_the_devices_of_all_nodes(here: Any, there: Any, sign: Any):
    here.sign("attic")
    there.sign()
    pass_time(here)
    found = listed(here)
    assert found == listed(there)
    (stranger,) = (id_ for id_ in found if id_.startswith("conn-"))
    assert found.keys() == {"attic", "desk", stranger}
    assert [found[id_]["node"] for id_ in ("attic", "desk")] == ["here", "there"]
    assert not found[stranger]["enrolled"]


def test_a_list_can_be_asked_page_by_page_and_for_some(
    here: Any, there: Any, sign: Any
):
    here.sign("attic")
    here.ask("POST", "/devices", {"id": "away"})
    pass_time(here)
    page = here.ask("GET", "/devices?limit=2").json
    assert [device["id"] for device in page["devices"]] == ["attic", "away"]
    assert list(listed(here, f"?after={page['next']}")) == ["desk"]
    assert list(listed(here, "?connected=true")) == ["attic", "desk"]
    assert list(listed(here, "?connected=false")) == ["away"]


@pytest.mark.parametrize("why", [NodeGone("x"), FateUnknown("x"), StoreError("x")])
def test_the_list_names_those_of_a_node_that_does_not_answer(
    here: Any, there: Any, air: Any, why: Exception
):
    there.sign("desk")
    there.sign()
    pass_time(here)
    air.nodes["there"].no_answer = why
    found = listed(here)
    assert [device["connected"] for device in found.values()] == [True, True]
    assert found["desk"]["node"] == "there"
    assert found["desk"]["connectedSince"] is None


def test_a_command_is_sent_by_the_node_that_has_the_device(
    here: Any, there: Any, sign: Any
):
    answer = here.ask("POST", "/devices/desk/commands", IDENTIFY)
    assert (answer.status, answer.json["type"]) == (202, "identify")
    assert json.loads(sign.texts[-1]) == IDENTIFY
    (entry,) = here.ask("GET", "/audit").json["entries"]
    assert (entry["action"], entry["target"]) == ("device.command", "desk")


def test_what_a_device_cannot_do_is_refused_as_if_it_were_here(here: Any, there: Any):
    _, stranger = there.sign()
    pass_time(here)
    answer = here.ask("POST", f"/devices/{stranger.id}/commands", IDENTIFY)
    assert (answer.status, answer.code) == (409, "COMMAND_NOT_SUPPORTED")


@pytest.mark.parametrize(
    ("device", "status", "code"),
    [("desk", 409, "DEVICE_OFFLINE"), ("nobody", 404, "DEVICE_NOT_FOUND")],
)
def test_a_device_that_is_nowhere_is_told_so(
    here: Any, there: Any, device: str, status: int, code: str
):
    there.ask("POST", "/devices", {"id": "desk"})
    pass_time(here)
    answer = here.ask("POST", f"/devices/{device}/commands", IDENTIFY)
    assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize(
    ("why", "status", "code", "noted"),
    [
        (NodeGone("x"), 503, "NODE_UNREACHABLE", 0),
        (FateUnknown("x"), 504, "FATE_UNKNOWN", 1),
        (Refusal("NOT_SERVED", "of another version"), 503, "NODE_UNREACHABLE", 0),
        (Refusal("STORE_UNAVAILABLE", "x"), 503, "STORE_UNAVAILABLE", 0),
    ],
)
def test_it_is_told_whether_a_command_may_have_happened(
    here: Any,
    there: Any,
    sign: Any,
    air: Any,
    why: Exception,
    status: int,
    code: str,
    noted: int,
):
    air.nodes["there"].no_answer = why
    answer = here.ask("POST", "/devices/desk/commands", IDENTIFY)
    assert (answer.status, answer.code) == (status, code)
    assert len(here.ask("GET", "/audit").json["entries"]) == noted


def test_what_a_node_of_another_version_answers_does_no_harm(
    here: Any, there: Any, sign: Any, air: Any
):
    async def another(body: bytes) -> bytes:
        return b'[{"id":"desk"}]'

    air.nodes["there"].serves["device-show"] = another
    assert here.ask("GET", "/devices/desk").code == "NODE_UNREACHABLE"
    assert listed(here)["desk"]["connected"]


def test_who_cannot_be_looked_for_is_not_said_to_be_away(
    here: Any, there: Any, sign: Any, air: Any
):
    here.sign("attic")
    air.nodes["here"].problem = StoreError("away")
    for path in ("/devices", "/devices/desk", "/devices/desk/explain"):
        assert here.ask("GET", path).code == "STORE_UNAVAILABLE"
    # A device that is here needs nobody else.
    assert here.ask("GET", "/devices/attic").status == 200
    assert here.ask("POST", "/devices/attic/commands", IDENTIFY).status == 202


def test_a_light_is_explained_by_the_node_that_shows_it(
    here: Any, there: Any, sign: Any
):
    there.people_come()
    why = here.ask("GET", "/devices/desk/explain").json
    assert why == there.ask("GET", "/devices/desk/explain").json
    assert (why["counted"], why["connected"]) == (1, True)
    assert why["frames"]


def test_a_change_is_shown_at_once_and_soon_everywhere(
    here: Any, there: Any, sign: Any
):
    changed = here.ask("PATCH", "/devices/desk", {"rule": {"minCount": 2}}).json
    assert changed["rule"] == {"minCount": 2}
    assert (changed["connected"], changed["node"]) == (True, "there")
    pass_time(here)
    assert json.loads(sign.follows) == {"minCount": 2}
    assert here.ask("GET", "/devices/desk").json == changed


def test_a_new_token_is_sent_by_the_node_that_has_the_device(
    here: Any, there: Any, sign: Any
):
    token = here.ask("POST", "/devices/desk/token").json["token"]
    assert json.loads(sign.texts[-1])["token"] == token
    pass_time(here)
    assert there.devices.judge(token.encode()).id == "desk"


def test_a_new_token_that_cannot_be_sent_is_told_all_the_same(
    here: Any, there: Any, sign: Any, air: Any
):
    air.nodes["there"].no_answer = NodeGone("x")
    assert here.ask("POST", "/devices/desk/token").status == 200


# ---- the live channel --------------------------------------------------------------


def test_the_snapshot_has_the_devices_of_all_nodes(
    here: Any, there: Any, sign: Any, dial: Any
):
    here.sign("attic")
    pass_time(here)
    (snapshot,) = dial(here).of("snapshot")
    assert snapshot["devices"] == list(listed(there).values())
    assert snapshot["more"] is False


def test_what_happens_at_another_node_is_told_live(here: Any, there: Any, dial: Any):
    browser = dial(here)
    _, at = there.sign("desk")
    pass_time(here)
    there.ask("PATCH", "/devices/desk", {"name": "Hall"})
    pass_time(here)
    told = browser.of("device")[-1]["device"]
    assert (told["name"], told["connected"], told["node"]) == ("Hall", True, "there")
    there.devices.depart(at)
    pass_time(here)
    told = browser.of("device")[-1]["device"]
    assert (told["id"], told["connected"]) == ("desk", False)
    assert "node" not in told
    there.ask("DELETE", "/devices/desk")
    pass_time(here)
    assert browser.of("device")[-1] == {"type": "device", "id": "desk", "gone": True}


def test_a_stranger_of_another_node_comes_and_goes(here: Any, there: Any, dial: Any):
    browser = dial(here)
    _, at = there.sign()
    pass_time(here)
    assert browser.of("device")[-1]["device"]["enrolled"] is False
    there.devices.depart(at)
    pass_time(here)
    assert browser.of("device")[-1] == {"type": "device", "id": at.id, "gone": True}


def test_the_devices_of_a_node_that_died_are_told_as_away(
    here: Any, there: Any, sign: Any, air: Any, dial: Any
):
    browser = dial(here)
    pass_time(here, 2 * LOOK_EVERY_S)
    assert browser.of("device") == []
    air.places.clear()
    pass_time(here, 2 * LOOK_EVERY_S)
    (told,) = browser.of("device")
    assert (told["device"]["id"], told["device"]["connected"]) == ("desk", False)


def test_devices_that_a_redis_forgot_are_back_when_it_knows_them_again(
    here: Any, there: Any, sign: Any, air: Any, dial: Any
):
    browser = dial(here)
    places = dict(air.places)
    air.places.clear()
    pass_time(here, LOOK_EVERY_S + 1)
    air.places |= places
    pass_time(here, LOOK_EVERY_S + 1)
    connected = [told["device"]["connected"] for told in browser.of("device")]
    assert connected == [False, True]


def test_while_redis_is_away_what_is_here_is_told(
    here: Any, there: Any, sign: Any, air: Any, dial: Any
):
    _, at = here.sign("attic")
    air.nodes["here"].problem = StoreError("away")
    browser = dial(here)
    (snapshot,) = browser.of("snapshot")
    assert [device["id"] for device in snapshot["devices"]] == ["attic", "desk"]
    here.devices.depart(at)
    pass_time(here)
    assert browser.of("device")[-1]["device"]["connected"] is False
    air.nodes["here"].problem = None
    pass_time(here, LOOK_EVERY_S + 1)
    told = browser.of("device")[-1]["device"]
    assert (told["id"], told["connected"]) == ("desk", True)


def test_many_that_come_elsewhere_are_told_each(here: Any, there: Any, dial: Any):
    browser = dial(here)
    ids = {there.sign(f"d{n:03}")[1].id for n in range(2 * PAGE)}
    pass_time(here, 5)
    told = [told["device"] for told in browser.of("device") if "device" in told]
    assert {device["id"] for device in told if device["connected"]} == ids


def test_no_other_node_is_asked_while_nobody_looks(
    here: Any, there: Any, sign: Any, air: Any, dial: Any
):
    browser = dial(here)
    browser.sendClose()
    browser.pump.flush()
    air.nodes["there"].asked.clear()
    there.sign("attic")
    pass_time(here, 2 * LOOK_EVERY_S)
    assert air.nodes["there"].asked == []
