"""What a browser is given that flashes a chip: never what would not start."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from voicestatus.core.chip import Chip
from voicestatus.simulator.images import make_merged
from voicestatus.store.blobs import CHUNK_BYTES, Blob
from voicestatus.web.api.flash import FlashSubject, ProvisioningSubject
from voicestatus.web.audit import Audit
from voicestatus.web.flash_images import FlashImages
from voicestatus.web.flasher import FAMILIES


@pytest.fixture
def images(side: Any) -> Any:
    made = FlashImages(side.store, side.clock)
    made.startService()
    yield made
    if made.running:
        made.stopService()


@pytest.fixture
def ask(side: Any, images: FlashImages, serve: Any) -> Any:
    """Ask as an admin; `PUBLIC_URL` is said."""
    return serve(
        side,
        FlashSubject(side.ota.catalogue, images),
        ProvisioningSubject(
            side.devices,
            Audit(side.store, side.wall),
            "https://signs.example",
            "/ws",
        ),
    )


@pytest.fixture
def publish(side: Any, make_files: Any, make_form: Any) -> Any:
    def publish(**said: Any) -> tuple[str, bytes]:
        made = make_files(**said)
        headers, body = make_form(made)
        answer = side.ask("POST", "/firmware/releases", body, headers=headers)
        assert answer.status == 201, answer.body
        return answer.json["id"], made["image"]

    return publish


def test_an_esp8266_gets_all_of_its_flash_in_one_part(ask: Any, publish: Any):
    release, image = publish(chip=Chip.ESP8266)
    manifest = ask("GET", f"/flash/manifest?release={release}")
    assert manifest.json == {
        "name": "voicestatus",
        "version": "1.4.0",
        "builds": [
            {
                "chipFamily": "ESP8266",
                "parts": [{"path": f"images/{release}/0", "offset": 0}],
            }
        ],
        "new_install_prompt_erase": True,
        "new_install_improv_wait_time": 15,
    }
    got = ask("GET", f"/flash/images/{release}/0")
    assert got.body == image
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["content-length"] == f"{len(image)}"
    head = ask("HEAD", f"/flash/images/{release}/0")
    assert (head.body, head.headers["content-length"]) == (b"", f"{len(image)}")


@pytest.mark.parametrize("chip", [c for c in FAMILIES if c is not Chip.ESP8266])
def test_another_chip_gets_what_starts_it_and_none_of_its_settings(
    side: Any, ask: Any, make_files: Any, make_form: Any, chip: Chip
):
    made = make_files(chip=chip)
    merged = make_merged(chip, made["image"])
    headers, body = make_form(made | {"flash": merged})
    shown = side.ask("POST", "/firmware/releases", body, headers=headers)
    assert shown.status == 201, shown.body
    assert (shown.json["flashable"], shown.json["notFlashable"]) == (True, None)
    (told,) = ask("GET", "/flash").json["builds"]
    assert (told["family"], told["obstacle"]) == (FAMILIES[chip], None)

    manifest = ask("GET", f"/flash/manifest?release={shown.json['id']}")
    (build,) = manifest.json["builds"]
    assert build["chipFamily"] == FAMILIES[chip]
    flashed = bytearray(b"\xff" * len(merged))
    for part in build["parts"]:
        got = ask("GET", f"/flash/{part['path']}")
        assert got.headers["content-length"] == f"{len(got.body)}"
        at = part["offset"]
        assert got.body == merged[at : at + len(got.body)].ljust(len(got.body), b"\xff")
        assert not (at < 0xE000 and at + len(got.body) > 0x9000)
        flashed[at : at + len(got.body)] = got.body
    assert flashed == merged
    assert ask("GET", f"/flash/images/{shown.json['id']}/1").status == 404


@pytest.mark.parametrize("chip", [c for c in FAMILIES if c is not Chip.ESP8266])
def test_a_program_alone_is_never_put_on_a_chip(
    side: Any, ask: Any, publish: Any, chip: Chip
):
    release, _ = publish(chip=chip)
    (told,) = ask("GET", "/flash").json["builds"]
    assert (told["release"], told["obstacle"]) == (release, "APP_ALONE")
    shown = side.ask("GET", f"/firmware/releases/{release}").json
    assert (shown["flashable"], shown["notFlashable"]) == (False, "APP_ALONE")
    for path in (f"/flash/manifest?release={release}", f"/flash/images/{release}/0"):
        refused = ask("GET", path)
        assert (refused.status, refused.code) == (409, "RELEASE_NOT_FLASHABLE")
        assert refused.json["error"]["details"] == {"reason": "APP_ALONE"}


def test_what_is_no_release_for_a_chip_is_not_there(ask: Any, publish: Any):
    release, _ = publish(chip=Chip.HOST)
    assert ask("GET", "/flash").json == {"builds": []}
    for id_ in (release, "none"):
        assert ask("GET", f"/flash/manifest?release={id_}").code == "RELEASE_NOT_FOUND"


def test_what_no_key_signed_that_may_sign_today_is_not_given(
    side: Any, ask: Any, publish: Any
):
    release, _ = publish(chip=Chip.ESP8266)
    side.ota.catalogue._keys = ()
    Deferred.fromCoroutine(side.ota.catalogue.reread(release))
    (told,) = ask("GET", "/flash").json["builds"]
    assert told["obstacle"] == "NOT_TRUSTED"
    assert ask("GET", f"/flash/images/{release}/0").code == "RELEASE_NOT_FLASHABLE"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/flash"),
        ("GET", "/flash/manifest?release=x"),
        ("GET", "/flash/images/x/0"),
        ("POST", "/provisioning"),
    ],
)
def test_who_is_no_admin_gets_nothing(ask: Any, method: str, path: str):
    assert ask(method, path, token=None).status == 401


class SlowStore:
    """Gives an image of three pieces, each when a test says so."""

    def __init__(self) -> None:
        self.asked: list[Deferred[None]] = []

    async def blob(self, kind: str, id_: str) -> Blob:
        return Blob(kind, id_, 3 * CHUNK_BYTES, id_, 1)

    async def read(self, blob: Blob, start: int, end: int) -> AsyncIterator[bytes]:
        self.asked.append(waits := Deferred[None]())
        await waits
        yield bytes(end - start)


def test_an_image_goes_out_no_faster_than_it_is_taken(
    side: Any, publish: Any, serve: Any, request_bytes: Any
):
    release, _ = publish(chip=Chip.ESP8266)
    store = SlowStore()
    images = FlashImages(store, side.clock)
    images.startService()
    serve(side, FlashSubject(side.ota.catalogue, images))
    visitor = side.visit()
    visitor.send(request_bytes("GET", f"/own/flash/images/{release}/0"))
    visitor.transport.producer.pauseProducing()
    store.asked[0].callback(None)
    assert (len(store.asked), len(visitor.answer.body)) == (1, CHUNK_BYTES)
    visitor.transport.producer.resumeProducing()
    store.asked[1].callback(None)
    assert len(visitor.answer.body) == 2 * CHUNK_BYTES
    images.stopService()
    assert visitor.transport.disconnecting or visitor.transport.aborting
    assert not images._running


def test_a_new_device_is_told_where_to_dial_and_what_to_say(side: Any, ask: Any):
    made = ask("POST", "/provisioning")
    assert made.status == 201
    assert made.json["url"] == "wss://signs.example/ws"
    assert made.json["path"] == "/ws"
    token = made.json["token"]
    assert token.startswith("vst_")
    (entry,) = side.ask("GET", "/audit?limit=1").json["entries"]
    assert entry["action"] == "device.provision"
    assert token not in json.dumps(entry)
