"""One shard in its terms: from where its link goes on, and what is confirmed."""

from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred

from voicestatus.cluster.relay import Term
from voicestatus.core.guild import Picture, Voice
from voicestatus.core.presence import GuildArrived, SourceLost
from voicestatus.core.session import SessionState
from voicestatus.discord.gateway.held import HeldShard
from voicestatus.discord.gateway.status import State, Status
from voicestatus.journal.service import Recalled
from voicestatus.store.documents import Fence

GUILD, ME, ADA = 1 << 22, 99, 7
TOLD = SessionState("told", 8, "wss://resume")
STORED = SessionState("stored", 5, "wss://resume")
FENCE = Fence(1, 100)


class FakeLink:
    running = 0
    session_state = None
    status = Status(State.RESUMING)

    def __init__(self, memory):
        self.memory = memory
        self.confirmed = []

    def startService(self):
        self.running = 1
        self.found = Deferred.fromCoroutine(self.memory.restored(1))

    def stopService(self):
        self.running = 0
        self.closed = Deferred()
        return self.closed

    def stored(self, state):
        self.confirmed.append(state)


class FakePresences:
    """The relay: remembers what was delivered, and what a Resume needed then."""

    def __init__(self):
        self.delivered = []
        self.is_linked = self.is_in_step = False
        self.is_shared = True

    def deliver(self, shard, event):
        self.delivered.append((event, self.held.session_state))

    def linked(self, shard):
        return self.is_linked

    def in_step(self, shard):
        return self.is_in_step

    def shared(self, shard, state):
        return self.is_shared


class FakeJournal:
    found = None

    def __init__(self):
        self.added, self.dropped = [], []

    async def restored(self, shard):
        return STORED

    async def recall(self, shard):
        return self.found

    def add(self, shard, link, fence):
        self.added.append((shard, fence))

    async def drop(self, shard):
        self.dropped.append(shard)


@pytest.fixture
def world():
    world = SimpleNamespace(
        links=[], journal=FakeJournal(), presences=FakePresences(), held=None
    )

    def make(memory):
        world.links.append(FakeLink(memory))
        return world.links[-1]

    world.closing = []
    world.held = HeldShard(
        1, make, world.journal, world.presences, world.closing.append
    )
    world.presences.held = world.held
    return world


def test_the_only_node_goes_on_from_what_was_restored(world):
    world.held.begin(Term(None, None))
    assert world.links[0].found.result == STORED
    assert world.journal.added == [(1, None)]
    assert world.presences.delivered == []


def test_a_new_holder_goes_on_from_what_it_was_told(world):
    world.held.begin(Term(FENCE, TOLD))
    assert world.links[0].found.result == TOLD
    assert world.journal.added == [(1, FENCE)]


def test_who_was_told_nothing_goes_back_to_what_is_stored_and_takes_all_along(world):
    picture = Picture(GUILD, "a guild", None, (), True, True, False)
    guilds = ((picture, (Voice(ADA, 5),)),)
    world.journal.found = Recalled(STORED, ME, guilds, 2)
    world.held.begin(Term(FENCE, None))
    assert world.links[0].found.result == STORED
    *events, last = world.presences.delivered
    assert any(isinstance(event, GuildArrived) for event, _ in events)
    # Who is killed in the midst of it leaves no session for a part of the picture.
    assert {session for _, session in events} == {None}
    assert last == (SourceLost(1), STORED)


def test_where_nothing_is_stored_it_begins_anew(world):
    world.held.begin(Term(FENCE, None))
    assert world.links[0].found.result is None
    assert world.journal.added == [(1, FENCE)]


def test_each_term_has_a_link_of_its_own_and_the_last_ones_place_can_be_read(world):
    world.held.begin(Term(FENCE, TOLD))
    world.links[0].session_state = TOLD
    assert world.held.end().called
    assert world.held.session_state == TOLD
    assert (world.links[0].running, world.journal.dropped) == (0, [1])
    assert world.closing == [world.links[0].closed]
    world.held.begin(Term(FENCE, TOLD))
    assert len(world.links) == 2


def test_what_the_others_do_not_know_is_not_confirmed(world):
    world.held.begin(Term(FENCE, TOLD))
    world.presences.is_shared = False
    world.held.stored(TOLD)
    assert world.links[0].confirmed == []
    world.presences.is_shared = True
    world.held.stored(TOLD)
    assert world.links[0].confirmed == [TOLD]
    world.held.end()
    world.held.stored(TOLD)
    assert world.links[0].confirmed == [TOLD]


def test_its_status_is_the_links_or_that_of_the_holders(world):
    assert "no other node" in world.held.status.problem
    world.presences.is_in_step = True
    assert "no node hears Discord" in world.held.status.problem
    world.presences.is_linked = True
    assert world.held.status == Status(State.READY)
    world.held.begin(Term(FENCE, TOLD))
    assert world.held.status == Status(State.RESUMING)
