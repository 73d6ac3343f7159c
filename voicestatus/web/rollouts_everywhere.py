"""The rollouts, for the admin side of any node: one node conducts them, all ask it."""

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar, cast

from msgspec import Raw, Struct

from voicestatus.cluster.messages import Messages
from voicestatus.core.errors import Refusal
from voicestatus.ota.node_wire import decode, encode
from voicestatus.ota.rollout_views import News, RolloutView
from voicestatus.ota.rollouts import Rollouts
from voicestatus.ota.seat import nobody
from voicestatus.ota.several import Several
from voicestatus.web.rollout_desk import Request, Write, answer

ROLLOUTS: Final = "rollouts"
READ_WITHIN_S: Final = 3.0
WRITTEN_WITHIN_S: Final = 30.0
"""Thousands of devices are stored when a rollout begins."""

T = TypeVar("T", bound=Struct)


class Question(Struct, frozen=True):
    """What is asked of the rollouts."""

    request: Request


class Answer(Struct, frozen=True, omit_defaults=True):
    """What was asked for, or why it is refused."""

    body: Raw = Raw()
    code: str = ""
    message: str = ""
    details: dict[str, Any] = {}


class AnyRollouts(Protocol):
    """The rollouts, wherever they are conducted."""

    async def ask(self, request: Request, type_: type[T]) -> T:
        """Do what is asked; `type_` is what it is answered by.

        :raises Refusal: as the rollouts do.
        """
        ...

    def rollouts(self) -> list[RolloutView]:
        """Return those that are alive, and maybe more, as far as is known here."""
        ...

    def subscribe(self, tell: Callable[[News], object]) -> Callable[[], object]: ...


class RolloutsHere:
    """Those of the only node."""

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts
        self.rollouts, self.subscribe = rollouts.rollouts, rollouts.subscribe

    async def ask(
        self,
        request: Request,
        type_: type[T],  # noqa: ARG002 - it is known without
    ) -> T:
        return cast(T, await answer(self._rollouts, request))


class RolloutsEverywhere:
    """Those of one of several nodes."""

    def __init__(self, several: Several, messages: Messages) -> None:
        self._own, self._seat = several.rollouts, several.seat
        self.rollouts = several.mirror.rollouts
        self.subscribe = several.mirror.subscribe
        messages.serve(ROLLOUTS, self._serve)

    async def ask(self, request: Request, type_: type[T]) -> T:
        """:raises Refusal: also as `Seat.ask` does."""
        if self._seat.here:
            return cast(T, await self._answer(request))
        writes = isinstance(request, Write)
        limit_s = WRITTEN_WITHIN_S if writes else READ_WITHIN_S
        asked = ROLLOUTS, encode(Question(request)), limit_s
        told = decode(await self._seat.ask(*asked, writes=writes), Answer)
        if told.code:
            raise Refusal(told.code, told.message, **told.details)
        return decode(told.body, type_)

    async def _answer(self, request: Request) -> Struct:
        if not self._own.loaded:
            raise nobody()
        return await answer(self._own, request)

    async def _serve(self, body: bytes) -> bytes:
        try:
            told = await self._answer(decode(body, Question).request)
        except Refusal as e:
            return encode(Answer(code=e.code, message=e.message, details=e.details))
        return encode(Answer(Raw(encode(told))))
