"""This node among the others; or alone, when there is no Redis."""

from collections.abc import Callable
from typing import Any, Protocol

from voicestatus.cluster.bus import Bus
from voicestatus.cluster.leases import TIMERS, Acts, Alone, Leases, Terms
from voicestatus.cluster.messages import Post
from voicestatus.cluster.relay import OneNode, Relay, Source
from voicestatus.cluster.spread import AgreedSpread, OwnSpread, Spread
from voicestatus.cluster.turns import OwnTurns, SharedTurns, Turns
from voicestatus.core.presence import Event
from voicestatus.core.session import SessionState
from voicestatus.core.storage_address import Address, InRedis
from voicestatus.hub import Hub
from voicestatus.services import Row


class Presences(Protocol):
    """The way of Discord's events to the hubs of all nodes; the port."""

    def attach(self, shard: int, source: Source, count: int = 1) -> object:
        """Begin and end `source` as this node holds that shard of `count` or not."""
        ...

    def detach(self, shard: int) -> object:
        """End the shard's source, for good."""
        ...

    def deliver(self, shard: int, event: Event) -> object:
        """Take an event of a shard's source; dropped when the shard is lost."""
        ...

    def in_step(self, shard: int) -> bool:
        """Whether this node knows what the shard's holder knows, or is that."""
        ...

    def linked(self, shard: int) -> bool:
        """Whether another node, that this one follows, hears Discord."""
        ...

    def shared(self, shard: int, state: SessionState) -> bool:
        """Whether the others can know all that a session's state stands for."""
        ...


class Nodes(Row):
    """The services of one node, in a row; stopped, it hands over all that it holds."""

    terms: Terms
    presences: Presences
    spread: Spread
    turns: Turns

    def own_timers(self, acts: Acts) -> None:
        """Let it act on one node alone, whichever that is."""
        self.terms.add(TIMERS, acts)

    def holds_timers(self) -> bool:
        """Whether it is this node that acts on them, at this very moment."""
        return self.terms.holds(TIMERS)

    def when_emptied(self, refill: Callable[[], object]) -> None:
        """Call `refill` when Redis came back empty: write again what is known."""
        raise NotImplementedError


class OnlyNode(Nodes):
    """All of it without Redis: everything is ours, and there is nobody to tell."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        alone = self.terms = Alone()
        self.presences = OneNode(hub, alone)
        self.spread, self.turns = OwnSpread(), OwnTurns()
        alone.setServiceParent(self)

    def when_emptied(self, refill: Callable[[], object]) -> None:
        """There is no Redis that could come back empty."""


class OneOfSeveral(Nodes):
    """A node that shares a Redis with others."""

    terms: Leases
    presences: Relay
    messages: Post

    def __init__(
        self,
        address: InRedis,
        node: str,
        hub: Hub,
        reactor: Any,
        *,
        lease_s: float,
    ) -> None:
        """Take a `node` that no other process has: a host's name and a random part."""
        super().__init__()
        bus = Bus(address, node, reactor)
        leases = self.terms = Leases(bus, lease_s, reactor)
        relay = self.presences = Relay(bus, leases, hub, lease_s, reactor)
        self.living = 0
        """How many nodes there are, this one too; 0: not known yet."""

        def living(nodes: int) -> None:
            self.living = nodes
            leases.share(nodes)

        post = self.messages = Post(bus, lease_s, reactor, living=living)
        spread = self.spread = AgreedSpread(bus, reactor)
        self.turns = SharedTurns(bus)
        # First what the others need to the very end.
        for part in (bus, post, spread, relay, leases):
            part.setServiceParent(self)

    def when_emptied(self, refill: Callable[[], object]) -> None:
        self.messages.when_emptied(refill)


def join(
    address: Address,
    node: str,
    hub: Hub,
    reactor: Any,
    *,
    lease_s: float,
) -> Nodes:
    """Make the node: one of several where the store is a Redis, else the only one."""
    if isinstance(address, InRedis):
        return OneOfSeveral(address, node, hub, reactor, lease_s=lease_s)
    return OnlyNode(hub)
