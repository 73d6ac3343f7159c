"""How a server is told to change its light: a byte on a connection of the loopback."""

from collections.abc import Callable

from twisted.internet.protocol import Protocol, ServerFactory


class Control(Protocol):
    """Takes `1` and `0`, as all servers here do."""

    factory: "ControlFactory"

    def dataReceived(self, data: bytes) -> None:
        for order in data:
            self.factory.turn(order == ord("1"))


class ControlFactory(ServerFactory[Control]):
    """Calls `turn` with the light that is wanted."""

    protocol = Control
    noisy = False

    def __init__(self, turn: Callable[[bool], object]) -> None:
        self.turn = turn
