"""The units: how little the service may do, and a port that outlives it."""

import re
import shlex
import shutil
import socket
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

MAX_EXPOSURE = 20
"""In tenths, as systemd-analyze takes it."""
INSTALL = "apt-get install -y --no-install-recommends systemd"

# The process keeps its id through exec. Source: sd_listen_fds(3).
HANDING_OVER = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="signs")
os.execv(sys.argv[2], sys.argv[2:])
"""


def unit(deployed: Any, name: str) -> ConfigParser:
    parsed = ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]  # as the docs say
    parsed.read(deployed.DEPLOY / name)
    return parsed


def test_little_is_left_that_the_service_may_do(deployed: Any):
    analyze = shutil.which("systemd-analyze")
    assert analyze, INSTALL
    result = subprocess.run(
        [
            analyze, "security", "--offline=true", f"--threshold={MAX_EXPOSURE}",
            "--no-pager", deployed.DEPLOY / "voicestatus.service",
        ],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_service_may_do_what_tls_needs(deployed: Any):
    """pyOpenSSL asks cffi for callbacks, and they live in such memory."""
    text = (deployed.DEPLOY / "voicestatus.service").read_text()
    assert not re.search("^MemoryDenyWriteExecute=(yes|true|1|on)", text, re.MULTILINE)


def test_systemd_understands_both_units(deployed: Any, tmp_path: Path):
    analyze = shutil.which("systemd-analyze")
    assert analyze, INSTALL
    for name in ("voicestatus.service", "voicestatus.socket"):
        # It insists that the program is there.
        text = (deployed.DEPLOY / name).read_text()
        there = text.replace("/opt/voicestatus/bin/twistd", "/bin/true")
        (tmp_path / name).write_text(there)
    result = subprocess.run(
        [analyze, "verify", "--man=no", *tmp_path.iterdir()],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_secrets_come_from_files_that_systemd_hands_over(deployed: Any):
    text = (deployed.DEPLOY / "voicestatus.service").read_text()
    handed = dict(re.findall(r"^LoadCredential=([\w-]+):(\S+)$", text, re.MULTILINE))
    read = dict(re.findall(r"^Environment=(\w+)_FILE=%d/(\S+)$", text, re.MULTILINE))
    assert set(read) == {"DISCORD_TOKEN", "ESP_AUTH_TOKEN"}
    assert set(read.values()) == set(handed)


def test_the_port_is_not_closed_while_the_server_restarts(
    deployed: Any, discord: Any, folder: Path
):
    """Play systemd: hold the socket, start the unit's own command with it."""
    socket_unit = unit(deployed, "voicestatus.socket")["Socket"]
    assert socket_unit["BindIPv6Only"] == "both"
    command = shlex.split(unit(deployed, "voicestatus.service")["Service"]["ExecStart"])
    listen = command[command.index("--listen") + 1]
    assert listen.endswith(f":name={socket_unit['FileDescriptorName']}")

    with socket.create_server(
        ("::", 0),
        family=socket.AF_INET6,
        dualstack_ipv6=True,
        backlog=int(socket_unit["Backlog"]),
    ) as held:
        port = held.getsockname()[1]

        def start() -> Any:
            number = held.fileno()
            return deployed.Server(
                folder / "systemd",
                discord,
                listen,
                wrapper=(sys.executable, "-c", HANDING_OVER, str(number)),
                pass_fds=(number,),
            )

        server = start()
        health = deployed.get(port, "/health")
        assert health.body.startswith(b'{"ok":')
        before = deployed.Sign(port)
        assert before.texts(1) == ["OK"]
        server.end()
        # Source: docs/wire-device.md, "Ending".
        assert before.frame() == (8, b"\x03\xe9")
        before.end()

        with socket.create_connection(("127.0.0.1", port), timeout=1) as waiting:
            waiting.settimeout(deployed.DEADLINE_S)
            waiting.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            server = start()
            assert waiting.recv(4096).startswith(b"HTTP/1.1 200 ")
        after = deployed.Sign(port)
        assert after.texts(1) == ["OK"]
        after.end()
        # A proxy on this machine comes by IPv4 to a socket for both.
        claim = {"X-Forwarded-For": "203.0.113.7"}
        wrong = deployed.Sign(port, token="wrong", **claim)
        assert wrong.texts(1) == ["NOAUTH"]
        wrong.end()
        server.said(r"the last from (203\.0\.113\.7): token")
        server.end()
        assert "Traceback" not in server.text()
