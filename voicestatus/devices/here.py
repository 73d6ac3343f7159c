"""A connection that was let in, as the registry knows it."""

from typing import Protocol

from msgspec import UNSET

from voicestatus.core.fleet import Vitals
from voicestatus.core.lights import Light, RuleText
from voicestatus.devices.wire import (
    Hello,
    Problem,
    Status,
    ToDevice,
    Welcome,
    encode,
)

Frames = tuple[tuple[float, str], ...]
"""(Unix seconds, text) of the last texts that a sign was sent, oldest first."""


_NO_STATUS = Status()


class Connection(Protocol):
    """What the registry asks of a device's connection."""

    address: str | None
    dialled: str
    """The path, with `guild` or `channel`."""
    rule: RuleText
    """What its address asks for."""

    def follow(self, rule: RuleText, *, rich: bool) -> None:
        """Show the light of this rule from now on; `rich`: in full."""
        ...

    def send(self, text: bytes) -> None: ...

    def dismiss(self, id_: str | None = None) -> None:
        """End it. With an id: another connection is that device now."""
        ...

    def showing(self) -> tuple[Light, Frames]: ...


class Here:
    """A device, or a stranger with the shared token, as long as it is connected."""

    __slots__ = (
        *("_reported_at", "_since", "_status", "boot", "connection", "digest"),
        *("given", "hello", "id", "known", "protocol", "reconnects", "rich"),
        "rtt_ms",
    )

    def __init__(
        self, connection: Connection, id_: str, since: float, digest: str | None
    ) -> None:
        self.connection: Connection | None = connection
        """None: it is gone."""
        self.id, self.known = id_, False
        """`known`: the id is that of a record; else it is `conn-…`."""
        self.digest = digest
        """Of the token that it has shown; None: of the shared one."""
        self.hello: Hello | None = None
        """What a stranger says of itself; of a device it is in its record."""
        self.protocol, self.boot, self.reconnects = 1, "", 0
        self.rich = False
        """Whether it wants to know more than `1` and `0`."""
        self.given = False
        """Whether it was sent a token: one is enough for one connection."""
        self.rtt_ms: int | None = None
        """How long its last pong took; up to 256 it costs no memory."""
        self._since: float | None = since
        self._status = _NO_STATUS
        self._reported_at: float | None = None

    @property
    def said_id(self) -> str:
        """The id of the device that it is, or says it is."""
        return self.id if self.hello is None else self.hello.id

    @property
    def vitals(self) -> Vitals:
        connection, status = self.connection, self._status
        return Vitals(
            protocol=self.protocol,
            boot=self.boot,
            address=None if connection is None else connection.address,
            path="" if connection is None else connection.dialled,
            connected_at=self._since,
            reconnects=self.reconnects,
            rtt_ms=self.rtt_ms,
            rssi_dbm=status.rssi_dbm,
            heap_free_b=status.heap_free_b,
            uptime_s=status.uptime_s,
            reported_at=self._reported_at,
        )

    def report(self, status: Status, now: float) -> None:
        """Take how it says it is."""
        self._status, self._reported_at = status, now

    def leave(self) -> Vitals:
        """Take it that the connection is gone; return what is to be known of it."""
        self._since = None
        vitals, self.connection = self.vitals, None
        return vitals

    def welcome(self, token: str | None = None) -> None:
        self.given = self.given or token is not None
        self._send(Welcome(device=self.id, token=token or UNSET))

    def complain(self, code: str, message: str) -> None:
        self._send(Problem(code, message))

    def _send(self, message: ToDevice) -> None:
        if self.connection is not None:
            self.connection.send(encode(message))
