"""A release comes in as a form that is read while it comes."""

import json
from typing import Any

import pytest
import pytest_twisted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from voicestatus.core.chip import Chip
from voicestatus.simulator.images import make_merged
from voicestatus.web.api import releases
from voicestatus.web.inflow import MAX_UNREAD_BYTES

PATH = "/firmware/releases"
CHUNK = 50_000


@pytest.fixture
def upload(side: Any, make_form: Any) -> Any:
    def upload(parts: Any, **how: Any) -> Any:
        headers, body = make_form(parts)
        return side.ask("POST", PATH, body, headers=headers | how)

    return upload


@pytest.fixture
def head_and_body(request_bytes: Any, make_form: Any, make_files: Any) -> Any:
    def make(
        more: dict[str, str] | None = None, size: int = 200_000, **how: Any
    ) -> tuple[bytes, bytes]:
        headers, body = make_form(make_files(size_bytes=size))
        given = headers | (more or {})
        whole = request_bytes("POST", f"/api/v1{PATH}", body, headers=given, **how)
        return whole[: -len(body)], body

    return make


def nothing_is_kept(side: Any) -> bool:
    kinds = {kind for kind, _ in side.store._documents}
    return not (side.store._contents or side.store._blobs or "release" in kinds)


# ---- what comes in -------------------------------------------------------------------


def test_a_form_makes_a_release(upload: Any, side: Any, make_files: Any):
    parts = make_files() | {"channel": "beta", "legacy": "true", "notes": "Sänfter"}
    answer = upload(parts)
    assert answer.status == 201
    shown = answer.json
    assert shown["id"] == f"esp32-14-{shown['sha256'][:8]}"
    assert (shown["channel"], shown["legacy"]) == ("beta", True)
    assert (shown["notes"], shown["needed"]) == ("Sänfter", False)
    assert shown["sizeBytes"] == len(parts["image"])
    assert shown["notAfter"] is None
    assert side.ask("GET", f"{PATH}/{shown['id']}").json == shown
    (entry,) = side.ask("GET", "/audit").json["entries"]
    assert (entry["action"], entry["target"]) == ("release.create", shown["id"])
    assert entry["details"]["legacy"] is True


def test_the_same_again_is_no_error(upload: Any, side: Any, make_files: Any):
    first, again = upload(make_files()), upload(make_files())
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    assert len(side.ask("GET", "/audit").json["entries"]) == 1


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_it_may_come_in_pieces_of_any_size(
    side: Any, request_bytes: Any, make_form: Any, make_files: Any, size: int
):
    headers, body = make_form(make_files(size_bytes=5_024))
    visitor = side.visit()
    data = request_bytes("POST", f"/api/v1{PATH}", body, headers=headers)
    for at in range(0, len(data), size):
        visitor.send(data[at : at + size])
    assert visitor.answer.status == 201


def test_it_may_come_in_chunks(side: Any, head_and_body: Any):
    head, body = head_and_body({"Transfer-Encoding": "chunked"})
    head = b"\r\n".join(
        line for line in head.split(b"\r\n") if b"Content-Length" not in line
    )
    visitor = side.visit()
    visitor.send(head)
    for at in range(0, len(body), CHUNK):
        piece = body[at : at + CHUNK]
        visitor.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    visitor.send(b"0\r\n\r\n")
    assert visitor.answer.status == 201


def test_the_manifest_may_come_first(upload: Any, make_files: Any):
    files = make_files()
    assert (
        upload([("manifest", files["manifest"]), ("image", files["image"])]).status
        == 201
    )


def test_a_date_beyond_all_calendars_is_shown_as_the_last_one(
    upload: Any, make_files: Any
):
    answer = upload(make_files(not_after=2**60))
    assert answer.json["notAfter"] == "9999-12-31T23:59:59Z"


def test_the_connection_goes_on_after_it(
    side: Any, head_and_body: Any, request_bytes: Any
):
    visitor = side.visit()
    visitor.send(b"".join(head_and_body()) + request_bytes("GET", "/api/v1/audit"))
    answers = visitor.transport.value().split(b"HTTP/1.1 ")[1:]
    assert [each[:3] for each in answers] == [b"201", b"200"]


# ---- what is wrong with it -----------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code", "key"),
    [
        ({"image": None}, "VALIDATION_FAILED", "image"),
        ({"manifest": None}, "VALIDATION_FAILED", "manifest"),
        ({"image": b""}, "IMAGE_REFUSED", "image"),
        ({"image": b"\x7fELF" + bytes(100)}, "IMAGE_REFUSED", "image"),
        ({"image": b"x" * 100_000}, "IMAGE_REFUSED", "image"),
        ({"manifest": b""}, "MANIFEST_REFUSED", "manifest"),
        ({"manifest": bytes(192)}, "MANIFEST_REFUSED", "manifest"),
        ({"manifest": bytes(5000)}, "VALIDATION_FAILED", "manifest"),
        ({"channel": "gamma"}, "VALIDATION_FAILED", "channel"),
        ({"legacy": "yes"}, "VALIDATION_FAILED", "legacy"),
        ({"notes": "x" * 1001}, "VALIDATION_FAILED", "notes"),
        ({"notes": b"\xff"}, "VALIDATION_FAILED", None),
        ({"colour": "red"}, "VALIDATION_FAILED", "colour"),
        ({"": "red"}, "VALIDATION_FAILED", None),
    ],
)
def test_a_wrong_part_is_named(
    upload: Any, side: Any, make_files: Any, change: Any, code: str, key: str | None
):
    parts = {k: v for k, v in (make_files() | change).items() if v is not None}
    answer = upload(parts)
    assert (answer.status, answer.code) == (400, code)
    assert answer.json["error"]["details"].get("key") == key
    assert nothing_is_kept(side)


def test_a_wrong_manifest_that_comes_first_spares_the_image(
    side: Any, request_bytes: Any, make_form: Any, make_files: Any
):
    parts = [("manifest", bytes(192)), ("image", make_files()["image"])]
    headers, body = make_form(parts)
    visitor = side.visit()
    data = request_bytes("POST", f"/api/v1{PATH}", body, headers=headers)
    visitor.send(data[: -len(parts[1][1])])
    assert (visitor.answer.status, visitor.answer.code) == (400, "MANIFEST_REFUSED")
    assert nothing_is_kept(side)


def test_a_part_that_comes_twice_is_named(upload: Any, side: Any, make_files: Any):
    files = make_files()
    answer = upload([*files.items(), ("manifest", files["manifest"])])
    assert (answer.status, answer.code) == (400, "VALIDATION_FAILED")
    assert answer.json["error"]["details"] == {"key": "manifest"}
    assert nothing_is_kept(side)


def test_another_image_of_the_same_build_is_refused(
    upload: Any, side: Any, make_files: Any
):
    upload(make_files())
    answer = upload(make_files(size_bytes=150_000))
    assert (answer.status, answer.code) == (409, "BUILD_EXISTS")
    assert len(side.ask("GET", PATH).json["releases"]) == 1


def test_without_a_key_it_is_refused_before_the_body_is_there(
    make_side: Any, head_and_body: Any
):
    visitor = make_side(keys=()).visit()
    visitor.send(head_and_body()[0])
    assert (visitor.answer.status, visitor.answer.code) == (409, "NO_SIGNING_KEYS")


def test_a_flash_that_is_none_for_the_image_is_refused(
    upload: Any, side: Any, make_files: Any
):
    files = make_files()
    merged = make_merged(Chip.ESP32, files["image"])
    other = make_merged(Chip.ESP32, make_files(build=15)["image"])
    for flash, reason in (
        (b"", "FLASH_TRUNCATED"),
        (files["image"], "FLASH_BOOT_LOADER"),
        (make_merged(Chip.ESP32S2, files["image"]), "FLASH_CHIP"),
        (merged[:-1], "FLASH_TRUNCATED"),
        (other, "FLASH_APP"),
    ):
        answer = upload(files | {"flash": flash})
        assert (answer.status, answer.code) == (400, "IMAGE_REFUSED")
        details = answer.json["error"]["details"]
        assert (details["key"], details["reason"]) == ("flash", reason)
        assert nothing_is_kept(side)
    eight = make_files(chip=Chip.ESP8266)
    for flash in (eight["image"], merged):
        refused = upload([("flash", flash), *eight.items()])
        assert refused.json["error"]["details"]["reason"] == "FLASH_NEEDLESS"
    assert nothing_is_kept(side)
    assert upload([("flash", merged), *files.items()]).json["flashable"]


def test_a_flash_that_breaks_off_leaves_nothing(
    side: Any, request_bytes: Any, make_form: Any, make_files: Any
):
    files = make_files()
    flash = make_merged(Chip.ESP32, files["image"])
    headers, body = make_form(files | {"flash": flash})
    visitor = side.visit()
    visitor.send(request_bytes("POST", f"/api/v1{PATH}", body, headers=headers)[:-500])
    visitor.leave()
    assert nothing_is_kept(side)


def test_a_flash_may_come_when_the_release_is_there(
    upload: Any, side: Any, make_files: Any
):
    files = make_files()
    alone = upload(files)
    flash = make_merged(Chip.ESP32, files["image"])
    again = upload(files | {"flash": flash, "channel": "beta"})
    assert (alone.status, again.status) == (201, 200)
    assert again.json == alone.json | {"flashable": True, "notFlashable": None}
    assert upload(files).json == again.json
    first, second = side.ask("GET", "/audit").json["entries"]
    assert (first["action"], first["details"]) == ("release.change", {"flash": True})
    assert (second["action"], second["details"]["flash"]) == ("release.create", False)
    assert side.ask("DELETE", f"{PATH}/{again.json['id']}").status == 204
    assert nothing_is_kept(side)


@pytest.mark.parametrize(
    "kind",
    [
        *("application/json", "multipart/form-data", "multipart/form-data; boundary="),
        *("multipart/mixed; boundary=a-boundary", ""),
    ],
)
def test_what_is_no_form_is_refused(side: Any, head_and_body: Any, kind: str):
    visitor = side.visit()
    visitor.send(head_and_body({"Content-Type": kind})[0])
    assert (visitor.answer.status, visitor.answer.code) == (
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    )


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"x", b"--a-boundary", b"--a-boundary\r\n\r\n"),
        b"--a-boundary\r\nContent-Disposition: form-data\r\n\r\n\r\n--a-boundary--",
        b"--a-boundary\r\n" + b"A" * 100_000,
        b"--a-boundary\r\n" + b"A: b\r\n" * 10_000,
    ],
)
def test_a_form_that_is_none_is_refused(side: Any, make_form: Any, body: bytes):
    headers, _ = make_form({})
    answer = side.ask("POST", PATH, body, headers=headers)
    assert (answer.status, answer.code) == (400, "VALIDATION_FAILED")
    assert nothing_is_kept(side)


def test_a_boundary_that_cannot_be_one_is_refused(side: Any, head_and_body: Any):
    kind = "multipart/form-data; boundary=" + "x" * 5000
    visitor = side.visit()
    visitor.send(head_and_body({"Content-Type": kind})[0])
    assert (visitor.answer.status, visitor.answer.code) == (400, "VALIDATION_FAILED")


@settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.binary(max_size=300)
    | st.lists(
        st.sampled_from(
            [b"--a-boundary", b"\r\n", b"--", b"Content-Disposition: form-data; name=x"]
        )
    ).map(b"".join)
)
def test_no_form_makes_a_defect(
    side: Any, make_form: Any, nothing_is_left_behind: list[Any], body: bytes
):
    headers, _ = make_form({})
    assert side.ask("POST", PATH, body, headers=headers).status == 400
    assert nothing_is_left_behind == []


# ---- who may, and how much -----------------------------------------------------------


def test_who_has_no_token_is_told_so_before_the_body_is_there(
    side: Any, head_and_body: Any
):
    visitor = side.visit()
    visitor.send(head_and_body({"Expect": "100-continue"}, token=None)[0])
    assert (visitor.answer.status, visitor.answer.code) == (401, "UNAUTHORIZED")
    assert visitor.answer.headers["www-authenticate"] == "Bearer"
    assert visitor.answer.headers["connection"] == "close"
    assert b"100 Continue" not in visitor.transport.value()
    assert nothing_is_kept(side)


def test_what_is_sent_all_the_same_is_not_read_for_ever(side: Any, head_and_body: Any):
    head, body = head_and_body(token=None)
    visitor = side.visit()
    visitor.send(head + body[:1000])
    assert not visitor.transport.disconnecting
    side.clock.advance(2)
    assert visitor.transport.disconnecting
    other = side.visit()
    other.send(head)
    other.send(body)
    assert other.transport.disconnecting
    assert other.transport.value().count(b"HTTP/1.1") == 1


class Pusher(Protocol):
    """Sends megabytes and reads afterwards what came meanwhile."""

    def __init__(self, head: bytes) -> None:
        self.head, self.heard = head, b""
        self.done: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self.head + bytes(8_000_000))

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any) -> None:
        self.done.callback(self.heard)


@pytest_twisted.ensureDeferred
async def test_the_refusal_reaches_who_is_still_sending(
    real_side: Any, head_and_body: Any
):
    from twisted.internet import reactor

    _, port = real_side
    head, _ = head_and_body({"Content-Length": "8000000"}, token=None)
    pusher = Pusher(head)
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    await endpoint.connect(Factory.forProtocol(lambda: pusher))
    heard = await pusher.done.addTimeout(20, reactor)
    assert heard.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert heard.endswith(b"}}")


def test_who_asks_whether_to_send_is_told_to(side: Any, head_and_body: Any):
    head, body = head_and_body({"Expect": "100-continue"})
    visitor = side.visit()
    visitor.send(head)
    assert visitor.transport.value() == b"HTTP/1.1 100 Continue\r\n\r\n"
    visitor.transport.clear()
    visitor.send(body)
    assert visitor.answer.status == 201


def test_a_wrong_token_waits_and_the_body_with_it(side: Any, head_and_body: Any):
    head, body = head_and_body(token="wrong")
    for _ in range(2):
        visitor = side.visit()
        visitor.send(head)
    for at in range(0, len(body), CHUNK):
        if visitor.transport.producerState == "producing":
            visitor.send(body[at : at + CHUNK])
    assert visitor.transport.producerState == "paused"
    assert visitor.answer.status == 0
    side.clock.advance(5)
    assert visitor.answer.status == 401
    assert visitor.transport.producerState == "producing"


def test_a_body_too_large_is_refused_before_it_is_there(side: Any, head_and_body: Any):
    visitor = side.visit()
    length = f"{releases.FORM_BYTES + 1}"
    visitor.send(head_and_body({"Content-Length": length})[0])
    assert (visitor.answer.status, visitor.answer.code) == (413, "PAYLOAD_TOO_LARGE")


def test_a_body_in_chunks_has_the_same_limit(side: Any, head_and_body: Any):
    """Behind the last part, where nobody looks at it any more."""
    head, body = head_and_body()
    lines = [line for line in head.split(b"\r\n") if b"Content-Le" not in line]
    lines.insert(1, b"Transfer-Encoding: chunked")
    visitor = side.visit()
    visitor.send(b"\r\n".join(lines))
    visitor.send(b"%x\r\n%b\r\n" % (len(body), body))
    for _ in range(releases.FORM_BYTES // 0x100000 + 1):
        visitor.send(b"100000\r\n" + bytes(0x100000) + b"\r\n")
    assert (visitor.answer.status, visitor.answer.code) == (413, "PAYLOAD_TOO_LARGE")
    assert nothing_is_kept(side)


def test_a_slow_store_makes_the_sender_wait(side: Any, head_and_body: Any):
    gate: Deferred[None] = Deferred()
    append = side.store.append_upload

    async def slow(*args: Any) -> None:
        await gate
        await append(*args)

    side.store.append_upload = slow
    head, body = head_and_body(size=400_000)
    visitor, sent = side.visit(), 0
    visitor.send(head)
    while visitor.transport.producerState == "producing" and sent < len(body):
        visitor.send(body[sent : sent + 16_384])
        sent += 16_384
    assert sent < MAX_UNREAD_BYTES + 100_000
    gate.callback(None)
    assert visitor.transport.producerState == "producing"
    visitor.send(body[sent:])
    assert visitor.answer.status == 201


def test_who_goes_in_the_midst_of_it_leaves_nothing(side: Any, head_and_body: Any):
    head, body = head_and_body()
    visitor = side.visit()
    visitor.send(head + body[:150_000])
    assert side.store._contents
    visitor.leave()
    assert nothing_is_kept(side)
    assert side.ask("GET", PATH).json["releases"] == []


def test_who_goes_before_the_answer_has_published_it(side: Any, head_and_body: Any):
    side.store.gate = gate = Deferred()
    visitor = side.visit()
    visitor.send(b"".join(head_and_body()))
    visitor.leave()
    side.store.gate = None
    gate.callback(None)
    assert len(side.ask("GET", PATH).json["releases"]) == 1


def test_only_so_many_come_at_a_time(
    side: Any, head_and_body: Any, upload: Any, make_files: Any
):
    head, body = head_and_body()
    visitors = [side.visit() for _ in range(releases.MOST_UPLOADS)]
    for visitor in visitors:
        visitor.send(head + body[:1000])
    refused = side.visit()
    refused.send(head)
    assert (refused.answer.status, refused.answer.code) == (429, "TOO_MANY_UPLOADS")
    assert refused.answer.headers["retry-after"] == "10"
    for visitor in visitors:
        visitor.leave()
    assert upload(make_files()).status == 201


def test_one_that_comes_in_drops_gives_its_place_back(side: Any, head_and_body: Any):
    head, body = head_and_body()
    visitor = side.visit()
    visitor.send(head + body[:100_000])
    for at in range(100_000, 100_020):
        assert not visitor.answer.status
        visitor.send(body[at : at + 1])
        side.clock.advance(releases.UPLOAD_WITHIN_S / 20)
    assert (visitor.answer.status, visitor.answer.code) == (408, "UPLOAD_TOO_SLOW")
    assert nothing_is_kept(side)


def test_the_end_of_the_server_ends_it(side: Any, head_and_body: Any):
    head, body = head_and_body()
    visitor = side.visit()
    visitor.send(head + body[:100_000])
    side.admin.stopService()
    assert (visitor.answer.status, visitor.answer.code) == (503, "STOPPING")
    assert nothing_is_kept(side)
    other = side.visit()
    other.send(head)
    assert other.answer.status == 503
    side.admin.startService()


def test_a_store_that_is_away_is_no_defect(side: Any, head_and_body: Any):
    head, body = head_and_body()
    visitor = side.visit()
    visitor.send(head + body[:1000])
    side.store.running = 0
    visitor.send(body[1000:])
    assert (visitor.answer.status, visitor.answer.code) == (503, "STORE_UNAVAILABLE")
    side.store.running = 1


def test_a_defect_of_ours_is_logged(
    side: Any, head_and_body: Any, nothing_is_left_behind: list[Any]
):
    async def broken(*_: Any) -> None:
        raise RuntimeError("the secret of the house")

    side.store.append_upload = broken
    visitor = side.visit()
    visitor.send(b"".join(head_and_body()))
    assert (visitor.answer.status, visitor.answer.code) == (500, "INTERNAL")
    assert b"secret" not in visitor.transport.value()
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()


def test_a_path_in_another_spelling_is_read_too(
    side: Any, make_form: Any, make_files: Any
):
    headers, body = make_form(make_files())
    answer = side.ask("POST", "/firmware/rele%61ses", body, headers=headers)
    assert answer.status == 201


@pytest.mark.parametrize("token", ["open-sesame", "wrong"])
def test_a_path_with_quoted_slashes_is_no_path(
    side: Any, request_bytes: Any, make_form: Any, make_files: Any, token: str
):
    headers, body = make_form(make_files(size_bytes=5_024))
    path = f"/api/v1{PATH}".replace("/", "%2F").replace("%2F", "/", 1)
    for _ in range(2):
        visitor = side.visit()
        visitor.send(request_bytes("POST", path, body, token, headers))
        side.clock.advance(60)
        assert visitor.answer.status == 404
    assert nothing_is_kept(side)


# ---- the rest of the subject ---------------------------------------------------------


@pytest.fixture
def ids(upload: Any, make_files: Any) -> list[str]:
    from voicestatus.core.chip import Chip

    made = [
        upload(make_files(build, chip, 20_000) | {"channel": channel}).json["id"]
        for build, chip, channel in (
            (1, Chip.ESP32, "stable"),
            (2, Chip.ESP32, "beta"),
            (1, Chip.ESP8266, "stable"),
        )
    ]
    return sorted(made)


def test_they_are_listed_in_pages(side: Any, ids: list[str]):
    found, after = [], ""
    for _ in range(2):
        page = side.ask("GET", f"{PATH}?limit=2&after={after}").json
        found += [release["id"] for release in page["releases"]]
        after = page["next"]
    assert (found, after) == (ids, None)


@pytest.mark.parametrize(
    ("query", "count"),
    [("chip=esp32", 2), ("channel=beta", 1), ("chip=host", 0), ("chip=esp8266", 1)],
)
def test_some_can_be_asked_for(side: Any, ids: list[str], query: str, count: int):
    assert len(side.ask("GET", f"{PATH}?{query}").json["releases"]) == count


def test_every_chip_can_be_asked_for(side: Any):
    from voicestatus.core.chip import Chip

    for chip in Chip:
        assert side.ask("GET", f"{PATH}?chip={chip.title}").status == 200
    assert side.ask("GET", f"{PATH}?chip=abacus").status == 400


def test_one_is_changed(side: Any, ids: list[str]):
    body = {"channel": "beta", "legacy": True, "notes": "x"}
    answer = side.ask("PATCH", f"{PATH}/{ids[0]}", body)
    assert answer.status == 200
    assert {key: answer.json[key] for key in body} == body
    assert side.ask("PATCH", f"{PATH}/{ids[0]}", {}).json == answer.json
    entry = side.ask("GET", "/audit").json["entries"][1]
    assert (entry["action"], entry["details"]) == ("release.change", body)
    for wrong in ({"channel": "gamma"}, {"legacy": None}, {"build": 3}):
        assert side.ask("PATCH", f"{PATH}/{ids[0]}", wrong).status == 400


def test_one_is_deleted_unless_it_is_needed(side: Any, ids: list[str]):
    side.ota.catalogue.needed = {ids[0]}.__contains__
    assert side.ask("GET", f"{PATH}/{ids[0]}").json["needed"] is True
    answer = side.ask("DELETE", f"{PATH}/{ids[0]}")
    assert (answer.status, answer.code) == (409, "RELEASE_IN_USE")
    assert side.ask("DELETE", f"{PATH}/{ids[1]}").status == 204
    answer = side.ask("GET", f"{PATH}/{ids[1]}")
    assert (answer.status, answer.code) == (404, "RELEASE_NOT_FOUND")
    assert side.ask("DELETE", f"{PATH}/{ids[1]}").status == 404
    entries = side.ask("GET", "/audit").json["entries"]
    assert [entry["action"] for entry in entries].count("release.delete") == 1


def test_the_form_is_described(side: Any):
    described = side.ask("GET", "/openapi.json").json
    operation = described["paths"][PATH]["post"]
    (schema,) = operation["requestBody"]["content"].values()
    assert set(schema["schema"]["required"]) == {"image", "manifest"}
    assert {"200", "201", "409", "413", "415", "429"} <= set(operation["responses"])
    assert "multipart/form-data" in json.dumps(operation["requestBody"])
