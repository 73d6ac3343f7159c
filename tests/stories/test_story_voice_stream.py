"""An evening in voice, as pages that watch it live are told it."""

import json
from typing import Any

import pytest_twisted

from voicestatus.simulator.world import Voice

story = pytest_twisted.ensureDeferred
ADA, BEN = 4001, 4002
ADMIN = "open-the-admin-side"
KEYS = [
    *("guildId", "channelId", "channelName", "channelType", "userId"),
    *("displayName", "avatarUrl", "action", "previousChannelId", "previousChannelName"),
]


class Page:
    """A page that watches: what it heard, event by event."""

    def __init__(self, house: Any, soon: Any) -> None:
        self._house, self._soon = house, soon
        self.link: Any = None
        self.last_id = ""

    async def open(self) -> None:
        self.link = await self._house.raw()
        lines = [
            f"GET /api/v1/discord/{self._house.guild.id}/voice-stream HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {ADMIN}",
            *([f"Last-Event-ID: {self.last_id}"] if self.last_id else []),
        ]
        self.link.send("\r\n".join([*lines, "", ""]).encode())
        await self._soon(lambda: b"retry: 3000\n\n" in self.link.heard)

    async def heard(self, count: int) -> list[tuple[str, Any]]:
        """Wait until so many events have come; return the name and data of each."""
        await self._soon(lambda: len(self._events()) >= count)
        events = self._events()
        assert len(events) == count, events
        self.last_id = events[-1][2]
        return [(name, data) for name, data, _ in events]

    def _events(self) -> list[tuple[str, Any, str]]:
        head, _, body = self.link.heard.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert b"text/event-stream" in head
        events = []
        for block in unchunked(body).decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if line[1:])
            if "data" in fields:
                name = fields.get("event", "")
                events.append((name, json.loads(fields["data"]), fields["id"]))
        return events


def unchunked(body: bytes) -> bytes:
    text = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        text, body = text + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return text


def room(house: Any, name: str) -> int:
    return next(c.id for c in house.guild.channels.values() if c.name == name)


async def watched(house: Any, soon: Any) -> list[Page]:
    """Start, and let two pages watch."""
    await house.start()
    await house.ready()
    pages = [Page(house, soon), Page(house, soon)]
    for page in pages:
        await page.open()
        ((name, snapshot),) = await page.heard(1)
        assert (name, snapshot["state"]) == ("snapshot", "known")
        assert {"Lounge", "Games"} <= {c["name"] for c in snapshot["voiceChannels"]}
    return pages


@story
async def test_pages_hear_who_comes_moves_and_goes_and_miss_nothing(
    house: Any, soon: Any
):
    pages = await watched(house, soon)
    lounge, games = room(house, "Lounge"), room(house, "Games")
    go, guild = house.discord.stage.voice, house.guild.id

    # Somebody comes, turns off the microphone, moves and goes: both hear it.
    go(guild, ADA, lounge, name="Ada")
    go(guild, ADA, lounge, Voice(self_mute=True))
    go(guild, ADA, games)
    go(guild, ADA, None)
    first, second = [(await page.heard(5))[1:] for page in pages]
    assert first == second
    assert [name for name, _ in first] == ["", "marks", "", ""]
    joined, muted, moved, left = [event for _, event in first]
    assert (muted["userId"], muted["channelId"]) == (str(ADA), str(lounge))
    assert (muted["selfMute"], muted["streaming"]) == (True, False)
    assert all(list(event) == KEYS for event in (joined, moved, left))
    assert [e["action"] for e in (joined, moved, left)] == ["join", "move", "leave"]
    assert (joined["userId"], joined["displayName"]) == (str(ADA), "Ada")
    assert (joined["channelId"], joined["channelName"]) == (str(lounge), "Lounge")
    assert (moved["channelId"], moved["previousChannelId"]) == (str(games), str(lounge))
    assert (left["channelId"], left["previousChannelName"]) == (None, "Games")

    # One loses its connection, and is told afterwards what it has missed, no more.
    pages[0].link.transport.abortConnection()
    await pages[0].link.closed
    go(guild, BEN, lounge)
    go(guild, BEN, games)
    await pages[1].heard(7)
    await pages[0].open()
    missed = await pages[0].heard(2)
    assert [event["action"] for _, event in missed] == ["join", "move"]
    go(guild, ADA, lounge)
    assert (await pages[0].heard(3))[2] == (await pages[1].heard(8))[7]


@story
async def test_a_page_knows_what_can_be_trusted_and_when_the_server_stops(
    house: Any, soon: Any
):
    pages = await watched(house, soon)
    lounge, games = room(house, "Lounge"), room(house, "Games")
    go, guild = house.discord.stage.voice, house.guild.id
    go(guild, ADA, lounge)
    go(guild, BEN, games)
    await pages[1].heard(3)

    # Discord goes out of reach, and comes back with somebody gone.
    house.discord.stage.fault("outage", guild=guild)
    go(guild, BEN, None)
    *_, (name, state) = await pages[1].heard(4)
    assert (name, state["state"]) == ("state", "unknown")
    house.discord.stage.fault("outage_end", guild=guild)
    *_, state_now, (_, healed) = await pages[1].heard(6)
    assert state_now == ("state", {"guildId": str(guild), "state": "known"})
    assert (healed["action"], healed["userId"]) == ("leave", str(BEN))

    # The server stops: each stream is ended, and told when to come back.
    await house.stop()
    for page in pages:
        await page.link.closed
        assert page.link.heard.endswith(b"\r\n0\r\n\r\n")
        assert b"retry: 3000" not in page.link.heard[-40:]
        assert b"\nretry: " in page.link.heard[-40:]

    # Another process knows no such event: it tells all of it anew.
    await house.start()
    await house.ready()
    await pages[1].open()
    ((name, snapshot),) = await pages[1].heard(1)
    assert name == "snapshot"
    inside = {c["name"]: c["members"] for c in snapshot["voiceChannels"]}
    assert [member["userId"] for member in inside["Lounge"]] == [str(ADA)]
    assert inside["Games"] == []
