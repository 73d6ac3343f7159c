"""Where people are invited to, and how long a made invite is handed out. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from voicestatus.core.channels import ANNOUNCEMENT, STAGE, TEXT, VOICE, Placed, in_order
from voicestatus.core.ids import ChannelId

MAX_AGE_S: Final = 604_800
"""How long an invite is good; the longest that Discord makes."""
REUSED_ABOVE_S: Final = 3600.0
"""One that has less left is not handed out again."""
LOOKED_UP_EVERY_S: Final = 60.0
"""Not every code that is deleted is told of."""
_FORUM, _MEDIA = 15, 16
_INVITABLE: Final = frozenset({TEXT, ANNOUNCEMENT, VOICE, STAGE, _FORUM, _MEDIA})
"""Source: Discord docs, Channel, "Create Channel Invite": a category is no channel."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """The channels that an organization's settings name, as far as invites care."""

    invite: ChannelId | None = None
    overview: tuple[ChannelId, ...] = ()
    announcement: ChannelId | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """The channels of a guild, and where among them the bot may invite."""

    channels: Iterable[Placed]
    system: ChannelId | None
    is_open: Callable[[ChannelId], bool]


def destination(wishes: Wishes, places: Places) -> ChannelId | None:
    """Return the channel to invite to; None: there is none.

    A channel that is wished for is taken if it still stands, whatever the bot may
    there: who wished for it shall hear of a missing permission.
    """
    there = [each for each in in_order(places.channels) if each.kind in _INVITABLE]
    standing = {each.id for each in there}
    for wish in (wishes.invite, *wishes.overview, wishes.announcement):
        if wish in standing:
            return wish
    texts = (each.id for each in there if each.kind in {TEXT, ANNOUNCEMENT})
    for ours in (places.system, *texts):
        if ours is not None and ours in standing and places.is_open(ours):
            return ours
    return None


def is_fresh(expires_at: float, now: float) -> bool:
    """Whether an invite is good for long enough to be handed out again."""
    return expires_at - now > REUSED_ABOVE_S
