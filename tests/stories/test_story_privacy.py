"""Somebody talks, signs in, has a rank, leaves, and is forgotten: nothing is left."""

import io
import re
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_twisted
import treq
from twisted.logger import LogEvent, globalLogPublisher
from twisted.web.client import Agent

from voicestatus.logs import observer

GUILD = 1187000000000000001
ADA, BEN = 1187000000000042421, 1187000000000042422
ADAS_NAME, BENS_NAME = "Ada Quixotic", "Ben Zymurgy"
SITE = "http://voicestatus.test"
SETTINGS = {
    "DISCORD_CLIENT_ID": "1187000000000000900",
    "DISCORD_CLIENT_SECRET": "client-secret",
    "GUILD_ID": f"{GUILD}",
    "PUBLIC_URL": SITE,
}


class Browser:
    """Ada's: it follows her to Discord and back, and keeps cookies."""

    def __init__(self, house: Any) -> None:
        self._house = house
        self.jar: dict[str, str] = {}

    async def ask(
        self, method: str, url: str, body: object = None, **headers: str
    ) -> Any:
        url = url.removeprefix(SITE)
        if url.startswith("/"):
            url = f"http://127.0.0.1:{self._house.port}{url}"
            headers |= {
                "Origin": SITE,
                "Cookie": "; ".join(f"{k}={v}" for k, v in self.jar.items()),
                "User-Agent": "Browser-of-Ada",
            }
        answer = await treq.request(
            method,
            url,
            headers=headers,
            allow_redirects=False,
            agent=Agent(self._house.reactor),
            **({} if body is None else {"json": body}),
        )
        for line in answer.headers.getRawHeaders("set-cookie", []):
            self.jar |= {n: c.value for n, c in SimpleCookie(line).items()}
        await answer.content()
        return answer

    async def sign_in(self) -> None:
        url = "/auth/discord"
        while True:
            answer = await self.ask("GET", url)
            assert answer.code in (302, 303)
            (url,) = answer.headers.getRawHeaders("location")
            if urlsplit(url).path == "/":
                return


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged, at any level, but for what the simulator says."""
    text = io.StringIO()
    writes = observer(text, "debug", "text", [])

    def hear(event: LogEvent) -> None:
        if not event.get("log_namespace", "").startswith("voicestatus.simulator"):
            writes(event)

    globalLogPublisher.addObserver(hear)
    yield text
    globalLogPublisher.removeObserver(hear)


@pytest_twisted.ensureDeferred
async def test_who_was_here_and_is_forgotten_has_left_nothing_behind(
    house: Any, soon: Any, tmp_path: Path, log: io.StringIO
):
    def stored() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob("voicestatus.db*"))

    await house.start(**SETTINGS)
    await house.ready()
    stage, lounge = house.discord.stage, house.guild.rooms[0]
    stage.voice(GUILD, BEN, lounge, name=BENS_NAME)
    stage.voice(GUILD, ADA, lounge, name=ADAS_NAME)
    await soon(lambda: ADAS_NAME.encode() in stored())

    # She signs in, is given a rank, and an admin lets a sign wait for her.
    stage.browse(ADA)
    browser = Browser(house)
    await browser.sign_in()
    me = await (await browser.ask("GET", "/api/v1/me")).json()
    assert me["user"]["id"] == f"{ADA}"
    for user in (ADA, BEN):
        path = f"/organizations/{GUILD}/members/{user}"
        assert (await house.api("PUT", path, {"rank": "Raider"}))[0] == 200
    lamp = {"id": "lamp", "rule": {"users": [f"{ADA}"]}}
    assert (await house.api("POST", "/devices", lamp))[0] == 201

    # What is kept of her, she is given.
    export = await (await browser.ask("GET", "/api/v1/privacy/export")).json()
    kept = export["kept"]
    assert kept["voice"][0]["name"] == ADAS_NAME
    assert kept["sessions"][0]["agent"] == "Browser-of-Ada"
    assert kept["roster"][0]["rank"] == "Raider"
    assert kept["rules"] == [{"sign": "lamp"}]

    # She has it erased while she talks, and leaves.
    csrf = {"X-CSRF-Token": me["csrfToken"]}
    erased = await browser.ask(
        "POST", "/api/v1/privacy/erase", {"confirm": f"{ADA}"}, **csrf
    )
    assert erased.code == 200
    assert (await erased.json())["remains"] == ["voice"]
    assert (await browser.ask("GET", "/api/v1/me")).code == 401
    stage.voice(GUILD, ADA, None)
    status, left = await house.api("GET", f"/privacy/export?user={ADA}")
    assert status == 200
    assert not any(left["kept"].values())
    status, told = await house.api("GET", "/audit")
    assert status == 200
    assert f"{ADA}" not in str(told)
    await house.stop()

    file = stored()
    for name in (f"{ADA}", ADAS_NAME, "Browser-of-Ada"):
        assert name.encode() not in file
    # So it would have been found: of Ben, who stays, it is.
    for name in (f"{BEN}", BENS_NAME):
        assert name.encode() in file
    lines = log.getvalue().splitlines()
    assert len(lines) > 20
    named = re.compile("|".join([f"{ADA}", f"{BEN}", ADAS_NAME, BENS_NAME]))
    assert [line for line in lines if named.search(line)] == []
