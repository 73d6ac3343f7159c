"""`voicestatus sign`, as its user types it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from voicestatus.cli import main
from voicestatus.core.chip import Chip
from voicestatus.core.manifest import Manifest, PublicKey, verified
from voicestatus.simulator.images import make_image

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SAYS = ("--version", "1.4.0", "--build", "14", "--chip", "esp32")


def pem(private: Any, encryption: Any = None) -> bytes:
    how = encryption or NoEncryption()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


class Desk:
    """An image and a key, and somebody who types."""

    def __init__(self, folder: Path) -> None:
        self.image, self.key = folder / "app.bin", folder / "release.key"
        self.manifest = folder / "app.bin.manifest"
        self.image.write_bytes(make_image(Chip.ESP32, 8192, version="1.4.0", build=14))
        self.key.write_bytes(pem(PRIVATE))

    def sign(self, *says: str, input_: str | None = None) -> Result:
        command = ["sign", str(self.image), "--key", str(self.key), *says]
        return CliRunner().invoke(main, command, input=input_)

    def signed(self, *says: str) -> Manifest:
        result = self.sign(*says)
        assert result.exit_code == 0, result.output
        return verified(self.manifest.read_bytes(), [PublicKey.of(PRIVATE)])

    def refused(self, *says: str, status: int = 1) -> str:
        result = self.sign(*says)
        assert result.exit_code == status, result.output
        assert not self.manifest.exists()
        return result.output


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_it_writes_what_the_server_and_signs_believe(desk: Desk):
    manifest = desk.signed(*SAYS)
    assert (manifest.chip, manifest.board) == (Chip.ESP32, "")
    assert (manifest.version, manifest.build) == ("1.4.0", 14)
    assert (manifest.min_build, manifest.floor, manifest.not_after) == (0, 0, 0)
    assert manifest.size_bytes == 8192
    assert desk.manifest.stat().st_size == 192


def test_all_that_can_be_said_is_signed(desk: Desk):
    desk.image.write_bytes(
        make_image(Chip.ESP32, 8192, version="1.4.0", build=14, board="lamp")
    )
    manifest = desk.signed(
        *(*SAYS, "--board", "lamp", "--min-build", "9", "--floor", "12"),
        *("--not-after", "2027-12-31"),
    )
    assert (manifest.board, manifest.min_build, manifest.floor) == ("lamp", 9, 12)
    end = datetime.fromtimestamp(manifest.not_after, UTC)
    assert f"{end:%Y-%m-%d %H:%M:%S}" == "2027-12-31 23:59:59"


def test_the_last_day_of_all_calendars_can_be_signed(desk: Desk):
    end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert desk.signed(*SAYS, "--not-after", "9999-12-31").not_after == end.timestamp()


@pytest.mark.parametrize("chip", Chip)
def test_every_chip_can_be_signed_for(desk: Desk, chip: Chip):
    desk.image.write_bytes(make_image(chip, 8192))
    says = ("--version", "1.0.0", "--build", "1", "--chip", chip.title)
    assert desk.signed(*says).chip is chip


def test_without_a_board_it_is_the_one_that_the_image_names(desk: Desk):
    desk.image.write_bytes(
        make_image(Chip.ESP32, 8192, version="1.4.0", build=14, board="lamp")
    )
    assert desk.signed(*SAYS).board == "lamp"
    assert desk.signed(*SAYS, "--board", "").board == ""


def test_signed_again_the_new_manifest_takes_the_place_of_the_old(desk: Desk):
    desk.signed(*SAYS)
    assert desk.signed(*SAYS, "--floor", "3").floor == 3


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (("--version", "1.4.1", "--build", "14", "--chip", "esp32"), "version"),
        (("--version", "1.4.0", "--build", "15", "--chip", "esp32"), "build"),
        (("--version", "1.4.0", "--build", "14", "--chip", "esp32s2"), "chip"),
        ((*SAYS, "--board", "desk"), "board"),
    ],
)
def test_what_the_image_does_not_say_is_not_signed(
    desk: Desk, says: tuple[str, ...], why: str
):
    assert f"The {why} in the manifest" in desk.refused(*says)


def test_a_damaged_image_is_not_signed(desk: Desk):
    data = bytearray(desk.image.read_bytes())
    data[5000] ^= 1
    desk.image.write_bytes(data)
    assert "damaged" in desk.refused(*SAYS)


def test_an_image_that_says_nothing_of_itself_is_signed_with_a_word_of_caution(
    desk: Desk,
):
    desk.image.write_bytes(make_image(Chip.ESP32, 8192, marked=False))
    result = desk.sign(*SAYS)
    assert result.exit_code == 0
    assert "see that your words are right" in result.stderr


@pytest.mark.parametrize(
    "says",
    [
        ("--build", "14", "--chip", "esp32"),
        ("--version", "1.4.0", "--chip", "esp32"),
        ("--version", "1.4.0", "--build", "14"),
        ("--version", "1.4.0", "--build", "0", "--chip", "esp32"),
        ("--version", "1.4.0", "--build", "4294967296", "--chip", "esp32"),
        ("--version", "1.4.0", "--build", "14", "--chip", "z80"),
        ("--version", "v" * 25, "--build", "14", "--chip", "esp32"),
        ("--version", "", "--build", "14", "--chip", "esp32"),
        (*SAYS, "--board", "b" * 17),
        (*SAYS, "--floor", "15"),
        (*SAYS, "--min-build", "14"),
        (*SAYS, "--not-after", "tomorrow"),
    ],
)
def test_what_cannot_be_meant_is_wrong_use(desk: Desk, says: tuple[str, ...]):
    desk.refused(*says, status=2)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"nonsense", "no private key"),
        (pem(generate_private_key(SECP256R1())), "no Ed25519 key"),
        (PublicKey.of(PRIVATE).text.encode(), "no private key"),
    ],
)
def test_what_is_no_key_is_refused(desk: Desk, content: bytes, why: str):
    desk.key.write_bytes(content)
    assert why in desk.refused(*SAYS)


def test_a_key_with_a_passphrase_asks_for_it(desk: Desk):
    desk.key.write_bytes(pem(PRIVATE, BestAvailableEncryption(b"sesame")))
    assert desk.sign(*SAYS, input_="wrong\n").exit_code == 1
    result = desk.sign(*SAYS, input_="sesame\n")
    assert result.exit_code == 0, result.output
    assert "sesame" not in result.output
    verified(desk.manifest.read_bytes(), [PublicKey.of(PRIVATE)])


def test_a_manifest_that_cannot_be_written_is_told(desk: Desk):
    desk.manifest.mkdir()
    result = desk.sign(*SAYS)
    assert result.exit_code == 1
    assert "cannot be written" in result.output
