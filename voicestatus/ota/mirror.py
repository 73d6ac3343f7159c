"""The rollouts that are alive, on every node: as the one that conducts them tells."""

from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace
from twisted.logger import Logger

from voicestatus.cluster.messages import Messages
from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.plan import Target
from voicestatus.ota.node_wire import (
    ALIVE,
    NEEDED,
    NEWS,
    Alive,
    Call,
    RolloutNews,
    decode,
    encode,
    hearing,
)
from voicestatus.ota.rollout_views import News, RolloutView
from voicestatus.ota.seat import Seat, nobody
from voicestatus.tasks import Tasks


class Rollouts(Protocol):
    """See `ota.rollouts.Rollouts`."""

    @property
    def loaded(self) -> bool: ...

    def rollouts(self) -> list[RolloutView]: ...

    def needed(self, release: str) -> bool: ...

    def subscribe(self, tell: Callable[[News], object]) -> Callable[[], object]: ...


class Mirror:
    """Shows the rollouts where they are not; there it shows them as they are.

    What it lacks, a call tells by its count of news; then it asks for all.
    """

    _log = Logger()

    def __init__(self, rollouts: Rollouts, seat: Seat, messages: Messages) -> None:
        self._rollouts, self._seat, self._messages = rollouts, seat, messages
        self._views: dict[str, RolloutView] = {}
        self._of: tuple[str, int] | None = None
        """Whose they are, and of which term; None: they are not known."""
        self._heard = 0
        self._asking = False
        self._told: dict[object, Callable[[News], object]] = {}
        self._tasks = Tasks()
        messages.serve(ALIVE, self._serve_alive)
        messages.serve(NEEDED, self._serve_needed)
        messages.hear(NEWS, hearing(RolloutNews, self._hear), lambda: None)
        seat.subscribe(self._heed)
        rollouts.subscribe(self._happened)

    def stop(self) -> None:
        """Ask nothing more."""
        self._tasks.cancel()

    def rollouts(self) -> list[RolloutView]:
        """Return those that are alive, and maybe more; elsewhere without whom they
        are for."""
        if self._seat.here:
            return self._rollouts.rollouts()
        return [*self._views.values()]

    def subscribe(self, tell: Callable[[News], object]) -> Callable[[], object]:
        """Tell what is new, as `Rollouts.subscribe` does, wherever it happens."""
        self._told[key := object()] = tell
        return lambda: self._told.pop(key, None)

    def needed(self, release: str) -> bool:
        """Whether a rollout goes on with a release, as far as is known."""
        if self._seat.here:
            return self._rollouts.needed(release)
        views = self._views.values()
        return self._of is None or any(release in one.plan.releases for one in views)

    async def needed_elsewhere(self, release: str) -> bool:
        """Ask the node that knows.

        :raises Refusal: as `Seat.ask` does.
        """
        if self._seat.here:
            return False
        return decode(await self._seat.ask(NEEDED, encode(release)), bool)

    # ---- the node that conducts ----------------------------------------------------

    def _happened(self, news: News) -> None:
        self._seat.news += 1
        told = RolloutNews(self._seat.term, self._seat.news, _short(news.rollout))
        self._messages.tell(NEWS, encode(told))
        self._tell(news)

    async def _serve_alive(self, body: bytes) -> bytes:
        known = decode(body, set[str])
        if not self._rollouts.loaded:
            raise nobody()
        views = self._rollouts.rollouts()
        found = [one for one in views if one.ended_at is None or one.id in known]
        return encode(Alive(self._seat.news, tuple(map(_short, found))))

    async def _serve_needed(self, body: bytes) -> bytes:
        return encode(self._rollouts.needed(decode(body, str)))

    # ---- the others ----------------------------------------------------------------

    def _hear(self, news: RolloutNews) -> None:
        if self._of is None or self._of[1] != news.term:
            return
        if news.number == self._heard + 1:  # else it has missed some
            self._heard = news.number
        self._take(news.view)

    def _take(self, view: RolloutView) -> None:
        if view.ended_at is None:
            self._views[view.id] = view
        else:
            self._views.pop(view.id, None)
        self._tell(News(view, (), ()))

    def _heed(self, call: Call) -> None:
        if call.node == self._messages.node:
            self._of = None
            self._views.clear()
            return
        lacks = (call.node, call.term) != self._of or call.news > self._heard
        if lacks and not (call.over or self._asking):
            self._asking = True
            self._tasks.spawn("reading the rollouts", self._ask(call))

    async def _ask(self, call: Call) -> None:
        try:
            known = encode([*self._views])
            alive = decode(await self._messages.ask(call.node, ALIVE, known), Alive)
        except (Refusal, StoreError):
            return  # with the next call
        finally:
            self._asking = False
        self._of, self._heard = (call.node, call.term), alive.news
        for view in alive.views:
            if self._views.get(view.id) != view:
                self._take(view)

    def _tell(self, news: News) -> None:
        for key, tell in tuple(self._told.items()):
            try:
                tell(news)
            except Exception:  # noqa: BLE001 - the others must be told all the same
                self._log.failure("a subscriber failed and was dropped")
                self._told.pop(key, None)


def _short(view: RolloutView) -> RolloutView:
    """Leave out whom it is for: those may be thousands."""
    return replace(view, plan=replace(view.plan, target=Target()))
