"""The cast that comes and goes by itself."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from twisted.internet.task import Clock

from voicestatus.simulator.chatter import MINUTES_AGO
from voicestatus.simulator.community import Community
from voicestatus.simulator.faults import Faults
from voicestatus.simulator.gateway import Gateway
from voicestatus.simulator.log import ClientLog
from voicestatus.simulator.people import People
from voicestatus.simulator.sessions import Rules, Sessions
from voicestatus.simulator.stage import Stage
from voicestatus.simulator.world import World

GUILD = 7
NOW = datetime(2026, 11, 21, 20, tzinfo=UTC)


class Play:
    """A stage without a port, and its cast."""

    def __init__(self, count: int, rate_per_s: float, seed: int = 0) -> None:
        self.clock: Any = Clock()
        self.world = World((GUILD,), seed)
        sessions = Sessions(Rules(), lambda: "s")
        gateway = Gateway(self.world, sessions, ClientLog(), Faults(), self.clock)
        community = Community(self.world, lambda: "token")
        self.stage = Stage(self.world, gateway, Faults(), lambda: "T", community)
        self.messages = community.messages
        self.people = People(
            self.stage,
            GUILD,
            count=count,
            rate_per_s=rate_per_s,
            rng=random.Random(seed),
            clock=self.clock,
            now=lambda: NOW + timedelta(seconds=self.clock.seconds()),
        )

    def written(self) -> list[tuple[int, str, str]]:
        """Who wrote what when, the oldest first."""
        rooms = self.world.guilds[GUILD].channels
        messages = [each for room in rooms for each in self.messages.newest(room)]
        messages.sort(key=lambda message: message.id)
        return [(each.author, each.content, each.timestamp) for each in messages]

    def crowds(self, seconds: float, step_s: float) -> list[int]:
        """How many were in voice, looked at every so often."""
        seen = []
        for _ in range(round(seconds / step_s)):
            self.clock.advance(step_s)
            home = self.world.guilds.get(GUILD)
            seen.append(len(home.voice) if home else -1)
        return seen


def test_now_and_then_nobody_is_left_and_then_all_are_there() -> None:
    play = Play(4, 0.5)
    play.people.start()
    crowds = play.crowds(600, 1)
    assert crowds.count(0) > 30
    assert {1, 2, 3, 4} <= set(crowds)


def test_the_same_seed_plays_the_same_piece() -> None:
    plays = [Play(5, 2, seed=9), Play(5, 2, seed=9), Play(5, 2, seed=8)]
    for play in plays:
        play.people.start()
        play.crowds(60, 1)
    assert plays[0].world.state() == plays[1].world.state()
    assert plays[0].world.state() != plays[2].world.state()


@pytest.mark.parametrize("rate_per_s", [1.0, 50.0, 5000.0])
def test_changes_come_at_about_the_rate_that_was_asked_for(rate_per_s: float) -> None:
    play = Play(500, rate_per_s)
    play.people.start()
    before = play.world.changes
    seconds = max(2.0, 100 / rate_per_s)
    play.crowds(seconds, 0.01)
    made = play.world.changes - before
    assert 0.7 * rate_per_s * seconds <= made <= 1.1 * rate_per_s * seconds


def test_a_cast_that_was_stopped_stays_where_it_is() -> None:
    play = Play(5, 10)
    play.people.start()
    play.crowds(5, 0.1)
    play.people.stop()
    changes = play.world.changes
    play.crowds(5, 0.1)
    assert play.world.changes == changes
    assert not play.people.running
    play.people.start()
    play.crowds(5, 0.1)
    assert play.world.changes > changes
    play.people.stop()
    play.people.stop()


def test_no_cast_does_nothing() -> None:
    play = Play(0, 10)
    play.people.start()
    assert not play.people.running
    assert play.written() == []


def test_some_have_written_before_and_now_and_then_somebody_writes() -> None:
    plays = [Play(5, 1, seed=9), Play(5, 1, seed=9), Play(5, 1, seed=8)]
    for play in plays:
        play.people.start()
    before = plays[0].written()
    assert len(before) == len(MINUTES_AGO)
    assert before[0][2] == "2026-11-21T16:57:00+00:00"
    assert all(line[2] < NOW.isoformat() for line in before)
    for play in plays:
        play.crowds(300, 1)
    play = plays[0]
    written = play.written()
    assert written == plays[1].written() != plays[2].written()
    assert len(before) + 5 <= len(written) <= len(before) + 10
    lines = [line for _, line, _ in written]
    assert len(set(lines)) == len(lines)
    assert len({user for user, _, _ in written}) > 1
    play.people.stop()
    play.crowds(300, 10)
    assert play.written() == written


def test_in_a_room_people_mute_deafen_and_stream_and_who_hears_nothing_is_mute() -> (
    None
):
    play, seen = Play(5, 5), set()
    play.people.start()
    for _ in range(600):
        play.clock.advance(1)
        for state in play.world.guilds[GUILD].voice.values():
            seen.add((state.self_mute, state.self_deaf, state.self_stream))
    assert {(True, False, False), (True, True, False), (False, False, True)} < seen
    assert not any(deaf and not mute for mute, deaf, _ in seen)


def test_the_cast_survives_whatever_controls_do_to_its_guild() -> None:
    play = Play(5, 10)
    play.people.start()
    for room in play.world.guilds[GUILD].rooms:
        play.crowds(5, 0.1)
        play.stage.remove_channel(room)
    play.crowds(5, 0.1)
    home = play.world.guilds[GUILD]
    for user in sorted(home.members.keys() - {home.owner, play.world.bot.id})[:6]:
        play.stage.dismiss(GUILD, user)
    play.crowds(90, 10)
    for channel in tuple(home.channels):
        play.stage.remove_channel(channel)
    play.crowds(90, 10)
    play.stage.remove_guild(GUILD)
    play.crowds(90, 10)
    play.crowds(5, 0.1)
    play.stage.add_guild(GUILD)
    assert max(play.crowds(5, 0.1)) > 0
