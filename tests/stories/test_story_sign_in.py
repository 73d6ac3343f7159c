"""Somebody signs in with Discord, sees what they may, and signs out everywhere."""

from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import pytest_twisted
import treq
from twisted.web.client import Agent

GUILD = 1187000000000000001
SITE = "http://voicestatus.test"
SETTINGS = {
    "DISCORD_CLIENT_ID": "1187000000000000900",
    "DISCORD_CLIENT_SECRET": "client-secret",
    "GUILD_ID": f"{GUILD}",
    "PUBLIC_URL": SITE,
}


class Browser:
    """Follows redirects by hand: what is said to stand at `SITE` is the house."""

    def __init__(self, house: Any) -> None:
        self._house = house
        self.jar: dict[str, str] = {}

    async def go(self, method: str, url: str, **headers: str) -> Any:
        url = url.removeprefix(SITE)
        ours = url.startswith("/")
        if ours:
            url = f"http://127.0.0.1:{self._house.port}{url}"
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.jar.items())
            headers["Origin"] = SITE
        answer = await treq.request(
            method,
            url,
            headers=headers,
            allow_redirects=False,
            agent=Agent(self._house.reactor),
        )
        for line in answer.headers.getRawHeaders("set-cookie", []) if ours else ():
            for name, cookie in SimpleCookie(line).items():
                self.jar[name] = cookie.value
        await answer.content()
        return answer

    async def sign_in(self) -> str:
        """Go there and back; return where it ends up."""
        there = await self.go("GET", "/auth/discord?next=/signs")
        assert there.code == 303
        consent = await self.go("GET", _location(there))
        assert consent.code == 302
        assert urlsplit(_location(consent)).path == "/auth/discord/callback"
        back = await self.go("GET", _location(consent))
        assert back.code == 303, await back.text()
        return _location(back)

    async def me(self) -> Any:
        return await (await self.go("GET", "/api/v1/me")).json()


def _location(answer: Any) -> str:
    (location,) = answer.headers.getRawHeaders("location")
    text: str = location
    return text


@pytest_twisted.ensureDeferred
async def test_the_owner_of_the_guild_is_an_admin_until_they_sign_out(house: Any):
    await house.start(**SETTINGS)
    await house.ready()
    browser, other = Browser(house), Browser(house)
    assert await browser.sign_in() == "/signs"
    me = await browser.me()
    assert me["user"]["id"] == str(house.guild.owner)
    assert me["level"] == "admin"
    await other.sign_in()
    # A restart changes nothing.
    await house.stop()
    await house.start(**SETTINGS)
    assert (await browser.go("GET", "/api/v1/devices")).code == 200
    unsigned = await browser.go("POST", "/auth/logout?everywhere=true")
    assert unsigned.code == 403
    csrf = {"X-CSRF-Token": me["csrfToken"]}
    gone = await browser.go("POST", "/auth/logout?everywhere=true", **csrf)
    assert gone.code == 204
    for each in (browser, other):
        assert (await each.go("GET", "/api/v1/devices")).code == 401


@pytest_twisted.ensureDeferred
async def test_a_member_is_known_and_no_admin(house: Any):
    await house.start(**SETTINGS)
    await house.ready()
    users = house.discord.world.users
    members = house.guild.members.keys() - {house.guild.owner}
    house.discord.stage.browse(next(id_ for id_ in members if not users[id_].bot))
    browser = Browser(house)
    await browser.sign_in()
    assert (await browser.me())["level"] == "member"
    assert (await browser.go("GET", "/api/v1/devices")).code == 403


@pytest_twisted.ensureDeferred
async def test_who_says_no_is_where_they_were(house: Any):
    await house.start(**SETTINGS)
    await house.ready()
    house.discord.stage.browse(None, consents=False)
    browser = Browser(house)
    assert await browser.sign_in() == "/signs"
    assert (await browser.go("GET", "/api/v1/me")).code == 401
