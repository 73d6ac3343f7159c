"""Presses of buttons, and whether they were answered. Pure.

Source: Discord docs, Interactions, "Receiving and Responding".
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from voicestatus.simulator import permissions
from voicestatus.simulator.messages import Message, Messages
from voicestatus.simulator.payloads import Json, encode
from voicestatus.simulator.world import Dispatch, RefusedError, World

ANSWER_WITHIN_S, TOKEN_LASTS_S = 3.0, 900.0
COMPONENT, BUTTON = 3, 2


@dataclass(slots=True)
class Press:
    """Somebody pressed a button."""

    id: int
    token: str
    user: int
    message: Message
    at: float
    answered: bool = False
    told: list[Json] = field(default_factory=list)
    """What the presser alone was shown."""


class Presses:
    """All presses; `new_token` makes what authorizes an answer."""

    def __init__(
        self, world: World, messages: Messages, new_token: Callable[[], str]
    ) -> None:
        self._world, self._messages, self._new_token = world, messages, new_token
        self._presses: dict[int, Press] = {}

    def press(
        self, user: int, channel: int, message: int, custom_id: str, now: float
    ) -> tuple[Press, list[Dispatch]]:
        """That member presses that button.

        :raises RefusedError: when there is no such message, button or member.
        """
        room = self._world.channel(channel)
        home = self._world.guild(room.guild)
        found = self._messages.find(channel, message)
        if user not in home.members:
            raise RefusedError("user", f"{user} is no member of guild {home.id}")
        if custom_id not in _buttons(found):
            raise RefusedError("customId", f"message {message} has no such button")
        press = Press(self._world.new_id(), self._new_token(), user, found, now)
        self._presses[press.id] = press
        may = permissions.inside(home, user, room)
        body: Json = {
            "id": str(press.id),
            "application_id": str(self._world.bot.id),
            "type": COMPONENT,
            "data": {"custom_id": custom_id, "component_type": BUTTON},
            "guild_id": str(home.id),
            "channel_id": str(channel),
            "member": home.members[user].payload() | {"permissions": str(may)},
            "message": self._messages.payload(found, readable=True),
            "token": press.token,
            "version": 1,
        }
        return press, self._world.tell(home, "INTERACTION_CREATE", encode(body))

    def find(self, press: int) -> Press | None:
        """Look one up."""
        return self._presses.get(press)

    def of_token(self, token: str, now: float) -> Press | None:
        """Look up one whose token still counts."""
        for press in self._presses.values():
            if press.token == token and now - press.at < TOKEN_LASTS_S:
                return press
        return None


def _buttons(message: Message) -> set[object]:
    found: set[object] = set()
    for row in message.components:
        buttons = row.get("components")
        if isinstance(buttons, list):
            found |= {button.get("custom_id") for button in buttons}
    return found - {None}
