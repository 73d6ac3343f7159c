"""A sign gets a rule, and signs get firmware: in a browser."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from voicestatus.core.chip import Chip
from voicestatus.simulator.images import make_image

pytestmark = pytest.mark.slow

GUILD = "1187000000000000001"
ADA, BEN = "1187000000000005001", "1187000000000005002"
GOOD, BAD = 20, 21
ROLLOUT_MS = 60_000


@pytest.fixture(scope="module")
def lounge(town: Any) -> str:
    """Let eight signs come, and one person; return where that one is."""
    public = Path(town.key).with_suffix(".pub").read_text().strip()
    town.signs(
        *("--count", "8", "--v2", "--status-every", "5"),
        *("--updates", "--update-key", public, "--bad-build", str(BAD)),
    )
    rooms = town.api("GET", f"/discord/{GUILD}/activity")["voiceChannels"]
    lounge: str = next(room["id"] for room in rooms if room["name"] == "Lounge")
    town.discord.join(ADA, lounge, name="ada")
    return lounge


@pytest.fixture
def build(town: Any, tmp_path: Path) -> Callable[..., list[Path]]:
    """Make what a build and a signature make: an image and its manifest."""

    def made(chip: Chip, number: int) -> list[Path]:
        version, title = f"1.5.{number}", chip.title.lower().replace("-", "")
        image = tmp_path / f"{title}.bin"
        image.write_bytes(make_image(chip, 65_536, version=version, build=number))
        town.command(
            *("sign", str(image), "--key", town.key, "--chip", title),
            *("--version", version, "--build", str(number)),
        )
        return [image, image.with_name(f"{image.name}.manifest")]

    return made


def sheet(page: Page) -> Locator:
    return page.get_by_role("dialog")


def test_a_rule_is_tried_and_saved_and_the_sign_follows_and_says_why(
    as_admin: Callable[..., Page], town: Any, lounge: str
) -> None:
    page = as_admin("/signs")
    signs = page.get_by_role("table", name="Signs")
    expect(signs.get_by_role("link")).to_have_count(8)
    one = signs.get_by_role("row").filter(has_text="sim-0-1")
    expect(one.get_by_role("img", name="Lit", exact=True)).to_be_visible()
    one.get_by_role("link").click()
    expect(sheet(page).get_by_text("On: 1 counts.")).to_be_visible()
    sheet(page).get_by_role("button", name="Change").click()
    sheet(page).get_by_role("button", name="One more").click()
    expect(sheet(page).get_by_text("With this rule it would be, now")).to_be_visible()
    expect(sheet(page).get_by_text("Off: 1 counts, 2 are needed")).to_be_visible()
    assert town.api("GET", "/devices/sim-0-1/explain")["light"]["on"]
    sheet(page).get_by_role("button", name="Save the rule").click()
    expect(page.get_by_role("status").filter(has_text="Saved")).to_be_visible()
    expect(sheet(page).get_by_role("img", name="Dark").first).to_be_visible()
    sheet(page).get_by_role("tab", name="Why it shows this").click()
    expect(sheet(page).get_by_text("1 counts, 2 are needed").first).to_be_visible()
    told = town.api("GET", "/devices/sim-0-1/explain")
    assert (told["light"]["on"], told["needed"]) == (False, 2)
    town.discord.join(BEN, lounge, name="ben")
    expect(sheet(page).get_by_text("On: 2 count")).to_be_visible()
    sheet(page).get_by_role("button", name="Close").click()
    expect(one.get_by_role("img", name="Lit", exact=True)).to_be_visible()
    assert town.api("GET", "/devices/sim-0-1/explain")["light"]["on"]


def test_a_release_is_uploaded_and_rolled_out_to_its_end(
    as_admin: Callable[..., Page],
    town: Any,
    lounge: str,
    build: Callable[..., list[Path]],
) -> None:
    page = as_admin("/firmware")
    page.get_by_role("button", name="Upload", exact=True).click()
    page.get_by_label("Image and manifest").set_input_files(build(Chip.ESP32, GOOD))
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text(f"1.5.20 (build {GOOD}) for esp32")).to_be_visible()
    page.get_by_role("button", name="Roll it out").click()
    preview = sheet(page).get_by_role("region", name="What it would do")
    expect(preview).to_contain_text(re.compile(r"2\s*signs get it"))
    sheet(page).get_by_role("button", name="Next: Pace").click()
    for stage in (3, 2):
        sheet(page).get_by_role("button", name=f"Remove stage {stage}").click()
    for minutes in sheet(page).get_by_label("Watched for (min)").all():
        minutes.fill("0.02")
    sheet(page).get_by_text("More: speed, and when").click()
    sheet(page).get_by_label("A sign has to stay for (min)").fill("0.02")
    sheet(page).get_by_role("button", name="Next: Start").click()
    sheet(page).get_by_role("button", name="Start the rollout").click()
    sheet(page).get_by_role("button", name="Pause").click()
    expect(sheet(page).get_by_text("Paused", exact=True)).to_be_visible()
    sheet(page).get_by_role("button", name="Resume").click()
    page.get_by_role("dialog", name="Go on?").get_by_role(
        "button", name="Resume"
    ).click()
    expect(sheet(page).get_by_text("Running", exact=True)).to_be_visible()
    done = sheet(page).get_by_text("Finished", exact=True)
    expect(done).to_be_visible(timeout=ROLLOUT_MS)
    expect(sheet(page).get_by_text("2 signs of 2 updated")).to_be_visible()
    page.goto("/signs")
    one = page.get_by_role("row").filter(has_text="sim-0-1")
    expect(one).to_contain_text(f"1.5.{GOOD}")


def test_a_bad_build_stops_by_itself_and_is_aborted(
    as_admin: Callable[..., Page],
    town: Any,
    lounge: str,
    build: Callable[..., list[Path]],
) -> None:
    image, manifest = build(Chip.ESP8266, BAD)
    town.command("publish", str(image), "--manifest", str(manifest))
    (release,) = [
        each["id"]
        for each in town.api("GET", "/firmware/releases")["releases"]
        if each["build"] == BAD
    ]
    plan = {"releases": [release], "stages": [{"count": 1}, {"percent": 100}]}
    page = as_admin("/firmware")
    town.api("POST", "/firmware/rollouts", plan)
    under_way = page.get_by_role("region", name="Under way")
    under_way.get_by_role("button", name=re.compile("esp8266")).click()
    alert = sheet(page).get_by_role("alert")
    expect(alert).to_contain_text("It has stopped by itself", timeout=ROLLOUT_MS)
    failed = sheet(page).get_by_role("region", name="Failed").get_by_role("listitem")
    expect(failed).to_have_count(1)
    sheet(page).get_by_role("button", name="Abort").click()
    page.get_by_role("button", name="Abort it").click()
    expect(sheet(page).get_by_text("Aborted", exact=True)).to_be_visible()
    assert town.api("GET", "/firmware/rollouts")["rollouts"][0]["status"] == "aborted"
