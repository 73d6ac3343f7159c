"""Who is in which voice channel: Discord's events in, small changes out. Pure."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import assert_never

from voicestatus.core.guild import Channel, Guild, Knowledge, Picture, Voice
from voicestatus.core.ids import ChannelId, GuildId, UserId

# ---- what Discord says -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sharded:
    """The guilds are spread over so many sessions from now on."""

    count: int


@dataclass(frozen=True, slots=True)
class SessionBegan:
    """READY: a new session that will tell each of `guilds` from the start."""

    shard: int
    me: UserId
    guilds: frozenset[GuildId]


@dataclass(frozen=True, slots=True)
class SessionResumed:
    """RESUMED: all that was missed has been told."""

    shard: int


@dataclass(frozen=True, slots=True)
class SourceLost:
    """The link of a shard is away; what follows is not heard."""

    shard: int


@dataclass(frozen=True, slots=True)
class SyncEnded:
    """A new session has told all that it is going to tell for now."""

    shard: int


@dataclass(frozen=True, slots=True)
class GuildArrived:
    """GUILD_CREATE: the whole truth of one guild; it replaces all that was known.

    Of `memberless` people it was not told who they are: see `VoiceUpdated`.
    """

    shard: int
    guild: GuildId
    name: str
    afk_channel: ChannelId | None
    channels: tuple[Channel, ...]
    voices: tuple[Voice, ...]
    memberless: frozenset[UserId] = frozenset()


@dataclass(frozen=True, slots=True)
class GuildUpdated:
    """GUILD_UPDATE: settings only; channels and people stay."""

    guild: GuildId
    name: str
    afk_channel: ChannelId | None


@dataclass(frozen=True, slots=True)
class GuildUnavailable:
    """An outage: who is there is not known, which is not the same as nobody."""

    guild: GuildId


@dataclass(frozen=True, slots=True)
class GuildRemoved:
    """The bot is no longer in the guild."""

    guild: GuildId


@dataclass(frozen=True, slots=True)
class ChannelUpserted:
    """CHANNEL_CREATE or CHANNEL_UPDATE."""

    guild: GuildId
    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelDeleted:
    """CHANNEL_DELETE: whoever was in it is out of voice."""

    guild: GuildId
    channel: ChannelId


@dataclass(frozen=True, slots=True)
class VoiceUpdated:
    """VOICE_STATE_UPDATE: where one person is now.

    `bot` is None where the payload had no member: then the voice's roles, name and
    avatar are not told either, and the last ones stay. A bot is one for ever.
    """

    guild: GuildId
    user: UserId
    voice: Voice | None
    bot: bool | None


@dataclass(frozen=True, slots=True)
class MemberRemoved:
    """Left, kicked or banned."""

    guild: GuildId
    user: UserId


@dataclass(frozen=True, slots=True)
class Restored:
    """What the process before this one knew; Discord has not confirmed it yet."""

    me: UserId
    count: int
    """Over how many shards the guilds were spread."""
    shards: frozenset[int]
    """Those of which every guild is told here."""
    guilds: tuple[tuple[Picture, tuple[Voice, ...]], ...]


Event = (
    Sharded
    | SessionBegan
    | SessionResumed
    | SourceLost
    | SyncEnded
    | GuildArrived
    | GuildUpdated
    | GuildUnavailable
    | GuildRemoved
    | ChannelUpserted
    | ChannelDeleted
    | VoiceUpdated
    | MemberRemoved
    | Restored
)


# ---- what changed ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VoiceChanged:
    """One person joined (`before` None), left (`after` None), moved or changed."""

    guild: GuildId
    user: UserId
    before: Voice | None
    after: Voice | None


@dataclass(frozen=True, slots=True)
class GuildChanged:
    """A guild's name, channels, AFK channel or knowledge is different.

    So it is when its shard is, or whether its telling is awaited.
    """

    guild: GuildId


@dataclass(frozen=True, slots=True)
class GuildGone:
    """A guild is no longer ours to watch."""

    guild: GuildId


@dataclass(frozen=True, slots=True)
class SourceHeard:
    """Discord has named its guilds: from now on an unlisted one is not there."""


Change = VoiceChanged | GuildChanged | GuildGone | SourceHeard


class Presence:
    """Owns what is known of all guilds; each event costs O(what it says)."""

    def __init__(self, only: Collection[GuildId] = (), shards: int = 1) -> None:
        """Watch the guilds in `only`, or all of the bot's when it is empty."""
        self._only = frozenset(only)
        self._shards = shards
        self._unheard = set(range(shards))
        self._me: UserId | None = None
        # A payload may lack the member that says so.
        self._bots: set[UserId] = set()
        self._guilds: dict[GuildId, Guild] = {}
        self._home: dict[ChannelId, GuildId] = {}

    @property
    def me(self) -> UserId | None:
        """Our own bot, who is nobody."""
        return self._me

    @property
    def heard(self) -> bool:
        """Whether every shard has named its guilds, to us or to the process before."""
        return not self._unheard

    @property
    def guilds(self) -> Mapping[GuildId, Guild]:
        return MappingProxyType(self._guilds)

    def home_of(self, channel: ChannelId) -> Guild | None:
        """Return the guild that a channel belongs to."""
        guild = self._home.get(channel)
        return None if guild is None else self._guilds.get(guild)

    def snapshot(self) -> Iterator[Change]:
        """Tell the present state as the changes that lead to it from nothing."""
        for guild in self._guilds.values():
            yield GuildChanged(guild.id)
            for user, voice in guild.voices.items():
                yield VoiceChanged(guild.id, user, None, voice)
        if self.heard:
            yield SourceHeard()

    def apply(self, event: Event) -> list[Change]:  # noqa: C901, PLR0912 - one table
        """Take one event; return what it changed, nothing if it said nothing new."""
        match event:
            case VoiceUpdated():
                return self._voice(event)
            case Sharded(count):
                return self._spread(count)
            case SessionBegan():
                return self._begin(event)
            case SessionResumed(shard):
                return self._shift(shard, Knowledge.STALE, Knowledge.KNOWN)
            case SourceLost(shard):
                return self._shift(shard, Knowledge.KNOWN, Knowledge.STALE)
            case SyncEnded(shard):
                return self._give_up_waiting(shard)
            case GuildArrived():
                return self._arrive(event)
            case GuildRemoved(guild_id):
                return self._drop(guild_id)
            case GuildUnavailable(guild_id):
                if (guild := self._guilds.get(guild_id)) is None:
                    return []
                return self._owe_nothing(guild)
            case GuildUpdated(guild_id, name, afk_channel):
                if (guild := self._guilds.get(guild_id)) is None:
                    return []
                if (guild.name, guild.afk_channel) == (name, afk_channel):
                    return []
                guild.name, guild.afk_channel = name, afk_channel
                return [GuildChanged(guild_id)]
            case ChannelUpserted(guild_id, channel):
                if (guild := self._guilds.get(guild_id)) is None:
                    return []
                self._home[channel.id] = guild_id
                return [GuildChanged(guild_id)] if guild.set_channel(channel) else []
            case ChannelDeleted(guild_id, channel_id):
                if (guild := self._guilds.get(guild_id)) is None:
                    return []
                return self._delete_channel(guild, channel_id)
            case MemberRemoved(guild_id, user):
                if (guild := self._guilds.get(guild_id)) is None:
                    return []
                return self._place(guild, user, None)
            case Restored():
                return self._restore(event)
            case _:
                assert_never(event)

    def _voice(self, event: VoiceUpdated) -> list[Change]:
        guild = self._guilds.get(event.guild)
        if guild is None:
            return []
        if event.bot:
            self._bots.add(event.user)
        voice = event.voice
        if voice is not None and event.bot is None:
            voice = _as_last_known(guild, voice)
        return self._place(guild, event.user, voice)

    def _place(self, guild: Guild, user: UserId, voice: Voice | None) -> list[Change]:
        if voice is not None and not voice.bot and user in self._bots:
            voice = replace(voice, bot=True)
        if guild.voices.get(user) == voice:
            return []
        before = guild.place(user, voice, counts=user != self._me)
        return [VoiceChanged(guild.id, user, before, voice)]

    def _begin(self, event: SessionBegan) -> list[Change]:
        changes: list[Change] = []
        self._introduce(event.me)
        listed = event.guilds & self._only if self._only else event.guilds
        # The new ones first: when one goes, nobody must think that it was the last.
        for guild_id in sorted(listed - self._guilds.keys()):
            self._guilds[guild_id] = Guild(guild_id, event.shard)
            changes.append(GuildChanged(guild_id))
        for guild in tuple(self._guilds.values()):
            if guild.id in listed:
                before = guild.shard, guild.awaited, guild.knowledge
                guild.shard, guild.awaited = event.shard, True
                if guild.knowledge is Knowledge.KNOWN:
                    guild.knowledge = Knowledge.STALE
                if before != (guild.shard, guild.awaited, guild.knowledge):
                    changes.append(GuildChanged(guild.id))
            elif guild.shard == event.shard:
                changes += self._drop(guild.id)
        return changes + self._hear({event.shard})

    def _spread(self, count: int) -> list[Change]:
        """Give each guild to its new shard, which has told nothing of it yet."""
        if count == self._shards:
            return []
        self._shards = count
        if not self.heard:
            self._unheard = set(range(count))
        for guild in self._guilds.values():
            guild.shard = shard_of(guild.id, count)
            if guild.knowledge is Knowledge.KNOWN:
                guild.knowledge = Knowledge.STALE
        return [GuildChanged(id_) for id_ in self._guilds]

    def _restore(self, event: Restored) -> list[Change]:
        changes = self._spread(event.count)
        self._introduce(event.me)
        for picture, voices in event.guilds:
            id_ = picture.guild
            if id_ in self._guilds or (self._only and id_ not in self._only):
                continue
            guild = self._guilds[id_] = Guild(id_, shard_of(id_, self._shards))
            guild.recall(picture)
            self._home.update(dict.fromkeys(guild.channels, id_))
            self._bots.update(voice.user for voice in voices if voice.bot)
            changes.append(GuildChanged(id_))
            for voice in voices:
                changes += self._place(guild, voice.user, voice)
        return changes + self._hear(event.shards)

    def _introduce(self, me: UserId) -> None:
        """Learn who we are: another application's bot, perhaps, after a restart."""
        before, self._me = self._me, me
        if before not in {None, me}:
            for guild in self._guilds.values():
                guild.recount(me)

    def _hear(self, shards: Collection[int]) -> list[Change]:
        if self.heard:
            return []
        self._unheard.difference_update(shards)
        return [SourceHeard()] if self.heard else []

    def _arrive(self, event: GuildArrived) -> list[Change]:
        if self._only and event.guild not in self._only:
            return []
        guild = self._guilds.get(event.guild)
        if guild is None:
            guild = self._guilds[event.guild] = Guild(event.guild, event.shard)
        self._leave_home(guild)
        guild.set_channels(event.channels)
        self._home.update(dict.fromkeys(guild.channels, guild.id))
        guild.name, guild.afk_channel = event.name, event.afk_channel
        guild.knowledge, guild.pictured = Knowledge.KNOWN, True
        guild.awaited, guild.shard = False, event.shard
        changes: list[Change] = [GuildChanged(guild.id)]
        self._bots.update(v.user for v in event.voices if v.bot)
        present = {v.user: v for v in event.voices}
        for user in guild.voices.keys() - present.keys():
            changes += self._place(guild, user, None)
        for user, voice in present.items():
            told = user not in event.memberless
            kept = voice if told else _as_last_known(guild, voice)
            changes += self._place(guild, user, kept)
        return changes

    def _delete_channel(self, guild: Guild, channel: ChannelId) -> list[Change]:
        changes: list[Change] = []
        self._home.pop(channel, None)
        if guild.drop_channel(channel):
            changes.append(GuildChanged(guild.id))
        for voice in [v for v in guild.voices.values() if v.channel == channel]:
            changes += self._place(guild, voice.user, None)
        return changes

    def _drop(self, guild_id: GuildId) -> list[Change]:
        guild = self._guilds.pop(guild_id, None)
        if guild is None:
            return []
        self._leave_home(guild)
        left = [
            VoiceChanged(guild_id, user, voice, None)
            for user, voice in guild.voices.items()
        ]
        return [*left, GuildGone(guild_id)]

    def _leave_home(self, guild: Guild) -> None:
        for channel in guild.channels:
            self._home.pop(channel, None)

    def _know(self, guild: Guild, knowledge: Knowledge) -> list[Change]:
        if guild.knowledge is knowledge:
            return []
        guild.knowledge = knowledge
        return [GuildChanged(guild.id)]

    def _shift(self, shard: int, old: Knowledge, new: Knowledge) -> list[Change]:
        changes: list[Change] = []
        for guild in self._guilds.values():
            owed = guild.awaited and new is Knowledge.KNOWN
            if guild.shard == shard and guild.knowledge is old and not owed:
                changes += self._know(guild, new)
        return changes

    def _give_up_waiting(self, shard: int) -> list[Change]:
        changes: list[Change] = []
        for guild in self._guilds.values():
            if guild.shard == shard and guild.awaited:
                changes += self._owe_nothing(guild)
        return changes

    def _owe_nothing(self, guild: Guild) -> list[Change]:
        """Take a guild as out of sight, and no longer as about to come."""
        if not guild.awaited:
            return self._know(guild, Knowledge.UNKNOWN)
        guild.awaited, guild.knowledge = False, Knowledge.UNKNOWN
        return [GuildChanged(guild.id)]


def shard_of(guild: GuildId, count: int) -> int:
    """Return which of so many shards tells of a guild.

    Source: Discord docs, Gateway, "Sharding".
    """
    return (guild >> 22) % count


def _as_last_known(guild: Guild, voice: Voice) -> Voice:
    """Return a voice that came without its member, with what the last one told."""
    before = guild.voices.get(voice.user)
    if before is None:
        return voice
    return replace(
        voice, roles=before.roles, name=before.name, avatar_url=before.avatar_url
    )
