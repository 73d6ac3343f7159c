"""Serves the endpoints of all subjects: who may, what is read, how it is answered.

Klein routes. One router serves all subjects, so that an unknown path (404) and a wrong
method (405) are told apart in one place.
"""

from collections.abc import Coroutine, Mapping, Sequence
from inspect import iscoroutine
from typing import Any

import msgspec
from klein import Klein
from msgspec import Struct
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from voicestatus.core.errors import Refusal
from voicestatus.tasks import Tasks
from voicestatus.web.api.endpoint import Endpoint, endpoints_of
from voicestatus.web.api.errors import (
    OUR_FAULT,
    STATUS,
    Stopping,
    error_body,
    refusal_of,
)
from voicestatus.web.api.reading import read_body, read_query
from voicestatus.web.audit import Caller
from voicestatus.web.auth import ACTOR, Gate
from voicestatus.web.request_ids import RequestIds

JSON = b"application/json"


class NoQuery(Struct, forbid_unknown_fields=True):
    """What an endpoint reads that declares no query."""


class Api(Service):
    """The endpoints. What was begun to be written is written when the caller goes."""

    _log = Logger()

    def __init__(self, subjects: Sequence[object], gate: Gate, ids: RequestIds) -> None:
        self._gate, self._ids = gate, ids
        self._tasks = Tasks()
        self._router = Klein()
        self._router.url_map.merge_slashes = False  # it would redirect
        for subject in subjects:
            for endpoint in endpoints_of(subject):
                self._route(subject, endpoint)
        # Klein's types know handlers of coroutines alone.
        on_error: Any = self._refused
        self._router.handle_errors(Exception)(on_error)
        self.resource = _Door(self._router.resource(), self)

    def stopService(self) -> None:
        super().stopService()
        self._tasks.cancel()

    def begin(self, request: Request) -> None:
        """Set what every answer carries."""
        self._ids.name(request)
        request.setHeader(b"cache-control", b"no-store")

    def too_large(self, request: Request) -> tuple[Mapping[str, str], bytes]:
        """Refuse a body that the site does not take; see `QuietSite`."""
        request_id = self._ids.name(request)
        refusal = Refusal("PAYLOAD_TOO_LARGE", "No page takes a body of this size.")
        headers = {
            "Content-Type": JSON.decode(),
            "Cache-Control": "no-store",
            "X-Request-Id": request_id,
        }
        return headers, error_body(refusal, request_id)

    def refuse(self, request: Request, refusal: Refusal) -> bytes:
        """Set the head of a refusal; return its body."""
        request.setResponseCode(STATUS[refusal.code])
        if refusal.code == "UNAUTHORIZED":
            request.setHeader(b"www-authenticate", b"Bearer")
        if (retry_after_s := refusal.details.get("retryAfterS")) is not None:
            request.setHeader(b"retry-after", f"{retry_after_s}".encode())
        return _sized(request, error_body(refusal, self._ids.name(request)))

    def _route(self, subject: object, endpoint: Endpoint) -> None:
        def handle(request: Request, **path: str) -> Coroutine[Any, Any, bytes]:
            return self._answer(subject, endpoint, request, path)

        self._router.route(
            endpoint.path, methods=[endpoint.method], endpoint=endpoint.name
        )(handle)

    async def _answer(
        self,
        subject: object,
        endpoint: Endpoint,
        request: Request,
        path: dict[str, str],
    ) -> bytes:
        if not self.running:  # connections from before are still there
            raise Stopping
        address = self._gate.address_of(_peer(request), _headers(request))
        if not endpoint.is_open:
            await self._gate.admit(request.getHeader(b"authorization"), address)
        arguments: dict[str, object] = dict(path)
        _, _, query = request.uri.partition(b"?")
        asked = read_query(query, endpoint.query or NoQuery)
        if endpoint.query is not None:
            arguments["query"] = asked
        if endpoint.body is not None:
            arguments["body"] = read_body(_body(request), endpoint.body)
        if endpoint.wants_caller:
            arguments["caller"] = Caller(ACTOR, address, self._ids.name(request))
        answer = endpoint.handler(subject, **arguments)
        if iscoroutine(answer):
            answer = await self._to_the_end(endpoint, answer)
        request.setResponseCode(endpoint.status)
        if endpoint.answer is None:
            return b""
        return _sized(request, msgspec.json.encode(answer))

    def _to_the_end(
        self, endpoint: Endpoint, work: Coroutine[Any, Any, object]
    ) -> Deferred[object]:
        """Run what a caller that goes away must not cut in two."""
        told: Deferred[object] = Deferred()

        async def run() -> None:
            try:
                answer = await work
            except Exception as e:
                if told.called and refusal_of(e) is None:
                    raise  # nobody waits any more: it is logged
                told.errback(Failure())
            else:
                told.callback(answer)

        self._tasks.spawn(endpoint.name, run())
        return told

    def _refused(self, request: Request, failure: Failure) -> bytes:
        error = failure.value
        if isinstance(error, MethodNotAllowed):
            allow = ", ".join(sorted(error.valid_methods or ()))
            request.setHeader(b"allow", allow.encode("ascii"))
            refusal = Refusal("METHOD_NOT_ALLOWED", f"Here one may {allow}.")
        elif isinstance(error, HTTPException):
            refusal = Refusal("NOT_FOUND", "There is nothing at this path.")
        elif (told := refusal_of(error)) is not None:
            refusal = told
        else:
            self._log.failure(
                "request {request_id} failed",
                failure,
                request_id=self._ids.name(request),
            )
            refusal = OUR_FAULT
        return self.refuse(request, refusal)


class _Door(Resource):
    """Keeps from the router what it cannot take."""

    isLeaf = True

    def __init__(self, router: Any, api: Api) -> None:
        super().__init__()
        self._router, self._api = router, api

    def render(self, request: Request) -> bytes | int:
        self._api.begin(request)
        try:
            b"/".join(request.postpath or ()).decode()
            request.method.decode("ascii")
        except UnicodeDecodeError:
            nothing = Refusal("NOT_FOUND", "There is nothing at this path.")
            return self._api.refuse(request, nothing)
        # The host decides nothing here, and one that is no name makes Klein fail.
        request.setHost(b"localhost", 80)
        answer: int = self._router.render(request)
        return answer


def _sized(request: Request, body: bytes) -> bytes:
    request.setHeader(b"content-type", JSON)
    request.setHeader(b"content-length", b"%d" % len(body))
    return body


def _body(request: Request) -> bytes:
    kind, _, _ = (request.getHeader(b"content-type") or b"").partition(b";")
    if kind.strip().lower() != JSON:
        raise Refusal(
            "UNSUPPORTED_MEDIA_TYPE", "Send JSON, with Content-Type: application/json."
        )
    content = request.content
    return b"" if content is None else content.read()


def _peer(request: Request) -> str | None:
    return getattr(request.getClientAddress(), "host", None)


def _headers(request: Request) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): b",".join(values).decode("latin-1")
        for name, values in request.requestHeaders.getAllRawHeaders()
    }
