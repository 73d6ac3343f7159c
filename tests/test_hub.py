"""The hub: everybody hears the same, and nobody can silence another."""

from twisted.logger import LogEvent

from voicestatus.core.ids import GuildId, UserId
from voicestatus.core.presence import (
    Change,
    GuildArrived,
    GuildChanged,
    GuildUpdated,
    Presence,
    SessionBegan,
    SourceHeard,
)
from voicestatus.hub import Hub

HOME = GuildId(100)
READY = SessionBegan(0, UserId(1), frozenset({HOME}))
ARRIVED = GuildArrived(0, HOME, "a guild", None, (), ())


def renamed(name: str) -> GuildUpdated:
    return GuildUpdated(HOME, name, None)


def test_a_subscriber_hears_the_snapshot_and_then_each_change():
    hub, told = Hub(Presence()), list[Change]()
    hub.apply(READY)
    hub.apply(ARRIVED)
    hub.subscribe(told.append)
    assert told == [GuildChanged(HOME), SourceHeard()]
    hub.apply(renamed("another"))
    assert told[2:] == [GuildChanged(HOME)]


def test_who_left_hears_nothing_more_and_may_leave_twice():
    hub, told = Hub(Presence()), list[Change]()
    leave = hub.subscribe(told.append)
    leave()
    leave()
    hub.apply(READY)
    assert told == []


def test_one_that_fails_silences_nobody_and_hears_the_next_change(
    nothing_is_left_behind: list[LogEvent],
):
    hub, told = Hub(Presence()), list[Change]()
    calls: list[Change] = []

    def fails_once(change: Change) -> None:
        calls.append(change)
        if len(calls) == 1:
            raise ValueError

    hub.subscribe(fails_once)
    hub.subscribe(told.append)
    hub.apply(READY)
    hub.apply(ARRIVED)
    assert calls == told
    assert len(calls) > 1
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()
