"""What chips' own updaters say, and when they may be given something."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.chip import Chip
from voicestatus.core.errors import ProtocolError
from voicestatus.ota.updater import Facts, facts_of, obstacle

ESP8266 = {
    "host": "signs.example:8080",
    "user-agent": "ESP8266-http-Update",
    "x-esp8266-chip-id": "1193046",
    "x-esp8266-sta-mac": "A0:20:A6:12:34:56",
    "x-esp8266-ap-mac": "A2:20:A6:12:34:56",
    "x-esp8266-free-space": "1609728",
    "x-esp8266-sketch-size": "486560",
    "x-esp8266-sketch-md5": "0CC175B9C0F1B6A831C399E269772661",
    "x-esp8266-chip-size": "4194304",
    "x-esp8266-sdk-version": "2.2.2-dev(38a443e)",
    "x-esp8266-mode": "sketch",
    "x-esp8266-version": "v1.2.3",
}
ESP32 = {
    "user-agent": "ESP32-http-Update",
    "cache-control": "no-cache",
    "x-esp32-sta-mac": "7c:df:a1:00:00:01",
    "x-esp32-ap-mac": "7C:DF:A1:00:00:02",
    "x-esp32-free-space": "1310720",
    "x-esp32-sketch-size": "921600",
    "x-esp32-sketch-md5": "0cc175b9c0f1b6a831c399e269772661",
    "x-esp32-sketch-sha256": "AB" * 32,
    "x-esp32-chip-size": "4194304",
    "x-esp32-sdk-version": "v4.4.7",
    "x-esp32-mode": "sketch",
    "x-esp32-version": "sha-0a1b2c3",
}


def test_an_esp8266_is_understood():
    assert facts_of(ESP8266) == Facts(
        family="esp8266",
        mac="a0:20:a6:12:34:56",
        version="v1.2.3",
        free_bytes=1_609_728,
        sketch_bytes=486_560,
        sketch_md5="0cc175b9c0f1b6a831c399e269772661",
        sketch_sha256="",
        chip_bytes=4_194_304,
        sdk="2.2.2-dev(38a443e)",
    )


def test_an_esp32_is_understood():
    facts = facts_of(ESP32)
    assert facts is not None
    assert (facts.family, facts.mac) == ("esp32", "7c:df:a1:00:00:01")
    assert facts.sketch_sha256 == "ab" * 32
    assert facts.version == "sha-0a1b2c3"


def test_older_cores_leave_things_out():
    least = {"x-esp32-sta-mac": "7c:df:a1:00:00:01", "x-esp32-mode": "sketch"}
    facts = facts_of(least)
    assert facts is not None
    assert (facts.version, facts.free_bytes, facts.sketch_md5) == ("", None, "")


def test_a_browser_is_no_updater():
    assert facts_of({"user-agent": "Mozilla/5.0"}) is None


@pytest.mark.parametrize(
    "said",
    [
        {"x-esp8266-mode": "spiffs"},
        {"x-esp8266-mode": "version"},
        {"x-esp8266-mode": ""},
        {"x-esp8266-sta-mac": "A0:20:A6:12:34"},
        {"x-esp8266-sta-mac": ""},
        {"x-esp8266-free-space": "-1"},
        {"x-esp8266-free-space": "lots"},
        {"x-esp8266-chip-size": "1" * 40},
        {"x-esp8266-sketch-md5": "0cc1"},
        {"x-esp8266-version": "v" * 65},
        {"x-esp8266-version": "v1\x00"},
        {"x-esp8266-version": "v\xe9"},
        {"x-esp32-sta-mac": "7c:df:a1:00:00:01"},
    ],
)
def test_what_no_updater_says_is_refused(said: dict[str, str]):
    with pytest.raises(ProtocolError):
        facts_of(ESP8266 | said)


@given(st.dictionaries(st.sampled_from(sorted({**ESP8266, **ESP32})), st.text()))
def test_whatever_the_headers_hold_is_understood_or_refused(headers: dict[str, str]):
    try:
        facts = facts_of(headers)
    except ProtocolError:
        return
    assert facts is None or len(facts.mac) == 17


@pytest.fixture
def release(depot: Any, make_files: Any) -> Any:
    return depot.publish(make_files(Chip.ESP8266), legacy=True)[0]


def test_what_fits_may_be_given(release: Any):
    assert obstacle(facts_of(ESP8266), release) is None
    assert obstacle(None, release) is None


def test_what_is_not_allowed_for_old_devices_is_not_given(release: Any):
    release = replace(release, legacy=False)
    assert "not allowed" in obstacle(facts_of(ESP8266), release)
    assert "not allowed" in obstacle(None, release)


def test_what_runs_already_is_not_given(release: Any):
    said = ESP8266 | {"x-esp8266-sketch-md5": release.md5.upper()}
    assert obstacle(facts_of(said), release) == "it runs that already"


def test_what_does_not_fit_is_not_given(release: Any):
    assert obstacle(facts_of(ESP32), release) == "it has another chip"
    least = str(release.size_bytes)
    said = ESP8266 | {"x-esp8266-free-space": least}
    assert obstacle(facts_of(said), release) is None
    said = ESP8266 | {"x-esp8266-free-space": str(release.size_bytes - 1)}
    assert obstacle(facts_of(said), release) == "it has no room for it"


@pytest.mark.parametrize("chip", [Chip.ESP32, Chip.ESP32S2, Chip.ESP32C3])
def test_every_other_chip_calls_itself_an_esp32(
    depot: Any, make_files: Any, chip: Chip
):
    release, _ = depot.publish(make_files(chip), legacy=True)
    assert obstacle(facts_of(ESP32), release) is None
