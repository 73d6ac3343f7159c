"""The simulated Discord, where one person joins and leaves when told.

    python -m benchmarks.discord

Says its port and that of its control, as every server here.
"""

import sys
from typing import Any

from twisted.internet import reactor as installed

from benchmarks.control import ControlFactory
from voicestatus.simulator.service import SimulatedDiscord

HOST = "127.0.0.1"
GUILD = 1_187_000_000_000_000_001
PERSON = 1_187_000_000_000_000_204


def main() -> None:
    """Serve until it is terminated."""
    reactor: Any = installed
    discord = SimulatedDiscord(reactor, guilds=[GUILD])
    room = discord.world.guilds[GUILD].rooms[0]

    def turn(on: bool) -> None:
        discord.voice(GUILD, PERSON, room if on else None)

    control = reactor.listenTCP(0, ControlFactory(turn), interface=HOST)

    def serving(port: int) -> None:
        sys.stdout.write(f"{port} {control.getHost().port}\n")
        sys.stdout.flush()

    discord.startService()
    discord.listening().addCallback(serving)
    reactor.addSystemEventTrigger("before", "shutdown", discord.stopService)
    reactor.run()


if __name__ == "__main__":
    main()
