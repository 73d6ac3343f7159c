"""Offers, probes, reports: what devices of both versions are told of updates."""

import json

import pytest
from twisted.internet.defer import Deferred

from voicestatus.core.chip import Chip
from voicestatus.core.errors import ProtocolError, Refusal
from voicestatus.core.fleet import Enrolment, Sketch
from voicestatus.devices.keepalive import PING_EVERY_S
from voicestatus.devices.registry import Patch
from voicestatus.devices.returning import RETURN_WITHIN_S
from voicestatus.devices.wire import (
    MAX_OLD_OFFER_BYTES,
    PING,
    Offer,
    offer_text,
    old_offer_text,
    texts_in,
)

SHARED = b"AUTH:secret"
MAC = "246f28a1b2c3"
SERVER = "http://signs.example:8080"
SKETCH = Sketch(asked_at=1.0, md5="ab" * 16, size_bytes=400_000, free_bytes=600_000)
SAID = {"chip": "esp8266", "fw": "v1.2.3", "sketch": SKETCH}
OFFER = Offer(
    release="esp8266-15-0123abcd",
    path="/ota/images/esp8266-15-0123abcd/tttt",
    md5="cd" * 16,
    chip=Chip.ESP8266,
    version="1.5.0",
    size_bytes=412_000,
    sha256="ef" * 32,
    manifest="m" * 256,
)
OLD_OFFER = {
    "type": "ota",
    "url": SERVER + OFFER.path,
    "md5": OFFER.md5,
    "chip": "esp8266",
}


def hello(id_=MAC, **more) -> bytes:
    return json.dumps({"type": "hello", "v": 2, "id": id_, **more}).encode()


NEW = hello("new", caps=["ota-ed25519"])


@pytest.fixture
def table(make_table):
    return make_table(public_url=SERVER)


@pytest.fixture
def sign(talk, masked, clock):
    """Let a sign in that dials from an address; returns its line."""

    class Line:
        def __init__(self, address, target):
            self.talk = talk(target)
            self.device = self.talk.device
            self.device.address = address

        def say(self, *texts: bytes) -> "Line":
            for text in texts:
                self.talk.say(masked(1, text))
            clock.advance(0)
            return self

        def texts(self) -> list:
            return [
                json.loads(text) if text.startswith("{") else text
                for text in texts_in(self.talk.heard())
            ]

        @property
        def id(self) -> str:
            return self.device.here.id

        def leave(self) -> None:
            self.device.connectionLost()

    def dial(*texts, address="192.0.2.1", target=b"/ws") -> Line:
        line = Line(address, target)
        line.say(*(texts or [SHARED]))
        line.texts()
        return line

    return dial


def refused(act, *args, **how) -> str:
    with pytest.raises(Refusal) as caught:
        act(*args, **how)
    return caught.value.code


def done(coroutine):
    results = []
    Deferred.fromCoroutine(coroutine).addCallback(results.append)
    return results[0]


# ---- offers --------------------------------------------------------------------------


def test_a_device_that_can_check_a_signature_is_told_the_whole_offer(table, sign):
    line = sign(SHARED, NEW)
    table.offer("new", OFFER)
    assert line.texts() == [
        {
            "type": "ota",
            "release": "esp8266-15-0123abcd",
            "url": SERVER + OFFER.path,
            "md5": OFFER.md5,
            "chip": "esp8266",
            "version": "1.5.0",
            "size": 412_000,
            "sha256": OFFER.sha256,
            "manifest": OFFER.manifest,
        }
    ]


def test_an_old_device_is_told_address_md5_and_chip_alone(table, sign):
    line = sign()
    table.offer(line.id, OFFER)
    assert line.texts() == [OLD_OFFER]


@pytest.mark.parametrize("chip", [chip for chip in Chip if chip is not Chip.ESP8266])
@pytest.mark.parametrize("text", [offer_text, old_offer_text])
def test_every_chip_but_the_esp8266_is_called_esp32(chip, text):
    parts = {name: getattr(OFFER, name) for name in OFFER.__slots__}
    offer = Offer(**parts | {"chip": chip})
    assert json.loads(text(offer, SERVER))["chip"] == "esp32"


def test_an_offer_that_an_old_device_could_not_read_is_refused(make_table, sign, table):
    room = MAX_OLD_OFFER_BYTES - len(old_offer_text(OFFER, ""))
    assert len(old_offer_text(OFFER, "x" * room)) == 511
    with pytest.raises(ProtocolError, match="512 bytes"):
        old_offer_text(OFFER, "x" * (room + 1))


def test_a_device_that_speaks_for_itself_but_cannot_check_is_offered_nothing(
    table, sign
):
    sign(SHARED, hello("plain"))
    assert refused(table.offer, "plain", OFFER) == "UPDATE_NOT_SUPPORTED"
    assert refused(table.probe, "plain", "/x") == "PROBE_NOT_NEEDED"


def test_who_is_away_or_unknown_is_offered_nothing(table, sign):
    sign(SHARED, NEW).leave()
    assert refused(table.offer, "new", OFFER) == "DEVICE_OFFLINE"
    assert refused(table.offer, "nobody", OFFER) == "DEVICE_NOT_FOUND"
    assert refused(table.probe, "conn-1", "/x") == "DEVICE_NOT_FOUND"


def test_a_device_that_has_not_said_hello_yet_is_not_taken_for_an_old_one(table, sign):
    line = sign(SHARED)
    line.say(NEW)
    (welcome,) = line.texts()
    line.leave()
    again = sign(b"AUTH:" + welcome["token"].encode())
    assert refused(table.offer, "new", OFFER) == "DEVICE_OFFLINE"
    assert refused(table.probe, "new", "/x") == "DEVICE_OFFLINE"
    again.say(NEW)
    table.offer("new", OFFER)


def test_without_a_public_address_only_old_devices_are_refused(
    make_table, devices, sign
):
    devices.registry = bare = make_table()
    old, new = sign(), sign(SHARED, NEW)
    assert refused(bare.offer, old.id, OFFER) == "PUBLIC_URL_MISSING"
    assert refused(bare.probe, old.id, "/x") == "PUBLIC_URL_MISSING"
    bare.offer("new", OFFER)
    (told,) = new.texts()
    assert told["url"] == OFFER.path


# ---- who an old device is ------------------------------------------------------------


def test_a_probed_stranger_is_that_device_when_it_comes_back(table, sign):
    line = sign()
    name = line.id
    table.probe(name, "/ota/probes/abc")
    assert line.texts() == [f"OTA:{SERVER}/ota/probes/abc"]
    line.leave()
    assert table.recognise(name, MAC, **SAID) == MAC
    device = table.get(MAC)
    assert not device.connected
    assert (device.record.chip, device.record.fw) == ("esp8266", "v1.2.3")
    assert device.record.sketch == SKETCH
    assert sign().id == MAC
    assert table.get(MAC).connected


def test_what_a_probe_tells_late_holds_for_who_has_come_already(table, sign):
    line = sign()
    table.probe(line.id, "/x")
    line.leave()
    back = sign()
    assert back.id.startswith("conn-")
    assert table.recognise(line.device.here or "conn-0", MAC, **SAID) == MAC
    assert back.id.startswith("conn-")  # by another name it is nobody


def test_a_probe_that_is_answered_after_the_return_is_not_lost(table, sign):
    line = sign()
    name = line.id
    table.probe(name, "/x")
    line.leave()
    back = sign()
    table.recognise(name, MAC, **SAID)
    assert back.id == MAC


def test_who_has_not_left_is_recognised_too_and_again_when_it_comes_back(table, sign):
    line = sign()
    name = line.id
    table.probe(name, "/x")
    table.recognise(name, MAC, **SAID)
    assert line.id == MAC
    line.leave()
    assert sign().id == MAC


def test_it_is_that_device_for_as_long_as_the_connection_lasts(table, sign, clock):
    line = sign()
    table.probe(line.id, "/x")
    table.recognise(line.id, MAC, **SAID)
    line.leave()
    sign().leave()
    assert sign().id.startswith("conn-")
    clock.advance(RETURN_WITHIN_S)


def test_who_comes_from_elsewhere_or_too_late_stays_a_stranger(table, sign, clock):
    line = sign()
    table.probe(line.id, "/x")
    table.recognise(line.id, MAC, **SAID)
    line.leave()
    others = [sign(address="192.0.2.9"), sign(target=b"/ws?guild=7")]
    assert all(other.id.startswith("conn-") for other in others)
    clock.advance(RETURN_WITHIN_S)
    assert sign().id.startswith("conn-")


def test_after_an_update_an_old_device_is_known_again(table, sign, clock):
    line = sign()
    table.probe(line.id, "/x")
    table.recognise(line.id, MAC, **SAID)
    table.offer(MAC, OFFER)
    line.leave()
    clock.advance(RETURN_WITHIN_S - 1)
    table.prolong(MAC)
    clock.advance(RETURN_WITHIN_S - 1)
    assert sign().id == MAC


def test_two_that_could_not_be_told_apart_are_not_sent_away_together(
    table, sign, clock
):
    one, two, elsewhere = sign(), sign(), sign(address="192.0.2.9")
    table.probe(one.id, "/x")
    assert refused(table.probe, two.id, "/y") == "RETURN_AWAITED"
    assert refused(table.offer, two.id, OFFER) == "RETURN_AWAITED"
    assert two.texts() == []
    table.probe(elsewhere.id, "/z")
    clock.advance(RETURN_WITHIN_S)
    table.probe(two.id, "/y")


def test_another_mac_than_the_one_it_was_taken_for_is_believed(table, sign):
    line = sign()
    table.recognise(line.id, MAC, **SAID)
    table.recognise(MAC, "ffffffffffff", **SAID)
    assert line.id == "ffffffffffff"
    assert not table.get(MAC).connected


def test_a_new_device_that_was_taken_for_an_old_one_says_who_it_is(table, sign):
    line = sign()
    table.recognise(line.id, MAC, **SAID)
    table.offer(MAC, OFFER)
    line.leave()
    other = sign()
    assert other.id == MAC
    other.say(NEW)
    assert other.id == "new"
    assert "token" in other.texts()[0]
    assert not table.get(MAC).connected


def test_an_old_device_that_is_updated_to_a_new_one_enrols_as_itself(table, sign):
    line = sign()
    table.recognise(line.id, MAC, **SAID)
    table.offer(MAC, OFFER)
    line.leave()
    new = sign()
    new.say(hello(MAC, fw="2.0", build=20, caps=["ota-ed25519"]))
    (welcome,) = new.texts()
    assert welcome["device"] == MAC
    assert welcome["token"].startswith("vsd_")
    record = table.get(MAC).record
    assert (record.build, record.sketch) == (20, None)


def test_an_old_device_with_a_token_of_its_own_stays_who_it_is(table, sign):
    _, own = done(table.create("desk", Patch()))
    line = sign(b"AUTH:" + own.encode())
    table.probe("desk", "/x")
    line.leave()
    assert table.recognise("desk", MAC, **SAID) == "desk"
    assert table.get("desk").record.sketch == SKETCH
    assert table.get(MAC) is None
    assert sign(b"AUTH:" + own.encode()).id == "desk"


def test_nobody_becomes_a_device_that_has_a_token_by_naming_its_mac(table, sign):
    _, own = done(table.create(MAC, Patch()))
    owner = sign(b"AUTH:" + own.encode())
    thief = sign()
    assert refused(table.recognise, thief.id, MAC, **SAID) == "ALREADY_ENROLLED"
    assert owner.id == MAC
    assert table.get(MAC).record.sketch is None


def test_a_revoked_device_is_not_recognised(table, sign):
    line = sign()
    table.recognise(line.id, MAC, **SAID)
    table.offer(MAC, OFFER)
    done(table.change(MAC, Patch(revoked=True)))
    assert line.talk.ended
    line.leave()
    back = sign()
    assert back.id.startswith("conn-")
    assert refused(table.recognise, back.id, MAC, **SAID) == "DEVICE_REVOKED"


@pytest.mark.parametrize("enrolment", [Enrolment.CLOSED])
def test_with_closed_enrolment_only_known_devices_are_recognised(
    table, sign, enrolment
):
    line = sign()
    assert refused(table.recognise, line.id, MAC, **SAID) == "ENROLMENT_CLOSED"
    done(table.create(MAC, Patch(name="Hall")))
    assert table.recognise(line.id, MAC, **SAID) == MAC
    assert line.id == MAC


@pytest.mark.parametrize("enrolment", [Enrolment.APPROVE])
def test_with_approval_a_recognised_device_waits_for_it(table, sign, enrolment):
    table.recognise(sign().id, MAC, **SAID)
    assert table.get(MAC).record.approved is False


def test_what_a_probe_has_learnt_survives_a_restart(table, sign, make_table):
    table.recognise(sign().id, MAC, **SAID)
    assert make_table().get(MAC).record.sketch == SKETCH


# ---- reports, builds, pongs ----------------------------------------------------------


def test_reports_are_told_with_the_id_of_the_device(table, sign):
    told = []
    leave = table.subscribe_reports(lambda id_, report: told.append((id_, report)))
    line = sign(SHARED, NEW)
    line.say(b'{"type":"ota","release":"r","phase":"downloading","progress":40}')
    ((id_, report),) = told
    assert id_ == "new"
    assert (report.release, report.phase, report.progress) == ("r", "downloading", 40)
    leave()
    line.say(b'{"type":"ota","release":"r","phase":"failed","error":"x"}')
    assert len(told) == 1


def test_what_a_stranger_reports_is_told_to_nobody(table, sign):
    told = []
    table.subscribe_reports(lambda *report: told.append(report))
    sign().say(b'{"type":"ota","release":"r","phase":"failed"}')
    assert told == []


def test_what_a_device_reports_right_before_it_leaves_is_told(
    table, sign, clock, masked
):
    told = []
    table.subscribe_reports(lambda id_, report: told.append((id_, report.phase)))
    line = sign(SHARED, NEW)
    rebooting = b'{"type":"ota","release":"r","phase":"rebooting","progress":100}'
    line.talk.say(masked(1, rebooting) + masked(8, b"\x03\xe8"))
    line.leave()
    clock.advance(0)
    assert told == [("new", "rebooting")]


def test_a_listener_that_fails_does_not_keep_reports_from_others(
    table, sign, nothing_is_left_behind
):
    told = []
    table.subscribe_reports(lambda *_: 1 / 0)
    table.subscribe_reports(lambda id_, _: told.append(id_))
    line = sign(SHARED, NEW)
    line.say(b'{"type":"ota"}', b'{"type":"ota"}')
    assert told == ["new", "new"]
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()


def test_a_new_build_is_told_at_once(table, sign):
    line = sign(SHARED, hello("new", build=1))
    seen = []
    table.subscribe(lambda id_: seen.append((id_, table.get(id_).record.build)))
    line.say(hello("new", build=2))
    assert ("new", 2) in seen


def test_how_long_a_pong_took_is_known_and_costs_next_to_nothing(
    table, sign, pass_time, clock, masked
):
    line = sign(SHARED, NEW)
    assert table.get("new").vitals.rtt_ms is None
    for _ in range(int(2 * PING_EVERY_S)):
        pass_time(0.5)
        if PING in line.talk.heard():
            break
    clock.advance(0.042)
    line.talk.say(masked(0xA))
    assert table.get("new").vitals.rtt_ms == 42


def test_a_pong_that_nobody_asked_for_is_no_measurement_beyond_reason(
    table, sign, clock, masked
):
    line = sign(SHARED, NEW)
    clock.advance(0.25)
    line.talk.say(masked(0xA))
    assert table.get("new").vitals.rtt_ms <= 1000 * PING_EVERY_S


def test_who_has_used_a_token_of_its_own_is_not_known_by_its_mac(table, sign):
    line = sign()
    line.say(hello())
    token = line.texts()[0]["token"]
    assert table.by_mac("24:6f:28:a1:b2:c3") == MAC
    line.leave()
    assert sign(b"AUTH:" + token.encode()).id == MAC
    assert table.by_mac("24:6f:28:a1:b2:c3") is None
