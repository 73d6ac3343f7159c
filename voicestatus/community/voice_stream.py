"""Who is in voice in a guild, live: follows the hub for those who watch.

A guild's stream is made for its first watcher and forgotten some minutes after the
last, so that who was cut off can be told what they missed.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Final, Literal

from msgspec import Struct
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from voicestatus.community.activity import VoiceChannel
from voicestatus.community.voice_events import (
    Audience,
    Sees,
    VoiceSight,
    event_for,
    is_shown,
    marks_for,
    message,
    move_of,
)
from voicestatus.core.errors import Refusal
from voicestatus.core.guild import Guild
from voicestatus.core.ids import ChannelId, GuildId
from voicestatus.core.presence import (
    Change,
    GuildChanged,
    GuildGone,
    SourceHeard,
    VoiceChanged,
)
from voicestatus.hub import Hub

LINGERS_S: Final = 300.0
SWEEP_EVERY_S: Final = 60.0

VoiceChannels = Callable[[Guild, Sees], Collection[VoiceChannel]]
"""Shows the voice channels that may be seen, with who is in them."""

Tell = Callable[[bytes | None], object]
"""Takes what goes out; None: no more will, the guild is gone."""


class VoiceSnapshot(Struct, frozen=True, rename="camel"):
    """Who is in voice now, and how far that can be trusted."""

    guild_id: str
    state: Literal["known", "stale", "unknown"]
    voice_channels: Collection[VoiceChannel]


class View:
    """A guild's voice as one audience may see it."""

    def __init__(
        self,
        guild: Guild,
        sees: Sees,
        voice_channels: VoiceChannels,
        new_epoch: Callable[[], str],
        clock: IReactorTime,
    ) -> None:
        self.sees = sees
        self._guild, self._voice_channels = guild, voice_channels
        self._new_epoch = new_epoch
        self._audience = Audience(new_epoch())
        self._snapshot: bytes | None = None
        self._told: dict[object, Tell] = {}
        self._clock, self._left_at = clock, clock.seconds()

    def hello(self, last_event_id: str) -> bytes:
        """Tell what was missed since that id, or else all of it anew."""
        missed = self._audience.since(last_event_id)
        return self._whole() if missed is None else missed

    def follow(self, tell: Tell) -> Callable[[], object]:
        """Tell each message that comes after a `hello`; return the way out."""
        self._told[key := object()] = tell

        def leave() -> None:
            self._told.pop(key, None)
            self._left_at = self._clock.seconds()

        return leave

    def is_over(self, now: float) -> bool:
        """Whether nobody has watched for so long that nobody will come back."""
        return not self._told and now - self._left_at >= LINGERS_S

    def changed(self) -> None:
        """Take it that something of the guild is different."""
        self._snapshot = None

    def tell(self, data: Struct, event: str = "") -> None:
        self._tell_all(self._audience.tell(data, event))

    def begin_anew(self) -> None:
        """Tell all of it again; what was told before is worth nothing any more."""
        self._audience = Audience(self._new_epoch())
        self._snapshot = None
        self._tell_all(self._whole())

    def end(self) -> None:
        self._tell_all(None)

    def _tell_all(self, text: bytes | None) -> None:
        for tell in tuple(self._told.values()):
            tell(text)

    def _whole(self) -> bytes:
        if self._snapshot is None:
            guild = self._guild
            snapshot = VoiceSnapshot(
                str(guild.id),
                guild.knowledge.value,
                self._voice_channels(guild, self.sees),
            )
            self._snapshot = message(self._audience.last_id, snapshot, "snapshot")
        return self._snapshot


class GuildStream:
    """The views of one guild."""

    def __init__(self, guild: Guild) -> None:
        self.views: dict[Sees, View] = {}
        self._guild = guild
        self._knowledge = guild.knowledge
        self._channels = dict(guild.channels)
        self._shown = _shown(guild)
        self._before = self._channels
        """As they were until they changed last."""

    def hear(self, change: VoiceChanged | GuildChanged) -> None:
        for view in self.views.values():
            view.changed()
        if isinstance(change, GuildChanged):
            self._look_again()
            return
        move = move_of(change, self._channels, self._before)
        for view in self.views.values():
            event = None if move is None else event_for(move, view.sees)
            if event is not None:
                view.tell(event)
            marks = marks_for(change, event, self._channels, view.sees)
            if marks is not None:
                view.tell(marks, "marks")

    def end(self) -> None:
        for view in self.views.values():
            view.end()

    def forget_views(self, now: float) -> None:
        """Forget those that are over."""
        for sees in [s for s, view in self.views.items() if view.is_over(now)]:
            del self.views[sees]

    def _look_again(self) -> None:
        guild = self._guild
        # A channel's deletion is told before its people have left it.
        self._before, self._channels = self._channels, dict(guild.channels)
        if guild.knowledge is not self._knowledge:
            self._knowledge = guild.knowledge
            sight = VoiceSight(str(guild.id), guild.knowledge.value)
            for view in self.views.values():
                view.tell(sight, "state")
        before_shown, self._shown = self._shown, _shown(guild)
        if (before_shown ^ self._shown) & {v.channel for v in guild.voices.values()}:
            # Of these people nobody moved, but they are in sight, or no longer.
            for view in self.views.values():
                view.begin_anew()


def _shown(guild: Guild) -> frozenset[ChannelId]:
    return frozenset(c.id for c in guild.channels.values() if is_shown(c))


class VoiceStreams(Service):
    """The streams of all guilds that are watched."""

    def __init__(
        self,
        hub: Hub,
        clock: IReactorTime,
        voice_channels: VoiceChannels,
        new_epoch: Callable[[], str],
    ) -> None:
        """Take a source of words that none was before, not in another process."""
        self._hub, self._clock = hub, clock
        self._voice_channels, self._new_epoch = voice_channels, new_epoch
        self._streams: dict[GuildId, GuildStream] = {}
        self._leave_hub: Callable[[], object] = lambda: None
        self._sweeps = LoopingCall(self._sweep)
        self._sweeps.clock = clock

    def startService(self) -> None:
        super().startService()
        self._leave_hub = self._hub.subscribe(self._hear)
        self._sweeps.start(SWEEP_EVERY_S, now=False)

    def stopService(self) -> None:
        super().stopService()
        self._sweeps.stop()
        self._leave_hub()
        self._streams.clear()

    def view(self, guild_id: GuildId, sees: Sees) -> View:
        """Return a guild as those see it who may see these channels.

        :raises Refusal: `GUILD_NOT_FOUND`.
        """
        guild = self._hub.presence.guilds.get(guild_id)
        if guild is None:
            raise Refusal("GUILD_NOT_FOUND", "The bot is in no such guild.")
        if (stream := self._streams.get(guild_id)) is None:
            stream = self._streams[guild_id] = GuildStream(guild)
        if (view := stream.views.get(sees)) is None:
            view = stream.views[sees] = View(
                guild, sees, self._voice_channels, self._new_epoch, self._clock
            )
        return view

    def __iter__(self) -> Iterator[GuildId]:
        return iter(self._streams)

    def _hear(self, change: Change) -> None:
        match change:
            case VoiceChanged(guild) | GuildChanged(guild):
                if (stream := self._streams.get(guild)) is not None:
                    stream.hear(change)
            case GuildGone(guild):
                if (stream := self._streams.pop(guild, None)) is not None:
                    stream.end()
            case SourceHeard():
                pass

    def _sweep(self) -> None:
        now = self._clock.seconds()
        for guild, stream in tuple(self._streams.items()):
            stream.forget_views(now)
            if not stream.views:
                del self._streams[guild]
