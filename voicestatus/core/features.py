"""What the server can do with Discord, and what each part of it needs. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Final

from voicestatus.core import bot_permissions
from voicestatus.core.permissions import CONNECT, READ_MESSAGE_HISTORY, VIEW_CHANNEL

GUILDS: Final = 1 << 0
GUILD_MEMBERS: Final = 1 << 1
GUILD_INVITES: Final = 1 << 6
GUILD_VOICE_STATES: Final = 1 << 7
"""Intents. Source: Discord docs, Gateway, "List of Intents"."""

PORTAL: Final = "https://discord.com/developers/applications > your application"


class Feature(Enum):
    """A part that can be left out; each value is its name in `FEATURES`."""

    PRESENCE = "presence"
    COMMUNITY = "community"
    MESSAGE_CONTENT = "message-content"
    MEMBERS = "members"
    SPEAKING = "speaking"


@dataclass(frozen=True, slots=True)
class Switch:
    """One of the portal's "Privileged Gateway Intents"."""

    name: str
    flags: int
    """Of an application: it is on where any of them is set."""


MEMBERS: Final = Switch("Server Members Intent", 1 << 14 | 1 << 15)
MESSAGE_CONTENT: Final = Switch("Message Content Intent", 1 << 18 | 1 << 19)
"""Source: Discord docs, Application, "Application Flags"; of the two flags the second
is a small bot's."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a feature gives, and what it needs for that."""

    gives: str
    intents: int = 0
    switch: Switch | None = None
    permissions: int = 0
    missing: str = ""
    """Why this version does not have it."""


NEEDS: Final[Mapping[Feature, Needs]] = MappingProxyType(
    {
        Feature.PRESENCE: Needs(
            "who is in voice",
            intents=GUILDS | GUILD_VOICE_STATES,
            permissions=VIEW_CHANNEL,
        ),
        Feature.COMMUNITY: Needs(
            "invites, ranks and their roles, the channels' activity",
            # Told of by an INVITE_DELETE, an invite need not be looked up.
            intents=GUILD_INVITES,
            permissions=bot_permissions.REQUESTED,
        ),
        Feature.MESSAGE_CONTENT: Needs(
            # The switch is for the HTTP API, too; the Gateway tells us no messages.
            "the text of recent messages",
            switch=MESSAGE_CONTENT,
            permissions=VIEW_CHANNEL | READ_MESSAGE_HISTORY,
        ),
        Feature.MEMBERS: Needs(
            "who joins and leaves a server, the moment they do",
            intents=GUILD_MEMBERS,
            switch=MEMBERS,
        ),
        Feature.SPEAKING: Needs(
            "who is talking",
            permissions=VIEW_CHANNEL | CONNECT,
            missing="it comes with the voice listener, which this version has not",
        ),
    }
)
PRIVILEGED: Final = reduce(or_, (n.intents for n in NEEDS.values() if n.switch))
"""Intents that Discord refuses, with all others, where their switch is off."""


def intents(features: Collection[Feature]) -> int:
    """Return what a session asks for, to have all of them."""
    return reduce(or_, (NEEDS[feature].intents for feature in features), 0)


def permissions(features: Collection[Feature]) -> int:
    """Return what the bot has to be allowed in a guild, to have all of them."""
    return reduce(or_, (NEEDS[feature].permissions for feature in features), 0)


def switches(features: Collection[Feature]) -> dict[Feature, Switch]:
    """Return which of the portal's switches they need."""
    needed = {each: NEEDS[each].switch for each in Feature if each in features}
    return {each: switch for each, switch in needed.items() if switch is not None}


def not_built(features: Collection[Feature]) -> dict[Feature, str]:
    """Return which of them this version does not have, and why."""
    return {
        each: NEEDS[each].missing
        for each in Feature
        if each in features and NEEDS[each].missing
    }


def not_allowed(features: Collection[Feature], flags: int) -> dict[Feature, str]:
    """Return which of them an application with such flags may not have, and why."""
    return {
        feature: f"Discord does not allow it; {remedy(switch)}"
        for feature, switch in switches(features).items()
        if not flags & switch.flags
    }


def remedy(switch: Switch) -> str:
    """Say where the owner switches it on."""
    return (
        f"switch on {switch.name} at {PORTAL} > Bot > Privileged Gateway Intents,"
        " and restart"
    )
