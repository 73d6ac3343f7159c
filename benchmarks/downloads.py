"""What signs notice of downloads that run beside them.

    python -m benchmarks.downloads PORT PARALLEL KB_PER_S

downloads over and over, each at that pace (0: as fast as it goes), says `{}` when
every one has had its first bytes, and when its input ends what came of it.
"""

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from types import MappingProxyType
from typing import Final

import msgspec

from benchmarks.build import HERE, compiled
from benchmarks.fleet import ours
from benchmarks.ours import DOWNLOAD_BYTES
from benchmarks.plan import Plan
from benchmarks.process import (
    GENERATOR_CORE,
    SERVER_CORE,
    BenchmarkError,
    ports_of,
    rss_bytes,
    running,
)
from benchmarks.signs import signs

KINDS: Final = MappingProxyType({"none": None, "slow": 200, "fast": 0})
"""KB/s of each; a device's flash takes about 200."""
TICK_S: Final = 0.02
WINDOW_BYTES: Final = 5744
"""A device's receive window. Source: lwIP as the devices' core builds it, 4 * MSS."""
REQUEST: Final = (
    "GET /ota/check HTTP/1.0\r\n"
    "Host: 127.0.0.1\r\n"
    "User-Agent: ESP32-http-Update\r\n"
    "Connection: close\r\n"
    "x-ESP32-STA-MAC: 02:00:00:00:{0:02x}:{1:02x}\r\n"
    "x-ESP32-free-space: 4194304\r\n"
    "x-ESP32-mode: sketch\r\n"
    "\r\n"
)
"""What the updater of an ESP32 sends. Source: HTTPUpdate.cpp."""

Measured = dict[str, float]


class Came(msgspec.Struct, frozen=True):
    """What came of the downloads; a broken one is one of another length."""

    whole: int
    broken: int
    seconds: float
    mb: float


def measure(plan: Plan) -> Measured:
    """Measure flips without downloads, beside slow ones and beside fast ones."""
    measured: Measured = {}
    for kind, pace in KINDS.items():
        measured |= {f"{kind}_{k}": v for k, v in _beside(plan, pace).items()}
    return measured


def _beside(plan: Plan, pace: int | None) -> Measured:
    generator = compiled("generator/signs.c")
    with running(ours(), SERVER_CORE, cwd=HERE.parent) as server:
        port, control = ports_of(server)
        with signs(generator, plan.download_signs, port, control) as fleet:
            fleet.open()
            fleet.flip(3, plan.quiet_ms)  # whatever is done for the first time only
            rss = rss_bytes(server.pid)
            with _downloading(port, plan.downloads, pace) as stop:
                flips = fleet.flip(plan.download_flips, plan.quiet_ms)
                rss = rss_bytes(server.pid) - rss
                came = stop()
    if came.broken:
        raise BenchmarkError(f"{came.broken} download(s) came broken")
    return {
        "first_ms": median(flip.first_ms for flip in flips),
        "p99_ms": median(flip.p99_ms for flip in flips),
        "worst_ms": max(flip.last_ms for flip in flips),
        "rss_mb": rss / 1e6,
        "mb_per_s": came.mb / came.seconds,
    }


@contextmanager
def _downloading(
    port: int, parallel: int, pace: int | None
) -> Iterator[Callable[[], Came]]:
    """Download beside the block; yield what ends that and says what came."""
    if pace is None:
        yield lambda: Came(whole=0, broken=0, seconds=1, mb=0)
        return
    sizes = map(str, (port, parallel, pace))
    command = (sys.executable, "-m", "benchmarks.downloads", *sizes)
    with running(
        command, GENERATOR_CORE, stdin=subprocess.PIPE, cwd=HERE.parent
    ) as client:

        def stop() -> Came:
            assert client.stdin is not None
            client.stdin.close()
            return msgspec.json.decode(hear(), type=Came)

        def hear() -> str:
            assert client.stdout is not None
            if not (line := client.stdout.readline()):
                raise BenchmarkError("the downloads have died; they say why above")
            return line

        hear()
        yield stop


class _Download:
    """One connection after the other."""

    _socket: socket.socket
    _left: int
    _head: bool

    def __init__(self, number: int, port: int, pace_kb_s: int) -> None:
        self.whole = self.broken = self.bytes = 0
        self._request = REQUEST.format(*divmod(number, 256)).encode()
        # Each has its own, as devices of different houses have.
        self._host = "127.1.{}.{}".format(*divmod(number, 256))
        self._port, self._slow = port, bool(pace_kb_s)
        self._piece = int(pace_kb_s * 1000 * TICK_S) or 1 << 18
        self._begin()

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> None:
        try:
            data = self._socket.recv(self._piece)
        except BlockingIOError:
            return
        self.bytes += len(data)
        if data:
            # The head is short and comes first, in the first piece.
            self._left -= len(data)
            if self._head:
                self._left += data.index(b"\r\n\r\n") + 4
                self._head = False
            return
        self.whole += self._left == 0
        self.broken += self._left != 0
        self._socket.close()
        self._begin()

    def _begin(self) -> None:
        self._left, self._head = DOWNLOAD_BYTES, True
        self._socket = socket.socket()
        self._socket.bind((self._host, 0))
        if self._slow:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
        self._socket.connect(("127.0.0.1", self._port))
        self._socket.sendall(self._request)
        self._socket.setblocking(False)


def main() -> None:
    """Download until the input ends."""
    port, parallel, pace = map(int, sys.argv[1:])
    downloads = [_Download(n, port, pace) for n in range(parallel)]
    told, began = False, time.monotonic()
    while not select.select([sys.stdin], [], [], 0)[0]:
        if pace:
            time.sleep(TICK_S)
            ready = downloads
        else:
            ready = select.select(downloads, [], [], TICK_S)[0]
        for download in ready:
            download.read()
        if not told and all(download.bytes for download in downloads):
            told = True
            sys.stdout.write("{}\n")
            sys.stdout.flush()
    came = {
        "whole": sum(download.whole for download in downloads),
        "broken": sum(download.broken for download in downloads),
        "seconds": time.monotonic() - began,
        "mb": sum(download.bytes for download in downloads) / 1e6,
    }
    sys.stdout.write(json.dumps(came) + "\n")


if __name__ == "__main__":
    main()
