"""`voicestatus publish`: a signed image becomes a release of the server."""

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from voicestatus.cli.client import Call, calls_server
from voicestatus.cli.form import Form
from voicestatus.cli.shown import Json, show
from voicestatus.core.manifest import SIZE as MANIFEST_BYTES
from voicestatus.core.release import Channel

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
LEGACY = """\
Old signs (version 1) check no signature: they take whatever comes from an address that
is this server's. Allow this release for them?"""


@click.command()
@click.argument("image", type=FILE)
@click.option(
    "--manifest",
    type=FILE,
    help="What `sign` wrote; IMAGE.manifest unless said.",
)
@click.option(
    "--channel",
    type=click.Choice([channel.value for channel in Channel]),
    default=Channel.STABLE.value,
    show_default=True,
    help="How far it is meant to go.",
)
@click.option("--legacy", is_flag=True, help="Allow it for old signs (version 1), too.")
@click.option("--notes", default="", metavar="TEXT", help="What is new in it.")
@click.option(
    "--flash",
    type=FILE,
    metavar="MERGED",
    help="What `esptool merge-bin` made of IMAGE: an ESP32 is then flashed over USB.",
)
@click.option("--yes", is_flag=True, help="Do not ask, even with --legacy.")
@calls_server
def publish(
    call: Call,
    image: Path,
    manifest: Path | None,
    channel: str,
    legacy: bool,
    notes: str,
    flash: Path | None,
    yes: bool,
) -> None:
    """Make IMAGE a release: send it to the server, with its signed manifest.

    No sign gets it by that: see `rollout start`.
    """
    if legacy and not yes:
        click.confirm(LEGACY, abort=True, err=True)
    fields = {
        # First, so that a wrong one is refused before the image is sent.
        "manifest": _signed(manifest or image.with_name(f"{image.name}.manifest")),
        "channel": channel.encode(),
        "legacy": b"true" if legacy else b"false",
        "notes": notes.encode(),
    }
    files = {"image": image} | ({} if flash is None else {"flash": flash})
    release, is_new = _send(call, Form(fields, files))
    show(call, release, f"{release['id']}: {_what(release, is_new=is_new)}")
    if not is_new and (release["channel"], release["legacy"]) != (channel, legacy):
        click.echo(
            "It is as it was; `voicestatus releases change` does more.", err=True
        )


def _signed(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(MANIFEST_BYTES + 1)
    except OSError as e:
        told = f"{file} cannot be read: {e.strerror}. `voicestatus sign` writes it."
        raise click.ClickException(told) from e


def _send(call: Call, form: Form) -> tuple[Json, bool]:
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn()
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(*columns, console=console, disable=hidden) as bar:
        task = bar.add_task("", total=form.size_bytes)
        return call.server.send_form(
            "/firmware/releases", form, lambda size: bar.advance(task, size)
        )


def _what(release: Json, *, is_new: bool) -> str:
    known = "is published" if is_new else "was published before"
    old = ", for old signs, too" if release["legacy"] else ""
    what = f"{release['chip']} {release['version']} (build {release['build']})"
    return f"{what} {known}: {release['channel']}{old}"
