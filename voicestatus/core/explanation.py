"""Why a light is as it is: in counts, without a name or an id of a person. Pure."""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from voicestatus.core.guild import Guild
from voicestatus.core.ids import GuildId
from voicestatus.core.lights import Light, RuleText
from voicestatus.core.matching import Who, excluded, place_of
from voicestatus.core.presence import Presence
from voicestatus.core.sight import Sight


@dataclass(frozen=True, slots=True)
class Pending:
    """A time that runs: `onDelay`, `offDelay`, `minOn`, `unknown` or `quiet`."""

    kind: str
    remaining_s: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What led to a light, from the rule to what is shown."""

    rule: RuleText
    light: Light
    wanted: bool | None
    """What the rule's condition says, before delays and quiet hours; None: unknown."""
    counted: int
    needed: int
    """The rule's `minCount`."""
    excluded: Mapping[str, int]
    """How many people in voice do not count, by the first reason that excludes them:
    `guild`, `channel`, `category`, `afk`, `bot`, `self`, `user`, `role`,
    `notStreaming`."""
    guilds: Mapping[str, int]
    """How many of the rule's guilds are `known`, `stale`, `unknown`, and how many that
    it names are `absent`: the bot is not there."""
    quiet: bool
    pending: tuple[Pending, ...]
    why: str
    """One sentence for a person."""


@dataclass(frozen=True, slots=True)
class Census:
    """Who counts for a rule and who does not, in numbers."""

    counted: int
    excluded: Mapping[str, int]
    guilds: Mapping[str, int]


def take_census(
    who: Who, reach: Iterable[GuildId] | None, sight: Sight, presence: Presence
) -> Census:
    """Count the people in the guilds that a rule looks into (None: all), one by one."""
    looked_at = presence.guilds.keys() if reach is None else set(reach)
    guilds: Tally[str] = Tally()
    reasons: Tally[str | None] = Tally()
    for guild_id in looked_at:
        guild = presence.guilds.get(guild_id)
        guilds[_state(guild, sight)] += 1
        if guild is not None and guild_id in sight.pictured:
            place = place_of(guild, presence.me)
            reasons.update(excluded(who, v, place) for v in guild.voices.values())
    elsewhere = sum(
        len(guild.voices)
        for guild in presence.guilds.values()
        if guild.id not in looked_at and guild.id in sight.pictured
    )
    if elsewhere:
        reasons[_outside(who)] += elsewhere
    counted = reasons.pop(None, 0)
    named = {reason: n for reason, n in reasons.items() if reason is not None}
    return Census(counted, MappingProxyType(named), MappingProxyType(dict(guilds)))


def _state(guild: Guild | None, sight: Sight) -> str:
    if guild is None:
        return "unknown" if sight.silent else "absent"
    return guild.knowledge.value


def _outside(who: Who) -> str:
    if who.guilds:
        return "guild"
    return "channel" if who.channels else "category"


# ---- in words ----------------------------------------------------------------------


def why(
    light: Light,
    wanted: bool | None,
    who: Who,
    sight: Sight,
    census: Census,
    needed: int,
    pending: Iterable[Pending],
) -> str:
    """Say in one sentence what led to the light."""
    remaining = {one.kind: one.remaining_s for one in pending}
    if "quiet" in remaining:
        return f"Off: these are quiet hours, for {_span(remaining['quiet'])} more."
    if wanted is None:
        return f"Not known: {_unknown(who, sight, remaining)}."
    people = _people(census.counted, needed)
    if wanted == light.on:
        return f"{'On' if light.on else 'Off'}: {people}{_but(light, who, census)}."
    delays = {kind: left for kind, left in remaining.items() if kind != "unknown"}
    kind = max(delays, key=delays.__getitem__, default="delay")
    runs = f"{kind}S runs for {_span(delays.get(kind, 0))} more"
    return f"Still {'on' if light.on else 'off'}: {people}, but {runs}."


def not_the_rule(problem: str, sentence: str) -> str:
    """Say that a light is not that of the rule's text, but of none."""
    return f"The rule cannot be read ({problem}), so there is none. {sentence}"


def _unknown(who: Who, sight: Sight, remaining: Mapping[str, float]) -> str:
    if who.untold:
        reason = "the rule asks who speaks or for an event, which nothing tells yet"
    elif sight.silent:
        reason = "Discord has not named its servers yet"
    else:
        reason = "a server was never seen, and too few people count elsewhere"
    if "unknown" in remaining:
        reason += f"; off in {_span(remaining['unknown'])}"
    return reason


def _people(counted: int, needed: int) -> str:
    people = f"{counted or 'nobody'} {'count' if counted > 1 else 'counts'}"
    return people if needed == 1 else f"{people}, {needed} are needed"


def _but(light: Light, who: Who, census: Census) -> str:
    if light.stale:
        return "; part of it is the last picture, for Discord is out of sight"
    if not light.on and census.guilds.get("absent"):
        return "; the bot is not in a server that the rule names"
    if who.places and not census.guilds:
        return "; the bot sees none of the places that the rule names"
    return ""


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
