"""`make demo-fleet`: a fleet on this machine gets a good build, then a bad one.

    python -m benchmarks.demo_fleet [--count 5000]

Ends with 1 if anything that has to hold did not.
"""

import resource
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from benchmarks.demo_fleet.admin import Admin
from benchmarks.demo_fleet.firmware import Maker
from benchmarks.demo_fleet.screen import Screen
from benchmarks.demo_fleet.server import Server, serving
from benchmarks.demo_fleet.story import BAD, Bar, Story
from voicestatus.simulator.fates import Updating
from voicestatus.simulator.signs import Habits, SignFleet

READY_WITHIN_S = 30
LOG_BYTES = 4000
"""So much of the server's log is shown when something went wrong."""
SPARE_CONNECTIONS = 1000
"""For downloads, and for signs whose old connection is not gone yet."""


@click.command()
@click.option("--count", type=click.IntRange(50), default=5000, show_default=True)
@click.option("--legacy", type=click.FloatRange(0, 100), default=20, show_default=True)
@click.option(
    "--power-loss", type=click.FloatRange(0, 100), default=3, show_default=True
)
@click.option(
    "--never-back", type=click.FloatRange(0, 100), default=2, show_default=True
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(
    count: int, legacy: float, power_loss: float, never_back: float, seed: int
) -> None:
    """Update a simulated fleet. Shares are in percent."""
    maker, console = Maker(), Console()
    habits = Habits(
        v2=True,
        legacy_percent=legacy,
        own_addresses=True,
        seed=seed,
        updating=Updating(
            keys=(maker.public_key,),
            power_loss_percent=power_loss,
            never_back_percent=never_back,
            bad_builds=frozenset({BAD}),
        ),
    )
    connections = count + SPARE_CONNECTIONS
    _allow_open_files(connections)
    bars: list[Bar] = []

    async def run(reactor: Any, server: Server) -> None:
        admin = Admin(reactor, server.url, server.admin_token)
        fleet = SignFleet(
            reactor,
            "127.0.0.1",
            server.port,
            token=server.sign_token,
            count=count,
            dials_per_s=500,
            habits=habits,
        )
        try:
            await _ready(reactor, admin, server)
            fleet.startService()
            story = Story(reactor, admin, fleet, maker, Screen(console))
            bars.extend(await story.play())
        except BaseException:
            console.print(server.log.read_text(errors="replace")[-LOG_BYTES:])
            raise
        finally:
            if fleet.running:
                await fleet.stopService()
            await admin.close()

    with serving(maker.public_key, connections) as server:
        try:
            react(lambda reactor: Deferred.fromCoroutine(run(reactor, server)))
        except SystemExit as end:
            if end.code:
                raise
    table = Table("what has to hold", "", "seen")
    for bar in bars:
        table.add_row(bar.what, "yes" if bar.met else "[red]NO[/]", bar.seen)
    console.print(table)
    sys.exit(not all(bar.met for bar in bars))


async def _ready(reactor: Any, admin: Admin, server: Server) -> None:
    deadline = reactor.seconds() + READY_WITHIN_S
    while not await admin.is_up():
        if server.dead or reactor.seconds() > deadline:
            raise TimeoutError("the server does not start")
        await deferLater(reactor, 0.2)


def _allow_open_files(wanted: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


if __name__ == "__main__":
    main()
