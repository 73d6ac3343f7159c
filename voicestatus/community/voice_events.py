"""What readers of a guild's voice stream are told, and what is kept of it. Pure.

Readers who may see the same channels are one audience: what they are told is made
once, and numbered for them alone, so that no number betrays what they may not see.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from voicestatus.community.voice_members import VoiceMember, voice_member
from voicestatus.core.channels import STAGE
from voicestatus.core.guild import Channel, Voice
from voicestatus.core.ids import ChannelId, GuildId
from voicestatus.core.people import display_name
from voicestatus.core.presence import VoiceChanged

KEPT: Final = 256
"""How much of what was last told an audience can be told again."""

Sees = frozenset[ChannelId] | None
"""The channels that an audience may see; None: all that the bot sees."""


class VoiceStateEvent(Struct, frozen=True, rename="camel"):
    """Somebody joined, left or moved, as far as the channels may be seen.

    `channelType` is that of the channel they are in now, on a leave of the one left.
    """

    guild_id: str
    channel_id: str | None
    channel_name: str | None
    channel_type: Literal["voice", "stage"]
    user_id: str
    display_name: str
    avatar_url: str | None
    action: Literal["join", "leave", "move"]
    previous_channel_id: str | None
    previous_channel_name: str | None


class VoiceMarks(VoiceMember, frozen=True, rename="camel"):
    """How somebody in voice is now: muted, streaming, or with another name.

    All of it is told, as in the `members` of the channel.
    """

    guild_id: str
    channel_id: str


class VoiceSight(Struct, frozen=True, rename="camel"):
    """How far the picture of the guild can be trusted now."""

    guild_id: str
    state: Literal["known", "stale", "unknown"]


@dataclass(frozen=True, slots=True)
class Move:
    """One person went from a channel to another one; None: from or to none."""

    guild: GuildId
    person: Voice
    """As they are now, or were before they left."""
    left: Channel | None
    entered: Channel | None


def move_of(
    change: VoiceChanged,
    channels: Mapping[ChannelId, Channel],
    before: Mapping[ChannelId, Channel],
) -> Move | None:
    """Return who went where; None: nobody did, they are muted or the like.

    What was left may have been there only `before`: with a channel its people go.
    """
    left = None if change.before is None else change.before.channel
    entered = None if change.after is None else change.after.channel
    person = change.after or change.before
    if person is None or left == entered:
        return None
    return Move(
        change.guild,
        person,
        None if left is None else channels.get(left) or before.get(left),
        None if entered is None else channels.get(entered),
    )


def event_for(move: Move, sees: Sees) -> VoiceStateEvent | None:
    """Tell a move as an audience sees it; None: it sees nothing of it.

    From where it may not see somebody joins, and to there they leave.
    """
    left = move.left if _is_seen(move.left, sees) else None
    entered = move.entered if _is_seen(move.entered, sees) else None
    channel = entered or left
    if channel is None:
        return None
    action: Literal["join", "leave", "move"] = "move"
    if left is None:
        action = "join"
    elif entered is None:
        action = "leave"
    return VoiceStateEvent(
        guild_id=str(move.guild),
        channel_id=None if entered is None else str(entered.id),
        channel_name=None if entered is None else entered.name,
        channel_type="stage" if channel.kind == STAGE else "voice",
        user_id=str(move.person.user),
        display_name=display_name(move.person),
        avatar_url=move.person.avatar_url,
        action=action,
        previous_channel_id=None if left is None else str(left.id),
        previous_channel_name=None if left is None else left.name,
    )


def marks_for(
    change: VoiceChanged,
    told: VoiceStateEvent | None,
    channels: Mapping[ChannelId, Channel],
    sees: Sees,
) -> VoiceMarks | None:
    """Tell how somebody is; None: an audience that was `told` the event knows it.

    Who joins is taken for a person without marks. Who moves keeps theirs, but is in no
    stage's audience.
    """
    after = change.after
    if after is None or not _is_seen(channels.get(after.channel), sees):
        return None
    now = voice_member(after)
    if now == _taken_for(now, change.before, told):
        return None
    return VoiceMarks(
        **asdict(now), guild_id=str(change.guild), channel_id=str(after.channel)
    )


def _taken_for(
    now: VoiceMember, before: Voice | None, told: VoiceStateEvent | None
) -> VoiceMember:
    if before is None or (told is not None and told.action == "join"):
        return VoiceMember(
            now.user_id,
            now.display_name,
            now.avatar_url,
            self_mute=False,
            self_deaf=False,
            streaming=False,
            video=False,
            suppressed=False,
            bot=False,
            speaking=None,
        )
    known = voice_member(before)
    if told is None:
        return known
    return replace(
        known,
        display_name=now.display_name,
        avatar_url=now.avatar_url,
        suppressed=False,
    )


def is_shown(channel: Channel) -> bool:
    """Whether anybody at all may see who is in it."""
    return channel.is_voice and not channel.hidden


def _is_seen(channel: Channel | None, sees: Sees) -> bool:
    if channel is None or not is_shown(channel):
        return False
    return sees is None or channel.id in sees


class Audience:
    """Numbers what one audience is told, and keeps the last of it.

    `epoch` is in no other audience's ids, not even after a restart: what was told by
    another one is never taken for ours.
    """

    def __init__(self, epoch: str, kept: int = KEPT) -> None:
        self._epoch = epoch
        self._told = 0
        self._kept: deque[bytes] = deque(maxlen=kept)

    @property
    def last_id(self) -> str:
        return f"{self._epoch}-{self._told}"

    def tell(self, data: Struct, event: str = "") -> bytes:
        """Return what goes out; an `event` without a name is what others wait for."""
        self._told += 1
        text = message(self.last_id, data, event)
        self._kept.append(text)
        return text

    def since(self, last_event_id: str) -> bytes | None:
        """Return all that was told after that id; None: that is not known here."""
        epoch, _, number = last_event_id.rpartition("-")
        if epoch != self._epoch or not (number.isdecimal() and len(number) < 20):
            return None
        missed = self._told - int(number)
        if not 0 <= missed <= len(self._kept):
            return None
        return b"".join(islice(self._kept, len(self._kept) - missed, None))


_encode = msgspec.json.Encoder().encode


def message(id_: str, data: Struct, event: str = "") -> bytes:
    """Write one message of an event stream; JSON has no line break to mind.

    Source: HTML Living Standard, 9.2.6 "Interpreting an event stream".
    """
    named = f"event: {event}\n" if event else ""
    return b"%bid: %b\ndata: %b\n\n" % (named.encode(), id_.encode(), _encode(data))
