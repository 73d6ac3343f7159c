"""A community's overview: what was written, who talks, and what the bot lacks."""

from typing import Any

import pytest_twisted
import treq
from twisted.internet.defer import Deferred, gatherResults
from twisted.web.client import Agent

from voicestatus.simulator.payloads import TEXT, Overwrite

GUILD = 1187000000000000001
APPLICATION = "1187000000000000900"
VIEW_CHANNEL, CREATE_EVENTS = 1 << 10, 1 << 44


async def control(house: Any, what: str, **order: Any) -> Any:
    """Move the simulator as anybody could from outside."""
    url = house.discord.url.removesuffix("/api/v10") + f"/_control/{what}"
    answer = await treq.post(url, json=order, agent=Agent(house.reactor))
    said = await answer.json()
    assert answer.code == 200, said
    return said


async def calls(house: Any, path: str) -> int:
    """Count what Discord was asked for at that path."""
    url = house.discord.url.removesuffix("/api/v10") + "/_control/log?since=0"
    entries = await (await treq.get(url, agent=Agent(house.reactor))).json()
    asked = (entry["path"] for entry in entries if entry["kind"] == "rest")
    return sum(path in each for each in asked)


async def begin(house: Any) -> tuple[int, int]:
    """Start, with a text channel that the bot sees and one that it does not."""
    home = house.guild
    general, secret = (c for c in home.channels.values() if c.type == TEXT)
    secret.overwrites = (Overwrite(GUILD, deny=VIEW_CHANNEL),)
    own = next(role for role in home.roles if role.bot is not None)
    own.permissions &= ~CREATE_EVENTS
    await house.start(DISCORD_CLIENT_ID=APPLICATION)
    await house.ready()
    return general.id, secret.id


async def ask(house: Any, path: str) -> Any:
    status, said = await house.api("GET", f"/discord/{GUILD}/{path}")
    assert status == 200, said
    return said


@pytest_twisted.ensureDeferred
async def test_what_goes_on_is_told_though_channels_are_in_trouble(house: Any):
    general, secret = await begin(house)
    ada, bo, *_ = (u for u in house.guild.members if u != house.discord.world.bot.id)

    # Somebody writes, and somebody talks.
    made = await control(house, "channels", guild=GUILD, name="broken", type=TEXT)
    broken, lounge = int(made["id"]), house.guild.rooms[0]
    for n in range(1, 8):
        text = f"text {n}"
        await control(house, "messages", channel=general, user=ada, content=text)
    for channel in (broken, secret):
        await control(house, "messages", channel=channel, user=ada, content="lost")
    await control(house, "voice", guild=GUILD, user=bo, channel=lounge)

    # Discord limits one channel and fails there, once each; another it refuses.
    busy, refused = (f"/channels/{each}/messages" for each in (general, broken))
    await control(house, "fault", kind="rate_limit", route=busy, seconds=0.2)
    await control(house, "fault", kind="http_error", route=busy, code=500)
    await control(house, "fault", kind="http_error", route=refused, code=403)
    asked = [Deferred.fromCoroutine(ask(house, "activity")) for _ in range(3)]
    told, *others = await gatherResults(asked)
    assert others == [told, told]
    (texts,) = told["textChannels"]
    newest = [f"text {n}" for n in (7, 6, 5, 4, 3)]
    assert [each["content"] for each in texts["messages"]] == newest
    assert texts["messages"][0]["author"]["id"] == str(ada)
    there = f"https://discord.com/channels/{GUILD}/{general}/"
    assert texts["messages"][0]["url"].startswith(there)
    assert told["contentAvailable"] is True
    reasons = {each["channelId"]: each["reason"] for each in told["unavailable"]}
    assert reasons == {str(broken): "DISCORD_ERROR"}
    voice = {each["name"]: each for each in told["voiceChannels"]}
    (talks,) = voice["Lounge"]["members"]
    assert (talks["userId"], talks["speaking"]) == (str(bo), None)
    assert voice["Town Hall"]["type"] == "stage"
    # A 429, a 500, and the answer: once for three who asked.
    assert await calls(house, busy) == 3

    # What the bot does not see is said to who names it, and nothing of it is told.
    named = await ask(house, f"activity?channelIds={secret},{general}&limit=1")
    hidden = {"channelId": str(secret), "reason": "MISSING_PERMISSION"}
    assert named["unavailable"] == [hidden]
    assert [len(each["messages"]) for each in named["textChannels"]] == [1]
    assert await calls(house, f"/channels/{secret}/messages") == 0
    assert (await house.api("GET", "/discord/5/activity"))[0] == 404


@pytest_twisted.ensureDeferred
async def test_what_the_bot_lacks_is_told_with_the_way_to_mend_it(house: Any):
    general, secret = await begin(house)
    channels, roles = await ask(house, "channels"), await ask(house, "roles")
    assert [each["name"] for each in channels] == [
        *("general", "Lounge", "Games", "AFK", "Town Hall")
    ]
    assert {each["parentName"] for each in channels} == {"Main"}
    assert [each["name"] for each in roles] == ["Mods", "voicestatus", "DJ"]

    overview = {"discordOverviewChannelIds": [str(general), str(secret)]}
    settings = f"/organizations/{GUILD}/settings"
    assert (await house.api("PATCH", settings, overview))[0] == 200
    health = await ask(house, "permissions")
    assert [each["name"] for each in health["missing"]] == ["Create Events"]
    lacks = [[p["name"] for p in each["missing"]] for each in health["channels"]]
    assert lacks[0] == []
    assert lacks[1][0] == "View Channels"
    status, invite = await house.api("GET", "/discord/bot-invite")
    assert (status, invite["clientId"]) == (200, APPLICATION)
    assert health["reauthorizeUrl"].startswith(f"{invite['url']}&guild_id={GUILD}")
