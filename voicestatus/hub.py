"""The middle: Discord's events in, changes out."""

from collections.abc import Callable

from twisted.logger import Logger

from voicestatus.core.presence import Change, Event, Presence


class Hub:
    """Owns the presence; tells each subscriber the snapshot, then each change."""

    _log = Logger()

    def __init__(self, presence: Presence) -> None:
        self.presence = presence
        """For reading; it is changed by `apply` alone."""
        self._told: dict[object, Callable[[Change], object]] = {}

    def subscribe(self, tell: Callable[[Change], object]) -> Callable[[], object]:
        """Tell the present state as changes, then each change; return the way out."""
        for change in self.presence.snapshot():
            tell(change)
        self._told[key := object()] = tell
        return lambda: self._told.pop(key, None)

    def apply(self, event: Event) -> None:
        """Take one event in; when this returns everybody was told.

        Not for subscribers: those after them would hear the changes in a wrong order.
        """
        for change in self.presence.apply(event):
            for tell in tuple(self._told.values()):
                try:
                    tell(change)
                except Exception:  # noqa: BLE001 - one subscriber cannot silence the rest
                    # It stays: dropped, it would show the same for ever.
                    self._log.failure("a subscriber could not take a change")
