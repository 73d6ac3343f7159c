"""What was written in the channels, and what Discord tells of it. Pure.

Source: Discord docs, Message, and Gateway Events, "Messages".
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from voicestatus.simulator import intents
from voicestatus.simulator.payloads import CATEGORY, Json, encode
from voicestatus.simulator.world import Dispatch, RefusedError, World

KEPT = 500
"""In each channel."""


@dataclass(slots=True)
class Message:
    """One message."""

    id: int
    channel: int
    author: int
    timestamp: str
    content: str = ""
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    flags: int = 0
    nonce: str | int | None = None
    edited: str | None = None


class Messages:
    """All messages of the world, the last `KEPT` of each channel."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._boards: dict[int, deque[Message]] = {}

    def newest(self, channel: int) -> Iterable[Message]:
        """Go from the newest to the oldest."""
        return reversed(self._boards.get(channel, deque()))

    def find(self, channel: int, message: int) -> Message:
        """:raises RefusedError: when there is none of that id."""
        for each in self.newest(channel):
            if each.id == message:
                return each
        raise RefusedError("id", f"there is no message {message} in {channel}")

    def write(
        self, channel: int, user: int, content: str, timestamp: str
    ) -> list[Dispatch]:
        """That member writes there.

        :raises RefusedError: for an unknown channel or one who is no member.
        """
        return self.post(
            Message(self._world.new_id(), channel, user, timestamp, content)
        )

    def post(self, message: Message) -> list[Dispatch]:
        """A message is there from now on; `write` says what is refused."""
        room = self._world.channel(message.channel)
        home = self._world.guild(room.guild)
        if message.author not in home.members:
            raise RefusedError(
                "user", f"{message.author} is no member of guild {home.id}"
            )
        if room.type == CATEGORY:
            raise RefusedError("channel", f"nobody can write in {room.id}, a category")
        room.last_message = message.id
        self._boards.setdefault(room.id, deque(maxlen=KEPT)).append(message)
        return self._told(message, "MESSAGE_CREATE")

    def changed(self, message: Message, timestamp: str) -> list[Dispatch]:
        """Its text or what hangs on it is another from now on."""
        message.edited = timestamp
        return self._told(message, "MESSAGE_UPDATE")

    def delete(self, message: Message) -> list[Dispatch]:
        """It is gone."""
        self._boards[message.channel].remove(message)
        home = self._world.guild(self._world.channel(message.channel).guild)
        body: Json = {
            "id": str(message.id),
            "channel_id": str(message.channel),
            "guild_id": str(home.id),
        }
        return self._world.tell(home, "MESSAGE_DELETE", encode(body))

    def payload(self, message: Message, *, readable: bool) -> Json:
        """As REST shows it; without the switch for content only the bot's own."""
        shown = readable or message.author == self._world.bot.id
        told: Json = {
            "id": str(message.id),
            "channel_id": str(message.channel),
            "author": self._world.users[message.author].payload(),
            "content": message.content if shown else "",
            "timestamp": message.timestamp,
            "edited_timestamp": message.edited,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": [],
            "embeds": message.embeds if shown else [],
            "pinned": False,
            "type": 0,
            "flags": message.flags,
            "components": message.components if shown else [],
        }
        return told if message.nonce is None else told | {"nonce": message.nonce}

    def _told(self, message: Message, name: str) -> list[Dispatch]:
        room = self._world.channel(message.channel)
        home = self._world.guild(room.guild)
        more: Json = {"guild_id": str(home.id), "channel_type": room.type}
        if message.author in home.members:  # who has left has written all the same
            more["member"] = home.members[message.author].bare_payload()
        # What is told is what stood there then, whenever a session asks for it.
        bodies = [
            encode(self.payload(message, readable=readable) | more)
            for readable in (False, True)
        ]

        def body(asked: int) -> bytes:
            return bodies[bool(asked & intents.MESSAGE_CONTENT)]

        return self._world.tell(home, name, body)
