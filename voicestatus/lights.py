"""Turns presence into lights: one group for all signs that ask for the same."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import assert_never

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from voicestatus.core.guild import Guild, Knowledge, Tally
from voicestatus.core.ids import ChannelId, GuildId
from voicestatus.core.lights import NOTHING_TO_SHOW, Light, Scope
from voicestatus.core.presence import (
    Change,
    GuildChanged,
    GuildGone,
    SourceHeard,
    VoiceChanged,
)
from voicestatus.hub import Hub

Tell = Callable[[Light], object]


@dataclass(frozen=True, slots=True)
class Counting:
    """Who counts besides the people in a guild's ordinary voice channels."""

    bots: bool = False
    afk: bool = False


@dataclass(frozen=True, slots=True)
class _Share:
    """What is seen somewhere: how many count, and how many guilds are out of sight.

    `blank` guilds were never seen; `stale` ones show their last picture.
    """

    count: int = 0
    blank: int = 0
    stale: int = 0

    def light(self) -> Light:
        """Somebody seen is enough for on; off needs the whole picture."""
        if self.count:
            return Light(True, True, self.count, self.stale > 0)
        return NOTHING_TO_SHOW if self.blank else Light(True, stale=self.stale > 0)


_NOBODY = _Share()
_BLANK = _Share(blank=1)
WARNINGS = 100
"""Scopes that are warned of: signs say what they like in their address."""


class _Group:
    """All that follow one scope, and what they were told."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.home: GuildId | None = None
        self.light = NOTHING_TO_SHOW
        self.followers: dict[object, Tell] = {}


class LightGroups(Service):
    """The lights that signs follow, kept right at O(1) a change.

    While a guild is out of sight its last picture stands: for ever, or with
    `off_after_s` for so many seconds, after which nobody is taken to be there.
    """

    _log = Logger()

    def __init__(
        self,
        hub: Hub,
        clock: IReactorTime,
        counting: Counting,
        off_after_s: float | None,
    ) -> None:
        self._hub, self._clock, self._counting = hub, clock, counting
        self._off_after_s = off_after_s
        self._shares: dict[GuildId, _Share] = {}
        self._sum = _NOBODY
        self._groups: dict[Scope, _Group] = {}
        self._by_home: defaultdict[GuildId | None, set[_Group]] = defaultdict(set)
        """Groups of one channel, by the guild that it belongs to."""
        # None stands for Discord as a whole, before it has named its guilds.
        self._giving_up: dict[GuildId | None, IDelayedCall] = {}
        self._given_up: set[GuildId | None] = set()
        self._warned_of: set[Scope] = set()
        self._leave: Callable[[], object] = lambda: None

    def startService(self) -> None:
        """Follow the hub from now on."""
        super().startService()
        self._watch(None, seen=self._hub.presence.heard)
        self._leave = self._hub.subscribe(self._changed)

    def stopService(self) -> None:
        """Stop following; the lights stay as they are."""
        super().stopService()
        self._leave()
        for call in self._giving_up.values():
            call.cancel()
        self._giving_up.clear()

    @property
    def everything(self) -> Light:
        """What a sign shows that names no guild and no channel."""
        return self._light(Scope())

    def follow(self, scope: Scope, tell: Tell) -> Callable[[], object]:
        """See `core.ports.Lights`."""
        group = self._groups.get(scope)
        if group is None:
            group = self._groups[scope] = _Group(scope)
            self._settle(group)
            group.light = self._light(scope)
            self._warn_if_nowhere(group)
        group.followers[key := object()] = tell
        tell(group.light)

        def leave() -> None:
            group.followers.pop(key, None)
            if not group.followers and self._groups.get(scope) is group:
                del self._groups[scope]
                self._by_home[group.home].discard(group)

        return leave

    # ---- what changes --------------------------------------------------------------

    def _changed(self, change: Change) -> None:
        match change:
            case VoiceChanged(guild, _, before, after):
                self._weigh(guild)
                places = {voice.channel for voice in (before, after) if voice}
                self._refresh(
                    scope
                    for place in places
                    for scope in (Scope(None, place), Scope(guild, place))
                )
            case GuildChanged(guild):
                known = self._hub.presence.guilds[guild].knowledge is Knowledge.KNOWN
                self._watch(guild, seen=known)
                self._reconsider(guild)
            case GuildGone(guild):
                self._watch(guild, seen=True)
                self._reconsider(guild)
            case SourceHeard():
                self._watch(None, seen=True)
                self._refresh(tuple(self._groups))
                for group in tuple(self._groups.values()):
                    self._warn_if_nowhere(group)
            case _:
                assert_never(change)

    def _weigh(self, guild_id: GuildId) -> None:
        """Count one guild anew, and what follows it or everything."""
        old = self._shares.pop(guild_id, _NOBODY)
        new = _NOBODY
        if (guild := self._hub.presence.guilds.get(guild_id)) is not None:
            new = self._shares[guild_id] = self._share(guild, None)
        if new != old:
            self._sum = _Share(
                self._sum.count + new.count - old.count,
                self._sum.blank + new.blank - old.blank,
                self._sum.stale + new.stale - old.stale,
            )
            self._refresh((Scope(), Scope(guild_id)))

    def _reconsider(self, guild_id: GuildId) -> None:
        """Count a guild anew whose channels or knowledge are different."""
        self._weigh(guild_id)
        groups = self._by_home[guild_id] | self._by_home[None]
        for group in groups:
            self._settle(group)
        self._refresh([Scope(guild_id), *(group.scope for group in groups)])
        for group in groups:
            self._warn_if_nowhere(group)

    def _refresh(self, scopes: Iterable[Scope]) -> None:
        for scope in scopes:
            group = self._groups.get(scope)
            if group is None or group.light == (light := self._light(scope)):
                continue
            group.light = light
            for key, tell in tuple(group.followers.items()):
                if key not in group.followers:  # it left while others were told
                    continue
                try:
                    tell(light)
                except Exception:  # noqa: BLE001 - one follower cannot silence the rest
                    self._log.failure("a follower failed and was dropped")
                    group.followers.pop(key, None)

    # ---- out of sight --------------------------------------------------------------

    def _watch(self, source: GuildId | None, *, seen: bool) -> None:
        """Start or stop the time after which a source out of sight counts as empty."""
        if seen:
            self._given_up.discard(source)
            if (call := self._giving_up.pop(source, None)) is not None:
                call.cancel()
        elif self._off_after_s is not None and not (
            source in self._giving_up or source in self._given_up
        ):
            self._giving_up[source] = self._clock.callLater(
                self._off_after_s, self._give_up, source
            )

    def _give_up(self, source: GuildId | None) -> None:
        del self._giving_up[source]
        self._given_up.add(source)
        if source is None:
            self._refresh(tuple(self._groups))
        else:
            self._reconsider(source)

    # ---- what a scope shows --------------------------------------------------------

    def _light(self, scope: Scope) -> Light:
        presence = self._hub.presence
        silent = not presence.heard and None not in self._given_up
        if scope.channel is not None:
            guild = self._home(scope, scope.channel)
            if guild is not None:
                return self._share(guild, scope.channel).light()
            # The channel may be in a guild that is still to come.
            missing = silent or (scope.guild is None and self._sum.blank > 0)
            return (_BLANK if missing else _NOBODY).light()
        if scope.guild is not None:
            return self._shares.get(scope.guild, _BLANK if silent else _NOBODY).light()
        if silent and not self._sum.count:
            return NOTHING_TO_SHOW
        return self._sum.light()

    def _share(self, guild: Guild, channel: ChannelId | None) -> _Share:
        """Count who is in a guild, or in one channel of it."""
        known = guild.knowledge is Knowledge.KNOWN
        if not known and guild.id in self._given_up:
            return _NOBODY
        if not guild.pictured:
            return _BLANK
        if channel is not None:
            count = self._counted(guild.within(channel))
        else:
            count = self._counted(guild.total)
            if guild.afk_channel is not None and not self._counting.afk:
                count -= self._counted(guild.within(guild.afk_channel))
        return _Share(count, 0, 0 if known else 1)

    def _counted(self, tally: Tally) -> int:
        return tally.people + tally.bots * self._counting.bots

    def _home(self, scope: Scope, channel: ChannelId) -> Guild | None:
        """Return the guild that a channel's scope looks into."""
        if scope.guild is None:
            return self._hub.presence.home_of(channel)
        return self._hub.presence.guilds.get(scope.guild)

    def _settle(self, group: _Group) -> None:
        """Note which guild a channel's group belongs to now."""
        if group.scope.channel is None:
            return
        home = self._home(group.scope, group.scope.channel)
        self._by_home[group.home].discard(group)
        group.home = None if home is None else home.id
        self._by_home[group.home].add(group)

    def _warn_if_nowhere(self, group: _Group) -> None:
        scope, presence = group.scope, self._hub.presence
        if scope in self._warned_of or len(self._warned_of) >= WARNINGS:
            return
        if scope.channel is not None:
            # In a guild that was not seen yet it may still turn up.
            seen = all(guild.pictured for guild in presence.guilds.values())
            nowhere = seen and group.home is None
        else:
            nowhere = scope.guild is not None and scope.guild not in presence.guilds
        if nowhere and presence.heard:
            self._warned_of.add(scope)
            self._log.warn(
                "signs follow {scope}, which the bot cannot see: they stay dark",
                scope=f"channel {scope.channel}"
                if scope.channel is not None
                else f"guild {scope.guild}",
            )
