"""What nodes tell each other, as MessagePack. Pure."""

from typing import Final, TypeAlias

import msgspec

from voicestatus.core import presence
from voicestatus.core.errors import ProtocolError
from voicestatus.core.presence import Event
from voicestatus.core.session import SessionState

# The place in this table is the number on the wire: add at the end only.
_EVENTS: Final[tuple[type[Event], ...]] = (
    presence.SessionBegan,
    presence.SessionResumed,
    presence.SourceLost,
    presence.SyncEnded,
    presence.GuildArrived,
    presence.GuildUpdated,
    presence.GuildUnavailable,
    presence.GuildRemoved,
    presence.ChannelUpserted,
    presence.ChannelDeleted,
    presence.VoiceUpdated,
    presence.MemberRemoved,
    presence.Sharded,
)
_NUMBERS: Final = {type_: number for number, type_ in enumerate(_EVENTS)}
_DECODERS: Final = [msgspec.msgpack.Decoder(type_) for type_ in _EVENTS]

Packed: TypeAlias = tuple[int, msgspec.Raw]
"""An event's number in the table, and its fields."""


class Part(msgspec.Struct, frozen=True, tag="p", array_like=True):
    """A part of what a shard's holder has to say, in the order of `number`.

    `picture`: None is news; otherwise it is the whole truth of the shard, for those
    who do not have it: its "first", "next" and "last" part.
    """

    shard: int
    fence: int
    number: int
    events: tuple[Packed, ...] = ()
    picture: str | None = None
    linked: bool = False
    session: SessionState | None = None
    count: int = 1
    """Of how many shards it is one."""


class TermBegan(msgspec.Struct, frozen=True, tag="b", array_like=True):
    """Another node holds the shard from here on; nothing older comes after it."""

    shard: int
    fence: int
    node: str
    count: int = 1


class Released(msgspec.Struct, frozen=True, tag="r", array_like=True):
    """The shard is free."""

    shard: int


class Wanted(msgspec.Struct, frozen=True, tag="w", array_like=True):
    """Somebody needs the whole truth of a shard."""

    shard: int
    node: str


class Spread(msgspec.Struct, frozen=True, tag="c", array_like=True):
    """From here on there are so many shards."""

    count: int


class Told(msgspec.Struct, frozen=True, tag="t", array_like=True):
    """What a room of one node tells the same room of all nodes."""

    node: str
    topic: str
    body: bytes


News: TypeAlias = Part | TermBegan | Released | Wanted | Spread | Told


class Ask(msgspec.Struct, frozen=True, tag="a", array_like=True):
    """A question to one node."""

    number: int
    node: str
    topic: str
    body: bytes


class Answer(msgspec.Struct, frozen=True, tag="s", array_like=True):
    """What comes back: a body, or the code and text of a refusal."""

    number: int
    body: bytes = b""
    refusal: str | None = None
    message: str = ""


class Nothing(msgspec.Struct, frozen=True, tag="n", array_like=True):
    """Wakes who listens."""


Letter: TypeAlias = Ask | Answer | Nothing

_encoder: Final = msgspec.msgpack.Encoder()
_news: Final = msgspec.msgpack.Decoder(News)
_letter: Final = msgspec.msgpack.Decoder(Letter)


def encode(message: News | Letter) -> bytes:
    """Return its bytes."""
    return _encoder.encode(message)


def decode_news(body: bytes) -> News:
    """:raises ProtocolError: when it is none, or of a newer version."""
    try:
        news: News = _news.decode(body)
    except msgspec.DecodeError as e:
        raise ProtocolError(f"no news between nodes: {e}") from None
    return news


def decode_letter(body: bytes) -> Letter:
    """:raises ProtocolError: when it is none, or of a newer version."""
    try:
        letter: Letter = _letter.decode(body)
    except msgspec.DecodeError as e:
        raise ProtocolError(f"no letter between nodes: {e}") from None
    return letter


def pack(event: Event) -> Packed:
    """Return an event for a `Part`."""
    return _NUMBERS[type(event)], msgspec.Raw(_encoder.encode(event))


def unpack(packed: Packed) -> Event:
    """:raises ProtocolError: when it is no event, or one of a newer version."""
    number, fields = packed
    try:
        return _DECODERS[number].decode(fields)
    except (IndexError, msgspec.DecodeError) as e:
        raise ProtocolError(f"no event between nodes: {e}") from None
