"""What the simulator lets its bot see."""

import json
from pathlib import Path
from typing import Any

import pytest

from voicestatus.simulator import permissions
from voicestatus.simulator.payloads import Overwrite, Role
from voicestatus.simulator.world import Voice, World

GUILD = 7
VIEW, CONNECT = 1 << 10, 1 << 20
CASES = json.loads(
    (Path(__file__).parents[1] / "fixtures/derived/permission_cases.json").read_text()
)


@pytest.fixture
def world() -> World:
    return World([GUILD])


def names(world: World) -> list[str]:
    seen = permissions.visible(world.guilds[GUILD], world.bot.id)
    return [channel.name for channel in seen]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_documented_cases_of_seeing_hold(world: World, case: dict[str, Any]):
    home = world.guilds[GUILD]
    home.id, home.owner = int(case["guild"]["id"]), int(case["guild"]["owner_id"])
    home.roles = tuple(
        Role(int(role["id"]), "role", 0, int(role["permissions"]))
        for role in case["guild"]["roles"]
    )
    user = int(case["member"]["id"])
    member = home.members[user] = next(iter(home.members.values()))
    member.roles = tuple(int(role) for role in case["member"]["roles"])
    lounge = next(c for c in home.channels.values() if c.name == "Lounge")
    lounge.overwrites = tuple(
        Overwrite(int(o["id"]), int(o["allow"]), int(o["deny"]), o["type"] == 1)
        for o in case["permission_overwrites"]
    )
    allowed = case["expect"] == "ALL" or int(case["expect"])
    sees = allowed is True or bool(allowed & VIEW)
    assert (lounge in permissions.visible(home, user)) == sees
    # The cases say nothing of what a voice channel needs besides: Connect.
    general = next(c for c in home.channels.values() if c.name == "general")
    general.overwrites = lounge.overwrites
    expected = permissions.EVERYTHING if allowed is True else allowed
    assert permissions.inside(home, user, general) == expected


def test_a_voice_channel_where_one_may_not_connect_allows_nothing_else(world: World):
    home = world.guilds[GUILD]
    room = home.channels[home.rooms[0]]
    room.overwrites = (Overwrite(GUILD, deny=CONNECT), Overwrite(home.roles[2].id))
    user = max(home.members)
    assert permissions.inside(home, user, room) == VIEW


def test_all_is_seen_at_first(world: World):
    assert len(names(world)) == len(world.guilds[GUILD].channels)


def test_a_hidden_room_is_left_out(world: World):
    home = world.guilds[GUILD]
    room = home.channels[home.rooms[0]]
    room.overwrites = (Overwrite(GUILD, deny=VIEW),)
    assert room.name not in names(world)
    world.join(GUILD, world.bot.id, room.id, Voice())
    assert room.name in names(world)


def test_a_category_shows_with_its_rooms_alone(world: World):
    for channel in world.guilds[GUILD].channels.values():
        channel.overwrites = (Overwrite(GUILD, deny=VIEW),)
    assert names(world) == []
    room = world.guilds[GUILD].channels[world.guilds[GUILD].rooms[0]]
    room.overwrites = ()
    assert names(world) == ["Main", room.name]
