"""Somebody outside is invited, joins, and gets the role of their rank."""

import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest_twisted
import treq
from twisted.internet.task import deferLater
from twisted.web.client import Agent

GUILD = 1187000000000000001
NEWCOMER = 1187000000000004242
SITE = "http://voicestatus.test"
SETTINGS = {
    "DISCORD_CLIENT_ID": "1187000000000000900",
    "DISCORD_CLIENT_SECRET": "client-secret",
    "GUILD_ID": f"{GUILD}",
    "PUBLIC_URL": SITE,
    "FEATURES": "community,members",
}
OWN = f"/organizations/{GUILD}"
PAGE = (Path(__file__).parents[2] / "docs/community.md").read_text(encoding="utf-8")


class Person:
    """Somebody's browser, signed in with Discord."""

    def __init__(self, house: Any) -> None:
        self._house = house
        self._jar: dict[str, str] = {}

    async def sign_in(self) -> None:
        there = await self._go("/auth/discord")
        consent = await self._go(there.headers.getRawHeaders("location")[0])
        await self._go(consent.headers.getRawHeaders("location")[0])

    async def ask(self, what: str) -> tuple[int, Any]:
        answer = await self._go(f"/api/v1{OWN}/discord/{what}")
        return answer.code, await answer.json()

    async def refused(self, what: str) -> tuple[int, str]:
        status, answer = await self.ask(what)
        return status, answer["error"]["code"]

    async def _go(self, url: str) -> Any:
        path, headers = url.removeprefix(SITE), {}
        if ours := path.startswith("/"):
            url = f"http://127.0.0.1:{self._house.port}{path}"
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self._jar.items())
        answer = await treq.get(
            url,
            headers=headers,
            allow_redirects=False,
            agent=Agent(self._house.reactor),
        )
        for line in answer.headers.getRawHeaders("set-cookie", []) if ours else ():
            for name, cookie in SimpleCookie(line).items():
                self._jar[name] = cookie.value
        await answer.content()
        return answer


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    """Wait until something comes to hold, or fail."""
    from twisted.internet import reactor

    deadline = reactor.seconds() + 10
    while not await holds():
        assert reactor.seconds() < deadline, "it never came to hold"
        await deferLater(reactor, 0.02)


def shown(key: str) -> Any:
    """Return the page's example with such a key."""
    blocks = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (found,) = (each for each in map(json.loads, blocks) if key in each)
    return found


@pytest_twisted.ensureDeferred
async def test_an_outsider_is_invited_joins_and_gets_the_role_of_their_rank(
    house: Any, soon: Any
):
    async def control(**order: Any) -> None:
        url = f"{house.discord.control_url}/members"
        order |= {"guild": f"{GUILD}", "user": f"{NEWCOMER}"}
        answer = await treq.post(url, json=order, agent=Agent(house.reactor))
        assert answer.code == 200, await answer.text()
        await answer.content()

    await house.start(**SETTINGS)
    await house.ready()
    await control(name="newcomer")
    await control(present=False)
    house.discord.stage.browse(NEWCOMER)
    person = Person(house)
    await person.sign_in()

    # Whoever is no member here is told no more than that.
    assert await person.ask("in-server") == (200, shown("inServer"))
    assert await person.refused("server-invite") == (403, "NOT_ORGANIZATION_MEMBER")
    role = next(role.id for role in house.guild.roles if role.name == "DJ")
    patch = {"discordRankRoles": {"Raider": f"{role}"}}
    assert (await house.api("PATCH", f"{OWN}/settings", patch))[0] == 200
    raider = f"{OWN}/members/{NEWCOMER}"
    assert (await house.api("PUT", raider, {"rank": "Raider"}))[0] == 200

    # One who is gets an invite, and another one when that was deleted in Discord.
    _, first = await person.ask("server-invite")
    assert first.keys() == shown("expiresAt").keys()
    assert not first["cached"]
    invites = house.discord.community.invites
    assert not invites.delete(invites.find(first["code"], datetime.now(UTC)))
    _, second = await person.ask("server-invite")
    assert second["code"] != first["code"]
    assert await person.ask("server-invite") == (200, second | {"cached": True})
    made = [e for e in house.discord.log() if e.get("reason", "").endswith("invite")]
    assert len(made) == 2

    # Inside they get the role of their rank, and no invite any more.
    await control()

    async def inside() -> bool:
        _, answer = await person.ask("in-server")
        return answer["inServer"] is True

    await until(inside)
    assert await person.refused("server-invite") == (409, "ALREADY_IN_DISCORD_SERVER")
    member = house.guild.members[NEWCOMER]
    await soon(lambda: role in member.roles, "the role was not given")
    sync = f"{OWN}/discord/sync-roles"
    _, report = await house.api("POST", sync)
    (synced,) = report["members"]
    assert report.keys() == shown("dryRun").keys()
    assert synced.keys() == shown("dryRun")["members"][0].keys()
    assert synced["inServer"]
    assert (synced["give"], synced["take"]) == ([], [])
    assert (await house.api("PUT", raider, {"rank": None}))[0] == 200
    await soon(lambda: role not in member.roles, "the role was not taken")
