"""`voicestatus keygen`: the keys with which releases are signed."""

import os
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from voicestatus.core.manifest import PublicKey


@click.command()
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for release.key and release.pub; it is made if there is none.",
)
def keygen(out: Path) -> None:
    """Draw a key for signing releases.

    Do it on a machine that is not the server. release.key stays there and is kept
    secret; what stands in release.pub goes into the server's OTA_PUBLIC_KEYS and into
    the firmware. What is there already is never overwritten.
    """
    private = Ed25519PrivateKey.generate()
    public = PublicKey.of(private)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key, pub = out / "release.key", out / "release.pub"
    for file in (key, pub):
        if file.exists():
            raise click.ClickException(f"{file} is there already, and is kept")
    try:
        out.mkdir(parents=True, exist_ok=True)
        _create(key, pem, 0o600)
        _create(pub, f"{public.text}\n".encode(), 0o644)
    except OSError as e:
        told = f"{e.filename} cannot be written: {e.strerror}"
        raise click.ClickException(told) from e
    click.echo(f"{key}: the private key; keep it secret, and a copy of it elsewhere")
    click.echo(f"{pub}: the public key {public.id.hex()}, for OTA_PUBLIC_KEYS")


def _create(file: Path, content: bytes, mode: int) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    with os.fdopen(os.open(file, flags, mode), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
