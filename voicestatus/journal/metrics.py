"""What the journal counts. No label holds a user or a guild."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class JournalMetrics:
    """Declared once on a registry."""

    def __init__(
        self, registry: CollectorRegistry, waiting: Callable[[], float]
    ) -> None:
        self.writes = Counter(
            "voicestatus_journal_writes",
            "Batches of presence that were stored.",
            registry=registry,
        )
        self.failures = Counter(
            "voicestatus_journal_failures",
            "Times that storage did not take or give what a restart needs.",
            registry=registry,
        )
        gauge = Gauge(
            "voicestatus_journal_waiting",
            "Documents that differ from what is stored.",
            registry=registry,
        )
        gauge.set_function(waiting)
