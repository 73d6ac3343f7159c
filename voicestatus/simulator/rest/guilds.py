"""`/guilds`: channels, roles, members, voice states, scheduled events."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType
from twisted.web.http import Request

from voicestatus.simulator import intents, permissions, scheduled
from voicestatus.simulator.payloads import STAGE, VOICE, Guild, Role
from voicestatus.simulator.permissions import (
    CONNECT,
    CREATE_EVENTS,
    MANAGE_CHANNELS,
    MANAGE_EVENTS,
    MOVE_MEMBERS,
    MUTE_MEMBERS,
    VIEW_CHANNEL,
)
from voicestatus.simulator.rest.door import Door, HasDoor, app_of_pages
from voicestatus.simulator.rest.refusals import (
    EVENT_FINISHED,
    MAX_EVENTS,
    MISSING_ACCESS,
    MISSING_PERMISSIONS,
    UNKNOWN_CHANNEL,
    UNKNOWN_EVENT,
    UNKNOWN_ROLE,
    UNKNOWN_VOICE_STATE,
    WRONG_CHANNEL_TYPE,
    FormError,
    RestError,
)
from voicestatus.simulator.scheduled import EXTERNAL, FOLLOWS, SCHEDULED, Event, Events

FIVE_YEARS = timedelta(days=5 * 365)
_KINDS = {scheduled.STAGE: STAGE, scheduled.VOICE: VOICE}
_AT_STAGE = MANAGE_CHANNELS | MUTE_MEMBERS | MOVE_MEMBERS
_AT_VOICE = VIEW_CHANNEL | CONNECT

Moment = Annotated[datetime, Meta(tz=True)]
Id = Annotated[int, Meta(ge=0)]


class Place(Struct):
    location: str | None = None


class EventOrder(Struct):
    """What an event is to be; what is unset stays."""

    name: Annotated[str, Meta(min_length=1, max_length=100)] | UnsetType = UNSET
    description: Annotated[str, Meta(max_length=1000)] | UnsetType | None = UNSET
    scheduled_start_time: Moment | UnsetType = UNSET
    scheduled_end_time: Moment | UnsetType | None = UNSET
    entity_type: Annotated[int, Meta(ge=1, le=3)] | UnsetType = UNSET
    channel_id: Id | UnsetType | None = UNSET
    entity_metadata: Place | UnsetType | None = UNSET
    status: Annotated[int, Meta(ge=1, le=4)] | UnsetType = UNSET
    privacy_level: Annotated[int, Meta(ge=2, le=2)] | UnsetType = UNSET


class GuildPages(HasDoor):
    """`/guilds`."""

    app = app_of_pages()

    def __init__(self, door: Door, events: Events) -> None:
        super().__init__(door)
        self._events = events

    @app.route("/<int:guild>", methods=["GET"])
    def guild(self, request: Request, guild: int) -> bytes:
        self.door.admit(request, "/guilds/:id", guild)
        home = self.door.guild(guild)
        shown = home.payload() | {
            "nsfw": False,
            "home_header": None,
            "region": "deprecated",
            "widget_enabled": False,
            "widget_channel_id": None,
        }
        if (request.args or {}).get(b"with_counts") == [b"true"]:
            shown["approximate_member_count"] = len(home.members)
            shown["approximate_presence_count"] = max(1, len(home.voice))
        return self.door.reply(request, shown)

    @app.route("/<int:guild>/channels", methods=["GET"])
    def channels(self, request: Request, guild: int) -> bytes:
        self.door.admit(request, "/guilds/:id/channels", guild)
        # Since November 2026 what the bot cannot see is left out.
        channels = permissions.visible(self.door.guild(guild), self._bot)
        return self.door.reply(request, [channel.payload() for channel in channels])

    @app.route("/<int:guild>/roles", methods=["GET"])
    def roles(self, request: Request, guild: int) -> bytes:
        self.door.admit(request, "/guilds/:id/roles", guild)
        roles = self.door.guild(guild).roles
        return self.door.reply(request, [role.payload() for role in roles])

    # -- members -----------------------------------------------------------------

    @app.route("/<int:guild>/members", methods=["GET"])
    def members(self, request: Request, guild: int) -> bytes:
        self.door.admit(request, "/guilds/:id/members", guild)
        home = self.door.guild(guild)
        if self.door.sessions.rules.disallowed_intents & intents.GUILD_MEMBERS:
            raise RestError(*MISSING_ACCESS)
        after = self.door.argument(request, "after", 0)
        limit = min(self.door.argument(request, "limit", 1), 1000)
        users = sorted(user for user in home.members if user > after)[:limit]
        found = [home.members[user].payload() for user in users]
        return self.door.reply(request, found)

    @app.route("/<int:guild>/members/<int:user>", methods=["GET"])
    def member(self, request: Request, guild: int, user: int) -> bytes:
        self.door.admit(request, "/guilds/:id/members/:id", guild)
        return self.door.reply(request, self.door.member(guild, user).payload())

    @app.route("/<int:guild>/members/<int:user>/roles/<int:role>", methods=["PUT"])
    def give_role(self, request: Request, guild: int, user: int, role: int) -> bytes:
        return self._change_role(request, guild, user, role, held=True)

    @app.route("/<int:guild>/members/<int:user>/roles/<int:role>", methods=["DELETE"])
    def take_role(self, request: Request, guild: int, user: int, role: int) -> bytes:
        return self._change_role(request, guild, user, role, held=False)

    # -- voice states ------------------------------------------------------------

    @app.route("/<int:guild>/voice-states/@me", methods=["GET"])
    def own_voice_state(self, request: Request, guild: int) -> bytes:
        return self.voice_state(request, guild, self._bot)

    @app.route("/<int:guild>/voice-states/<int:user>", methods=["GET"])
    def voice_state(self, request: Request, guild: int, user: int) -> bytes:
        self.door.admit(request, "/guilds/:id/voice-states/:id", guild)
        home = self.door.guild(guild)
        state = home.voice.get(user)
        if state is None:
            raise RestError(*UNKNOWN_VOICE_STATE)
        room = home.channels[state.channel]
        if not permissions.inside(home, self._bot, room) & CONNECT:
            raise RestError(*MISSING_ACCESS)
        return self.door.reply(request, home.voice_payload(user, state, state.channel))

    # -- scheduled events --------------------------------------------------------

    @app.route("/<int:guild>/scheduled-events", methods=["GET"])
    def scheduled_events(self, request: Request, guild: int) -> bytes:
        self.door.admit(request, "/guilds/:id/scheduled-events", guild)
        home = self.door.guild(guild)
        seen = [
            self._events.payload(event)
            for event in self._events.of(guild)
            if event.channel is None or self._inside(home, event.channel) & VIEW_CHANNEL
        ]
        return self.door.reply(request, seen)

    @app.route("/<int:guild>/scheduled-events", methods=["POST"])
    def add_event(self, request: Request, guild: int) -> bytes:
        self.door.admit(request, "/guilds/:id/scheduled-events", guild)
        home, order = self.door.guild(guild), self.door.read(request, EventOrder)
        name, start, kind = order.name, order.scheduled_start_time, order.entity_type
        if name is UNSET or start is UNSET or kind is UNSET:
            raise FormError("name", "BASE_TYPE_REQUIRED", "This field is required")
        event = Event(self.door.world.new_id(), guild, self._bot, name, kind, start)
        self._amend(event, order)
        self._check_rights(home, event, CREATE_EVENTS)
        if len(self._events.of(guild)) >= scheduled.MOST:
            raise RestError(*MAX_EVENTS)
        self.door.publish(self._events.add(event))
        return self.door.reply(request, self._events.payload(event))

    @app.route("/<int:guild>/scheduled-events/<int:event>", methods=["GET"])
    def scheduled_event(self, request: Request, guild: int, event: int) -> bytes:
        self.door.admit(request, "/guilds/:id/scheduled-events/:id", guild)
        return self.door.reply(request, self._events.payload(self._event(guild, event)))

    @app.route("/<int:guild>/scheduled-events/<int:event>", methods=["PATCH"])
    def change_event(self, request: Request, guild: int, event: int) -> bytes:
        self.door.admit(request, "/guilds/:id/scheduled-events/:id", guild)
        found, order = self._event(guild, event), self.door.read(request, EventOrder)
        if found.over:
            raise RestError(*EVENT_FINISHED)
        # Its own maker may change an event with Create Events alone.
        own = CREATE_EVENTS if found.creator == self._bot else 0
        self._check_rights(self.door.guild(guild), found, MANAGE_EVENTS | own)
        found = replace(found)
        if order.scheduled_start_time is not UNSET and found.status != SCHEDULED:
            code = "GUILD_SCHEDULED_EVENT_INVALID_START_BY_STATUS"
            raise FormError("scheduled_start_time", code, "It has begun.")
        if order.status is not UNSET and order.status != found.status:
            if order.status not in FOLLOWS[found.status]:
                code = "GUILD_SCHEDULED_EVENT_INVALID_STATUS"
                raise FormError("status", code, "Invalid status transition.")
            found.status = order.status
        self._amend(found, order)
        self.door.publish(self._events.changed(found))
        return self.door.reply(request, self._events.payload(found))

    @app.route("/<int:guild>/scheduled-events/<int:event>", methods=["DELETE"])
    def remove_event(self, request: Request, guild: int, event: int) -> bytes:
        self.door.admit(request, "/guilds/:id/scheduled-events/:id", guild)
        found = self._event(guild, event)
        own = CREATE_EVENTS if found.creator == self._bot else 0
        self._check_rights(self.door.guild(guild), found, MANAGE_EVENTS | own)
        self.door.publish(self._events.delete(found))
        return self.door.done(request)

    # -- inside ------------------------------------------------------------------

    @property
    def _bot(self) -> int:
        return self.door.world.bot.id

    def _inside(self, home: Guild, channel: int) -> int:
        """Tell what the bot may do there; nothing in a channel that was deleted."""
        room = home.channels.get(channel)
        return 0 if room is None else permissions.inside(home, self._bot, room)

    def _change_role(
        self, request: Request, guild: int, user: int, role: int, *, held: bool
    ) -> bytes:
        self.door.admit(request, "/guilds/:id/members/:id/roles/:id", guild)
        member, home = self.door.member(guild, user), self.door.guild(guild)
        found: Role | None = next((r for r in home.roles if r.id == role), None)
        if found is None:
            raise RestError(*UNKNOWN_ROLE)
        if not permissions.may_give(home, self._bot, found):
            raise RestError(*MISSING_PERMISSIONS)
        roles = tuple(each for each in member.roles if each != role)
        if held:
            roles = member.roles if role in member.roles else (*roles, role)
        told = self.door.world.change_member(
            guild, user, roles=roles, nick=member.nick, avatar=member.avatar
        )
        self.door.publish(told)
        return self.door.done(request)

    def _event(self, guild: int, event: int) -> Event:
        self.door.guild(guild)
        found = self._events.find(guild, event)
        if found is None:
            raise RestError(*UNKNOWN_EVENT)
        return found

    def _amend(self, event: Event, order: EventOrder) -> None:
        """:raises RestError: when the event would be none that Discord takes."""
        for name, given in (
            ("name", order.name),
            ("description", order.description),
            ("kind", order.entity_type),
            ("channel", order.channel_id),
            ("end", order.scheduled_end_time),
            ("start", order.scheduled_start_time),
        ):
            if given is not UNSET:
                setattr(event, name, given)
        place = order.entity_metadata
        if place is not UNSET:
            event.location = None if place is None else place.location
        self._check_place(event)
        self._check_times(event, order)

    def _check_place(self, event: Event) -> None:
        home = self.door.guild(event.guild)
        if event.kind == EXTERNAL:
            if event.channel is not None or not event.location:
                code, words = "BASE_TYPE_REQUIRED", "This field is required"
                raise FormError("entity_metadata.location", code, words)
            if event.end is None:
                words = "This field is required"
                raise FormError("scheduled_end_time", "BASE_TYPE_REQUIRED", words)
            return
        if event.channel is None or event.channel not in home.channels:
            raise RestError(*UNKNOWN_CHANNEL)
        if home.channels[event.channel].type != _KINDS[event.kind]:
            raise RestError(*WRONG_CHANNEL_TYPE)

    def _check_times(self, event: Event, order: EventOrder) -> None:
        start, now = order.scheduled_start_time, self.door.now()
        if start is not UNSET and not now < start < now + FIVE_YEARS:
            code = "GUILD_SCHEDULED_EVENT_SCHEDULE_PAST"
            words = "Cannot schedule event in the past."
            raise FormError("scheduled_start_time", code, words)
        if event.end is not None and event.end <= event.start:
            code = "GUILD_SCHEDULED_EVENT_END_BEFORE_START"
            raise FormError("scheduled_end_time", code, "It ends before it starts.")

    def _check_rights(self, home: Guild, event: Event, any_of: int) -> None:
        if event.channel is None:
            needed, held = 0, permissions.of(home, self._bot)
        else:
            needed = _AT_STAGE if event.kind == scheduled.STAGE else _AT_VOICE
            held = self._inside(home, event.channel)
        if not held & any_of or held & needed != needed:
            raise RestError(*MISSING_PERMISSIONS)
