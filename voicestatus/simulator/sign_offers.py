"""What a sign makes of an offer, and of the image that it fetched. Pure.

Source: the firmware's src/main.cpp:637-690 (version 1); docs/wire-device.md and the
manifest of docs/signing.md (version 2), read anew: what is tested makes them.
"""

import re
from base64 import b64decode
from binascii import Error as BadBase64Error
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import md5, sha256
from struct import Struct as Layout
from types import MappingProxyType

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import DecodeError, Struct

_SIGNED_BEFORE = b"voicestatus-ota-v1\0"
_MANIFEST = Layout("<8s4sHHIIII32s16s16s24sQ")
_SIGNATURE_BYTES = 64
_MAGIC = b"VSOTA\x01\0\0"
_CHIPS = MappingProxyType(
    {"esp8266": 0x8266, "esp32": 0, "esp32s2": 2, "esp32s3": 9, "esp32c3": 5}
)
_MARKER = re.compile(
    rb"VSFW1\|voicestatus\|[a-z0-9]+\|[^|\0]{0,16}\|([^|\0]{1,24})\|([0-9]{1,10})\|\0"
)
_MARKER_BYTES = 96
_FIRST_BYTE, _GZIP = b"\xe9", b"\x1f"
_HEAD_BYTES = 16


class Offer(Struct, frozen=True):
    """An offer to a sign of the second kind."""

    release: str
    url: str
    size: int
    sha256: str
    manifest: str


class OldOffer(Struct, frozen=True):
    """An offer to a sign of the first kind; in a text `OTA:<url>` the rest is empty."""

    url: str
    md5: str = ""
    chip: str = ""


class _Kind(Struct, frozen=True):
    type: str


def old_offer(text: bytes, chip: str) -> OldOffer | None:
    """Read a text as a sign with that chip does; None: it is none, or not for it.

    It calls every chip but the first one `esp32`. Source: main.cpp:637-675.
    """
    if text.startswith(b"OTA:"):
        return OldOffer(text.removeprefix(b"OTA:").decode().strip())
    try:
        if msgspec.json.decode(text, type=_Kind).type != "ota":
            return None
        offer = msgspec.json.decode(text, type=OldOffer)
    except DecodeError:
        return None
    return offer if offer.chip in {"", family_of(chip)} else None


def family_of(chip: str) -> str:
    """Return what a sign of the first kind takes for its chip."""
    return "esp8266" if chip == "esp8266" else "esp32"


# -- what a sign of the second kind asks of an offer -----------------------------------


def public_key(text: str) -> Ed25519PublicKey:
    """Read a key as `voicestatus keygen` writes it."""
    return Ed25519PublicKey.from_public_bytes(b64decode(text))


@dataclass(frozen=True, slots=True)
class Running:
    """What a sign is, and what is on it."""

    chip: str
    board: str
    build: int
    floor: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Firmware:
    """What an image is, by its own word or its manifest's."""

    version: str
    build: int


@dataclass(frozen=True, slots=True)
class Promise:
    """What a manifest says that holds."""

    firmware: Firmware
    floor: int
    size_bytes: int
    sha256: bytes


def judge(
    offer: Offer, running: Running, keys: Sequence[Ed25519PublicKey]
) -> Promise | str:
    """Return what is promised, or why the offer is not taken.

    Without keys any signature does.
    """
    try:
        data = b64decode(offer.manifest, validate=True)
    except BadBase64Error:
        return "the manifest is no base64"
    if len(data) != _MANIFEST.size + _SIGNATURE_BYTES:
        return "the manifest has the wrong size"
    signed, signature = data[: _MANIFEST.size], data[_MANIFEST.size :]
    if keys and not any(_fits(key, signed, signature) for key in keys):
        return "the signature does not hold"
    magic, _, chip, flags, *numbers = _MANIFEST.unpack(signed)
    build, min_build, floor, size, digest, product, name, version, _ = numbers
    board = name.rstrip(b"\0").decode()
    objections = {
        "the manifest has another format": magic != _MAGIC or flags,
        "it is another product's": product.rstrip(b"\0") != b"voicestatus",
        "it is another chip's": chip != _CHIPS[running.chip],
        "it is another board's": board not in {"", running.board},
        "it is not newer": build <= running.build or build < running.floor,
        "another build has to come first": running.build < min_build,
        "it does not fit": size > running.free_bytes,
        "the offer is not what was signed": (offer.size, offer.sha256)
        != (size, digest.hex()),
    }
    wrong = next((why for why, holds in objections.items() if holds), None)
    if wrong is not None:
        return wrong
    new = Firmware(version.rstrip(b"\0").decode(), build)
    return Promise(new, floor, size, digest)


def _fits(key: Ed25519PublicKey, signed: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, _SIGNED_BEFORE + signed)
    except InvalidSignature:
        return False
    return True


# -- the image -------------------------------------------------------------------------


class Flash:
    """Takes an image in pieces; keeps nothing of it but what it comes to."""

    __slots__ = ("_head", "_md5", "_rest", "_sha256", "firmware", "size_bytes")

    def __init__(self) -> None:
        self.size_bytes = 0
        self._head = b""
        self.firmware: Firmware | None = None
        self._sha256, self._md5, self._rest = sha256(), md5(usedforsecurity=False), b""

    def write(self, data: bytes) -> None:
        if len(self._head) < _HEAD_BYTES:
            self._head += data[: _HEAD_BYTES - len(self._head)]
        self.size_bytes += len(data)
        self._sha256.update(data)
        self._md5.update(data)
        if self.firmware is None:
            self._look(self._rest + data)

    @property
    def sha256(self) -> bytes:
        return self._sha256.digest()

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

    def boots(self, chip: str) -> bool:
        """Judge the head as an updater of the first kind does, or its boot loader.

        An ESP8266 takes a gzip file too, and asks for no chip. Source:
        ESP8266httpUpdate.cpp, HTTPUpdate.cpp, bootloader_common_check_chip_validity.
        """
        if chip == "esp8266":
            return self._head[:1] in {_FIRST_BYTE, _GZIP}
        of_chip = int.from_bytes(self._head[12:14], "little")
        return self._head[:1] == _FIRST_BYTE and of_chip == _CHIPS[chip]

    def _look(self, data: bytes) -> None:
        if found := _MARKER.search(data):
            self.firmware = Firmware(found[1].decode(), int(found[2]))
            self._rest = b""
        else:
            self._rest = data[-_MARKER_BYTES:]
