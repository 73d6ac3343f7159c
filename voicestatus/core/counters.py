"""How many people count for which rule, kept right at about O(1) a change. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from typing import TypeVar

from voicestatus.core.guild import Voice
from voicestatus.core.ids import ChannelId, GuildId, RoleId, UserId
from voicestatus.core.matching import Place, Who, excluded, place_of
from voicestatus.core.presence import Presence
from voicestatus.core.sight import UNTOLD, Sight, Source, Untold

_K = TypeVar("_K")


class Counter:
    """How many count, for all rules that mean the same people."""

    __slots__ = ("blank", "count", "gives_up", "lost", "reach", "stale", "users", "who")

    def __init__(self, who: Who, gives_up: bool) -> None:
        self.who, self.gives_up = who, gives_up
        self.users = 0
        self.count = 0
        self.blank = True
        """Whether somebody may count who was never seen."""
        self.stale = False
        """Whether a part of it is the last picture."""
        self.reach: frozenset[GuildId] | None = None
        """The guilds that are looked into; None: all."""
        self.lost = False
        """Whether it is not known in which guild one of the places is."""

    def reaches(self, needed: int) -> bool | None:
        """Whether so many count; None: not known.

        Enough that are seen are enough; too few are too few only if all was seen.
        """
        if self.count >= needed and not self.who.untold:
            return True
        return None if self.blank else False


Changed = dict[Counter, int | None]
"""The count before; None where more than the count is different."""


class Counters:
    """Owns the counters; each change of the presence touches those that it can.

    After each method all counters are right for the presence as it is then.
    """

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._given_up: set[Source] = set()
        self._sights = (Sight(presence, ()), Sight(presence, self._given_up))
        self._places: dict[GuildId, Place] = {}
        self._voices: dict[GuildId, dict[UserId, Voice]] = {}
        """Who was counted last, and as what."""
        self._guild_of: dict[RoleId, GuildId] = {}
        """Roles that somebody in voice had."""
        self._counters: dict[tuple[Who, bool], Counter] = {}
        self._anybody: set[Counter] = set()
        """Counters without keys."""
        self._by_key: defaultdict[int, set[Counter]] = defaultdict(set)
        self._by_place: defaultdict[ChannelId, set[Counter]] = defaultdict(set)
        self._by_reach: defaultdict[GuildId | None, set[Counter]] = defaultdict(set)
        """By each guild looked into; None: all of them, or who knows which."""

    @property
    def lost(self) -> list[Counter]:
        """Counters one of whose places is in no guild that is known."""
        return [counter for counter in self._by_reach.get(None, ()) if counter.lost]

    def sight(self, gives_up: bool) -> Sight:
        return self._sights[gives_up]

    def has_given_up(self, source: Source) -> bool:
        return source in self._given_up

    def out_of_sight(self, counter: Counter) -> list[Source]:
        """Return what keeps a counter from being sure of its count."""
        sight = self._sights[counter.gives_up]
        unseen = sight.blank | sight.stale
        sources: list[Source] = []
        if counter.reach is None or counter.lost:
            sources += unseen
        else:
            sources += unseen & counter.reach
        if sight.silent:
            sources.append(None)
        if counter.who.untold and not sight.knows_all:
            sources.append(UNTOLD)
        return sources

    def take(self, who: Who, gives_up: bool) -> Counter:
        """Return the counter for these people; give it back with `drop`."""
        counter = self._counters.get((who, gives_up))
        if counter is None:
            counter = self._counters[who, gives_up] = Counter(who, gives_up)
            for key in who.keys:
                self._by_key[key].add(counter)
            if not who.keys:
                self._anybody.add(counter)
            for place in who.places:
                self._by_place[place].add(counter)
            self._settle(counter)
            counter.count = self._recount(counter)
            self._look(counter)
        counter.users += 1
        return counter

    def drop(self, counter: Counter) -> None:
        counter.users -= 1
        if counter.users:
            return
        del self._counters[counter.who, counter.gives_up]
        self._anybody.discard(counter)
        for key in counter.who.keys:
            _discard(self._by_key, key, counter)
        for place in counter.who.places:
            _discard(self._by_place, place, counter)
        self._leave_reach(counter)

    # ---- changes -------------------------------------------------------------------

    def move(self, guild_id: GuildId, user: UserId) -> Changed:
        """Look at one person anew."""
        place, guild = self._places.get(guild_id), self._presence.guilds.get(guild_id)
        if place is None or guild is None:
            return self.survey(guild_id)
        voices, after = self._voices[guild_id], guild.voices.get(user)
        before = voices.pop(user, None)
        if after is not None:
            voices[user] = after
            if before is None or before.roles is not after.roles:
                self._note_roles(guild_id, after)
        changed: Changed = {}
        if before is not None and after is not None and _counts_alike(before, after):
            return changed
        seen = [guild_id in sight.pictured for sight in self._sights]
        for counter in self._asking(place, before, after):
            if seen[counter.gives_up]:
                step = _counts(counter, after, place) - _counts(counter, before, place)
                if step:
                    changed[counter] = counter.count
                    counter.count += step
        return changed

    def survey(self, guild_id: GuildId) -> Changed:
        """Look at a guild anew: its channels, its people, how far it is known."""
        guild = self._presence.guilds.get(guild_id)
        old, before = self._places.get(guild_id), self._voices.get(guild_id, {})
        changed: Changed = {}
        new = None if guild is None else place_of(guild, self._presence.me)
        seen = [guild_id in sight.pictured for sight in self._sights]
        self._look_at(guild_id, changed)
        sees = [guild_id in sight.pictured for sight in self._sights]
        after = {} if guild is None else dict(guild.voices)
        all_anew = old != new or seen != sees
        for user in before.keys() | after.keys():
            was, now = before.get(user), after.get(user)
            if all_anew or was is not now:
                if was is not None and old is not None:
                    self._weigh(was, old, seen, -1, changed)
                if now is not None and new is not None:
                    self._note_roles(guild_id, now)
                    self._weigh(now, new, sees, 1, changed)
        if new is None:
            self._places.pop(guild_id, None)
            self._voices.pop(guild_id, None)
        else:
            self._places[guild_id], self._voices[guild_id] = new, after
        self._rehouse(guild_id, old, new, changed)
        return changed

    def look_everywhere(self) -> Changed:
        """Judge all anew: Discord was heard, or is no longer waited for."""
        return self._look_again(self._counters.values(), {})

    def give_up(self, source: Source) -> Changed:
        """Take nobody to be where nothing is seen, for rules that want it so."""
        self._given_up.add(source)
        if source is None or isinstance(source, Untold):
            return self.look_everywhere()
        return self.survey(source)

    def see(self, source: Source) -> None:
        """Count with a source again; what it tells is to be looked at next."""
        self._given_up.discard(source)

    # ---- people --------------------------------------------------------------------

    def _asking(
        self, place: Place, before: Voice | None, after: Voice | None
    ) -> set[Counter]:
        """Find counters for which somebody may count."""
        found = set(self._anybody)
        keys: set[int] = {place.guild}
        for voice in (before, after):
            if voice is not None:
                keys.update(voice.roles)
                keys.add(voice.user)
                keys.add(voice.channel)
                parent = place.parents.get(voice.channel)
                if parent is not None:
                    keys.add(parent)
        for key in keys & self._by_key.keys():
            found |= self._by_key[key]
        return found

    def _weigh(
        self,
        voice: Voice,
        place: Place,
        seen: list[bool],
        step: int,
        changed: Changed,
    ) -> None:
        for counter in self._asking(place, voice, None):
            if seen[counter.gives_up] and _counts(counter, voice, place):
                changed.setdefault(counter, counter.count)
                counter.count += step

    def _recount(self, counter: Counter) -> int:
        sight, users = self._sights[counter.gives_up], counter.who.users
        within = sight.pictured if counter.reach is None else counter.reach
        if counter.who.roles:
            within = within & self._guilds_of(counter.who.roles)
        count = 0
        for guild_id in within & sight.pictured:
            place, voices = self._places[guild_id], self._voices[guild_id]
            if users:
                people = [voices[user] for user in users & voices.keys()]
            else:
                people = list(voices.values())
            count += sum(_counts(counter, voice, place) for voice in people)
        return count

    def _note_roles(self, guild_id: GuildId, voice: Voice) -> None:
        for role in voice.roles:
            self._guild_of[role] = guild_id

    def _guilds_of(self, roles: Iterable[RoleId]) -> set[GuildId]:
        """Return where somebody may have one of the roles: each is of one guild."""
        return {self._guild_of.get(role, GuildId(role)) for role in roles}

    # ---- guilds --------------------------------------------------------------------

    def _look_at(self, guild_id: GuildId, changed: Changed) -> None:
        for gives_up, sight in enumerate(self._sights):
            before = bool(sight.blank), bool(sight.stale)
            if sight.look(guild_id):
                self._look_again(self._of(guild_id, gives_up), changed)
            if before != (bool(sight.blank), bool(sight.stale)):
                self._look_again(self._of(None, gives_up), changed)

    def _of(self, guild_id: GuildId | None, gives_up: int) -> list[Counter]:
        counters = self._by_reach.get(guild_id, ())
        return [counter for counter in counters if counter.gives_up == gives_up]

    def _look_again(self, counters: Iterable[Counter], changed: Changed) -> Changed:
        for counter in counters:
            before = counter.blank, counter.stale
            self._look(counter)
            if before != (counter.blank, counter.stale):
                changed[counter] = None
        return changed

    def _look(self, counter: Counter) -> None:
        sight = self._sights[counter.gives_up]
        reach = counter.reach or frozenset()
        everywhere = counter.reach is None
        blank = counter.who.untold and not sight.knows_all
        if everywhere or counter.lost:
            blank = blank or sight.silent or bool(sight.blank)
        counter.blank = blank or any(map(sight.misses, reach))
        counter.stale = (
            bool(sight.stale) if everywhere else not sight.stale.isdisjoint(reach)
        )

    def _rehouse(
        self,
        guild_id: GuildId,
        old: Place | None,
        new: Place | None,
        changed: Changed,
    ) -> None:
        """Find out where places are that came or went with a guild's channels."""
        were = old.parents.keys() if old is not None else set[ChannelId]()
        are = new.parents.keys() if new is not None else set[ChannelId]()
        for place in (were ^ are) & self._by_place.keys():
            for counter in self._by_place[place]:
                self._settle(counter)
                self._look_again([counter], changed)
        if (old is None) != (new is None):  # a named guild is there now, or is gone
            self._look_again(self._by_reach.get(guild_id, ()), changed)

    def _settle(self, counter: Counter) -> None:
        """Note which guilds a counter looks into now."""
        self._leave_reach(counter)
        counter.reach, counter.lost = counter.who.guilds or None, False
        if counter.who.places:
            homes = [self._presence.home_of(place) for place in counter.who.places]
            counter.reach = frozenset(home.id for home in homes if home is not None)
            counter.lost = None in homes
        for guild_id in counter.reach or ():
            self._by_reach[guild_id].add(counter)
        if counter.reach is None or counter.lost:
            self._by_reach[None].add(counter)

    def _leave_reach(self, counter: Counter) -> None:
        for guild_id in counter.reach or ():
            _discard(self._by_reach, guild_id, counter)
        _discard(self._by_reach, None, counter)


def _counts(counter: Counter, voice: Voice | None, place: Place) -> bool:
    return voice is not None and excluded(counter.who, voice, place) is None


def _counts_alike(one: Voice, other: Voice) -> bool:
    """Whether nothing is different that a rule can ask for."""
    return (
        one.channel == other.channel
        and one.streaming == other.streaming
        and one.bot == other.bot
        and one.roles == other.roles
    )


def _discard(index: defaultdict[_K, set[Counter]], key: _K, counter: Counter) -> None:
    index[key].discard(counter)
    if not index[key]:
        del index[key]
