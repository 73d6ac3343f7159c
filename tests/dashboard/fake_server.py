"""The page with an API of canned answers, to see it without a server and a Discord.

    python tests/dashboard/fake_server.py [port]

- `POST /_fake/answer {"path", "method"?, "status"?, "body"}`: what is answered then
- `POST /_fake/voice {VoiceStateEvent}` tells it to all streams
- `POST /_fake/reset` forgets what it was told
- `GET /_fake/log`: what was written to the API, and which streams are open:
  `{"writes": [{"method", "path", "body"}], "streams": [path]}`

Times in `fake_answers.json` are seconds from now: "-60 s". The page's files are read
anew at each visit.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet import endpoints, reactor
from twisted.internet.interfaces import IListeningPort
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from voicestatus.web import pages

ANSWERS = json.loads((Path(__file__).parent / "fake_answers.json").read_text())
Json = Any


def told_now(value: Json) -> Json:
    """Put times in place of "-60 s"."""
    match value:
        case dict():
            return {key: told_now(each) for key, each in value.items()}
        case list():
            return [told_now(each) for each in value]
        case str() if value.endswith(" s") and value[:-2].lstrip("-").isdigit():
            moment = datetime.now(UTC) + timedelta(seconds=int(value[:-2]))
            return moment.isoformat()
        case _:
            return value


class Fake(Resource):
    """All of it: the page, the API, and `/_fake`."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self._streams: list[Request] = []
        self._reset()

    def _reset(self) -> None:
        self._answers = {key: (200, body) for key, body in ANSWERS.items()}
        self._log: list[Json] = []

    def render(self, request: Request) -> bytes | int:
        path = request.path.decode()
        body = json.loads(request.content.read() or b"null")
        if path.startswith("/_fake/"):
            return json.dumps(self._control(path, body)).encode()
        if path.startswith(("/api/v1/", "/auth/")):
            return self._api(request, path.removeprefix("/api/v1"), body)
        return page(request)

    def _api(self, request: Request, path: str, sent: Json) -> bytes | int:
        method = request.method.decode()
        if method != "GET":
            self._log.append({"method": method, "path": path, "body": sent})
        key = f"{method} {path}"
        if path.endswith("/voice-stream") and key not in self._answers:
            return self._stream(request, path)
        status, body = self._answers.get(key, (204, None))
        if key not in self._answers and method == "GET":
            status, body = refusal(404, {"code": "NOT_FOUND", "message": key})
        elif key not in self._answers and method == "PATCH":
            status, body = 200, self._answers[f"GET {path}"][1] | sent
            self._answers[f"GET {path}"] = 200, body
        request.setResponseCode(status)
        if body is None:
            return b""
        request.setHeader("content-type", "application/json")
        return json.dumps(told_now(body)).encode()

    def _stream(self, request: Request, path: str) -> int:
        _, activity = self._answers["GET " + path.replace("voice-stream", "activity")]
        request.setHeader("content-type", "text/event-stream")
        known = {"state": "known", "voiceChannels": activity["voiceChannels"]}
        self._say(request, "event: snapshot\n", known)
        self._streams.append(request)
        request.notifyFinish().addBoth(lambda _: self._streams.remove(request))
        return NOT_DONE_YET

    def _say(self, request: Request, name: str, told: Json) -> None:
        request.write(f"{name}id: 1\ndata: {json.dumps(told)}\n\n".encode())

    def _control(self, path: str, told: Json) -> Json:
        if path == "/_fake/answer":
            status, body = told.get("status", 200), told["body"]
            answer = refusal(status, body) if status >= 400 else (status, body)
            self._answers[f"{told.get('method', 'GET')} {told['path']}"] = answer
        elif path == "/_fake/reset":
            self._reset()
        elif path == "/_fake/voice":
            for request in self._streams:
                self._say(request, "", told)
        streams = [request.path.decode() for request in self._streams]
        return {"writes": self._log, "streams": streams}


def refusal(status: int, error: Json) -> tuple[int, Json]:
    """Make an answer of a code and a message."""
    return status, {
        "error": {"message": "", "details": {}, "requestId": "fake"} | error
    }


def page(request: Request) -> bytes | int:
    """Serve the page's files as they are now."""
    path = request.path.decode()
    if path in pages.VIEWS:
        pages._kept.cache_clear()
    dashboard = pages.Dashboard(closed=False)
    leaf = dashboard.pages.get(path)
    if leaf is None:
        _, _, version, *rest = request.path.split(b"/", 3)
        request.postpath = rest
        leaf = dashboard.assets.getChild(version, request)
    return leaf.render(request)


def tell(opened: IListeningPort) -> None:
    """Say at which port it listens."""
    sys.stdout.write(f"{opened.getHost().port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 18450
    endpoint = endpoints.TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
    endpoint.listen(Site(Fake())).addCallback(tell)
    reactor.run()
