"""Signing in with Discord: the browser goes there and comes back with a code.

Nothing is kept of who begins: the browser keeps it, in a cookie for ten minutes. What
comes back is taken once. Discord's tokens are given back as soon as they were used.

Source: RFC 6749, 4.1 and 10.12; RFC 7636; RFC 9700, 2.1 and 4.7.
"""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

import msgspec
from msgspec import Struct
from twisted.logger import Logger

from voicestatus.core.errors import Refusal
from voicestatus.core.ids import GuildId
from voicestatus.core.permissions import ADMINISTRATOR, MANAGE_GUILD
from voicestatus.discord import cdn
from voicestatus.discord.rest.errors import (
    DiscordRefused,
    DiscordUnreachable,
    OAuthRefused,
)
from voicestatus.discord.rest.oauth import Grant
from voicestatus.discord.rest.wire import OwnGuild, User
from voicestatus.store.documents import Change, Documents
from voicestatus.store.typed import Typed
from voicestatus.web.auth.identity import Level, Standing
from voicestatus.web.auth.sessions import Account

KIND = "sign-in"
WITHIN_S = 600.0
MAX_AT_ONCE = 20
"""Who brings a code makes us ask Discord, and anybody can make one up."""
HOME = "/"
OF_ANOTHER = "invalid_grant"
"""A code that is spent, too old, made up or another's. Source: RFC 6749, 5.2."""
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]{0,500}")
_SCOPES, _WITHOUT_STANDING = ("identify",), ("identify", "guilds")


class OAuth(Protocol):
    """Discord's side of it; see `discord.rest.oauth`."""

    def authorize_url(
        self, redirect_uri: str, state: str, verifier: str, scopes: tuple[str, ...]
    ) -> str: ...

    async def exchange(self, code: str, redirect_uri: str, verifier: str) -> Grant: ...

    async def user(self, access_token: str) -> User: ...

    async def guilds(self, access_token: str) -> tuple[OwnGuild, ...]: ...

    async def revoke(self, access_token: str) -> None: ...


class SignInRefused(Refusal):
    """What the browser came back with is not to be taken."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "SIGN_IN_REFUSED", "Begin again at /auth/discord.", reason=reason
        )


class Pending(Struct, frozen=True):
    """What a browser keeps while it is at Discord's."""

    state: str
    verifier: str
    next: str
    began_at: float

    def __repr__(self) -> str:
        return "Pending()"


class Taken(Struct, frozen=True):
    """A state that was taken; no other sign-in may show it."""

    at: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who came back, what they are here, and where they wanted to go."""

    account: Account
    level: Level
    next: str
    change: Change
    """To be written together with their session: it fails for who comes again."""


@dataclass(frozen=True, slots=True)
class Guilds:
    """What makes somebody more than a guest, as far as Discord says at the sign-in."""

    of_bot: Callable[[], Collection[GuildId]]
    trusted: Collection[GuildId]
    """Those that the settings name. Of others anybody could be the owner: a bot that
    is public is invited by who likes."""

    def level_in(self, theirs: Iterable[OwnGuild]) -> Level:
        of_bot = self.of_bot()
        shared = [guild for guild in theirs if guild.id in of_bot]
        if any(guild.id in self.trusted and _manages(guild) for guild in shared):
            return Level.ADMIN
        return Level.MEMBER if shared else Level.GUEST


class SignIn:
    """One sign-in after the other, each with a secret of its own."""

    _log = Logger()

    def __init__(
        self,
        oauth: OAuth,
        redirect_uri: str,
        guilds: Guilds,
        standing: Standing | None,
        documents: Documents,
        wall: Callable[[], float],
        new_secret: Callable[[], str],
    ) -> None:
        """Take a source of secrets of 43 characters or more (RFC 7636, 4.1)."""
        self._oauth, self._redirect_uri = oauth, redirect_uri
        self._guilds, self._standing = guilds, standing
        self._taken = Typed(documents, KIND, Taken)
        self._wall, self._new_secret = wall, new_secret
        self._asking = 0

    def begin(self, next_: str) -> tuple[str, str]:
        """Return where the browser has to go, and what it has to keep meanwhile.

        :raises Refusal: when it wants to end up elsewhere than here.
        """
        if not is_local(next_):
            raise Refusal(
                "VALIDATION_FAILED", "next should be a path of this server", key="next"
            )
        pending = Pending(self._new_secret(), self._new_secret(), next_, self._wall())
        scopes = _WITHOUT_STANDING if self._standing is None else _SCOPES
        url = self._oauth.authorize_url(
            self._redirect_uri, pending.state, pending.verifier, scopes
        )
        return url, urlsafe_b64encode(msgspec.json.encode(pending)).decode("ascii")

    def recognise(self, kept: str | None, state: str) -> Pending:
        """Return what the browser kept, if it is the one that was sent away.

        :raises SignInRefused:
        """
        pending = _read(kept)
        if pending is None:
            raise SignInRefused("this browser has not begun to sign in")
        if not hmac.compare_digest(pending.state.encode(), state.encode()):
            raise SignInRefused("it was begun elsewhere")
        if self._wall() - pending.began_at >= WITHIN_S:
            raise SignInRefused("it took too long")
        if not is_local(pending.next):
            raise SignInRefused("it leads elsewhere")
        return pending

    async def finish(self, pending: Pending, code: str) -> Arrival:
        """Ask Discord who it is.

        :raises SignInRefused: when the code is not good.
        :raises Refusal: `DISCORD_ERROR`, `DISCORD_UNAVAILABLE`, `RATE_LIMITED`.
        """
        if self._asking >= MAX_AT_ONCE:
            raise Refusal(
                "RATE_LIMITED", "Many sign in just now; try again.", retryAfterS=5
            )
        self._asking += 1
        try:
            account, level = await self._ask(pending, code)
        finally:
            self._asking -= 1
        state = sha256(pending.state.encode()).hexdigest()
        taken = self._taken.putting(state, Taken(self._wall()), expected=None)
        return Arrival(account, level, pending.next, taken)

    async def _ask(self, pending: Pending, code: str) -> tuple[Account, Level]:
        try:
            grant = await self._oauth.exchange(
                code, self._redirect_uri, pending.verifier
            )
        except DiscordRefused as e:
            if isinstance(e, OAuthRefused) and e.reason == OF_ANOTHER:
                raise SignInRefused("Discord does not take the code") from e
            self._log.warn("Discord signs nobody in for us: {why}", why=str(e))
            raise Refusal("DISCORD_ERROR", "Discord does not know us.") from e
        except DiscordUnreachable as e:
            raise _unavailable() from e
        try:
            user = await self._oauth.user(grant.access_token)
            return _account(user), await self._level_of(user, grant)
        except DiscordRefused as e:
            raise Refusal("DISCORD_ERROR", "Discord does not say who it is.") from e
        except DiscordUnreachable as e:
            raise _unavailable() from e
        finally:
            await self._give_back(grant)

    async def prune(self) -> None:
        """Forget states that would be too old by now."""
        for taken in await self._taken.list():
            if self._wall() - taken.value.at > WITHIN_S:
                await self._taken.delete(taken.id)

    async def _level_of(self, user: User, grant: Grant) -> Level:
        if self._standing is not None:
            return await self._standing.level_of(user.id)
        return self._guilds.level_in(await self._oauth.guilds(grant.access_token))

    async def _give_back(self, grant: Grant) -> None:
        try:
            await self._oauth.revoke(grant.access_token)
        except (DiscordRefused, DiscordUnreachable) as e:
            self._log.debug("a token was not given back: {why}", why=str(e))


def is_local(next_: str) -> bool:
    """Whether a browser that is sent there stays here.

    Source: WHATWG URL, 4.4: `//` and `/\\` name another host, and tabs and line ends
    are as if they were not there.
    """
    return _LOCAL.fullmatch(next_) is not None


def _unavailable() -> Refusal:
    return Refusal("DISCORD_UNAVAILABLE", "Discord does not answer; try again.")


def _read(kept: str | None) -> Pending | None:
    if kept is None:
        return None
    try:
        return msgspec.json.decode(urlsafe_b64decode(kept), type=Pending)
    except ValueError:
        return None


def _manages(guild: OwnGuild) -> bool:
    return guild.owner or bool(guild.permissions & (ADMINISTRATOR | MANAGE_GUILD))


def _account(user: User) -> Account:
    avatar_url = cdn.user_avatar(user.id, user.avatar)
    return Account(user.id, user.global_name or user.name, avatar_url)
