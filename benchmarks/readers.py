"""Readers of an event stream and signs beside them, in a process of their own.

    python -m benchmarks.readers PORT CONTROL TOKEN

Takes one order a line on standard input, and answers each in JSON:
  signs COUNT        when so many are connected and have what they are told first
  readers COUNT      the same
  tell TIMES QUIET   in milliseconds; somebody comes, goes, comes ..., and when each
                     of them has heard of it
"""

import base64
import json
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import msgspec

from benchmarks.build import HERE
from benchmarks.figures import percentile
from benchmarks.process import GENERATOR_CORE, BenchmarkError, running
from benchmarks.signs import TOKEN

HOST = "127.0.0.1"
LIMIT_S = 20.0
AT_ONCE = 100
READ_BYTES = 65_536
STREAM = "/api/v1/discord/1/voice-stream"
_MASK = b"\0\0\0\0"


class Told(msgspec.Struct, frozen=True):
    """One event; times from its order to its arrival."""

    missing: int
    """Readers and signs that it did not reach."""
    first_ms: float
    p50_ms: float
    p99_ms: float
    last_ms: float
    signs_last_ms: float
    cpu_ms: float
    """The generator's own: should it come near `last_ms`, it is what is measured."""


class _Reader:
    """One connection that reads the stream."""

    request: ClassVar = (
        "GET {stream} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
        "Authorization: Bearer {token}\r\n\r\n"
    )
    welcome, news = b"event: snapshot", b'"action"'

    def __init__(self, port: int, token: str) -> None:
        self.socket = socket.create_connection((HOST, port))
        self.socket.sendall(self.request.format(stream=STREAM, token=token).encode())
        self.socket.setblocking(False)

    def read(self, wanted: bytes) -> bool:
        """Read what has come; return whether what is waited for is in it."""
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise BenchmarkError("the server hung up")
        return wanted in data


class _Sign(_Reader):
    """One that is told its light, and answers pings."""

    request = (
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n\r\n"
    )
    welcome, news = b"\x81\x01", b"\x81\x01"
    _begun = False

    def __init__(self, port: int, token: str) -> None:
        super().__init__(port, token)
        self._auth = f"AUTH:{token}".encode()

    def read(self, wanted: bytes) -> bool:
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise BenchmarkError("the server hung up")
        if not self._begun:
            self._begun = True
            head = bytes((0x81, 0x80 | len(self._auth))) + _MASK
            self.socket.send(head + self._auth)
        elif b"\x89\x00" in data:
            self.socket.send(b"\x8a\x80" + _MASK)
        return wanted in data


class _Crowd:
    """All of them, and the control."""

    def __init__(self, port: int, control: int) -> None:
        self._port = port
        self._control = socket.create_connection((HOST, control))
        self._control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll = select.epoll()
        self._all: dict[int, _Reader] = {}
        self._there = False

    def open(self, kind: type[_Reader], count: int, token: str) -> None:
        """Let so many come, some at a time."""
        for begin in range(0, count, AT_ONCE):
            new = {}
            for _ in range(begin, min(begin + AT_ONCE, count)):
                reader = kind(self._port, token)
                new[reader.socket.fileno()] = reader
                self._poll.register(reader.socket, select.EPOLLIN)
            self._all |= new
            if len(self._hear(set(new), welcome=True)) < len(new):
                raise BenchmarkError("some were not let in")

    def tell(self) -> Told:
        """Let somebody come or go."""
        cpu, began = time.process_time(), time.perf_counter()
        self._there = not self._there
        self._control.sendall(b"1" if self._there else b"0")
        heard = self._hear(set(self._all))
        cpu = time.process_time() - cpu
        waits: dict[type[_Reader], list[float]] = {_Reader: [], _Sign: [0.0]}
        for fd, at in heard.items():
            waits[type(self._all[fd])].append(1e3 * (at - began))
        readers = waits[_Reader]
        return Told(
            missing=len(self._all) - len(heard),
            first_ms=min(readers),
            p50_ms=percentile(readers, 0.50),
            p99_ms=percentile(readers, 0.99),
            last_ms=max(readers),
            signs_last_ms=max(waits[_Sign]),
            cpu_ms=1e3 * cpu,
        )

    def _hear(self, awaited: set[int], *, welcome: bool = False) -> dict[int, float]:
        """Return when what is waited for came to each."""
        heard: dict[int, float] = {}
        deadline = time.perf_counter() + LIMIT_S
        while awaited and time.perf_counter() < deadline:
            for fd, _ in self._poll.poll(0.1):
                reader = self._all[fd]
                if reader.read(reader.welcome if welcome else reader.news):
                    heard[fd] = time.perf_counter()
                    awaited.discard(fd)
        return heard


def main() -> None:
    """Obey until the input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    port, control, token = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    crowd = _Crowd(port, control)
    for line in sys.stdin:
        match line.split():
            case ["signs", count]:
                crowd.open(_Sign, int(count), token)
                _answer({})
            case ["readers", count]:
                crowd.open(_Reader, int(count), token)
                _answer({})
            case ["tell", times, quiet_ms]:
                for _ in range(int(times)):
                    _answer(msgspec.to_builtins(crowd.tell()))
                    time.sleep(int(quiet_ms) / 1e3)
            case _:
                raise SystemExit(f"no order: {line!r}")


def _answer(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


class Readers:
    """Drives that process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def open(self, kind: str, count: int) -> None:
        """Connect `readers`, or `signs`.

        :raises BenchmarkError: unless all were let in.
        """
        self._say(f"{kind} {count}")
        self._hear()

    def tell(self, times: int, quiet_ms: int) -> list[Told]:
        """Let things happen. :raises BenchmarkError: unless all heard of each."""
        self._say(f"tell {times} {quiet_ms}")
        told = [msgspec.json.decode(self._hear(), type=Told) for _ in range(times)]
        if missing := sum(each.missing for each in told):
            raise BenchmarkError(f"{missing} event(s) did not arrive")
        return told

    def _say(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise BenchmarkError("the readers have died; they say why above")
        return line


@contextmanager
def reading(port: int, control: int) -> Iterator[Readers]:
    """Start them; they are still to be opened."""
    ports = map(str, (port, control))
    command = (sys.executable, "-m", "benchmarks.readers", *ports, TOKEN)
    with running(
        command, GENERATOR_CORE, stdin=subprocess.PIPE, cwd=HERE.parent
    ) as process:
        yield Readers(process)


if __name__ == "__main__":
    main()
