"""What is new of rollouts, told in bundles: thousands of devices report at once."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from voicestatus.core.rollout import Say
from voicestatus.core.rollout_state import DeviceState
from voicestatus.ota.rollout_views import News, RolloutView

TELL_EVERY_S = 0.5


class _Bundle:
    """What is new of one rollout."""

    def __init__(self) -> None:
        self.devices: dict[str, DeviceState] = {}
        self.said: list[Say] = []


class Newsroom:
    """Collects what is new, and tells it after a moment."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, view: Callable[[str], RolloutView | None]
    ) -> None:
        """`view` returns how a rollout is now; None: there is none."""
        self._clock, self._view = clock, view
        self._bundles: dict[str, _Bundle] = {}
        self._told: dict[object, Callable[[News], object]] = {}
        self._next: IDelayedCall | None = None

    def subscribe(self, tell: Callable[[News], object]) -> Callable[[], object]:
        """Tell what is new from now on; return the way out."""
        self._told[key := object()] = tell
        return lambda: self._told.pop(key, None)

    def add(self, rollout: str, state: DeviceState | None = None) -> None:
        """Take it that a rollout, or one of its devices, is different."""
        bundle = self._bundle(rollout)
        if bundle is not None and state is not None:
            bundle.devices[state.device] = state

    def say(self, rollout: str, said: Say) -> None:
        """Take it that there is something to say to people."""
        bundle = self._bundle(rollout)
        if bundle is not None:
            bundle.said.append(said)

    def clear(self) -> None:
        """Tell nothing more of what is collected."""
        self._bundles.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _bundle(self, rollout: str) -> _Bundle | None:
        if not self._told:
            return None
        if self._next is None:
            self._next = self._clock.callLater(TELL_EVERY_S, self._tell)
        return self._bundles.setdefault(rollout, _Bundle())

    def _tell(self) -> None:
        self._next = None
        bundles, self._bundles = self._bundles, {}
        for rollout, bundle in bundles.items():
            if (view := self._view(rollout)) is None:
                continue
            news = News(view, tuple(bundle.devices.values()), tuple(bundle.said))
            for key, tell in tuple(self._told.items()):
                try:
                    tell(news)
                except Exception:  # noqa: BLE001 - the others must be told all the same
                    self._log.failure("a subscriber failed and was dropped")
                    self._told.pop(key, None)
