"""The dashboard's files, as browsers ask for them."""

import gzip
import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.web.http_headers import Headers

from voicestatus.web.health import ExactTree
from voicestatus.web.pages import HEADERS, VIEWS, Dashboard, has, takes_gzip
from voicestatus.web.site import QuietSite

SOURCES = Path(str(files("voicestatus.web") / "dashboard")).resolve()
MADE_ELSEWHERE = {"vendor", "flasher"}
ADDRESS = re.compile(r'(?:src|href)="(/dashboard/[^"]+)"')
IMPORT = re.compile(r'^(?:import|export) [^;]*?from "([^"]+)";', re.MULTILINE)


class Server:
    """A site with the dashboard and nothing else."""

    def __init__(self, *, closed: bool = False) -> None:
        dashboard = Dashboard(closed=closed)
        root = ExactTree(dashboard.pages)
        root.putChild(b"dashboard", dashboard.assets)
        self._site = QuietSite(root, MemoryReactorClock())

    def ask(self, path: str, method: str = "GET", **headers: str) -> "Answer":
        transport = StringTransport(IPv4Address("TCP", "127.0.0.1", 1))
        channel = self._site.buildProtocol(None)
        channel.makeConnection(transport)
        lines = [f"{method} {path} HTTP/1.1", "host: here", "connection: close"]
        lines += [
            f"{name.replace('_', '-')}: {value}" for name, value in headers.items()
        ]
        channel.dataReceived("\r\n".join([*lines, "", ""]).encode())
        return Answer(transport.value())


class Answer:
    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        self.status = int(status.split()[1])
        self.headers = Headers()
        for line in lines:
            name, _, value = line.partition(": ")
            self.headers.addRawHeader(name, value)

    def __getitem__(self, name: str) -> str:
        return ",".join(self.headers.getRawHeaders(name) or [])


@pytest.fixture(scope="module")
def server() -> Server:
    return Server()


def test_the_page_stands_at_the_path_of_every_view(server: Server):
    pages = {server.ask(path).body for path in VIEWS}
    assert len(pages) == 1
    assert b'<div id="app">' in pages.pop()


def test_the_server_knows_the_views_that_the_page_knows():
    routes = (SOURCES / "routes.js").read_text()
    known = re.findall(r'path: "([^"]+)"', routes)
    known += re.findall(r'SIGN_IN = "([^"]+)"', routes)
    assert sorted(known) == sorted(VIEWS)


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere", "/signs/", "/signs/x", "/dashboard", "/dashboard/", "/dashboard/x",
        "/dashboard/x/", "/dashboard/x/views", "/dashboard/x/../pages.py",
        "/dashboard/x/%2e%2e/pages.py",
    ],
)  # fmt: skip
def test_any_other_path_is_not_found(server: Server, path: str):
    answer = server.ask(path)
    assert (answer.status, answer.body) == (404, b"not found")


def test_all_that_the_page_names_is_there_for_ever(server: Server):
    named = ADDRESS.findall(server.ask("/").body.decode())
    assert len(named) > 5
    for path in named:
        answer = server.ask(path)
        assert answer.status == 200, path
        assert answer["cache-control"] == "public, max-age=31536000, immutable"


def test_what_a_module_imports_is_there():
    for module in SOURCES.rglob("*.js"):
        if not MADE_ELSEWHERE & {*module.parts}:
            for each in imported(module):
                assert each.is_file(), f"{each} in {module}"


def test_a_page_from_before_an_update_is_given_what_there_is_now(server: Server):
    now = ADDRESS.findall(server.ask("/").body.decode())[0]
    name = now.split("/")[-1]
    old = server.ask(f"/dashboard/0000/{name}")
    assert (old.status, old.body) == (200, server.ask(now).body)
    assert old["cache-control"] == "no-cache"


def test_whatever_is_served_is_guarded(server: Server):
    page = server.ask("/")
    for answer in (page, server.ask(ADDRESS.findall(page.body.decode())[0])):
        policy = answer["content-security-policy"]
        assert policy.startswith(
            "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-"
        )
        assert not re.search("unsafe-(inline|eval)", policy)
        assert answer["x-content-type-options"] == "nosniff"
        assert answer["referrer-policy"] == "same-origin"
        assert answer["content-type"]


def test_the_page_holds_nothing_that_its_policy_forbids():
    for name in ("index.html", "closed.html"):
        text = (SOURCES / name).read_text()
        assert not re.search(
            r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", text
        )
        assert not re.search(r'(?:src|href)="(?:https?:)?//', text)


def test_each_style_that_the_policy_allows_by_its_hash_is_one_of_the_flashers():
    hashes = {
        b64encode(sha256(style.replace(r"\n", "\n").encode()).digest()).decode()
        for file in (SOURCES / "flasher").glob("*.js")
        for pattern in ("<style>([^<]*)</style>", 'style="([^"]*)"')
        for style in re.findall(pattern, file.read_text())
    }
    policy = HEADERS[b"content-security-policy"].decode()
    allowed = set(re.findall("'sha256-([^']+)'", policy))
    assert len(allowed) == 3
    assert allowed <= hashes


def test_a_browser_that_takes_gzip_gets_it(server: Server):
    plain, zipped = server.ask("/"), server.ask("/", accept_encoding="br, gzip")
    assert zipped["content-encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == plain.body
    assert plain["vary"] == zipped["vary"] == "Accept-Encoding"
    assert plain["etag"] != zipped["etag"]


def test_what_a_browser_has_is_not_sent_again(server: Server):
    tag = server.ask("/")["etag"]
    again = server.ask("/", if_none_match=f'"other", W/{tag}')
    assert (again.status, again.body, again["etag"]) == (304, b"", tag)
    assert again["cache-control"] == "no-cache"
    # A cache would take a length for that of what it has.
    assert not again["content-length"]
    assert not server.ask("/", "HEAD", if_none_match="*")["content-length"]
    assert server.ask("/", if_none_match='"other"').status == 200


def test_head_tells_what_get_would(server: Server):
    head, get = server.ask("/", "HEAD"), server.ask("/")
    assert (head.status, head.body) == (200, b"")
    assert head["content-length"] == get["content-length"] == str(len(get.body))


def test_nobody_writes_to_a_page(server: Server):
    answer = server.ask("/", "POST")
    assert (answer.status, answer["allow"], answer.body) == (405, "GET, HEAD", b"")


def test_without_an_admin_token_the_page_says_so_and_what_to_set():
    server = Server(closed=True)
    for path in VIEWS:
        answer = server.ask(path, if_none_match="*")
        assert answer.status == 404
        assert b"ADMIN_TOKEN" in answer.body
    (style, *_) = ADDRESS.findall(answer.body.decode())
    assert server.ask(style).status == 200


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        (b"gzip", True), (b"deflate, GZIP;q=0.5", True), (b"", False), (b"br", False),
        (b"gzip;q=0", False), (b"gzip; q=0.000", False), (b"x-gzip", False),
        (b"gzip;q=1.0", True),
    ],
)  # fmt: skip
def test_gzip_is_sent_to_who_takes_it(header: bytes, takes: bool):
    assert takes_gzip(header) is takes


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (b'"a"', True), (b'W/"a"', True), (b'"b","a"', True), (b"*", True),
        (b'"b"', False), (b"", False),
    ],
)  # fmt: skip
def test_a_tag_is_known_however_it_is_listed(header: bytes, known: bool):
    assert has(header, b'"a"') is known


def test_the_overview_is_small():
    """What a first visit loads, compressed; see docs/performance.md."""
    first = [
        SOURCES / "index.html",
        *loaded(SOURCES / "app.js"),
        *loaded(SOURCES / "views/overview.js"),
    ]
    first += [
        SOURCES / name for name in ("theme.js", "style.css", "views/overview.css")
    ]
    sizes = {file.name: len(gzip.compress(file.read_bytes())) for file in set(first)}
    assert sum(sizes.values()) <= 60_000, sizes


def imported(module: Path) -> list[Path]:
    return [
        (module.parent / name).resolve() for name in IMPORT.findall(module.read_text())
    ]


def loaded(module: Path, seen: set[Path] | None = None) -> set[Path]:
    """Return a module and all that it imports."""
    seen = set() if seen is None else seen
    if module not in seen:
        seen.add(module)
        for each in imported(module):
            loaded(each, seen)
    return seen
