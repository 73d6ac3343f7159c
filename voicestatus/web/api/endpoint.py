"""Declares endpoints: what a handler's signature says is what is read and answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from inspect import getdoc
from types import MappingProxyType
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from voicestatus.web.audit import Caller
from voicestatus.web.auth.identity import Level, Scope
from voicestatus.web.auth.visit import Visit
from voicestatus.web.sse import Source

T = TypeVar("T")

Handler = Callable[..., Any]
"""A method of a subject: returns its answer, or a coroutine of it. Its parameters are

- one `str` for each `<name>` in the path,
- `query` and `body`, Structs that are read strictly,
- `form`, a `Form` whose parts are read while they come,
- `caller`, who asks,
- `visit`, what the request shows of them.
"""


@dataclass(frozen=True, slots=True)
class Again(Generic[T]):
    """An answer of 200: what was to be made was there already."""

    answer: T


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """An answer with headers of its own; a name may stand there several times."""

    answer: T
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer that goes on: an event stream.

    Its handler is asked again every minute; who is refused by then, or has a session
    no more, reads no longer. It needs a `caller`.
    """

    source: Source


@dataclass(frozen=True, slots=True)
class FormOf:
    """What a form has to hold, as a JSON schema, and how large it may be."""

    schema: dict[str, Any]
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method on one path, and all that is to be said of it."""

    method: str
    path: str
    status: HTTPStatus
    refuses: tuple[str, ...]
    """The codes that its handler refuses with."""
    level: Level
    """Who may use it."""
    scope: Scope | None
    """Which API tokens may; None: none of them."""
    form: FormOf | None
    """Of a path without parameters only."""
    media: str | None
    """The type of an answer that is no JSON: the handler returns a resource, which
    writes it in its own time."""
    events: Mapping[str, Any]
    """What a stream tells: by the name of an event the type of its data."""
    handler: Handler
    types: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        hints = get_type_hints(self.handler, include_extras=True)
        object.__setattr__(self, "types", hints)

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_open(self) -> bool:
        """Whether it is answered without a token."""
        return self.level is Level.ANYBODY

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def query(self) -> Any:
        return self.types.get("query")

    @property
    def body(self) -> Any:
        return self.types.get("body")

    @property
    def answer(self) -> Any:
        """The type of the answer as JSON; None: it is none."""
        if self.media is not None:
            return None
        returns = self.types["return"]
        if self.may_be_again:
            (returns,) = (t for t in get_args(returns) if get_origin(t) is not Again)
        if get_origin(returns) is Reply:
            (returns,) = get_args(returns)
        return None if returns is type(None) else returns

    @property
    def may_be_again(self) -> bool:
        """Whether it may answer `Again`."""
        return any(get_origin(t) is Again for t in get_args(self.types["return"]))

    @property
    def wants_caller(self) -> bool:
        return self.types.get("caller") is Caller

    @property
    def wants_visit(self) -> bool:
        return self.types.get("visit") is Visit

    @property
    def summary(self) -> str:
        return self._doc[0]

    @property
    def description(self) -> str:
        return self._doc[1]

    @property
    def _doc(self) -> tuple[str, str]:
        first, _, rest = (getdoc(self.handler) or "").partition("\n")
        return first.removesuffix("."), " ".join(rest.split())


def endpoint(
    method: str,
    path: str,
    status: HTTPStatus = HTTPStatus.OK,
    *,
    refuses: tuple[str, ...] = (),
    level: Level = Level.ADMIN,
    scope: Scope | None = None,
    form: FormOf | None = None,
    media: str | None = None,
    events: Mapping[str, Any] = MappingProxyType({}),
) -> Callable[[Handler], Endpoint]:
    """Make a method an endpoint; its path is Klein's: `/devices/<device>`.

    What is read is for every API token that may read.
    """
    good_for = Scope.READ if method == "GET" else scope

    def declare(handler: Handler) -> Endpoint:
        return Endpoint(
            *(method, path, status, refuses, level, good_for),
            *(form, media, events, handler),
        )

    return declare


def endpoints_of(subject: object) -> list[Endpoint]:
    """Return a subject's endpoints in the order of their declaration."""
    declared = vars(type(subject)).values()
    return [value for value in declared if isinstance(value, Endpoint)]
