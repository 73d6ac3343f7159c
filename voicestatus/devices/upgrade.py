"""A device's upgrade request, and the answer to it. Pure."""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1
from http import HTTPStatus
from types import MappingProxyType

from voicestatus.core.errors import ProtocolError
from voicestatus.core.lights import RuleText
from voicestatus.devices.wire import rule_of

MAX_HEAD_BYTES = 8192

# Source: RFC 6455 1.3.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(r"[+/0-9A-Za-z]{22}==", re.ASCII)
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)  # RFC 9110 5.6.2
_TARGET = re.compile(r"([^\s?#\x7f-\xff]+)(?:\?([^\s#]*))?")
# No control character in a value: a line feed alone hides a header from one of two
# readers. Source: RFC 9110 5.5.
_HEADER = re.compile(
    r"^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)\r\n",
    re.ASCII | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """`response` is to be sent; from then on both ends speak WebSocket."""

    response: bytes
    path: str
    """Of the target, without the query."""
    rule: RuleText
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refused:
    """`response` is to be sent, and the connection closed."""

    response: bytes
    reason: str


def answer(head: bytes) -> Accepted | Refused:
    """Judge a whole request head, up to and with the empty line.

    Source: RFC 6455 4.2. The answer's lines, their order and their case are those
    of Node's `ws` 8. Any origin is welcome: devices say `Origin: file://`. The value
    of `Connection` has to be `Upgrade` and nothing else
    (Source: WebSocketsClient.cpp 2.7.1, 775-778).
    """
    # Latin-1 maps each byte to one character: decoding cannot fail.
    first, _, fields = head.decode("latin-1").partition("\r\n")
    request = first.split(" ")
    if len(request) != 3 or not (target := _TARGET.fullmatch(request[1])):
        return refuse(HTTPStatus.BAD_REQUEST, "Bad request line")
    if request[0] != "GET":
        return refuse(
            HTTPStatus.METHOD_NOT_ALLOWED, "Invalid HTTP method", "Allow: GET"
        )
    if request[2] != "HTTP/1.1":
        return refuse(HTTPStatus.UPGRADE_REQUIRED, "An upgrade needs HTTP/1.1")
    try:
        headers = _headers(fields.removesuffix("\r\n"))
        key, protocol = _negotiate(headers)
        rule = rule_of(target[2] or "")
    except ProtocolError as e:
        return refuse(HTTPStatus.BAD_REQUEST, str(e))
    if headers.get("sec-websocket-version") != "13":
        return refuse(
            HTTPStatus.UPGRADE_REQUIRED,
            "Missing or invalid Sec-WebSocket-Version header",
            "Sec-WebSocket-Version: 13",
        )
    accept = b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
    return Accepted(
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept, protocol),
        target[1],
        rule,
        MappingProxyType(headers),
    )


def refuse(status: HTTPStatus, reason: str, *extra: str) -> Refused:
    """Answer a request with a status and one line of text that says why."""
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Connection: close",
        *(["Upgrade: websocket"] if status is HTTPStatus.UPGRADE_REQUIRED else []),
        *extra,
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(reason)}",
    ]
    return Refused(("\r\n".join(lines) + "\r\n\r\n" + reason).encode("latin-1"), reason)


def _headers(fields: str) -> dict[str, str]:
    pairs = _HEADER.findall(fields)
    if len(pairs) != fields.count("\n"):
        raise ProtocolError("Malformed header")
    headers: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.lower(), value.strip(" \t")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def _negotiate(headers: Mapping[str, str]) -> tuple[bytes, bytes]:
    if not headers.get("host") or "," in headers["host"]:
        raise ProtocolError("Missing or repeated Host header")
    if headers.get("upgrade", "").lower() != "websocket":
        raise ProtocolError("Invalid Upgrade header")
    tokens = headers.get("connection", "").lower().split(",")
    if "upgrade" not in {token.strip() for token in tokens}:
        raise ProtocolError("Invalid Connection header")
    key = headers.get("sec-websocket-key", "")
    if not _KEY.fullmatch(key):
        raise ProtocolError("Missing or invalid Sec-WebSocket-Key header")
    protocol = b""
    if (offered := headers.get("sec-websocket-protocol")) is not None:
        offers = [offer.strip() for offer in offered.split(",")]
        if not all(_NAME.fullmatch(offer) for offer in offers):
            raise ProtocolError("Invalid Sec-WebSocket-Protocol header")
        protocol = f"Sec-WebSocket-Protocol: {offers[0]}\r\n".encode("ascii")
    return key.encode("ascii"), protocol
