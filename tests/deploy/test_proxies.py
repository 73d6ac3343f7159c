"""What a sign and a browser get when nginx, Caddy or HAProxy stands in front.

Each runs its shipped configuration; only ports, paths and what needs root differ.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

AT_ONCE_S = 1.0
PACKAGES = {"nginx": "nginx-light", "caddy": "caddy", "haproxy": "haproxy"}
OWN_ADDRESSES = (str(ip_address("127.0.1.1") + n) for n in count())
"""One for each test: the server remembers which have failed."""


@dataclass(frozen=True)
class Front:
    """A proxy that runs."""

    name: str
    http: int
    https: int


def changed(text: str, *pairs: tuple[str, str]) -> str:
    """Replace; what is to be replaced must be there, in the shipped file."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def nginx(shipped: Path, folder: Path, http: int, https: int, upstream: int) -> Any:
    text = changed(
        (shipped / "nginx.conf").read_text(),
        ("listen 80;", f"listen 127.0.0.1:{http};"),
        ("listen [::]:80;", ""),
        ("listen 443 ssl;", f"listen 127.0.0.1:{https} ssl;"),
        ("listen [::]:443 ssl;", ""),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
        ("/etc/letsencrypt/live/sign.example.com/fullchain.pem", f"{folder}/both.pem"),
        ("/etc/letsencrypt/live/sign.example.com/privkey.pem", f"{folder}/both.pem"),
    )
    (folder / "site.conf").write_text(text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    elsewhere = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "main.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr info; worker_processes 1;\n"
        f"events {{}}\nhttp {{ access_log off;\n{elsewhere}include site.conf; }}\n"
    )
    return "nginx", "-p", str(folder), "-c", "main.conf", "-e", "stderr"


def caddy(shipped: Path, folder: Path, http: int, https: int, upstream: int) -> Any:
    text = changed(
        (shipped / "Caddyfile").read_text(),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
        ("https://sign.example.com {\n", "https://sign.example.com {\ntls internal\n"),
    )
    options = (
        f"admin off\nskip_install_trust\ndefault_bind 127.0.0.1\n"
        f"http_port {http}\nhttps_port {https}\n"
    )
    (folder / "Caddyfile").write_text(f"{{\n{options}}}\n{text}")
    return "caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"


def haproxy(shipped: Path, folder: Path, http: int, https: int, upstream: int) -> Any:
    text = changed(
        (shipped / "haproxy.cfg").read_text(),
        ("bind :80\n", f"bind 127.0.0.1:{http}\n"),
        ("bind :443 ", f"bind 127.0.0.1:{https} "),
        ("/etc/haproxy/sign.example.com.pem", f"{folder}/both.pem"),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
    )
    (folder / "haproxy.cfg").write_text(text)
    return "haproxy", "-db", "-f", "haproxy.cfg"


PROXIES = {"nginx": nginx, "caddy": caddy, "haproxy": haproxy}


@pytest.fixture(scope="session")
def certificate(folder: Path) -> str:
    """A key and a certificate that signs itself, in one text."""
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=sign.example.com", "-keyout", "key", "-out", "certificate",
        ],
        cwd=folder, check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return (folder / "certificate").read_text() + (folder / "key").read_text()


@pytest.fixture(scope="session")
def start(deployed: Any, folder: Path, certificate: str) -> Callable[[str, int], Front]:
    """Start a proxy before a port; it runs as long as the tests do."""

    def start(name: str, upstream: int) -> Front:
        assert shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin"), (
            f"apt-get install -y --no-install-recommends {PACKAGES[name]}"
        )
        own = folder / f"{name}-{upstream}"
        own.mkdir(mode=0o755)
        (own / "both.pem").write_text(certificate)
        front = Front(name, deployed.free_port(), deployed.free_port())
        path = f"{os.environ['PATH']}:/usr/sbin"
        process = deployed.Process(
            own,
            {"PATH": path, "HOME": str(own), "XDG_DATA_HOME": str(own)},
            *PROXIES[name](deployed.DEPLOY, own, front.http, front.https, upstream),
        )
        process.until(lambda: deployed.listens(front.http))
        process.until(lambda: serves_tls(deployed, front.https))
        return front

    return start


def serves_tls(deployed: Any, port: int) -> bool:
    # Caddy listens before it has made its certificate.
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            deployed.trusting().wrap_socket(plain, server_hostname=deployed.HOST),
        ):
            return True
    except OSError:
        return False


@pytest.fixture(scope="session", params=PROXIES)
def front(request: Any, start: Callable[[str, int], Front], server_port: int) -> Front:
    """A proxy before the server."""
    return start(request.param, server_port)


@pytest.fixture
def sign(deployed: Any) -> Iterator[Callable[..., Any]]:
    signs = []

    def connect(*args: Any, **kwargs: Any) -> Any:
        signs.append(deployed.Sign(*args, **kwargs))
        return signs[-1]

    yield connect
    for one in signs:
        one.end()


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_a_flashed_sign_is_let_in_and_follows_the_light_at_once(
    front: Front,
    sign: Any,
    discord: Any,
    server_port: int,
    deployed: Any,
    tls: bool,
):
    discord.light(on=False)
    deployed.eventually(
        lambda: b'"voiceUsers":0,' in deployed.get(server_port, "/health").body,
        lambda: "the server has not heard that everybody left",
    )
    device = sign(front.https if tls else front.http, tls=tls)
    # The sign compares the whole value. Source: WebSocketsClient.cpp 2.7.1:775-778.
    assert device.headers["connection"].lower() == "upgrade"
    assert device.headers["upgrade"].lower() == "websocket"
    assert device.headers["sec-websocket-accept"] == deployed.ACCEPT
    assert device.headers["sec-websocket-protocol"] == "arduino"
    assert device.texts(2) == ["OK", "0"]
    device.send(9)
    assert device.frame() == (10, b"")
    for on in (True, False, True):
        before = time.monotonic()
        discord.light(on)
        assert device.texts(1) == ["1" if on else "0"]
        assert time.monotonic() - before < AT_ONCE_S


def test_a_sign_gets_in_on_a_connection_that_served_pages(front: Front, sign: Any):
    # nginx keeps the page's connection to the server and upgrades that one.
    device = sign(front.https, tls=True, pages_before=3)
    assert device.texts(2)[0] == "OK"


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize(
    "claim",
    [
        {},
        {"X-Forwarded-For": "{}"},
        {"X-Forwarded-For": "127.0.0.9, {}"},
        {"x-forwarded-for": "{}, 127.0.0.1"},
        {"CF-Connecting-IP": "{}"},
        {"cf-connecting-ip": "{}", "X-Real-IP": "{}", "Forwarded": "for={}"},
    ],
    ids=lambda claim: "+".join(claim) or "none",
)
def test_the_server_sees_the_clients_address_and_believes_no_claim_of_it(
    front: Front, sign: Any, tls: bool, claim: dict[str, str]
):
    """The first failure of an address is closed at once, from the second on it is held.

    So the same true address must be known again under another claim, and another
    address under the same claim must not.
    """
    port = front.https if tls else front.http
    one, other = next(OWN_ADDRESSES), next(OWN_ADDRESSES)

    def fails(source: str, nth: int) -> str:
        claims = {name: text.format(f"6.6.6.{nth}") for name, text in claim.items()}
        device = sign(port, tls=tls, source=source, token="wrong", **claims)
        assert device.texts(1) == ["NOAUTH"]
        device.send(9)
        return "held" if device.frame()[0] == 10 else "closed"

    assert fails(one, 1) == "closed"
    assert fails(one, 2) == "held"
    assert fails(other, 1) == "closed"


def test_plain_http_is_sent_to_https_but_not_where_signs_call(
    front: Front, deployed: Any
):
    for path in ("/", "/flash?a=b", "/wsx", "/otarie"):
        answer = deployed.get(front.http, path)
        assert answer.status in {301, 308}, path
        assert answer.headers["Location"] == f"https://{deployed.HOST}{path}"
    assert deployed.get(front.http, "/ws").status == 426
    assert deployed.get(front.http, "/ws?guild=7").status == 426
    assert deployed.get(front.http, "/ota/check?token=x").status == 304


def test_pages_are_served_over_https(front: Front, deployed: Any):
    answer = deployed.get(front.https, "/livez", tls=True)
    assert (answer.status, answer.body) == (200, b'{"ok":true}')


@pytest.mark.parametrize("path", ["/metrics", "/%6detrics", "/metrics?a=b"])
def test_metrics_stay_at_home(front: Front, deployed: Any, path: str):
    answer = deployed.get(front.https, path, tls=True)
    assert answer.status == 404
    assert b"voicestatus_" not in answer.body


@pytest.mark.parametrize("name", PROXIES)
def test_what_is_streamed_arrives_piece_by_piece_and_the_connection_is_kept(
    start: Callable[[str, int], Front], deployed: Any, name: str
):
    """The next piece is not sent before the one before it has arrived."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(deployed.DEADLINE_S)
        front = start(name, listening.getsockname()[1])
        reader = HTTPConnection("127.0.0.1", front.https, timeout=AT_ONCE_S)
        reader.connect()
        reader.sock = deployed.trusting().wrap_socket(
            reader.sock, server_hostname=deployed.HOST
        )
        reader.request("GET", "/api/v1/stream", headers={"Host": deployed.HOST})
        source, _ = listening.accept()
        source.settimeout(deployed.DEADLINE_S)
        with closing(reader), source:
            heard_request(source)
            stream(source, reader, "text/event-stream")
            reader.request("GET", "/api/v1/other", headers={"Host": deployed.HOST})
            heard_request(source)
            stream(source, reader, "application/json")


def heard_request(source: socket.socket) -> None:
    heard = b""
    while not heard.endswith(b"\r\n\r\n"):
        data = source.recv(4096)
        assert data, "the proxy has closed its connection"
        heard += data


def stream(source: socket.socket, reader: HTTPConnection, kind: str) -> None:
    source.sendall(
        f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n".encode()
    )
    answer = reader.getresponse()
    for piece in (b"data: 1\n\n", b"data: 2\n\n", b": still here\n\n"):
        source.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert answer.read1() == piece
    source.sendall(b"0\r\n\r\n")
    assert answer.read() == b""
