"""The command as its user types it: a process of its own, and all that it writes."""

import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TWISTD = Path(sys.executable).with_name("twistd")
SECRETS = {
    "DISCORD_TOKEN": "discord-secret-Aa1",
    "ESP_AUTH_TOKEN": "signs-secret-Bb2",
    "ADMIN_TOKEN": "admin-secret-Cc3",
    "METRICS_TOKEN": "metrics-secret-Dd4",
}
WRONG = {
    "GUILD_ID": "wrong-12x",
    "PORT": "wrong-70000",
    "ESP_WS_PORT": "wrong-x",
    "HOST": "wrong host",
    "HEALTH_PORT": "wrong-0",
    "WS_PATH": "wrong-path",
    "TRUSTED_PROXIES": "wrong-10.0.0.0/99",
    "STORAGE_URL": "wrong://root:hunter2@db",
    "COUNT_BOTS": "wrong-perhaps",
    "COUNT_AFK": "wrong-17",
    "UNKNOWN_POLICY": "wrong-guess",
    "UNKNOWN_AFTER": "wrong-soon",
    "DISCORD_API_URL": "wrong://example.org",
    "LOG_LEVEL": "wrong-loud",
    "LOG_FORMAT": "wrong-xml",
    "DISCORD_TOKEN": "wrong-bell\x07",
    "ESP_AUTH_TOKEN": "wrong-bell\x07",
    "ADMIN_TOKEN": "wrong-bell\x07",
    "METRICS_TOKEN": "wrong-bell\x07",
}


def command(*options: str) -> list[str]:
    return [str(TWISTD), "-n", "--pidfile=", "voicestatus", *options]


def ended(folder: Path, env: dict[str, str], *options: str) -> tuple[int, str]:
    result = subprocess.run(
        command(*options),
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return result.returncode, result.stdout


@contextmanager
def running(folder: Path, env: dict[str, str], *options: str) -> Iterator[Path]:
    """Start it; yield the file that it writes to; end it by SIGTERM."""
    written = folder / "written"
    with (
        written.open("wb") as output,
        subprocess.Popen(
            command(*options),
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            yield written
            server.terminate()
            server.wait(timeout=20)
        finally:
            server.kill()


def said(file: Path, pattern: str, within_s: float = 30) -> re.Match[str]:
    """Wait until it has written this."""
    deadline = time.monotonic() + within_s
    while (found := re.search(pattern, file.read_text())) is None:
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.05)
    return found


def get(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_stops_the_start_and_no_value_is_shown(
    tmp_path: Path, name: str
):
    status, output = ended(tmp_path, SECRETS | {name: WRONG[name]})
    assert status == 1
    assert output.startswith("voicestatus cannot start:\n")
    assert [line.split()[0] for line in output.splitlines()[1:]] == [name]
    for value in (*SECRETS.values(), WRONG[name], "hunter2"):
        assert value not in output


def test_all_wrong_settings_are_named_in_one_message(tmp_path: Path):
    status, output = ended(tmp_path, {n: v for n, v in WRONG.items() if n != "PORT"})
    assert status == 1
    named = {line.split()[0] for line in output.splitlines()[1:]}
    assert named == WRONG.keys() - {"PORT"}
    assert "wrong-" not in output


def test_a_missing_settings_file_is_named(tmp_path: Path):
    status, output = ended(tmp_path, SECRETS, "--env-file", "no/such/file")
    assert status == 1
    assert "no/such/file cannot be read: No such file or directory" in output


def test_a_port_that_is_taken_is_named_in_one_line(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        status, output = ended(tmp_path, SECRETS, "--listen", endpoint)
    assert status == 1
    assert f"cannot listen on {endpoint}: Address already in use" in output
    assert "Traceback" not in output


def test_a_start_in_the_background_that_fails_says_so_and_ends(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        result = subprocess.run(
            [str(TWISTD), "voicestatus", "--listen", endpoint],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", **SECRETS},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 1
    # twistd hands on a hundred characters of it; the log has the rest.
    assert f"cannot listen on {endpoint}: " in result.stdout
    assert not (tmp_path / "twistd.pid").exists()


@pytest.mark.parametrize("endpoint", ["carrier-pigeon:3", "ssl:0:privateKey=bad.pem"])
def test_an_endpoint_that_is_none_is_refused(tmp_path: Path, endpoint: str):
    (tmp_path / "bad.pem").write_text("no certificate")
    status, output = ended(tmp_path, SECRETS, "--listen", endpoint)
    assert status == 1
    assert f"cannot listen on {endpoint}: " in output
    assert "Traceback" not in output


def test_a_running_server_writes_no_secret_even_at_debug(tmp_path: Path):
    nowhere = {"DISCORD_API_URL": "http://127.0.0.1:9/api", "LOG_LEVEL": "debug"}
    listen = "tcp:0:interface=127.0.0.1"
    with running(tmp_path, SECRETS | nowhere, "--listen", listen) as written:
        port = said(written, r"Front starting on (\d+)")[1]
        base = f"http://127.0.0.1:{port}"
        secrets = "&".join(SECRETS.values())
        assert get(f"{base}/nothing?token={secrets}")[0] == 404
        assert get(f"{base}/ws?token={secrets}")[0] == 426
        assert get(f"{base}/metrics", Authorization="Bearer wrong")[0] == 401
        said(written, "out of reach")
        status, health = get(f"{base}/health")
        assert status == 503
        assert b"out of reach" in health
    text = written.read_text()
    for secret in SECRETS.values():
        assert secret not in text
        assert secret.encode() not in health
    assert "Traceback" not in text


@pytest.mark.parametrize("layout", ["text", "json"])
def test_the_demo_needs_nothing_and_a_sign_follows_it(tmp_path: Path, layout: str):
    listen = "tcp:0:interface=127.0.0.1"
    env = {"LOG_FORMAT": layout}
    with running(tmp_path, env, "--demo", "--listen", listen) as written:
        port = said(written, r"ws://localhost:(\d+)/ws")[1]
        token = said(written, r"token +(\S+)")[1]
        with socket.create_connection(("127.0.0.1", int(port)), timeout=60) as device:
            device.sendall(
                b"GET /ws HTTP/1.1\r\nHost: localhost:8080\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                b"Sec-WebSocket-Protocol: arduino\r\nOrigin: file://\r\n"
                b"User-Agent: arduino-WebSocket-Client\r\n\r\n"
            )
            heard = device.recv(4096)
            assert heard.startswith(b"HTTP/1.1 101 ")
            assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in heard
            text = f"AUTH:{token}".encode()
            device.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
            heard = b""
            while not (b"\x81\x011" in heard and b"\x81\x010" in heard):
                heard += device.recv(4096)
            assert heard.startswith(b"\x81\x02OK\x81\x01")
        assert get(f"http://localhost:{port}/health")[0] == 200
    text = written.read_text()
    assert "the light is on" in text
    assert "Traceback" not in text
    assert not list(tmp_path.glob("voicestatus.db*"))


def test_the_demo_shows_no_token_that_its_owner_has_chosen(tmp_path: Path):
    env = {"ESP_AUTH_TOKEN": SECRETS["ESP_AUTH_TOKEN"]}
    listen = "tcp:0:interface=127.0.0.1"
    with running(tmp_path, env, "--demo", "--listen", listen) as written:
        assert said(written, r"token +(\S+)")[1] == "$ESP_AUTH_TOKEN"
        said(written, "the light is")
    assert SECRETS["ESP_AUTH_TOKEN"] not in written.read_text()
