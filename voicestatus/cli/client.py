"""The admin API as a command sees it: one request at a time, one clear sentence."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import wraps
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from select import select
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec
from urllib.parse import quote, urlencode, urlsplit

import click

from voicestatus.cli.form import Form

DEFAULT_SERVER = "http://localhost:8080"
TIMEOUT_S = 40.0
"""A server lets a wrong token wait for its answer, up to half a minute."""
PAGE = 1000
JSON = "application/json"
GIVEN_BY = "--token, ADMIN_TOKEN or the file that ADMIN_TOKEN_FILE names"

WHAT_TO_DO: Mapping[str, str] = MappingProxyType(
    {
        "DEVICE_NOT_FOUND": "`voicestatus devices` lists all.",
        "NOT_ENROLLED": "It has shown the shared token alone: "
        "`voicestatus device NEW-ID add` makes a token for it.",
        "DEVICE_REVOKED": "`voicestatus device ID approve` takes it back.",
        "DEVICE_OFFLINE": "Try again when it is connected.",
        "COMMAND_NOT_SUPPORTED": "Its firmware knows `1` and `0` alone.",
        "RELEASE_NOT_FOUND": "`voicestatus releases` lists all.",
        "RELEASE_IN_USE": "`voicestatus rollout status` names it; `rollout abort` "
        "ends it.",
        "ROLLOUT_NOT_FOUND": "`voicestatus rollout status` lists all.",
        "TOO_MANY_UPLOADS": "Try again in a moment.",
    }
)
"""What helps against a refusal, by its code."""


class Unreachable(click.ClickException):
    """Nobody answers, or nobody can for now; later somebody may."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where the admin API is, and what opens it."""

    url: str
    token: str = field(repr=False)

    def get(self, path: str, **query: str) -> Any:
        return self._ask("GET", path + (f"?{urlencode(query)}" if query else ""))

    def post(self, path: str, body: object = None) -> Any:
        return self._ask("POST", path, body)

    def patch(self, path: str, body: object) -> Any:
        return self._ask("PATCH", path, body)

    def delete(self, path: str) -> None:
        self._ask("DELETE", path)

    def pages(self, path: str, key: str, **query: str) -> Iterator[Any]:
        """Yield the items of a list that comes in pages."""
        after: str | None = None
        while True:
            more = {} if after is None else {"after": after}
            page = self.get(path, limit=str(PAGE), **query, **more)
            yield from page[key]
            after = page["next"]
            if after is None:
                return

    def send_form(
        self, path: str, form: Form, sent: Callable[[int], object]
    ) -> tuple[Any, bool]:
        """Post a form; return the answer, and whether something new came of it.

        `sent` is told of each piece how many bytes it had. A server that refuses need
        not take all of it.
        """
        kind = {"Content-Type": form.content_type}
        status, answer = self._exchange("POST", path, kind, form, sent)
        return answer, status == HTTPStatus.CREATED

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request; return its answer, decoded; None: there is none."""
        if body is None:
            return self._exchange(method, path, {}, None)[1]
        content = json.dumps(body).encode()
        return self._exchange(method, path, {"Content-Type": JSON}, content)[1]

    def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | Form | None,
        sent: Callable[[int], object] = lambda _: None,
    ) -> tuple[int, Any]:
        """:raises ClickException: it was refused, or nobody answered: `Unreachable`."""
        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.netloc, timeout=TIMEOUT_S)
        all_headers = {"Authorization": f"Bearer {self.token}", **headers}
        content: bytes | Iterator[bytes] | None
        if isinstance(body, Form):
            all_headers["Content-Length"] = f"{body.size_bytes}"
            content = _until_answered(connection, body, sent)
        else:
            content = body
        try:
            target = f"{parts.path.rstrip('/')}/api/v1{path}"
            # Who refuses a form may hang up when he has said why.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, content, all_headers)
            answer = connection.getresponse()
            status, told = answer.status, _decoded(answer.read())
        except (OSError, HTTPException) as e:
            why = getattr(e, "strerror", None) or str(e) or type(e).__name__
            raise Unreachable(
                f"{self.url} does not answer: {why}. Is the server running, and is "
                "that its address? --server or VOICESTATUS_URL says another."
            ) from None
        finally:
            connection.close()
        if status // 100 != 2 or (told is None and status != HTTPStatus.NO_CONTENT):
            raise self._refused(status, told)
        return status, told

    def _refused(self, status: int, answer: object) -> click.ClickException:
        match answer:
            case {"error": {"code": "UNAUTHORIZED"}}:
                return click.ClickException(
                    f"{self.url} takes another admin token: {GIVEN_BY} must hold the "
                    "server's ADMIN_TOKEN."
                )
            case {"error": {"code": str(code), "message": str(message)}}:
                helps = WHAT_TO_DO.get(code)
                said = f"{message.removesuffix('.')}. {helps}" if helps else message
                # 503: it starts, or of several nodes one is about to take over.
                away = status == HTTPStatus.SERVICE_UNAVAILABLE
                return (Unreachable if away else click.ClickException)(said)
            case _ if status == 404:
                return click.ClickException(
                    f"the admin side of {self.url} is closed: set ADMIN_TOKEN in the "
                    "server's settings and start it again."
                )
            case _:
                return click.ClickException(
                    f"{self.url} answered {status}: is that the address of the server?"
                )


def path_of(device: str) -> str:
    """Return the path of a device."""
    return f"/devices/{quote(device, safe='')}"


def _until_answered(
    connection: HTTPConnection, pieces: Iterable[bytes], sent: Callable[[int], object]
) -> Iterator[bytes]:
    """Yield the pieces, as long as the server says nothing."""
    for piece in pieces:
        yield piece
        sent(len(piece))
        if isinstance(connection, HTTPSConnection):
            continue  # what can be read may be TLS's own
        if select([connection.sock], [], [], 0)[0]:
            return


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


# -- options that all clients of the API have ------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """How a command was called."""

    server: Server
    as_json: bool
    device: str = ""
    """Whom it is about; `devices` is about all."""

    @property
    def path(self) -> str:
        return path_of(self.device)


P = ParamSpec("P")


def server_options(command: Callable[P, None]) -> Callable[P, None]:
    """Add --server, --token and --json; see `call_of` for what they said.

    Where commands are nested, they may stand behind any of them.
    """
    options = (
        click.option(
            "--server",
            metavar="URL",
            expose_value=False,
            callback=_remember,
            help="Where the server is "
            f"[env: VOICESTATUS_URL; default: {DEFAULT_SERVER}].",
        ),
        click.option(
            "--token",
            expose_value=False,
            callback=_remember,
            help="Its ADMIN_TOKEN [env: ADMIN_TOKEN, ADMIN_TOKEN_FILE].",
        ),
        click.option(
            "--json",
            is_flag=True,
            expose_value=False,
            callback=_remember,
            help="Print what the server answers, as JSON.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def calls_server(command: Callable[Concatenate[Call, P], None]) -> Callable[P, None]:
    """Add those options to a command, and hand it its `Call`."""

    @click.pass_context
    @wraps(command)
    def run(context: click.Context, /, *args: P.args, **kwargs: P.kwargs) -> None:
        command(call_of(context), *args, **kwargs)

    return server_options(run)


def remember_device(context: click.Context, _: click.Parameter, value: str) -> str:
    """Keep whom the commands below are about."""
    context.ensure_object(dict)["device"] = value
    return value


def _remember(context: click.Context, option: click.Parameter, value: object) -> None:
    if value and option.name is not None:
        context.ensure_object(dict)[option.name] = value


def call_of(context: click.Context) -> Call:
    """Put together what options and environment say.

    :raises UsageError: there is no token, or the address is none.
    """
    given = context.ensure_object(dict)
    url = given.get("server") or os.environ.get("VOICESTATUS_URL") or DEFAULT_SERVER
    token = (given.get("token") or _token_of_environment()).strip()
    if not token:
        raise click.UsageError(f"There is no admin token: {GIVEN_BY} must hold it.")
    if not (token.isascii() and token.isprintable()):
        raise click.UsageError("The admin token has characters that none can have.")
    return Call(
        Server(_checked(url), token),
        as_json=given.get("json", False),
        device=given.get("device", ""),
    )


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        fine = False
    if not fine or "@" in parts.netloc:
        raise click.BadParameter(
            "must be http://HOST[:PORT] or https://HOST[:PORT]",
            param_hint="--server (or VOICESTATUS_URL)",
        )
    return url


def _token_of_environment() -> str:
    file = os.environ.get("ADMIN_TOKEN_FILE")
    if os.environ.get("ADMIN_TOKEN") or not file:
        return os.environ.get("ADMIN_TOKEN", "")
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise click.UsageError(
            f"The file that ADMIN_TOKEN_FILE names cannot be read: {file}"
        ) from None
