"""`voicestatus simulate-discord` and `simulate-signs` as one types them."""

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from voicestatus.cli.simulate_discord import simulate_discord
from voicestatus.cli.simulate_signs import simulate_signs

COMMAND = (sys.executable, "-c", "from voicestatus.cli import main; main()")
SIGNS = ("--url", "ws://h", "--token", "t")
DEADLINE_S = 20.0


def command(name: str, *arguments: str) -> list[str]:
    return [*COMMAND, name, *arguments]


class Server:
    """`simulate-discord` in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        listen = ("--listen", "tcp:0:interface=127.0.0.1")
        self.process = subprocess.Popen(
            command("simulate-discord", *listen, *arguments), stdout=subprocess.PIPE
        )
        self.lines: dict[str, str] = {}
        assert self.process.stdout is not None
        deadline, text = time.monotonic() + DEADLINE_S, b""
        while text.count(b"\n") < 4:
            left = deadline - time.monotonic()
            assert select.select([self.process.stdout], [], [], left)[0], "no answer"
            text += os.read(self.process.stdout.fileno(), 4096)
        self.lines = dict(line.split(None, 1) for line in text.decode().splitlines())

    def get(self, base: str, path: str) -> object:
        with urllib.request.urlopen(self.lines[base] + path, timeout=5) as answer:
            return json.load(answer)

    def stop(self) -> int:
        # Not SIGINT: who was started in the background ignores it.
        self.process.send_signal(signal.SIGTERM)
        with self.process:
            try:
                return self.process.wait(DEADLINE_S)
            finally:
                self.process.kill()


@pytest.fixture
def server() -> Iterator[Server]:
    cast = ("--people", "2", "--rate", "50", "--shards", "2", "--max-concurrency", "2")
    server = Server("--guild", "77", "--token", "t", *cast)
    yield server
    server.stop()


@pytest.mark.slow
def test_it_says_where_it_listens_serves_and_ends_well(server: Server) -> None:
    assert server.lines["Guild"].split()[0] == "77"
    gateway = server.get("REST", "/gateway")
    assert gateway == {"url": server.lines["Gateway"]}
    assert "77" in server.get("Controls", "/state")["guilds"]  # type: ignore[index]  # JSON
    assert server.stop() == 0


@pytest.mark.slow
def test_with_tls_all_addresses_are_secure(tmp_path: Path) -> None:
    server = Server("--tls", str(tmp_path))
    assert server.stop() == 0
    assert server.lines["REST"].startswith("https://")
    assert server.lines["Gateway"].startswith("wss://")
    assert (tmp_path / "ca.pem").exists()
    assert (tmp_path / "server.pem").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_a_port_that_is_taken_is_said_and_is_a_failure(server: Server) -> None:
    port = server.lines["REST"].split(":")[2].split("/")[0]
    second = subprocess.run(
        command("simulate-discord", "--listen", f"tcp:{port}:interface=127.0.0.1"),
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert second.returncode == 1
    assert b"in use" in second.stderr
    assert b"Traceback" not in second.stderr


@pytest.mark.slow
def test_signs_that_are_never_let_in_are_a_failure(server: Server) -> None:
    address = server.lines["Gateway"]  # it speaks WebSocket, but not to signs
    fleet = subprocess.run(
        command(
            "simulate-signs",
            *("--url", address, "--token", "x", "--count", "2"),
            *("--duration", "0.3", "--json"),
        ),
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert fleet.returncode == 1
    summary = json.loads(fleet.stdout)
    assert (summary["count"], summary["connected"]) == (2, 0)
    assert b"never let in" in fleet.stderr


def test_a_folder_that_cannot_be_written_is_said() -> None:
    arguments = ["--listen", "tcp:0", "--tls", "/proc/nowhere"]
    result = CliRunner().invoke(simulate_discord, arguments)
    assert result.exit_code == 1
    assert "cannot write" in result.output


@pytest.mark.parametrize(
    ("tool", "arguments", "names"),
    [
        (simulate_discord, [], "--listen"),
        (simulate_discord, ["--listen", "nonsense"], "--listen"),
        (simulate_discord, ["--listen", "tcp:0", "--guild", "x"], "--guild"),
        (simulate_discord, ["--listen", "tcp:0", "--rate", "-1"], "--rate"),
        (simulate_signs, ["--token", "t", "--count", "1"], "--url"),
        (
            simulate_signs,
            ["--url", "http://h", "--token", "t", "--count", "1"],
            "--url",
        ),
        (simulate_signs, ["--url", "ws://h:x/", "--token", "t", "--count", "1"], "url"),
        (simulate_signs, ["--url", "ws://h", "--token", "t", "--count", "0"], "count"),
        (simulate_signs, [*SIGNS, "--lossy", "101"], "--lossy"),
        (simulate_signs, [*SIGNS, "--churn", "-1"], "--churn"),
        (simulate_signs, [*SIGNS, "--tokens", __file__], "--tokens"),
        (simulate_signs, [*SIGNS, "--legacy", "101"], "--legacy"),
        (simulate_signs, [*SIGNS, "--power-loss", "-1"], "--power-loss"),
        (simulate_signs, [*SIGNS, "--updates", "--update-key", "x"], "--update-key"),
    ],
)
def test_wrong_use_names_the_option_and_is_status_2(
    tool: object, arguments: list[str], names: str
) -> None:
    result = CliRunner().invoke(tool, arguments)  # type: ignore[arg-type]  # a Command
    assert result.exit_code == 2
    assert names in result.output
