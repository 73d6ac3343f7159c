"""`/channels` and `/invites`: messages and invites."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType
from twisted.web.http import Request

from voicestatus.simulator import intents, permissions
from voicestatus.simulator.community import Community
from voicestatus.simulator.invites import MOST, Invite, Invites, Terms
from voicestatus.simulator.messages import Message
from voicestatus.simulator.payloads import CATEGORY, FORUM, Channel, Guild, Json
from voicestatus.simulator.permissions import (
    CREATE_INVITE,
    EMBED_LINKS,
    MANAGE_CHANNELS,
    MANAGE_GUILD,
    MANAGE_MESSAGES,
    READ_HISTORY,
    SEND_MESSAGES,
    VIEW_CHANNEL,
)
from voicestatus.simulator.rest import embeds
from voicestatus.simulator.rest.door import Door, HasDoor, app_of_pages
from voicestatus.simulator.rest.refusals import (
    EMPTY_MESSAGE,
    MAX_INVITES,
    MISSING_ACCESS,
    MISSING_PERMISSIONS,
    NOT_YOURS,
    UNKNOWN_CHANNEL,
    UNKNOWN_INVITE,
    UNKNOWN_MESSAGE,
    RestError,
)
from voicestatus.simulator.world import RefusedError

Content = Annotated[str, Meta(max_length=2000)]


class MessageOrder(Struct):
    """A message to be written, or what to change of one."""

    content: Content | UnsetType | None = UNSET
    embeds: list[Json] | UnsetType | None = UNSET
    components: list[Json] | UnsetType | None = UNSET
    nonce: Annotated[str, Meta(max_length=25)] | int | None = None
    enforce_nonce: bool = False
    flags: int | UnsetType | None = UNSET


class InviteOrder(Struct):
    """What an invite is to be good for."""

    max_age: Annotated[int, Meta(ge=0, le=604_800)] = 86_400
    max_uses: Annotated[int, Meta(ge=0, le=100)] = 0
    temporary: bool = False
    unique: bool = False


class ChannelPages(HasDoor):
    """`/channels`."""

    app = app_of_pages()

    def __init__(self, door: Door, community: Community) -> None:
        super().__init__(door)
        self._messages, self._invites = community.messages, community.invites

    @app.route("/<int:channel>", methods=["GET"])
    def channel(self, request: Request, channel: int) -> bytes:
        self.door.admit(request, "/channels/:id", channel)
        _, room, _ = self._enter(channel)
        return self.door.reply(request, room.payload())

    # -- messages ----------------------------------------------------------------

    @app.route("/<int:channel>/messages", methods=["GET"])
    def messages(self, request: Request, channel: int) -> bytes:
        self.door.admit(request, "/channels/:id/messages", channel)
        _, _, may = self._enter(channel)
        limit = min(max(self.door.argument(request, "limit", 50), 1), 100)
        before = self.door.argument(request, "before", 1 << 64)
        after = self.door.argument(request, "after", 0)
        # Without the history there are none, and no error.
        found = [
            self._shown(message)
            for message in self._messages.newest(channel)
            if may & READ_HISTORY and after < message.id < before
        ]
        return self.door.reply(request, found[:limit])

    @app.route("/<int:channel>/messages", methods=["POST"])
    def write(self, request: Request, channel: int) -> bytes:
        self.door.admit(request, "/channels/:id/messages", channel)
        _, room, may = self._enter(channel)
        order = self.door.read(request, MessageOrder)
        if room.type in {CATEGORY, FORUM}:
            raise RestError(400, 50008, "Cannot send messages in a non-text channel")
        if not may & SEND_MESSAGES:
            raise RestError(*MISSING_PERMISSIONS)
        message = Message(
            self.door.world.new_id(), channel, self._bot, self._timestamp()
        )
        message.nonce = order.nonce
        _amend(message, order, may)
        first = self._with_nonce(channel, order)
        if first is not None:
            return self.door.reply(request, self._shown(first))
        self.door.publish(self._messages.post(message))
        return self.door.reply(request, self._shown(message))

    @app.route("/<int:channel>/messages/<int:message>", methods=["GET"])
    def message(self, request: Request, channel: int, message: int) -> bytes:
        self.door.admit(request, "/channels/:id/messages/:id", channel)
        _, _, may = self._enter(channel)
        if not may & READ_HISTORY:
            raise RestError(*MISSING_PERMISSIONS)
        return self.door.reply(request, self._shown(self._message(channel, message)))

    @app.route("/<int:channel>/messages/<int:message>", methods=["PATCH"])
    def edit(self, request: Request, channel: int, message: int) -> bytes:
        self.door.admit(request, "/channels/:id/messages/:id", channel)
        _, _, may = self._enter(channel)
        found = self._message(channel, message)
        if found.author != self._bot:
            raise RestError(*NOT_YOURS)
        _amend(found, self.door.read(request, MessageOrder), may)
        self.door.publish(self._messages.changed(found, self._timestamp()))
        return self.door.reply(request, self._shown(found))

    @app.route("/<int:channel>/messages/<int:message>", methods=["DELETE"])
    def delete(self, request: Request, channel: int, message: int) -> bytes:
        self.door.admit(request, "/channels/:id/messages/:id", channel)
        _, _, may = self._enter(channel)
        found = self._message(channel, message)
        if found.author != self._bot and not may & MANAGE_MESSAGES:
            raise RestError(*MISSING_PERMISSIONS)
        self.door.publish(self._messages.delete(found))
        return self.door.done(request)

    # -- invites -----------------------------------------------------------------

    @app.route("/<int:channel>/invites", methods=["GET"])
    def invites(self, request: Request, channel: int) -> bytes:
        self.door.admit(request, "/channels/:id/invites", channel)
        _, _, may = self._enter(channel)
        if not may & MANAGE_CHANNELS:
            raise RestError(*MISSING_PERMISSIONS)
        found = self._invites.of_channel(channel, self.door.now())
        shown = [self._invites.payload(invite) for invite in found]
        return self.door.reply(request, shown)

    @app.route("/<int:channel>/invites", methods=["POST"])
    def invite(self, request: Request, channel: int) -> bytes:
        self.door.admit(request, "/channels/:id/invites", channel)
        home, room, may = self._enter(channel)
        order = self.door.read(request, InviteOrder)
        if room.type == CATEGORY:
            raise RestError(*UNKNOWN_CHANNEL)
        if not may & CREATE_INVITE:
            raise RestError(*MISSING_PERMISSIONS)
        terms = Terms(order.max_age, order.max_uses, order.temporary)
        now = self.door.now()
        for invite in self._invites.of_channel(channel, now):
            same = (invite.inviter, invite.terms) == (self._bot, terms)
            if same and not order.unique:
                return self.door.reply(request, self._invites.payload(invite))
        if len(self._invites.of_guild(home, now)) >= MOST:
            raise RestError(*MAX_INVITES)
        made, told = self._invites.make(room, self._bot, terms, now)
        self.door.publish(told)
        return self.door.reply(request, self._invites.payload(made))

    # -- inside ------------------------------------------------------------------

    @property
    def _bot(self) -> int:
        return self.door.world.bot.id

    def _enter(self, channel: int) -> tuple[Guild, Channel, int]:
        """Tell what the bot may do there.

        :raises RestError: when it does not even see the channel.
        """
        home, room = self.door.channel(channel)
        may = permissions.inside(home, self._bot, room)
        if not may & VIEW_CHANNEL:
            raise RestError(*MISSING_ACCESS)
        return home, room, may

    def _message(self, channel: int, message: int) -> Message:
        try:
            return self._messages.find(channel, message)
        except RefusedError:
            raise RestError(*UNKNOWN_MESSAGE) from None

    def _with_nonce(self, channel: int, order: MessageOrder) -> Message | None:
        if order.nonce is None or not order.enforce_nonce:
            return None
        ours = (m for m in self._messages.newest(channel) if m.author == self._bot)
        return next((m for m in ours if m.nonce == order.nonce), None)

    def _shown(self, message: Message) -> Json:
        off = self.door.sessions.rules.disallowed_intents & intents.MESSAGE_CONTENT
        return self._messages.payload(message, readable=not off)

    def _timestamp(self) -> str:
        return self.door.now().isoformat(timespec="microseconds")


class InvitePages(HasDoor):
    """`/invites`."""

    app = app_of_pages()

    def __init__(self, door: Door, invites: Invites) -> None:
        super().__init__(door)
        self._invites = invites

    @app.route("/<code>", methods=["GET"])
    def look_up(self, request: Request, code: str) -> bytes:
        self.door.admit(request, "/invites/:code")
        invite = self._invite(code)
        return self.door.reply(request, self._invites.payload(invite, uses=False))

    @app.route("/<code>", methods=["DELETE"])
    def delete(self, request: Request, code: str) -> bytes:
        self.door.admit(request, "/invites/:code")
        invite, bot = self._invite(code), self.door.world.bot.id
        home, room = self.door.channel(invite.channel)
        there = permissions.inside(home, bot, room) & MANAGE_CHANNELS
        if not there and not permissions.of(home, bot) & MANAGE_GUILD:
            raise RestError(*MISSING_PERMISSIONS)
        gone = self._invites.payload(invite)
        self.door.publish(self._invites.delete(invite))
        return self.door.reply(request, gone)

    def _invite(self, code: str) -> Invite:
        invite = self._invites.find(code, self.door.now())
        if invite is None:
            raise RestError(*UNKNOWN_INVITE)
        return invite


def _amend(message: Message, order: MessageOrder, may: int) -> None:
    """:raises RestError: when the message would be none that Discord takes."""
    content = message.content if order.content is UNSET else order.content or ""
    boxes = message.embeds if order.embeds is UNSET else order.embeds or []
    rows = message.components if order.components is UNSET else order.components or []
    if not content and not boxes and not rows:
        raise RestError(*EMPTY_MESSAGE)
    if boxes and not may & EMBED_LINKS:
        raise RestError(*MISSING_PERMISSIONS)
    embeds.check(boxes)
    embeds.check_rows(rows)
    message.content, message.components = content, rows
    message.embeds = [{"type": "rich"} | box for box in boxes]
    message.flags = order.flags or 0
