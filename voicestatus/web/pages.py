"""The dashboard: its files, read once, and the paths where it stands."""

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import chain

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from voicestatus.web.health import NotFound
from voicestatus.web.site import Page

VIEWS = (
    "/",
    "/signs",
    "/firmware",
    "/flash",
    "/system",
    "/settings",
    "/privacy",
    "/account",
    "/sign-in",
)
"""What the page's own router (routes.js) knows, too.

Not `/health`: that is the health check.
"""
ASSETS = "/dashboard"
FLASHERS_STYLES = (
    b"'sha256-b2Omuoh2JkOIanVTAfAZHwUz9plh5wcKDvK2buVGrFQ=' 'unsafe-hashes' "
    b"'sha256-w68cv7ZL7DW/1c2v0g4i6aPlMi0iRw663JuMxEmNmU4=' "
    b"'sha256-2PZQPqAcY6IE7H879XiZ2Hm3cBUNVB41T1m3kjNvN6E='"
)
"""The style of esp-web-tools' console, and two attributes of the dialog that it shows
when no port was chosen. Of inline styles these three are allowed, by their text.
"""
HEADERS = {
    b"content-security-policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self' "
        + FLASHERS_STYLES
        + b"; "
        b"img-src 'self' data: https://cdn.discordapp.com; connect-src 'self'; "
        b"manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        b"base-uri 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}
FOR_EVER = b"public, max-age=31536000, immutable"
ASK_AGAIN = b"no-cache"
TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "webmanifest": "application/manifest+json",
}
_TAG_LETTERS = 16


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is sent: as it is, and compressed."""

    type: bytes
    plain: bytes
    zipped: bytes
    tag: str

    @classmethod
    def of(cls, name: str, content: bytes) -> "File":
        """Take a file's name and what is in it."""
        kind = TYPES.get(name.rpartition(".")[2], "application/octet-stream")
        tag = sha256(content).hexdigest()[:_TAG_LETTERS]
        return cls(kind.encode(), content, gzip.compress(content, mtime=0), tag)


class Leaf(Page):
    """One file, unless the browser has it."""

    def __init__(
        self, file: File, cache_control: bytes, status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        super().__init__()
        self._file, self._cache_control, self._status = file, cache_control, status

    def render(self, request: Request) -> bytes | int:
        if request.method not in {b"GET", b"HEAD"}:
            # Twisted would send a page of HTML, without our headers.
            request.setResponseCode(HTTPStatus.METHOD_NOT_ALLOWED)
            request.setHeader(b"allow", b"GET, HEAD")
            return b""
        head = request.method == b"HEAD"
        body = self.render_HEAD(request) if head else self.render_GET(request)
        if request.code != HTTPStatus.NOT_MODIFIED:
            return body
        # Twisted would say that the file has no bytes. Source: RFC 9110, 8.6.
        request.responseHeaders.removeHeader(b"content-length")
        request.finish()
        return NOT_DONE_YET

    def render_GET(self, request: Request) -> bytes:
        zipped = takes_gzip(request.getHeader(b"accept-encoding") or b"")
        tag = f'"{self._file.tag}{"-gz" if zipped else ""}"'.encode()
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        request.setHeader(b"content-type", self._file.type)
        request.setHeader(b"cache-control", self._cache_control)
        request.setHeader(b"vary", b"Accept-Encoding")
        request.setHeader(b"etag", tag)
        known = has(request.getHeader(b"if-none-match") or b"", tag)
        if known and self._status is HTTPStatus.OK:
            request.setResponseCode(HTTPStatus.NOT_MODIFIED)
            return b""
        request.setResponseCode(self._status)
        if zipped:
            request.setHeader(b"content-encoding", b"gzip")
        return self._file.zipped if zipped else self._file.plain


def takes_gzip(accept_encoding: bytes) -> bool:
    """Tell whether a browser takes gzip. Source: RFC 9110, 12.5.3."""
    for each in accept_encoding.lower().split(b","):
        coding, _, quality = each.replace(b" ", b"").partition(b";q=")
        if coding == b"gzip":
            return quality.strip(b"0.") != b"" or not quality
    return False


def has(if_none_match: bytes, tag: bytes) -> bool:
    """Tell whether a browser has it; a proxy may have called the tag weak.

    Source: RFC 9110, 13.1.2.
    """
    known = {each.strip().removeprefix(b"W/") for each in if_none_match.split(b",")}
    return tag in known or b"*" in known


class Assets(Resource):
    """The files below `/dashboard/<version>/`; the version is a digest of all.

    A page that was loaded before an update asks for another version: it is given what
    there is now, and told not to keep it.
    """

    def __init__(self, version: str, kept: Mapping[str, File]) -> None:
        super().__init__()
        self._version = version.encode()
        self._leaves = {
            name.encode(): (Leaf(file, FOR_EVER), Leaf(file, ASK_AGAIN))
            for name, file in kept.items()
        }

    def getChild(self, path: bytes, request: Request) -> Resource:
        found = self._leaves.get(b"/".join(request.postpath or ()))
        request.postpath = []
        if found is None:
            return NotFound()
        return found[path != self._version]

    def render(self, request: Request) -> bytes:
        return NotFound().render(request)


class Dashboard:
    """The page: `pages` stand at their paths, `assets` at `/dashboard`.

    Closed, for want of an admin token, it says what to do about that.
    """

    def __init__(self, *, closed: bool) -> None:
        version, kept = _kept()
        name = "closed.html" if closed else "index.html"
        page = kept[name].plain.replace(b"@assets", f"{ASSETS}/{version}".encode())
        status = HTTPStatus.NOT_FOUND if closed else HTTPStatus.OK
        leaf = Leaf(File.of(name, page), ASK_AGAIN, status)
        self.pages: Mapping[str, Resource] = dict.fromkeys(VIEWS, leaf)
        self.assets: Resource = Assets(version, kept)


@cache
def _kept() -> tuple[str, Mapping[str, File]]:
    """Read the package's files; once, for they do not change while it runs."""
    kept = {
        name: File.of(name, content)
        for name, content in sorted(_walk(files("voicestatus.web") / "dashboard"))
    }
    every = "".join(
        chain.from_iterable((name, file.tag) for name, file in kept.items())
    )
    return sha256(every.encode()).hexdigest()[:_TAG_LETTERS], kept


def _walk(folder: Traversable, path: str = "") -> Iterator[tuple[str, bytes]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _walk(each, f"{path}{each.name}/")
        else:
            yield f"{path}{each.name}", each.read_bytes()
