"""Which node conducts the rollouts: that one calls out every second."""

from collections.abc import Callable
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from voicestatus.cluster.messages import ANSWER_WITHIN_S, Messages, NodeGone
from voicestatus.core.errors import Refusal
from voicestatus.ota.node_wire import CALL, Call, encode, hearing
from voicestatus.store.documents import FateUnknown, Fence

CALL_EVERY_S: Final = 1.0
LOST_AFTER_S: Final = 3.0
"""So long without a call, and nobody is taken to conduct them."""


class Rollouts(Protocol):
    """See `ota.rollouts.Rollouts`."""

    @property
    def ready(self) -> bool: ...

    @property
    def busy(self) -> bool: ...

    def begin(self, fence: Fence | None) -> None: ...

    def end(self) -> Deferred[None]: ...


class Seat:
    """Knows who conducts the rollouts, and lets it be this node between two calls."""

    def __init__(
        self, messages: Messages, clock: IReactorTime, rollouts: Callable[[], Rollouts]
    ) -> None:
        """`rollouts` returns those of this node; not asked before it begins."""
        self.node = messages.node
        self._messages, self._clock, self._rollouts = messages, clock, rollouts
        self.news = 0
        """How often this node has told news of rollouts in its term."""
        self.term = 0
        """Its own, the last one."""
        self.last: Call | None = None
        self._heard_at = 0.0
        self._told: list[Callable[[Call], object]] = []
        self._calls = LoopingCall(self.call)
        self._calls.clock = clock
        messages.hear(CALL, hearing(Call, self._hear), lambda: None)

    def subscribe(self, tell: Callable[[Call], object]) -> None:
        """Pass on each call, this node's own too; for ever."""
        self._told.append(tell)

    @property
    def here(self) -> bool:
        """Whether this node conducts them."""
        return bool(self._calls.running) and self.term >= self.highest

    @property
    def owner(self) -> str | None:
        """The node that conducts them; None: that is not known, or nobody does."""
        if self.here:
            return self.node
        last = self.last
        if last is None or last.over:
            return None
        lost = self._clock.seconds() >= self._heard_at + LOST_AFTER_S
        return None if lost else last.node

    @property
    def highest(self) -> int:
        """The highest term that is known."""
        return 0 if self.last is None else self.last.term

    async def ask(
        self,
        topic: str,
        body: bytes,
        limit_s: float = ANSWER_WITHIN_S,
        *,
        writes: bool = False,
    ) -> bytes:
        """Ask the node that conducts them; `writes`: it is to do something.

        :raises Refusal: as that one's own; `NODE_UNREACHABLE`: nothing was done;
            `FATE_UNKNOWN`, of what writes: it may have been.
        :raises StoreError: when Redis is away.
        """
        if (owner := self.owner) is None:
            raise nobody()
        try:
            return await self._messages.ask(owner, topic, body, limit_s)
        except NodeGone:
            raise nobody() from None
        except FateUnknown:
            if not writes:
                raise nobody() from None
            why = "The node that conducts the rollouts did not answer in time."
            raise Refusal("FATE_UNKNOWN", why, node=owner) from None
        except Refusal as e:
            if e.code == "NOT_SERVED":
                why = "The node that conducts the rollouts is of another version."
                raise Refusal("NODE_UNREACHABLE", why, node=owner) from None
            raise

    # ---- as `cluster.leases.Acts` --------------------------------------------------

    @property
    def ready(self) -> bool:
        return self._rollouts().ready

    def begin(self, fence: Fence | None) -> None:
        self.term, self.news = 0 if fence is None else fence.number, 0
        self._calls.start(CALL_EVERY_S)  # so that others are heard before it goes on
        self._rollouts().begin(fence)

    def end(self) -> Deferred[None]:
        if self._calls.running:
            self._calls.stop()
            self._tell(Call(self.node, self.term, over=True))
        return self._rollouts().end()

    def call(self) -> None:
        """Say that this node conducts them."""
        self._tell(Call(self.node, self.term, self._rollouts().busy, self.news))

    # ---- calls ---------------------------------------------------------------------

    def _tell(self, call: Call) -> None:
        self._messages.tell(CALL, encode(call))
        self._hear(call)

    def _hear(self, call: Call) -> None:
        if call.term < self.highest:
            return  # it does not know yet that its term is over
        self.last, self._heard_at = call, self._clock.seconds()
        for tell in self._told:
            tell(call)


def nobody() -> Refusal:
    """Return what is said when nobody conducts the rollouts."""
    why = (
        "No node conducts the rollouts at the moment: one is about to take over. "
        "Nothing was done; try again in some seconds."
    )
    return Refusal("NODE_UNREACHABLE", why, retryAfterS=5)
