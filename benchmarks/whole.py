"""The whole program: somebody moves in a simulated Discord, and signs change."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from socket import create_server
from tempfile import TemporaryDirectory

from benchmarks.build import HERE, compiled
from benchmarks.figures import percentile
from benchmarks.plan import Plan
from benchmarks.process import (
    GENERATOR_CORE,
    SERVER_CORE,
    BenchmarkError,
    ports_of,
    running,
)
from benchmarks.signs import TOKEN, signs

READY_WITHIN_S = 20.0

Measured = dict[str, float]


def measure(plan: Plan) -> Measured:
    """Measure one sign's wait for a change, then that of many."""
    generator = compiled("generator/signs.c")
    with _program() as (port, control):
        with signs(generator, 1, port, control) as one:
            one.open()
            one.flip(5, 20)  # whatever is done for the first time only
            waits = [f.last_ms for f in one.flip(plan.one_sign_changes, 20)]
        with signs(generator, plan.whole_count, port, control) as many:
            many.open()
            lasts = [f.last_ms for f in many.flip(plan.flips, plan.quiet_ms)]
    return {
        "one_p50_ms": percentile(waits, 0.50),
        "one_p99_ms": percentile(waits, 0.99),
        "many_last_ms": percentile(lasts, 0.50),
    }


@contextmanager
def _program() -> Iterator[tuple[int, int]]:
    """Run both; yield the signs' port, and Discord's control."""
    discord_command = (sys.executable, "-m", "benchmarks.discord")
    with (
        TemporaryDirectory() as folder,
        running(discord_command, GENERATOR_CORE, cwd=HERE.parent) as discord,
    ):
        discord_port, control = ports_of(discord)
        port = _free_port()
        twistd = Path(sys.executable).with_name("twistd")
        env = {
            "DISCORD_TOKEN": "benchmark",
            "DISCORD_API_URL": f"http://127.0.0.1:{discord_port}/api/v10",
            "ESP_AUTH_TOKEN": TOKEN,
            "STORAGE_URL": "sqlite:voicestatus.db",
            "HOST": "127.0.0.1",
            "PORT": str(port),
        }
        log = Path(folder) / "log"
        with (
            log.open("w") as out,
            running(
                (twistd, "-n", "--pidfile=", "voicestatus"),
                SERVER_CORE,
                stdout=out,
                env=env,
                cwd=Path(folder),
            ),
        ):
            _wait_until_ready(port, log)
            yield port, control


def _wait_until_ready(port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        time.sleep(0.1)
        link = HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            link.request("GET", "/health")
            if link.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            link.close()
    raise BenchmarkError(f"the program is not ready:\n{log.read_text()}")


def _free_port() -> int:
    with create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
