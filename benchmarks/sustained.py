"""Discord's events at a real rate on real sockets, and a guild that comes at once.

    python -m benchmarks.sustained GATEWAY_PORT

connects there, serves signs, and says their port as every server here does.
"""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from socket import (
    IPPROTO_TCP,
    TCP_NODELAY,
    create_connection,
    create_server,
    socket,
)
from threading import Event, Thread
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.endpoints import TCP4ClientEndpoint

from benchmarks.build import HERE
from benchmarks.link import Packer, Program, accept
from benchmarks.ours import HOST, listen
from benchmarks.payloads import (
    FEW_ROLES,
    HELLO,
    IN_VOICE,
    MANY_ROLES,
    arrival,
    day,
    ready,
    world_of,
)
from benchmarks.plan import Plan
from benchmarks.process import (
    SERVER_CORE,
    BenchmarkError,
    cpu_s,
    ports_of,
    running,
)
from benchmarks.signs import TOKEN
from voicestatus.discord.gateway.session import Ended

TICK_S = 0.01
PING_EVERY_S = 0.001
WITHIN_S = 20.0
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: sign\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
GATEWAY_PING, GATEWAY_PONG = b"\x89\0", b"\x8a\x80"
PING, PONG = b"\x89\x80\0\0\0\0", b"\x8a\0"
"""A device's ping has a mask, even around nothing; the answer has none."""

READ_BYTES = 65_536

Measured = dict[str, float]


def measure(plan: Plan) -> Measured:
    """Measure in a process of its own, to which this one is Discord and a sign."""
    world, guild = world_of(IN_VOICE, FEW_ROLES)
    packer = Packer()
    opening = [HELLO, ready(world), arrival(world, guild)]
    start = b"".join(map(packer.frame, opening))
    changes = day(world, guild, plan.rate_per_s * plan.rate_s)
    events = list(map(packer.frame, changes))
    large = arrival(*world_of(plan.guild_members, MANY_ROLES), seq=len(events) + 9)
    larges = [packer.frame(large) for _ in range(plan.guilds)]

    with create_server((HOST, 0)) as listening:
        listening.settimeout(WITHIN_S)
        port = listening.getsockname()[1]
        command = (sys.executable, "-m", "benchmarks.sustained", str(port))
        with running(command, SERVER_CORE, cwd=HERE.parent) as server:
            signs_port, _ = ports_of(server)
            with listening.accept()[0] as link, Sign(signs_port) as sign:
                link.settimeout(WITHIN_S)
                link.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
                link.sendall(accept(link.recv(READ_BYTES)) + start)
                pong(link)
                cpu, began = cpu_s(server.pid), time.monotonic()
                waits = _feed(link, events, plan.rate_per_s)
                cpu, took_s = cpu_s(server.pid) - cpu, time.monotonic() - began
                at_rest = sign.pongs_within(lambda: time.sleep(1))
                pongs = sign.pongs_within(lambda: _all_of(link, larges))
    return {
        "rate_per_s": len(events) / took_s,
        "rate_cpu_percent": cpu / took_s * 100,
        "rate_wait_ms": max(waits) * 1e3,
        "rest_pong_ms": max(at_rest) * 1e3,
        "guild_pong_ms": max(pongs) * 1e3,
        "guild_pongs": float(len(pongs)),
    }


def _feed(link: socket, frames: Sequence[bytes], rate_per_s: int) -> list[float]:
    """Send so many a second; return how long an answer behind each batch takes."""
    batch = int(rate_per_s * TICK_S)
    due, waits = time.monotonic(), []
    for at in range(0, len(frames), batch):
        time.sleep(max(0.0, due - time.monotonic()))
        link.sendall(b"".join(frames[at : at + batch]))
        waits.append(pong(link))
        due += TICK_S
    return waits


def _all_of(link: socket, frames: Iterable[bytes]) -> None:
    for frame in frames:
        link.sendall(frame)
        pong(link)


def pong(link: socket) -> float:
    """Return how long the other end takes to answer, after all that was sent.

    It works off what it receives in order.
    """
    began = time.monotonic()
    link.sendall(GATEWAY_PING)
    heard = b""
    while GATEWAY_PONG not in heard:
        more = link.recv(READ_BYTES)
        if not more:
            raise BenchmarkError("the link to the simulated Gateway ended")
        heard = heard[-len(GATEWAY_PONG) :] + more
    return time.monotonic() - began


class Sign:
    """A device that pings all the time; for a `with` block."""

    def __init__(self, port: int) -> None:
        self._socket = create_connection((HOST, port), WITHIN_S)
        self._socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self._socket.sendall(UPGRADE)
        self._until(b"\r\n\r\n")
        text = b"AUTH:" + TOKEN.encode()
        head = bytes((0x81, 0x80 | len(text))) + bytes(4)  # a mask that changes nothing
        self._socket.sendall(head + text)
        self._until(b"OK")

    def __enter__(self) -> "Sign":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Return what `select` waits for."""
        return self._socket.fileno()

    def read(self) -> bytes:
        """Return what has come."""
        return self._socket.recv(READ_BYTES)

    def pongs_within(self, act: Callable[[], object]) -> list[float]:
        """Ping while something is done; return how long each answer took."""
        waits: list[float] = []
        done = Event()

        def ping() -> None:
            while not done.is_set():
                began = time.monotonic()
                self._socket.sendall(PING)
                self._until(PONG)
                waits.append(time.monotonic() - began)
                time.sleep(PING_EVERY_S)

        thread = Thread(target=ping)
        thread.start()
        try:
            act()
        finally:
            done.set()
            thread.join()
        return waits

    def _until(self, end: bytes) -> None:
        heard = b""
        while end not in heard:
            more = self._socket.recv(READ_BYTES)
            if not more:
                raise BenchmarkError("the sign was dropped")
            heard += more


class _Live(Program):
    """A program whose connection ends when the measurement does."""

    def ended(self, ended: Ended, why: str) -> None: ...


def main() -> None:
    """Serve until it is terminated."""
    reactor: Any = installed
    gateway_port = int(sys.argv[1])
    program = _Live(reactor, f"ws://{HOST}:{gateway_port}/")
    port = listen(reactor, program.lights, TOKEN.encode())
    TCP4ClientEndpoint(reactor, HOST, gateway_port).connect(program.factory)
    sys.stdout.write(f"{port} 0\n")
    sys.stdout.flush()
    reactor.run()


if __name__ == "__main__":
    main()
