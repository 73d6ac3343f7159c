"""Answers that go on, and whether who reads one may read on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from voicestatus.web.api.endpoint import Endpoint
from voicestatus.web.api.errors import STATUS, Stopping, refusal_of, see_that
from voicestatus.web.audit import Caller
from voicestatus.web.auth.gate import Gate
from voicestatus.web.auth.identity import NOBODY
from voicestatus.web.sse import HEAD, EventStreams, Source


@dataclass(slots=True)
class Reading:
    """Somebody's right to read what they were given."""

    gate: Gate
    endpoint: Endpoint
    subject: object
    arguments: Mapping[str, Any]
    source: Source

    @property
    def caller(self) -> Caller:
        caller: Caller = self.arguments["caller"]
        return caller

    async def again(self) -> Source | None:
        """Ask what was asked at first; None: by now they are refused.

        What cannot be known at present stays as it is.
        """
        try:
            who = await self.gate.again(self.caller.who) or NOBODY
            see_that(who, self.endpoint.level, self.endpoint.scope)
            arguments = {**self.arguments, "caller": replace(self.caller, who=who)}
            answer = await self.endpoint.handler(self.subject, **arguments)
        except Exception as e:
            if (refusal := refusal_of(e)) is None:
                raise
            return None if _is_final(STATUS[refusal.code]) else self.source
        source: Source = answer.source
        self.source = source
        return source


class StreamAnswer(Resource):
    """What a request is answered with: its connection becomes a reader."""

    isLeaf = True

    def __init__(self, streams: EventStreams | None, reading: Reading) -> None:
        """:raises Stopping: when no stream can begin any more."""
        super().__init__()
        if streams is None or not streams.running:
            raise Stopping
        self._streams, self._reading = streams, reading

    def render(self, request: Request) -> bytes | int:
        if request.method == b"HEAD":
            for name, value in HEAD:
                request.setHeader(name, value)
            return b""
        reading = self._reading
        owner = reading.caller.who.user
        self._streams.join(request, reading.source, reading.again, owner)
        return NOT_DONE_YET


def _is_final(status: HTTPStatus) -> bool:
    return status < 500 and status is not HTTPStatus.TOO_MANY_REQUESTS
