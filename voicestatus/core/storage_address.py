"""What `STORAGE_URL` names. Pure."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

PREFIX = "voicestatus:"


@dataclass(frozen=True, slots=True)
class InMemory:
    """`memory:`."""


@dataclass(frozen=True, slots=True)
class InFile:
    """`sqlite:PATH`."""

    path: str


@dataclass(frozen=True, slots=True)
class InRedis:
    """`redis://`, `rediss://` (TLS), and both with `+sentinel`.

    With a `service`, `hosts` are Sentinels that know where its master is.
    """

    hosts: tuple[tuple[str, int], ...]
    service: str | None = None
    tls: bool = False
    cafile: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    prefix: str = PREFIX


Address = InMemory | InFile | InRedis

_SCHEMES = {"redis", "rediss", "redis+sentinel", "rediss+sentinel"}


def parse(url: str) -> Address:
    """Take the address apart.

    :raises ValueError: when it names no store; its text holds nothing of the address.
    """
    scheme, _, rest = url.partition(":")
    if url == "memory:":
        return InMemory()
    if scheme == "sqlite" and rest and not rest.startswith(("//", ":")):
        return InFile(rest)
    if scheme in _SCHEMES and rest.startswith("//"):
        try:
            return _redis(url)
        except ValueError:  # its text may hold a part of a password
            raise ValueError("no address of a store in Redis") from None
    raise ValueError("no address of a store")


def secrets_of(url: str) -> tuple[str, ...]:
    """Return what of a right address no log may show, as written and as meant."""
    where = parse(url)
    if not isinstance(where, InRedis) or not where.password:
        return ()
    written = urlsplit(url).netloc.rpartition("@")[0].partition(":")[2]
    return tuple({where.password, written})


def _redis(url: str) -> InRedis:
    parts = urlsplit(url)
    tls, sentinel = parts.scheme.startswith("rediss"), "sentinel" in parts.scheme
    user, _, places = parts.netloc.rpartition("@")
    username, _, password = user.partition(":")
    asked = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
    path = parts.path.strip("/").split("/")
    service = unquote(path.pop(0)) if sentinel and path else None
    db = path.pop(0) if path else ""
    wrong = (
        path
        or parts.fragment
        or asked.keys() - {"prefix", "cafile"}
        or (sentinel and not service)
        or (not sentinel and "," in places)
        or (username and not password)
        or ("cafile" in asked and not (tls and asked["cafile"]))
        or not re.fullmatch(r"[0-9]{0,4}", db)
    )
    if wrong:
        raise ValueError
    port = 26379 if sentinel else 6379
    return InRedis(
        hosts=tuple(_host(place, port) for place in places.split(",")),
        service=service,
        tls=tls,
        cafile=asked.get("cafile"),
        username=unquote(username) or None,
        password=unquote(password) or None,
        db=int(db or 0),
        prefix=asked.get("prefix", PREFIX),
    )


def _host(place: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    if not parts.hostname or parts.port == 0:
        raise ValueError
    return parts.hostname, parts.port or default_port
