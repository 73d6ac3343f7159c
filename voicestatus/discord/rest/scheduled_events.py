"""Discord's own events of a guild. Pure.

Source: Discord docs, Guild Scheduled Event.
"""

from datetime import datetime
from enum import IntEnum
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from voicestatus.core.ids import ChannelId, GuildId, UserId

_GUILD_ONLY: Final = 2
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class EventStatus(IntEnum):
    """1 becomes 2 or 4, 2 becomes 3; nothing else."""

    SCHEDULED = 1
    ACTIVE = 2
    COMPLETED = 3
    CANCELED = 4


class Place(IntEnum):
    """Where it takes place; in a channel, or EXTERNAL at a `location`."""

    STAGE = 1
    VOICE = 2
    EXTERNAL = 3


class _Metadata(Struct, frozen=True):
    location: str | None = None


class ScheduledEvent(Struct, frozen=True):
    """One event as Discord keeps it."""

    id: int
    guild: GuildId = msgspec.field(name="guild_id")
    name: str
    starts_at: Moment = msgspec.field(name="scheduled_start_time")
    status: int
    """An `EventStatus`, or one to come."""
    place: int = msgspec.field(name="entity_type")
    """A `Place`, or one to come."""
    ends_at: Moment | None = msgspec.field(name="scheduled_end_time", default=None)
    channel: ChannelId | None = msgspec.field(name="channel_id", default=None)
    description: str | None = None
    creator: UserId | None = msgspec.field(name="creator_id", default=None)
    metadata: _Metadata | None = msgspec.field(name="entity_metadata", default=None)

    @property
    def location(self) -> str | None:
        return None if self.metadata is None else self.metadata.location


class EventDraft(Struct, frozen=True, kw_only=True):
    """An event to be made, or what to change of one: what is unset is left as it is.

    EXTERNAL needs a `location` and an end, and `channel` None; VOICE and STAGE need
    their channel. Of one that has begun the start must not be sent, not even the same.
    """

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    starts_at: datetime | UnsetType = UNSET
    ends_at: datetime | UnsetType | None = UNSET
    place: Place | UnsetType = UNSET
    channel: ChannelId | UnsetType | None = UNSET
    location: str | UnsetType = UNSET
    status: EventStatus | UnsetType = UNSET


class _Body(Struct, frozen=True, kw_only=True):
    name: str | UnsetType
    description: str | UnsetType
    scheduled_start_time: datetime | UnsetType
    scheduled_end_time: datetime | UnsetType | None
    entity_type: Place | UnsetType
    channel_id: str | UnsetType | None
    entity_metadata: _Metadata | UnsetType
    status: EventStatus | UnsetType
    privacy_level: int | UnsetType


def body(draft: EventDraft, *, new: bool) -> bytes:
    """Write it as Discord wants it."""
    channel, location = draft.channel, draft.location
    return msgspec.json.encode(
        _Body(
            name=draft.name,
            description=draft.description,
            scheduled_start_time=draft.starts_at,
            scheduled_end_time=draft.ends_at,
            entity_type=draft.place,
            channel_id=channel if channel is None or channel is UNSET else str(channel),
            entity_metadata=UNSET if location is UNSET else _Metadata(location),
            status=draft.status,
            privacy_level=_GUILD_ONLY if new else UNSET,
        )
    )
