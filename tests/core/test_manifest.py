"""The 192 bytes that a maker signs: their layout, and what is not believed."""

import re
import struct
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core import manifest as manifests
from voicestatus.core.chip import Chip
from voicestatus.core.manifest import (
    Manifest,
    ManifestRefused,
    PublicKey,
    Running,
    check_image,
    pack,
    sign,
    unpack,
    verified,
    why_refused,
)
from voicestatus.simulator.images import make_image

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = PublicKey.of(PRIVATE)
OTHER_PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER = PublicKey.of(OTHER_PRIVATE)
PAGE = Path(__file__).parents[2] / "docs" / "signing.md"
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group of Ed25519. Source: RFC 8032, 5.1."""

M = Manifest(
    chip=Chip.ESP32S3,
    board="lamp",
    version="1.4.0",
    build=14,
    min_build=9,
    floor=12,
    not_after=1_830_297_599,
    size_bytes=1_048_576,
    sha256=sha256(b"").hexdigest(),
)
SIGNED = sign(M, PRIVATE)

texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))
builds = st.integers(1, 2**32 - 1)


@st.composite
def any_manifest(draw: Any) -> Manifest:
    build = draw(builds)
    return Manifest(
        chip=draw(st.sampled_from(list(Chip))),
        board=draw(texts.filter(lambda text: len(text) <= 16)),
        version=draw(texts.filter(lambda text: 0 < len(text) <= 24)),
        build=build,
        min_build=draw(st.integers(0, build - 1)),
        floor=draw(st.integers(0, build)),
        not_after=draw(st.integers(0, 2**64 - 1)),
        size_bytes=draw(st.integers(0, 2**32 - 1)),
        sha256=draw(st.binary(min_size=32, max_size=32)).hex(),
        key_id=draw(st.binary(min_size=4, max_size=4)),
    )


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(ManifestRefused) as caught:
        act()
    return caught.value.code


def resigned(body: bytes) -> bytes:
    """Sign what `pack` would not write."""
    return body + PRIVATE.sign(b"voicestatus-ota-v1\0" + body)


def changed(at: int, new: bytes) -> bytes:
    body = SIGNED[:128]
    return resigned(body[:at] + new + body[at + len(new) :])


# -- layout ----------------------------------------------------------------------------


def test_each_field_stands_where_devices_look_for_it():
    assert len(SIGNED) == manifests.SIZE == 192
    assert SIGNED[:8].hex() == "56534f5441010000"
    assert SIGNED[8:12] == KEY.id == sha256(KEY.raw).digest()[:4]
    assert struct.unpack_from("<HHIIII", SIGNED, 12) == (9, 0, 14, 9, 12, 1_048_576)
    assert SIGNED[32:64] == sha256(b"").digest()
    assert SIGNED[64:80] == b"voicestatus\0\0\0\0\0"
    assert SIGNED[80:96] == b"lamp".ljust(16, b"\0")
    assert SIGNED[96:120] == b"1.4.0".ljust(24, b"\0")
    assert struct.unpack_from("<Q", SIGNED, 120) == (1_830_297_599,)
    message = b"voicestatus-ota-v1\0" + SIGNED[:128]
    PRIVATE.public_key().verify(SIGNED[128:], message)
    assert len(b64encode(SIGNED)) == 256


@pytest.mark.parametrize(
    ("chip", "code"),
    [
        (Chip.ESP8266, 0x8266),
        (Chip.ESP32, 0),
        (Chip.ESP32S2, 2),
        (Chip.ESP32S3, 9),
        (Chip.ESP32C3, 5),
        (Chip.HOST, 0xFFF0),
    ],
)
def test_each_chip_has_its_number(chip: Chip, code: int):
    assert pack(replace(M, chip=chip))[12:14] == code.to_bytes(2, "little")


@given(manifest=any_manifest())
def test_what_is_packed_is_unpacked_the_same(manifest: Manifest):
    assert unpack(pack(manifest)) == manifest


@given(body=st.binary(min_size=128, max_size=128))
def test_bytes_that_are_read_are_those_that_would_be_written(body: bytes):
    body = SIGNED[:16] + body[16:64] + SIGNED[64:80] + body[80:]
    try:
        manifest = unpack(body)
    except ManifestRefused:
        return
    assert pack(manifest) == body


# -- what is believed ------------------------------------------------------------------


def test_a_manifest_that_a_trusted_key_signed_is_believed():
    assert verified(SIGNED, [KEY]) == replace(M, key_id=KEY.id)
    assert verified(SIGNED, [OTHER, KEY]) == verified(SIGNED, [KEY])


def test_each_single_bit_that_is_changed_is_noticed():
    for at in range(192 * 8):
        forged = bytearray(SIGNED)
        forged[at // 8] ^= 1 << at % 8
        code = code_of(lambda data=bytes(forged): verified(data, [KEY, OTHER]))
        assert code in {"MANIFEST_SIGNATURE", "MANIFEST_KEY"}, at


@given(
    at=st.integers(0, 191), new=st.binary(min_size=1, max_size=192), cut=st.booleans()
)
def test_changed_bytes_are_noticed(at: int, new: bytes, cut: bool):
    forged = SIGNED[:at] + new + (b"" if cut else SIGNED[at + len(new) :])
    if forged != SIGNED:
        code_of(lambda: verified(forged, [KEY]))


@given(data=st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes):
    code_of(lambda: verified(data, [KEY]))
    code_of(lambda: unpack(data))


@pytest.mark.parametrize("size", [0, 128, 191, 193])
def test_a_manifest_of_another_length_is_refused(size: int):
    data = (SIGNED * 2)[:size]
    assert code_of(lambda: verified(data, [KEY])) == "MANIFEST_SIZE"


def test_without_any_key_nothing_is_believed():
    assert code_of(lambda: verified(SIGNED, [])) == "MANIFEST_KEY"


def test_the_signature_is_checked_before_anything_is_read():
    nonsense = bytes(8) + KEY.id + b"\xff" * 116 + SIGNED[128:]
    assert code_of(lambda: verified(nonsense, [KEY])) == "MANIFEST_SIGNATURE"


def test_a_signature_of_the_bytes_without_our_prefix_is_none():
    body = SIGNED[:128]
    forged = body + PRIVATE.sign(body)
    assert code_of(lambda: verified(forged, [KEY])) == "MANIFEST_SIGNATURE"


def test_the_other_form_of_a_right_signature_is_refused():
    # S and S + L are the same to the equation; RFC 8032, 5.1.7 wants S below L.
    s = int.from_bytes(SIGNED[160:], "little") + ORDER
    other = SIGNED[:160] + s.to_bytes(32, "little")
    assert code_of(lambda: verified(other, [KEY])) == "MANIFEST_SIGNATURE"


@pytest.mark.parametrize("private", [PRIVATE, OTHER_PRIVATE])
def test_each_of_two_keys_may_sign(private: Ed25519PrivateKey):
    assert verified(sign(M, private), [KEY, OTHER]).build == 14


# -- what cannot be one, though signed -------------------------------------------------


@pytest.mark.parametrize(
    ("at", "new"),
    [
        (0, b"X"),
        (5, b"\2"),
        (6, b"\1"),
        (12, b"\3"),
        (14, b"\1\0"),
        (14, b"\0\x80"),
        (16, bytes(4)),
        (64, b"toaster\0\0\0\0\0"),
        (75, b"\0x"),
        (75, b"s"),
        (85, b"x"),
        (84, b"\n"),
        (80, b"\xff"),
        (80, b"\x7f"),
        (102, b"x"),
        (96, bytes(24)),
    ],
)
def test_what_nobody_would_write_is_refused_though_it_is_signed(at: int, new: bytes):
    data = changed(at, new)
    assert code_of(lambda: verified(data, [KEY])) == "MANIFEST_FORMAT"


@pytest.mark.parametrize(("at", "new"), [(20, b"\x0e"), (20, b"\x0f"), (24, b"\x0f")])
def test_builds_that_contradict_each_other_are_refused(at: int, new: bytes):
    data = changed(at, new)
    assert code_of(lambda: verified(data, [KEY])) == "MANIFEST_BUILD"


@pytest.mark.parametrize(
    "how",
    [
        {"version": ""},
        {"version": "v" * 25},
        {"version": "1.4 β"},
        {"board": "b" * 17},
        {"board": "a\0"},
        {"build": 0},
        {"build": 2**32},
        {"floor": -1},
        {"size_bytes": 2**32},
        {"not_after": -1},
        {"not_after": 2**64},
    ],
)
def test_what_does_not_fit_is_not_signed(how: dict[str, Any]):
    assert code_of(lambda: sign(replace(M, **how), PRIVATE)) == "MANIFEST_FORMAT"


def test_texts_may_fill_their_fields():
    full = replace(M, version="v" * 24, board="b" * 16, key_id=KEY.id)
    assert verified(sign(full, PRIVATE), [KEY]) == full


# -- keys ------------------------------------------------------------------------------


def test_a_public_key_is_read_as_it_is_written():
    assert PublicKey.parse(f"{KEY.text}\n") == KEY
    assert len(KEY.text) == 44


@pytest.mark.parametrize(
    "text", ["", "x", "é", KEY.text[:-1], b64encode(bytes(31)).decode()]
)
def test_what_is_no_public_key_is_refused(text: str):
    with pytest.raises(ValueError, match="44 characters"):
        PublicKey.parse(text)


# -- the image -------------------------------------------------------------------------

DATA = make_image(Chip.ESP32S3, 4096, version="1.4.0", build=14, board="lamp")
FOR_DATA = replace(M, size_bytes=len(DATA), sha256=sha256(DATA).hexdigest())


def test_a_manifest_fits_the_image_that_it_was_made_for(judge: Callable[..., Any]):
    check_image(FOR_DATA, judge(DATA))


def test_a_manifest_for_any_board_fits_an_image_that_names_one(
    judge: Callable[..., Any],
):
    check_image(replace(FOR_DATA, board=""), judge(DATA))


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ({"chip": Chip.ESP32}, "chip"),
        ({"size_bytes": 4080}, "size"),
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"version": "1.4.1"}, "version"),
        ({"build": 15}, "build"),
        ({"board": "desk"}, "board"),
    ],
)
def test_a_manifest_that_says_otherwise_than_the_image_is_refused(
    judge: Callable[..., Any], how: dict[str, Any], name: str
):
    with pytest.raises(ManifestRefused, match=f"The {name} in the manifest") as caught:
        check_image(replace(FOR_DATA, **how), judge(DATA))
    assert caught.value.code == "MANIFEST_IMAGE"


def test_an_image_without_a_marker_denies_nothing(judge: Callable[..., Any]):
    data = make_image(Chip.ESP32S3, 4096, marked=False)
    check_image(replace(FOR_DATA, sha256=sha256(data).hexdigest()), judge(data))


# -- devices ---------------------------------------------------------------------------

RUNNING = Running(
    chip=Chip.ESP32S3,
    board="lamp",
    build=13,
    floor=11,
    capacity_bytes=1_048_576,
    now=1_830_297_599,
)


def test_a_device_takes_what_is_for_it_and_newer():
    assert why_refused(M, RUNNING) is None
    assert why_refused(replace(M, board=""), replace(RUNNING, board=None)) is None


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"chip": Chip.ESP32C3}, "chip"),
        ({"board": "desk"}, "board"),
        ({"board": None}, "board"),
        ({"build": 14}, "not_newer"),
        ({"build": 15}, "not_newer"),
        ({"floor": 15}, "below_floor"),
        ({"build": 8}, "min_build"),
        ({"build": None}, "min_build"),
        ({"capacity_bytes": 1_048_575}, "too_large"),
        ({"now": 1_830_297_600}, "expired"),
    ],
)
def test_a_device_says_why_it_does_not_take_an_image(how: dict[str, Any], why: str):
    assert why_refused(M, replace(RUNNING, **how)) == why


def test_what_is_not_known_of_a_device_is_not_held_against_the_image():
    unknown = Running(chip=Chip.ESP32S3, board="lamp")
    assert why_refused(replace(M, min_build=0), unknown) is None


# -- the page --------------------------------------------------------------------------


def test_each_refusal_is_explained_on_the_page():
    named = set(re.findall(r"`(MANIFEST_[A-Z_]+)`", PAGE.read_text()))
    assert named == manifests.CODES
