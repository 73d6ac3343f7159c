"""`voicestatus sign`: what a maker says of an image, signed."""

from datetime import UTC, datetime
from pathlib import Path

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from voicestatus.cli.firmware import content_of, judge, write
from voicestatus.core import manifest as manifests
from voicestatus.core.chip import Chip
from voicestatus.core.image import Image, ImageRefused
from voicestatus.core.manifest import Manifest, ManifestRefused, PublicKey

NUMBER = click.IntRange(0, manifests.LARGEST_NUMBER)


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--key",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The private key: release.key, as keygen makes it.",
)
@click.option("--version", required=True, metavar="TEXT", help="What people call it.")
@click.option(
    "--build",
    required=True,
    type=click.IntRange(1, manifests.LARGEST_NUMBER),
    help="Higher than that of every build before.",
)
@click.option(
    "--chip",
    required=True,
    type=click.Choice([chip.title for chip in Chip]),
    help="What it is made for.",
)
@click.option(
    "--board", help="The only board that it runs on; else the one that IMAGE names."
)
@click.option(
    "--min-build",
    type=NUMBER,
    default=0,
    help="Signs with an older one do not take it.",
)
@click.option(
    "--floor",
    type=NUMBER,
    default=0,
    help="Once it has proved itself, a sign takes no build below this.",
)
@click.option(
    "--not-after",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The last day (UTC) on which it may be installed.",
)
def sign(
    image: Path,
    key: Path,
    version: str,
    build: int,
    chip: str,
    board: str | None,
    min_build: int,
    floor: int,
    not_after: datetime | None,
) -> None:
    """Sign IMAGE: write IMAGE.manifest, 192 bytes.

    IMAGE must be whole and for that chip, and what it says of itself must agree.
    """
    found = _judge(image)
    if board is None:
        board = found.marker.board if found.marker else ""
    manifest = Manifest(
        chip=Chip[chip.upper()],
        board=board,
        version=version,
        build=build,
        min_build=min_build,
        floor=floor,
        not_after=0 if not_after is None else _end_of(not_after),
        size_bytes=found.size_bytes,
        sha256=found.sha256,
    )
    private = _private(key)
    try:
        signed = manifests.sign(manifest, private)
    except ManifestRefused as e:
        raise click.UsageError(e.message) from e
    try:
        manifests.check_image(manifest, found)
    except ManifestRefused as e:
        raise click.ClickException(f"{image}: {e.message} Nothing was signed.") from e
    if found.marker is None:
        told = f"{image} does not say itself what it is: see that your words are right"
        click.echo(told, err=True)
    file = image.with_name(f"{image.name}.manifest")
    write(file, signed)
    what = f"{chip} {version} (build {build})"
    click.echo(f"{file}: {what}, signed by {PublicKey.of(private).id.hex()}")


def _judge(file: Path) -> Image:
    try:
        return judge(content_of(file))
    except ImageRefused as e:
        raise click.ClickException(f"{file}: {e.message}") from e


def _end_of(day: datetime) -> int:
    return int(day.replace(hour=23, minute=59, second=59, tzinfo=UTC).timestamp())


def _private(file: Path) -> Ed25519PrivateKey:
    content = content_of(file)
    try:
        try:
            key = load_pem_private_key(content, None)
        except TypeError:  # it has a passphrase
            asked = click.prompt(f"Passphrase of {file}", hide_input=True, err=True)
            key = load_pem_private_key(content, asked.encode())
    except (ValueError, UnsupportedAlgorithm) as e:
        told = f"{file} is no private key, or its passphrase is another"
        raise click.ClickException(told) from e
    if not isinstance(key, Ed25519PrivateKey):
        raise click.ClickException(f"{file} is no Ed25519 key, such as keygen makes")
    return key
