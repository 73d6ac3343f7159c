"""What a request shows of who sends it, before any of it is believed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from voicestatus.core.addresses import Addresses
from voicestatus.web.auth import cookies, origins

AGENT_LENGTH = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request, as far as it matters who may send it."""

    address: str
    secure: bool
    """Whether cookies go over TLS alone."""
    own_origin: bool | None
    """Whether a page of ours sends it; None: no page is named."""
    agent: str
    """What the browser calls itself."""
    bearer: bytes | None = field(repr=False)
    session: str | None = field(repr=False)
    sign_in: str | None = field(repr=False)
    csrf: str = field(repr=False)


class Visits:
    """Reads them, wherever they come in."""

    def __init__(self, addresses: Addresses, public_url: str) -> None:
        """Take who is believed about addresses, and where browsers find us."""
        self._addresses = addresses
        self._public = origins.of_url(public_url)

    def of(self, peer: str | None, headers: Mapping[str, str], *, tls: bool) -> Visit:
        """Read what comes from `peer`; `headers` have lower-case names."""
        tls = tls or self._is_forwarded_tls(peer, headers)
        public = self._public
        secure = tls or (public is not None and public.scheme == "https")
        cookie = headers.get("cookie", "")
        return Visit(
            address=self._addresses.of(peer, headers),
            secure=secure,
            own_origin=self._is_own(headers, tls=tls),
            agent=headers.get("user-agent", "")[:AGENT_LENGTH],
            bearer=_bearer(headers.get("authorization", "")),
            session=cookies.read(cookie, cookies.SESSION, secure=secure),
            sign_in=cookies.read(cookie, cookies.SIGN_IN, secure=secure),
            csrf=headers.get("x-csrf-token", ""),
        )

    def _is_own(self, headers: Mapping[str, str], *, tls: bool) -> bool | None:
        if (text := headers.get("origin")) is None:
            return None
        origin = origins.parse(text)
        # The `Host` is the browser's own word: another site's page cannot change it.
        ours = self._public, origins.of_host(headers.get("host", ""), tls=tls)
        return origin is not None and origin in ours

    def _is_forwarded_tls(self, peer: str | None, headers: Mapping[str, str]) -> bool:
        # Each proxy appends on the right.
        _, _, proto = headers.get("x-forwarded-proto", "").rpartition(",")
        return proto.strip().lower() == "https" and self._addresses.believes(peer)


def _bearer(authorization: str) -> bytes | None:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        return None
    return token.encode("latin-1", "replace").strip()
