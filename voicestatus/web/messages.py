"""What is said on the admin side's live channel; `asyncapi.json` describes it."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from voicestatus.web import rollout_views, views
from voicestatus.web.api.errors import Error
from voicestatus.web.commands import Command


class Snapshot(Struct, frozen=True, rename="camel", tag="snapshot"):
    """How all is: each page has devices, and the first one all the rest."""

    devices: list[views.Device]
    more: Annotated[bool, Meta(description="whether another page follows")]
    presence: views.Presence | UnsetType = UNSET
    releases: list[views.Release] | UnsetType = UNSET
    rollouts: Annotated[
        list[rollout_views.Rollout] | UnsetType,
        Meta(description="those that have not ended"),
    ] = UNSET


class PresenceChanged(Struct, frozen=True, rename="camel", tag="presence"):
    """A guild's counts, channels or knowledge are different, or Discord has spoken."""

    ready: bool
    guild: views.Guild | UnsetType = UNSET


class GuildGone(Struct, frozen=True, rename="camel", tag="presence"):
    """A guild is no longer watched."""

    id: str
    gone: Literal[True] = True


class DeviceChanged(Struct, frozen=True, rename="camel", tag="device"):
    """A device is new, came, went or changed."""

    device: views.Device


class DeviceGone(Struct, frozen=True, rename="camel", tag="device"):
    """A device was forgotten, or a stranger's connection ended."""

    id: str
    gone: Literal[True] = True


class ReleaseChanged(Struct, frozen=True, rename="camel", tag="release"):
    """A release is new or changed, or a rollout needs it, or does not any more."""

    release: views.Release


class ReleaseGone(Struct, frozen=True, rename="camel", tag="release"):
    """A release was deleted."""

    id: str
    gone: Literal[True] = True


class RolloutChanged(Struct, frozen=True, rename="camel", tag="rollout"):
    """A rollout began, or is further."""

    rollout: rollout_views.Rollout


class Result(Struct, frozen=True, rename="camel", tag="result"):
    """A command was sent to its device."""

    id: str
    ok: Literal[True] = True


class Failed(Struct, frozen=True, rename="camel", tag="error"):
    """What was asked was not done. `id` is null when it could not be read."""

    id: str | None
    error: Error


class CommandRequest(
    Struct, frozen=True, rename="camel", tag="command", forbid_unknown_fields=True
):
    """An admin sends a command to a device; the answer bears the same `id`."""

    id: Annotated[str, Meta(max_length=64, examples=["1"])]
    device: views.DeviceId
    command: Command


Sent = (
    Snapshot
    | PresenceChanged
    | GuildGone
    | DeviceChanged
    | DeviceGone
    | ReleaseChanged
    | ReleaseGone
    | RolloutChanged
    | Result
    | Failed
)
Taken = CommandRequest
