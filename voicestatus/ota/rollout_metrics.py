"""What rollouts count. No label holds a device."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from voicestatus.core.rollout_state import Fault, Halt, Phase


class RolloutMetrics:
    """The rollouts' metrics, declared on a registry that is handed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.active = Gauge(
            "voicestatus_rollouts_active",
            "Rollouts that have not ended.",
            registry=registry,
        )
        devices = Gauge(
            "voicestatus_rollout_devices",
            "Devices of the rollouts that have not ended, by how far they are.",
            ["phase"],
            registry=registry,
        )
        self.devices = {phase: devices.labels(phase.value) for phase in Phase}
        self.offers = Counter(
            "voicestatus_rollout_offers",
            "Releases offered to devices.",
            registry=registry,
        )
        failures = Counter(
            "voicestatus_rollout_failures",
            "Updates of devices that failed.",
            ["reason"],
            registry=registry,
        )
        self.failures = {fault.value: failures.labels(fault.value) for fault in Fault}
        halts = Counter(
            "voicestatus_rollout_halts",
            "Rollouts that halted by themselves, by the limit that was met.",
            ["reason"],
            registry=registry,
        )
        self.halts = {halt.value: halts.labels(halt.value) for halt in Halt}
