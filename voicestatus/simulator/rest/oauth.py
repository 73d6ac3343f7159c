"""`/oauth2`: the page of consent, and tokens for codes."""

import base64
import binascii
import hmac
from typing import BinaryIO
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from twisted.web.http import Request
from twisted.web.resource import Resource

from voicestatus.simulator.accounts import (
    SCOPES,
    TOKEN_LASTS_S,
    Accounts,
    Consent,
    GrantError,
    Tokens,
)
from voicestatus.simulator.payloads import Json
from voicestatus.simulator.rest.door import Door, HasDoor, app_of_pages
from voicestatus.simulator.rest.refusals import UNAUTHORIZED, OAuthError, RestError

FORM = "application/x-www-form-urlencoded"


class ConsentPage(Resource):
    """`/oauth2/authorize`: who comes here consents at once, or refuses.

    Source: Discord docs, OAuth2, "Authorization Code Grant".
    """

    isLeaf = True

    def __init__(self, door: Door) -> None:
        super().__init__()
        self._door = door

    def render_GET(self, request: Request) -> bytes:
        asked = dict(parse_qsl(urlsplit(request.uri).query.decode("ascii", "replace")))
        wrong = _wrong(asked)
        if wrong is not None:
            request.setResponseCode(400)
            request.setHeader("content-type", "text/plain")
            return wrong.encode()
        answer = {"state": asked["state"]} if "state" in asked else {}
        request.redirect(self._back(asked, answer).encode("ascii"))
        return b""

    def _back(self, asked: dict[str, str], answer: dict[str, str]) -> str:
        accounts, world = self._door.accounts, self._door.world
        if accounts.consents:
            first = next(user.id for user in world.users.values() if not user.bot)
            scopes = frozenset(asked["scope"].split())
            user = accounts.signed_in or first
            code = accounts.allow(
                Consent(user, asked["client_id"], scopes),
                asked["redirect_uri"],
                asked.get("code_challenge"),
                self._door.clock.seconds(),
            )
            answer = {"code": code} | answer
        else:
            words = "The resource owner or authorization server denied the request"
            denied = {"error": "access_denied", "error_description": words}
            answer = denied | answer
        mark = "&" if urlsplit(asked["redirect_uri"]).query else "?"
        return f"{asked['redirect_uri']}{mark}{urlencode(answer)}"


class OAuthPages(HasDoor):
    """`/api/v10/oauth2`."""

    app = app_of_pages()

    @app.route("/token", methods=["POST"])
    def token(self, request: Request) -> bytes:
        client, form = self._client(request, "/oauth2/token")
        now, kind = self.door.clock.seconds(), form.get("grant_type")
        try:
            if kind == "authorization_code":
                tokens = self._accounts.exchange(
                    client,
                    form.get("code", ""),
                    form.get("redirect_uri", ""),
                    form.get("code_verifier"),
                    now,
                )
            elif kind == "refresh_token":
                given = form.get("refresh_token", "")
                tokens = self._accounts.refresh(client, given, now)
            else:
                raise OAuthError(400, "unsupported_grant_type", "Invalid grant type.")
        except GrantError as e:
            raise OAuthError(400, e.error, e.description) from e
        return self.door.reply(request, _granted(tokens))

    @app.route("/token/revoke", methods=["POST"])
    def revoke(self, request: Request) -> bytes:
        client, form = self._client(request, "/oauth2/token/revoke")
        self._accounts.revoke(client, form.get("token", ""))
        return self.door.reply(request, {})

    @app.route("/@me", methods=["GET"])
    def me(self, request: Request) -> bytes:
        caller = self.door.admit(request, "/oauth2/@me", scope="identify")
        if caller.scopes is None:
            raise RestError(*UNAUTHORIZED)
        user = self.door.world.users[caller.user].payload()
        return self.door.reply(request, {"scopes": sorted(caller.scopes), "user": user})

    @property
    def _accounts(self) -> Accounts:
        return self.door.accounts

    def _client(self, request: Request, route: str) -> tuple[str, dict[str, str]]:
        """Read the form and who sends it, by HTTP Basic or by fields of the form."""
        self.door.admit_anyone(request, route)
        content_type = request.getHeader("content-type") or ""
        content: BinaryIO | None = request.content
        if content_type.partition(";")[0] != FORM or content is None:
            raise OAuthError(400, "invalid_request", "A form is wanted.")
        form = dict(parse_qsl(content.read().decode("utf-8", "replace")))
        client, secret = _basic(request.getHeader("authorization") or "")
        client = client or form.get("client_id", "")
        secret = secret or form.get("client_secret", "")
        wanted = self.door.sessions.rules.client_secret
        known = wanted is None or hmac.compare_digest(secret.encode(), wanted.encode())
        if not client or not secret or not known:
            raise OAuthError(401, "invalid_client", "")
        return client, form


def _wrong(asked: dict[str, str]) -> str | None:
    if asked.get("response_type") != "code":
        return "response_type must be code"
    if not asked.get("client_id") or not asked.get("redirect_uri"):
        return "client_id and redirect_uri are required"
    scopes = set(asked.get("scope", "").split())
    if not scopes or not scopes <= SCOPES:
        return "scope is unknown or missing"
    if asked.get("code_challenge") and asked.get("code_challenge_method") != "S256":
        return "code_challenge_method must be S256"
    return None


def _basic(header: str) -> tuple[str, str]:
    scheme, _, told = header.partition(" ")
    if scheme != "Basic":
        return "", ""
    try:
        pair = base64.b64decode(told, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    client, _, secret = pair.partition(":")
    return unquote(client), unquote(secret)


def _granted(tokens: Tokens) -> Json:
    return {
        "token_type": "Bearer",
        "access_token": tokens.access,
        "expires_in": TOKEN_LASTS_S,
        "refresh_token": tokens.refresh,
        "scope": " ".join(sorted(tokens.consent.scopes)),
    }
