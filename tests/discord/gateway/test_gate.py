"""Several shards at the gate."""

import msgspec
import pytest
from twisted.internet.defer import Deferred

from voicestatus.core.errors import StoreError
from voicestatus.discord.gateway.identify import BURST, PERIOD_S, SPACING_S, Spent
from voicestatus.discord.rest.errors import TokenRefused
from voicestatus.discord.rest.wire import GatewayBot

HOUR_S = 3600.0


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
    world.advance(5.1)
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
    world.advance(5.5)
    assert third.called


class SharedTurn:
    """Another node's turn, for some seconds."""

    def __init__(self, clock, others_for_s):
        self.clock, self.free_at = clock, clock.seconds() + others_for_s
        self.broken = False
        self.given = []

    async def take(self, name, for_s):
        assert name == "identify:0"
        if self.broken:
            raise StoreError("no")
        return max(0.0, self.free_at - self.clock.seconds())

    async def give(self, name, after_s):
        self.given.append((name, after_s))


def test_it_waits_for_its_turn_among_the_nodes_and_hands_it_on(world, entering):
    world.gate._turns = turns = SharedTurn(world.clock, others_for_s=8)
    permits = entering(0)
    world.advance(7.9)
    assert permits == []
    world.advance(0.2)
    world.gate.leave(permits[0], identified=True)
    (again,) = [entering(0)]
    world.advance(10)
    world.gate.leave(again[0], identified=False)
    assert turns.given == [("identify:0", SPACING_S), ("identify:0", 0.0)]


def test_it_takes_its_turn_again_when_discord_made_it_wait_meanwhile(world, entering):
    world.gate._turns = turns = SharedTurn(world.clock, others_for_s=8)
    permits = entering(0)
    world.api.bot = GatewayBot("wss://base.example", 1000, 0, 60.0, 1)
    world.advance(9)
    turns.free_at = world.clock.seconds() + 70  # ours is over; another node was first
    world.api.bot = GatewayBot("wss://base.example", 1000, 1, 60.0, 1)
    world.advance(69)
    assert permits == []
    world.advance(2)
    assert len(permits) == 1


def test_while_nobody_can_say_whose_turn_it_is_it_goes_on(world, entering):
    world.gate._turns = turns = SharedTurn(world.clock, others_for_s=8)
    turns.broken = True
    assert len(entering(0)) == 1


def test_what_another_node_has_spent_counts(world, entering):
    (permit,) = entering(0)
    world.gate.leave(permit, identified=True)
    now = world.gate._wall()
    spent = msgspec.json.encode(Spent(now + BURST * PERIOD_S, now))
    Deferred.fromCoroutine(world.store.put("identify-times", "bot", spent))
    permits = entering(0)
    world.advance(PERIOD_S - 0.1)
    assert permits == []
    world.advance(0.2)
    assert len(permits) == 1


def test_what_another_node_spends_meanwhile_is_not_overwritten(world, entering):
    now, write = world.gate._wall(), world.store.write
    theirs = msgspec.json.encode(Spent(now + 5 * PERIOD_S, now))

    async def after_them(*changes, fence=None):
        world.store.write = write
        await world.store.put("identify-times", "bot", theirs)
        return await write(*changes, fence=fence)

    world.store.write = after_them
    assert len(entering(0)) == 1
    last = msgspec.json.decode(world.store.writes[-1].body, type=Spent)
    assert last.paid_until == now + 6 * PERIOD_S


def test_a_permit_that_was_not_used_is_not_paid_for_twice(world, entering):
    for shard in range(5):
        (permit,) = entering(shard)
        world.gate.leave(permit, identified=False)
    assert len(world.store.writes) == 1


@pytest.fixture
def restarted(world):
    """The gate of a process that was started anew, on a clock that may have jumped."""

    def restart(jumped_s=0.0):
        world.gate = type(world.gate)(
            world.api,
            world.store,
            world.gate._turns,
            world.gate._metrics,
            world.clock,
            lambda wall=world.gate._wall: wall() + jumped_s,
        )

    return restart


def test_the_last_identify_of_the_process_before_keeps_its_distance(
    world, entering, restarted
):
    (permit,) = entering(0)
    world.gate.leave(permit, identified=True)
    restarted()
    permits = entering(0)
    world.advance(5.1)
    assert permits == []
    world.advance(0.2)
    assert len(permits) == 1


def test_a_clock_that_went_back_keeps_nobody_out(world, entering, restarted):
    (permit,) = entering(0)
    world.gate.leave(permit, identified=True)
    restarted(jumped_s=-HOUR_S)
    permits = entering(0)
    world.advance(5.1)
    assert permits == []
    world.advance(0.2)
    assert len(permits) == 1


def test_a_clock_that_went_back_adds_one_period_to_a_spent_budget(
    world, entering, restarted
):
    now = world.gate._wall()
    spent = msgspec.json.encode(Spent(now + BURST * PERIOD_S, now))
    Deferred.fromCoroutine(world.store.put("identify-times", "bot", spent))
    restarted(jumped_s=-24 * HOUR_S)
    permits = entering(0)
    world.advance(PERIOD_S - 0.1)
    assert permits == []
    world.advance(0.2)
    assert len(permits) == 1


def test_who_has_waited_in_line_asks_again_what_discord_still_allows(world, entering):
    world.api.bot = GatewayBot("wss://base.example", 2, 1, 0.0, 1)
    first, second = entering(0), entering(1)
    world.api.bot = GatewayBot("wss://base.example", 2, 0, HOUR_S, 1)
    world.gate.leave(first[0], identified=True)
    world.advance(HOUR_S)
    assert second == []
    world.api.bot = GatewayBot("wss://base.example", 2, 1000, 0.0, 1)
    world.advance(10)
    assert len(second) == 1


def test_shards_that_come_together_are_all_charged(world, entering):
    world.api.bot = GatewayBot("wss://base.example", 2, 900, 0.0, 2)
    reads, read_at_once = [], world.store.get

    async def get(kind, id_):
        reads.append(Deferred())
        await reads[-1]
        return await read_at_once(kind, id_)

    world.store.get = get
    entering(0), entering(1)
    for read in reads:
        read.callback(None)
    last = msgspec.json.decode(world.store.writes[-1].body, type=Spent)
    assert last.paid_until == world.gate._wall() + 2 * PERIOD_S


def test_a_store_that_hangs_holds_nobody_up_for_long(world, entering):
    hanging = []

    async def hang(*_):
        hanging.append(Deferred())
        await hanging[-1]

    world.store.get = world.store.write = hang
    permits = entering(0)
    world.advance(5)
    assert len(permits) == 1
    assert len(hanging) == 2


def test_shards_that_come_together_go_by_one_answer_and_in_order(world, entering):
    world.api.bot = GatewayBot("wss://base.example", 3, 900, 0.0, 3)
    world.api.answers_when = Deferred()
    order = []
    for shard in range(3):
        waiting = Deferred.fromCoroutine(world.gate.enter(shard, lambda _: None))
        waiting.addCallback(lambda permit: order.append(permit.key))
    world.api.answers_when.callback(None)
    world.advance(0.1)
    assert (order, world.api.asked) == ([0, 1, 2], 1)


def test_who_gives_up_asking_lets_the_next_one_ask(world):
    world.api.answers_when = Deferred()
    first, second = (
        Deferred.fromCoroutine(world.gate.enter(shard, lambda _: None))
        for shard in range(2)
    )
    first.addErrback(lambda _: None)
    first.cancel()
    world.api.answers_when = None
    world.advance(0.1)
    assert second.called
    world.gate.leave(second.result, identified=True)


def test_a_token_that_was_refused_is_not_shown_again_for_each_shard(world):
    world.api.error = TokenRefused(401, 0, "Unauthorized")
    for shard in range(4):
        entering = Deferred.fromCoroutine(world.gate.enter(shard, lambda _: None))
        entering.addErrback(lambda failure: failure.trap(TokenRefused))
    assert world.api.asked == 1


def test_no_more_enter_than_discord_has_left_and_then_it_is_asked_again(
    world, entering
):
    world.api.bot = GatewayBot("wss://base.example", 16, 2, 3600.0, 16)
    permits = [entering(shard) for shard in range(4)]
    assert list(map(len, permits)) == [1, 1, 0, 0]
    world.gate.leave(permits[0][0], identified=False)  # it was not used
    world.advance(6)
    assert list(map(len, permits)) == [1, 1, 1, 1]
