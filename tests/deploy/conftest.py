"""The server as it is deployed: processes of their own, and signs as they are."""

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from types import SimpleNamespace

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
BIN = Path(sys.executable).parent
GUILD = 1187000000000000001
TOKEN = "sesame"
HOST = "sign.example.com"
DEADLINE_S = 20.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def eventually(holds: Callable[[], object], what: Callable[[], str]) -> None:
    """Wait until something holds, or fail and tell what was there instead."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def without_settings() -> dict[str, str]:
    """The environment, without what a developer may have set for a server."""
    kept = {"PATH", "LANG", "LC_ALL"}
    return {name: value for name, value in os.environ.items() if name in kept}


running: list["Process"] = []


class Process:
    """A program that runs beside the test, and the file that it writes to."""

    def __init__(
        self, folder: Path, env: Mapping[str, str], *command: str | Path, **how: object
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.written = folder / "written"
        with self.written.open("ab") as output:
            self._popen = subprocess.Popen(  # type: ignore[call-overload]  # `how` is open
                command,
                cwd=folder,
                env=without_settings() | env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                **how,
            )
        running.append(self)

    def text(self) -> str:
        return self.written.read_text()

    def until(self, holds: Callable[[], object]) -> None:
        def still() -> object:
            assert self._popen.poll() is None, f"it ended:\n{self.text()}"
            return holds()

        eventually(still, self.text)

    def said(self, pattern: str) -> str:
        """Wait until it has written this; return its group."""
        self.until(lambda: re.search(pattern, self.text()))
        found = re.search(pattern, self.text())
        assert found is not None
        return found[1]

    def end(self) -> None:
        running.remove(self)
        with self._popen as popen:
            popen.terminate()
            try:
                popen.wait(DEADLINE_S)
            finally:
                popen.kill()


class Sign:
    """A flashed sign, byte for byte; it waits at most the deadline for anything.

    Source: WebSocketsClient.cpp 2.7.1.
    """

    def __init__(
        self,
        port: int,
        *,
        tls: bool = False,
        source: str = "127.0.0.1",
        token: str | None = TOKEN,
        pages_before: int = 0,
        **headers: str,
    ) -> None:
        self._data = b""
        self._socket: socket.socket = socket.create_connection(
            ("127.0.0.1", port), DEADLINE_S, (source, 0)
        )
        if tls:
            self._socket = trusting().wrap_socket(self._socket, server_hostname=HOST)
        for _ in range(pages_before):
            self._socket.sendall(
                f"GET /livez HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
            )
            self._until(b'{"ok":true}')
            self._data = b""
        more = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
        self._socket.sendall(
            (
                f"GET /ws HTTP/1.1\r\nHost: {HOST}\r\n{more}Connection: Upgrade\r\n"
                f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: arduino\r\n"
                f"Origin: file://\r\nUser-Agent: arduino-WebSocket-Client\r\n\r\n"
            ).encode()
        )
        self._until(b"\r\n\r\n")
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        assert status.split()[1] == "101", head
        self.headers = {
            name.lower(): text for name, text in (line.split(": ") for line in lines)
        }
        if token is not None:
            self.send(1, f"AUTH:{token}".encode())

    def send(self, opcode: int, body: bytes = b"") -> None:
        self._socket.sendall(
            bytes([0x80 | opcode, 0x80 | len(body), 0, 0, 0, 0]) + body
        )

    def frame(self) -> tuple[int, bytes]:
        """Wait for a frame, answering pings; return its opcode and body."""
        while True:
            while len(self._data) < 2 or len(self._data) < 2 + self._data[1]:
                self._more()
            end = 2 + self._data[1]
            opcode, body = self._data[0] & 15, self._data[2:end]
            self._data = self._data[end:]
            if opcode != 9:
                return opcode, body
            self.send(10, body)

    def texts(self, count: int) -> list[str]:
        found = [self.frame() for _ in range(count)]
        assert {opcode for opcode, _ in found} == {1}, found
        return [body.decode() for _, body in found]

    def end(self) -> None:
        self._socket.close()

    def _until(self, wanted: bytes) -> None:
        while wanted not in self._data:
            self._more()

    def _more(self) -> None:
        data = self._socket.recv(4096)
        assert data, f"the connection was closed after {self._data!r}"
        self._data += data


def trusting() -> ssl.SSLContext:
    """What a flashed ESP32 sign does. Source: firmware main.cpp:790, setInsecure()."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Discord:
    """A simulated Discord with one guild, in a process of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self.url = f"{self._base}/api/v10"
        self.process = Process(
            folder, {}, BIN / "voicestatus", "simulate-discord", "--people", "0",
            "--listen", f"tcp:{port}:interface=127.0.0.1", "--guild", str(GUILD),
        )  # fmt: skip
        self.process.until(lambda: listens(port))
        request = urllib.request.Request(
            f"{self.url}/guilds/{GUILD}/channels", headers={"Authorization": "Bot any"}
        )
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            self._room = next(c["id"] for c in json.load(answer) if c["type"] == 2)

    def light(self, on: bool) -> None:
        """Let the only person there is join or leave."""
        body = {
            "guild": str(GUILD),
            "user": "42",
            "channel": self._room if on else None,
        }
        request = urllib.request.Request(
            f"{self._base}/_control/voice", json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=DEADLINE_S):
            pass


class Server(Process):
    """The server, as systemd or a container starts it."""

    def __init__(
        self,
        folder: Path,
        discord: Discord,
        *listen: str,
        wrapper: tuple[str, ...] = (),
        **how: object,
    ) -> None:
        env = {
            "DISCORD_TOKEN": "bot-token",
            "ESP_AUTH_TOKEN": TOKEN,
            "DISCORD_API_URL": discord.url,
            "STORAGE_URL": f"sqlite:{folder}/voicestatus.db",
            "TRUSTED_PROXIES": "127.0.0.0/8",
            "LOG_LEVEL": "debug",
        }
        super().__init__(
            folder, env, *wrapper, BIN / "twistd", "-n", "--pidfile=", "voicestatus",
            "--listen", *listen, **how,
        )  # fmt: skip


def get(
    port: int, path: str, *, tls: bool = False, host: str = HOST, **headers: str
) -> HTTPResponse:
    """GET; the answer's body is read, its status and headers are there."""
    link = HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    if tls:
        link.connect()
        link.sock = trusting().wrap_socket(link.sock, server_hostname=HOST)
    link.request("GET", path, headers={"Host": host} | headers)
    answer = link.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]  # kept with the answer
    link.close()
    return answer


def ready(port: int) -> bool:
    with suppress(OSError):
        return get(port, "/health").status == 200
    return False


@pytest.fixture(scope="session")
def deployed(free_port: Callable[[], int]) -> SimpleNamespace:
    """What test modules of this folder share: they cannot import each other."""
    return SimpleNamespace(
        Server=Server, Sign=Sign, Process=Process, get=get, listens=listens,
        free_port=free_port, trusting=trusting, DEPLOY=DEPLOY, HOST=HOST,
        ACCEPT=ACCEPT, DEADLINE_S=DEADLINE_S, eventually=eventually,
        running=running,
    )  # fmt: skip


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    # Short: the path of a Unix socket has at most 107 bytes. World-readable: nginx
    # and HAProxy give up being root.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
        with ExitStack() as stack:
            for process in tuple(running):
                stack.callback(process.end)


@pytest.fixture(scope="session")
def discord(folder: Path, free_port: Callable[[], int]) -> Discord:
    return Discord(folder / "discord", free_port())


@pytest.fixture(scope="session")
def server_port(folder: Path, discord: Discord, free_port: Callable[[], int]) -> int:
    """Where the server listens, Discord ready and all proxies on loopback believed."""
    port = free_port()
    server = Server(folder / "server", discord, f"tcp:{port}:interface=127.0.0.1")
    server.until(lambda: ready(port))
    return port
