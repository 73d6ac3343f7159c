"""The application that the bot belongs to: its id, and what Discord lets it read."""

from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime

from voicestatus.community.kept import Kept
from voicestatus.community.refusals import SAID_NO, said_no
from voicestatus.core.features import MESSAGE_CONTENT
from voicestatus.discord.rest.wire import Application

KEPT_S: Final = 300.0
FAILURE_KEPT_S: Final = 30.0


class Rest(Protocol):
    """What is asked of Discord; see `discord.rest.client`."""

    async def application(self) -> Application: ...


class OwnApplication:
    """Asks Discord now and then: its portal has switches that nobody tells us of."""

    def __init__(
        self, rest: Rest, clock: IReactorTime, client_id: int | None = None
    ) -> None:
        """Take the id, where the settings name it."""
        self._rest, self._client_id = rest, client_id
        self._reads_content: bool | None = None
        self._answers: Kept[None, Application | Exception] = Kept(
            self._ask, _keep_s, clock
        )

    async def id(self) -> int:
        """:raises Refusal: when neither the settings nor Discord tell it."""
        if self._client_id is not None:
            return self._client_id
        answer = await self._answers.get(None)
        if isinstance(answer, Exception):
            raise said_no(answer) from answer
        return answer.id

    async def reads_content(self) -> bool | None:
        """Whether messages of others have text; None: Discord has never told."""
        answer = await self._answers.get(None)
        if isinstance(answer, Application):
            self._reads_content = bool(answer.flags & MESSAGE_CONTENT.flags)
        return self._reads_content

    def close(self) -> None:
        """Give up what is being asked; call it from `stopService`."""
        self._answers.close()

    async def _ask(self, _: None) -> Application | Exception:
        try:
            return await self._rest.application()
        except SAID_NO as e:
            return e


def _keep_s(answer: Application | Exception) -> float:
    return KEPT_S if isinstance(answer, Application) else FAILURE_KEPT_S
