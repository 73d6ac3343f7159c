"""An admin API of one's own, and the command let loose on it."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

from voicestatus.cli import main

TOKEN = "the-admin-token"


def device(id_: str, **how: Any) -> dict[str, Any]:
    """Make what `GET /devices/:id` answers."""
    return {
        "id": id_,
        "name": "",
        "tags": [],
        "rule": None,
        "enrolled": True,
        "approved": True,
        "revoked": False,
        "connected": False,
        "connectedSince": None,
        "protocol": 1,
        "chip": "",
        "board": "",
        "fw": "",
        "build": None,
        "caps": [],
        "boot": "",
        "path": "/ws",
        "address": None,
        "firstSeen": None,
        "lastSeen": None,
        "rssiDbm": None,
        "heapFreeB": None,
        "uptimeS": None,
        "reconnects": 0,
        "rttMs": None,
        "tokens": [],
    } | how


def release(id_: str, **how: Any) -> dict[str, Any]:
    """Make what `GET /firmware/releases/:id` answers."""
    return {
        "id": id_,
        "chip": "esp32",
        "board": "",
        "version": "1.4.0",
        "build": 14,
        "minBuild": 0,
        "floor": 0,
        "notAfter": None,
        "sizeBytes": 400_000,
        "sha256": "0f" * 32,
        "md5": "a0" * 16,
        "manifest": "",
        "channel": "stable",
        "legacy": False,
        "notes": "",
        "addedAt": "2026-11-21T11:00:00Z",
        "needed": False,
        "trusted": True,
    } | how


def rollout(id_: str, **how: Any) -> dict[str, Any]:
    """Make what `GET /firmware/rollouts/:id` answers."""
    return {
        "id": id_,
        "name": "",
        "releases": ["esp32-14-0f0f0f0f"],
        "status": "running",
        "why": "",
        "reason": "",
        "failures": [],
        "createdAt": "2026-11-21T11:00:00Z",
        "endedAt": None,
        "stage": 0,
        "soakUntil": None,
        "stages": [
            {"size": 1, "touched": 1, "confirmed": 0, "failed": 0},
            {"size": 12, "touched": 0, "confirmed": 0, "failed": 0},
        ],
        "counts": {"offered": 1, "pending": 11},
        "undoneBy": [],
        "plan": {},
        "failed": [],
        "failedBy": {},
        "skippedBy": {},
    } | how


class FakeApi:
    """What was asked of it, and what it answers: by method and path without query."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.answers: dict[tuple[str, str], list[tuple[int, Any]]] = {}
        self.url = ""

    def answer(self, method: str, path: str, status: int, body: Any) -> None:
        """Answer so; said more than once: in turn, the last one for ever."""
        self.answers.setdefault((method, path), []).append((status, body))

    def refuse(self, method: str, path: str, status: int, code: str, why: str) -> None:
        error = {"code": code, "message": why, "details": {}, "requestId": "r1"}
        self.answer(method, path, status, {"error": error})

    def take(self, method: str, path: str, token: str | None, body: Any) -> Any:
        self.asked.append((method, path, body))
        if token != f"Bearer {TOKEN}":
            error = {"code": "UNAUTHORIZED", "message": "The admin token is wanted."}
            return 401, {"error": error}
        answers = self.answers.get((method, path.partition("?")[0]))
        if not answers:
            return 404, {"error": {"code": "DEVICE_NOT_FOUND", "message": "No such."}}
        return answers.pop(0) if len(answers) > 1 else answers[0]


def handler_of(api: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body: Any = self.rfile.read(size) if size else None
            if self.headers.get("Content-Type") == "application/json":
                body = json.loads(body)
            token = self.headers.get("Authorization")
            status, answer = api.take(self.command, self.path, token, body)
            content = b"" if answer is None else answer
            if not isinstance(content, bytes):
                content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = handle_any  # noqa: N815 - http.server's names
        do_PATCH = do_DELETE = handle_any  # noqa: N815 - the same

        def log_message(self, *args: Any) -> None:
            """Keep the tests' output clean."""

    return Handler


class Cli:
    """Types a command."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api

    def __call__(self, *arguments: str, env: Any = None, input_: Any = None) -> Result:
        given = {"VOICESTATUS_URL": self.api.url, "ADMIN_TOKEN": TOKEN}
        result = CliRunner(env=given if env is None else env).invoke(
            main, arguments, input=input_
        )
        assert TOKEN not in result.output
        return result

    def done(self, *arguments: str, input_: Any = None) -> str:
        result = self(*arguments, input_=input_)
        assert result.exit_code == 0, result.output
        return result.stdout


@pytest.fixture
def api() -> Iterator[FakeApi]:
    api = FakeApi()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(api))
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield api
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cli(api: FakeApi) -> Cli:
    return Cli(api)


@pytest.fixture
def make_device() -> Any:
    return device


@pytest.fixture
def make_release() -> Any:
    return release


@pytest.fixture
def make_rollout() -> Any:
    return rollout


@pytest.fixture
def admin_token() -> str:
    return TOKEN
