"""What the admin side shows, as JSON types. Counts only: nothing is about people.

The API and the live channel answer with these, `openapi.json` and `asyncapi.json`
describe them. Ids are strings, for a snowflake is too large for JavaScript's numbers.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from voicestatus.core import explanation, fleet, guild, presence
from voicestatus.core.lights import Light as CoreLight
from voicestatus.core.lights import RuleText
from voicestatus.core.release import Release as CoreRelease
from voicestatus.devices.registry import Showing
from voicestatus.web.flasher import Obstacle, obstacle

RuleJson = Annotated[
    Raw,
    Meta(
        description="A rule; see docs/rules.md.",
        extra_json_schema={"type": "object", "examples": [{"minCount": 2}]},
    ),
]
OptionalRuleJson = Annotated[
    Raw,
    Meta(
        description="Its own rule; null: what its address names, or everything.",
        extra_json_schema={"type": ["object", "null"]},
    ),
]
_NULL = RuleText("null")
_LAST = 253_402_300_799
"""The last second that ISO 8601 can name."""
DeviceId = Annotated[str, Meta(examples=["desk-lamp"])]


class Token(Struct, frozen=True, rename="camel"):
    """A token of a device's own, without the token."""

    issued_at: datetime
    first_used_at: datetime | None
    ends_at: datetime | None


class Device(Struct, frozen=True, rename="camel"):
    """One device: what it is, what an admin said of it, how it is now."""

    id: DeviceId
    name: str
    tags: tuple[str, ...]
    rule: OptionalRuleJson
    enrolled: bool
    approved: bool
    revoked: bool
    connected: bool
    connected_since: datetime | None
    protocol: int
    chip: str
    board: str
    fw: str
    build: int | None
    caps: tuple[str, ...]
    boot: str
    path: str
    address: str | None
    first_seen: datetime | None
    last_seen: datetime | None
    rssi_dbm: int | None
    heap_free_b: int | None
    uptime_s: int | None
    reconnects: int
    rtt_ms: Annotated[
        int | None, Meta(description="how long the answer to the last ping took")
    ]
    tokens: tuple[Token, ...]
    node: Annotated[
        str | UnsetType,
        Meta(description="where it is connected; of several nodes on one Redis only"),
    ] = UNSET


class Channel(Struct, frozen=True, rename="camel"):
    """A channel, and how many are in it."""

    id: Annotated[str, Meta(examples=["1187000000000000011"])]
    name: str
    type: Annotated[int, Meta(description="Discord's channel type", examples=[2])]
    parent_id: str | None
    position: int
    people: int
    bots: int


class Guild(Struct, frozen=True, rename="camel"):
    """A server on Discord, and how many are in voice there."""

    id: Annotated[str, Meta(examples=["1187000000000000001"])]
    name: str
    knowledge: Literal["known", "stale", "unknown"]
    people: int
    bots: int
    channels: tuple[Channel, ...]


class Presence(Struct, frozen=True, rename="camel"):
    """Who is in voice, in counts."""

    ready: Annotated[bool, Meta(description="Discord has named its guilds")]
    guilds: tuple[Guild, ...]


class Release(Struct, frozen=True, rename="camel"):
    """One image for one chip: what was signed of it, and what an admin said."""

    id: Annotated[str, Meta(examples=["esp32-14-0f1e2d3c"])]
    chip: str
    board: Annotated[str, Meta(description="empty: any board with this chip")]
    version: str
    build: int
    min_build: Annotated[int, Meta(description="a device must run this one at least")]
    floor: Annotated[int, Meta(description="it takes none below, once this is proven")]
    not_after: datetime | None
    size_bytes: int
    sha256: str
    md5: str
    manifest: Annotated[str, Meta(description="192 bytes in base64")]
    channel: Literal["stable", "beta"]
    legacy: Annotated[
        bool, Meta(description="devices may have it that check no signature")
    ]
    notes: str
    added_at: datetime
    needed: Annotated[bool, Meta(description="a rollout needs it")]
    trusted: Annotated[
        bool, Meta(description="a key that may sign today did; else nobody gets it")
    ]
    flashable: Annotated[
        bool, Meta(description="a browser can put it on a chip over USB")
    ]
    not_flashable: Annotated[
        Obstacle | None,
        Meta(
            description="why not: APP_ALONE: no boot loader came with it; "
            "NOT_TRUSTED: no key that may sign today has signed it; "
            "NO_CHIP: it is for a computer"
        ),
    ]


class Light(Struct, frozen=True, rename="camel"):
    """What a sign shows."""

    known: bool
    on: bool
    count: int
    stale: bool
    pattern: str
    color: str
    brightness: int


class Pending(Struct, frozen=True, rename="camel"):
    """A time that runs."""

    kind: Annotated[
        str,
        Meta(
            extra_json_schema={
                "enum": ["onDelay", "offDelay", "minOn", "unknown", "quiet"]
            }
        ),
    ]
    remaining_s: float


class Explanation(Struct, frozen=True, kw_only=True, rename="camel"):
    """Why a rule gives the light that it gives."""

    rule: RuleJson
    light: Light
    wanted: bool | None
    counted: int
    needed: int
    excluded: dict[str, int]
    guilds: dict[str, int]
    quiet: bool
    pending: tuple[Pending, ...]
    why: str


class Frame(Struct, frozen=True, rename="camel"):
    """A text that was sent to a device and to all that follow the same."""

    at: datetime
    text: str


class DeviceExplanation(Explanation, frozen=True, kw_only=True, rename="camel"):
    """Why a device shows what it shows, and what it was told."""

    device: DeviceId
    connected: bool
    source: Annotated[
        Literal["device", "address", "default"],
        Meta(description="whose rule it is: its own, its address's, or nobody's"),
    ]
    shown: Annotated[
        Light | None, Meta(description="what it was told last; null: it is away")
    ]
    frames: tuple[Frame, ...]


def device_of(device: fleet.Device, node: str | UnsetType = UNSET) -> Device:
    """Show a device: never a token, nor its digest.

    One that has a `node` is connected there, even if no more of it is known here.
    """
    record, vitals = device.record, device.vitals
    return Device(
        id=record.id,
        name=record.name,
        tags=record.tags,
        rule=_json(record.rule or _NULL),
        enrolled=device.enrolled,
        approved=record.approved,
        revoked=record.revoked,
        connected=device.connected or node is not UNSET,
        connected_since=_moment(vitals.connected_at),
        protocol=vitals.protocol,
        chip=record.chip,
        board=record.board,
        fw=record.fw,
        build=record.build,
        caps=record.caps,
        boot=vitals.boot,
        path=vitals.path,
        address=vitals.address,
        first_seen=_moment(record.first_seen_at),
        last_seen=_moment(record.last_seen_at),
        rssi_dbm=vitals.rssi_dbm,
        heap_free_b=vitals.heap_free_b,
        uptime_s=vitals.uptime_s,
        reconnects=vitals.reconnects,
        rtt_ms=vitals.rtt_ms,
        tokens=tuple(
            Token(
                at(token.issued_at),
                _moment(token.first_used_at),
                _moment(token.ends_at),
            )
            for token in record.tokens
        ),
        node=node,
    )


def release_of(release: CoreRelease, *, needed: bool) -> Release:
    """Show a release."""
    why = obstacle(release)
    return Release(
        id=release.id,
        chip=release.chip.title,
        board=release.board,
        version=release.version,
        build=release.build,
        min_build=release.min_build,
        floor=release.floor,
        not_after=at(min(release.not_after, _LAST)) if release.not_after else None,
        size_bytes=release.size_bytes,
        sha256=release.sha256,
        md5=release.md5,
        manifest=release.manifest,
        channel=release.channel.value,
        legacy=release.legacy,
        notes=release.notes,
        added_at=at(release.added_at),
        needed=needed,
        trusted=release.trusted,
        flashable=why is None,
        not_flashable=why,
    )


def presence_of(known: presence.Presence) -> Presence:
    """Show all guilds in counts."""
    return Presence(known.heard, tuple(map(guild_of, known.guilds.values())))


def guild_of(known: guild.Guild) -> Guild:
    """Show one guild in counts, its channels in Discord's order."""
    return Guild(
        str(known.id),
        known.name,
        known.knowledge.value,
        known.total.people,
        known.total.bots,
        tuple(
            _channel_of(known, channel)
            for channel in sorted(
                known.channels.values(), key=lambda c: (c.position, c.id)
            )
        ),
    )


def explanation_of(told: explanation.Explanation) -> Explanation:
    """Show why a rule gives its light."""
    return Explanation(**_explained(told))


def device_explanation_of(
    device: fleet.Device, showing: Showing | None, told: explanation.Explanation
) -> DeviceExplanation:
    """Show why a device shows what it shows; `showing` is None while it is away."""
    source: Literal["device", "address", "default"]
    if showing is None:
        source = "default" if device.record.rule is None else "device"
    else:
        source = showing.source
    return DeviceExplanation(
        device=device.id,
        connected=showing is not None,
        source=source,
        shown=None if showing is None else _light_of(showing.light),
        frames=tuple(
            Frame(at(seconds), text)
            for seconds, text in (() if showing is None else showing.frames)
        ),
        **_explained(told),
    )


def _explained(told: explanation.Explanation) -> dict[str, Any]:
    return {
        "rule": _json(told.rule),
        "light": _light_of(told.light),
        "wanted": told.wanted,
        "counted": told.counted,
        "needed": told.needed,
        "excluded": dict(told.excluded),
        "guilds": dict(told.guilds),
        "quiet": told.quiet,
        "pending": tuple(Pending(p.kind, p.remaining_s) for p in told.pending),
        "why": told.why,
    }


def _channel_of(known: guild.Guild, channel: guild.Channel) -> Channel:
    tally = known.within(channel.id)
    return Channel(
        id=str(channel.id),
        name=channel.name,
        type=channel.kind,
        parent_id=None if channel.parent is None else str(channel.parent),
        position=channel.position,
        people=tally.people,
        bots=tally.bots,
    )


def _light_of(light: CoreLight) -> Light:
    return Light(
        light.known,
        light.on,
        light.count,
        light.stale,
        light.pattern,
        light.color,
        light.brightness,
    )


def _json(rule: RuleText) -> Raw:
    return Raw(rule.encode())


def at(seconds: float) -> datetime:
    """Return the moment of Unix seconds."""
    return datetime.fromtimestamp(seconds, UTC)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else at(seconds)
