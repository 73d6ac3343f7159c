"""A holder whose lease ends unawares: what it hears then is nobody's."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from voicestatus.cluster import wire
from voicestatus.cluster.relay import LOOKS, Relay, Term
from voicestatus.core.presence import Presence
from voicestatus.core.session import SessionState
from voicestatus.hub import Hub
from voicestatus.store.documents import Fence

LEASE_S = 3.0


class StubBus:
    """All that is told is heard here alone, when the test says so."""

    node = "a"

    def __init__(self) -> None:
        self.told: list[wire.News] = []
        self.hear: Callable[[wire.News], object]

    def subscribe(
        self, hear: Callable[[wire.News], object], _missed: Callable[[], object]
    ) -> None:
        self.hear = hear

    async def tell(self, news: wire.News, *_fence: int) -> bool:
        self.told.append(news)
        return True


class StubLeases:
    held = True

    def add(self, _shard: int, acts: Any) -> None:
        self.acts = acts

    def holds(self, _shard: int) -> bool:
        return self.held


class Source:
    session_state: SessionState | None = None

    def begin(self, term: Term) -> None:
        self.began = term

    def end(self) -> None:
        """It has no connection."""


@pytest.fixture
def holder(world: Any) -> SimpleNamespace:
    clock, bus, leases, source = Clock(), StubBus(), StubLeases(), Source()
    hub = Hub(Presence())
    relay: Any = Relay(bus, leases, hub, LEASE_S, clock)  # type: ignore[arg-type] # stubs

    def take(shard_term: int) -> None:
        leases.held = True
        leases.acts.begin(Fence(0, shard_term))
        bus.hear(bus.told[-1])

    def say(*events: Any) -> None:
        for event in events:
            seq = source.session_state.seq + 1 if source.session_state else 1
            source.session_state = SessionState("s", seq, "wss://resume")
            relay.deliver(0, event)

    relay.startService()
    relay.attach(0, source)
    take(5)
    say(*world.begin_events(), world.joined(1))
    return SimpleNamespace(
        clock=clock,
        bus=bus,
        leases=leases,
        source=source,
        hub=hub,
        relay=relay,
        say=say,
        take=take,
        stop=relay.stopService,
    )


def test_what_comes_after_the_lease_is_dropped_and_counts_for_no_resume(
    holder: SimpleNamespace, world: Any
) -> None:
    last = holder.source.session_state
    holder.leases.held = False
    holder.say(world.joined(2))
    assert set(holder.hub.presence.guilds[10].voices) == {1}
    holder.clock.advance(LOOKS * LEASE_S)  # a beat, before the lease's own end
    assert holder.bus.told[-1].session == last
    holder.leases.acts.end()
    holder.take(6)
    assert holder.source.began.session == last
    holder.stop()


def test_what_is_shared_is_what_redis_has(holder: SimpleNamespace, world: Any) -> None:
    last = holder.source.session_state
    assert holder.relay.shared(0, last)
    later = SessionState("s", last.seq + 1, "wss://resume")
    assert not holder.relay.shared(0, later)
    assert not holder.relay.shared(0, SessionState("t", 1, "wss://resume"))
    holder.say(world.joined(2))
    assert holder.relay.shared(0, later)
    # A number that nobody was told an event of: the next beat tells it.
    latest = SessionState("s", later.seq + 1, "wss://resume")
    holder.source.session_state = latest
    assert not holder.relay.shared(0, latest)
    holder.clock.advance(LOOKS * LEASE_S)
    assert holder.relay.shared(0, latest)
    holder.stop()


def test_a_holder_that_never_knew_the_whole_asks_the_next_one_for_it(
    holder: SimpleNamespace, world: Any
) -> None:
    hub, bus, clock = Hub(Presence()), StubBus(), Clock()
    fresh: Any = Relay(bus, holder.leases, hub, LEASE_S, clock)  # type: ignore[arg-type] # stubs
    fresh.startService()
    fresh.attach(0, Source())
    holder.leases.acts.begin(Fence(0, 8))
    bus.hear(bus.told[-1])
    assert fresh.in_step(0)
    holder.leases.acts.end()  # before it has heard anything of Discord
    bus.hear(wire.TermBegan(0, 9, "b"))
    assert not fresh.in_step(0)
    clock.advance(LOOKS * LEASE_S)
    assert bus.told[-1] == wire.Wanted(0, "a")
    fresh.stopService()
    holder.stop()
