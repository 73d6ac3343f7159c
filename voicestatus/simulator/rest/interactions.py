"""`/interactions` and `/webhooks`: answers to presses of buttons."""

import hmac
from typing import Annotated

from msgspec import Meta, Struct, field
from twisted.web.http import Request

from voicestatus.simulator.community import Community
from voicestatus.simulator.messages import Message
from voicestatus.simulator.payloads import Json
from voicestatus.simulator.presses import ANSWER_WITHIN_S, Press, Presses
from voicestatus.simulator.rest import embeds
from voicestatus.simulator.rest.door import Door, HasDoor, app_of_pages
from voicestatus.simulator.rest.refusals import (
    ALREADY_ANSWERED,
    EMPTY_MESSAGE,
    UNKNOWN_INTERACTION,
    UNKNOWN_WEBHOOK,
    RestError,
)

NEW_MESSAGE, NEW_MESSAGE_LATER, NOTHING_SEEN, EDIT = 4, 5, 6, 7
EPHEMERAL = 1 << 6


class Data(Struct):
    content: Annotated[str, Meta(max_length=2000)] | None = None
    embeds: list[Json] | None = None
    components: list[Json] | None = None
    flags: int = 0


class Answer(Struct):
    type: Annotated[int, Meta(ge=1, le=12)]
    data: Data = field(default_factory=Data)


class InteractionPages(HasDoor):
    """`/interactions`."""

    app = app_of_pages()

    def __init__(self, door: Door, community: Community) -> None:
        super().__init__(door)
        self._presses, self._messages = community.presses, community.messages

    @app.route("/<int:press>/<token>/callback", methods=["POST"])
    def answer(self, request: Request, press: int, token: str) -> bytes:
        self.door.admit_anyone(request, "/interactions/:id/:token/callback", press)
        found, now = self._presses.find(press), self.door.clock.seconds()
        right = found is not None and hmac.compare_digest(found.token, token)
        if found is None or not right or now - found.at > ANSWER_WITHIN_S:
            raise RestError(*UNKNOWN_INTERACTION)
        if found.answered:
            raise RestError(*ALREADY_ANSWERED)
        answer = self.door.read(request, Answer)
        if answer.type == NEW_MESSAGE:
            self._show(found, answer.data)
        elif answer.type == EDIT:
            self._edit(found.message, answer.data)
        found.answered = True
        return self.door.done(request)

    def _show(self, press: Press, data: Data) -> None:
        shown = _checked(data)
        if data.flags & EPHEMERAL:
            press.told.append(shown)
            return
        door = self.door
        timestamp = door.now().isoformat(timespec="microseconds")
        message = Message(
            door.world.new_id(),
            press.message.channel,
            door.world.bot.id,
            timestamp,
            data.content or "",
            data.embeds or [],
            data.components or [],
        )
        door.publish(self._messages.post(message))

    def _edit(self, message: Message, data: Data) -> None:
        if data.content is not None:
            message.content = data.content
        if data.embeds is not None:
            message.embeds = data.embeds
        if data.components is not None:
            message.components = data.components
        timestamp = self.door.now().isoformat(timespec="microseconds")
        self.door.publish(self._messages.changed(message, timestamp))


class WebhookPages(HasDoor):
    """`/webhooks`, of interactions alone."""

    app = app_of_pages()

    def __init__(self, door: Door, presses: Presses) -> None:
        super().__init__(door)
        self._presses = presses

    @app.route("/<int:application>/<token>", methods=["POST"])
    def follow_up(self, request: Request, application: int, token: str) -> bytes:
        major = f"{application}:{token}"
        self.door.admit_anyone(request, "/webhooks/:id/:token", major)
        press = self._presses.of_token(token, self.door.clock.seconds())
        if press is None or application != self.door.world.bot.id:
            raise RestError(*UNKNOWN_WEBHOOK)
        shown = _checked(self.door.read(request, Data))
        press.told.append(shown)
        made = str(self.door.world.new_id())
        return self.door.reply(request, {"id": made, "type": 20} | shown)


def _checked(data: Data) -> Json:
    if not data.content and not data.embeds:
        raise RestError(*EMPTY_MESSAGE)
    embeds.check(data.embeds or [])
    return {
        "content": data.content or "",
        "embeds": data.embeds or [],
        "flags": data.flags,
    }
