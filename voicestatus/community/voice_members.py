"""People in voice, as the API tells of them. Pure."""

from typing import Annotated

from msgspec import Meta, Struct

from voicestatus.core.guild import Voice
from voicestatus.core.people import display_name


class VoiceMember(Struct, frozen=True, rename="camel"):
    """One person in voice."""

    user_id: str
    display_name: str
    avatar_url: str | None
    self_mute: bool
    self_deaf: bool
    streaming: bool
    video: bool
    suppressed: Annotated[bool, Meta(description="on a stage: in the audience")]
    bot: bool
    speaking: Annotated[
        bool | None, Meta(description="null: nobody listens there for us")
    ]


def voice_member(voice: Voice) -> VoiceMember:
    """Tell of somebody what a channel's `members` tell."""
    return VoiceMember(
        user_id=str(voice.user),
        display_name=display_name(voice),
        avatar_url=voice.avatar_url,
        self_mute=voice.self_mute,
        self_deaf=voice.self_deaf,
        streaming=voice.streaming,
        video=voice.video,
        suppressed=voice.suppress,
        bot=voice.bot,
        speaking=None,
    )
