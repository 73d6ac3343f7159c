"""`voicestatus inspect`: what a firmware file or a manifest is."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from voicestatus.cli.firmware import content_of, judge, write
from voicestatus.cli.shown import print_wide, text
from voicestatus.core import manifest as manifests
from voicestatus.core.image import Image, ImageRefused
from voicestatus.core.manifest import Manifest, ManifestRefused, PublicKey

Json = Mapping[str, Any]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
SEALS = {
    "checksum": "checksum",
    "crc32": "checksum and CRC-32",
    "sha256": "checksum and SHA-256",
    "none": "nothing but its own tables",
}


@click.command("inspect")
@click.argument("file", type=_FILE, metavar="IMAGE|MANIFEST")
@click.option(
    "--extract-app",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Cut the program out of a file for the whole flash memory.",
)
@click.option(
    "--key",
    "keys",
    type=_FILE,
    multiple=True,
    help="A public key (release.pub) that may have signed the manifest; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def inspect(
    file: Path, extract_app: Path | None, keys: tuple[Path, ...], as_json: bool
) -> None:
    """Say what a firmware file or a manifest is.

    Exit status 1: it is neither, or not whole, or not signed by that key.
    """
    content = content_of(file)
    is_manifest = content.startswith(b"VSOTA")
    if keys and not is_manifest:
        raise click.UsageError("--key is for a manifest")
    if extract_app is not None and is_manifest:
        raise click.UsageError("--extract-app is for a file that holds an image")
    try:
        if is_manifest:
            _show_manifest(file, content, [_public(key) for key in keys], as_json)
        elif extract_app is not None:
            _show_image(extract_app, _extract(file, content, extract_app), as_json)
        else:
            _show_image(file, judge(content), as_json)
    except (ImageRefused, ManifestRefused) as e:
        if not as_json:
            raise click.ClickException(f"{file}: {e.message}") from e
        click.echo(json.dumps(_refusal(e), indent=2))
        raise SystemExit(1) from e


# -- images ----------------------------------------------------------------------------


def _extract(file: Path, content: bytes, app: Path) -> Image:
    """Cut the program out, exactly as long as its own headers say.

    :raises ImageRefused: when no whole program is in there.
    """
    try:
        judge(content)
    except ImageRefused as e:
        if e.app_at is None:
            raise
        cut = content[e.app_at :]
    else:
        raise click.ClickException(f"{file} is the program alone: nothing to cut out")
    try:
        image = judge(cut)
    except ImageRefused as e:
        if e.code != "IMAGE_TRAILING":
            raise
        cut = cut[: e.offset]
        image = judge(cut)
    write(app, cut)
    return image


def _show_image(file: Path, image: Image, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_image(image), indent=2))
        return
    if (marker := image.marker) is None:
        made = "it does not say so itself"
    else:
        made = f"voicestatus {marker.version} (build {marker.build})"
        made += f", for the board {marker.board}" if marker.board else ""
    click.echo(f"{file} is firmware for {image.chip.title}, whole and undamaged")
    facts = {
        "made as": made,
        "size": f"{image.size_bytes} bytes",
        "checked by": SEALS[image.seal],
        "sha256": image.sha256,
        "md5": image.md5,
    }
    _print_facts(facts.items())
    if image.segments:
        table = Table(box=None, pad_edge=False)
        for title in ("segment", "offset", "address", "bytes"):
            table.add_column(title, justify="right")
        for number, each in enumerate(image.segments, 1):
            where = f"0x{each.offset:x}", f"0x{each.address:08x}"
            table.add_row(str(number), *where, str(each.size_bytes))
        print_wide(table)


def _image(image: Image) -> Json:
    marker = image.marker
    return {
        "kind": "image",
        "chip": image.chip.title,
        "sizeBytes": image.size_bytes,
        "sha256": image.sha256,
        "md5": image.md5,
        "seal": image.seal,
        "marker": marker
        and {"board": marker.board, "version": marker.version, "build": marker.build},
        "segments": [
            {"offset": s.offset, "address": s.address, "sizeBytes": s.size_bytes}
            for s in image.segments
        ],
    }


# -- manifests -------------------------------------------------------------------------


def _show_manifest(
    file: Path, content: bytes, keys: list[PublicKey], as_json: bool
) -> None:
    if keys:
        manifest = manifests.verified(content, keys)
    elif len(content) == manifests.SIZE:
        manifest = manifests.unpack(content[: manifests.BODY_BYTES])
    else:
        told = f"A manifest has {manifests.SIZE} bytes, and this {len(content)}."
        raise ManifestRefused("MANIFEST_SIZE", told)
    if as_json:
        click.echo(json.dumps(_manifest(manifest, bool(keys)), indent=2))
        return
    trust = (
        "its signature holds"
        if keys
        else "its signature was not checked (--key release.pub does that)"
    )
    click.echo(f"{file} is a manifest; {trust}")
    _print_facts(
        (
            ("chip", manifest.chip.title),
            ("board", manifest.board or "any"),
            ("version", manifest.version),
            ("build", str(manifest.build)),
            ("min build", str(manifest.min_build)),
            ("floor", str(manifest.floor)),
            ("not after", _moment(manifest.not_after)),
            ("size", f"{manifest.size_bytes} bytes"),
            ("sha256", manifest.sha256),
            ("key", manifest.key_id.hex()),
        )
    )


def _manifest(manifest: Manifest, is_verified: bool) -> Json:
    return {
        "kind": "manifest",
        "verified": is_verified,
        "chip": manifest.chip.title,
        "board": manifest.board,
        "version": manifest.version,
        "build": manifest.build,
        "minBuild": manifest.min_build,
        "floor": manifest.floor,
        "notAfter": manifest.not_after,
        "sizeBytes": manifest.size_bytes,
        "sha256": manifest.sha256,
        "keyId": manifest.key_id.hex(),
    }


def _moment(seconds: int) -> str:
    if not seconds:
        return "for ever"
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):  # beyond the year 9999
        return f"{seconds} s after 1970"


def _public(file: Path) -> PublicKey:
    try:
        return PublicKey.parse(content_of(file).decode("ascii"))
    except ValueError as e:
        raise click.ClickException(f"{file} is no public key: {e}") from e


# -- inside ----------------------------------------------------------------------------


def _refusal(e: ImageRefused | ManifestRefused) -> Json:
    refused = {"kind": "refused", "code": e.code, "message": e.message}
    if isinstance(e, ImageRefused):
        return refused | {"offset": e.offset, "appAt": e.app_at}
    return refused


def _print_facts(rows: Iterable[tuple[str, str]]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, text(value))
    print_wide(table)
