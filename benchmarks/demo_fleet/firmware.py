"""Keys, and signed images for each chip of the fleet."""

from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from voicestatus.core.chip import Chip
from voicestatus.core.manifest import Manifest, PublicKey, sign
from voicestatus.simulator.images import make_image
from voicestatus.simulator.sign_texts import MAKES, OLD_MAKES

SIZE_BYTES = 384 * 1024
"""Far more than what lies on the way between two programs of one machine: so much of an
image the server takes for arrived when a sign loses its power."""


@dataclass(frozen=True, slots=True)
class Built:
    """An image and what was signed of it."""

    chip: Chip
    image: bytes
    manifest: bytes
    legacy: bool
    """Whether old signs may have it."""


class Maker:
    """Builds firmware, and has the private key."""

    def __init__(self, size_bytes: int = SIZE_BYTES) -> None:
        """`size_bytes` is that of each image."""
        self._size_bytes = size_bytes
        self._key = Ed25519PrivateKey.generate()

    @property
    def public_key(self) -> str:
        return PublicKey.of(self._key).text

    def build(self, build: int) -> list[Built]:
        """Make one version for each chip."""
        used = {make.chip for make in MAKES}
        return [self._make(chip, build) for chip in Chip if chip.title in used]

    def _make(self, chip: Chip, build: int) -> Built:
        version = f"{build // 10}.{build % 10}.0"
        image = make_image(chip, self._size_bytes, version=version, build=build)
        manifest = Manifest(
            chip=chip,
            version=version,
            build=build,
            size_bytes=len(image),
            sha256=sha256(image).hexdigest(),
        )
        legacy = any(make.chip == chip.title for make in OLD_MAKES)
        return Built(chip, image, sign(manifest, self._key), legacy)
