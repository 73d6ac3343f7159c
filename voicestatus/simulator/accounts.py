"""Who signs in with Discord, and what they granted: codes and tokens. Pure.

Source: Discord docs, OAuth2; RFC 6749; RFC 7636.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from voicestatus.core.errors import VoiceStatusError

CODE_LASTS_S = 60.0
TOKEN_LASTS_S = 604_800
SCOPES = frozenset({"identify", "email", "guilds", "guilds.members.read"})


class GrantError(VoiceStatusError):
    """A refusal of the token endpoint; `error` is its word."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error, self.description = error, description


@dataclass(frozen=True, slots=True)
class Consent:
    """What one person allowed one application."""

    user: int
    client: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Code:
    consent: Consent
    redirect_uri: str
    challenge: str | None
    until: float


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client gets."""

    access: str
    refresh: str
    consent: Consent
    until: float


class Accounts:
    """Codes are good once, refresh tokens too; a revoked token takes all with it."""

    def __init__(self, new_token: Callable[[], str]) -> None:
        self.signed_in: int | None = None
        """Whose browser comes to the page of consent; None: the first person's."""
        self.consents = True
        self._new_token = new_token
        self._codes: dict[str, _Code] = {}
        self._by_access: dict[str, Tokens] = {}
        self._by_refresh: dict[str, Tokens] = {}

    def allow(
        self, consent: Consent, redirect_uri: str, challenge: str | None, now: float
    ) -> str:
        """That person consents; answer the code."""
        code = self._new_token()
        until = now + CODE_LASTS_S
        self._codes[code] = _Code(consent, redirect_uri, challenge, until)
        return code

    def exchange(
        self,
        client: str,
        code: str,
        redirect_uri: str,
        verifier: str | None,
        now: float,
    ) -> Tokens:
        """:raises GrantError: when any of it is not what it was."""
        held = self._codes.pop(code, None)
        if held is None or held.consent.client != client or now >= held.until:
            raise GrantError("invalid_grant", 'Invalid "code" in request.')
        if held.redirect_uri != redirect_uri:
            raise GrantError("invalid_grant", 'Invalid "redirect_uri" in request.')
        if held.challenge is not None:
            if verifier is None or not 43 <= len(verifier) <= 128:
                raise GrantError("invalid_request", 'Invalid "code_verifier".')
            if not hmac.compare_digest(_s256(verifier), held.challenge):
                raise GrantError("invalid_grant", 'Invalid "code_verifier".')
        return self._hand_out(held.consent, now)

    def refresh(self, client: str, token: str, now: float) -> Tokens:
        """:raises GrantError: when it was used before, or is another client's."""
        held = self._by_refresh.get(token)
        if held is None or held.consent.client != client:
            raise GrantError("invalid_grant", 'Invalid "refresh_token" in request.')
        self._drop(held)
        return self._hand_out(held.consent, now)

    def revoke(self, client: str, token: str) -> None:
        """All tokens of that authorization are void; an unknown one is no error."""
        held = self._by_access.get(token) or self._by_refresh.get(token)
        if held is None or held.consent.client != client:
            return
        for tokens in tuple(self._by_access.values()):
            theirs = tokens.consent
            if (theirs.user, theirs.client) == (held.consent.user, client):
                self._drop(tokens)

    def whose(self, access_token: str, now: float) -> Consent | None:
        """Tell who granted that token, while it lasts."""
        held = self._by_access.get(access_token)
        return held.consent if held is not None and now < held.until else None

    def _hand_out(self, consent: Consent, now: float) -> Tokens:
        until = now + TOKEN_LASTS_S
        tokens = Tokens(self._new_token(), self._new_token(), consent, until)
        self._by_access[tokens.access] = self._by_refresh[tokens.refresh] = tokens
        return tokens

    def _drop(self, tokens: Tokens) -> None:
        del self._by_access[tokens.access]
        del self._by_refresh[tokens.refresh]


def _s256(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
