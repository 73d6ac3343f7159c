"""What the device side counts. No label holds a token, a device or a person."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class DoorMetrics:
    """The port's metrics, declared on a registry that is handed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge(
            "voicestatus_connections",
            "Connections on the port: devices, pages, and who is neither yet.",
            registry=registry,
        )
        refused = Counter(
            "voicestatus_refused_connections",
            "Connections that were one too many: of all, or of their address.",
            ["reason"],
            registry=registry,
        )
        self.refused = {reason: refused.labels(reason) for reason in ("all", "address")}


class DeviceMetrics:
    """The device side's metrics, declared on a registry that is handed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge(
            "voicestatus_device_connections",
            "Devices that are connected and let in.",
            registry=registry,
        )
        self.held = Gauge(
            "voicestatus_device_held",
            "Connections kept open for a while: their address failed repeatedly, or "
            "their device came back repeatedly.",
            registry=registry,
        )
        failures = Counter(
            "voicestatus_device_auth_failures",
            "Connections answered with NOAUTH.",
            ["reason"],
            registry=registry,
        )
        self.auth_failures = {
            reason: failures.labels(reason)
            for reason in ("token", "not_auth", "silence")
        }
        self.refused_upgrades = Counter(
            "voicestatus_device_refused_upgrades",
            "Upgrade requests answered with an HTTP error.",
            registry=registry,
        )
        self.violations = Counter(
            "voicestatus_device_protocol_violations",
            "Connections closed because the peer broke the WebSocket protocol.",
            registry=registry,
        )
        self.dead_peers = Counter(
            "voicestatus_device_dead_peers",
            "Connections dropped because two pings stayed unanswered.",
            registry=registry,
        )
        self.flips = Counter(
            "voicestatus_device_flips",
            "Changes of a group's light that were written to its devices.",
            registry=registry,
        )
        frames = Counter(
            "voicestatus_device_frames",
            "Light frames: sent at once, left to the transport's buffer, or never "
            "sent because a newer one came first.",
            ["path"],
            registry=registry,
        )
        self.direct = frames.labels("direct")
        self.queued = frames.labels("queued")
        self.superseded = frames.labels("superseded")
        self.enrolled = Gauge(
            "voicestatus_devices_enrolled",
            "Devices in the registry, connected or not.",
            registry=registry,
        )
        hellos = Counter(
            "voicestatus_device_hellos",
            "What a device's hello came to.",
            ["outcome"],
            registry=registry,
        )
        outcomes = (
            *("known", "enrolled", "waiting", "stranger"),
            *("already_enrolled", "wrong_id", "revoked", "ticket_spent"),
        )
        self.hellos = {outcome: hellos.labels(outcome) for outcome in outcomes}
        self.statuses = Counter(
            "voicestatus_device_statuses",
            "Status messages of devices.",
            registry=registry,
        )
        self.invalid_texts = Counter(
            "voicestatus_device_invalid_texts",
            "JSON texts of devices that made no sense.",
            registry=registry,
        )
