"""Signing people in with Discord: OAuth2, the authorization code flow.

Source: Discord docs, OAuth2; RFC 6749; RFC 7636 (PKCE).
"""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from voicestatus.discord.rest.calls import Calls
from voicestatus.discord.rest.exchange import Request
from voicestatus.discord.rest.route import Route
from voicestatus.discord.rest.wire import OwnGuild, User, nothing, reading

T = TypeVar("T")

_API: Final = "/api/v10"
_FORM: Final = "application/x-www-form-urlencoded"
_OF_APPLICATION: Final = "application"
_TOKEN: Final = Route.to("POST", "/oauth2/token")
_REVOKE: Final = Route.to("POST", "/oauth2/token/revoke")


class Grant(msgspec.Struct, frozen=True):
    """What a person granted; they may have left out some of what was asked for."""

    access_token: str
    refresh_token: str
    expires_in_s: int = msgspec.field(name="expires_in")
    scope: str

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(self.scope.split())

    def __repr__(self) -> str:
        return f"Grant(scope={self.scope!r})"


def challenge(verifier: str) -> str:
    """Return what is shown of a PKCE verifier of 43 to 128 characters: S256."""
    digest = sha256(verifier.encode("ascii")).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


class OAuth:
    """Exchanges codes and asks what a person granted us to know. Of its methods:

    :raises OAuthRefused: by the token endpoint, such as `invalid_grant`: sign in anew.
    :raises LoginRefused: when an access token is no longer valid.
    :raises DiscordRefused: on another refusal, such as a scope that was not granted.
    :raises DiscordUnreachable: when there is no answer.
    """

    def __init__(
        self,
        calls: Calls,
        api_url: str,
        client_id: str,
        client_secret: str,
        patience_s: float,
    ) -> None:
        """Hold what `RestClient.oauth` gives."""
        self._calls, self._patience_s, self._client_id = calls, patience_s, client_id
        self._site = api_url.rstrip("/").removesuffix(_API)
        # Source: RFC 6749, 2.3.1: both are form-encoded before they are joined.
        pair = f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}"
        self._authorization = f"Basic {b64encode(pair.encode()).decode('ascii')}"

    def authorize_url(
        self,
        redirect_uri: str,
        state: str,
        verifier: str,
        scopes: tuple[str, ...] = ("identify",),
    ) -> str:
        """Make the address to which the browser is sent.

        `state` is bound to that browser and used once: Discord does not look at it.
        """
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "scope": " ".join(scopes),
            "state": state,
            "redirect_uri": redirect_uri,
            "prompt": "none",
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
        }
        return f"{self._site}/oauth2/authorize?{urlencode(query, quote_via=quote)}"

    async def exchange(self, code: str, redirect_uri: str, verifier: str) -> Grant:
        """Redeem the code that a browser brought back; it is good for one time."""
        return await self._token(
            grant_type="authorization_code",
            code=code,
            redirect_uri=redirect_uri,
            code_verifier=verifier,
        )

    async def refresh(self, refresh_token: str) -> Grant:
        """Renew a grant; both of its tokens are new, and the old ones void."""
        return await self._token(
            grant_type="refresh_token", refresh_token=refresh_token
        )

    async def revoke(self, access_token: str) -> None:
        """Give back all tokens of that authorization."""
        form = {"token": access_token, "token_type_hint": "access_token"}
        await self._post(_REVOKE, form, nothing)

    async def user(self, access_token: str) -> User:
        """Ask who signed in; scope `identify`."""
        return await self._ask("/users/@me", access_token, User)

    async def guilds(self, access_token: str) -> tuple[OwnGuild, ...]:
        """Ask in which guilds they are; scope `guilds`."""
        return await self._ask("/users/@me/guilds", access_token, tuple[OwnGuild, ...])

    async def _token(self, **form: str) -> Grant:
        return await self._post(_TOKEN, form, reading(Grant))

    async def _post(
        self, route: Route, form: dict[str, str], read: Callable[[Route, bytes], T]
    ) -> T:
        request = Request(
            route,
            body=urlencode(form).encode("ascii"),
            content_type=_FORM,
            authorization=self._authorization,
            who=_OF_APPLICATION,
        )
        return await self._calls.ask(request, read, self._patience_s)

    async def _ask(self, path: str, access_token: str, shape: type[T]) -> T:
        route = Route.to("GET", path)
        request = Request(
            route,
            authorization=f"Bearer {access_token}",
            who=sha256(access_token.encode()).hexdigest(),
        )
        return await self._calls.ask(request, reading(shape), self._patience_s)
