"""One guild: its channels, who is in them, and how far that is known. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from voicestatus.core.ids import ChannelId, GuildId, RoleId, UserId


class Knowledge(Enum):
    """How far the picture of a guild can be trusted; never mixed up."""

    KNOWN = "known"
    """Discord has told the whole of it and the link lives."""
    STALE = "stale"
    """The link is away or a new session is still filling: the last picture stands."""
    UNKNOWN = "unknown"
    """Never told, or Discord itself has an outage there."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A guild's channel; `kind` is Discord's channel type (2 voice, 13 stage)."""

    id: ChannelId
    name: str
    kind: int
    parent: ChannelId | None = None
    position: int = 0
    hidden: bool = False

    @property
    def is_voice(self) -> bool:
        return self.kind in {2, 13}


@dataclass(frozen=True, slots=True)
class Voice:
    """One person's voice state. `suppress` on a stage means: in the audience.

    `name` and `avatar_url` are as the guild shows them; "" and None: not told.
    """

    user: UserId
    channel: ChannelId
    bot: bool = False
    mute: bool = False
    deaf: bool = False
    self_mute: bool = False
    self_deaf: bool = False
    streaming: bool = False
    video: bool = False
    suppress: bool = False
    hand_raised: bool = False
    roles: frozenset[RoleId] = frozenset()
    name: str = ""
    avatar_url: str | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A guild without its people, as a value that outlives the process."""

    guild: GuildId
    name: str
    afk_channel: ChannelId | None
    channels: tuple[Channel, ...]
    available: bool
    """False while it was never told, or in an outage."""
    pictured: bool
    awaited: bool


@dataclass(frozen=True, slots=True)
class Tally:
    """How many are in a place; our own bot is nobody."""

    people: int = 0
    bots: int = 0


_NOBODY = Tally()


class Guild:
    """Owns one guild's tables and changes them in place; others only read."""

    def __init__(self, id: GuildId, shard: int) -> None:  # noqa: A002 - Discord's word
        self.id = id
        self.shard = shard
        self.name = ""
        self.afk_channel: ChannelId | None = None
        self.knowledge = Knowledge.UNKNOWN
        self.pictured = False
        """Whether Discord has ever told the whole of it."""
        self.awaited = True
        """Whether the running session still owes its GUILD_CREATE."""
        self._channels: dict[ChannelId, Channel] = {}
        self._voices: dict[UserId, Voice] = {}
        self._within: dict[ChannelId, Tally] = {}
        self._total = _NOBODY

    @property
    def picture(self) -> Picture:
        """What of it is to be kept besides its people."""
        return Picture(
            self.id,
            self.name,
            self.afk_channel,
            tuple(self._channels.values()),
            self.knowledge is not Knowledge.UNKNOWN,
            self.pictured,
            self.awaited,
        )

    def recall(self, picture: Picture) -> None:
        """Take what was kept; nobody vouches for it yet."""
        self.name, self.afk_channel = picture.name, picture.afk_channel
        self.set_channels(picture.channels)
        self.knowledge = Knowledge.STALE if picture.available else Knowledge.UNKNOWN
        self.pictured, self.awaited = picture.pictured, picture.awaited

    @property
    def channels(self) -> Mapping[ChannelId, Channel]:
        return MappingProxyType(self._channels)

    @property
    def voices(self) -> Mapping[UserId, Voice]:
        return MappingProxyType(self._voices)

    @property
    def total(self) -> Tally:
        return self._total

    def within(self, channel: ChannelId) -> Tally:
        """Return how many are in one channel."""
        return self._within.get(channel, _NOBODY)

    def set_channels(self, channels: Iterable[Channel]) -> None:
        """Replace all channels."""
        self._channels = {channel.id: channel for channel in channels}

    def set_channel(self, channel: Channel) -> bool:
        """Add or replace one channel; return whether that changed anything."""
        if self._channels.get(channel.id) == channel:
            return False
        self._channels[channel.id] = channel
        return True

    def drop_channel(self, channel: ChannelId) -> bool:
        """Forget one channel; return whether that changed anything."""
        was_afk = channel == self.afk_channel
        if was_afk:
            self.afk_channel = None
        return self._channels.pop(channel, None) is not None or was_afk

    def place(self, user: UserId, voice: Voice | None, *, counts: bool) -> Voice | None:
        """Set where one person is, None for nowhere; return the state before. O(1).

        `counts` is false for our own bot.
        """
        before = self._voices.pop(user, None)
        if before is not None and counts:
            self._count(before, -1)
        if voice is not None:
            self._voices[user] = voice
            if counts:
                self._count(voice, 1)
        return before

    def recount(self, me: UserId) -> None:
        """Count anew, when our own bot is another one."""
        self._within, self._total = {}, _NOBODY
        for user, voice in self._voices.items():
            if user != me:
                self._count(voice, 1)

    def _count(self, voice: Voice, step: int) -> None:
        people, bots = (0, step) if voice.bot else (step, 0)
        here = self.within(voice.channel)
        here = Tally(here.people + people, here.bots + bots)
        if here == _NOBODY:
            del self._within[voice.channel]
        else:
            self._within[voice.channel] = here
        self._total = Tally(self._total.people + people, self._total.bots + bots)
