"""What storing the presence costs, beside storing it in memory and not at all.

    python -m benchmarks.journal GATEWAY_PORT STORAGE_URL|none

connects there, keeps a journal, and says its port as every server here does.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, cycle, repeat
from socket import IPPROTO_TCP, TCP_NODELAY, create_server, socket
from tempfile import TemporaryDirectory
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.internet import reactor as installed
from twisted.internet.endpoints import TCP4ClientEndpoint

from benchmarks.build import HERE
from benchmarks.link import Packer, Program, accept
from benchmarks.ours import HOST
from benchmarks.payloads import (
    FEW_ROLES,
    HELLO,
    IN_VOICE,
    arrival,
    dispatches,
    ready,
    world_of,
)
from benchmarks.plan import Plan
from benchmarks.process import SERVER_CORE, cpu_s, ports_of, running
from benchmarks.sustained import READ_BYTES, WITHIN_S, pong
from voicestatus.core.session import SessionState
from voicestatus.discord.gateway.session import Ended
from voicestatus.journal.service import Journal
from voicestatus.simulator.payloads import Guild
from voicestatus.simulator.world import Dispatch, Voice, World
from voicestatus.store.open import open_store

NONE = "none"
STORAGES = (NONE, "memory:", "sqlite:")
EVENT_EVERY_S = 1 / 500

Measured = dict[str, float]


def measure(plan: Plan) -> Measured:
    """Feed one process for each storage at the same time, 500 events a second to each.

    What disturbs one disturbs all: only so a few percent are seen.
    """
    world, guild = world_of(IN_VOICE, FEW_ROLES)
    packer = Packer()
    opening = [HELLO, ready(world), arrival(world, guild)]
    start = b"".join(map(packer.frame, opening))
    many = int(plan.journal_s / EVENT_EVERY_S)
    events = list(map(packer.frame, dispatches(_bustle(world, guild, many))))
    with ExitStack() as stack:
        links, pids = [], []
        for storage in STORAGES:
            link, pid = stack.enter_context(_linked(storage))
            link.sendall(start)
            pong(link)
            links.append(link)
            pids.append(pid)
        time.sleep(1)  # the guild as a whole is stored
        none, memory, sqlite = _cpu_percents(links, pids, events)
    return {
        "journal_none_cpu_percent": none,
        "journal_memory_cpu_percent": memory,
        "journal_sqlite_cpu_percent": sqlite,
        "journal_ratio": sqlite / memory,
    }


@contextmanager
def _linked(storage: str) -> Iterator[tuple[socket, int]]:
    """Run a process with that storage; yield its link to us and its id."""
    with TemporaryDirectory() as folder, create_server((HOST, 0)) as listening:
        listening.settimeout(WITHIN_S)
        port = str(listening.getsockname()[1])
        url = f"{storage}{folder}/a.db" if storage == "sqlite:" else storage
        command = (sys.executable, "-m", "benchmarks.journal", port, url)
        with running(command, SERVER_CORE, cwd=HERE.parent) as server:
            ports_of(server)
            with listening.accept()[0] as link:
                link.settimeout(WITHIN_S)
                link.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
                link.sendall(accept(link.recv(READ_BYTES)))
                yield link, server.pid


def _cpu_percents(
    links: list[socket], pids: list[int], events: list[bytes]
) -> list[float]:
    before, began = [cpu_s(pid) for pid in pids], time.monotonic()
    for n, event in enumerate(events):
        time.sleep(max(0.0, began + n * EVENT_EVERY_S - time.monotonic()))
        for link in links:
            link.sendall(event)
    for link in links:
        pong(link)
    took_s = time.monotonic() - began
    used = [cpu_s(pid) - was for pid, was in zip(pids, before, strict=True)]
    return [cpu / took_s * 100 for cpu in used]


def _bustle(world: World, guild: Guild, many: int) -> list[Dispatch]:
    """Let a crowd leave, come, mute and move, each once a second.

    So no two changes of one person fall together: what costs a journal most.
    """
    people = [user for user in guild.members if user != world.bot.id]
    room, other = guild.rooms[:2]
    acts = chain.from_iterable(repeat(act, len(people)) for act in cycle(range(4)))
    told: list[Dispatch] = []
    for user, act in zip(cycle(people), acts, strict=False):
        if len(told) >= many:
            return told[:many]
        if act == 0:
            told += world.leave(guild.id, user)
        elif act == 1:
            told += world.join(guild.id, user, room)
        elif act == 2:
            told += world.join(guild.id, user, room, Voice(self_mute=True))
        else:
            told += world.join(guild.id, user, other)
    raise AssertionError("people never tire")


class _Kept(Program):
    """A program whose journal is the only one that asks for its session."""

    def ended(self, ended: Ended, why: str) -> None: ...

    @property
    def session_state(self) -> SessionState | None:
        """See `journal.Link`."""
        return self.session.state

    def stored(self, state: SessionState) -> None:
        """See `journal.Link`."""
        self.session.stored(state)


def main() -> None:
    """Take events until it is terminated."""
    reactor: Any = installed
    gateway_port, storage = int(sys.argv[1]), sys.argv[2]
    program = _Kept(reactor, f"ws://{HOST}:{gateway_port}/")
    if storage != NONE:
        store = open_store(storage, reactor)
        journal = Journal(
            program.hub,
            store,
            made_for="a benchmark",
            clock=reactor,
            wall=time.time,
            registry=CollectorRegistry(),
        )
        store.startService()
        journal.startService()
        journal.spread(1)
        journal.add(0, program, None)
    TCP4ClientEndpoint(reactor, HOST, gateway_port).connect(program.factory)
    sys.stdout.write("0 0\n")
    sys.stdout.flush()
    reactor.run()


if __name__ == "__main__":
    main()
