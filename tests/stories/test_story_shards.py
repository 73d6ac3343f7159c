"""A bot that is too large for one connection: four shards in one process."""

from collections import Counter
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from voicestatus.simulator.service import SimulatedDiscord
from voicestatus.simulator.sessions import Rules

SHARDS = 4
FIRST = 1187000000000000001 >> 22
GUILDS = [(FIRST + n) << 22 for n in range(40)]
ADA, BEN = 4001, 4002
LOST = 2
"""The shard that has bad luck."""

in_reactor = pytest_twisted.ensureDeferred


def shard_of(guild: int, count: int = SHARDS) -> int:
    return (guild >> 22) % count


OF_LOST = next(guild for guild in GUILDS if shard_of(guild) == LOST)
OF_OTHER = next(guild for guild in GUILDS if shard_of(guild) == LOST + 1)


def large_discord(house: Any, **rules: Any) -> SimulatedDiscord:
    given = {"shards": SHARDS, "max_concurrency": 16} | rules
    house.discord = SimulatedDiscord(house.reactor, guilds=GUILDS, rules=Rules(**given))
    return house.discord


def did(house: Any, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in house.discord.log() if entry["kind"] == kind]


async def known(house: Any) -> dict[int, Counter[str]]:
    """Ask the admin side how far each shard's guilds are known."""
    _, told = await house.api("GET", "/presence")
    by_shard: dict[int, Counter[str]] = {}
    for guild in told["guilds"]:
        shard = by_shard.setdefault(shard_of(int(guild["id"])), Counter())
        shard[guild["knowledge"]] += 1
    return by_shard


async def settles(house: Any, soon: Any) -> None:
    """Wait until every guild of every shard is known."""
    await house.ready()
    deadline = house.reactor.seconds() + 10
    whole = {shard: Counter({"known": 10}) for shard in range(SHARDS)}
    while (seen := await known(house)) != whole:
        assert house.reactor.seconds() < deadline, seen
        await deferLater(house.reactor, 0.02)


def room(house: Any, guild: int) -> int:
    first: int = house.discord.world.guilds[guild].rooms[0]
    return first


async def two_signs(house: Any) -> list[Any]:
    """Let one sign follow a guild of the unlucky shard, one a guild of another."""
    return [await house.sign(f"/ws?guild={guild}") for guild in (OF_LOST, OF_OTHER)]


@in_reactor
@pytest.mark.parametrize("setting", ["auto", "4"])
async def test_each_shard_identifies_once_and_every_guild_is_told(
    house: Any, soon: Any, setting: str
):
    large_discord(house, shards=SHARDS if setting == "auto" else 1)
    await house.start(SHARDS=setting)
    signs = await two_signs(house)
    await settles(house, soon)
    assert sorted(e["shard"] for e in did(house, "identify")) == [
        [shard, SHARDS] for shard in range(SHARDS)
    ]
    house.discord.voice(OF_LOST, ADA, room(house, OF_LOST))
    await soon(lambda: [sign.light for sign in signs] == ["1", "0"])
    house.discord.voice(OF_OTHER, BEN, room(house, OF_OTHER))
    await soon(lambda: [sign.light for sign in signs] == ["1", "1"])
    assert await house.metric('voicestatus_gateway_state{shard="3"') == 1


@in_reactor
async def test_one_shards_lost_link_leaves_the_others_guilds_alone(
    house: Any, soon: Any
):
    large_discord(house)
    await house.start()
    await settles(house, soon)
    signs = await two_signs(house)
    await soon(lambda: [sign.light for sign in signs] == ["0", "0"])
    # For a second at least: so long op 9 keeps a client away.
    house.discord.fault("invalid_session", resumable=True, shard=LOST)
    await soon(lambda: did(house, "close"))
    house.discord.voice(OF_LOST, ADA, room(house, OF_LOST))
    house.discord.voice(OF_OTHER, BEN, room(house, OF_OTHER))
    await soon(lambda: [sign.light for sign in signs] == ["0", "1"], within_s=0.5)
    assert await known(house) == {
        shard: Counter({"stale" if shard == LOST else "known": 10})
        for shard in range(SHARDS)
    }
    status, _ = await house.get("/health")
    assert status == 503
    await settles(house, soon)
    assert [sign.light for sign in signs] == ["1", "1"]
    assert len(did(house, "identify")) == SHARDS
    assert len(did(house, "resumed")) == 1


@in_reactor
async def test_a_shard_whose_session_is_gone_identifies_alone(house: Any, soon: Any):
    large_discord(house)
    await house.start()
    await settles(house, soon)
    signs = await two_signs(house)
    await soon(lambda: [sign.light for sign in signs] == ["0", "0"])
    for guild in (OF_LOST, OF_OTHER):
        house.discord.voice(guild, ADA, room(house, guild))
    await soon(lambda: [sign.light for sign in signs] == ["1", "1"])
    house.discord.fault("invalid_session", shard=LOST)
    house.discord.world.leave(OF_LOST, ADA)  # while nobody listens
    await soon(lambda: signs[0].light == "0", within_s=12.0)
    await settles(house, soon)
    assert [sign.heard[1:] for sign in signs] == [["0", "1", "0"], ["0", "1"]]
    assert [e["shard"][0] for e in did(house, "identify")[SHARDS:]] == [LOST]


@in_reactor
async def test_a_restart_resumes_every_shard_and_identifies_none(house: Any, soon: Any):
    large_discord(house)
    await house.start()
    await settles(house, soon)
    house.discord.voice(OF_OTHER, BEN, room(house, OF_OTHER))
    await house.stop()
    assert {entry["code"] for entry in did(house, "close")} == {4000}
    house.discord.voice(OF_LOST, ADA, room(house, OF_LOST))
    house.discord.voice(OF_OTHER, BEN, None)
    await house.start()
    signs = await two_signs(house)
    await settles(house, soon)
    assert [sign.light for sign in signs] == ["1", "0"]
    assert [entry["ok"] for entry in did(house, "resume")] == [True] * SHARDS
    assert len(did(house, "identify")) == SHARDS


@in_reactor
async def test_of_a_restart_only_the_refused_shard_identifies(house: Any, soon: Any):
    large_discord(house)
    await house.start()
    await settles(house, soon)
    await house.stop()
    house.discord.fault("forget_sessions", shard=LOST)
    await house.start()
    await settles(house, soon)
    assert sorted(entry["ok"] for entry in did(house, "resume")) == [False, *[True] * 3]
    assert [e["shard"][0] for e in did(house, "identify")[SHARDS:]] == [LOST]


@in_reactor
async def test_another_number_of_shards_begins_anew_and_shows_the_picture_meanwhile(
    house: Any, soon: Any
):
    large_discord(house)
    await house.start(SHARDS="2")
    await settles(house, soon)
    witness, _ = await two_signs(house)
    house.discord.voice(OF_LOST, ADA, room(house, OF_LOST))
    await soon(lambda: witness.light == "1")
    await house.stop()
    await house.start(SHARDS=str(SHARDS))
    signs = await two_signs(house)
    await soon(lambda: [sign.light for sign in signs] == ["1", "0"], within_s=1.0)
    assert await known(house) == {
        shard: Counter({"stale": 10}) for shard in range(SHARDS)
    }
    await settles(house, soon)
    assert did(house, "resume") == []
    assert len(did(house, "identify")) == 2 + SHARDS
    assert [sign.heard[1:] for sign in signs] == [["1"], ["0"]]


@in_reactor
async def test_a_bot_that_has_outgrown_its_shards_gets_more_of_them(
    house: Any, soon: Any
):
    large_discord(house, shards=1, guilds_a_shard=len(GUILDS))
    await house.start()
    await house.ready()
    house.discord.voice(OF_LOST, ADA, room(house, OF_LOST))
    signs = await two_signs(house)
    await soon(lambda: [sign.light for sign in signs] == ["1", "0"])
    house.discord.stage.add_guild(max(GUILDS) + (1 << 22))
    house.discord.fault("close", code=4011)
    await soon(lambda: len(did(house, "identify")) == 3, within_s=12.0)
    await house.ready()
    asked = [e["shard"] for e in did(house, "identify")]
    assert sorted(asked) == [[0, 1], [0, 2], [1, 2]]
    house.discord.voice(OF_OTHER, BEN, room(house, OF_OTHER))
    await soon(lambda: signs[1].light == "1")
    assert [sign.heard[1:] for sign in signs] == [["1"], ["0", "1"]]
