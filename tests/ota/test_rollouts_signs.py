"""The registry's devices as rollouts know them."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from voicestatus.core.chip import Chip
from voicestatus.core.eligibility import Facts, facts_of
from voicestatus.core.fleet import Device, Record, Sketch, Vitals
from voicestatus.core.lights import EVERYTHING, Light, RuleText
from voicestatus.core.release import Channel, Release
from voicestatus.devices.registry import Showing
from voicestatus.devices.wire import Offer
from voicestatus.ota.signs import Signs


class Registry:
    """Two devices and a stranger."""

    loaded = True
    subscribe = subscribe_reports = prolong = None

    def __init__(self) -> None:
        self.table = {
            "lit": Device(Record(id="lit", caps=("light",)), Vitals(connected_at=1.0)),
            "away": Device(Record(id="away"), Vitals()),
            "conn-1": Device(Record(id="conn-1"), Vitals(), enrolled=False),
        }
        self.offers: list[tuple[str, Offer]] = []

    def ids(self) -> list[str]:
        return [*self.table]

    def get(self, id_: str) -> Device | None:
        return self.table.get(id_)

    def showing(self, id_: str) -> Showing | None:
        if id_ != "lit":
            return None
        return Showing(EVERYTHING, "default", Light(known=True, on=True), ())

    def offer(self, id_: str, offer: Offer) -> None:
        self.offers.append((id_, offer))


@pytest.fixture
def registry() -> Any:
    return Registry()


def test_strangers_are_no_devices(registry):
    signs = Signs(registry)
    assert signs.loaded
    assert signs.ids() == ["lit", "away"]
    assert signs.look("conn-1") is None
    assert signs.look("nobody") is None


def test_it_says_which_sign_is_lit(registry):
    signs = Signs(registry)
    lit, away = signs.look("lit"), signs.look("away")
    assert lit is not None
    assert away is not None
    assert (lit.lit, lit.connected) == (True, True)
    assert (away.lit, away.connected) == (False, False)


def test_an_offer_is_passed_on(registry):
    release = Release(
        id="esp32-2-abc",
        chip=Chip.ESP32,
        board="",
        version="2.0",
        build=2,
        min_build=0,
        floor=0,
        not_after=0,
        size_bytes=1000,
        sha256="abc",
        manifest="",
        md5="0" * 32,
        channel=Channel.STABLE,
        legacy=True,
        added_at=0.0,
    )
    offering = Signs(registry).offer("lit", release, "/ota/images/r/t")
    assert Deferred.fromCoroutine(offering).called
    ((id_, offer),) = registry.offers
    assert id_ == "lit"
    assert (offer.release, offer.path) == ("esp32-2-abc", "/ota/images/r/t")
    assert (offer.md5, offer.size_bytes) == (release.md5, release.size_bytes)


def test_what_is_known_of_an_old_device_is_what_it_was_asked():
    record = Record(
        id="a",
        chip="esp8266",
        fw="1.0",
        rule=RuleText('{"minCount":2}'),
        sketch=Sketch(asked_at=5.0, md5="0" * 32, free_bytes=9),
    )
    assert facts_of(Device(record, Vitals(connected_at=7.0))) == Facts(
        id="a",
        rule=RuleText('{"minCount":2}'),
        legacy=True,
        chip="esp8266",
        version="1.0",
        md5="0" * 32,
        asked_at=5.0,
        free_bytes=9,
        connected_at=7.0,
    )


def test_a_device_of_version_2_is_none_of_the_old_ones_before_its_hello():
    record = Record(id="a", build=3, caps=("ota-ed25519",))
    facts = facts_of(Device(record, Vitals(protocol=1, connected_at=7.0)))
    assert not facts.legacy
    assert not facts.introduced
    assert facts_of(Device(record, Vitals(protocol=2, connected_at=7.0))).introduced
