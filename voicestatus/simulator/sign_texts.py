"""What a sign says and understands, in bytes. Pure.

Source: the firmware's src/main.cpp and WebSocketsClient.cpp of its library (version
1), docs/wire-device.md (version 2).
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from voicestatus.simulator.sign_offers import Offer

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = base64.b64encode(b"voicestatus-sign")
"""One for all signs: it is no secret, it only shows that the server understood."""
ACCEPT = base64.b64encode(hashlib.sha1(KEY + GUID).digest())  # noqa: S324 - RFC 6455
NOT_A_SOCKET = b"This is a webSocket client!"
"""What the library writes when it is not let in (WebSocketsClient.cpp:888-894)."""


def upgrade(host: str, port: int, path: str) -> bytes:
    """Make the bytes of the library's request (WebSocketsClient.cpp, sendHeader)."""
    return (
        f"GET {path} HTTP/1.1\r\n"
        f"Host: {host}:{port}\r\n"
        "Connection: Upgrade\r\n"
        "Upgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {KEY.decode()}\r\n"
        "Sec-WebSocket-Protocol: arduino\r\n"
        "Origin: file://\r\n"
        "User-Agent: arduino-WebSocket-Client\r\n"
        "\r\n"
    ).encode()


def granted(head: bytes) -> bool:
    """Judge the answer as the library does (WebSocketsClient.cpp:775-778, 857-866)."""
    status, *lines = head.split(b"\r\n")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in lines)
    }
    return (
        status.split(b" ")[1:2] == [b"101"]
        and headers.get(b"connection", b"").lower() == b"upgrade"
        and headers.get(b"upgrade", b"").lower() == b"websocket"
        and headers.get(b"sec-websocket-accept") == ACCEPT
    )


# -- what a sign of the second kind says -----------------------------------------------


@dataclass(frozen=True, slots=True)
class Make:
    """A kind of board."""

    chip: str
    board: str
    heap_free_b: int
    free_bytes: int
    """The largest image that it can take."""


MAKES = (
    Make("esp8266", "d1_mini", 38_000, 600_000),
    Make("esp32", "esp32dev", 210_000, 1_966_080),
    Make("esp32s2", "lolin_s2_mini", 120_000, 1_966_080),
    Make("esp32c3", "lolin_c3_mini", 180_000, 1_966_080),
)
OLD_MAKES = (MAKES[0], MAKES[2])
"""Those that the first kind's firmware is published for.
Source: the firmware's pages.yml."""
FIRMWARE = (("1.4.0", 14), ("1.3.2", 13))


@dataclass(frozen=True, slots=True)
class Identity:
    """What one sign of a fleet is; the n-th is always the same."""

    id: str
    name: str
    make: Make
    fw: str
    build: int
    mac: str
    """Twelve hexadecimal digits."""

    @classmethod
    def of(cls, seed: int, n: int, *, old: bool = False) -> "Identity":
        """Make the n-th one; `old`: of the first kind."""
        fw, build = FIRMWARE[n // len(MAKES) % len(FIRMWARE)]
        makes = OLD_MAKES if old else MAKES
        make = makes[n % len(makes)]
        # 02: given by nobody but ourselves (Source: IEEE 802, the local bit).
        mac = f"02{seed & 0xFFFF:04x}{n & 0xFFFFFF:06x}"
        return cls(f"sim-{seed}-{n}", f"Sim {n}", make, fw, build, mac)

    def hello(self, caps: tuple[str, ...], boot: str) -> bytes:
        """Say who it is, after OK; `boot` is why it started."""
        return msgspec.json.encode(
            {
                "type": "hello",
                "v": 2,
                "id": self.id,
                "chip": self.make.chip,
                "board": self.make.board,
                "fw": self.fw,
                "build": self.build,
                "name": self.name,
                "caps": caps,
                "boot": boot,
            }
        )

    def report(
        self, release: str, phase: str, progress: int, error: str | None = None
    ) -> bytes:
        """Say how far an update is."""
        why = {} if error is None else {"error": error}
        return msgspec.json.encode(
            {
                "type": "ota",
                "release": release,
                "phase": phase,
                "progress": progress,
                **why,
            }
        )

    def status(self, uptime_s: int, rssi_dbm: int) -> bytes:
        """Say how it does; the heap wears off a little each minute."""
        return msgspec.json.encode(
            {
                "type": "status",
                "uptimeS": uptime_s,
                "rssiDbm": rssi_dbm,
                "heapFreeB": self.make.heap_free_b - uptime_s // 60 % 4096,
                "fw": self.fw,
            }
        )


# -- what it understands ---------------------------------------------------------------


class Welcome(Struct, frozen=True):
    """The server knows the sign, and may give it a token of its own."""

    device: str
    v: Literal[2]
    token: Annotated[str, Meta(pattern="^vsd_.+$")] | None = None


class RichLight(Struct, frozen=True):
    """What a sign with more than one lamp shows."""

    on: bool
    count: Annotated[int, Meta(ge=0)]
    pattern: Literal["solid", "breathe", "blink", "rainbow"]
    color: Annotated[str, Meta(pattern="^#[0-9a-fA-F]{6}$")]
    brightness: Annotated[int, Meta(ge=0, le=255)]


class Identify(Struct, frozen=True):
    """Be seen for a while."""

    seconds: Annotated[float, Meta(gt=0)]


class Reboot(Struct, frozen=True):
    """Start anew."""


class Complaint(Struct, frozen=True):
    """What the sign said last was not understood."""


Understood = Welcome | RichLight | Identify | Reboot | Complaint | Offer

SHAPES: Mapping[str, type[Understood]] = MappingProxyType(
    {
        "welcome": Welcome,
        "light": RichLight,
        "identify": Identify,
        "reboot": Reboot,
        "error": Complaint,
        "ota": Offer,
    }
)


class _Kind(Struct, frozen=True):
    type: str


def understand(text: bytes) -> Understood | None:
    """Read a JSON text; None: of a type that this sign does not know.

    :raises msgspec.DecodeError: when it has not the shape that it must have.
    """
    shape = SHAPES.get(msgspec.json.decode(text, type=_Kind).type)
    return None if shape is None else msgspec.json.decode(text, type=shape)
