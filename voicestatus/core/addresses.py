"""Whose address a connection is, and behind which proxy. Pure."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Network = IPv4Network | IPv6Network


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read `TRUSTED_PROXIES`: CIDRs or single addresses, with commas.

    :raises ValueError: when one of them is neither.
    """
    parts = (part.strip() for part in text.split(","))
    return tuple(ip_network(part, strict=False) for part in parts if part)


class Addresses:
    """Tells the address of who stands at the far end.

    What a proxy says is believed only when the peer itself is a listed one. A peer
    without an IP address (a Unix socket) is on this machine: it is believed as soon
    as any proxy is listed.
    """

    def __init__(self, trusted: Iterable[Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def believes(self, peer: str | None) -> bool:
        """Whether this peer's words about its own peers are believed."""
        if peer is None:
            return bool(self._trusted)
        return bool(self._trusted) and self._is_trusted(_address(peer))

    def of(self, peer: str | None, headers: Mapping[str, str]) -> str:
        """Return the address of the client, or the peer's own when in doubt.

        `headers` has lower-case names; repeated ones are joined by commas.
        `X-Forwarded-For` is read from the right, for a client may send one of its
        own and each proxy appends on the right.
        """
        near = _address(peer or "")
        own = str(near) if near else (peer or "")
        if not self.believes(peer):
            return own
        if (told := headers.get("cf-connecting-ip")) is not None:
            return str(_address(told) or own)
        far = near
        for hop in reversed(headers.get("x-forwarded-for", "").split(",")):
            if (found := _address(hop)) is None:
                # Beyond what cannot be read, nothing is known.
                return own
            far = found
            if not self._is_trusted(far):
                break
        return str(far)

    def _is_trusted(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in net for net in self._trusted)


NO_PROXIES = Addresses()


@lru_cache(4096)
def end_site(text: str) -> str:
    """Return what one subscriber has: an IPv4 address, or an IPv6 /64.

    What is no address is returned as it stands.
    """
    address = _address(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return text if address is None else str(address)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address, with or without brackets, port and zone."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
