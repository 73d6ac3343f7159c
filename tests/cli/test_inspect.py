"""`voicestatus inspect`, as its user types it."""

import json
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

import pytest
from click import ClickException
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from voicestatus.cli import main
from voicestatus.cli.firmware import content_of
from voicestatus.core.chip import Chip
from voicestatus.core.manifest import Manifest, PublicKey, sign
from voicestatus.simulator.images import make_image

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = PublicKey.of(PRIVATE)
APP = make_image(Chip.ESP8266, 16_384, version="1.4.0", build=14, board="lamp")
MANIFEST = Manifest(
    chip=Chip.ESP8266,
    board="lamp",
    version="1.4.0",
    build=14,
    size_bytes=len(APP),
    sha256=sha256(APP).hexdigest(),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.bin").write_bytes(APP)
    (tmp_path / "app.bin.manifest").write_bytes(sign(MANIFEST, PRIVATE))
    (tmp_path / "release.pub").write_text(f"{KEY.text}\n")
    return tmp_path


def inspect(file: Path, *options: Any) -> Result:
    return CliRunner().invoke(main, ["inspect", str(file), *map(str, options)])


def test_an_image_is_told_in_words(folder: Path):
    result = inspect(folder / "app.bin")
    assert result.exit_code == 0
    assert "firmware for esp8266, whole and undamaged" in result.stdout
    assert "voicestatus 1.4.0 (build 14), for the board lamp" in result.stdout
    assert "checksum and CRC-32" in result.stdout


def test_an_image_is_told_as_json(folder: Path):
    told = json.loads(inspect(folder / "app.bin", "--json").stdout)
    assert told["kind"] == "image"
    assert told["chip"] == "esp8266"
    assert told["sizeBytes"] == len(APP)
    assert told["sha256"] == sha256(APP).hexdigest()
    assert told["md5"] == md5(APP).hexdigest()
    assert told["seal"] == "crc32"
    assert told["marker"] == {"board": "lamp", "version": "1.4.0", "build": 14}
    assert told["segments"][1]["address"] == 0x40201010


def test_foreign_firmware_says_nothing_of_itself(folder: Path):
    (folder / "app.bin").write_bytes(make_image(Chip.ESP32C3, 4096, marked=False))
    assert "does not say so itself" in inspect(folder / "app.bin").stdout
    told = json.loads(inspect(folder / "app.bin", "--json").stdout)
    assert told["marker"] is None


def test_the_twin_has_no_segments(folder: Path):
    (folder / "app.bin").write_bytes(make_image(Chip.HOST, 4096))
    told = inspect(folder / "app.bin").stdout
    assert "firmware for host" in told
    assert "offset" not in told


def test_what_is_no_image_ends_with_status_1_and_the_reason(folder: Path):
    (folder / "app.bin").write_bytes(APP[:-1])
    result = inspect(folder / "app.bin")
    assert result.exit_code == 1
    assert "ends after 16383 bytes" in result.stderr
    result = inspect(folder / "app.bin", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["kind"], told["code"]) == ("refused", "IMAGE_TRUNCATED")
    assert (told["offset"], told["appAt"]) == (16_383, None)


def test_a_manifest_is_told_with_its_signature_unchecked(folder: Path):
    result = inspect(folder / "app.bin.manifest")
    assert result.exit_code == 0
    assert "was not checked" in result.stdout
    told = json.loads(inspect(folder / "app.bin.manifest", "--json").stdout)
    assert told == {
        "kind": "manifest",
        "verified": False,
        "chip": "esp8266",
        "board": "lamp",
        "version": "1.4.0",
        "build": 14,
        "minBuild": 0,
        "floor": 0,
        "notAfter": 0,
        "sizeBytes": len(APP),
        "sha256": sha256(APP).hexdigest(),
        "keyId": KEY.id.hex(),
    }


def test_a_key_checks_the_signature(folder: Path):
    manifest, pub = folder / "app.bin.manifest", folder / "release.pub"
    assert "its signature holds" in inspect(manifest, "--key", pub).stdout
    told = json.loads(inspect(manifest, "--key", pub, "--json").stdout)
    assert told["verified"] is True
    forged = bytearray(manifest.read_bytes())
    forged[16] ^= 1
    manifest.write_bytes(forged)
    assert inspect(manifest).exit_code == 0
    result = inspect(manifest, "--key", pub, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["code"] == "MANIFEST_SIGNATURE"


def test_any_of_several_keys_may_have_signed(folder: Path):
    other = folder / "other.pub"
    other.write_text(PublicKey(bytes(32)).text)
    manifest, pub = folder / "app.bin.manifest", folder / "release.pub"
    assert inspect(manifest, "--key", other).exit_code == 1
    assert inspect(manifest, "--key", other, "--key", pub).exit_code == 0


def test_a_manifest_of_another_length_is_refused(folder: Path):
    manifest = folder / "app.bin.manifest"
    manifest.write_bytes(manifest.read_bytes()[:-1])
    assert "and this 191" in inspect(manifest).stderr


def test_a_time_beyond_all_calendars_is_told_in_seconds(folder: Path):
    manifest = folder / "app.bin.manifest"
    body = bytearray(manifest.read_bytes())
    body[120:128] = b"\xff" * 8
    manifest.write_bytes(body)
    assert f"{2**64 - 1} s after 1970" in inspect(manifest).stdout


@pytest.mark.parametrize("content", ["nonsense", "é"])
def test_what_is_no_public_key_is_told(folder: Path, content: str):
    (folder / "release.pub").write_text(content)
    result = inspect(folder / "app.bin.manifest", "--key", folder / "release.pub")
    assert result.exit_code == 1
    assert "no public key" in result.stderr


def test_a_file_that_cannot_be_read_is_told(folder: Path):
    with pytest.raises(ClickException, match="cannot be read"):
        content_of(folder)


def test_options_of_the_other_kind_of_file_are_wrong_use(folder: Path):
    app, manifest, pub = (
        folder / name for name in ("app.bin", "app.bin.manifest", "release.pub")
    )
    assert inspect(app, "--key", pub).exit_code == 2
    assert inspect(manifest, "--extract-app", folder / "out.bin").exit_code == 2
    assert inspect(folder / "none").exit_code == 2


# -- cutting out -----------------------------------------------------------------------

ENTRY = b"\xaaP\x00\x10\x00\x00\x01\x00\x00\x00\x10\x00app0".ljust(32, b"\0")


def whole_flash(app: bytes) -> bytes:
    return b"\xff" * 0x8000 + ENTRY.ljust(0x8000, b"\xff") + app


def test_the_program_is_cut_out_of_a_file_for_the_whole_flash_memory(folder: Path):
    app = make_image(Chip.ESP32S2, 8192)
    merged, out = folder / "merged.bin", folder / "out.bin"
    merged.write_bytes(whole_flash(app) + b"\xff" * 5000)
    assert inspect(merged).exit_code == 1
    result = inspect(merged, "--extract-app", out)
    assert result.exit_code == 0, result.output
    assert "firmware for esp32s2" in result.stdout
    assert out.read_bytes() == app


@pytest.mark.parametrize("chip", [Chip.ESP8266, Chip.ESP32])
def test_what_follows_a_program_is_cut_off(folder: Path, chip: Chip):
    app = make_image(chip, 8192)
    (folder / "app.bin").write_bytes(app + b"signature")
    out = folder / "out.bin"
    assert inspect(folder / "app.bin", "--extract-app", out).exit_code == 0
    assert out.read_bytes() == app


@pytest.mark.parametrize(
    "content",
    [
        APP,
        APP[:-1],
        b"\xff" * 20_000,
        whole_flash(b""),
        whole_flash(make_image(Chip.ESP32, 8192)[:-1]),
        whole_flash(make_image(Chip.ESP32, 8192)[:5000] + bytes(5000)),
    ],
)
def test_nothing_is_written_where_there_is_nothing_to_cut_out(
    folder: Path, content: bytes
):
    (folder / "app.bin").write_bytes(content)
    out = folder / "out.bin"
    assert inspect(folder / "app.bin", "--extract-app", out).exit_code == 1
    assert not out.exists()
