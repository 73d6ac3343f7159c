"""Which features Discord lets the bot have: the switches of the developer portal."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from voicestatus.core.features import (
    PRIVILEGED,
    Feature,
    intents,
    not_allowed,
    not_built,
    switches,
)
from voicestatus.discord.rest.client import RestClient
from voicestatus.discord.rest.errors import (
    DiscordRefused,
    DiscordUnreachable,
    TokenRefused,
)

FRESH_S: Final = 60.0
"""So long one answer of Discord's serves all shards."""
PATIENCE_S: Final = 10.0


class Portal:
    """Knows with which intents a session can be begun, so that no switch stops it.

    Where no feature has a switch, nothing is ever asked.
    """

    _log = Logger()

    def __init__(
        self, features: Collection[Feature], api: RestClient, clock: IReactorTime
    ) -> None:
        self.switched_off: Mapping[Feature, str] = MappingProxyType({})
        """Which features are off, and what the owner can do about it."""
        self._features = frozenset(features)
        self._api, self._clock = api, clock
        self._asking = DeferredLock()
        self._asked_at: float | None = None
        self._flags = -1  # all, as long as Discord does not say otherwise
        self._refused = 0
        """Flags that do not help, whatever Discord says of them."""

    async def look(self) -> None:
        """Find out what is off, as far as Discord answers now."""
        self._judge()
        try:
            await self._ask()
        except (DiscordRefused, DiscordUnreachable) as e:
            self._log.info("the portal's switches are not known: {why}", why=str(e))

    async def intents(self) -> int:
        """Return what a new session may ask for.

        :raises TokenRefused:
        :raises DiscordUnreachable: and then no session can be begun, either.
        """
        try:
            await self._ask()
        except TokenRefused:
            raise
        except DiscordRefused as e:  # a session will tell: it is closed with 4014
            self._log.warn("the portal's switches are not known: {why}", why=str(e))
        return intents(self._features - self.switched_off.keys())

    async def fits(self, of_session: int) -> bool:
        """Whether a session with such intents is as good as a new one."""
        wished = intents(self._features)
        if of_session == wished:
            return True
        try:
            return of_session == await self.intents()
        except (DiscordRefused, DiscordUnreachable):
            return of_session | wished == wished

    def refused(self, asked: int) -> bool:
        """Take it that Discord does not allow what was asked for.

        Return whether it is worth a try without what is privileged.
        """
        if not asked & PRIVILEGED:
            return False
        for feature, switch in switches(self._features).items():
            if intents({feature}):
                self._refused |= switch.flags
        self._judge()
        return True

    async def _ask(self) -> None:
        if not switches(self._features):
            return
        async with self._asking:
            now = self._clock.seconds()
            if self._asked_at is None or now - self._asked_at >= FRESH_S:
                application = await self._api.within(PATIENCE_S).application()
                self._asked_at, self._flags = self._clock.seconds(), application.flags
                self._judge()

    def _judge(self) -> None:
        flags = self._flags & ~self._refused
        off = not_built(self._features) | not_allowed(self._features, flags)
        for feature, why in off.items():
            if feature not in self.switched_off:
                self._log.warn(
                    "{feature} is off: {why}", feature=feature.value, why=why
                )
        self.switched_off = MappingProxyType(off)
