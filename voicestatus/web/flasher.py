"""What a browser can put on a chip over USB, and how esp-web-tools is told. Pure.

Source: esp-web-tools 10.4.0, src/const.ts (the manifest), src/flash.ts (who reads it).
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from voicestatus.core.chip import Chip
from voicestatus.core.release import FlashPart, Release

Family = Literal["ESP8266", "ESP32", "ESP32-S2", "ESP32-S3", "ESP32-C3"]
Obstacle = Literal["APP_ALONE", "NOT_TRUSTED", "NO_CHIP"]

FAMILIES: Final[dict[Chip, Family]] = {
    Chip.ESP8266: "ESP8266",
    Chip.ESP32: "ESP32",
    Chip.ESP32S2: "ESP32-S2",
    Chip.ESP32S3: "ESP32-S3",
    Chip.ESP32C3: "ESP32-C3",
}
"""As esptool-js calls them. What has no family is no chip."""
NAME: Final = "voicestatus"
"""What the firmware calls itself by Improv: that tells an update from a first time."""
IMPROV_WAIT_S: Final = 15
"""How long a chip that was just flashed has until it speaks Improv."""


class FlashBuild(Struct, frozen=True, rename="camel"):
    """A release, and whether a browser can put it on a chip."""

    release: str
    version: str
    build: int
    chip: str
    family: Annotated[str, Meta(description="the chip's name in esp-web-tools")]
    board: Annotated[str, Meta(description="empty: any board with this chip")]
    channel: Literal["stable", "beta"]
    size_bytes: int
    obstacle: Annotated[
        Obstacle | None,
        Meta(
            description="why not: APP_ALONE: no boot loader came with it; "
            "NOT_TRUSTED: no key that may sign today has signed it"
        ),
    ]


class FlashManifestPart(Struct, frozen=True):
    """Bytes, and where in flash they belong."""

    path: Annotated[str, Meta(description="from where the manifest is")]
    offset: int


class FlashManifestBuild(Struct, frozen=True, rename="camel"):
    """What one family of chips gets."""

    chip_family: Family
    parts: tuple[FlashManifestPart, ...]


class FlashManifest(Struct, frozen=True):
    """What esp-web-tools reads; the names are its own."""

    name: str
    version: str
    builds: tuple[FlashManifestBuild, ...]
    new_install_prompt_erase: bool = True
    """Else it erases a device without asking that does not speak Improv."""
    new_install_improv_wait_time: int = IMPROV_WAIT_S


def build_of(release: Release) -> FlashBuild | None:
    """Show a release; None: it is for no chip."""
    family = FAMILIES.get(release.chip)
    if family is None:
        return None
    return FlashBuild(
        release=release.id,
        version=release.version,
        build=release.build,
        chip=release.chip.title,
        family=family,
        board=release.board,
        channel=release.channel.value,
        size_bytes=release.size_bytes,
        obstacle=obstacle(release),
    )


def obstacle(release: Release) -> Obstacle | None:
    """Tell why a release is not put on a chip by a browser."""
    if release.chip not in FAMILIES:
        return "NO_CHIP"
    if not release.trusted:
        return "NOT_TRUSTED"
    return None if parts_of(release) else "APP_ALONE"


def parts_of(release: Release) -> tuple[FlashPart, ...]:
    """Return all that has to stand in flash so that it starts; none: not known.

    An ESP8266's image begins with its boot loader. That of an ESP32 is the program
    alone, which needs a boot loader and a partition table of its own: without them it
    would not start, and written where an older program stands it need not be the one
    that starts.
    Source: eboot.c; ESP-IDF, "Bootloader" and "Over The Air Updates".
    """
    if release.chip is Chip.ESP8266:
        return (FlashPart(0, release.size_bytes, release.sha256),)
    return release.flash


def manifest_of(release: Release) -> FlashManifest:
    """Make the manifest of a release that has no obstacle."""
    parts = tuple(
        FlashManifestPart(f"images/{release.id}/{part.offset}", part.offset)
        for part in parts_of(release)
    )
    build = FlashManifestBuild(FAMILIES[release.chip], parts)
    return FlashManifest(NAME, release.version, (build,))
