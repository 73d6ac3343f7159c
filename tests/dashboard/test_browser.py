"""The page in a real browser, with an API that says what each test needs."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
GUILD = "1187000000000000001"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
ACTIVITY = f"/discord/{GUILD}/activity"
SETTINGS = "/organizations/1/settings"
Json = Any


class Server:
    """The fake server, and what it is told to answer."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def _tell(self, path: str, told: Json) -> Json:
        url, body = f"{self.url}/_fake/{path}", json.dumps(told).encode()
        asked = urllib.request.Request(url, body, method="POST")
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.loads(answer.read())

    def answer(self, path: str, body: Json, status: int = 200, by: str = "GET") -> None:
        told = {"path": path, "body": body, "status": status, "method": by}
        self._tell("answer", told)

    def join(self, user: str, channel: str, name: str) -> None:
        told = {
            "guildId": GUILD, "channelId": channel, "channelName": channel,
            "channelType": "voice", "userId": user, "displayName": name,
            "avatarUrl": None, "action": "join",
        }  # fmt: skip
        self._tell("voice", told)

    def reset(self) -> None:
        self._tell("reset", None)

    @property
    def streams(self) -> list[str]:
        return self._tell("log", None)["streams"]

    @property
    def writes(self) -> list[Json]:
        return self._tell("log", None)["writes"]


@pytest.fixture(scope="module")
def fake() -> Iterator[Server]:
    with subprocess.Popen(
        [sys.executable, HERE / "fake_server.py", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Server(int(process.stdout.readline()))
        finally:
            process.terminate()


@pytest.fixture
def server(fake: Server) -> Server:
    fake.reset()
    return fake


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


Open = Callable[..., Page]


@pytest.fixture
def open_(browser: Browser, server: Server) -> Iterator[Open]:
    """Open a path; at the end nothing may have broken the page's own policy."""
    contexts, said = [], []

    def open_at(path: str = "/") -> Page:
        context = browser.new_context(reduced_motion="reduce")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text))
        page.goto(server.url + path)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert [text for text in said if "Failed to load resource" not in text] == []


def people(page: Page, channel: str) -> list[str]:
    return page.locator(
        f"section[aria-label='{channel}'] .person > .clip"
    ).all_inner_texts()


def until(holds: Callable[[], object], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def baseline(**inside: list[tuple[str, str]]) -> Json:
    """An activity: channel by channel who is inside, by id and name."""
    return {
        "guildId": GUILD, "fetchedAt": "-1 s", "contentAvailable": True,
        "textChannels": [], "unavailable": [],
        "voiceChannels": [
            {"id": name, "name": name, "type": "voice", "members": [
                {"userId": user, "displayName": called, "avatarUrl": None}
                for user, called in members
            ]}
            for name, members in inside.items()
        ],
    }  # fmt: skip


def test_while_discord_is_away_the_page_says_so_and_finds_out_again(
    server: Server, open_: Open
):
    me = json.loads((HERE / "fake_answers.json").read_text())["GET /me"]
    in_doubt = {"level": "guest", "doubt": "DISCORD_UNAVAILABLE"}
    server.answer("/me", me | in_doubt)
    page = open_("/account")
    expect(page.get_by_text("Discord does not answer")).to_be_visible()
    expect(page.get_by_role("link", name="Firmware")).to_be_hidden()
    server.reset()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("link", name="Firmware")).to_be_visible()
    expect(page.get_by_text("Discord does not answer")).to_be_hidden()


def test_what_is_kept_is_shown_to_who_is_not_signed_in(server: Server, open_: Open):
    refused = {"code": "UNAUTHORIZED", "message": "Sign in first."}
    server.answer("/me", refused, status=401)
    kept = {"of": "people", "place": "store", "what": "A name", "until": "then"}
    server.answer("/privacy", {"notes": ["No history."], "kept": [kept]})
    page = open_("/settings")
    page.get_by_role("link", name="What is kept of you").click()
    expect(page.get_by_role("heading", level=1, name="Privacy")).to_be_visible()
    expect(page.get_by_text("A name.")).to_be_visible()
    expect(page.get_by_role("link", name="Download it")).to_have_count(0)
    page.get_by_role("link", name="Sign in").click()
    expect(page.get_by_role("heading", name="Sign in to voicestatus")).to_be_visible()


def test_who_goes_back_from_what_is_not_saved_is_asked_as_by_a_link(
    server: Server, open_: Open
):
    page = open_("/privacy")
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("switch", name="Announce and schedule in Discord").click()
    unsaved = page.get_by_text("1 unsaved change")
    leave = {"by a link": page.get_by_role("link", name="Overview").click}
    leave |= {"back": page.go_back, "back again": page.go_back}
    for way in leave.values():
        with page.expect_event("dialog") as asked:
            page.once("dialog", lambda dialog: dialog.dismiss())
            way()
        assert asked.value.message == "Leave without saving?"
        expect(page).to_have_url(f"{server.url}/settings")
        expect(unsaved).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    page.go_back()
    expect(page).to_have_url(f"{server.url}/privacy")
    page.go_forward()
    expect(unsaved).to_have_count(0)


# ---- live --------------------------------------------------------------------------


def test_a_stream_that_is_refused_is_tried_again(server: Server, open_: Open):
    stream = f"/discord/{GUILD}/voice-stream"
    server.answer(stream, {"code": "STOPPING"}, status=503)
    page = open_()
    expect(page.get_by_text("Reconnecting")).to_be_visible()
    server.reset()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    assert len(server.streams) == 1


def test_one_stream_is_open_and_none_when_nobody_looks(server: Server, open_: Open):
    other = json.loads((HERE / "fake_answers.json").read_text())["GET /organizations"]
    other["organizations"][1] |= {"discordGuildId": "77", "botPresent": True}
    server.answer("/organizations", other)
    server.answer("/discord/77/activity", baseline(Attic=[]))
    page = open_()
    until(lambda: server.streams == [f"/api/v1/discord/{GUILD}/voice-stream"])
    page.get_by_role("button", name="Community: Night Lanterns").click()
    page.get_by_role("menuitemradio", name="Board Games").click()
    until(lambda: server.streams == ["/api/v1/discord/77/voice-stream"])
    expect(page.get_by_text("Attic")).to_be_visible()
    page.get_by_role("link", name="Settings").click()
    until(lambda: server.streams == [])


def test_fresh_data_takes_the_place_of_what_was_live(server: Server, open_: Open):
    server.answer(ACTIVITY, baseline(Lounge=[("1", "Ada")]))
    page = open_()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    server.join("2", "Lounge", "Bo")
    until(lambda: people(page, "Lounge") == ["Ada", "Bo"])
    server.answer(ACTIVITY, baseline(Lounge=[("1", "Ada of now")]))
    page.clock.install()
    page.reload()
    until(lambda: people(page, "Lounge") == ["Ada of now"])
    server.answer(ACTIVITY, baseline(Lounge=[("9", "Zoe")]))
    page.clock.run_for(31_000)
    until(lambda: people(page, "Lounge") == ["Zoe"])


# ---- people ------------------------------------------------------------------------


def test_an_invite_that_cannot_be_made_says_why(server: Server, open_: Open):
    page = open_()
    for code, said in [
        ("NO_INVITE_CHANNEL", "no channel that the bot may invite to"),
        ("MISSING_PERMISSION", "Update bot permissions"),
        ("INVITE_LIMIT", "as many invites as Discord allows"),
    ]:
        error = {"code": code, "details": {"reauthorizeUrl": "https://discord.com/x"}}
        server.answer("/organizations/1/discord/server-invite", error, status=409)
        page.get_by_role("button", name="Get an invite").click()
        expect(page.locator(".invite [role=alert]")).to_contain_text(said)


def test_what_people_wrote_is_text(server: Server, open_: Open):
    told = json.loads((HERE / "fake_answers.json").read_text())[f"GET {ACTIVITY}"]
    message = told["textChannels"][0]["messages"][0]
    message["content"] = "<img src=x onerror=alert(1)> https://a.example/<b>"
    message["author"]["displayName"] = "<script>alert(2)</script>"
    server.answer(ACTIVITY, told)
    page = open_()
    shown = page.locator(".message").first
    expect(shown).to_contain_text(message["content"])
    expect(shown).to_contain_text(message["author"]["displayName"])
    link = shown.get_by_role("link", name="https://a.example/")
    assert "noopener" in link.get_attribute("rel")


# ---- settings ----------------------------------------------------------------------


def test_channels_are_put_in_order_by_keyboard_and_saved(server: Server, open_: Open):
    page = open_("/settings")
    page.get_by_role("button", name="Move general down").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Move general up")).to_be_focused()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved")).to_be_visible()
    body = {"discordOverviewChannelIds": ["200", "100"]}
    assert {"method": "PATCH", "path": SETTINGS, "body": body} in server.writes


def test_what_is_wrong_is_said_where_it_is(server: Server, open_: Open):
    page = open_("/settings")
    page.get_by_role("button", name="Add a rank").click()
    page.get_by_label("Rank", exact=True).last.fill("raider")
    page.get_by_label("Role of raider").select_option("Raider")
    error = {
        "code": "ROLE_NOT_ASSIGNABLE",
        "message": "The role Raider cannot be a rank's.",
        "details": {"key": "discordRankRoles.raider"},
    }
    server.answer(SETTINGS, error, status=409, by="PATCH")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".ranks li").last).to_contain_text(error["message"])
    page.get_by_role("button", name="Discard").click()
    expect(page.locator(".ranks li")).to_have_count(1)


def test_where_channels_do_not_load_the_bot_can_be_invited(server: Server, open_: Open):
    for name in ("channels", "roles"):
        error = {"code": "BOT_NOT_IN_SERVER", "message": "It is not there."}
        server.answer(f"/discord/{GUILD}/{name}", error, status=409)
    page = open_("/settings")
    for what in ("The channels", "The roles"):
        expect(page.get_by_text(f"{what} could not be loaded")).to_be_visible()
    expect(page.get_by_role("link", name="Invite the bot, or update")).to_have_count(2)
    expect(page.get_by_text("Update bot permissions")).to_be_visible()


def test_roles_are_synced_after_one_has_seen_what_would_be_done(
    server: Server, open_: Open
):
    page = open_("/settings")
    page.get_by_role("button", name="Sync roles").click()
    sync = "/organizations/1/discord/sync-roles"
    page.get_by_role("button", name="Change 1 member").click()
    until(lambda: [each["path"] for each in server.writes] == [sync, sync])


# ---- how it looks and feels --------------------------------------------------------
