"""The server: voicestatus itself, at a simulated Discord, in a process of its own."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_server
from tempfile import TemporaryDirectory

LEAVES_WITHIN_S = 10


@dataclass(frozen=True, slots=True)
class Server:
    """Where it is, and what opens it."""

    port: int
    sign_token: str
    admin_token: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def dead(self) -> bool:
        return self.process.poll() is not None


@contextmanager
def serving(public_key: str, connections: int) -> Iterator[Server]:
    """Start a server; it ends with the block."""
    with TemporaryDirectory(prefix="voicestatus-demo-") as folder:
        log = Path(folder, "log")
        port, sign_token, admin_token = (
            _free_port(),
            secrets.token_hex(12),
            secrets.token_hex(12),
        )
        settings = {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "ESP_AUTH_TOKEN": sign_token,
            "ADMIN_TOKEN": admin_token,
            "OTA_PUBLIC_KEYS": public_key,
            "MAX_CONNECTIONS": str(connections),
            "STORAGE_URL": "sqlite:voicestatus.db",
            "LOG_LEVEL": "warn",
        }
        twistd = Path(sys.executable).with_name("twistd")
        with log.open("wb") as out:
            process = subprocess.Popen(
                [twistd, "--nodaemon", "--pidfile=", "voicestatus", "--demo"],
                stdout=out,
                stderr=out,
                cwd=folder,
                env=os.environ | settings,
            )
        try:
            yield Server(port, sign_token, admin_token, log, process)
        finally:
            process.terminate()
            try:
                process.wait(LEAVES_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
