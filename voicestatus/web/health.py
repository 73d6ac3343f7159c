"""Whether it lives, whether it serves, whether Discord is heard: three answers."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus

from twisted.web.resource import Resource
from twisted.web.server import Request

Answer = Mapping[str, object]


class JsonAnswer(Resource):
    """An object as compact JSON; 200 while its `ok` holds, else 503.

    Source: the original's health check looks for `"ok":true` without a space.
    """

    isLeaf = True

    def __init__(self, answer: Callable[[], Answer]) -> None:
        super().__init__()
        self._answer = answer

    def render_GET(self, request: Request) -> bytes:
        answer = self._answer()
        fine = answer["ok"] is True
        request.setResponseCode(
            HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE
        )
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"cache-control", b"no-store")
        return json.dumps(answer, separators=(",", ":")).encode()


class NotFound(Resource):
    """What the original answers on its health port for any other path."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        request.setResponseCode(HTTPStatus.NOT_FOUND)
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return b"not found"


class ExactTree(Resource):
    """Leaves at exact paths; anything else, deeper paths too, is `not found`."""

    def __init__(self, leaves: Mapping[bytes, Resource]) -> None:
        super().__init__()
        self._leaves = leaves

    def getChild(self, path: bytes, request: Request) -> Resource:
        if request.postpath:
            return NotFound()
        return self._leaves.get(path, NotFound())
