"""One number of shards for all nodes, and one turn after the other, on a real Redis."""

from typing import Any

import pytest
import pytest_twisted

from voicestatus.cluster.bus import Bus
from voicestatus.cluster.service import OnlyNode
from voicestatus.cluster.spread import ANY, AgreedSpread
from voicestatus.core.presence import Presence
from voicestatus.hub import Hub

ensure = pytest_twisted.ensureDeferred


@pytest.fixture
def pair(address: Any, start_node: Any) -> tuple[Any, Any]:
    a, b = start_node(address, "a"), start_node(address, "b")
    for node in (a, b):
        node.changes = []
        node.nodes.spread.follow(node.changes.append)
    return a, b


@ensure
async def test_the_first_wish_holds_for_all(pair: Any) -> None:
    a, b = (node.nodes.spread for node in pair)
    assert await a.current() is None
    assert await a.agree(2) == 2
    assert await b.agree(3) == 2
    assert await b.current() == 2


@ensure
async def test_a_number_that_is_replaced_is_told_to_all_and_replaced_once(
    pair: Any, eventually: Any
) -> None:
    a, b = pair
    for node in pair:
        await node.nodes.spread.agree(1)
    assert await a.nodes.spread.agree(2, 1) == 2
    await eventually(lambda: b.changes == [2])
    assert await b.nodes.spread.agree(4, 1) == 2  # what it knew was out of date
    assert await b.nodes.spread.agree(5, ANY) == 5
    await eventually(lambda: a.changes[-1:] == [5])


@ensure
async def test_a_redis_that_forgot_the_number_is_told_it(
    own_redis: Any, own_address: Any, start_node: Any, eventually: Any
) -> None:
    a, b = start_node(own_address, "a"), start_node(own_address, "b")
    for node in (a, b):
        await node.nodes.spread.agree(3)
    own_redis.ask("FLUSHALL")
    await eventually(lambda: b"3" in own_redis.ask("GET", "voicestatus:shards"))
    assert await b.nodes.spread.agree(7) == 3


@ensure
async def test_what_is_forgotten_before_any_news_is_told_too(
    own_redis: Any, own_address: Any, eventually: Any
) -> None:
    from twisted.internet import reactor

    bus = Bus(own_address, "a", reactor)
    spread = AgreedSpread(bus, reactor)
    places: list[int] = []
    bus.subscribe(lambda _: None, lambda: places.append(1))
    own_redis.ask("SET", "voicestatus:shards", "3")
    for service in (bus, spread):
        service.startService()
    await eventually(lambda: places)
    assert await spread.agree(3) == 3  # it held already: nobody is told
    own_redis.ask("FLUSHALL")
    await eventually(lambda: b"3" in own_redis.ask("GET", "voicestatus:shards"))
    spread.stopService()
    await bus.stopService()


@ensure
async def test_a_turn_is_one_nodes_alone_and_the_next_one_comes_in_time(
    pair: Any,
) -> None:
    a, b = (node.nodes.turns for node in pair)
    assert await a.take("identify:0", 10) == 0
    assert await a.take("identify:0", 10) == 0  # an answer may have been lost
    assert 9 < await b.take("identify:0", 10) <= 10
    assert await b.take("identify:1", 10) == 0
    await b.give("identify:0", 0)  # not its own
    await a.give("identify:0", 5)
    assert 4 < await b.take("identify:0", 10) <= 5
    assert 4 < await a.take("identify:0", 10) <= 5
    await b.give("identify:1", 0)
    assert await a.take("identify:1", 10) == 0


@ensure
async def test_the_only_node_decides_for_itself() -> None:
    node = OnlyNode(Hub(Presence()))
    assert await node.spread.current() is None
    assert await node.spread.agree(3) == 3
    assert await node.spread.agree(2, 1) == 2
    assert await node.turns.take("identify:0", 10) == 0
    await node.turns.give("identify:0", 5)
    assert await node.turns.take("identify:0", 10) == 0
