"""Discord's HTTP API: bodies to values. Pure."""

from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from voicestatus.core.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class Route:
    """One address of the API; its template is also the key of its limits."""

    method: str
    path: str


GATEWAY_BOT: Final = Route("GET", "/gateway/bot")


@dataclass(frozen=True, slots=True)
class GatewayBot:
    """Where the Gateway is and how many Identifies Discord still allows."""

    url: str
    shards: int
    remaining: int
    reset_after_s: float
    max_concurrency: int


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error's JSON body says; `retry_after_s` in a 429 alone."""

    code: int = 0
    message: str = ""
    retry_after_s: float | None = None
    everywhere: bool = False


_Count = Annotated[int, msgspec.Meta(ge=0)]
_Wait = Annotated[float, msgspec.Meta(ge=0)]


class _SessionStartLimit(msgspec.Struct):
    remaining: _Count
    reset_after: _Wait
    max_concurrency: Annotated[int, msgspec.Meta(ge=1)] = 1


class _GatewayBot(msgspec.Struct):
    url: str
    session_start_limit: _SessionStartLimit
    shards: _Count = 1


class _Problem(msgspec.Struct):
    code: int = 0
    message: str = ""
    retry_after: _Wait | None = None
    global_: bool = msgspec.field(default=False, name="global")


def gateway_bot(body: bytes) -> GatewayBot:
    """Read the answer of `GATEWAY_BOT`.

    :raises ProtocolError: when it is something else.
    """
    try:
        answer = msgspec.json.decode(body, type=_GatewayBot)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ProtocolError("GET /gateway/bot answered something else") from None
    limit = answer.session_start_limit
    return GatewayBot(
        answer.url,
        answer.shards,
        limit.remaining,
        limit.reset_after / 1000,
        limit.max_concurrency,
    )


def problem(content_type: str, body: bytes) -> Problem | None:
    """Read an error's body; None when it is not Discord's JSON.

    Cloudflare and proxies answer in HTML, whatever the status.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        return None
    try:
        said = msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return Problem(said.code, said.message, said.retry_after, said.global_)
