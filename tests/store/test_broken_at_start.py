"""The server starts with a store that does not work: presence needs none."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
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


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_server_whose_store_is_away_serves_says_so_and_is_ready_when_it_is_there(
    kind, tmp_path, make_redis, free_port
):
    server = make_redis("--requirepass", "Hunter2-Hunter2")
    data = tmp_path / "data"
    url = {
        "sqlite": f"sqlite:{data}/voicestatus.db",
        "redis": f"redis://:Hunter2-Hunter2@127.0.0.1:{server.port}/0",
    }[kind]
    port = free_port()
    clean = {name: os.environ[name] for name in ("PATH", "HOME")}
    command = [BIN / "twistd", "-n", "--pidfile=", "voicestatus", "--demo"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--listen", f"tcp:{port}:interface=127.0.0.1"],
            cwd=tmp_path,
            env=clean | {"STORAGE_URL": url},
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: ask(port, "/health")[0] == 200)  # Discord is heard
        status, body = ask(port, "/readyz")
        assert status == 503
        why = {"sqlite": "the folder must exist", "redis": "is out of reach"}[kind]
        assert why in json.dumps(json.loads(body))
        data.mkdir()
        server.start()
        until(lambda: ask(port, "/readyz")[0] == 200)
    finally:
        process.terminate()
        process.wait(WITHIN_S)
    lines = (tmp_path / "log").read_text()
    assert why in lines
    assert "storage works again" in lines
    assert "Hunter2" not in lines + body
    assert "Traceback" not in lines
