"""Simulated signs that update themselves: what they ask, take, and become."""

from base64 import b64encode
from hashlib import md5, sha256
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from voicestatus.core.chip import Chip
from voicestatus.core.manifest import Manifest, sign
from voicestatus.simulator.fates import BadEnd, Updating
from voicestatus.simulator.images import make_image
from voicestatus.simulator.sign_offers import Flash, Offer, OldOffer, old_offer
from voicestatus.simulator.sign_texts import Identity
from voicestatus.simulator.sign_update import (
    MAX_RESUMES,
    OLD_SILENCE_S,
    REDIAL_S,
    SILENCE_S,
)
from voicestatus.simulator.updates import OFF_S, REBOOT_S, Updates

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = b64encode(KEY.public_key().public_bytes_raw()).decode()
ESP32 = make_image(Chip.ESP32, 8192, version="2.0.0", build=20)
ESP8266 = make_image(Chip.ESP8266, 16_384, version="2.0.0", build=20)
PATH = "/ota/images/r/token"


def manifest_of(image: bytes, chip: Chip = Chip.ESP32, **more: Any) -> str:
    said = {"version": "2.0.0", "build": 20, "floor": 10} | more
    manifest = Manifest(
        chip=chip, size_bytes=len(image), sha256=sha256(image).hexdigest(), **said
    )
    return b64encode(sign(manifest, KEY)).decode()


def offer_of(image: bytes, chip: Chip = Chip.ESP32, **more: Any) -> Offer:
    return Offer(
        release="r",
        url=f"https://elsewhere.example{PATH}",
        size=len(image),
        sha256=sha256(image).hexdigest(),
        manifest=manifest_of(image, chip, **more),
    )


OLD_OFFER = OldOffer(f"http://signs.example:81{PATH}", md5(ESP8266).hexdigest())


class Sign:
    """A sign as its updates see it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.identity = Identity.of(0, number)
        self.boot, self.floor, self.md5 = "power", 0, ""
        self.sketch_bytes, self.sketch_md5 = 400_000, "0" * 32
        self.address: str | None = "127.1.0.9"
        self.said: list[dict[str, Any]] = []
        self.did: list[str] = []

    def tell(self, text: bytes) -> None:
        self.said.append(msgspec.json.decode(text))

    def leave(self) -> None:
        self.did.append("leave")

    def fall_silent(self) -> None:
        self.did.append("silent")

    def come_back(self) -> None:
        self.did.append("back")

    def flap(self, times: int) -> None:
        self.did.append(f"flap {times}")

    @property
    def phases(self) -> list[tuple[str, int]]:
        return [(said["phase"], said["progress"]) for said in self.said]

    @property
    def error(self) -> str | None:
        return self.said[-1].get("error")


class Wire(StringTransport):
    """One download, from the server's side."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        host, port, self.fetch, _, self.bound = client
        self.where = host, port
        self.link = self.fetch.buildProtocol(None)
        self.link.makeConnection(self)

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's
        self.end()

    def pauseProducing(self) -> None:
        self.producerState = "paused"

    def resumeProducing(self) -> None:
        self.producerState = "producing"

    def answer(self, status: int, body: bytes = b"", **headers: str) -> "Wire":
        named = {"Content-Length": str(len(body))} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self.link.dataReceived(f"HTTP/1.1 {status} So\r\n{lines}\r\n".encode() + body)
        return self

    def end(self) -> "Wire":
        self.link.connectionLost(Failure(ConnectionDone()))
        return self


class Bench:
    """Updates on a reactor of memory, and signs of all chips."""

    def __init__(self, **updating: Any) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.closed = 0
        self.updates = Updates(
            self.reactor,
            Updating(**({"keys": (PUBLIC,)} | updating)),
            count=4,
            seed=1,
            host="host",
            port=80,
            tls=None,
            after=self.reactor.callLater,
            closed=self._closed,
        )
        self.signs = [Sign(number) for number in range(4)]
        self.esp8266, self.esp32 = self.signs[:2]

    def _closed(self) -> None:
        self.closed += 1

    def dialled(self) -> Wire:
        (client,) = self.reactor.tcpClients
        self.reactor.tcpClients.clear()
        return Wire(client)

    def offer(self, offer: Offer | None = None) -> Wire:
        self.updates.offered(self.esp32, offer or offer_of(ESP32))
        return self.dialled()

    def offer_old(self, offer: OldOffer = OLD_OFFER) -> Wire:
        self.updates.offered_old(self.esp8266, offer)
        return self.dialled()

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.reactor.advance(1)
            self.updates.second()


# -- the second kind -------------------------------------------------------------------


def test_a_sign_fetches_from_its_own_server_checks_reports_and_starts_anew() -> None:
    bench = Bench()
    wire = bench.offer()
    assert wire.where == ("host", 80)
    assert wire.bound == ("127.1.0.9", 0)
    assert wire.value().decode().split("\r\n") == [
        f"GET {PATH} HTTP/1.1",
        "Host: host:80",
        "Connection: close",
        "",
        "",
    ]
    wire.answer(200, ESP32)
    assert wire.disconnecting
    wire.end()
    assert bench.esp32.phases == [
        ("downloading", 0),
        ("downloading", 100),
        ("verifying", 100),
        ("rebooting", 100),
    ]
    assert bench.esp32.did == ["leave"]
    bench.pass_time(REBOOT_S[1])
    assert bench.esp32.did == ["leave", "back"]
    what = bench.esp32.identity
    assert (what.build, what.fw, bench.esp32.boot) == (20, "2.0.0", "trial")
    assert bench.esp32.floor == 10
    assert (bench.updates.counts.updated, bench.updates.idle) == (1, True)
    assert bench.closed == 1


def test_it_reports_each_quarter() -> None:
    bench = Bench()
    wire = bench.offer()
    wire.answer(200, ESP32[:1000], Content_Length=str(len(ESP32)))
    for start in range(1000, len(ESP32), 1000):
        wire.link.dataReceived(ESP32[start : start + 1000])
    wire.end()
    assert [percent for phase, percent in bench.esp32.phases if phase[0] == "d"] == [
        *(0, 36, 61, 97),
    ]


@pytest.mark.parametrize(
    ("offer", "why"),
    [
        (offer_of(ESP8266, Chip.ESP8266), "another chip"),
        (offer_of(ESP32, board="other"), "another board"),
        (offer_of(ESP32, build=14, floor=0), "not newer"),
        (offer_of(ESP32, min_build=17), "another build"),
        (
            msgspec.structs.replace(offer_of(ESP32), size=9),
            "not what was signed",
        ),
        (msgspec.structs.replace(offer_of(ESP32), manifest="x"), "base64"),
        (msgspec.structs.replace(offer_of(ESP32), manifest="AAAA"), "wrong size"),
        (
            msgspec.structs.replace(
                offer_of(ESP32), manifest="A" + manifest_of(ESP32)[1:]
            ),
            "signature",
        ),
    ],
)
def test_an_offer_that_is_not_for_it_is_refused_before_anything_is_fetched(
    offer: Offer, why: str
) -> None:
    bench = Bench()
    bench.esp32.identity = Identity.of(0, 1)  # build 14
    bench.updates.offered(bench.esp32, offer)
    assert bench.reactor.tcpClients == []
    assert bench.esp32.phases == [("failed", 0)]
    assert why in str(bench.esp32.error)


def test_a_download_that_breaks_off_goes_on_where_it_was() -> None:
    bench = Bench()
    bench.offer().answer(200, ESP32[:5000], Content_Length=str(len(ESP32))).end()
    bench.pass_time(1)
    wire = bench.dialled()
    assert b"\r\nRange: bytes=5000-\r\n" in wire.value()
    wire.answer(206, ESP32[5000:]).end()
    assert bench.esp32.phases[-1] == ("rebooting", 100)


def test_it_begins_anew_where_the_server_knows_no_ranges() -> None:
    bench = Bench()
    bench.offer().answer(200, ESP32[:5000], Content_Length=str(len(ESP32))).end()
    bench.pass_time(1)
    bench.dialled().answer(200, ESP32).end()
    assert bench.esp32.phases[-1] == ("rebooting", 100)


def test_silence_breaks_a_download_off_and_after_three_times_it_fails() -> None:
    bench = Bench()
    wire = bench.offer()
    for _ in range(MAX_RESUMES):
        bench.pass_time(SILENCE_S + 1 + MAX_RESUMES)
        wire = bench.dialled()
    wire.end()
    assert bench.esp32.phases[-1] == ("failed", 0)
    assert "too often" in str(bench.esp32.error)
    assert bench.updates.counts.failed == 1


@pytest.mark.parametrize(
    ("status", "body", "headers", "why"),
    [
        (404, b"", {}, "answered 404"),
        (206, ESP32, {}, "answered 206"),
        (200, ESP32 + b"x", {}, "another size"),
        (200, ESP32, {"Transfer_Encoding": "chunked"}, "another size"),
        (200, bytes(len(ESP32)), {}, "not what was signed"),
    ],
)
def test_what_is_not_the_image_is_not_installed(
    status: int, body: bytes, headers: dict[str, str], why: str
) -> None:
    bench = Bench()
    bench.offer().answer(status, body, **headers).end()
    assert why in str(bench.esp32.error)
    assert bench.esp32.did == []


def test_a_busy_server_is_asked_again_when_it_said_so() -> None:
    bench = Bench()
    bench.offer().answer(503, Retry_After="7").end()
    bench.pass_time(6)
    assert bench.reactor.tcpClients == []
    bench.pass_time(8)
    bench.dialled().answer(200, ESP32).end()
    assert bench.esp32.phases[-1] == ("rebooting", 100)


def test_a_second_offer_while_one_is_under_way_is_ignored() -> None:
    bench = Bench()
    wire = bench.offer()
    bench.updates.offered(bench.esp32, offer_of(ESP32))
    assert bench.reactor.tcpClients == []
    wire.answer(404).end()
    bench.offer()


# -- the first kind --------------------------------------------------------------------


def test_an_esp8266_asks_word_for_word_as_its_updater_does() -> None:
    wire = Bench().offer_old()
    assert wire.where == ("signs.example", 81)
    assert wire.value().decode().split("\r\n") == [
        f"GET {PATH} HTTP/1.0",
        "Host: signs.example:81",
        "User-Agent: ESP8266-http-Update",
        "Connection: close",
        "x-ESP8266-Chip-ID: 0",
        "x-ESP8266-STA-MAC: 02:00:00:00:00:00",
        "x-ESP8266-AP-MAC: 02:00:00:00:00:00",
        "x-ESP8266-free-space: 600000",
        "x-ESP8266-sketch-size: 400000",
        f"x-ESP8266-sketch-md5: {'0' * 32}",
        "x-ESP8266-chip-size: 4194304",
        "x-ESP8266-sdk-version: 2.2.2-dev(38a443e)",
        "x-ESP8266-mode: sketch",
        "x-ESP8266-version: 1.4.0",
        "",
        "",
    ]


def test_every_other_chip_asks_as_an_esp32() -> None:
    bench = Bench()
    bench.updates.offered_old(bench.signs[2], OLD_OFFER)  # an S2
    lines = bench.dialled().value().decode().split("\r\n")
    assert lines[2:5] == [
        "User-Agent: ESP32-http-Update",
        "Connection: close",
        "Cache-Control: no-cache",
    ]
    assert "x-ESP32-STA-MAC: 02:00:00:00:00:02" in lines
    assert not any("Chip-ID" in line for line in lines)


def test_a_probe_is_answered_by_coming_back_as_it_was() -> None:
    bench = Bench()
    wire = bench.offer_old(OldOffer(OLD_OFFER.url))
    assert bench.esp8266.did == ["leave"]
    wire.answer(304).end()
    bench.pass_time(REDIAL_S[1])
    assert bench.esp8266.did == ["leave", "back"]
    assert bench.esp8266.identity.build == 14
    assert (bench.updates.counts.probed, bench.updates.counts.failed) == (1, 0)
    assert bench.esp8266.said == []


def test_an_old_sign_that_was_updated_says_so_at_the_next_probe() -> None:
    bench = Bench()
    bench.offer_old().answer(200, ESP8266).end()
    bench.pass_time(REBOOT_S[1])
    assert bench.esp8266.did == ["leave", "back"]
    told = bench.offer_old(OldOffer(OLD_OFFER.url)).value()
    assert b"x-ESP8266-version: 2.0.0\r\n" in told
    assert f"x-ESP8266-sketch-md5: {md5(ESP8266).hexdigest()}\r\n".encode() in told
    assert f"x-ESP8266-sketch-size: {len(ESP8266)}\r\n".encode() in told


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (ESP8266[:-1], {"Content_Length": str(len(ESP8266))}),
        (ESP8266[:-1] + b"?", {}),
        (b"x" + ESP8266[1:], {}),
        (ESP8266, {"Transfer_Encoding": "chunked"}),
        (bytes(700_000), {}),
    ],
)
def test_an_old_sign_does_not_install_what_cannot_be_right(
    body: bytes, headers: dict[str, str]
) -> None:
    bench = Bench()
    bench.offer_old().answer(200, body, **headers).end()
    bench.pass_time(REDIAL_S[1])
    assert bench.esp8266.did == ["leave", "back"]
    assert bench.esp8266.identity.build == 14


def test_an_esp8266_keeps_a_sum_until_it_starts_anew() -> None:
    bench = Bench()
    bench.offer_old().answer(404).end()
    bench.pass_time(REDIAL_S[1])
    other = make_image(Chip.ESP8266, 16_384, version="3.0.0", build=30)
    bench.offer_old(OldOffer(OLD_OFFER.url)).answer(200, other).end()
    assert bench.esp8266.identity.build == 14


def test_without_a_sum_in_the_offer_the_headers_one_counts() -> None:
    bench = Bench()
    wire = bench.offer_old(OldOffer(OLD_OFFER.url))
    wire.answer(200, ESP8266, x_MD5="0" * 32).end()
    assert bench.esp8266.identity.build == 14


def test_an_old_sign_gives_up_after_eight_seconds_of_silence() -> None:
    bench = Bench()
    bench.offer_old()
    bench.pass_time(OLD_SILENCE_S + 1 + REDIAL_S[1])
    assert bench.esp8266.did == ["leave", "back"]


@pytest.mark.parametrize(
    ("text", "chip", "offer"),
    [
        (b"OTA: http://h/x ", "esp8266", OldOffer("http://h/x")),
        (
            b'{"type":"ota","url":"u","md5":"m","chip":"esp32"}',
            "esp32s2",
            OldOffer("u", "m", "esp32"),
        ),
        (b'{"type":"ota","url":"u","chip":"esp32s2"}', "esp32s2", None),
        (b'{"type":"ota","url":"u","chip":"esp32"}', "esp8266", None),
        (b'{"type":"ota","url":"u","more":{}}', "esp8266", OldOffer("u")),
        (b'{"type":"light"}', "esp8266", None),
        (b'{"type":"ota"}', "esp8266", None),
        (b"hello", "esp8266", None),
    ],
)
def test_an_old_sign_reads_offers_as_its_firmware_does(
    text: bytes, chip: str, offer: OldOffer | None
) -> None:
    assert old_offer(text, chip) == offer


# -- mishaps ---------------------------------------------------------------------------


@pytest.mark.parametrize("old", [False, True])
def test_a_sign_that_loses_power_in_mid_flash_comes_back_as_it_was(old: bool) -> None:
    bench = Bench(power_loss_percent=100)
    sign = bench.esp8266 if old else bench.esp32
    (
        bench.offer_old().answer(200, ESP8266)
        if old
        else bench.offer().answer(200, ESP32)
    ).end()
    assert sign.did[-1] == "silent"
    bench.pass_time(OFF_S[1])
    assert sign.did[-1] == "back"
    assert (sign.identity.build, sign.boot) == (14, "power")
    assert bench.updates.counts.lost_power == 1
    (
        bench.offer_old().answer(200, ESP8266)
        if old
        else bench.offer().answer(200, ESP32)
    ).end()
    assert sign.identity.build == 20


@pytest.mark.parametrize("old", [False, True])
def test_a_sign_may_never_come_back(old: bool) -> None:
    bench = Bench(never_back_percent=100)
    sign = bench.esp8266 if old else bench.esp32
    (
        bench.offer_old().answer(200, ESP8266)
        if old
        else bench.offer().answer(200, ESP32)
    ).end()
    bench.pass_time(60)
    assert sign.did == ["leave"]
    assert bench.updates.counts.never_back == 1


def test_a_bad_build_is_rolled_back() -> None:
    bench = Bench(bad_builds=frozenset({20}))
    bench.offer().answer(200, ESP32).end()
    bench.pass_time(10)
    assert bench.esp32.did == ["leave", "back"]
    assert (bench.esp32.identity.build, bench.esp32.boot) == (14, "rollback")
    assert (bench.esp32.floor, bench.updates.counts.rolled_back) == (0, 1)


@pytest.mark.parametrize("old", [False, True])
def test_a_bad_build_may_be_the_end(old: bool) -> None:
    bench = Bench(bad_builds=frozenset({20}), bad_end=BadEnd.NEVER)
    sign = bench.esp8266 if old else bench.esp32
    (
        bench.offer_old().answer(200, ESP8266)
        if old
        else bench.offer().answer(200, ESP32)
    ).end()
    bench.pass_time(60)
    assert sign.did == ["leave"]


def test_a_flash_may_fail_and_only_the_second_kind_says_so() -> None:
    bench = Bench(failing_percent=100)
    bench.offer().answer(200, ESP32).end()
    assert bench.esp32.error == "the flash cannot be written"
    assert bench.esp32.did == []
    bench.offer_old().answer(200, ESP8266).end()
    bench.pass_time(REDIAL_S[1])
    assert bench.esp8266.did == ["leave", "back"]
    assert bench.esp8266.identity.build == 14


def test_a_sign_may_flap_after_its_update() -> None:
    bench = Bench(flapping_percent=100)
    bench.offer().answer(200, ESP32).end()
    assert bench.esp32.did == ["leave", "flap 20"]


def test_a_slow_sign_reads_no_faster_than_it_can() -> None:
    bench = Bench(slow_percent=100, slow_bytes_per_s=1000)
    wire = bench.offer().answer(200, ESP32[:3000], Content_Length=str(len(ESP32)))
    assert wire.producerState == "paused"
    bench.reactor.advance(2.9)
    assert wire.producerState == "paused"
    bench.reactor.advance(0.2)
    assert wire.producerState == "producing"
    wire.link.dataReceived(ESP32[3000:])
    wire.end()
    assert bench.esp32.phases[-1] == ("rebooting", 100)
    assert not [call for call in bench.reactor.getDelayedCalls() if call.time > 100]


def test_the_same_seed_brings_the_same_fates_in_the_shares_that_were_asked() -> None:
    def fates(seed: int) -> dict[int, Any]:
        updates = Updates(
            MemoryReactorClock(),
            Updating(power_loss_percent=3, never_back_percent=2),
            count=1000,
            seed=seed,
            host="host",
            port=80,
            tls=None,
            after=lambda *_: None,
            closed=lambda: None,
        )
        return {
            number: fate
            for number in range(1000)
            if (fate := updates.fate_of(Sign(number))) is not None
        }

    assert fates(1) == fates(1) != fates(2)
    named = [fate.name for fate in fates(1).values()]
    assert (named.count("POWER_LOSS"), named.count("NEVER_BACK")) == (30, 20)


def test_a_stopped_fleet_asks_for_nothing_more() -> None:
    bench = Bench()
    wire = bench.offer()
    wire.answer(200, ESP32[:100], Content_Length=str(len(ESP32)))
    bench.updates.stop()
    assert bench.updates.idle
    bench.pass_time(10)
    assert bench.reactor.tcpClients == []


def test_an_image_of_another_chip_is_not_started_by_an_old_sign() -> None:
    bench = Bench()
    for each in bench.signs[1:3]:
        bench.updates.offered_old(each, OldOffer(OLD_OFFER.url))
        bench.dialled().answer(200, ESP32).end()
    assert [each.identity.build for each in bench.signs[1:3]] == [20, 14]


@pytest.mark.parametrize("step", [1, 7, 100, 8192])
def test_the_flash_finds_what_an_image_says_however_it_is_cut(step: int) -> None:
    flash = Flash()
    for start in range(0, len(ESP32), step):
        flash.write(ESP32[start : start + step])
    assert flash.firmware is not None
    assert (flash.firmware.version, flash.firmware.build) == ("2.0.0", 20)
    assert flash.sha256 == sha256(ESP32).digest()
    assert flash.md5 == md5(ESP32).hexdigest()
