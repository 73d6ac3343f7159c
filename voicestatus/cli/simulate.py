"""`voicestatus simulate-discord` and `simulate-signs`."""

import json
import resource
import sys
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from rich.live import Live
from rich.table import Table
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.simulator.sessions import Rules
from voicestatus.simulator.signs import SignFleet, Tally
from voicestatus.simulator.tls import ServerTls, write_certificate

SNOWFLAKE = click.IntRange(0, 2**64 - 1)


@click.command("simulate-discord")
@click.option("--listen", required=True, help="Twisted endpoint, such as tcp:8090.")
@click.option("--guild", "guilds", type=SNOWFLAKE, multiple=True, help="Guild's id.")
@click.option("--token", help="Take this bot token only; without it any is taken.")
@click.option("--people", type=click.IntRange(0), default=0, help="Size of the cast.")
@click.option(
    "--rate", type=click.FloatRange(0), default=0.5, help="Their changes a second."
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Makes ids and people.")
@click.option(
    "--tls",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Serve https and wss; ca.pem, to be trusted by clients, is written there.",
)
def simulate_discord(
    listen: str,
    guilds: tuple[int, ...],
    token: str | None,
    people: int,
    rate: float,
    seed: int,
    folder: Path | None,
) -> None:
    """Serve a Discord look-alike: REST, gateway and controls on one port."""
    from twisted.internet import reactor as installed  # noqa: PLC0415 - the entry

    reactor: Any = installed
    try:
        endpoint = serverFromString(reactor, listen)
    except Exception as e:  # each kind of endpoint has errors of its own
        raise click.BadParameter(str(e), param_hint="--listen") from e
    simulator = SimulatedDiscord(
        reactor,
        endpoint,
        guilds=guilds,
        rules=Rules(token=token),
        people=people,
        rate_per_s=rate,
        seed=seed,
        certificate=None if folder is None else _certificate(folder),
    )
    failed: list[str] = []

    def serving(_port: int) -> None:
        click.echo(f"REST     {simulator.url}")
        click.echo(f"Gateway  {simulator.gateway_url}")
        click.echo(f"Controls {simulator.control_url}")
        for guild in simulator.world.guilds.values():
            click.echo(f"Guild    {guild.id} {guild.name}")

    def refused(failure: Failure) -> None:
        failed.append(failure.getErrorMessage())
        reactor.stop()

    def start() -> None:
        simulator.startService()
        simulator.listening().addCallbacks(serving, refused)

    reactor.addSystemEventTrigger("before", "shutdown", simulator.stopService)
    reactor.callWhenRunning(start)
    reactor.run()
    if failed:
        raise click.ClickException(failed[0])


def _certificate(folder: Path) -> ServerTls:
    try:
        return write_certificate(folder, lambda: datetime.now(UTC))
    except OSError as e:
        raise click.ClickException(f"cannot write to {folder}: {e.strerror}") from e


@click.command("simulate-signs")
@click.option("--url", required=True, help="Such as ws://localhost:8080/ws.")
@click.option("--token", required=True, help="What the signs say: AUTH:<token>.")
@click.option("--count", type=click.IntRange(1), default=1, help="How many signs.")
@click.option("--duration", type=click.FloatRange(0), help="Seconds; else until ^C.")
@click.option(
    "--dials", type=click.FloatRange(1), default=500.0, help="Connections a second."
)
@click.option("--json", "as_json", is_flag=True, help="Print only a summary, as JSON.")
def simulate_signs(
    url: str,
    token: str,
    count: int,
    duration: float | None,
    dials: float,
    as_json: bool,
) -> None:
    """Be many signs of the first kind, and show what they show.

    Fails (1) when a sign was never let in.
    """
    from twisted.internet import reactor as installed  # noqa: PLC0415 - the entry

    reactor: Any = installed
    secure, host, port, path = _address(url)
    _allow_open_files(count + 100)
    fleet = SignFleet(
        reactor,
        host,
        port,
        path,
        token=token,
        count=count,
        dials_per_s=dials,
        secure=secure,
    )
    last: list[Tally] = []

    def stop() -> object:
        last.append(fleet.tally)
        return fleet.stopService()

    reactor.addSystemEventTrigger("before", "shutdown", stop)
    reactor.callWhenRunning(fleet.startService)
    if duration is not None:
        reactor.callLater(duration, reactor.stop)
    live = Live(auto_refresh=False) if not as_json and _terminal() else None
    with live or nullcontext():
        if not as_json:
            show = LoopingCall(_show, fleet, live)
            show.clock = reactor
            reactor.callWhenRunning(show.start, 1, now=False)
        reactor.run()
    summary = asdict(last[0]) | {"ever_connected": fleet.ever_connected}
    if as_json:
        click.echo(json.dumps(summary))
    else:
        click.echo("in all: " + _line(last[0]))
    if fleet.ever_connected < count:
        raise click.ClickException(
            f"{count - fleet.ever_connected} of {count} signs were never let in"
        )


def _address(url: str) -> tuple[bool, str, int, str]:
    """Take an address apart: secure, host, port, path with query."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as e:
        raise click.BadParameter(str(e), param_hint="--url") from e
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise click.BadParameter(
            "must be ws://HOST… or wss://HOST…", param_hint="--url"
        )
    secure = parts.scheme == "wss"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return secure, parts.hostname, port or (443 if secure else 80), path


def _allow_open_files(wanted: int) -> None:
    """A connection is an open file; the usual soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def _terminal() -> bool:
    return sys.stdout.isatty()


def _line(tally: Tally) -> str:
    return "  ".join(f"{name} {value}" for name, value in asdict(tally).items())


def _show(fleet: SignFleet, live: Live | None) -> None:
    tally = fleet.tally
    if live is None:
        click.echo(_line(tally))
        return
    table = Table(*asdict(tally), box=None)
    table.add_row(*(str(value) for value in asdict(tally).values()))
    live.update(table, refresh=True)
