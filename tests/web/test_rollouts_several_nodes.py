"""Rollouts by the admin sides of two nodes: one conducts them, both are asked."""

from collections.abc import Callable
from typing import Any

import pytest

from voicestatus.cluster.messages import NodeGone
from voicestatus.core.errors import Refusal
from voicestatus.devices.news import BUNDLE_S
from voicestatus.ota.downloads_everywhere import NEWS_WITHIN_S
from voicestatus.ota.seat import LOST_AFTER_S
from voicestatus.store.documents import FateUnknown, Fence

PATH = "/firmware/rollouts"
CAPS = ("light", "ota-ed25519")


@pytest.fixture
def here(air: Any, make_side: Callable[..., Any]) -> Any:
    """The node that is asked."""
    return make_side(messages=air.node("here"))


@pytest.fixture
def there(air: Any, here: Any, make_side: Callable[..., Any]) -> Any:
    """The node that conducts the rollouts."""
    there = make_side(messages=air.node("there"), store=here.store, clock=here.clock)
    there.several.seat.begin(Fence(-1, 1))
    pass_time(there, 3)
    return there


@pytest.fixture
def release(here: Any, there: Any, make_files: Any, make_form: Any) -> str:
    headers, body = make_form(make_files() | {"legacy": "true"})
    answer = here.ask("POST", "/firmware/releases", body, headers=headers)
    assert answer.status == 201
    return str(answer.json["id"])


@pytest.fixture
def plan(here: Any, there: Any, release: str) -> Any:
    """A plan for two devices that may have it, one of each node."""
    for side, id_ in ((here, "desk"), (there, "hall")):
        side.sign(id_, chip="esp32", build=13, caps=CAPS)
    here.sign("current", chip="esp32", build=14, caps=CAPS)
    pass_time(here, 2)
    return {"releases": [release]}


def pass_time(side: Any, seconds: float = 1.0) -> None:
    for _ in range(round(seconds / BUNDLE_S)):
        side.clock.advance(BUNDLE_S)
        for browser in side.browsers:
            browser.pump.flush()


def asks(side: Any, path: str) -> Any:
    """Let an old device ask with its chip's own updater."""
    said = {
        "User-Agent": "ESP32-http-Update",
        "x-ESP32-STA-MAC": "A0:20:A6:00:00:01",
        "x-ESP32-free-space": "1609728",
        "x-ESP32-sketch-size": "486560",
        "x-ESP32-mode": "sketch",
        "x-ESP32-version": "1.0",
    }
    lines = [f"GET {path} HTTP/1.0", *(f"{name}: {it}" for name, it in said.items())]
    visitor = side.visit()
    visitor.send("\r\n".join([*lines, "", ""]).encode())
    pass_time(side, NEWS_WITHIN_S + 1)
    return visitor.answer


def started(side: Any, plan: Any) -> str:
    answer = side.ask("POST", PATH, plan)
    assert answer.status == 201, answer.body
    pass_time(side, 2)
    return f"{PATH}/{answer.json['id']}"


def test_both_nodes_answer_alike(here: Any, there: Any, plan: Any):
    rollout = started(here, plan)
    for path in (
        *(PATH, f"{PATH}?limit=1", rollout, f"{rollout}/devices"),
        *(f"{rollout}/devices?limit=1", f"{rollout}/devices?phase=skipped"),
    ):
        answer = here.ask("GET", path)
        assert answer.status == 200
        assert answer.json == there.ask("GET", path).json, path
    tried = here.ask("POST", f"{PATH}/dry-run?limit=2", plan).json
    assert tried == there.ask("POST", f"{PATH}/dry-run?limit=2", plan).json


def test_what_is_done_at_one_node_is_written_down_with_it(
    here: Any, there: Any, plan: Any
):
    rollout = started(here, plan)
    for order, status in (
        ("pause", "paused"),
        ("resume", "running"),
        ("abort", "aborted"),
    ):
        answer = here.ask("POST", f"{rollout}/{order}")
        assert (answer.status, answer.json["status"]) == (200, status)
    answer = here.ask("POST", f"{rollout}/rollback")
    assert (answer.status, answer.json["rollouts"]) == (200, [])
    entries = there.ask("GET", "/audit").json["entries"]
    actions = [entry["action"] for entry in reversed(entries)]
    told = [action for action in actions if action.startswith("rollout.")]
    assert told == [
        f"rollout.{order}" for order in ("start", "pause", "resume", "abort")
    ] + ["rollout.rollback"]


def test_a_device_that_failed_gets_another_chance_from_any_node(
    here: Any, there: Any, plan: Any
):
    rollout = started(here, plan)
    answer = here.ask("POST", f"{rollout}/retry", {"devices": ["nobody"]})
    assert (answer.status, answer.code) == (409, "DEVICE_NOT_IN_ROLLOUT")
    answer = here.ask("POST", f"{rollout}/retry", {"devices": ["current"]})
    assert answer.status == 200


def test_a_refusal_comes_with_all_that_it_says(here: Any, there: Any, plan: Any):
    asked = [
        ("GET", f"{PATH}/none", None),
        ("GET", f"{PATH}?after=none", None),
        ("POST", PATH, {"releases": ["none"]}),
        (
            "POST",
            "/devices/current/commands",
            {"type": "ota", "release": plan["releases"][0]},
        ),
    ]
    for method, path, body in asked:
        answers = [side.ask(method, path, body) for side in (here, there)]
        errors = [answer.json["error"] | {"requestId": ""} for answer in answers]
        assert answers[0].status in {400, 404, 409}
        assert errors[0] == errors[1]


def test_a_device_is_updated_from_any_node(here: Any, there: Any, plan: Any):
    order = {"type": "ota", "release": plan["releases"][0]}
    for id_ in ("desk", "hall"):
        answer = here.ask("POST", f"/devices/{id_}/commands", order)
        assert answer.status == 202, answer.body
    pass_time(here, 3)
    phases = {
        device["device"]: device["phase"]
        for rollout in here.ask("GET", PATH).json["rollouts"]
        for device in here.ask("GET", f"{PATH}/{rollout['id']}/devices").json["devices"]
    }
    assert phases == {"desk": "offered", "hall": "offered"}


@pytest.mark.parametrize(
    ("why", "status", "code"),
    [
        (NodeGone("x"), 503, "NODE_UNREACHABLE"),
        (Refusal("NOT_SERVED", "of another version"), 503, "NODE_UNREACHABLE"),
        (FateUnknown("x"), 504, "FATE_UNKNOWN"),
        (Refusal("STORE_UNAVAILABLE", "x"), 503, "STORE_UNAVAILABLE"),
    ],
)
def test_a_node_that_does_not_answer_is_told_of(
    here: Any, there: Any, air: Any, plan: Any, why: Exception, status: int, code: str
):
    air.nodes["there"].no_answer = why
    answer = here.ask("POST", PATH, plan)
    assert (answer.status, answer.code) == (status, code)


def test_while_nobody_conducts_them_it_is_said_when_to_ask_again(
    here: Any, there: Any, plan: Any
):
    started(here, plan)
    there.several.seat.end()
    for method, body in (("GET", None), ("POST", plan)):
        answer = here.ask(method, PATH, body)
        assert (answer.status, answer.code) == (503, "NODE_UNREACHABLE")
        assert answer.headers["retry-after"] == "5"
    release = f"/firmware/releases/{plan['releases'][0]}"
    assert here.ask("DELETE", release).code == "RELEASE_IN_USE", "as it was last known"
    here.several.seat.begin(Fence(-1, 2))
    assert here.ask("GET", PATH).code == "NODE_UNREACHABLE"
    pass_time(here, LOST_AFTER_S)
    assert here.ask("GET", PATH).status == 200


def test_the_live_channel_of_each_node_tells_of_rollouts(
    here: Any, there: Any, plan: Any, dial: Any
):
    browser = dial(here)
    rollout = started(there, plan)
    there.ask("POST", f"{rollout}/pause")
    pass_time(here, 1)
    statuses = [told["rollout"]["status"] for told in browser.of("rollout")]
    assert statuses[-1] == "paused"
    needed = [told["release"]["needed"] for told in browser.of("release")]
    assert needed == [True]
    late = dial(here)
    (shown,) = late.of("snapshot")[0]["rollouts"]
    assert (shown["status"], shown["id"]) == ("paused", rollout.rpartition("/")[2])


# ---- what devices ask by themselves --------------------------------------------------


def test_an_old_device_may_ask_any_node_for_its_release(
    here: Any, there: Any, plan: Any
):
    there.sign("hall", chip="esp32", build=13, caps=CAPS)
    here.macs["a0:20:a6:00:00:01"] = "hall"
    assert asks(here, "/ota/check").status == 304, "no rollout is alive"
    started(there, plan)
    answer = asks(here, "/ota/check")
    assert (answer.status, answer.headers["content-type"]) == (
        200,
        "application/octet-stream",
    )
    here.macs["a0:20:a6:00:00:01"] = "current"
    assert asks(here, "/ota/check").status == 304
    there.several.seat.end()
    answer = asks(here, "/ota/check")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


def test_a_probe_of_one_node_is_answered_by_another(here: Any, there: Any, air: Any):
    path = there.ota.downloads.expect_probe("conn-1")
    assert asks(here, "/ota/images/probe/" + "0" * 43).status == 404
    air.nodes["there"].no_answer = NodeGone("x")
    other = there.ota.downloads.expect_probe("conn-2")
    assert asks(here, other).status == 503
    air.nodes["there"].no_answer = None
    assert asks(here, path).status == 304
    assert asks(here, path).status == 404
