"""Several nodes of one process on a real Redis: who acts, and what all of them see."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred

from voicestatus.cluster.messages import NodeGone
from voicestatus.cluster.metrics import NodeMetrics
from voicestatus.core.errors import Refusal
from voicestatus.core.storage_address import InRedis
from voicestatus.store.documents import FateUnknown

ensure = pytest_twisted.ensureDeferred


@ensure
async def test_one_node_holds_a_shard_and_the_other_sees_what_it_sees(
    address: Any, start_node: Any, eventually: Any, world: Any
) -> None:
    a = start_node(address, "a")
    await eventually(lambda: a.source.acting)
    b = start_node(address, "b")
    a.source.say(*world.begin_events(), world.joined(1))
    await eventually(lambda: a.seen == b.seen)
    a.source.say(world.joined(2), world.left(1))
    await eventually(lambda: a.seen == b.seen)
    assert list(b.hub.presence.guilds[10].voices) == [2]
    assert not b.source.acting


@ensure
async def test_a_follower_knows_whether_the_holder_hears_discord(
    address: Any, start_node: Any, eventually: Any, world: Any
) -> None:
    a = start_node(address, "a")
    await eventually(lambda: a.source.acting)
    b = start_node(address, "b")
    assert not b.nodes.presences.linked(0)
    a.source.say(*world.begin_events())
    await eventually(lambda: b.nodes.presences.linked(0))
    assert not a.nodes.presences.linked(0)  # it has a link of its own
    a.source.say(world.lost())
    await eventually(lambda: not b.nodes.presences.linked(0))
    a.source.say(world.resumed())
    await eventually(lambda: b.nodes.presences.linked(0))
    stopped = a.stop()
    await eventually(lambda: not b.nodes.presences.linked(0))
    await stopped


@ensure
async def test_what_is_told_of_another_number_of_shards_is_not_taken(
    address: Any, start_node: Any, eventually: Any, world: Any
) -> None:
    a, b = start_node(address, "a"), start_node(address, "b")
    await eventually(lambda: a.source.acting or b.source.acting)
    holder, late = (a, b) if a.source.acting else (b, a)
    holder.source.say(*world.begin_events())
    await eventually(lambda: a.seen == b.seen)
    for node in (holder, late):  # first one, then the other
        node.nodes.presences.detach(0)
        assert not node.source.acting
        node.nodes.presences.attach(0, node.source, 2)
        await eventually(lambda: a.source.acting or b.source.acting)
        acting = a if a.source.acting else b
        acting.source.say(world.joined(1), world.left(1))
    acting.source.say(world.joined(2))
    await eventually(lambda: a.seen == b.seen)
    assert set(b.hub.presence.guilds[10].voices) == {2}


@ensure
async def test_a_node_that_comes_late_is_told_the_whole(
    address: Any, start_node: Any, eventually: Any, world: Any
) -> None:
    a = start_node(address, "a")
    await eventually(lambda: a.source.acting)
    a.source.say(*world.begin_events(guilds=100), world.joined(1))
    b = start_node(address, "b")
    await eventually(lambda: a.seen == b.seen)


@ensure
async def test_a_planned_stop_hands_over_within_a_second_with_the_session(
    address: Any, start_node: Any, eventually: Any, world: Any
) -> None:
    a = start_node(address, "a")
    await eventually(lambda: a.source.acting)
    b = start_node(address, "b")
    a.source.say(*world.begin_events(), world.joined(1))
    await eventually(lambda: a.seen == b.seen)
    last = a.source.session_state
    began = time.monotonic()
    stopped = a.stop()
    await eventually(lambda: b.source.acting)
    assert time.monotonic() - began < 0.5
    await stopped
    (term,) = b.source.terms
    assert term.session == last
    assert term.fence.number > a.source.terms[0].fence.number
    assert b.hub.presence.guilds[10].knowledge is world.Knowledge.STALE
    assert list(b.hub.presence.guilds[10].voices) == [1]


@ensure
async def test_shards_spread_over_the_nodes_that_there_are(
    address: Any, start_node: Any, eventually: Any
) -> None:
    nodes = [start_node(address, "a", 4)]
    for source in nodes[0].sources:
        source.tells_all = True
    await eventually(lambda: all(s.acting for s in nodes[0].sources))
    nodes.append(start_node(address, "b", 4))
    held = [0, 0]

    def spread() -> bool:
        held[:] = [sum(s.acting for s in node.sources) for node in nodes]
        return held == [2, 2]

    await eventually(spread)
    await nodes[0].stop()
    await eventually(lambda: all(s.acting for s in nodes[1].sources))


@ensure
async def test_a_node_counts_what_it_holds_and_what_became_of_its_leases(
    own_redis: Any, own_address: Any, start_node: Any, eventually: Any, world: Any
) -> None:
    a = start_node(own_address, "a")
    await eventually(lambda: a.source.acting)
    b = start_node(own_address, "b")
    a.source.say(*world.begin_events())
    await eventually(lambda: a.seen == b.seen)
    registries = [CollectorRegistry(), CollectorRegistry()]
    for registry, node in zip(registries, (a, b), strict=True):
        registry.register(NodeMetrics(node.nodes))

    def counted(name: str, **labels: str) -> list[float | None]:
        name = f"voicestatus_node{name}"
        return [each.get_sample_value(name, labels) for each in registries]

    await eventually(lambda: counted("s") == [2, 2])
    assert counted("_shards") == [1, 0]
    assert counted("_shards_in_step") == [1, 1]
    await eventually(lambda: counted("_leases_total", outcome="renewed")[0])
    assert counted("_leases_total", outcome="lost") == [0, 0]
    own_redis.send(signal.SIGSTOP)
    await eventually(lambda: counted("_leases_total", outcome="lost") == [1, 0])
    own_redis.send(signal.SIGCONT)


@ensure
async def test_a_shard_may_be_added_while_the_node_runs(
    address: Any, start_node: Any, eventually: Any, world: Any
) -> None:
    a, b = start_node(address, "a", 0), start_node(address, "b", 0)
    assert not a.nodes.terms.holds(0)
    a.one_more_shard()
    await eventually(lambda: a.source.acting)
    a.source.say(*world.begin_events(), world.joined(1))
    b.one_more_shard()
    await eventually(lambda: a.seen == b.seen)


@ensure
async def test_redis_cut_off_stops_the_holder_within_the_lease_and_all_goes_on_after(
    own_redis: Any, own_address: Any, start_node: Any, eventually: Any, world: Any
) -> None:
    a = start_node(own_address, "a")
    await eventually(lambda: a.source.acting)
    b = start_node(own_address, "b")
    a.source.say(*world.begin_events(), world.joined(1))
    await eventually(lambda: a.seen == b.seen)
    own_redis.send(signal.SIGSTOP)
    began = time.monotonic()
    await eventually(lambda: not a.source.acting)
    assert time.monotonic() - began <= world.LEASE_S
    a.source.say(world.joined(5))
    assert 5 not in a.hub.presence.guilds[10].voices
    stale = world.Knowledge.STALE
    await eventually(lambda: b.hub.presence.guilds[10].knowledge is stale)
    assert list(b.hub.presence.guilds[10].voices) == [1]
    own_redis.send(signal.SIGCONT)
    await eventually(lambda: a.source.acting or b.source.acting)
    assert a.source.acting != b.source.acting
    holder = a if a.source.acting else b
    assert holder.source.terms[-1].session is not None
    holder.source.say(world.resumed(), world.joined(2))
    await eventually(lambda: a.seen == b.seen)
    assert set(a.hub.presence.guilds[10].voices) == {1, 2}


@ensure
async def test_redis_that_comes_back_empty_is_told_again_and_the_holder_stays(
    own_redis: Any, own_address: Any, start_node: Any, eventually: Any, world: Any
) -> None:
    a = start_node(own_address, "a")
    await eventually(lambda: a.source.acting)
    b = start_node(own_address, "b")
    a.nodes.messages.arrived("lamp")
    a.source.say(*world.begin_events(), world.joined(1))
    await eventually(lambda: a.seen == b.seen)
    emptied: list[str] = []
    for node in (a, b):
        node.nodes.when_emptied(lambda name=node.name: emptied.append(name))
    own_redis.ask("FLUSHALL")
    a.source.say(world.joined(2))
    await eventually(lambda: sorted(emptied) == ["a", "b"])
    await eventually(lambda: a.seen == b.seen)
    assert len(a.source.terms) == 1
    assert not b.source.terms
    assert await b.nodes.messages.where("lamp") == "a"
    stopped = a.stop()
    await eventually(lambda: b.source.acting)
    assert b.source.terms[0].fence.number > a.source.terms[0].fence.number
    await stopped


@ensure
async def test_nobody_takes_a_shard_of_a_redis_that_was_born_just_now(
    own_redis: Any, own_address: Any, start_node: Any, eventually: Any, world: Any
) -> None:
    own_redis.ask("FLUSHALL")
    began = time.monotonic()
    a = start_node(own_address, "a")
    await eventually(lambda: a.source.acting)
    assert time.monotonic() - began >= world.LEASE_S


@ensure
async def test_a_question_is_answered_by_the_node_that_holds_the_device(
    address: Any, start_node: Any, eventually: Any
) -> None:
    a, b = start_node(address, "a"), start_node(address, "b")

    async def serve(body: bytes) -> bytes:
        if body == b"no":
            raise Refusal("DEVICE_OFFLINE", "it is away")
        return body + b" done"

    a.nodes.messages.serve("device", serve)
    a.nodes.messages.arrived("lamp")
    ask = b.nodes.messages.ask
    node: list[str] = []

    async def look() -> None:
        found = await b.nodes.messages.where("lamp")
        node.extend([found] if found else [])

    while not node:
        await look()
    assert await b.nodes.messages.everywhere() == {"lamp": "a"}
    assert await ask(node[0], "device", b"blink") == b"blink done"
    with pytest.raises(Refusal, match="it is away"):
        await ask("a", "device", b"no")
    a.nodes.messages.departed("lamp")
    while await b.nodes.messages.where("lamp"):
        pass


@ensure
async def test_what_was_not_answered_in_time_is_withdrawn_or_of_unknown_fate(
    address: Any, start_node: Any, eventually: Any
) -> None:
    a, b = start_node(address, "a"), start_node(address, "b")
    asked: list[bytes] = []
    never: Deferred[bytes] = Deferred()

    async def serve(body: bytes) -> bytes:
        asked.append(body)
        return await never

    a.nodes.messages.serve("slow", serve)
    await eventually(lambda: a.source.acting or b.source.acting)
    with pytest.raises(FateUnknown):
        await b.nodes.messages.ask("a", "slow", b"?", limit_s=0.2)
    with pytest.raises(NodeGone):
        await b.nodes.messages.ask("nobody", "slow", b"?")
    assert asked == [b"?"]
    never.callback(b"")


@ensure
async def test_what_was_not_answered_before_redis_went_away_is_of_unknown_fate(
    own_redis: Any, own_address: Any, start_node: Any, eventually: Any
) -> None:
    a, b = start_node(own_address, "a"), start_node(own_address, "b")
    never: Deferred[bytes] = Deferred()

    async def serve(_: bytes) -> bytes:
        own_redis.kill()
        return await never

    a.nodes.messages.serve("last", serve)
    await eventually(lambda: a.source.acting or b.source.acting)
    with pytest.raises(FateUnknown):
        await b.nodes.messages.ask("a", "last", b"?", limit_s=0.3)
    never.callback(b"")


@ensure
async def test_what_could_not_be_told_makes_the_others_look_for_themselves(
    own_redis: Any, own_address: Any, start_node: Any, eventually: Any
) -> None:
    a, b = start_node(own_address, "a"), start_node(own_address, "b")
    await eventually(lambda: a.source.acting or b.source.acting)
    looked: list[bool] = []
    b.nodes.messages.hear("devices", lambda _: None, lambda: looked.append(True))
    own_redis.ask("CLIENT", "PAUSE", "300", "WRITE")
    own_redis.ask("CLIENT", "KILL", "TYPE", "normal")
    a.nodes.messages.tell("devices", b"lamp")
    await eventually(lambda: looked)


@ensure
async def test_the_user_of_the_page_on_storage_may_do_all_that_nodes_need(
    own_redis: Any, start_node: Any, eventually: Any, world: Any
) -> None:
    page = (Path(__file__).parents[2] / "docs/storage.md").read_text()
    (line,) = (line for line in page.splitlines() if line.startswith("user voice"))
    _, name, *rules = line.replace("PASSWORD", "pass").split()
    assert own_redis.ask("ACL", "SETUSER", name, *rules) == b"+OK\r\n"
    own_redis.ask("SET", "voicestatus:born", "1000")
    hosts = (("127.0.0.1", own_redis.port),)
    a, b = (
        start_node(InRedis(hosts, username=name, password="pass"), node)
        for node in "ab"
    )
    await eventually(lambda: a.source.acting or b.source.acting)
    holder = a if a.source.acting else b
    holder.source.say(*world.begin_events(), world.joined(1))
    await eventually(lambda: a.seen == b.seen)
    a.nodes.messages.arrived("lamp")
    while await b.nodes.messages.where("lamp") != "a":
        pass
    assert await b.nodes.messages.everywhere() == {"lamp": "a"}
    assert b"err" not in own_redis.ask("ACL", "LOG")


@ensure
async def test_what_one_node_tells_all_hear_but_itself(
    address: Any, start_node: Any, eventually: Any
) -> None:
    heard: list[tuple[str, bytes]] = []
    nodes = [start_node(address, name) for name in "abc"]
    for node in nodes:
        node.nodes.messages.hear(
            "devices",
            lambda body, name=node.name: heard.append((name, body)),
            lambda: None,
        )
    await eventually(lambda: any(n.source.acting for n in nodes))
    nodes[0].nodes.messages.tell("devices", b"lamp")
    await eventually(lambda: len(heard) == 2)
    assert sorted(heard) == [("b", b"lamp"), ("c", b"lamp")]
