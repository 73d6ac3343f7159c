"""`voicestatus simulate-discord`: a Discord look-alike for tests."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from twisted.internet.endpoints import serverFromString
from twisted.python.failure import Failure

from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.simulator.sessions import Rules
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
    "--shards",
    type=click.IntRange(1),
    default=1,
    help="How many it recommends.",
)
@click.option(
    "--max-concurrency",
    type=click.IntRange(1),
    default=1,
    help="Identifies in 5 s, each of another shard.",
)
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
    shards: int,
    max_concurrency: int,
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
        rules=Rules(token=token, shards=shards, max_concurrency=max_concurrency),
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
