"""The whole program under `twistd`, at a simulated Discord."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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

READY_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where the program runs: its port and its store outlive its process."""

    port: int
    control: int
    """Discord's: a byte there lets somebody join or leave."""
    _folder: Path
    _discord: int

    @contextmanager
    def program(self) -> Iterator[subprocess.Popen[str]]:
        """Start the program; it may not be ready yet.

        :raises BenchmarkError: what failed meanwhile, with the program's log.
        """
        twistd = Path(sys.executable).with_name("twistd")
        env = {
            "DISCORD_TOKEN": "benchmark",
            "DISCORD_API_URL": f"http://127.0.0.1:{self._discord}/api/v10",
            "ESP_AUTH_TOKEN": TOKEN,
            "STORAGE_URL": "sqlite:voicestatus.db",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
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
            link = HTTPConnection("127.0.0.1", self.port, timeout=1)
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
def place() -> Iterator[Place]:
    """Start a simulated Discord, and find a port and a folder."""
    command = (sys.executable, "-m", "benchmarks.discord")
    with (
        TemporaryDirectory() as folder,
        running(command, GENERATOR_CORE, cwd=HERE.parent) as discord,
    ):
        port, control = ports_of(discord)
        yield Place(_free_port(), control, Path(folder), port)


def _free_port() -> int:
    with create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
