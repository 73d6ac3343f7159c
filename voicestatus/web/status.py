"""How the whole is, for its owner: figures, and in words what is wrong. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isinf
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from voicestatus.core.features import Feature
from voicestatus.core.storage_address import Address, InFile, InMemory
from voicestatus.web.health import Vitals
from voicestatus.web.readings import Readings, Spread

EVENT_TO_FRAME: Final = "voicestatus_event_to_frame_seconds"
REACTOR_LAG: Final = "voicestatus_reactor_lag_seconds"
SLOW_S: Final = 0.1
"""A light that is later than this is seen to be late."""
FEW_IDENTIFIES: Final = 50
"""Of the thousand a day: something begins sessions without end."""
NEARLY_FULL: Final = 0.9


class Bucket(Struct, frozen=True, rename="camel"):
    """How many took longer than the bucket before says, and no longer than this."""

    up_to_s: Annotated[float | None, Meta(description="null: beyond all others")]
    count: int


class Histogram(Struct, frozen=True, rename="camel"):
    """How long something took, since the server started."""

    count: int
    mean_s: float | None
    p50_s: Annotated[
        float | None, Meta(description="half of all took no longer; null: none yet")
    ]
    p99_s: Annotated[
        float | None,
        Meta(description="99 of 100 took no longer; null: none yet, or off the scale"),
    ]
    buckets: list[Bucket]


class Shard(Struct, frozen=True, rename="camel"):
    """One shard's link to Discord, if this node holds it."""

    shard: int
    state: Annotated[
        str,
        Meta(
            description="of its link; elsewhere: another node holds it",
            examples=["ready"],
        ),
    ]
    heartbeat_s: Annotated[
        float | None, Meta(description="how long the last answer took")
    ]
    resumes: int
    identifies: int
    ended: Annotated[
        dict[str, int], Meta(description="links that ended, by cause", examples=[{}])
    ]


class Nodes(Struct, frozen=True, rename="camel"):
    """Those that share a Redis."""

    living: int
    shards_held: Annotated[int, Meta(description="by this node")]
    shards_in_step: Annotated[int, Meta(description="known here as at their holder")]


class Warned(Struct, frozen=True, rename="camel"):
    """Something that is wrong, and what to do about it."""

    severity: Literal["bad", "warn"]
    text: str
    remedy: str


class Off(Struct, frozen=True, rename="camel"):
    """A feature that is wanted and cannot be."""

    feature: str
    why: str


class Status(Struct, frozen=True, kw_only=True, rename="camel"):
    """Everything that is to be seen at a glance."""

    version: str
    uptime_s: int
    ready: Annotated[bool, Meta(description="Discord is heard now")]
    gateway: Annotated[str, Meta(description="the state of the shard that is worst")]
    warnings: list[Warned]
    event_to_frame: Annotated[
        Histogram, Meta(description="from an event's bytes to the last sign's socket")
    ]
    reactor_lag: Annotated[
        Histogram, Meta(description="how late a timer fires: what else has to wait")
    ]
    shards: list[Shard]
    identifies_left: Annotated[
        int | None, Meta(description="today, as Discord said last")
    ]
    nodes: Annotated[Nodes | None, Meta(description="null: this is the only one")]
    store: Annotated[
        Literal["sqlite", "redis", "memory"], Meta(description="what it is kept in")
    ]
    devices_connected: int
    devices_enrolled: int
    people_in_voice: int
    pages_connected: Annotated[
        int, Meta(description="connections that are no device's, pages above all")
    ]
    memory_bytes: int | None
    open_files: int | None
    max_files: int | None
    features_off: list[Off]


@dataclass(frozen=True, slots=True)
class Facts:
    """What no metric says."""

    vitals: Vitals
    storage: Address
    risks: Iterable[tuple[str, str]]
    """How storage may lose what it keeps, and what to do about each."""
    switched_off: Mapping[Feature, str]


def status_of(facts: Facts, readings: Readings) -> Status:
    """Show how it is."""
    vitals = facts.vitals
    event_to_frame = readings.spread(EVENT_TO_FRAME)
    devices = _whole(readings, "voicestatus_device_connections") or 0
    connections = _whole(readings, "voicestatus_connections") or 0
    return Status(
        version=vitals.version,
        uptime_s=int(vitals.uptime_s),
        ready=vitals.discord_ready,
        gateway=vitals.gateway,
        warnings=list(_warnings(facts, readings)),
        event_to_frame=_histogram(event_to_frame),
        reactor_lag=_histogram(readings.spread(REACTOR_LAG)),
        shards=_shards(readings),
        identifies_left=_whole(readings, "voicestatus_gateway_identifies_left"),
        nodes=_nodes(readings),
        store=_store(facts.storage),
        devices_connected=devices,
        devices_enrolled=_whole(readings, "voicestatus_devices_enrolled") or 0,
        people_in_voice=vitals.voice_users,
        pages_connected=max(0, connections - devices),
        memory_bytes=_whole(readings, "process_resident_memory_bytes"),
        open_files=_whole(readings, "process_open_fds"),
        max_files=_whole(readings, "process_max_fds"),
        features_off=[Off(f.value, why) for f, why in facts.switched_off.items()],
    )


def _warnings(facts: Facts, readings: Readings) -> Iterator[Warned]:
    """The worst first."""
    vitals = facts.vitals
    if vitals.store_problem is not None:
        yield Warned(
            "bad",
            f"The store does not work: {vitals.store_problem}.",
            "Signs go on from memory. What has to be written is refused until it works "
            "again; no restart is needed.",
        )
    if not vitals.discord_ready:
        yield Warned(
            "bad",
            vitals.problem or "The link to Discord is not ready.",
            "It tries by itself, and signs keep their last light. If this lasts, run "
            "`voicestatus doctor`, which names what is wrong.",
        )
    if not vitals.in_step:
        yield Warned(
            "bad",
            "This node does not hear from the others.",
            "Look whether Redis answers, and whether the other nodes run.",
        )
    for feature, why in facts.switched_off.items():
        yield Warned("warn", f"The feature {feature.value} is off.", why)
    for risk, remedy in facts.risks:
        yield Warned("warn", f"The store may lose data: {risk}.", remedy)
    if isinstance(facts.storage, InMemory):
        yield Warned(
            "warn",
            "Nothing is stored: a restart forgets signs, their tokens and sessions.",
            "Set STORAGE_URL, for one server to sqlite:voicestatus.db.",
        )
    left = _whole(readings, "voicestatus_gateway_identifies_left")
    if left is not None and left < FEW_IDENTIFIES:
        yield Warned(
            "bad" if left == 0 else "warn",
            f"Discord allows {left} more new sessions today.",
            "Look in the log for what ends sessions again and again; another program "
            "with the same bot token does that, too.",
        )
    if _is_late(readings.spread(EVENT_TO_FRAME)):
        yield Warned(
            "warn",
            f"Of 100 lights one or more came over {SLOW_S * 1000:.0f} ms late.",
            "Compare the reactor's lag: if that is high, too, the machine has too "
            "little CPU time for this program.",
        )
    files = readings.value("process_open_fds") or 0
    most = readings.value("process_max_fds")
    if most is not None and files > NEARLY_FULL * most:
        yield Warned(
            "bad",
            f"{files:.0f} of {most:.0f} possible files and connections are open.",
            "Raise the limit (LimitNOFILE= under systemd, --ulimit nofile= in a "
            "container), or run a second node.",
        )


def _is_late(spread: Spread) -> bool:
    p99 = spread.within(0.99)
    return p99 is not None and p99 > SLOW_S


def _histogram(spread: Spread) -> Histogram:
    return Histogram(
        spread.count,
        spread.sum / spread.count if spread.count else None,
        _finite(spread.within(0.5)),
        _finite(spread.within(0.99)),
        [Bucket(_finite(bucket.up_to), bucket.count) for bucket in spread.buckets],
    )


def _shards(readings: Readings) -> list[Shard]:
    state = "voicestatus_gateway_state"
    known = {
        labels["shard"]
        for name in (state, "voicestatus_gateway_identifies_total")
        for labels, _ in readings.samples.get(name, ())
    }
    return [
        Shard(
            int(shard),
            next(
                (
                    each
                    for each, on in readings.by(state, state, shard=shard).items()
                    if on
                ),
                "elsewhere",
            ),
            readings.value("voicestatus_gateway_heartbeat_latency_seconds", shard=shard)
            or None,
            _whole(readings, "voicestatus_gateway_resumes_total", shard=shard) or 0,
            _whole(readings, "voicestatus_gateway_identifies_total", shard=shard) or 0,
            {
                cause: int(count)
                for cause, count in readings.by(
                    "voicestatus_gateway_reconnects_total", "cause", shard=shard
                ).items()
                if count
            },
        )
        for shard in sorted(known, key=int)
    ]


def _nodes(readings: Readings) -> Nodes | None:
    living = _whole(readings, "voicestatus_nodes")
    if living is None:
        return None
    return Nodes(
        living,
        _whole(readings, "voicestatus_node_shards") or 0,
        _whole(readings, "voicestatus_node_shards_in_step") or 0,
    )


def _store(storage: Address) -> Literal["sqlite", "redis", "memory"]:
    match storage:
        case InMemory():
            return "memory"
        case InFile():
            return "sqlite"
        case _:
            return "redis"


def _whole(readings: Readings, name: str, **labels: str) -> int | None:
    value = readings.value(name, **labels)
    return None if value is None else int(value)


def _finite(seconds: float | None) -> float | None:
    return None if seconds is None or isinf(seconds) else seconds
