"""What REST tells of the bot's rights."""

import json
from typing import Any

from treq.testing import StubTreq
from twisted.internet.task import Clock

from voicestatus.simulator import intents
from voicestatus.simulator.faults import Faults
from voicestatus.simulator.log import ClientLog
from voicestatus.simulator.payloads import Overwrite
from voicestatus.simulator.rest import Rest
from voicestatus.simulator.sessions import Rules, Sessions
from voicestatus.simulator.world import BOT_PERMISSIONS, EVERYONE, World

GUILD = 7
VIEW = 1 << 10


def ask(world: World, path: str, **rules: Any) -> Any:
    clock: Any = Clock()
    sessions = Sessions(Rules(**rules), lambda: "s")
    rest = Rest(world, sessions, ClientLog(), Faults(), clock, secure=False)
    stub, answers = StubTreq(rest.app.resource()), []
    asked = stub.get(f"http://discord{path}", headers={"Authorization": "Bot t"})
    asked.addCallback(lambda response: response.content()).addCallback(answers.append)
    stub.flush()
    return json.loads(answers[0])


def test_the_guilds_of_the_bot_show_what_its_roles_allow():
    world = World([GUILD])
    (guild,) = ask(world, "/users/@me/guilds")
    assert int(guild["permissions"]) == BOT_PERMISSIONS | EVERYONE
    for role in world.guilds[GUILD].roles:
        role.permissions = 0
    (guild,) = ask(world, "/users/@me/guilds")
    assert guild["permissions"] == "0"


def test_a_channel_shows_its_overwrites():
    world = World([GUILD])
    home = world.guilds[GUILD]
    room = home.channels[home.rooms[0]]
    room.overwrites = (Overwrite(9, allow=1, of_member=True), Overwrite(8, deny=2))
    shown = next(
        c for c in ask(world, f"/guilds/{GUILD}/channels") if c["id"] == str(room.id)
    )
    assert shown["permission_overwrites"] == [
        {"id": "9", "type": 1, "allow": "1", "deny": "0"},
        {"id": "8", "type": 0, "allow": "0", "deny": "2"},
    ]


def test_a_channel_that_the_bot_cannot_see_is_left_out():
    world = World([GUILD])
    home = world.guilds[GUILD]
    room = home.channels[home.rooms[0]]
    room.overwrites = (Overwrite(GUILD, deny=VIEW),)
    told = ask(world, f"/guilds/{GUILD}/channels")
    assert str(room.id) not in {channel["id"] for channel in told}
    assert len(told) == len(home.channels) - 1


def test_flags_tell_which_privileged_intents_are_switched_on():
    assert ask(World(), "/applications/@me")["flags"] == 565_248
    off = intents.GUILD_MEMBERS | intents.GUILD_PRESENCES
    told = ask(World(), "/applications/@me", disallowed_intents=off)
    assert told["flags"] == 1 << 19
