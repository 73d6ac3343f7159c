"""Rollouts over the API and the live channel."""

from typing import Any

import pytest

from voicestatus.core.rollback import Undo
from voicestatus.devices.wire import OtaReport
from voicestatus.ota.rollout_views import RolledBack
from voicestatus.web.rollout_views import rolled_back_of

PATH = "/firmware/rollouts"
CAPS = ("light", "ota-ed25519")


@pytest.fixture
def release(side: Any, make_files: Any, make_form: Any) -> str:
    """Publish build 14 for the ESP32, for old signs, too."""
    side.clock.advance(5)
    headers, body = make_form(make_files() | {"legacy": "true"})
    answer = side.ask("POST", "/firmware/releases", body, headers=headers)
    assert answer.status == 201
    id_: str = answer.json["id"]
    return id_


@pytest.fixture
def signs(side: Any) -> Any:
    """Three signs that may have it, one that runs it, one of another kind."""
    made = {
        f"sign-{n}": side.sign(f"sign-{n}", chip="esp32", build=13, caps=CAPS)
        for n in (1, 2, 3)
    }
    side.sign("current", chip="esp32", build=14, caps=CAPS)
    side.sign("other", chip="esp8266", build=13, caps=CAPS)
    return made


@pytest.fixture
def begin(side: Any, release: str, signs: Any) -> Any:
    def begin(**plan: Any) -> Any:
        given = {"releases": [release], "stages": [{"count": 1}, {"percent": 100}]}
        answer = side.ask("POST", PATH, given | plan)
        assert answer.status == 201, answer.body
        side.clock.advance(0)
        return answer.json

    return begin


def offered(signs: Any) -> list[str]:
    return [
        id_
        for id_, (sign, _) in signs.items()
        if any(b'"type":"ota"' in text for text in sign.texts)
    ]


def fail(side: Any, signs: Any, release: str) -> str:
    """Let the sign that was offered a release say that it failed; return its id."""
    (device,) = offered(signs)
    report = OtaReport(release=release, phase="failed", error="flash is full")
    side.devices.report(signs[device][1], report)
    side.clock.advance(0)
    return device


def actions(side: Any) -> list[tuple[str, str]]:
    entries = side.ask("GET", "/audit").json["entries"]
    return [(entry["action"], entry["target"]) for entry in entries]


# ---- beginning -----------------------------------------------------------------------


def test_a_rollout_offers_to_its_first_stage_alone(
    side: Any, begin: Any, signs: Any, release: str
):
    begun = begin(name="autumn")
    assert (begun["status"], begun["name"]) == ("running", "autumn")
    assert begun["releases"] == [release]
    assert [stage["size"] for stage in begun["stages"]] == [1, 3]
    assert len(offered(signs)) == 1
    assert actions(side)[0] == ("rollout.start", release)
    (entry,) = side.ask("GET", "/audit?limit=1").json["entries"]
    assert entry["details"]["name"] == "autumn"
    assert side.ask("GET", f"/firmware/releases/{release}").json["needed"] is True
    answer = side.ask("DELETE", f"/firmware/releases/{release}")
    assert answer.code == "RELEASE_IN_USE"


def test_a_dry_run_names_all_in_the_order_of_their_turns_and_does_nothing(
    side: Any, release: str, signs: Any
):
    plan = {"releases": [release], "stages": [{"count": 1}, {"percent": 100}]}
    told = side.ask("POST", f"{PATH}/dry-run", plan).json
    assert told["stages"] == [{"size": 1, "adds": 1}, {"size": 3, "adds": 2}]
    assert told["skippedBy"] == {"current": 1, "wrong_chip": 1}
    assert [one["stage"] for one in told["devices"]] == [0, 1, 1, None, None]
    assert told["devices"][3] == {
        "device": "current",
        "release": release,
        "stage": None,
        "why": "current",
        "reason": "runs it already",
    }
    assert not offered(signs)
    assert side.ask("GET", PATH).json == {"rollouts": [], "next": None}
    assert not [action for action, _ in actions(side) if "rollout" in action]
    first = side.ask("POST", f"{PATH}/dry-run?limit=2", plan).json
    rest = side.ask("POST", f"{PATH}/dry-run?after={first['next']}", plan).json
    assert first["devices"] + rest["devices"] == told["devices"]
    assert rest["next"] is None
    gone = side.ask("POST", f"{PATH}/dry-run?after=nobody", plan)
    assert (gone.code, gone.json["error"]["details"]["key"]) == (
        "VALIDATION_FAILED",
        "after",
    )


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"releases": []}, "releases"),
        ({"stages": [{"percent": 0}]}, "stages[0].percent"),
        ({"stages": [{"count": 1, "percent": 1}]}, "stages[0]"),
        ({"target": {"tag": ["x"]}}, "target.tag"),
        ({"ratePerMinute": 0}, "ratePerMinute"),
        ({"windows": [{"from": "1", "to": "2", "tz": "UTC"}]}, "windows[0]"),
        ({"haltAt": {"percent": 101}}, "haltAt.percent"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_with_a_plan_is_named(
    side: Any, release: str, change: Any, key: str
):
    for path in (PATH, f"{PATH}/dry-run"):
        answer = side.ask("POST", path, {"releases": [release]} | change)
        assert (answer.status, answer.code) == (400, "VALIDATION_FAILED")
        assert answer.json["error"]["details"]["key"] == key


def test_a_release_that_there_is_not_is_refused(side: Any, release: str):
    answer = side.ask("POST", PATH, {"releases": ["esp32-1-00000000"]})
    assert (answer.status, answer.code) == (404, "RELEASE_NOT_FOUND")


# ---- looking -------------------------------------------------------------------------


def test_rollouts_are_listed_page_by_page_the_newest_first(side: Any, begin: Any):
    ids = []
    for _ in range(3):
        ids.append(begin()["id"])
        side.clock.advance(1)
    page = side.ask("GET", f"{PATH}?limit=2").json
    assert [one["id"] for one in page["rollouts"]] == ids[:0:-1]
    assert page["next"] == ids[1]
    page = side.ask("GET", f"{PATH}?after={ids[1]}").json
    assert [one["id"] for one in page["rollouts"]] == ids[:1]
    assert page["next"] is None


def test_a_report_says_who_failed_and_why_and_who_was_skipped(
    side: Any, begin: Any, signs: Any, release: str
):
    id_ = begin()["id"]
    device = fail(side, signs, release)
    report = side.ask("GET", f"{PATH}/{id_}").json
    assert (report["status"], report["why"]) == ("halted", "stage")
    assert report["reason"]
    assert report["failures"] == [device]
    (failed,) = report["failed"]
    assert failed["device"] == device
    assert (failed["why"], failed["reason"]) == (
        "reported",
        "refused it or failed: flash is full",
    )
    assert report["failedBy"] == {"reported": 1}
    assert report["skippedBy"] == {"current": 1, "wrong_chip": 1}
    assert report["stages"][0] == {"size": 1, "touched": 1, "confirmed": 0, "failed": 1}
    assert report["counts"]["pending"] == 2
    assert report["plan"]["stages"][0]["count"] == 1
    (listed,) = side.ask("GET", f"{PATH}/{id_}/devices?phase=failed").json["devices"]
    assert listed == failed


def test_devices_of_a_rollout_come_page_by_page(side: Any, begin: Any):
    id_ = begin()["id"]
    page = side.ask("GET", f"{PATH}/{id_}/devices?limit=2").json
    assert [one["device"] for one in page["devices"]] == ["current", "other"]
    page = side.ask("GET", f"{PATH}/{id_}/devices?after={page['next']}").json
    assert [one["device"] for one in page["devices"]] == ["sign-1", "sign-2", "sign-3"]
    assert page["next"] is None


# ---- telling it what to do -----------------------------------------------------------


def test_pause_resume_and_abort_are_done_and_written_down(side: Any, begin: Any):
    id_ = begin()["id"]
    for order, status in (("pause", "paused"), ("resume", "running")):
        answer = side.ask("POST", f"{PATH}/{id_}/{order}")
        assert (answer.status, answer.json["status"]) == (200, status)
        assert actions(side)[0] == (f"rollout.{order}", id_)
    assert side.ask("POST", f"{PATH}/{id_}/abort").json["status"] == "aborted"
    over = side.ask("POST", f"{PATH}/{id_}/resume")
    assert (over.status, over.code) == (409, "ROLLOUT_OVER")
    assert actions(side)[0] == ("rollout.abort", id_)


def test_who_failed_gets_another_chance_and_nobody_else_does(
    side: Any, begin: Any, signs: Any, release: str
):
    id_ = begin()["id"]
    (device,) = offered(signs)
    wrong = side.ask("POST", f"{PATH}/{id_}/retry", {"devices": [device]})
    assert (wrong.status, wrong.code) == (409, "DEVICE_NOT_IN_ROLLOUT")
    fail(side, signs, release)
    answer = side.ask("POST", f"{PATH}/{id_}/retry", {"devices": [device]})
    assert answer.status == 200
    assert answer.json["counts"]["failed"] == 0
    assert actions(side)[0] == ("rollout.retry", id_)


def test_a_rollback_says_what_it_can_do(
    side: Any, begin: Any, signs: Any, release: str
):
    id_ = begin()["id"]
    device = fail(side, signs, release)
    answer = side.ask("POST", f"{PATH}/{id_}/rollback")
    assert (answer.status, answer.json["counts"]) == (200, {"needless": 1})
    assert answer.json["devices"][0]["device"] == device
    assert side.ask("GET", f"{PATH}/{id_}").json["status"] == "aborted"


def test_of_many_a_rollback_names_those_first_that_are_not_helped():
    helped = [Undo(f"d{n:03}", "offered", "r") for n in range(150)]
    lost = Undo("z", "impossible", why="unknown_before")
    shown = rolled_back_of(RolledBack(("r2",), (*helped, lost)))
    assert shown.counts == {"offered": 150, "impossible": 1}
    assert [one.device for one in shown.devices[:2]] == ["z", "d000"]
    assert len(shown.devices) == 100


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/devices"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/abort"),
        ("POST", "/rollback"),
        ("POST", "/retry"),
    ],
)
def test_one_that_there_is_not_is_not_found(
    side: Any, release: str, method: str, path: str
):
    body = {"devices": ["x"]} if path == "/retry" else None
    answer = side.ask(method, f"{PATH}/nothing{path}", body)
    assert (answer.status, answer.code) == (404, "ROLLOUT_NOT_FOUND")


def test_what_the_store_does_not_take_does_not_happen(
    side: Any, begin: Any, signs: Any
):
    from voicestatus.core.errors import StoreError

    id_ = begin()["id"]
    side.store.defect = StoreError("full")
    assert side.ask("POST", f"{PATH}/{id_}/pause").code == "STORE_UNAVAILABLE"
    side.store.defect = None
    assert side.ask("GET", f"{PATH}/{id_}").json["status"] == "running"


# ---- one device ----------------------------------------------------------------------


def command(side: Any, device: str, **said: Any) -> Any:
    return side.ask("POST", f"/devices/{device}/commands", said)


def test_one_device_gets_a_release_by_a_rollout_of_its_own(
    side: Any, release: str, signs: Any
):
    answer = command(side, "sign-2", type="ota", release=release)
    assert answer.status == 202
    side.clock.advance(0)
    assert answer.json == {"device": "sign-2", "type": "ota", "rollout": "rollout-1"}
    assert offered(signs) == ["sign-2"]
    shown = side.ask("GET", f"{PATH}/rollout-1").json
    assert (shown["name"], len(shown["stages"])) == ("sign-2 alone", 1)
    assert actions(side)[0] == ("device.command", "sign-2")


@pytest.mark.parametrize(
    ("device", "status", "code", "words"),
    [
        ("current", 409, "DEVICE_NOT_ELIGIBLE", "runs it already"),
        ("other", 409, "DEVICE_NOT_ELIGIBLE", "another chip"),
        ("nobody", 404, "DEVICE_NOT_FOUND", ""),
    ],
)
def test_one_that_cannot_have_it_is_refused_with_the_reason(
    side: Any, release: str, signs: Any, device: str, status: int, code: str, words: str
):
    answer = command(side, device, type="ota", release=release)
    assert (answer.status, answer.code) == (status, code)
    assert words in answer.json["error"]["message"]
    assert side.ask("GET", PATH).json["rollouts"] == []


def test_a_release_that_is_none_is_refused_for_one_device_too(
    side: Any, release: str, signs: Any
):
    assert command(side, "sign-1", type="ota", release="x").code == "RELEASE_NOT_FOUND"
    answer = command(side, "sign-1", type="ota")
    assert answer.code == "VALIDATION_FAILED"


def test_a_new_device_is_not_probed(side: Any, release: str, signs: Any):
    answer = command(side, "sign-1", type="probe")
    assert (answer.status, answer.code) == (409, "PROBE_NOT_NEEDED")
    assert command(side, "nobody", type="probe").code == "DEVICE_NOT_FOUND"
    assert not [action for action, _ in actions(side) if action == "device.command"]


def test_an_old_device_that_says_nothing_to_a_probe_was_asked_all_the_same(
    make_side: Any,
):
    side = make_side()
    _, here = side.sign()
    visitor = side.open(
        "POST",
        f"/devices/{here.id}/commands",
        {"type": "probe"},
        token="open-sesame",
    )
    assert visitor.answer.status == 0
    side.clock.advance(31)
    assert (visitor.answer.status, visitor.answer.code) == (504, "PROBE_UNANSWERED")
    assert actions(side)[0] == ("device.command", here.id)


# ---- live ----------------------------------------------------------------------------


def test_the_live_channel_tells_releases_and_rollouts(
    side: Any, dial: Any, begin: Any, signs: Any, release: str
):
    browser = dial(side)
    (snapshot,) = browser.of("snapshot")
    assert [one["id"] for one in snapshot["releases"]] == [release]
    assert snapshot["rollouts"] == []
    id_ = begin()["id"]
    side.clock.advance(1)
    browser.pump.flush()
    told = browser.of("rollout")[-1]["rollout"]
    assert (told["id"], told["counts"]["offered"]) == (id_, 1)
    assert browser.of("release")[-1]["release"]["needed"] is True
    fail(side, signs, release)
    side.clock.advance(1)
    browser.pump.flush()
    assert browser.of("rollout")[-1]["rollout"]["status"] == "halted"
    assert len(browser.of("release")) == 1
    late = dial(side)
    assert [one["id"] for one in late.of("snapshot")[0]["rollouts"]] == [id_]


def test_the_live_channel_tells_what_becomes_of_a_release(
    side: Any, dial: Any, release: str
):
    browser = dial(side)
    path = f"/firmware/releases/{release}"
    assert side.ask("PATCH", path, {"notes": "old"}).status == 200
    browser.pump.flush()
    assert browser.of("release")[-1]["release"]["notes"] == "old"
    assert side.ask("DELETE", path).status == 204
    browser.pump.flush()
    assert browser.of("release")[-1] == {"type": "release", "id": release, "gone": True}


def test_many_changes_of_a_rollout_are_told_a_few_times_a_second(
    side: Any, dial: Any, begin: Any, signs: Any, release: str
):
    begin()
    (device,) = offered(signs)
    side.clock.advance(1)
    browser = dial(side)
    for progress in range(100):
        report = OtaReport(release=release, phase="downloading", progress=progress)
        side.devices.report(signs[device][1], report)
        side.clock.advance(0.01)
    side.clock.advance(1)
    browser.pump.flush()
    assert 1 <= len(browser.of("rollout")) <= 4
