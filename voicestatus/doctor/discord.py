"""Asks Discord about the bot, each question within its time."""

from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.ssl import Certificate
from twisted.python.failure import Failure

from voicestatus.core.features import Feature
from voicestatus.core.ids import GuildId
from voicestatus.discord.rest.client import RestClient
from voicestatus.discord.rest.errors import (
    DiscordBusy,
    DiscordRefused,
    DiscordUnreachable,
    DiscordUntrusted,
    TokenRefused,
)
from voicestatus.discord.rest.ratelimit import Answer
from voicestatus.discord.rest.wire import OwnUser
from voicestatus.doctor import account, guilds
from voicestatus.doctor.finding import Finding, failed, ok, warning
from voicestatus.doctor.guilds import Bot

WITHIN_S: Final = 10.0
"""Each question."""
LAST_AFTER_S: Final = 30.0
"""After so long no further question is asked: there may be many servers."""
GUILDS_AT_ONCE: Final = 5
GUILDS_MOST: Final = 25
"""Where the settings name none, and the bot is in many."""
NOT_IN: Final = frozenset({10004, 50001})
"""Unknown Guild, Missing Access. Source: Discord docs, "JSON Error Codes"."""
_COME_BACK: Final = "Is Discord in trouble (discordstatus.com)? Try again later"

T = TypeVar("T")


class Unanswered(Exception):  # noqa: N818 - what happened
    """A question has no answer; `finding` is what is to be said of it."""

    def __init__(self, finding: Finding, code: int = 0) -> None:
        super().__init__(finding.found)
        self.finding, self.code = finding, code


class DiscordChecks:
    """One look at the way to Discord, at the account, and at each server."""

    def __init__(
        self,
        api_url: str,
        token: str,
        reactor: Any,
        *,
        version: str,
        jitter: Callable[[], float],
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        within_s: float = WITHIN_S,
        trust_root: Certificate | None = None,
    ) -> None:
        """Open nothing yet. `trust_root` stands in for the system's authorities."""
        self._address, self._within_s = urlsplit(api_url), within_s
        self._reactor, self._wall, self._monotonic = reactor, wall, monotonic
        self._rest = RestClient(
            api_url,
            token,
            reactor,
            version=version,
            jitter=jitter,
            monotonic=monotonic,
            trust_root=trust_root,
            patience_s=within_s,
            heard=self._note,
        )
        self._began = monotonic()
        self._in_vain: str | None = None
        self._clock = account.clock(None, 0.0)
        self._answered = self._untrusted = False

    async def examine(
        self,
        wanted: Sequence[GuildId],
        features: Collection[Feature],
        shards: int | None = None,
    ) -> tuple[Finding, ...]:
        """Look at `wanted` guilds, or at all that the bot is in."""
        of_token, me = await self._token()
        asking = Deferred.fromCoroutine(self._sessions(shards))
        of_features, application = await self._features(features)
        of_sessions = await asking
        findings = (self._tls(), of_token, self._clock, *of_sessions, *of_features)
        if me is None:
            return *findings, warning("server", "not checked: the token comes first")
        bot = Bot(me.id, application or me.id, frozenset(features))
        return *findings, *await self._servers(wanted, bot)

    def close(self) -> Deferred[None]:
        """Close what is open; fires when it is closed."""
        return self._rest.close()

    def _note(self, answer: Answer) -> None:
        self._answered = True
        self._clock = account.clock(answer.headers.get("date"), self._wall())

    def _tls(self) -> Finding:
        if self._address.scheme != "https":
            return account.plain_http(self._address)
        host = self._address.hostname or ""
        if self._untrusted:
            return account.untrusted(host)
        if not self._answered:
            return warning("tls", f"not checked: {host} did not answer")
        return ok("tls", f"the certificate of {host} is trusted")

    async def _token(self) -> tuple[Finding, OwnUser | None]:
        try:
            me = await self._ask("token", self._rest.own_user())
        except Unanswered as un:
            return un.finding, None
        return account.token(me), me

    async def _sessions(self, shards: int | None) -> list[Finding]:
        try:
            bot = await self._ask("sessions", self._rest.gateway_bot())
        except Unanswered as un:
            return [un.finding]
        return [account.sessions(bot), account.shards(bot, shards)]

    async def _features(
        self, wanted: Collection[Feature]
    ) -> tuple[list[Finding], int | None]:
        try:
            application = await self._ask("intents", self._rest.application())
        except Unanswered as un:
            return [un.finding], None
        return account.features(application.flags, wanted), application.id

    async def _servers(self, wanted: Sequence[GuildId], bot: Bot) -> list[Finding]:
        more: list[Finding] = []
        if not wanted:
            try:
                found = await self._ask("server", self._rest.own_guilds())
            except Unanswered as un:
                return [un.finding]
            wanted, beyond = found[:GUILDS_MOST], len(found) - GUILDS_MOST
            if not found:
                return [guilds.in_none(bot)]
            if beyond > 0:
                more = [guilds.not_all(GUILDS_MOST)]
        few = DeferredSemaphore(GUILDS_AT_ONCE)

        async def look(guild: GuildId) -> list[Finding]:
            async with few:
                return await self._server(guild, bot)

        looked = [Deferred.fromCoroutine(look(guild)) for guild in wanted]
        told = await gatherResults(looked, consumeErrors=True)
        return [finding for findings in told for finding in findings] + more

    async def _server(self, id_: GuildId, bot: Bot) -> list[Finding]:
        try:
            guild = await self._ask("server", self._rest.guild(id_))
            channels = await self._ask("channels", self._rest.channels(id_))
            roles = await self._ask("channels", self._rest.member_roles(id_, bot.user))
        except Unanswered as un:
            if un.code in NOT_IN:
                return [guilds.not_in(id_, bot)]
            return [replace(un.finding, found=f"{id_}: {un.finding.found}")]
        return guilds.judge(guilds.View(guild, channels, bot, roles))

    async def _ask(self, check: str, call: Coroutine[Deferred[Any], Any, T]) -> T:
        """:raises Unanswered: with what to say instead."""
        if self._monotonic() - self._began > LAST_AFTER_S:
            self._in_vain = "Discord took too long"
        if self._in_vain is not None:
            call.close()
            raise Unanswered(warning(check, f"not checked: {self._in_vain}"))
        asked = Deferred.fromCoroutine(call)
        try:
            return await asked.addTimeout(self._within_s, self._reactor, _too_late)
        except TokenRefused:
            self._in_vain = "Discord refuses the token"
            refused = replace(account.token_refused(), check=check)
            raise Unanswered(refused) from None
        except DiscordRefused as e:
            raise Unanswered(failed(check, str(e)), e.code) from None
        except DiscordBusy as e:
            raise Unanswered(self._busy(check, e)) from None
        except DiscordUntrusted:
            self._untrusted, self._in_vain = True, "TLS comes first"
            raise Unanswered(warning(check, "not checked: TLS comes first")) from None
        except DiscordUnreachable as e:
            raise Unanswered(self._away(check, str(e))) from None

    def _away(self, check: str, why: str) -> Finding:
        host = self._address.hostname
        self._in_vain = f"{host} cannot be reached"
        remedy = f"From this machine, try: curl -I {self._address.scheme}://{host}"
        return failed(check, f"{host} cannot be reached: {why}", remedy)

    @staticmethod
    def _busy(check: str, busy: DiscordBusy) -> Finding:
        if busy.status == 429 and busy.wait_s > 0:
            again = f"Discord asks to wait; try again in {busy.wait_s:.0f} s"
            return failed(check, "too many calls (429)", again)
        return failed(check, str(busy), _COME_BACK)


def _too_late(_: object, within_s: float) -> Failure:
    return Failure(DiscordUnreachable(f"no answer within {within_s:g} s"))
