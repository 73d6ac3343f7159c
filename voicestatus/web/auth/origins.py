"""From which page a request comes, as the browser says. Pure.

Source: RFC 6454, 6.1 and 7.1.
"""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

_ORIGIN = re.compile(
    r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.IGNORECASE
)
_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """A scheme, a host and a port, in the one way of writing each."""

    scheme: str
    host: str
    port: int


def parse(text: str) -> Origin | None:
    """Read an `Origin` header; None: it is no page's, such as `null`."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme, host, port = found[1].lower(), found[2].lower(), found[3]
    return Origin(scheme, host, int(port) if port else _PORTS[scheme])


def of_url(url: str) -> Origin | None:
    """Return where a URL of ours is; None: no browser would call that an origin."""
    parts = urlsplit(url)
    return parse(f"{parts.scheme}://{parts.netloc}")


def of_host(host: str, *, tls: bool) -> Origin | None:
    """Return what a page is of that was asked for with this `Host`."""
    return parse(f"{'https' if tls else 'http'}://{host}")
