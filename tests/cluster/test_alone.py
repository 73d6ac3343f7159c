"""One node without Redis: the same ports, and nothing to wait for."""

import pytest_twisted
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from voicestatus.cluster.relay import Term
from voicestatus.cluster.service import Nodes, OneOfSeveral, OnlyNode, join
from voicestatus.core.presence import Presence, SessionBegan
from voicestatus.core.session import SessionState
from voicestatus.core.storage_address import InFile, InRedis
from voicestatus.hub import Hub


class Link:
    session_state: SessionState | None = None

    def __init__(self) -> None:
        self.was: list[object] = []

    def begin(self, term: Term) -> None:
        self.was.append(term)

    def end(self) -> Deferred[None]:
        self.was.append("end")
        return succeed(None)


class Chores:
    ready = True

    def __init__(self) -> None:
        self.was: list[object] = []

    def begin(self, fence: object) -> None:
        self.was.append(fence)

    def end(self) -> None:
        self.was.append("end")


def alone() -> Nodes:
    hub, clock = Hub(Presence()), Clock()
    return join(InFile("x"), "a", hub, clock, lease_s=10)


@pytest_twisted.ensureDeferred
async def test_the_only_node_acts_from_its_start_to_its_stop() -> None:
    node, link, chores = alone(), Link(), Chores()
    node.presences.attach(0, link)
    node.own_timers(chores)
    assert not node.terms.holds(0)
    node.startService()
    assert link.was == [Term(None, None)]
    assert chores.was == [None]
    assert node.terms.holds(0)
    await node.stopService()
    assert (link.was[-1], chores.was[-1]) == ("end", "end")


def test_its_events_go_straight_to_the_hub() -> None:
    hub = Hub(Presence())
    node = OnlyNode(hub)
    node.presences.deliver(0, SessionBegan(0, 99, frozenset({10})))
    assert list(hub.presence.guilds) == [10]
    assert node.presences.in_step(0)


def test_a_redis_makes_it_one_of_several() -> None:
    address = InRedis((("127.0.0.1", 1),))
    hub, clock = Hub(Presence()), Clock()
    node = join(address, "a", hub, clock, lease_s=10)
    assert isinstance(node, OneOfSeveral)
