"""A connection that was let in, as the registry knows it."""

from typing import Protocol

from msgspec import UNSET

from voicestatus.core.fleet import Vitals
from voicestatus.core.lights import Light, RuleText
from voicestatus.devices.wire import Hello, Problem, ToDevice, Welcome, encode

Frames = tuple[tuple[float, str], ...]
"""(Unix seconds, text) of the last texts that a sign was sent, oldest first."""


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
        *("_since", "_vitals", "connection", "digest", "given", "hello"),
        *("id", "known", "rich"),
    )

    def __init__(
        self, connection: Connection, id_: str, since: float, digest: str | None
    ) -> None:
        self.connection: Connection | None = connection
        """None: it is gone."""
        self.id, self.known, self._since = id_, False, since
        """`known`: the id is that of a record; else it is `conn-…`."""
        self.digest = digest
        """Of the token that it has shown; None: of the shared one."""
        self._vitals: Vitals | None = None
        self.hello: Hello | None = None
        """What a stranger says of itself; of a device it is in its record."""
        self.rich = False
        """Whether it wants to know more than `1` and `0`."""
        self.given = False
        """Whether it was sent a token: one is enough for one connection."""

    @property
    def said_id(self) -> str:
        """The id of the device that it is, or says it is."""
        return self.id if self.hello is None else self.hello.id

    @property
    def vitals(self) -> Vitals:
        # Ten thousand signs that say nothing of themselves need none.
        if self._vitals is not None or self.connection is None:
            return self._vitals or Vitals()
        return Vitals(
            address=self.connection.address,
            path=self.connection.dialled,
            connected_at=self._since,
        )

    @vitals.setter
    def vitals(self, vitals: Vitals) -> None:
        self._vitals = vitals

    def let_go(self) -> None:
        """Take it that the connection is gone; what it was stays known."""
        self._vitals = self.vitals
        self.connection = None

    def welcome(self, token: str | None = None) -> None:
        self.given = self.given or token is not None
        self._send(Welcome(device=self.id, token=token or UNSET))

    def complain(self, code: str, message: str) -> None:
        self._send(Problem(code, message))

    def _send(self, message: ToDevice) -> None:
        if self.connection is not None:
            self.connection.send(encode(message))
