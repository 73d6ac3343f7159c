"""Takes the pictures of docs/dashboard.md: `make pictures`.

A town with people, signs and a rollout on its way; each view of it, light and dark.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from voicestatus.core.chip import Chip
from voicestatus.simulator.images import make_image

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
GUILD, NAME = "1187000000000000007", "Lantern Street"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
STRAY = "1187000000000004002"
PEOPLE = {
    # Who: where, and how.
    "mira solano": ("Lounge", {"selfStream": True}),
    "theo": ("Lounge", {}),
    "ines": ("Lounge", {"selfMute": True}),
    "otto wren": ("Lounge", {}),
    "linnea": ("Workshop", {}),
    "kofi": ("Workshop", {"selfMute": True, "selfDeaf": True}),
    "yuki tanaka": ("Games", {}),
    "sam": ("Town Hall", {}),
}
SIZES = {Chip.ESP8266: 65_536, Chip.ESP32: 1_802_240, Chip.ESP32C3: 1_736_704}
"""The large ones keep signs with a slow link busy until all pictures are taken."""
OVERVIEW = ("Lounge", "Workshop", "Town Hall", "Games", "general", "off-topic")
SAID = (
    (
        "general",
        "mira solano",
        "The lamp over the bar is alive! https://example.org/build",
    ),
    ("general", "theo", "I see it from across the street."),
    ("general", "otto wren", "Soldering night moves to Thursday, bring your own iron."),
    ("off-topic", "linnea", "Who has the small tripod?"),
    ("off-topic", "kofi", "It is in the workshop, second shelf."),
)
SIGNS = (
    ("Bar", "front", {"color": "#f5a30a", "pattern": "breathe"}),
    ("Bookshelf", "home", None),
    ("Corner window", "front", {"color": "#23a55a"}),
    ("Desk, Mira", "home", {"minCount": 3}),
    ("Desk, Theo", "home", None),
    ("Door", "front", {"color": "#eb459e"}),
    ("Garage", "workshop", {"minCount": 12}),
    ("Hallway", "home", {"pattern": "rainbow"}),
    ("Kitchen shelf", "home", {"color": "#00b0f4", "brightness": 140}),
    ("Landing", "home", None),
    ("Laser cutter", "workshop", {"color": "#f23f42"}),
    ("Lathe", "workshop", None),
    ("Library", "front", {"minCount": 9}),
    ("Neon, street side", "front", {"color": "#eb459e"}),
    ("Porch", "front", None),
    ("Reading room", "home", {"color": "#f5a30a"}),
    ("Shed", "workshop", None),
    ("Stairs", "home", {"color": "#23a55a"}),
    ("Studio", "workshop", None),
    ("Workbench", "workshop", {"color": "#f5a30a"}),
)


@pytest.fixture(scope="module")
def town(
    start_town: Callable[..., AbstractContextManager[Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("town")
    with start_town(folder, GUILD, NAME) as town:
        populate(town)
        gather(town)
        ship(town, folder)
        yield town


def populate(town: Any) -> None:
    """Let signs come, and give them names and rules."""
    public = Path(town.key).with_suffix(".pub").read_text().strip()
    town.signs(
        *("--count", "22", "--v2", "--legacy", "9", "--own-addresses"),
        *("--status-every", "1", "--updates", "--update-key", public),
        *("--bad-build", "21", "--seed", "3", "--slow", "30"),
    )
    town.signs("--count", "2", "--v2", "--seed", "4", "--duration", "3")
    ids = until(lambda: enrolled(town), lambda ids: len(ids) == len(SIGNS))
    for device, (name, tag, rule) in zip(sorted(ids), SIGNS, strict=False):
        change = {"name": name, "tags": [tag], **({"rule": rule} if rule else {})}
        town.api("PATCH", f"/devices/{device}", change)


def enrolled(town: Any) -> list[str]:
    """Return the ids of the signs that stay and can be given a name."""
    signs = town.api("GET", "/devices")["devices"]
    return [each["id"] for each in signs if each["id"].startswith("sim-3-")]


def until(ask: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 120
    while not good(answer := ask()):
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)
    return answer


def gather(town: Any) -> None:
    """Let people come, talk and write."""
    town.discord.control("channels", guild=GUILD, name="Workshop")
    told = town.api("GET", f"/discord/{GUILD}/channels")
    channels = {each["name"]: each["id"] for each in told}
    ids = {name: str(int(GUILD) + 100 + n) for n, name in enumerate(PEOPLE)}
    theo = {"guild": GUILD, "user": ids["theo"], "name": "theo"}
    for _ in range(30):  # lights that go on and off are what Health counts
        town.discord.control("voice", **theo, channel=channels["Lounge"])
        town.discord.control("voice", **theo, channel=None)
    for name, (room, how) in PEOPLE.items():
        user = {"guild": GUILD, "user": ids[name], "name": name}
        town.discord.control("voice", **user, channel=channels[room], **how)
    for room, name, words in SAID:
        message = {"channel": channels[room], "user": ids[name], "content": words}
        town.discord.control("messages", **message)
    chosen = [channels[name] for name in OVERVIEW]
    settings = {"discordOverviewChannelIds": chosen}
    town.api("PATCH", f"/organizations/{GUILD}/settings", settings)


def ship(town: Any, folder: Path) -> None:
    """Let one rollout end, one be halted, and one be under way."""
    good = {
        chip: publish(town, folder, chip, 20) for chip in (Chip.ESP32, Chip.ESP32C3)
    }
    old = publish(town, folder, Chip.ESP8266, 19)
    bad = publish(town, folder, Chip.ESP8266, 21)
    at_once = [{"count": 1, "soakS": 0.5}, {"percent": 100, "soakS": 0.5}]
    ended = roll(town, "Softer light", [old], at_once)
    until(ended, lambda rollout: rollout["status"] == "finished")
    bad_one = roll(town, "New radio", [bad], at_once)
    halted = until(bad_one, lambda rollout: rollout["status"] == "halted")
    town.api("POST", f"/firmware/rollouts/{halted['id']}/abort")
    slowly = [{"count": 2, "soakS": 0.5}, {"percent": 75, "soakS": 600}, *at_once[1:]]
    until(roll(town, "Quiet hours", [*good.values()], slowly), under_way)


def under_way(rollout: Any) -> bool:
    counts = rollout["counts"]
    return bool(counts.get("confirmed", 0) > 2 and counts.get("fetching"))


def publish(town: Any, folder: Path, chip: Chip, build: int) -> str:
    title, version = chip.title.lower().replace("-", ""), f"1.5.{build - 19}"
    image = folder / f"{title}-{build}.bin"
    image.write_bytes(make_image(chip, SIZES[chip], version=version, build=build))
    town.command(
        *("sign", str(image), "--key", town.key, "--chip", title),
        *("--version", version, "--build", str(build)),
    )
    town.command("publish", str(image), "--manifest", f"{image}.manifest")
    (release,) = [
        each["id"]
        for each in town.api("GET", "/firmware/releases")["releases"]
        if (each["chip"], each["build"]) == (title, build)
    ]
    return str(release)


def roll(
    town: Any, name: str, releases: list[str], stages: list[dict[str, float]]
) -> Callable[[], Any]:
    """Begin a rollout; return what tells how far it is."""
    plan = {"name": name, "releases": releases, "stages": stages}
    quick = {"gate": {"stayS": 0.5}, "ratePerMinute": 6000}
    rollout = town.api("POST", "/firmware/rollouts", plan | quick)["id"]
    return lambda: town.api("GET", f"/firmware/rollouts/{rollout}")


def take(page: Page, name: str) -> None:
    expect(page.get_by_role("status", name="Loading")).to_have_count(0)
    page.wait_for_timeout(400)
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")


@pytest.mark.parametrize("look", ["light", "dark"])
def test_pictures(open_page: Callable[..., Page], town: Any, look: str) -> None:
    how = {"color_scheme": look, "reduced_motion": "reduce", "timezone_id": "UTC"}
    page = open_page("/", viewport=DESK, **how)
    page.get_by_role("link", name="Continue with Discord").wait_for()
    take(page, f"sign-in-{look}")
    page.get_by_role("link", name="Continue with Discord").click()
    page.get_by_text("Recent messages").wait_for()
    page.goto("/firmware")
    page.get_by_role("button", name="Quiet hours").wait_for()
    take(page, f"firmware-{look}")
    page.get_by_role("button", name="Quiet hours").click()
    take(page, f"rollout-{look}")
    page.goto("/")
    page.get_by_text("Recent messages").wait_for()
    take(page, f"overview-{look}")
    for view in ("signs", "flash", "system", "settings", "privacy"):
        page.goto(f"/{view}")
        page.get_by_role("heading", level=1).wait_for()
        take(page, f"{view}-{look}")
    page.goto("/signs")
    page.get_by_role("link", name="Library").click()
    take(page, f"why-{look}")
    page.get_by_role("tab", name="Rule").click()
    page.get_by_role("button", name="One less").click()
    page.get_by_text("With this rule it would be, now").wait_for()
    take(page, f"rule-{look}")
    page.goto("/firmware")
    page.get_by_role("button", name="Roll out", exact=True).first.click()
    page.get_by_role("dialog").get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Next: Signs").click()
    page.get_by_role("button", name="Next: Pace").click()
    take(page, f"wizard-{look}")
    page.set_viewport_size(PHONE)
    for view in ("", "signs"):
        page.goto(f"/{view}")
        page.get_by_role("heading", level=1).wait_for()
        take(page, f"phone-{view or 'overview'}-{look}")


@pytest.mark.parametrize("look", ["light", "dark"])
def test_picture_of_an_invite(
    open_page: Callable[..., Page], town: Any, look: str
) -> None:
    town.discord.control("members", guild=GUILD, user=STRAY, name="ravi")
    town.discord.control("members", guild=GUILD, user=STRAY, present=False)
    town.discord.control("sign_in", user=STRAY)
    town.api("PUT", f"/organizations/{GUILD}/members/{STRAY}", {"rank": "Guest"})
    page = open_page("/", viewport=DESK, color_scheme=look, reduced_motion="reduce")
    page.get_by_role("link", name="Continue with Discord").click()
    page.get_by_role("button", name="Get an invite").click()
    page.get_by_role("link", name="Open Discord").wait_for()
    take(page, f"invite-{look}")
