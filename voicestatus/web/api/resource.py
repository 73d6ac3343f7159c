"""Serves the endpoints of all subjects: who may, what is read, how it is answered.

Klein routes. One router serves all subjects, so that an unknown path (404) and a wrong
method (405) are told apart in one place.
"""

from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from inspect import iscoroutine
from typing import Any

import msgspec
from klein import Klein
from msgspec import Struct
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from voicestatus.core.errors import Refusal
from voicestatus.tasks import Tasks
from voicestatus.web.api.endpoint import (
    Again,
    Endpoint,
    Reply,
    Streamed,
    endpoints_of,
)
from voicestatus.web.api.errors import (
    OUR_FAULT,
    STATUS,
    Stopping,
    error_body,
    refusal_of,
    see_that,
)
from voicestatus.web.api.openapi import BASE
from voicestatus.web.api.reading import read_body, read_query
from voicestatus.web.api.streaming import Reading, StreamAnswer
from voicestatus.web.audit import Caller
from voicestatus.web.auth.gate import Gate
from voicestatus.web.auth.identity import NOBODY
from voicestatus.web.form import Form, boundary_of
from voicestatus.web.inflow import CallerGone, Inflow
from voicestatus.web.request_ids import RequestIds
from voicestatus.web.site import BoundedRequest, Receiver, headers_of, peer_of
from voicestatus.web.sse import EventStreams

JSON = b"application/json"


class NoQuery(Struct, forbid_unknown_fields=True):
    """What an endpoint reads that declares no query."""


class Api(Service):
    """The endpoints. What was begun to be written is written when the caller goes."""

    _log = Logger()

    def __init__(
        self,
        subjects: Sequence[object],
        gate: Gate,
        ids: RequestIds,
        streams: EventStreams | None = None,
    ) -> None:
        """Without `streams` no endpoint may answer with one."""
        self._gate, self._ids, self._streams = gate, ids, streams
        self._tasks = Tasks()
        self._receivers: dict[tuple[bytes, bytes], Receiver] = {}
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
        refusal = Refusal("PAYLOAD_TOO_LARGE", "No page takes a body of this size.")
        return self._refusal(request, refusal)

    def receiver_of(self, method: bytes, path: bytes) -> Receiver | None:
        """Tell who reads such a body while it comes; see `QuietSite`."""
        return self._receivers.get((method, path))

    def refuse(self, request: Request, refusal: Refusal) -> bytes:
        """Set the head of a refusal; return its body."""
        request.setResponseCode(STATUS[refusal.code])
        headers, body = self._refusal(request, refusal)
        for name, value in headers.items():
            request.setHeader(name, value)
        return _sized(request, body)

    def _refusal(
        self, request: Request, refusal: Refusal
    ) -> tuple[Mapping[str, str], bytes]:
        request_id = self._ids.name(request)
        headers = {
            "Content-Type": JSON.decode(),
            "Cache-Control": "no-store",
            "X-Request-Id": request_id,
        }
        if refusal.code == "UNAUTHORIZED":
            headers["WWW-Authenticate"] = "Bearer"
        if (retry_after_s := refusal.details.get("retryAfterS")) is not None:
            headers["Retry-After"] = f"{retry_after_s}"
        return headers, error_body(refusal, request_id)

    def _route(self, subject: object, endpoint: Endpoint) -> None:
        def handle(request: BoundedRequest, **path: str) -> Coroutine[Any, Any, Any]:
            return self._answer(subject, endpoint, request, path)

        self._router.route(
            endpoint.path, methods=[endpoint.method], endpoint=endpoint.name
        )(handle)
        if endpoint.form is not None:
            method, path = endpoint.method.encode(), f"{BASE}{endpoint.path}".encode()
            self._receivers[method, path] = partial(
                self._receive, subject, endpoint, endpoint.form.limit_bytes
            )

    async def _answer(
        self,
        subject: object,
        endpoint: Endpoint,
        request: BoundedRequest,
        path: dict[str, str],
    ) -> bytes | Resource:
        if endpoint.form is not None:
            answer = await self._received(request)
        else:
            answer = await self._asked(subject, endpoint, request, path)
        request.setResponseCode(endpoint.status)
        if endpoint.media is not None and isinstance(answer, Resource):
            request.setHeader(b"content-type", endpoint.media.encode())
            return answer
        if isinstance(answer, Again):
            request.setResponseCode(HTTPStatus.OK)
            answer = answer.answer
        if isinstance(answer, Reply):
            for name, value in answer.headers:
                request.responseHeaders.addRawHeader(name, value)
            answer = answer.answer
        if endpoint.answer is None:
            if endpoint.status is not HTTPStatus.NO_CONTENT:
                request.setHeader(b"content-length", b"0")
            return b""
        return _sized(request, msgspec.json.encode(answer))

    async def _asked(
        self,
        subject: object,
        endpoint: Endpoint,
        request: BoundedRequest,
        path: dict[str, str],
    ) -> object:
        """Return what its handler answers."""
        arguments = dict(path) | await self._admitted(endpoint, request)
        if endpoint.body is not None:
            arguments["body"] = read_body(_body(request), endpoint.body)
        answer = endpoint.handler(subject, **arguments)
        if iscoroutine(answer):
            answer = await self._to_the_end(endpoint, answer)
        if isinstance(answer, Streamed):
            reading = Reading(self._gate, endpoint, subject, arguments, answer.source)
            return StreamAnswer(self._streams, reading)
        return answer

    async def _admitted(
        self, endpoint: Endpoint, request: BoundedRequest
    ) -> dict[str, object]:
        """Return what a handler is given, but for its body; or raise a refusal."""
        if not self.running:  # connections from before are still there
            raise Stopping
        arguments: dict[str, object] = {}
        headers = headers_of(request) | {"host": request.asked_host}
        visit = self._gate.visit(peer_of(request), headers, tls=request.isSecure())
        who = NOBODY
        if not endpoint.is_open:
            who = await self._gate.admit(visit, writes=endpoint.writes)
            see_that(who, endpoint.level, endpoint.scope)
        _, _, query = request.uri.partition(b"?")
        asked = read_query(query, endpoint.query or NoQuery)
        if endpoint.query is not None:
            arguments["query"] = asked
        if endpoint.wants_caller:
            request_id = self._ids.name(request)
            arguments["caller"] = Caller(who, visit.address, request_id)
        if endpoint.wants_visit:
            arguments["visit"] = visit
        return arguments

    # ---- bodies that are read while they come --------------------------------------

    def _receive(
        self,
        subject: object,
        endpoint: Endpoint,
        limit_bytes: int,
        request: BoundedRequest,
    ) -> None:
        request.content = inflow = Inflow(request.transport, limit_bytes)
        work = self._read_form(subject, endpoint, request, inflow)
        self._tasks.spawn(endpoint.name, self._answer_early(request, inflow, work))

    async def _read_form(
        self,
        subject: object,
        endpoint: Endpoint,
        request: BoundedRequest,
        inflow: Inflow,
    ) -> object:
        arguments = await self._admitted(endpoint, request)
        boundary = boundary_of(headers_of(request).get("content-type", ""))
        if boundary is None:
            raise Refusal(
                "UNSUPPORTED_MEDIA_TYPE",
                "Send a form, with Content-Type: multipart/form-data; boundary=...",
            )
        inflow.expect(request.getHeader(b"content-length"))
        form = Form(inflow, boundary)
        request.go_on()
        return await endpoint.handler(subject, form=form, **arguments)

    async def _answer_early(
        self,
        request: BoundedRequest,
        inflow: Inflow,
        work: Coroutine[Any, Any, object],
    ) -> None:
        """Let the outcome wait for the body's end, or refuse without waiting for it."""
        try:
            answer = await work
        except CallerGone:
            return
        except Exception as e:
            if inflow.ended:
                inflow.outcome.errback(Failure())
            elif not inflow.closed:
                refusal = self._told(request, Failure(e))
                inflow.let_pass()
                request.cut_short(
                    STATUS[refusal.code], *self._refusal(request, refusal)
                )
            if isinstance(e, CancelledError):
                raise
        else:
            inflow.outcome.callback(answer)

    async def _received(self, request: Request) -> object:
        inflow: Any = request.content
        if not isinstance(inflow, Inflow):  # the path was written in another way
            raise Refusal("NOT_FOUND", "There is nothing at this path.")
        return await inflow.outcome

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
        else:
            refusal = self._told(request, failure)
        return self.refuse(request, refusal)

    def _told(self, request: Request, failure: Failure) -> Refusal:
        """Return what is answered to a failure; a defect of ours is logged."""
        if (told := refusal_of(failure.value)) is not None:
            return told
        self._log.failure(
            "request {request_id} failed", failure, request_id=self._ids.name(request)
        )
        return OUR_FAULT


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
