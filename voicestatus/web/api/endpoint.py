"""Declares endpoints: what a handler's signature says is what is read and answered."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from inspect import getdoc
from typing import Any, get_type_hints

from voicestatus.web.audit import Caller

Handler = Callable[..., Any]
"""A method of a subject: returns its answer, or a coroutine of it. Its parameters are

- one `str` for each `<name>` in the path,
- `query` and `body`, Structs that are read strictly,
- `caller`, who asks.
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method on one path, and all that is to be said of it."""

    method: str
    path: str
    status: HTTPStatus
    refuses: tuple[str, ...]
    """The codes that its handler refuses with."""
    is_open: bool
    """Whether it is answered without a token."""
    handler: Handler
    types: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        hints = get_type_hints(self.handler, include_extras=True)
        object.__setattr__(self, "types", hints)

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def query(self) -> Any:
        return self.types.get("query")

    @property
    def body(self) -> Any:
        return self.types.get("body")

    @property
    def answer(self) -> Any:
        """The type of the answer; None: there is no body."""
        answer = self.types["return"]
        return None if answer is type(None) else answer

    @property
    def wants_caller(self) -> bool:
        return self.types.get("caller") is Caller

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
    is_open: bool = False,
) -> Callable[[Handler], Endpoint]:
    """Make a method an endpoint; its path is Klein's: `/devices/<device>`."""

    def declare(handler: Handler) -> Endpoint:
        return Endpoint(method, path, status, refuses, is_open, handler)

    return declare


def endpoints_of(subject: object) -> list[Endpoint]:
    """Return a subject's endpoints in the order of their declaration."""
    declared = vars(type(subject)).values()
    return [value for value in declared if isinstance(value, Endpoint)]
