"""A day with a sign: people come and go, links break, and the light is right."""

from typing import Any

import pytest
import pytest_twisted

ADA, BEN, BOT = 4001, 4002, 4003
story = pytest_twisted.ensureDeferred


def room(house: Any, name: str) -> int:
    return next(c.id for c in house.guild.channels.values() if c.name == name)


async def lit(house: Any, soon: Any, **settings: str) -> Any:
    """Start with Ada in the lounge; return a sign that shows it."""
    await started(house, soon, **settings)
    sign = await house.sign()
    await soon(lambda: sign.heard == ["OK", "0"])
    house.discord.voice(house.guild.id, ADA, room(house, "Lounge"))
    await soon(lambda: sign.light == "1")
    return sign


async def started(house: Any, soon: Any, **settings: str) -> None:
    await house.start(**settings)
    await house.ready()


@story
async def test_a_sign_of_the_field_lights_up_and_goes_out(house: Any, soon: Any):
    await started(house, soon)
    sign = await house.sign()
    await soon(lambda: sign.heard == ["OK", "0"])
    assert sign.head.startswith(b"HTTP/1.1 101 ")
    lines = sign.head.lower().split(b"\r\n")
    assert b"connection: upgrade" in lines
    assert b"sec-websocket-protocol: arduino" in lines
    house.discord.stage.voice(house.guild.id, ADA, room(house, "Lounge"))
    await soon(lambda: sign.heard[2:] == ["1"])
    house.discord.stage.voice(house.guild.id, BEN, room(house, "Games"))
    house.discord.stage.voice(house.guild.id, ADA, None)
    house.discord.stage.voice(house.guild.id, BEN, None)
    await soon(lambda: sign.heard[2:] == ["1", "0"])


@story
async def test_a_sign_that_comes_later_is_told_at_once(house: Any, soon: Any):
    await started(house, soon)
    house.discord.stage.voice(house.guild.id, ADA, room(house, "Lounge"))
    first = await house.sign()
    await soon(lambda: first.light == "1")
    second = await house.sign()
    await soon(lambda: second.heard == ["OK", "1"])


@story
async def test_bots_and_the_afk_channel_do_not_light_it(house: Any, soon: Any):
    await started(house, soon)
    sign = await house.sign()
    await soon(lambda: sign.heard == ["OK", "0"])
    stage, guild = house.discord.stage, house.guild.id
    stage.voice(guild, BOT, room(house, "Lounge"), bot=True)
    stage.voice(guild, ADA, room(house, "AFK"))
    stage.voice(guild, BEN, room(house, "Lounge"))
    await soon(lambda: sign.heard == ["OK", "0", "1"])
    assert b'"voiceUsers":1,' in (await house.get("/health"))[1]


@story
async def test_bots_and_the_afk_channel_light_it_where_the_owner_says_so(
    house: Any, soon: Any
):
    await started(house, soon, COUNT_BOTS="true", COUNT_AFK="true")
    stage, guild = house.discord.stage, house.guild.id
    stage.voice(guild, BOT, room(house, "Lounge"), bot=True)
    stage.voice(guild, ADA, room(house, "AFK"))
    sign = await house.sign()
    await soon(lambda: sign.light == "1")
    assert b'"voiceUsers":2,' in (await house.get("/health"))[1]


@story
async def test_signs_follow_the_guild_or_channel_that_their_address_names(
    house: Any, soon: Any
):
    await started(house, soon)
    other = 1187000000000000002
    stage, guild = house.discord.stage, house.guild.id
    stage.add_guild(other, "another")
    lounge = room(house, "Lounge")
    here = await house.sign(f"/ws?guild={guild}")
    there = await house.sign(f"/ws?guild={other}")
    inside = await house.sign(f"/ws?channel={lounge}")
    nowhere = await house.sign("/ws?guild=5")
    signs = [here, there, inside, nowhere]
    await soon(lambda: all(sign.light == "0" for sign in signs))
    stage.voice(guild, ADA, lounge)
    await soon(lambda: (here.light, inside.light) == ("1", "1"))
    assert there.light == nowhere.light == "0"
    stage.voice(guild, ADA, room(house, "Games"))
    await soon(lambda: inside.light == "0")
    assert here.light == "1"


@story
async def test_before_discord_has_spoken_a_sign_is_let_in_and_told_nothing(
    house: Any, soon: Any
):
    house.discord.startService()
    await house.discord.listening()
    house.discord.stage.fault("slow_hello", seconds=0.5)
    await house.start()
    early = await house.sign()
    unknown = await house.sign("/ws?guild=5")
    await soon(lambda: early.heard and unknown.heard)
    assert early.heard == unknown.heard == ["OK"]
    await soon(lambda: early.heard == unknown.heard == ["OK", "0"])


@story
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop"},
        {"kind": "close", "code": 4000},
        {"kind": "close", "code": 4008},
        {"kind": "reconnect"},
        {"kind": "invalid_session", "resumable": True},
    ],
    ids=str,
)
async def test_a_broken_link_is_resumed_and_nothing_is_missed(
    house: Any, soon: Any, fault: dict[str, Any]
):
    sign = await lit(house, soon)
    stage, guild = house.discord.stage, house.guild.id
    stage.fault(**fault)
    stage.voice(guild, ADA, None)
    await soon(lambda: sign.light == "0")
    await house.ready()
    kinds = [entry["kind"] for entry in house.discord.log()]
    assert kinds.count("identify") == 1
    assert kinds.count("resumed") == 1
    assert sign.heard == ["OK", "0", "1", "0"]


@story
@pytest.mark.parametrize("kind", ["invalid_session", "forget_sessions"])
async def test_a_session_that_is_gone_is_begun_anew_and_ghosts_leave(
    house: Any, soon: Any, kind: str
):
    sign = await lit(house, soon)
    stage, guild = house.discord.stage, house.guild.id
    stage.fault(kind)
    if kind == "forget_sessions":
        stage.fault("drop")
    stage.voice(guild, ADA, None)
    await soon(lambda: sign.light == "0", within_s=20)
    assert sign.heard == ["OK", "0", "1", "0"]


@story
async def test_garbage_is_counted_and_skipped(house: Any, soon: Any):
    await started(house, soon)
    sign = await house.sign()
    house.discord.stage.fault("garbage", count=3)
    house.discord.stage.voice(house.guild.id, ADA, room(house, "Lounge"))
    await soon(lambda: sign.light == "1")
    outcome = 'voicestatus_gateway_events_total{outcome="malformed"}'
    assert await house.metric(outcome) == 3


@story
async def test_an_outage_holds_the_light_and_its_end_brings_the_truth(
    house: Any, soon: Any
):
    sign = await lit(house, soon)
    stage, guild = house.discord.stage, house.guild.id
    stage.fault("outage", guild=guild)
    stage.voice(guild, ADA, None)
    late = await house.sign()
    await soon(lambda: late.heard == ["OK", "1"])
    stage.fault("outage_end", guild=guild)
    await soon(lambda: sign.heard == ["OK", "0", "1", "0"])


@story
async def test_with_policy_off_the_light_goes_out_when_discord_is_out_of_reach(
    house: Any, soon: Any
):
    sign = await lit(house, soon, UNKNOWN_POLICY="off", UNKNOWN_AFTER="0.2")
    stage, guild = house.discord.stage, house.guild.id
    stage.fault("outage", guild=guild)
    await soon(lambda: sign.light == "0")
    stage.fault("outage_end", guild=guild)
    await soon(lambda: sign.light == "1")


@story
async def test_a_deleted_channel_and_a_removed_guild_leave_nobody(
    house: Any, soon: Any
):
    await started(house, soon)
    stage, guild = house.discord.stage, house.guild.id
    sign = await house.sign()
    lounge = room(house, "Lounge")
    stage.voice(guild, ADA, lounge)
    await soon(lambda: sign.light == "1")
    stage.remove_channel(lounge)
    await soon(lambda: sign.light == "0")
    stage.voice(guild, ADA, room(house, "Games"))
    await soon(lambda: sign.light == "1")
    stage.remove_guild(guild)
    await soon(lambda: sign.light == "0")


@story
async def test_a_stop_tells_the_signs_and_leaves_the_session_resumable(
    house: Any, soon: Any
):
    await started(house, soon)
    sign = await house.sign()
    await soon(lambda: sign.light == "0")
    await house.stop()
    await sign.closed
    assert sign.close_frame == b"\x03\xe9"  # 1001, going away
    closes = [entry for entry in house.discord.log() if entry["kind"] == "close"]
    assert [entry["code"] for entry in closes] == [4000]
    assert sign.heard == ["OK", "0"]
