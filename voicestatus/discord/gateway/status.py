"""How the link to Discord is, for people and for health checks. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """What a shard's link is doing."""

    CONNECTING = "connecting"
    IDENTIFYING = "identifying"
    RESUMING = "resuming"
    READY = "ready"
    WAITING = "waiting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Status:
    """One shard's link, or that of all shards together."""

    state: State
    problem: str | None = None
    """What is wrong and, where the owner can mend it, how."""
    latency_s: float | None = None
    """Of the last heartbeat."""

    @property
    def ready(self) -> bool:
        """Whether READY or RESUMED holds."""
        return self.state is State.READY


_WORST_FIRST = (
    State.STOPPED,
    State.WAITING,
    State.CONNECTING,
    State.IDENTIFYING,
    State.RESUMING,
    State.READY,
)


def _badness(status: Status) -> tuple[int, bool]:
    return _WORST_FIRST.index(status.state), status.problem is None


def combined(statuses: Sequence[Status]) -> Status:
    """Return one status for all shards: the worst state, the slowest heartbeat."""
    worst = min(statuses, key=_badness)
    latencies = [s.latency_s for s in statuses if s.latency_s is not None]
    return Status(worst.state, worst.problem, max(latencies, default=None))
