"""What a maker signed of an image: 128 bytes that say it, 64 that prove it. Pure.

Source: docs/signing.md, "The manifest".
"""

import hmac
import struct
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from typing import Literal, get_args

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from voicestatus.core.chip import Chip
from voicestatus.core.errors import Refusal
from voicestatus.core.image import Image
from voicestatus.core.marker import PRODUCT

BODY_BYTES, SIGNATURE_BYTES = 128, 64
SIZE = BODY_BYTES + SIGNATURE_BYTES

LARGEST_NUMBER = 2**32 - 1
BOARD_BYTES, VERSION_BYTES = 16, 24

Code = Literal[
    "MANIFEST_SIZE",
    "MANIFEST_KEY",
    "MANIFEST_SIGNATURE",
    "MANIFEST_FORMAT",
    "MANIFEST_BUILD",
    "MANIFEST_IMAGE",
]
CODES: frozenset[str] = frozenset(get_args(Code))

_DOMAIN = b"voicestatus-ota-v1\0"
"""Signed with it, so that a signature for this is one for nothing else."""
_MAGIC = b"VSOTA\1\0\0"
_BODY = struct.Struct("<8s4sHHIIII32s16s16s24sQ")
_NO_FLAGS = 0
_KEY_ID = slice(8, 12)


class ManifestRefused(Refusal):
    """Why a manifest is not believed, or is for another image."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(code, message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a maker says of an image."""

    chip: Chip
    board: str = ""
    """Empty: any board with this chip."""
    version: str
    build: int
    """Newer ones have higher numbers."""
    min_build: int = 0
    """A device must run this one at least."""
    floor: int = 0
    """Once this build has proved itself, the device takes none below that."""
    not_after: int = 0
    """Unix seconds, after which it is not to be installed; 0: for ever."""
    size_bytes: int
    sha256: str
    key_id: bytes = bytes(4)
    """Whose signature it bears; `sign` sets it."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that may sign, or could: 32 bytes of Ed25519."""

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> "PublicKey":
        """Read what `voicestatus keygen` writes to `release.pub`.

        :raises ValueError: when it is none.
        """
        try:
            raw = b64decode(text.strip(), validate=True)
        except (NotBase64, ValueError) as e:
            raise ValueError("a public key is 44 characters of base64") from e
        if len(raw) != 32:
            raise ValueError("a public key is 44 characters of base64")
        return cls(raw)

    @classmethod
    def of(cls, private: Ed25519PrivateKey) -> "PublicKey":
        return cls(private.public_key().public_bytes_raw())

    @property
    def text(self) -> str:
        return b64encode(self.raw).decode()

    @property
    def id(self) -> bytes:
        """What a manifest calls it."""
        return sha256(self.raw).digest()[:4]

    def has_signed(self, body: bytes, signature: bytes) -> bool:
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        try:
            key.verify(signature, _DOMAIN + body)
        except InvalidSignature:
            return False
        return True


# -- bytes -----------------------------------------------------------------------------


def pack(manifest: Manifest) -> bytes:
    """Return the 128 bytes that are signed.

    :raises ManifestRefused: when it contradicts itself, or its texts do not fit.
    """
    _check(manifest)
    return _BODY.pack(
        _MAGIC,
        manifest.key_id,
        manifest.chip.code,
        _NO_FLAGS,
        manifest.build,
        manifest.min_build,
        manifest.floor,
        manifest.size_bytes,
        bytes.fromhex(manifest.sha256),
        PRODUCT.encode(),
        manifest.board.encode(),
        manifest.version.encode(),
        manifest.not_after,
    )


def unpack(body: bytes) -> Manifest:
    """Read the 128 bytes. Only what is `verified` is to be believed.

    :raises ManifestRefused: when they are not exactly as `pack` writes them.
    """
    if len(body) != BODY_BYTES:
        raise ManifestRefused("MANIFEST_SIZE", f"A manifest has {SIZE} bytes.")
    (
        magic, key_id, code, flags, build, min_build, floor, size, digest, product,
        board, version, not_after,
    ) = _BODY.unpack(body)  # fmt: skip
    if magic != _MAGIC:
        raise _malformed("it begins otherwise")
    if flags != _NO_FLAGS:
        raise _malformed(f"its flags (0x{flags:04x}) are not known here")
    if (chip := Chip.coded(code)) is None:
        raise _malformed(f"its chip (0x{code:04x}) is not known here")
    if _text(product) != PRODUCT:
        raise _malformed("it is for another product")
    manifest = Manifest(
        chip=chip,
        board=_text(board),
        version=_text(version),
        build=build,
        min_build=min_build,
        floor=floor,
        not_after=not_after,
        size_bytes=size,
        sha256=digest.hex(),
        key_id=key_id,
    )
    _check(manifest)
    return manifest


def sign(manifest: Manifest, private: Ed25519PrivateKey) -> bytes:
    """Return the whole manifest, 192 bytes.

    :raises ManifestRefused: as `pack` does.
    """
    body = pack(replace(manifest, key_id=PublicKey.of(private).id))
    return body + private.sign(_DOMAIN + body)


def verified(data: bytes, keys: Iterable[PublicKey]) -> Manifest:
    """Believe a manifest that one of the keys has signed. Nothing is read before.

    :raises ManifestRefused: for anything else.
    """
    if len(data) != SIZE:
        told = f"A manifest has {SIZE} bytes, and this {len(data)}."
        raise ManifestRefused("MANIFEST_SIZE", told)
    body, signature = data[:BODY_BYTES], data[BODY_BYTES:]
    named = [key for key in keys if hmac.compare_digest(key.id, body[_KEY_ID])]
    if not named:
        told = f"It names the key {body[_KEY_ID].hex()}, which is not trusted here."
        raise ManifestRefused("MANIFEST_KEY", told)
    if not any(key.has_signed(body, signature) for key in named):
        told = "Its signature does not hold: it was not signed so by that key."
        raise ManifestRefused("MANIFEST_SIGNATURE", told)
    return unpack(body)


def _check(manifest: Manifest) -> None:
    if not 0 < manifest.build <= LARGEST_NUMBER:
        raise _malformed(f"its build is a number from 1 to {LARGEST_NUMBER}")
    numbers = manifest.min_build, manifest.floor, manifest.size_bytes
    if not all(0 <= number <= LARGEST_NUMBER for number in numbers):
        raise _malformed(f"its numbers are 0 to {LARGEST_NUMBER}")
    if not 0 <= manifest.not_after < 2**64:
        raise _malformed("its last day is out of range")
    for name, text, most in (
        ("board", manifest.board, BOARD_BYTES),
        ("version", manifest.version, VERSION_BYTES),
    ):
        if len(text) > most or not (text.isascii() and text.isprintable()):
            raise _malformed(f"its {name} is no text of up to {most} ASCII characters")
    if not manifest.version:
        raise _malformed("it names no version")
    if manifest.floor > manifest.build:
        told = "Its floor is above its own build: nobody could go back to it."
        raise ManifestRefused("MANIFEST_BUILD", told)
    if manifest.min_build >= manifest.build:
        told = "Its min-build is not below its own build: nobody could come to it."
        raise ManifestRefused("MANIFEST_BUILD", told)


def _text(field: bytes) -> str:
    """Read a text that is filled up with NULs."""
    text = field.rstrip(b"\0")
    if b"\0" in text or not text.isascii():
        raise _malformed("a text in it is damaged")
    return text.decode()


def _malformed(why: str) -> ManifestRefused:
    return ManifestRefused("MANIFEST_FORMAT", f"It cannot be a manifest: {why}.")


# -- what it is good for ---------------------------------------------------------------


def check_image(manifest: Manifest, image: Image) -> None:
    """See that a manifest was made for this image.

    :raises ManifestRefused: when it was not.
    """
    facts: Sequence[tuple[str, object, object]] = (
        ("chip", manifest.chip.title, image.chip.title),
        ("size", manifest.size_bytes, image.size_bytes),
        ("SHA-256", manifest.sha256, image.sha256),
    )
    if (marker := image.marker) is not None:
        facts = (
            *facts,
            ("version", manifest.version, marker.version),
            ("build", manifest.build, marker.build),
            # No board stands for any: that denies nothing that the image says.
            ("board", manifest.board, marker.board if manifest.board else ""),
        )
    for name, said, found in facts:
        if said != found:
            told = f"The {name} in the manifest is {said!r}, in the image {found!r}."
            raise ManifestRefused("MANIFEST_IMAGE", told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What a device is and runs. None: not known."""

    chip: Chip
    board: str | None = None
    build: int | None = None
    floor: int = 0
    capacity_bytes: int | None = None
    now: float | None = None
    """Unix seconds; devices without a clock do not look at `not_after`."""


class Why(StrEnum):
    """Why a device does not take an image."""

    CHIP = "chip"
    BOARD = "board"
    NOT_NEWER = "not_newer"
    BELOW_FLOOR = "below_floor"
    MIN_BUILD = "min_build"
    TOO_LARGE = "too_large"
    EXPIRED = "expired"


def why_refused(manifest: Manifest, running: Running) -> Why | None:
    """Say what a device finds wrong with a manifest that it believes.

    What is not known is not held against it, but for two things: an image for one
    board is for nobody whose board is unknown, nor one that asks for a build for
    whose build is.
    """
    build, capacity = running.build, running.capacity_bytes
    if manifest.chip is not running.chip:
        return Why.CHIP
    if manifest.board not in {"", running.board}:
        return Why.BOARD
    if build is not None and manifest.build <= build:
        return Why.NOT_NEWER
    if manifest.build < running.floor:
        return Why.BELOW_FLOOR
    if manifest.min_build > (build or 0):
        return Why.MIN_BUILD
    if capacity is not None and manifest.size_bytes > capacity:
        return Why.TOO_LARGE
    if running.now is not None and 0 < manifest.not_after < running.now:
        return Why.EXPIRED
    return None
