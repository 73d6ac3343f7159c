"""What the gateway counts. No label holds a user or a guild."""

from math import nan
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Enum, Gauge

from voicestatus.discord.gateway.status import State

OUTCOMES: Final = ("applied", "unknown", "malformed", "failed")


class GatewayMetrics:
    """Declared once on a registry, shared by all shards."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.state = Enum(
            "voicestatus_gateway_state",
            "State of a shard's link to Discord.",
            ["shard"],
            states=[state.value for state in State],
            registry=registry,
        )
        self.reconnects = Counter(
            "voicestatus_gateway_reconnects",
            "Links to Discord that ended, by cause.",
            ["shard", "cause"],
            registry=registry,
        )
        self.latency = Gauge(
            "voicestatus_gateway_heartbeat_latency_seconds",
            "Time from the last heartbeat to its acknowledgement.",
            ["shard"],
            registry=registry,
        )
        events = Counter(
            "voicestatus_gateway_events",
            "Dispatches received, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        # Bound once: the lookup of a label costs as much as decoding an event.
        self.applied, self.unknown, self.malformed, self.failed = (
            events.labels(outcome) for outcome in OUTCOMES
        )
        self.identifies = Counter(
            "voicestatus_gateway_identifies",
            "New sessions asked for; Discord allows 1000 a day.",
            ["shard"],
            registry=registry,
        )
        self.identifies_left = Gauge(
            "voicestatus_gateway_identifies_left",
            "New sessions that Discord still allowed when it was asked last.",
            registry=registry,
        )
        self.identifies_left.set(nan)
        self.resumes = Counter(
            "voicestatus_gateway_resumes",
            "Resumes asked for.",
            ["shard"],
            registry=registry,
        )
        self._of_links = (self.state, self.latency)
        self.store_failures = Counter(
            "voicestatus_gateway_store_failures",
            "Times of identifying that could not be stored or read.",
            registry=registry,
        )

    def forget_link(self, shard: int) -> None:
        """Tell nothing of a shard that has no link here."""
        for metric in self._of_links:
            metric.remove(shard)
