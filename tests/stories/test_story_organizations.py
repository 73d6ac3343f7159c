"""The owner of a server sets up its community; members and strangers come to see it."""

import json
import re
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest_twisted
import treq
from twisted.web.client import Agent

GUILD, OFFICER = 1187000000000000001, 1187000000000000102
SITE = "http://voicestatus.test"
SETTINGS = {
    "DISCORD_CLIENT_ID": "1187000000000000900",
    "DISCORD_CLIENT_SECRET": "client-secret",
    "GUILD_ID": f"{GUILD}",
    "PUBLIC_URL": SITE,
}
OWN = f"/organizations/{GUILD}"
PAGE = Path(__file__).parents[2] / "docs" / "community.md"
_CALL = re.compile(
    r"^```http\n(\w+) (\S+)\n(.*?)^```\n\n^```json (\d+)\n(.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


class Browser:
    """One person's: it signs in by Discord and asks as our page does."""

    def __init__(self, house: Any) -> None:
        self._house = house
        self._jar: dict[str, str] = {}
        self._csrf = ""
        self.scopes: list[str] = []

    async def go(self, method: str, url: str, body: object = None) -> tuple[int, Any]:
        """Return the status, and the answer: JSON, or where it leads."""
        url = url.removeprefix(SITE)
        sent = {}
        if url.startswith("/"):
            url = f"http://127.0.0.1:{self._house.port}{url}"
            cookies = "; ".join(f"{k}={v}" for k, v in self._jar.items())
            sent = {"Cookie": cookies, "Origin": SITE, "X-CSRF-Token": self._csrf}
        answer = await treq.request(
            method,
            url,
            headers=sent,
            **({} if body is None else {"json": body}),
            allow_redirects=False,
            agent=Agent(self._house.reactor),
        )
        for line in answer.headers.getRawHeaders("set-cookie", []) if sent else ():
            self._jar |= {name: c.value for name, c in SimpleCookie(line).items()}
        text = await answer.content()
        if where := answer.headers.getRawHeaders("location"):
            return answer.code, where[0]
        return answer.code, json.loads(text) if text else None

    async def sign_in(self, user: int | None = None) -> str:
        """Sign in as somebody, the owner by default; return their level."""
        self._house.discord.stage.browse(user)
        _, there = await self.go("GET", "/auth/discord")
        self.scopes = parse_qs(urlsplit(there).query)["scope"]
        _, back = await self.go("GET", there)
        status, _ = await self.go("GET", back)
        assert status == 303
        _, me = await self.go("GET", "/api/v1/me")
        self._csrf = me["csrfToken"]
        level: str = me["level"]
        return level

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Ask the API; of an error return its code."""
        status, answer = await self.go(method, f"/api/v1{path}", body)
        return status, answer["error"]["code"] if status >= 400 else answer


@pytest_twisted.ensureDeferred
async def test_an_owner_sets_up_what_is_there_and_names_a_manager(house: Any):
    await house.start(**SETTINGS)
    await house.ready()
    channels = {channel.name: str(id_) for id_, channel in house.guild.channels.items()}
    roles = {role.name: str(role.id) for role in house.guild.roles}
    member = house.discord.world.new_id()
    house.discord.stage.meet(GUILD, member, "ann")

    # Nothing was set up, and the owner finds their community.
    owner = Browser(house)
    assert await owner.sign_in() == "admin"
    assert owner.scopes == ["identify"]
    status, answer = await owner.ask("GET", "/organizations")
    (found,) = answer["organizations"]
    assert (status, found["id"], found["role"]) == (200, f"{GUILD}", "manager")
    assert (found["guildName"], found["botPresent"]) == (house.guild.name, True)

    async def patch(who: Browser, **body: Any) -> tuple[int, Any]:
        return await who.ask("PATCH", f"{OWN}/settings", body)

    # They set what there is to set, and are told what cannot be.
    overview = [channels["Lounge"], channels["general"], channels["Town Hall"]]
    status, kept = await patch(
        owner,
        discordOverviewChannelIds=overview,
        discordInviteChannelId=channels["general"],
        discordVoiceChannelId=channels["Town Hall"],
        discordRankRoles={"Raider": roles["DJ"]},
    )
    assert (status, kept["discordOverviewChannelIds"]) == (200, overview)
    assert kept["discordRankRoles"] == {"Raider": roles["DJ"]}
    for body, refused in (
        ({"discordInviteChannelId": channels["Lounge"]}, (400, "VALIDATION_FAILED")),
        ({"discordServerInviteCache": []}, (400, "VALIDATION_FAILED")),
        ({"discordRankRoles": {"A": roles["Mods"]}}, (409, "ROLE_NOT_ASSIGNABLE")),
        (
            {"discordRankRoles": {"A": roles["voicestatus"]}},
            (409, "ROLE_NOT_ASSIGNABLE"),
        ),
    ):
        assert await patch(owner, **body) == refused, body

    # A member sees that it is there, and no more.
    guest = Browser(house)
    assert await guest.sign_in(member) == "member"
    status, answer = await guest.ask("GET", OWN)
    assert (status, answer["role"]) == (200, "member")
    assert await guest.ask("GET", f"{OWN}/settings") == (403, "FORBIDDEN")
    assert await guest.ask("GET", f"{OWN}/members") == (403, "FORBIDDEN")

    # Until the owner names them a manager: of this, and of nothing else.
    path = f"{OWN}/members/{member}"
    status, put = await owner.ask("PUT", path, {"rank": "Raider", "manager": True})
    assert (status, put["manager"]) == (200, True)
    _, roster = await owner.ask("GET", f"{OWN}/members")
    (listed,) = roster["members"]
    assert (listed["displayName"], listed["inServer"]) == ("Ann", True)
    assert (await patch(guest, eventAutoStart=False))[1]["eventAutoStart"] is False
    assert await patch(guest, discordGuildId=None) == (403, "FORBIDDEN")
    more_than_theirs = {"discordRankRoles": {"Boss": roles["DJ"]}}
    assert await patch(guest, **more_than_theirs) == (409, "ROLE_NOT_ASSIGNABLE")
    assert await guest.ask("GET", "/devices") == (403, "FORBIDDEN")


@pytest_twisted.ensureDeferred
async def test_what_an_admin_wrote_outlasts_a_restart_and_what_discord_said_does_not(
    house: Any,
):
    await house.start(**SETTINGS)
    await house.ready()
    stage = house.discord.stage
    named, other = house.discord.world.new_id(), house.discord.world.new_id()
    owner, manager, leaver = Browser(house), Browser(house), Browser(house)
    await owner.sign_in()
    for user, browser in ((named, manager), (other, leaver)):
        stage.meet(GUILD, user, f"user {user}")
        assert await browser.sign_in(user) == "member"
        assert (await browser.ask("GET", OWN))[1]["role"] == "member"
    await owner.ask("PUT", f"{OWN}/members/{named}", {"manager": True})
    await owner.ask("PATCH", f"{OWN}/settings", {"attendanceRetentionDays": 3})
    # Both leave the server; one of them was named.
    for user in (named, other):
        stage.dismiss(GUILD, user)
    await house.stop()
    await house.start(**SETTINGS)
    await house.ready()
    status, settings = await manager.ask("GET", f"{OWN}/settings")
    assert (status, settings["attendanceRetentionDays"]) == (200, 3)
    assert await leaver.ask("GET", OWN) == (403, "NOT_ORGANIZATION_MEMBER")
    assert (await leaver.ask("GET", "/organizations"))[1]["organizations"] == []

    # An admin makes another community of the server, and takes it back.
    body = {"name": "The Raiders", "discordGuildId": f"{GUILD}"}
    status, made = await owner.ask("POST", "/organizations", body)
    assert (status, made["role"]) == (201, "manager")
    assert (await owner.ask("GET", OWN))[1]["discordGuildId"] is None
    assert (await owner.ask("DELETE", f"/organizations/{made['id']}"))[0] == 204
    _, again = await owner.ask("GET", f"{OWN}/settings")
    assert (again["discordGuildId"], again["attendanceRetentionDays"]) == (
        f"{GUILD}",
        3,
    )
    _, log = await owner.ask("GET", "/audit")
    done = [e["action"] for e in log["entries"] if e["action"] != "session.begin"]
    assert done == [
        "organization.delete",
        "organization.create",
        "organization.settings",
        "member.put",
    ]


@pytest_twisted.ensureDeferred
async def test_the_page_about_it_is_true(house: Any):
    await house.start(**SETTINGS)
    await house.ready()
    house.discord.stage.meet(GUILD, OFFICER, "ada")
    page, _, _ = PAGE.read_text(encoding="utf-8").partition("\n## Channels")
    calls, made = _CALL.findall(page), ""
    for method, path, body, status, told in calls:
        at = path.removeprefix("/api/v1").replace("<id>", made)
        code, answer = await house.api(method, at, json.loads(body) if body else None)
        shown = json.dumps(json.loads(told or "null"), ensure_ascii=False)
        assert code == int(status), (method, path, answer)
        assert re.fullmatch(re.escape(shown).replace("…", ".*"), json.dumps(answer)), at
        made = answer["id"] if method == "POST" else made
    assert len(calls) == 8
