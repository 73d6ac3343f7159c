"""`voicestatus backup` and `restore`: all that the server keeps, in one file."""

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click
from rich.console import Console
from rich.progress import DownloadColumn, Progress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

from voicestatus.core.errors import ConfigError, VoiceStatusError
from voicestatus.core.storage_address import InFile, InMemory, parse
from voicestatus.settings import load
from voicestatus.store.backup import (
    Contained,
    Told,
    check_backup,
    restore_backup,
    write_backup,
)
from voicestatus.store.documents import NotEmpty, Store
from voicestatus.store.durable import sync_folder
from voicestatus.store.open import open_store

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

# The server needs them; the store does not.
_UNUSED = {"DISCORD_TOKEN": "unused", "ESP_AUTH_TOKEN": "unused"}


def _which_store(command: F) -> F:
    for option in (
        click.option("--storage", "url", help="Its address, instead of STORAGE_URL."),
        click.option(
            "--env-file",
            type=click.Path(exists=True, dir_okay=False),
            help="File with settings; .env where there is one.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_which_store
def backup(file: Path, url: str | None, env_file: str | None) -> None:
    """Write all that the store holds to FILE, while the server runs or not.

    FILE holds secrets, such as hashes of tokens; only its owner may read it. An
    existing FILE is replaced when the new one is whole.
    """
    url = _address(url, env_file)
    where = parse(url)
    if isinstance(where, InFile) and not Path(where.path).exists():
        raise click.ClickException(f"there is no store: {where.path} does not exist")

    async def write(stream: BinaryIO, told: Told, store: Store) -> Contained:
        return await write_backup(store, stream, told)

    with _written(file) as stream, _progress("backup") as told:
        held = _in_reactor(url, partial(write, stream, told))
    click.echo(f"{file}: {_counts(held)}")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_which_store
@click.option("--force", is_flag=True, help="Replace what the store holds.")
def restore(file: Path, url: str | None, env_file: str | None, force: bool) -> None:
    """Put what FILE holds into an empty store; stop the server first.

    FILE is read to its end before anything is changed. The store then changes at
    once, or not at all.
    """
    url = _address(url, env_file)
    try:
        with file.open("rb") as stream:
            held = check_backup(stream)
            stream.seek(0)
            with _progress("restore", held.size_bytes) as told:
                work = partial(_restore, stream, told, force)
                _in_reactor(url, work)
    except OSError as e:
        raise click.ClickException(f"{file} cannot be read: {e.strerror}") from e
    except VoiceStatusError as e:
        raise click.ClickException(f"{file}: {e}") from e
    click.echo(f"restored {_counts(held)}")


async def _restore(stream: BinaryIO, told: Told, force: bool, store: Store) -> None:
    try:
        await restore_backup(store, stream, told, replace=force)
    except NotEmpty as e:
        raise click.ClickException(f"{e}; --force replaces all that it holds") from e


def _address(url: str | None, env_file: str | None) -> str:
    if env_file is None and Path(".env").is_file():
        env_file = ".env"
    try:
        url = url or load(env_file, _UNUSED).storage_url
    except ConfigError as e:
        raise click.ClickException(f"the settings are wrong:\n{e}") from e
    try:
        where = parse(url)
    except ValueError as e:
        raise click.BadParameter("no address of a store", param_hint="--storage") from e
    if isinstance(where, InMemory):
        raise click.ClickException("memory: ends with its process; there is no store")
    return url


def _counts(held: Contained) -> str:
    return f"{held.documents} documents and {held.blobs} blobs"


@contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    """Write beside the file; take its place when all went well."""
    file = file.resolve()  # a link stays one
    if file.exists() and not file.is_file():
        raise click.ClickException(f"{file} is no file, such as may be replaced")
    part = file.with_name(f"{file.name}.part")
    try:
        part.unlink(missing_ok=True)
        # Who was quick enough to make a link there finds it refused.
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        with os.fdopen(os.open(part, flags, 0o600), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
        sync_folder(file.parent)
    except OSError as e:
        raise click.ClickException(f"{file} cannot be written: {e.strerror}") from e
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _progress(what: str, total: int | None = None) -> Iterator[Told]:
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], DownloadColumn())
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=total)
        yield lambda size_bytes: bar.advance(task, size_bytes)


def _in_reactor(url: str, work: Callable[[Store], Awaitable[T]]) -> T:
    """Open the store, do the work, close the store; ^C ends the work first."""
    from twisted.internet import reactor as installed  # noqa: PLC0415 - the entry

    reactor: Any = installed
    # What the store tells is in the errors that it raises.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    ended: list[T | Failure] = []

    async def run() -> T:
        store = open_store(url, reactor)
        store.startService()
        try:
            return await work(store)
        finally:
            if (closed := store.stopService()) is not None:
                await closed

    def end(result: T | Failure) -> None:
        ended.append(result)
        with suppress(ReactorNotRunning):
            reactor.stop()

    def start() -> None:
        running = Deferred.fromCoroutine(run())
        reactor.addSystemEventTrigger("before", "shutdown", lambda: interrupt(running))
        running.addBoth(end)

    def interrupt(running: Deferred[Any]) -> Deferred[Any]:
        running.cancel()
        return running

    reactor.callWhenRunning(start)
    reactor.run()
    result = ended[0]
    if not isinstance(result, Failure):
        return result
    if result.check(CancelledError):
        raise click.Abort
    if result.check(VoiceStatusError):
        raise click.ClickException(result.getErrorMessage())
    return result.raiseException()
