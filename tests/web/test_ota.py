"""Devices get their images, whole or where they were, and nobody else does."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from voicestatus.core.chip import Chip
from voicestatus.ota.downloads import LINGERS_S
from voicestatus.ota.pace import Rates
from voicestatus.web import ota, site

MAC = "A0:20:A6:12:34:56"
ESP8266 = (
    "GET {path} HTTP/1.0\r\n"
    "Host: 192.0.2.10:8080\r\n"
    "User-Agent: ESP8266-http-Update\r\n"
    "Connection: close\r\n"
    "x-ESP8266-Chip-ID: 1193046\r\n"
    f"x-ESP8266-STA-MAC: {MAC}\r\n"
    "x-ESP8266-AP-MAC: A2:20:A6:12:34:56\r\n"
    "x-ESP8266-free-space: 1609728\r\n"
    "x-ESP8266-sketch-size: 486560\r\n"
    "x-ESP8266-sketch-md5: 0cc175b9c0f1b6a831c399e269772661\r\n"
    "x-ESP8266-chip-size: 4194304\r\n"
    "x-ESP8266-sdk-version: 2.2.2-dev(38a443e)\r\n"
    "x-ESP8266-mode: sketch\r\n"
    "x-ESP8266-version: v1.2.3\r\n"
    "\r\n"
)
ESP32 = (
    "GET {path} HTTP/1.0\r\n"
    "Host: 192.0.2.10:8080\r\n"
    "User-Agent: ESP32-http-Update\r\n"
    "Connection: keep-alive\r\n"
    "Cache-Control: no-cache\r\n"
    f"x-ESP32-STA-MAC: {MAC}\r\n"
    "x-ESP32-AP-MAC: 7C:DF:A1:00:00:02\r\n"
    "x-ESP32-free-space: 1310720\r\n"
    "x-ESP32-sketch-size: 921600\r\n"
    "x-ESP32-sketch-md5: 0cc175b9c0f1b6a831c399e269772661\r\n"
    "x-ESP32-sketch-sha256: " + "AB" * 32 + "\r\n"
    "x-ESP32-chip-size: 4194304\r\n"
    "x-ESP32-sdk-version: v4.4.7\r\n"
    "x-ESP32-mode: sketch\r\n"
    "\r\n"
)
"""What the stock updaters send. Source: ESP8266httpUpdate.cpp, HTTPUpdate.cpp."""
OURS = "GET {path} HTTP/1.1\r\nHost: sign.example\r\n{more}\r\n"


class Bench:
    """One release, and who asks for it."""

    def __init__(self, side: Any, make_files: Any, chip: Chip = Chip.ESP8266) -> None:
        from voicestatus.ota.incoming import Terms

        self.side, self.files = side, make_files(14, chip)
        self.image: bytes = self.files["image"]
        done: list[Any] = []

        async def publish() -> None:
            incoming = side.ota.catalogue.incoming()
            await incoming.append(self.image)
            incoming.sign(self.files["manifest"])
            done.append(await side.ota.catalogue.add(incoming, Terms(legacy=True)))

        Deferred.fromCoroutine(publish())
        ((self.release, _),) = done
        self.fetched: list[Any] = []
        side.ota.downloads.subscribe(self.fetched.append)

    def grant(self, device: str = "lamp") -> str:
        done: list[str] = []
        granting = self.side.ota.downloads.grant(device, self.release)
        Deferred.fromCoroutine(granting).addCallback(done.append)
        return done[0]

    def assign(self, device: str = "lamp") -> None:
        self.side.macs[MAC.lower()] = device
        self.side.ota.downloads.assigned = {device: self.release}.get

    def get(self, request: str, path: str, host: str = "192.0.2.1", **how: Any) -> Any:
        """Ask, and let time pass until all has come."""
        visitor = self.begin(request, path, host, **how)
        self.side.clock.pump([0.05] * 40)
        return visitor.answer

    def begin(
        self, request: str, path: str, host: str = "192.0.2.1", more: str = ""
    ) -> Any:
        visitor = self.side.visit(host)
        visitor.send(request.format(path=path, more=more).encode())
        return visitor

    @property
    def told(self) -> list[tuple[int, bool]]:
        return [(each.sent_bytes, each.whole) for each in self.fetched]


@pytest.fixture
def bench(side: Any, make_files: Any) -> Bench:
    return Bench(side, make_files)


# ---- /ota/images ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "chip"),
    [(ESP8266, Chip.ESP8266), (ESP32, Chip.ESP32S2), (OURS, Chip.ESP8266)],
)
def test_a_granted_image_comes_whole_and_once(
    side: Any, make_files: Any, request_: str, chip: Chip
):
    bench = Bench(side, make_files, chip)
    path = bench.grant()
    answer = bench.get(request_, path)
    assert answer.status == 200
    assert answer.body == bench.image
    assert answer.headers["content-length"] == str(len(bench.image))
    assert answer.headers["x-md5"] == bench.release.md5
    assert answer.headers["cache-control"] == "no-transform, no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert not {"transfer-encoding", "content-encoding", "location"} & set(
        answer.headers
    )
    assert bench.told == [(0, False), (len(bench.image), True)]
    assert bench.get(request_, path).status == 404


def test_an_end_that_was_lost_on_its_way_can_be_had_again(bench: Bench):
    """What was handed to the network has not arrived yet."""
    path, size = bench.grant(), len(bench.image)
    assert bench.get(OURS, path).body == bench.image
    again = bench.get(OURS, path, more=f"Range: bytes={size - 5000}-\r\n")
    assert (again.status, again.body) == (206, bench.image[-5000:])
    assert bench.told[-1] == (size, True)
    bench.side.clock.advance(LINGERS_S)
    late = bench.get(OURS, path, more=f"Range: bytes={size - 5000}-\r\n")
    assert late.status == 404


@pytest.mark.parametrize(
    "line",
    [
        "x-ESP8266-free-space: 100",
        "x-ESP8266-sketch-md5: {md5}",
        "x-ESP8266-mode: spiffs",
    ],
)
def test_an_updater_is_given_nothing_that_it_could_not_use(bench: Bench, line: str):
    line = line.format(md5=bench.release.md5)
    name, _, _ = line.partition(":")
    lines = [each for each in ESP8266.split("\r\n") if not each.startswith(name)]
    path = bench.grant()
    request = "\r\n".join([lines[0], line, *lines[1:]])
    assert bench.get(request, path).status == 404
    assert bench.get(ESP32, path).status == 404
    assert bench.fetched == []
    assert bench.get(ESP8266, path).status == 200


def test_an_old_device_is_answered_in_its_own_version_and_hung_up_on(bench: Bench):
    visitor = bench.begin(ESP8266, bench.grant())
    bench.side.clock.pump([0.05] * 40)
    assert visitor.transport.value().startswith(b"HTTP/1.0 200 OK\r\n")
    assert visitor.transport.disconnecting


def test_a_head_tells_all_but_the_image_and_spends_nothing(bench: Bench):
    path = bench.grant()
    head = bench.get(OURS.replace("GET", "HEAD"), path, more="Range: bytes=0-0\r\n")
    assert (head.status, head.body) == (200, b"")
    got = bench.get(OURS, path)
    for name in ("content-length", "x-md5", "etag", "accept-ranges"):
        assert head.headers[name] == got.headers[name]
    assert bench.told == [(0, False), (len(bench.image), True)]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_nothing_else_can_be_done(bench: Bench, method: str):
    for path in (bench.grant(), "/ota/check"):
        answer = bench.get(OURS.replace("GET", method), path)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_what_is_not_there_is_not_found(bench: Bench):
    path = bench.grant()
    start, token = path.rsplit("/", 1)
    for wrong in (
        *("/ota", "/ota/", "/ota/images", start, f"{start}/", f"{path}/", f"{path}x"),
        *(f"{start}/{'0' * 43}x", f"{start}/{'1' * 43}", f"{start}/%ff"),
        *(f"/ota/images/esp32-1-00000000/{token}", f"/ota/images/{token}"),
        f"/ota/images/probe/{token}",
    ):
        answer = bench.get(OURS, wrong)
        assert (answer.status, answer.body) == (404, b"not found")
        assert answer.headers["cache-control"] == "no-store"
    assert bench.get(OURS, path).status == 200


def test_an_image_that_is_lost_is_not_found(bench: Bench):
    path = bench.grant()
    Deferred.fromCoroutine(bench.side.store.delete_blob("image", bench.release.sha256))
    assert bench.get(OURS, path).status == 404


def test_a_store_that_is_away_is_no_refusal_for_good(bench: Bench):
    path = bench.grant()
    bench.side.store.running = 0
    answer = bench.get(OURS, path)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    bench.side.store.running = 1
    assert bench.get(OURS, path).status == 200


def test_a_store_that_goes_away_in_the_midst_breaks_it_off(bench: Bench):
    reads = []

    async def read_at(*_: Any) -> bytes:
        reads.append(1)
        if len(reads) > 1:
            bench.side.store._refuse_unless_running()
        return bench.image[:65_536]

    bench.side.store.read_at = read_at
    visitor = bench.begin(OURS, bench.grant(), more="")
    bench.side.store.running = 0
    bench.side.clock.pump([0.05] * 40)
    assert visitor.transport.disconnected
    bench.side.store.running = 1


# ---- parts ---------------------------------------------------------------------------


def test_a_download_that_broke_off_goes_on_where_it_was(bench: Bench):
    path, size = bench.grant(), len(bench.image)
    visitor = bench.begin(OURS, path)
    visitor.transport.producer.pauseProducing()
    bench.side.clock.pump([0.05] * 40)
    had = len(visitor.answer.body)
    assert 0 < had < size
    visitor.leave()
    assert bench.told[-1] == (had, False)
    answer = bench.get(OURS, path, more=f"Range: bytes={had - 100}-\r\n")
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {had - 100}-{size - 1}/{size}"
    assert answer.headers["content-length"] == str(size - had + 100)
    assert answer.body == bench.image[had - 100 :]
    assert bench.told[-1] == (size, True)


def test_a_part_is_a_part(bench: Bench):
    path = bench.grant()
    answer = bench.get(OURS, path, more="Range: bytes=70000-70009\r\n")
    assert (answer.status, answer.body) == (206, bench.image[70_000:70_010])
    assert bench.told == [(0, False), (0, False)]
    answer = bench.get(OURS, path, more="Range: bytes=999999999-\r\n")
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{len(bench.image)}"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ('"{sha256}"', 206),
        ('"other"', 200),
        ('W/"{sha256}"', 200),
        ("Sat, 21 Nov 2026 18:00:00 GMT", 200),
    ],
)
def test_a_part_of_something_else_is_the_whole(bench: Bench, given: str, status: int):
    tag = given.format(sha256=bench.release.sha256)
    more = f"Range: bytes=5-\r\nIf-Range: {tag}\r\n"
    assert bench.get(OURS, bench.grant(), more=more).status == status


# ---- /ota/check ----------------------------------------------------------------------


def test_who_is_known_by_its_mac_gets_what_is_assigned_to_it(bench: Bench):
    assert bench.get(ESP8266, "/ota/check").status == 304
    bench.assign()
    answer = bench.get(ESP8266, "/ota/check")
    assert (answer.status, answer.body) == (200, bench.image)
    assert answer.headers["x-md5"] == bench.release.md5
    assert bench.fetched[-1].device == "lamp"
    assert bench.fetched[-1].whole


def test_who_is_known_by_its_token_gets_what_is_assigned_to_it(bench: Bench):
    bench.assign("sign")
    bench.side.bearers[b"vsd_sesame"] = "sign"
    bench.side.macs.clear()
    assert bench.get(ESP8266, "/ota/check?token=vsd_sesame").body == bench.image
    assert bench.get(OURS, "/ota/check?token=vsd_sesame").body == bench.image
    assert bench.get(ESP8266, "/ota/check?token=wrong").status == 304


def test_a_wrong_token_is_not_made_right_by_a_mac(bench: Bench):
    bench.assign()
    assert bench.get(ESP8266, "/ota/check?token=wrong").status == 304


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("x-ESP8266-free-space: 100", 304),
        ("x-ESP8266-sketch-md5: {md5}", 304),
        ("x-ESP8266-mode: spiffs", 404),
        ("x-ESP8266-mode: version", 404),
        ("x-ESP8266-STA-MAC: nonsense", 404),
        ("x-ESP32-STA-MAC: A0:20:A6:12:34:56", 404),
        ("x-ESP8266-chip-size: much", 404),
    ],
)
def test_what_does_not_fit_is_not_given(bench: Bench, line: str, status: int):
    bench.assign()
    line = line.format(md5=bench.release.md5.upper())
    name, _, _ = line.partition(":")
    lines = [each for each in ESP8266.split("\r\n") if not each.startswith(name)]
    request = "\r\n".join([lines[0], line, *lines[1:]])
    answer = bench.get(request, "/ota/check")
    assert (answer.status, answer.body) == (
        status,
        b"" if status == 304 else b"not found",
    )
    assert bench.fetched == []


def test_another_family_is_given_nothing(bench: Bench):
    bench.assign()
    assert bench.get(ESP32, "/ota/check").status == 304


def test_what_no_admin_allowed_for_old_devices_is_not_given(bench: Bench):
    bench.assign()
    changing = bench.side.ota.catalogue.change(bench.release.id, legacy=False)
    Deferred.fromCoroutine(changing)
    bench.release = bench.side.ota.catalogue.get(bench.release.id)
    bench.assign()
    assert bench.get(ESP8266, "/ota/check").status == 304


# ---- probes --------------------------------------------------------------------------


def test_a_probe_is_answered_once_and_nothing_is_given(bench: Bench):
    heard: list[Any] = []
    bench.side.ota.downloads.subscribe_probes(heard.append)
    path = bench.side.ota.downloads.expect_probe("conn-1")
    assert bench.get(OURS, path).status == 404
    answer = bench.get(ESP8266, path)
    assert (answer.status, answer.body) == (304, b"")
    assert bench.get(ESP8266, path).status == 404
    (told,) = heard
    assert (told.device, told.facts.mac) == ("conn-1", MAC.lower())
    assert (told.facts.free_bytes, told.facts.version) == (1_609_728, "v1.2.3")


# ---- how many, how fast --------------------------------------------------------------


def unread(bench: Bench, request: str, device: str) -> Any:
    """Begin a download whose reader does not read."""
    visitor = bench.begin(request, bench.grant(device))
    visitor.transport.producer.pauseProducing()
    return visitor


@pytest.fixture
def narrow(make_side: Any, make_files: Any) -> Bench:
    return Bench(make_side(parallel=1), make_files)


def test_one_too_many_is_told_to_come_again(narrow: Bench):
    holds = unread(narrow, OURS, "first")
    path = narrow.grant("second")
    answer = narrow.get(OURS, path)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert narrow.side.metric("voicestatus_downloads_running") == 1
    holds.leave()
    assert narrow.get(OURS, path).status == 200


def test_an_updater_that_would_give_up_waits_for_its_turn(narrow: Bench):
    holds = unread(narrow, OURS, "first")
    waits = narrow.begin(ESP8266, narrow.grant("second"))
    gives_up = narrow.begin(ESP8266, narrow.grant("third"))
    gone = narrow.begin(ESP8266, narrow.grant("fourth"))
    gone.leave()
    narrow.side.clock.advance(ota.PATIENCE_S - 1)
    assert narrow.side.metric("voicestatus_downloads_waiting") == 2
    holds.leave()
    waits.transport.producer.pauseProducing()
    narrow.side.clock.advance(1)
    assert (waits.answer.status, gives_up.answer.status) == (200, 503)


def test_the_same_right_is_used_once_at_a_time(bench: Bench):
    path = bench.grant()
    before = bench.begin(OURS, path)
    before.transport.producer.pauseProducing()
    assert bench.get(OURS, path).body == bench.image
    assert before.transport.disconnected


def test_who_comes_again_does_not_wait_for_itself(narrow: Bench):
    path = narrow.grant("lamp")
    before = narrow.begin(OURS, path)
    before.transport.producer.pauseProducing()
    assert narrow.get(OURS, path).body == narrow.image
    assert before.transport.disconnected
    assert narrow.side.metric("voicestatus_downloads_running") == 0


def test_who_comes_again_leaves_the_line_that_it_stood_in(narrow: Bench):
    holds = unread(narrow, OURS, "first")
    path = narrow.grant("second")
    waits = narrow.begin(ESP8266, path)
    again = narrow.begin(ESP8266, path)
    assert waits.transport.disconnected
    assert narrow.side.metric("voicestatus_downloads_waiting") == 1
    holds.leave()
    narrow.side.clock.pump([0.05] * 40)
    assert again.answer.body == narrow.image


def test_a_defect_of_ours_keeps_nobody_waiting(
    bench: Bench, nothing_is_left_behind: list[Any]
):
    def broken(*_: Any) -> float:
        raise RuntimeError("a defect")

    bench.side.ota.pages._sending._pace.take = broken
    visitor = bench.begin(OURS, bench.grant())
    assert visitor.transport.disconnected
    assert bench.side.metric("voicestatus_downloads_running") == 0
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()


@pytest.mark.parametrize("when", ["begin", "ended"])
def test_who_cannot_be_told_of_a_download_keeps_no_place(
    bench: Bench, nothing_is_left_behind: list[Any], when: str
):
    path = bench.grant()

    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    setattr(bench.side.ota.downloads, when, broken)
    visitor = bench.begin(OURS, path)
    bench.side.clock.pump([0.05] * 40)
    assert visitor.transport.disconnected
    assert bench.side.metric("voicestatus_downloads_running") == 0
    nothing_is_left_behind.clear()


def test_who_does_not_read_is_cut_off(bench: Bench):
    visitor = unread(bench, OURS, "lamp")
    bench.side.clock.advance(1)
    held = len(visitor.transport.value())
    bench.side.clock.advance(ota.STALLED_AFTER_S - 2)
    assert not visitor.transport.disconnected
    assert len(visitor.transport.value()) == held
    bench.side.clock.advance(2)
    assert visitor.transport.disconnected
    how = "voicestatus_downloads_ended_total"
    assert bench.side.metric(how, how="stalled") == 1


def test_who_does_not_read_the_very_end_is_cut_off(bench: Bench):
    """It was handed over, and a closed connection waits for it."""
    visitor = bench.begin(ESP8266, bench.grant())
    bench.side.clock.pump([0.05] * 40)
    assert visitor.transport.disconnecting
    assert not visitor.transport.disconnected
    bench.side.clock.advance(site.IDLE_S)
    assert visitor.transport.disconnected


def test_each_address_has_its_pace(make_side: Any, make_files: Any):
    rates = Rates(in_all=1e6, per_address=50_000)
    bench = Bench(make_side(rates=rates), make_files)
    first = bench.begin(OURS, bench.grant("first"), "192.0.2.1")
    same = bench.begin(OURS, bench.grant("same"), "192.0.2.1")
    other = bench.begin(OURS, bench.grant("other"), "192.0.2.2")
    for _ in range(50):
        bench.side.clock.advance(0.02)
    sent = [len(each.answer.body) for each in (first, same, other)]
    assert 40_000 < sent[0] + sent[1] < 100_000
    assert abs(sent[0] - sent[1]) <= 2 * ota.PIECE_BYTES
    assert 40_000 < sent[2] < 100_000


def test_all_together_have_theirs(make_side: Any, make_files: Any):
    bench = Bench(make_side(rates=Rates(100_000, 100_000)), make_files)
    visitors = [
        bench.begin(OURS, bench.grant(f"{n}"), f"192.0.2.{n}") for n in range(10)
    ]
    for _ in range(100):
        bench.side.clock.advance(0.02)
    sent = [len(each.answer.body) for each in visitors]
    assert 150_000 < sum(sent) < 250_000
    assert max(sent) - min(sent) <= 2 * ota.PIECE_BYTES


def test_many_cause_the_image_to_be_read_once(bench: Bench):
    reads = []
    read_at = bench.side.store.read_at

    async def counted(*args: Any) -> bytes:
        reads.append(args)
        data: bytes = await read_at(*args)
        return data

    bench.side.store.read_at = counted
    visitors = [
        bench.begin(OURS, bench.grant(f"{n}"), f"192.0.2.{n}") for n in range(50)
    ]
    bench.side.clock.pump([0.05] * 40)
    assert all(each.answer.body == bench.image for each in visitors)
    assert len(reads) == -(-len(bench.image) // 65_536)


def test_two_on_one_connection_come_one_after_the_other(bench: Bench):
    paths = [bench.grant("a"), bench.grant("b")]
    data = "".join(OURS.format(path=path, more="") for path in paths)
    visitor = bench.side.visit()
    visitor.send(data.encode())
    bench.side.clock.pump([0.05] * 40)
    first, second = visitor.transport.value().split(b"HTTP/1.1 200 OK")[1:]
    assert first.endswith(bench.image)
    assert second.endswith(bench.image)


def test_who_downloads_counts_for_no_address(bench: Bench):
    door, visitor = bench.side.door, bench.side.visit()
    door.claim(visitor.transport, "192.0.2.1")
    visitor.send(OURS.format(path=bench.grant(), more="").encode())
    assert door._admission._strangers == {}
    bench.side.clock.pump([0.05] * 40)


def test_the_end_of_the_server_ends_downloads(bench: Bench):
    visitor = unread(bench, OURS, "lamp")
    bench.side.ota.stopService()
    assert visitor.transport.disconnected
    assert bench.told[-1][1] is False
    path = bench.grant()
    bench.side.store.running = 0
    assert bench.get(OURS, path).status == 503
    bench.side.store.running = 1
    bench.side.ota.startService()


def test_no_token_is_logged(bench: Bench):
    lines: list[str] = []

    def observe(event: Any) -> None:
        from twisted.logger import formatEvent

        lines.append(formatEvent(event) + repr(event))

    bench.side.site.doStart()
    globalLogPublisher.addObserver(observe)
    path = bench.grant()
    probe = bench.side.ota.downloads.expect_probe("conn-1")
    quoted = path.replace("/ota", "/%6fta")
    for each in (path, quoted, path, probe, "/ota/check?token=vsd_sesame"):
        bench.get(OURS, each)
    globalLogPublisher.removeObserver(observe)
    text = "\n".join(lines)
    assert f"/ota/images/{bench.release.id}/..." in text
    for secret in (path, probe, "vsd_sesame"):
        assert secret.rsplit("/", 1)[-1] not in text
