"""What clients did, for tests to read. Pure."""

from collections import deque

Entry = dict[str, object]


class ClientLog:
    """The last `limit` things that clients did, numbered by this log alone."""

    def __init__(self, limit: int = 20_000) -> None:
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._seq = 0

    def add(self, now: float, kind: str, **fields: object) -> None:
        """Note one thing; `now` in seconds. No field may hold a token."""
        self._seq += 1
        self._entries.append(
            {"seq": self._seq, "t": round(now, 6), "kind": kind} | fields
        )

    def since(self, seq: int = 0) -> list[Entry]:
        """Tell all that came after `seq` and is still kept."""
        new = min(self._seq - seq, len(self._entries))
        return [] if new <= 0 else list(self._entries)[-new:]
