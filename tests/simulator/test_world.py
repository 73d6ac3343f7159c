"""The pretended world, and whether it talks as Discord does."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from voicestatus.simulator.messages import Messages
from voicestatus.simulator.world import Dispatch, RefusedError, Voice, World

GUILD = 1187000000000000001
EVERYTHING = 0x1FFFF
VOICE_ONLY = 129


def body(dispatch: Dispatch, intents: int = VOICE_ONLY) -> Any:
    made = dispatch.body
    return json.loads(made if isinstance(made, bytes) else made(intents))


def names(dispatches: list[Dispatch]) -> list[str]:
    return [dispatch.name for dispatch in dispatches]


@pytest.fixture
def world() -> World:
    return World((GUILD,))


def written(world: World, channel: int, user: int) -> list[Dispatch]:
    return Messages(world).write(channel, user, "hi", "T")


def somebody(world: World, user: int = 5) -> int:
    world.meet(GUILD, user, "ella")
    return user


def test_a_guild_is_furnished_as_the_contract_says(world: World) -> None:
    guild: Any = world.guilds[GUILD].payload()
    kinds = [room.type for room in world.guilds[GUILD].channels.values()]
    assert kinds.count(2) >= 3
    assert kinds.count(13) == 1
    assert kinds.count(0) == 2
    assert kinds.count(4) == 1
    assert len(guild["roles"]) == 4
    assert guild["afk_channel_id"] is not None
    assert world.bot.id in world.guilds[GUILD].members


def test_ids_follow_from_the_seed_alone() -> None:
    assert World(seed=3).guilds.keys() == World(seed=3).guilds.keys()
    assert World(seed=3).bot.id != World(seed=4).bot.id


def test_a_voice_state_has_the_fields_of_discords_own(
    world: World, fixture_data: Callable[[str], Any]
) -> None:
    (joined,) = world.join(GUILD, somebody(world), world.guilds[GUILD].rooms[0])
    theirs = fixture_data("gateway/voice_state_update_join")
    ours = body(joined)
    assert ours.keys() == theirs.keys()
    assert ours["member"].keys() == theirs["member"].keys()
    assert ours["member"]["user"].keys() == theirs["member"]["user"].keys()


def test_a_guild_create_has_the_fields_of_discords_own(
    world: World, fixture_data: Callable[[str], Any]
) -> None:
    world.join(GUILD, somebody(world), world.guilds[GUILD].rooms[0])
    theirs = fixture_data("gateway/guild_create")
    ours = json.loads(world.guild_create(world.guilds[GUILD])(VOICE_ONLY))
    assert ours.keys() == theirs.keys()
    assert ours["voice_states"][0].keys() == theirs["voice_states"][0].keys()
    assert ours["roles"][0].keys() == theirs["roles"][0].keys()
    for kind in (0, 2, 4, 13):
        mine = next(c for c in ours["channels"] if c["type"] == kind)
        other = next(c for c in theirs["channels"] if c["type"] == kind)
        assert mine.keys() - {"guild_id"} == other.keys()


@pytest.mark.parametrize(
    ("fixture", "act"),
    [
        ("gateway/channel_create_voice", lambda w: w.add_channel(GUILD, kind=2)),
        (
            "gateway/guild_member_remove",
            lambda w: w.dismiss(GUILD, max(w.guilds[GUILD].members)),
        ),
        ("gateway/guild_member_add", lambda w: w.meet(GUILD, 9)),
        ("gateway/guild_delete_removed", lambda w: w.remove_guild(GUILD)),
        ("gateway/guild_delete_outage", lambda w: w.begin_outage(GUILD)),
        (
            "gateway/message_create_no_content_intent",
            lambda w: written(w, w.guilds[GUILD].system, w.guilds[GUILD].owner),
        ),
    ],
)
def test_a_dispatch_has_the_fields_of_discords_own(
    world: World,
    fixture_data: Callable[[str], Any],
    fixture: str,
    act: Callable[[World], list[Dispatch]],
) -> None:
    assert body(act(world)[-1]).keys() == fixture_data(fixture).keys()


def test_a_forum_has_the_fields_of_discords_own(
    world: World, fixture_data: Callable[[str], Any]
) -> None:
    (made,) = world.add_channel(GUILD, kind=15)
    channels = fixture_data("gateway/guild_create")["channels"]
    theirs = next(channel for channel in channels if channel["type"] == 15)
    assert body(made).keys() - {"guild_id"} == theirs.keys()


def test_members_are_only_the_bot_and_who_is_in_voice(world: World) -> None:
    user = somebody(world)
    world.join(GUILD, user, world.guilds[GUILD].rooms[0])
    create = world.guild_create(world.guilds[GUILD])
    seen = {m["user"]["id"] for m in json.loads(create(VOICE_ONLY))["members"]}
    assert seen == {str(world.bot.id), str(user)}
    assert len(json.loads(create(EVERYTHING))["members"]) > 2
    assert json.loads(create(1))["voice_states"] == []


def test_whoever_is_told_of_twice_is_dispatched_once(world: World) -> None:
    user, room = somebody(world), world.guilds[GUILD].rooms[0]
    assert names(world.join(GUILD, user, room)) == ["VOICE_STATE_UPDATE"]
    assert world.join(GUILD, user, room) == []
    assert names(world.join(GUILD, user, room, Voice(self_mute=True))) == [
        "VOICE_STATE_UPDATE"
    ]
    assert names(world.leave(GUILD, user)) == ["VOICE_STATE_UPDATE"]
    assert world.leave(GUILD, user) == []


def test_a_move_keeps_the_voice_session_and_a_return_begins_another(
    world: World,
) -> None:
    user, rooms = somebody(world), world.guilds[GUILD].rooms
    first = body(world.join(GUILD, user, rooms[0])[0])["session_id"]
    assert body(world.join(GUILD, user, rooms[1])[0])["session_id"] == first
    world.leave(GUILD, user)
    assert body(world.join(GUILD, user, rooms[0])[0])["session_id"] != first


def test_a_server_mute_outlasts_a_leave(world: World) -> None:
    user, room = somebody(world), world.guilds[GUILD].rooms[0]
    world.join(GUILD, user, room, Voice(mute=True))
    world.leave(GUILD, user)
    state = body(world.join(GUILD, user, room)[0])
    assert state["mute"]
    assert state["member"]["mute"]


def test_nobody_may_speak_in_the_afk_channel(world: World) -> None:
    afk = world.guilds[GUILD].afk
    assert afk is not None
    assert body(world.join(GUILD, somebody(world), afk)[0])["suppress"]


def test_a_deleted_channel_sends_its_people_away(world: World) -> None:
    user, room = somebody(world), world.guilds[GUILD].rooms[0]
    world.join(GUILD, user, room)
    told = world.remove_channel(room)
    assert names(told) == ["CHANNEL_DELETE", "VOICE_STATE_UPDATE"]
    assert body(told[1])["channel_id"] is None
    assert world.state() == {"guilds": {str(GUILD): {"voice": {}}}}


def test_a_deleted_category_lets_its_channels_go(world: World) -> None:
    category = next(c for c in world.guilds[GUILD].channels.values() if c.type == 4)
    assert set(names(world.remove_channel(category.id))[1:]) == {"CHANNEL_UPDATE"}


def test_a_deleted_afk_channel_is_no_longer_the_guilds(world: World) -> None:
    afk = world.guilds[GUILD].afk
    assert afk is not None
    told = world.remove_channel(afk)
    assert names(told) == ["CHANNEL_DELETE", "GUILD_UPDATE"]
    assert body(told[1])["afk_channel_id"] is None


def test_an_outage_is_silent_and_ends_with_the_truth(world: World) -> None:
    user, room = somebody(world), world.guilds[GUILD].rooms[0]
    assert names(world.begin_outage(GUILD)) == ["GUILD_DELETE"]
    assert world.begin_outage(GUILD) == []
    assert world.join(GUILD, user, room) == []
    (back,) = world.end_outage(GUILD)
    assert body(back)["voice_states"][0]["channel_id"] == str(room)
    assert world.end_outage(GUILD) == []


def test_who_leaves_the_guild_leaves_its_voice(world: World) -> None:
    user = somebody(world)
    world.join(GUILD, user, world.guilds[GUILD].rooms[0])
    told = world.dismiss(GUILD, user)
    assert names(told) == ["VOICE_STATE_UPDATE", "GUILD_MEMBER_REMOVE"]


def test_a_new_name_is_told_in_every_guild(world: World) -> None:
    world.add_guild(77)
    user = somebody(world)
    world.meet(77, user)
    assert names(world.meet(GUILD, user, "frank")) == ["GUILD_MEMBER_UPDATE"] * 2
    joined = body(world.join(77, user, world.guilds[77].rooms[0])[0])
    assert joined["member"]["user"]["username"] == "frank"


def test_a_message_shows_its_text_only_to_who_asked_for_it(world: World) -> None:
    home = world.guilds[GUILD]
    assert home.system is not None
    (written,) = Messages(world).write(home.system, home.owner, "hello", "T")
    assert body(written, 512)["content"] == ""
    assert body(written, 512 | 1 << 15)["content"] == "hello"


def test_a_big_guild_has_as_many_voices_as_were_asked_for(world: World) -> None:
    (made,) = world.add_guild(77, members=300, in_voice=250)
    assert len(body(made)["voice_states"]) == 250
    assert len(body(made)["members"]) == 251
    assert body(made)["member_count"] == 301
    assert str(world.guilds[77].afk) not in {
        state["channel_id"] for state in body(made)["voice_states"]
    }


@pytest.mark.parametrize(
    ("field", "act"),
    [
        ("guild", lambda w: w.guild(1)),
        ("guild", lambda w: w.remove_guild(1)),
        ("id", lambda w: w.add_guild(GUILD)),
        ("inVoice", lambda w: w.add_guild(2, members=5, in_voice=6)),
        ("channel", lambda w: w.remove_channel(1)),
        ("type", lambda w: w.add_channel(GUILD, kind=99)),
        ("id", lambda w: w.add_channel(GUILD, w.guilds[GUILD].rooms[0])),
        ("channel", lambda w: w.join(GUILD, w.bot.id, 1)),
        ("channel", lambda w: w.join(GUILD, w.bot.id, w.guilds[GUILD].system)),
        ("user", lambda w: w.join(GUILD, 1, w.guilds[GUILD].rooms[0])),
        ("user", lambda w: w.dismiss(GUILD, 1)),
        ("user", lambda w: w.dismiss(GUILD, w.bot.id)),
        ("user", lambda w: written(w, w.guilds[GUILD].system, 1)),
        ("channel", lambda w: written(w, min(w.guilds[GUILD].channels), w.bot.id)),
    ],
)
def test_what_is_not_there_is_refused_by_name(
    world: World, field: str, act: Callable[[World], object]
) -> None:
    with pytest.raises(RefusedError) as refused:
        act(world)
    assert refused.value.field == field
