"""How far the guilds are seen, and what is out of sight. Pure."""

from collections.abc import Collection
from typing import Final

from voicestatus.core.guild import Knowledge
from voicestatus.core.ids import GuildId
from voicestatus.core.presence import Presence
from voicestatus.core.rules import Rule


class Untold:
    """Stands for what no source tells us."""


UNTOLD: Final = Untold()
Source = GuildId | Untold | None
"""What can be out of sight; None is Discord, before it has named its guilds."""


class Sight:
    """How far guilds are seen, for rules that hold or for those that give up."""

    def __init__(self, presence: Presence, given_up: Collection[Source]) -> None:
        self._presence, self._given_up = presence, given_up
        self.blank: set[GuildId] = set()
        """Never seen."""
        self.stale: set[GuildId] = set()
        """Out of sight: the last picture stands."""
        self.pictured: set[GuildId] = set()
        """Whose people count."""

    @property
    def silent(self) -> bool:
        return not self._presence.heard and None not in self._given_up

    @property
    def knows_all(self) -> bool:
        return UNTOLD in self._given_up

    def look(self, id_: GuildId) -> bool:
        """Look at a guild anew; return whether anything is different."""
        guild = self._presence.guilds.get(id_)
        known = guild is not None and guild.knowledge is Knowledge.KNOWN
        gone = guild is None or (not known and id_ in self._given_up)
        pictured = guild is not None and guild.pictured
        now = (
            (self.blank, not gone and not pictured),
            (self.stale, not gone and pictured and not known),
            (self.pictured, not gone and pictured),
        )
        before = [id_ in guilds for guilds, _ in now]
        for guilds, is_in in now:
            (guilds.add if is_in else guilds.discard)(id_)
        return before != [is_in for _, is_in in now]

    def misses(self, id_: GuildId) -> bool:
        """Whether a guild may hold people that were never seen."""
        return id_ in self.blank or (self.silent and id_ not in self._presence.guilds)


def nowhere_of(rule: Rule, presence: Presence) -> list[str]:
    """Name what a rule asks for and the bot cannot see, once Discord was heard."""
    guilds = [f"guild {id_}" for id_ in sorted(rule.guilds - presence.guilds.keys())]
    places = [
        f"{kind} {id_}"
        for kind, ids in (("channel", rule.channels), ("category", rule.categories))
        for id_ in sorted(ids)
        if presence.home_of(id_) is None
    ]
    # A place may still turn up in a guild that was not seen yet.
    if places and not all(guild.pictured for guild in presence.guilds.values()):
        places = []
    return guilds + places
