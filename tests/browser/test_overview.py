"""Who may come in, who is in voice, and how one joins: in a browser."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.slow

GUILD = "1187000000000000001"
ROBIN, STRAY = "1187000000000004001", "1187000000000004002"
"""A member of the server, and somebody who is in none."""
ADA, BEN, CY = "1187000000000005001", "1187000000000005002", "1187000000000005003"
SOON_MS = 3000
"""A second, on a machine with more to do than this."""


@pytest.fixture(scope="module")
def rooms(town: Any) -> dict[str, str]:
    """Return the voice channels' ids by their names."""
    told = town.api("GET", f"/discord/{GUILD}/activity")["voiceChannels"]
    return {channel["name"]: channel["id"] for channel in told}


@pytest.fixture
def nobody(town: Any, rooms: dict[str, str]) -> None:
    """Let all who are in voice leave it."""
    for user in town.discord.state()["guilds"][GUILD]["voice"]:
        town.discord.join(user, None)


class Wire:
    """Another way to the server, which can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: list[socket.socket] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://localhost:{self._door.getsockname()[1]}"
        self._threads = [Thread(target=self._let_in)]
        self._threads[0].start()

    def _let_in(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._door.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._ends += near, far
                for ends in ((near, far), (far, near)):
                    self._threads.append(Thread(target=self._carry, args=ends))
                    self._threads[-1].start()

    @staticmethod
    def _carry(here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while data := here.recv(65_536):
                there.sendall(data)
            there.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in (self._door, *self._ends):
            end.close()


@pytest.fixture
def wire(town: Any) -> Iterator[Wire]:
    wire = Wire(int(town.url.rpartition(":")[2]))
    town.ways.append(wire.url)
    yield wire
    wire.close()


def people(page: Page, room: str) -> Locator:
    return page.get_by_role("region", name=room).get_by_role("listitem")


def in_voice(page: Page, words: str) -> Locator:
    return page.get_by_role("heading", level=1, name=words)


def with_discord(page: Page, town: Any, user: str) -> None:
    town.discord.control("sign_in", user=user)
    page.get_by_role("link", name="Continue with Discord").click()


def test_the_admin_token_lets_in_and_leads_to_where_one_was_going(
    open_page: Callable[..., Page], town: Any, serious: Callable[[Page], list[str]]
) -> None:
    page = open_page("/sign-in?next=/signs")
    page.get_by_role("button", name="Use the admin token").click()
    assert not serious(page)
    token = page.get_by_label("Admin token")
    expect(token).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Enter the token.")).to_be_visible()
    token.fill("a guess")
    page.keyboard.press("Enter")
    expect(page.get_by_text("That is not the admin token.")).to_be_visible()
    token.fill("open-the-admin-side")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{town.url}/signs")
    expect(page.get_by_text("No sign has been here yet")).to_be_visible()
    page.get_by_role("button", name="Account").click()
    page.get_by_role("menuitem", name="Sign out").click()
    expect(page.get_by_role("link", name="Continue with Discord")).to_be_visible()
    page.goto("/firmware")
    expect(page.get_by_role("link", name="Continue with Discord")).to_be_visible()
    assert page.context.request.get("/api/v1/me").status == 401


def test_a_member_signs_in_with_discord_and_sees_what_members_may(
    open_page: Callable[..., Page], town: Any
) -> None:
    town.discord.control("members", guild=GUILD, user=ROBIN, name="robin")
    page = open_page("/")
    with_discord(page, town, ROBIN)
    views = page.get_by_role("navigation", name="Views").get_by_role("link")
    expect(views).to_have_text(["Overview", "Privacy"])
    expect(page.get_by_role("heading", name="Recent messages")).to_be_visible()
    expect(page.get_by_role("heading", name="Join the server")).to_have_count(0)
    page.goto("/signs")
    expect(page.get_by_text("Signs is for the owner of this server")).to_be_visible()
    assert page.context.request.get("/api/v1/devices").status == 403
    page.get_by_role("button", name="Account").click()
    expect(page.get_by_text("Robin", exact=True)).to_be_visible()
    page.get_by_role("menuitem", name="Sign out").click()
    expect(page.get_by_role("link", name="Continue with Discord")).to_be_visible()


def test_who_joins_moves_mutes_and_leaves_is_seen_to_within_a_second(
    as_admin: Callable[..., Page], town: Any, rooms: dict[str, str], nobody: None
) -> None:
    page = as_admin("/")
    expect(in_voice(page, "Nobody is in voice")).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    lounge, games = people(page, "Lounge"), people(page, "Games")
    town.discord.join(ADA, rooms["Lounge"], name="ada")
    expect(lounge).to_have_text(["AAda"], timeout=SOON_MS)
    expect(in_voice(page, "1 person in voice")).to_be_visible(timeout=SOON_MS)
    expect(page).to_have_title(re.compile(r"^\(1\) "), timeout=SOON_MS)
    town.discord.join(BEN, rooms["Lounge"], name="ben")
    expect(lounge).to_have_count(2, timeout=SOON_MS)
    town.discord.join(BEN, rooms["Games"])
    expect(games).to_have_text(["BBen"], timeout=SOON_MS)
    expect(lounge).to_have_count(1, timeout=SOON_MS)
    expect(in_voice(page, "2 people in voice")).to_be_visible(timeout=SOON_MS)
    town.discord.join(BEN, rooms["Games"], selfMute=True, selfStream=True)
    expect(games.get_by_role("img", name="muted")).to_be_visible(timeout=SOON_MS)
    expect(games.get_by_role("img", name="streams")).to_be_visible(timeout=SOON_MS)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    town.discord.join(ADA, None)
    expect(page.get_by_role("region", name="Lounge")).to_have_count(0, timeout=SOON_MS)
    town.discord.join(BEN, None)
    expect(in_voice(page, "Nobody is in voice")).to_be_visible(timeout=SOON_MS)


def test_a_lost_stream_comes_back_with_nobody_lost_and_nobody_twice(
    as_admin: Callable[..., Page], town: Any, rooms: dict[str, str], nobody: None
) -> None:
    page = as_admin("/")
    for user, name in ((ADA, "ada"), (BEN, "ben")):
        town.discord.join(user, rooms["Lounge"], name=name)
    lounge, games = people(page, "Lounge"), people(page, "Games")
    expect(lounge).to_have_text(["AAda", "BBen"])
    town.stop()
    expect(page.get_by_text("Reconnecting")).to_be_visible()
    expect(lounge).to_have_count(2)
    town.discord.join(ADA, rooms["Games"])
    town.discord.join(BEN, None)
    town.discord.join(CY, rooms["Games"], name="cy")
    town.start()
    expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=30_000)
    expect(games).to_have_text(["AAda", "CCy"])
    expect(in_voice(page, "2 people in voice")).to_be_visible()
    expect(page.get_by_role("region", name="Lounge")).to_have_count(0)


def test_a_stream_that_is_cut_goes_on_where_it_was(
    as_admin: Callable[..., Page],
    town: Any,
    rooms: dict[str, str],
    nobody: None,
    wire: Wire,
) -> None:
    town.discord.join(ADA, rooms["Lounge"], name="ada")
    page = as_admin(wire.url)
    expect(people(page, "Lounge")).to_have_text(["AAda"])
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    wire.cut()
    town.discord.join(ADA, rooms["Games"])
    town.discord.join(BEN, rooms["Games"], name="ben")
    expect(page.get_by_text("Reconnecting")).to_be_visible()
    expect(people(page, "Games")).to_have_text(["AAda", "BBen"])
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Lounge")).to_have_count(0)
    expect(in_voice(page, "2 people in voice")).to_be_visible()


def test_an_invite_is_for_those_of_the_roster_who_are_not_in_the_server(
    open_page: Callable[..., Page], town: Any
) -> None:
    town.discord.control("members", guild=GUILD, user=STRAY, name="stray")
    town.discord.control("members", guild=GUILD, user=STRAY, present=False)
    page = open_page("/")
    with_discord(page, town, STRAY)
    page.get_by_role("navigation", name="Views").wait_for()
    expect(page.get_by_text("There is no community of yours here")).to_be_visible()
    town.api("PUT", f"/organizations/{GUILD}/members/{STRAY}", {"rank": "Recruit"})
    page.reload()
    page.get_by_role("button", name="Get an invite").click()
    link = page.get_by_role("link", name="Open Discord")
    expect(link).to_have_attribute("href", re.compile(r"^https://discord\.gg/\w+$"))
