"""Whether it lives, whether it serves, whether Discord is heard: three answers."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from twisted.web.resource import Resource
from twisted.web.server import Request

from voicestatus.web.site import Page

Answer = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Vitals:
    """How the whole program is, at one moment."""

    discord_ready: bool
    discord_heard: bool
    gateway: str
    problem: str | None
    store_problem: str | None
    in_step: bool
    """Whether this node follows the others, as far as there are any."""
    guild: int | None
    voice_users: int
    signs: int
    uptime_s: float
    version: str


def health(vitals: Vitals) -> Answer:
    """Tell whether Discord is heard now.

    The first six keys, their order and that `ok` is readiness are the original's.
    """
    return {
        "ok": vitals.discord_ready,
        "discordReady": vitals.discord_ready,
        "guildId": None if vitals.guild is None else str(vitals.guild),
        "voiceUsers": vitals.voice_users,
        "espClients": vitals.signs,
        "uptimeSec": int(vitals.uptime_s),
        "gateway": vitals.gateway,
        "problem": vitals.problem,
        "version": vitals.version,
    }


def readiness(vitals: Vitals) -> Answer:
    """Tell whether signs can be served: from memory, even while Discord is away."""
    problems = [vitals.store_problem]
    if vitals.gateway == "stopped" or not vitals.discord_heard:
        problems.append(vitals.problem or "Discord has not spoken yet")
    if not vitals.in_step:
        problems.append("this node does not hear from the others")
    told = [problem for problem in problems if problem is not None]
    return {"ok": not told, "problems": told}


def liveness(_: Vitals) -> Answer:
    """Tell that the process turns."""
    return {"ok": True}


class JsonAnswer(Page):
    """An object as compact JSON; 200 while its `ok` holds, else 503.

    Source: the original's health check looks for `"ok":true` without a space.
    """

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


class NotFound(Page):
    """What the original answers on its health port for any other path and method."""

    def render(self, request: Request) -> bytes:
        answer = self.render_HEAD if request.method == b"HEAD" else self.render_GET
        return answer(request)

    def render_GET(self, request: Request) -> bytes:
        request.setResponseCode(HTTPStatus.NOT_FOUND)
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return b"not found"


class ExactTree(Resource):
    """Leaves at exact paths; anything else, deeper paths too, is `not found`."""

    def __init__(self, leaves: Mapping[str, Resource]) -> None:
        """Take paths such as `/health`."""
        super().__init__()
        self._leaves = {path.encode(): leaf for path, leaf in leaves.items()}

    def getChild(self, path: bytes, request: Request) -> Resource:
        whole = b"/" + b"/".join([path, *(request.postpath or ())])
        return self._leaves.get(whole, NotFound())
