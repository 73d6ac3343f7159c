"""The server starts with a store that does not work: presence needs none."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
WITHIN_S = 60.0

pytestmark = pytest.mark.slow


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            if holds():
                return
        except urllib.error.URLError:  # it does not listen yet
            pass
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Server:
    """A demo of its own process, whose store the test holds."""

    def __init__(self, folder: Path, url: str, port: int) -> None:
        self._log, self.port = folder / "log", port
        clean = {name: os.environ[name] for name in ("PATH", "HOME")}
        listen = ["--listen", f"tcp:{port}:interface=127.0.0.1"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [BIN / "twistd", "-n", "--pidfile=", "voicestatus", "--demo", *listen],
                cwd=folder,
                env=clean | {"STORAGE_URL": url, "LEASE_S": "2"},
                stdout=log,
                stderr=log,
            )

    def ask(self, path: str) -> tuple[int, str]:
        return ask(self.port, path)

    def is_ready(self) -> bool:
        return self.ask("/health")[0] == self.ask("/readyz")[0] == 200

    @property
    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture
def serve(tmp_path, free_port) -> Iterator[Callable[[str], Server]]:
    served: list[Server] = []

    def serve(url: str) -> Server:
        served.append(Server(tmp_path, url, free_port()))
        return served[-1]

    yield serve
    for server in served:
        server.process.terminate()
        server.process.wait(WITHIN_S)
        assert "Traceback" not in server.log


def test_a_server_whose_file_is_away_serves_says_so_and_is_ready_when_it_is_there(
    tmp_path, serve
):
    data = tmp_path / "data"
    server = serve(f"sqlite:{data}/voicestatus.db")
    until(lambda: server.ask("/health")[0] == 200)  # Discord is heard
    status, body = server.ask("/readyz")
    assert status == 503
    why = "the folder must exist"
    assert why in json.dumps(json.loads(body))
    data.mkdir()
    until(server.is_ready)
    assert why in server.log
    assert "storage works again" in server.log


def test_a_node_whose_redis_is_away_may_not_act_says_so_and_begins_when_it_is_there(
    serve, make_redis
):
    redis = make_redis("--requirepass", "Hunter2-Hunter2")
    server = serve(f"redis://:Hunter2-Hunter2@127.0.0.1:{redis.port}/0")
    why = "is out of reach"
    until(lambda: why in (json.loads(server.ask("/health")[1])["problem"] or ""))
    assert server.ask("/livez")[0] == 200
    status, body = server.ask("/readyz")
    assert (status, why in body) == (503, True)
    assert why in server.log
    redis.start()
    until(server.is_ready)
    assert "storage works again" in server.log
    assert "Hunter2" not in server.log + body
