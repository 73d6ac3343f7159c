"""What goes on in a guild: the newest messages, and who is in voice.

The types are what the API answers with: ids are strings.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Protocol

from msgspec import Meta, Struct
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.interfaces import IReactorTime

from voicestatus.community.application import OwnApplication
from voicestatus.community.guilds import GuildPicture, Guilds
from voicestatus.community.kept import Kept
from voicestatus.community.refusals import SAID_NO, said_no
from voicestatus.community.voice_members import VoiceMember, voice_member
from voicestatus.core import channels
from voicestatus.core.guild import Guild
from voicestatus.core.ids import ChannelId, GuildId
from voicestatus.core.permissions import READ_MESSAGE_HISTORY
from voicestatus.discord import cdn
from voicestatus.discord.rest.errors import UnknownChannel
from voicestatus.discord.rest.messages import Message
from voicestatus.discord.rest.wire import Channel, User

SHOWN, SHOWN_MOST = 5, 20
"""Messages a channel."""
ASKED_FOR: Final = 50
"""More than are shown: Discord's own notices are among them, and left out."""
WRITTEN: Final = frozenset({0, 19, 20, 23})
"""Texts, replies and answers to commands.

Source: Discord docs, Message, "Message Types".
"""
KEPT_S: Final = 15.0
CHANNELS_MOST: Final = 25
"""Text channels that one call asks for."""
AT_ONCE: Final = 8
"""Calls to Discord, whoever makes us make them."""
WITHIN_S: Final = 5.0
"""A channel that takes longer is left out; the next who asks finds it."""
NOT_FOUND: Final = "CHANNEL_NOT_FOUND"
NOT_ALLOWED: Final = "MISSING_PERMISSION"
UNAVAILABLE: Final = "DISCORD_UNAVAILABLE"
NOT_ASKED: Final = "NOT_ASKED"
"""Beyond `CHANNELS_MOST`: to be had by name."""
_TEXT: Final = frozenset({channels.TEXT, channels.ANNOUNCEMENT})


class MessageAuthor(Struct, frozen=True, rename="camel"):
    """Who wrote a message."""

    id: str
    display_name: str
    avatar_url: str | None
    bot: bool


class ChannelMessage(Struct, frozen=True, rename="camel"):
    """One message."""

    id: str
    content: Annotated[
        str, Meta(description="empty without Discord's message-content switch")
    ]
    author: MessageAuthor
    created_at: datetime
    edited_at: datetime | None
    attachment_count: int
    url: str


class TextChannel(Struct, frozen=True, rename="camel"):
    """A channel where people write, and its newest messages, the newest first."""

    id: str
    name: str
    type: Literal["text", "announcement"]
    messages: tuple[ChannelMessage, ...]


class VoiceChannel(Struct, frozen=True, rename="camel"):
    """A channel where people talk, and who is in it."""

    id: str
    name: str
    type: Literal["voice", "stage"]
    members: tuple[VoiceMember, ...]


class UnavailableChannel(Struct, frozen=True, rename="camel"):
    """A channel of which nothing is told, and why."""

    channel_id: str
    reason: Annotated[
        str,
        Meta(
            extra_json_schema={
                "enum": [
                    NOT_FOUND,
                    NOT_ALLOWED,
                    NOT_ASKED,
                    "DISCORD_ERROR",
                    UNAVAILABLE,
                ]
            }
        ),
    ]


class GuildActivity(Struct, frozen=True, rename="camel"):
    """What goes on in a guild, as far as one may see."""

    guild_id: str
    fetched_at: Annotated[
        datetime, Meta(description="when the oldest of its parts was had")
    ]
    content_available: Annotated[
        bool | None, Meta(description="null: Discord does not tell at present")
    ]
    text_channels: tuple[TextChannel, ...]
    voice_channels: tuple[VoiceChannel, ...]
    unavailable: tuple[UnavailableChannel, ...]


class Rest(Protocol):
    """What is asked of Discord; see `discord.rest.client`."""

    async def messages(
        self, channel: ChannelId, *, limit: int
    ) -> tuple[Message, ...]: ...


@dataclass(frozen=True, slots=True)
class _Texts:
    """A channel's newest messages as they were then; `reason`: why there are none."""

    at: float
    messages: tuple[ChannelMessage, ...] = ()
    reason: str | None = None


_NEVER_WRITTEN_IN: Final = _Texts(0.0)


@dataclass(slots=True)
class _Choice:
    """Of which channels is told what."""

    text: list[Channel] = field(default_factory=list)
    asked: list[ChannelId] = field(default_factory=list)
    """Those of `text` where somebody may have written."""
    voice: list[VoiceChannel] = field(default_factory=list)
    unavailable: list[UnavailableChannel] = field(default_factory=list)

    def leave_out(self, channel: ChannelId, reason: str) -> None:
        self.unavailable.append(UnavailableChannel(str(channel), reason))


class Activity:
    """Texts are asked for once in `KEPT_S`, whoever wants them; voice is by heart."""

    def __init__(
        self,
        guilds: Guilds,
        rest: Rest,
        application: OwnApplication,
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        """Take a `rest` that is patient for seconds, not minutes: people wait."""
        self._guilds, self._rest, self._application = guilds, rest, application
        self._clock, self._wall = clock, wall
        self._few = DeferredSemaphore(AT_ONCE)
        self._texts: Kept[tuple[GuildId, ChannelId], _Texts] = Kept(
            self._ask, lambda _: KEPT_S, clock
        )

    async def of(
        self,
        guild: GuildId,
        channels: Sequence[ChannelId] | None = None,
        sees: Collection[ChannelId] | None = None,
        limit: int = SHOWN,
    ) -> GuildActivity:
        """Tell of some channels, or of all, what somebody sees who `sees` those.

        None for either is all that the bot sees. What cannot be told of one channel
        keeps nothing back of the others.

        :raises Refusal: `GUILD_NOT_FOUND`, `BOT_NOT_IN_SERVER`, or as `said_no` says.
        """
        picture = await self._guilds.picture(guild)
        choose = _Chooser(self._guilds.tracked(guild), picture, sees)
        choice = choose.all() if channels is None else choose.named(channels)
        read = await self._read(guild, choice.asked)
        shown = []
        for channel in choice.text:
            texts = read.get(channel.id, _NEVER_WRITTEN_IN)
            if texts.reason is None:
                shown.append(_text(channel, texts.messages[:limit]))
            else:
                choice.leave_out(channel.id, texts.reason)
        fetched_at = min((texts.at for texts in read.values()), default=self._wall())
        return GuildActivity(
            str(guild),
            datetime.fromtimestamp(fetched_at, UTC),
            await self._application.reads_content(),
            tuple(shown),
            tuple(choice.voice),
            tuple(choice.unavailable),
        )

    def close(self) -> None:
        """Give up what is being asked; call it from `stopService`."""
        self._texts.close()

    async def _read(
        self, guild: GuildId, ids: Sequence[ChannelId]
    ) -> dict[ChannelId, _Texts]:
        asking = [Deferred.fromCoroutine(self._look(guild, id_)) for id_ in ids]
        texts = await gatherResults(asking, consumeErrors=True)
        return dict(zip(ids, texts, strict=True))

    async def _look(self, guild: GuildId, channel: ChannelId) -> _Texts:
        asked = Deferred.fromCoroutine(self._texts.get((guild, channel)))
        try:
            return await asked.addTimeout(WITHIN_S, self._clock)
        except defer.TimeoutError:
            return _Texts(self._wall(), reason=UNAVAILABLE)

    async def _ask(self, key: tuple[GuildId, ChannelId]) -> _Texts:
        guild, channel = key
        async with self._few:
            try:
                messages = await self._rest.messages(channel, limit=ASKED_FOR)
            except UnknownChannel:
                self._guilds.forget(guild)
                return _Texts(self._wall(), reason=NOT_FOUND)
            except SAID_NO as e:
                # Kept like an answer: Discord bans who asks in vain too often.
                return _Texts(self._wall(), reason=said_no(e).code)
        written = [each for each in messages if each.kind in WRITTEN][:SHOWN_MOST]
        return _Texts(self._wall(), tuple(_message(guild, each) for each in written))


class _Chooser:
    """Says of which channels of a guild somebody is told what."""

    def __init__(
        self, tracked: Guild, picture: GuildPicture, sees: Collection[ChannelId] | None
    ) -> None:
        self._tracked, self._picture, self._sees = tracked, picture, sees
        self._visible = picture.visible_to(picture.own)
        self._readable = picture.visible_to(picture.own, READ_MESSAGE_HISTORY)
        if sees is not None:
            self._visible &= frozenset(sees)
        self._voice = voice_channels(tracked, self._visible)

    def all(self) -> _Choice:
        """Take all; of the texts those that were written in last are asked for."""
        choice = _Choice(voice=list(self._voice))
        for channel in self._picture.channels:
            if channel.id in self._visible and channel.kind in _TEXT:
                self._take_text(channel, choice)
        written_in = [each for each in choice.text if each.last_message is not None]
        written_in.sort(key=lambda each: each.last_message or 0, reverse=True)
        choice.asked = [each.id for each in written_in[:CHANNELS_MOST]]
        others = {each.id: None for each in written_in[CHANNELS_MOST:]}
        choice.text = [each for each in choice.text if each.id not in others]
        for id_ in others:
            choice.leave_out(id_, NOT_ASKED)
        return choice

    def named(self, ids: Sequence[ChannelId]) -> _Choice:
        """Take those, in that order."""
        choice = _Choice()
        voice = {each.id: each for each in self._voice}
        for id_ in ids:
            channel = self._picture.channel(id_)
            if (room := voice.get(str(id_))) is not None:
                choice.voice.append(room)
            elif self._sees is not None and id_ not in self._sees:
                choice.leave_out(id_, NOT_FOUND)  # whether it is there or not
            elif channel is None or id_ not in self._visible:
                there = channel is not None or id_ in self._tracked.channels
                choice.leave_out(id_, NOT_ALLOWED if there else NOT_FOUND)
            elif channel.kind in _TEXT:
                self._take_text(channel, choice)
            else:
                choice.leave_out(id_, NOT_FOUND)
        choice.asked = [each.id for each in choice.text]
        return choice

    def _take_text(self, channel: Channel, choice: _Choice) -> None:
        if channel.id in self._readable:
            choice.text.append(channel)
        else:  # Discord would answer with no message, and no error
            choice.leave_out(channel.id, NOT_ALLOWED)


def voice_channels(
    guild: Guild, sees: Collection[ChannelId] | None
) -> tuple[VoiceChannel, ...]:
    """Tell who is in voice, of the channels that somebody `sees`; None: of all.

    In the order in which people see channels; the people are in that of their names.
    """
    inside: dict[ChannelId, list[VoiceMember]] = {}
    for voice in guild.voices.values():
        inside.setdefault(voice.channel, []).append(voice_member(voice))
    return tuple(
        VoiceChannel(
            str(channel.id),
            channel.name,
            "stage" if channel.kind == channels.STAGE else "voice",
            tuple(sorted(inside.get(channel.id, ()), key=_by_name)),
        )
        for channel in channels.in_order(guild.channels.values())
        if channel.is_voice
        and not channel.hidden
        and (sees is None or channel.id in sees)
    )


def _by_name(member: VoiceMember) -> tuple[str, str]:
    return member.display_name.casefold(), member.user_id


def _text(channel: Channel, messages: tuple[ChannelMessage, ...]) -> TextChannel:
    type_: Literal["text", "announcement"] = (
        "announcement" if channel.kind == channels.ANNOUNCEMENT else "text"
    )
    return TextChannel(str(channel.id), channel.name, type_, messages)


def _message(guild: GuildId, message: Message) -> ChannelMessage:
    return ChannelMessage(
        id=str(message.id),
        content=message.content,
        author=_author(message.author),
        created_at=message.at,
        edited_at=message.edited_at,
        attachment_count=len(message.attachments),
        url=f"https://discord.com/channels/{guild}/{message.channel}/{message.id}",
    )


def _author(user: User) -> MessageAuthor:
    return MessageAuthor(
        str(user.id),
        user.global_name or user.name,
        cdn.user_avatar(user.id, user.avatar),
        user.bot,
    )
