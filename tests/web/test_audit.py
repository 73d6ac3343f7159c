"""Each write leaves an entry, in the same batch, for 90 days."""

from dataclasses import replace
from typing import Any

from voicestatus.web import audit
from voicestatus.web.pruner import PRUNE_EVERY_S

DAY_S = 86_400.0


def entries(side: Any, query: str = "") -> Any:
    return side.ask("GET", f"/audit{query}").json


def test_every_write_is_written_down_with_who_and_what(side: Any):
    side.sign("hall")
    token = side.ask("POST", "/devices", {"id": "desk", "name": "Desk"}).json["token"]
    side.clock.advance(1)
    named = {"X-Request-Id": "mine"}
    side.ask("PATCH", "/devices/desk", {"rule": {"minCount": 2}}, headers=named)
    side.clock.advance(1)
    rotated = side.ask("POST", "/devices/desk/token").json["token"]
    side.clock.advance(1)
    side.ask("POST", "/devices/hall/commands", {"type": "reboot"})
    side.clock.advance(1)
    side.ask("DELETE", "/devices/desk")
    page = side.ask("GET", "/audit")
    told = [(e["action"], e["target"], e["details"]) for e in page.json["entries"]]
    assert told == [
        ("device.delete", "desk", {}),
        ("device.command", "hall", {"type": "reboot"}),
        ("device.rotate", "desk", {}),
        ("device.change", "desk", {"rule": {"minCount": 2}}),
        ("device.create", "desk", {"id": "desk", "name": "Desk"}),
    ]
    change = page.json["entries"][3]
    assert change["requestId"] == "mine"
    assert (change["actor"], change["address"]) == ("admin token", "192.0.2.1")
    assert change["at"] == "2026-11-18T11:06:41Z"
    assert token.encode() not in page.body
    assert rotated.encode() not in page.body


def test_of_settings_only_the_names_are_written_down(side: Any):
    side.sign("hall")
    config = {"type": "config", "wifiPassword": "hunter2", "brightness": 3}
    assert side.ask("POST", "/devices/hall/commands", config).status == 202
    (entry,) = entries(side)["entries"]
    assert entry["details"] == {
        "type": "config",
        "keys": ["brightness", "wifiPassword"],
    }


def test_what_was_refused_is_not_written_down(side: Any):
    side.ask("PATCH", "/devices/none", {"name": "x"})
    side.ask("POST", "/devices/none/commands", {"type": "reboot"})
    side.ask("POST", "/devices", {"id": "a b"})
    assert entries(side) == {"entries": [], "next": None}


def test_entries_are_read_in_pages_over_days(side: Any):
    for n in range(7):
        side.ask("POST", "/devices", {"id": f"d{n}"})
        side.clock.advance(DAY_S / 3)
    seen, query = [], ""
    while True:
        page = entries(side, f"?limit=2{query}")
        seen += [entry["target"] for entry in page["entries"]]
        if page["next"] is None:
            break
        query = f"&before={page['next']}"
    assert seen == ["d6", "d5", "d4", "d3", "d2", "d1", "d0"]
    assert entries(side, "?before=")["entries"] == []
    assert entries(side, "?before=%00")["entries"] == []


def test_entries_are_forgotten_after_their_time(side: Any):
    side.ask("POST", "/devices", {"id": "old"})
    side.clock.pump([DAY_S / 2] * 2 * audit.KEPT_DAYS)
    side.ask("POST", "/devices", {"id": "new"})
    assert [e["target"] for e in entries(side)["entries"]] == ["new", "old"]
    side.clock.advance(DAY_S)
    side.clock.advance(PRUNE_EVERY_S)
    assert [e["target"] for e in entries(side)["entries"]] == ["new"]
    days = {key for key in side.store._documents if key[0] == audit.DAYS}
    assert len(days) == 1


def test_a_server_that_runs_for_minutes_forgets_too(side: Any):
    side.ask("POST", "/devices", {"id": "old"})
    side.admin.stopService()
    side.clock.advance(DAY_S * (audit.KEPT_DAYS + 2))
    side.admin.startService()
    assert entries(side)["entries"] == []


def test_of_a_day_only_what_is_shown_is_read(side: Any):
    side.ask("POST", "/devices", {"id": "old"})
    (key,) = [key for key in side.store._documents if key[0] == audit.ENTRIES]
    side.store._documents[key] = replace(side.store._documents[key], body=b"damaged")
    for id_ in ("newer", "newest"):
        side.clock.advance(1)
        side.ask("POST", "/devices", {"id": id_})
    (entry,) = entries(side, "?limit=1")["entries"]
    assert entry["target"] == "newest"
    assert side.ask("GET", "/audit").code == "STORE_UNAVAILABLE"


def test_an_entry_that_cannot_be_read_is_forgotten_as_well(side: Any):
    side.ask("POST", "/devices", {"id": "old"})
    (key,) = [key for key in side.store._documents if key[0] == audit.ENTRIES]
    side.store._documents[key] = replace(side.store._documents[key], body=b"damaged")
    side.clock.advance(DAY_S * (audit.KEPT_DAYS + 2))
    side.clock.advance(PRUNE_EVERY_S)
    assert entries(side)["entries"] == []


def test_a_store_that_fails_does_not_end_the_pruning(side: Any):
    side.ask("POST", "/devices", {"id": "old"})
    side.store.running = 0
    side.clock.advance(DAY_S * (audit.KEPT_DAYS + 2))
    side.store.running = 1
    side.clock.advance(PRUNE_EVERY_S)
    assert entries(side)["entries"] == []
