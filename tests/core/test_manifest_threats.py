"""Each threat that docs/signing.md names, and what stands against it here.

What stands against them on the device is tested with the firmware.
"""

import re
from collections.abc import Callable
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from voicestatus.core.chip import Chip
from voicestatus.core.image import ImageReader, ImageRefused
from voicestatus.core.manifest import (
    Manifest,
    ManifestRefused,
    PublicKey,
    Running,
    check_image,
    sign,
    verified,
    why_refused,
)
from voicestatus.simulator.images import make_image

RELEASE, RECOVERY, ATTACKER = (
    Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3)
)
TRUSTED = [PublicKey.of(RELEASE), PublicKey.of(RECOVERY)]
PAGE = Path(__file__).parents[2] / "docs" / "signing.md"

DATA = make_image(Chip.ESP32, 4096, version="2.0.0", build=20)
M = Manifest(
    chip=Chip.ESP32,
    version="2.0.0",
    build=20,
    floor=18,
    size_bytes=len(DATA),
    sha256=sha256(DATA).hexdigest(),
)
SIGN = Running(chip=Chip.ESP32, build=19, floor=18)

Judge = Callable[..., Any]


def test_forged_image_is_not_believed_whoever_the_key_id_names():
    forged = sign(M, ATTACKER)
    with pytest.raises(ManifestRefused, match="not trusted"):
        verified(forged, TRUSTED)
    body = forged[:8] + TRUSTED[0].id + forged[12:128]
    with pytest.raises(ManifestRefused, match="does not hold"):
        verified(body + forged[128:], TRUSTED)


def test_rollback_to_a_signed_but_older_build_is_refused():
    assert why_refused(M, replace(SIGN, build=21)) == "not_newer"
    assert why_refused(M, replace(SIGN, build=None, floor=21)) == "below_floor"


def test_freeze_on_a_build_with_holes_ends_with_its_last_day():
    old = replace(M, not_after=1_000)
    assert why_refused(old, replace(SIGN, now=1_000)) is None
    assert why_refused(old, replace(SIGN, now=1_001)) == "expired"


def test_mix_and_match_of_chip_board_product_and_image_is_refused(judge: Judge):
    assert why_refused(M, replace(SIGN, chip=Chip.ESP32S2)) == "chip"
    assert why_refused(replace(M, board="a"), replace(SIGN, board="b")) == "board"
    for chip in set(Chip) - {Chip.ESP32}:
        image = judge(make_image(chip, 8192, version="2.0.0", build=20))
        with pytest.raises(ManifestRefused, match="chip"):
            check_image(M, image)
    body = sign(M, RELEASE)[:128].replace(b"voicestatus", b"toaster\0\0\0\0")
    other = body + RELEASE.sign(b"voicestatus-ota-v1\0" + body)
    with pytest.raises(ManifestRefused, match="another product"):
        verified(other, TRUSTED)


def test_endless_data_ends_with_the_size_that_was_signed():
    reader = ImageReader(M.size_bytes)
    reader.feed(DATA)
    with pytest.raises(ImageRefused) as caught:
        reader.feed(b"\xff")
    assert caught.value.code in {"IMAGE_TRAILING", "IMAGE_TOO_LARGE"}
    assert why_refused(M, replace(SIGN, capacity_bytes=4095)) == "too_large"


def test_arbitrary_fetch_a_manifest_names_no_address():
    # Where the image is, only the server says that the sign was configured for.
    named = {field.name for field in fields(Manifest)}
    assert not {name for name in named if re.search("url|host|path|address", name)}


def test_key_compromise_the_other_key_signs_on_and_the_floor_shuts_out_the_old_one():
    assert verified(sign(M, RECOVERY), TRUSTED).build == 20
    with pytest.raises(ManifestRefused, match="not trusted"):
        verified(sign(M, RELEASE), TRUSTED[1:])
    # A sign that took the build with the new keys does not go back below it.
    after = replace(SIGN, build=20, floor=M.floor)
    stolen = replace(M, build=17, floor=0)
    assert why_refused(stolen, replace(after, build=16)) == "below_floor"


def test_replayed_job_is_refused_by_who_has_done_it():
    assert why_refused(M, SIGN) is None
    assert why_refused(M, replace(SIGN, build=M.build)) == "not_newer"


def test_swap_after_check_changes_the_digest_that_was_signed(judge: Judge):
    check_image(M, judge(DATA))
    swapped = make_image(Chip.ESP32, 4096, marked=False)
    with pytest.raises(ManifestRefused, match="SHA-256"):
        check_image(M, judge(swapped))


def test_each_threat_on_the_page_has_a_test_that_names_it():
    (table,) = re.findall(
        r"^\| threat .*\n\|[-| ]+\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE
    )
    threats = [row.split("|")[1].strip() for row in table.splitlines()]
    assert len(threats) == 9
    for threat in threats:
        begins = "test_" + re.sub("[^a-z]+", "_", threat.lower())
        assert any(name.startswith(begins) for name in globals()), threat
