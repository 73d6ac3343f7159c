"""The whole program under `twistd`, at a simulated Discord."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from socket import create_server
from tempfile import TemporaryDirectory

from benchmarks.build import HERE
from benchmarks.process import (
    GENERATOR_CORE,
    SERVER_CORE,
    BenchmarkError,
    ports_of,
    running,
)
from benchmarks.signs import TOKEN

HOST = "127.0.0.1"
READY_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where the program runs: its port and its store outlive its process."""

    port: int
    control: int
    """Discord's: a byte there lets somebody join or leave."""
    _folder: Path
    _discord: int
    _storage: str

    def another(self) -> "Place":
        """Return a place beside this one, at the same Discord."""
        folder = self._folder / "another"
        folder.mkdir()
        return replace(self, port=free_port(), _folder=folder)

    @contextmanager
    def program(self, **settings: str) -> Iterator[subprocess.Popen[str]]:
        """Start the program, with these settings besides; it may not be ready yet.

        :raises BenchmarkError: what failed meanwhile, with the program's log.
        """
        twistd = Path(sys.executable).with_name("twistd")
        env = {
            "DISCORD_TOKEN": "benchmark",
            "DISCORD_API_URL": f"http://127.0.0.1:{self._discord}/api/v10",
            "ESP_AUTH_TOKEN": TOKEN,
            "STORAGE_URL": self._storage,
            "HOST": HOST,
            "PORT": str(self.port),
            **settings,
        }
        with (
            self._log.open("a") as out,
            running(
                (twistd, "-n", "--pidfile=", "voicestatus"),
                SERVER_CORE,
                stdout=out,
                env=env,
                cwd=self._folder,
            ) as process,
        ):
            try:
                yield process
            except BenchmarkError as e:
                raise BenchmarkError(f"{e}\n{self._log.read_text()}") from None

    def wait_until_ready(self) -> None:
        """Return when it can serve.

        :raises BenchmarkError: when that takes too long.
        """
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            time.sleep(0.1)
            link = HTTPConnection(HOST, self.port, timeout=1)
            try:
                link.request("GET", "/health")
                if link.getresponse().status == 200:
                    return
            except OSError:
                pass
            finally:
                link.close()
        raise BenchmarkError("the program is not ready")

    @property
    def _log(self) -> Path:
        return self._folder / "log"


@contextmanager
def place(storage: str = "sqlite:voicestatus.db") -> Iterator[Place]:
    """Start a simulated Discord, and find a port and a folder."""
    command = (sys.executable, "-m", "benchmarks.discord")
    with (
        TemporaryDirectory() as folder,
        running(command, GENERATOR_CORE, cwd=HERE.parent) as discord,
    ):
        port, control = ports_of(discord)
        yield Place(free_port(), control, Path(folder), port, storage)


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])
