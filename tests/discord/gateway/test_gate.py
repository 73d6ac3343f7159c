"""Several shards at the gate."""

import pytest
from twisted.internet.defer import Deferred

from voicestatus.discord.rest.wire import GatewayBot


@pytest.fixture
def entering(world):
    def enter(shard_id):
        permits = []
        waiting = Deferred.fromCoroutine(world.gate.enter(shard_id, lambda _: None))
        waiting.addCallback(permits.append)
        permits_and_waiting[id(permits)] = waiting
        return permits

    permits_and_waiting = {}
    yield enter
    for waiting in permits_and_waiting.values():
        waiting.addErrback(lambda _: None)
        waiting.cancel()


def test_shards_of_one_key_identify_five_seconds_apart(world, entering):
    first, second = entering(0), entering(1)
    assert (len(first), len(second)) == (1, 0)
    world.advance(30)  # the first takes its time until Hello
    assert second == []
    world.gate.leave(first[0], identified=True)
    world.advance(4.9)
    assert second == []
    world.advance(0.2)
    assert len(second) == 1


def test_shards_of_different_keys_identify_side_by_side(world, entering):
    world.api.bot = GatewayBot("wss://base.example", 16, 900, 0.0, 16)
    assert [len(entering(shard)) for shard in range(16)] == [1] * 16
    assert entering(16) == []


def test_who_gives_up_while_waiting_lets_the_next_one_in(world):
    first = Deferred.fromCoroutine(world.gate.enter(0, lambda _: None))
    second = Deferred.fromCoroutine(world.gate.enter(1, lambda _: None))
    third = Deferred.fromCoroutine(world.gate.enter(2, lambda _: None))
    world.gate.leave(first.result, identified=True)
    second.addErrback(lambda _: None)
    second.cancel()  # in its five seconds
    world.advance(5)
    assert third.called


def test_a_permit_that_was_not_used_is_not_paid_for_twice(world, entering):
    for shard in range(5):
        (permit,) = entering(shard)
        world.gate.leave(permit, identified=False)
    assert len(world.store.writes) == 1


def test_the_last_identify_of_the_process_before_keeps_its_distance(world, entering):
    (permit,) = entering(0)
    world.gate.leave(permit, identified=True)
    again = type(world.gate)(
        world.api,
        world.store,
        world.gate._metrics,
        world.clock,
        world.gate._wall,
    )
    permits = []
    waiting = Deferred.fromCoroutine(again.enter(0, lambda _: None))
    waiting.addCallback(permits.append)
    world.advance(4.9)
    assert permits == []
    world.advance(0.2)
    assert len(permits) == 1
