"""Discord's own events of the guilds, and what is told of them. Pure.

Source: Discord docs, Guild Scheduled Event.
"""

from dataclasses import dataclass
from datetime import datetime

from voicestatus.simulator.payloads import Json, encode
from voicestatus.simulator.world import Dispatch, World

MOST = 100
"""In a guild, of those that have not ended."""
STAGE, VOICE, EXTERNAL = 1, 2, 3
SCHEDULED, ACTIVE, COMPLETED, CANCELED = 1, 2, 3, 4
FOLLOWS = {SCHEDULED: {ACTIVE, CANCELED}, ACTIVE: {COMPLETED}}
"""Which status may follow; those that are not here are the last."""


@dataclass(slots=True)
class Event:
    """One event."""

    id: int
    guild: int
    creator: int
    name: str
    kind: int
    start: datetime
    end: datetime | None = None
    channel: int | None = None
    location: str | None = None
    description: str | None = None
    status: int = SCHEDULED

    @property
    def over(self) -> bool:
        return self.status not in FOLLOWS


class Events:
    """All events that have not ended."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._events: dict[int, Event] = {}

    def of(self, guild: int) -> list[Event]:
        """List those that have not ended."""
        ours = (event for event in self._events.values() if event.guild == guild)
        return [event for event in ours if not event.over]

    def find(self, guild: int, event: int) -> Event | None:
        """Look one up, ended or not."""
        found = self._events.get(event)
        return found if found is not None and found.guild == guild else None

    def add(self, event: Event) -> list[Dispatch]:
        """It is planned."""
        self._events[event.id] = event
        return self._told(event, "CREATE")

    def changed(self, event: Event) -> list[Dispatch]:
        """It is another now."""
        self._events[event.id] = event
        return self._told(event, "UPDATE")

    def delete(self, event: Event) -> list[Dispatch]:
        """It is gone, and was never held."""
        del self._events[event.id]
        return self._told(event, "DELETE")

    def payload(self, event: Event) -> Json:
        """As REST shows it."""
        return {
            "id": str(event.id),
            "guild_id": str(event.guild),
            "channel_id": None if event.channel is None else str(event.channel),
            "creator_id": str(event.creator),
            "creator": self._world.users[event.creator].payload() | {"flags": 0},
            "name": event.name,
            "description": event.description,
            "scheduled_start_time": event.start.isoformat(),
            "scheduled_end_time": None if event.end is None else event.end.isoformat(),
            "privacy_level": 2,
            "status": event.status,
            "entity_type": event.kind,
            "entity_id": None,
            "entity_metadata": None
            if event.location is None
            else {"location": event.location},
            "image": None,
            "recurrence_rule": None,
            "guild_scheduled_event_exceptions": [],
        }

    def _told(self, event: Event, what: str) -> list[Dispatch]:
        home = self._world.guild(event.guild)
        body = encode(self.payload(event))
        return self._world.tell(home, f"GUILD_SCHEDULED_EVENT_{what}", body)
