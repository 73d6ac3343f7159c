"""Each view, light and dark, on a phone and on a desk: whole, in bounds, for all."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

pytestmark = pytest.mark.slow

GUILD = "1187000000000000001"
VIEWS = {
    "/": "1 person in voice",
    "/signs": "Signs",
    "/firmware": "Firmware",
    "/flash": "Flash",
    "/system": "Health",
    "/settings": "Settings",
    "/privacy": "Privacy",
    "/account": "Your account",
}
"""The heading of each."""
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
FITS = "document.documentElement.scrollWidth <= innerWidth"
FIRST_BYTES, AGAIN_BYTES, REQUESTS = 65_000, 8_000, 30
"""What the overview may cost, with all that it asks the API."""


@pytest.fixture(scope="module", autouse=True)
def inhabited(town: Any) -> None:
    """Let signs come, somebody be in voice, and something be written."""
    town.signs("--count", "4", "--v2", "--status-every", "1")
    told = town.api("GET", f"/discord/{GUILD}/activity")
    lounge = next(each for each in told["voiceChannels"] if each["name"] == "Lounge")
    general = told["textChannels"][0]["id"]
    ada = "1187000000000005001"
    town.discord.join(ada, lounge["id"], name="ada")
    for line in ("Who is in tonight?", "https://example.org/" + "long" * 60):
        town.discord.control("messages", channel=general, user=ada, content=line)


def settled(page: Page, path: str) -> None:
    """Wait until a view has all it asked for."""
    page.goto(path)
    expect(page.get_by_role("heading", level=1, name=VIEWS[path])).to_be_visible()
    expect(page.get_by_role("status", name="Loading")).to_have_count(0)
    page.evaluate("document.fonts.ready")


def test_no_view_is_wider_than_the_screen_or_shuts_anybody_out(
    as_admin: Callable[..., Page], serious: Callable[[Page], list[str]]
) -> None:
    page = as_admin("/privacy", reduced_motion="reduce")
    faults = []
    for path in VIEWS:
        page.set_viewport_size(DESK)
        page.emulate_media(color_scheme="light")
        settled(page, path)
        faults += [f"{path} {each}" for each in outside(page) + serious(page)]
        page.set_viewport_size(PHONE)
        page.emulate_media(color_scheme="dark")
        faults += [f"{path} {each}" for each in outside(page) + serious(page)]
    assert not faults


def outside(page: Page) -> list[str]:
    """Tell when the page can be scrolled sideways, once its layout is done."""
    for _ in range(20):
        if page.evaluate(FITS):
            return []
        page.wait_for_timeout(50)
    return ["can be scrolled sideways"]


def test_the_main_actions_are_reached_with_the_keyboard_alone(
    as_admin: Callable[..., Page], serious: Callable[[Page], list[str]]
) -> None:
    page = as_admin("/")
    settled(page, "/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    settled(page, "/signs")
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim()"))
        if reached[-1].startswith("Sim "):
            break
    assert reached.index("Overview") < reached.index("Privacy")
    assert reached.index("Privacy") < reached.index("Add a sign") < len(reached) - 1
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="Sim 1")).to_be_focused()
    page.keyboard.press("Enter")
    opened = page.get_by_role("dialog", name="Sim 1")
    expect(opened.get_by_text("On: 1 counts.")).to_be_visible()
    assert not serious(page)
    opened.get_by_role("tab", name="Why it shows this").focus()
    page.keyboard.press("ArrowRight")
    expect(opened.get_by_role("button", name="Save the rule")).to_be_visible()
    assert not serious(page)
    page.keyboard.press("Escape")
    expect(opened).to_have_count(0)
    expect(page.get_by_role("link", name="Sim 1")).to_be_focused()


def test_what_cannot_be_loaded_says_so_and_loads_at_a_second_try(
    as_admin: Callable[..., Page], town: Any
) -> None:
    page = as_admin("/privacy")
    refusal = {"code": "STORE_UNAVAILABLE", "message": "It does not answer."}
    asked = {
        "/": "**/api/v1/**/activity*",
        "/firmware": "**/api/v1/**/rollouts*",
        "/settings": "**/api/v1/**/settings",
        "/account": "**/api/v1/**/sessions",
    }

    def refuse(route: Route) -> None:
        route.fulfill(status=503, json={"error": refusal})

    for path, pattern in asked.items():
        page.route(pattern, refuse)
        page.goto(path)
        expect(page.get_by_role("alert")).to_contain_text("does not answer")
        page.unroute(pattern)
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("alert")).to_have_count(0)
    page.route("**/api/v1/me", lambda route: route.abort())
    page.goto("/")
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    page.unroute("**/api/v1/me")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("1 person in voice")


def test_a_theme_that_was_chosen_outlives_the_page(
    as_admin: Callable[..., Page],
) -> None:
    page = as_admin("/privacy", color_scheme="light")
    ink = "getComputedStyle(document.body).color"
    black = page.evaluate(ink)
    page.get_by_role("button", name="Account").click()
    page.get_by_role("menuitemradio", name="Dark").click()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate(ink) != black


def test_the_first_look_costs_little_and_the_second_next_to_nothing(
    as_admin: Callable[..., Page],
) -> None:
    page = as_admin("about:blank")
    for most_bytes in (FIRST_BYTES, AGAIN_BYTES):
        settled(page, "/")
        expect(page.get_by_role("heading", name="Recent messages")).to_be_visible()
        loads = page.evaluate(
            """() => [...performance.getEntriesByType("navigation"),
              ...performance.getEntriesByType("resource")]
              .map(({name, transferSize}) => [name, transferSize])"""
        )
        assert sum(size for _, size in loads) <= most_bytes, loads
        assert len(loads) <= REQUESTS, loads
