"""`voicestatus releases`, as its user types it."""

import json
from typing import Any

import pytest

PATH = "/api/v1/firmware/releases"
ONE = f"{PATH}/esp32-14-0f0f0f0f"


@pytest.fixture
def release(api: Any, make_release: Any) -> Any:
    release = make_release(
        "esp32-14-0f0f0f0f", board="lolin32", notes="Softer", floor=12, needed=True
    )
    api.answer("GET", PATH, 200, {"releases": [release], "next": None})
    api.answer("GET", ONE, 200, release)
    api.answer("PATCH", ONE, 200, release | {"legacy": True})
    api.answer("DELETE", ONE, 204, None)
    return release


def test_all_are_listed(cli: Any, release: Any):
    head, line = cli.done("releases").splitlines()
    assert head.split()[:2] == ["id", "chip"]
    for shown in ("esp32-14-0f0f0f0f", "esp32 lolin32", "1.4.0", "stable", "400000"):
        assert shown in line
    assert json.loads(cli.done("releases", "--json")) == [release]


def test_where_there_is_none_it_says_how_one_comes(cli: Any, api: Any):
    api.answer("GET", PATH, 200, {"releases": [], "next": None})
    assert "voicestatus publish" in cli.done("releases")


def test_one_is_shown_with_all_that_is_known(cli: Any, release: Any):
    told = cli.done("releases", "show", "esp32-14-0f0f0f0f")
    for line in ("floor      12", "notes      Softer", "needed     by a rollout"):
        assert line in told
    assert "min build" not in told


def test_one_whose_key_is_gone_is_shown_as_such(cli: Any, api: Any, make_release: Any):
    release = make_release("esp32-14-0f0f0f0f", trusted=False)
    api.answer("GET", PATH, 200, {"releases": [release], "next": None})
    api.answer("GET", ONE, 200, release)
    assert "untrusted" in cli.done("releases").splitlines()[1]
    told = cli.done("releases", "show", "esp32-14-0f0f0f0f")
    assert "trusted no more" in told


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (("--channel", "beta"), {"channel": "beta"}),
        (("--legacy",), {"legacy": True}),
        (("--no-legacy", "--notes", ""), {"legacy": False, "notes": ""}),
    ],
)
def test_what_is_said_is_changed_and_nothing_else(
    cli: Any, api: Any, release: Any, options: Any, sent: Any
):
    told = cli.done("releases", "change", "esp32-14-0f0f0f0f", *options)
    assert api.asked == [("PATCH", ONE, sent)]
    assert "old signs  may have it" in told


def test_a_change_of_nothing_is_wrong_use(cli: Any, api: Any, release: Any):
    assert cli("releases", "change", "esp32-14-0f0f0f0f").exit_code == 2
    assert not api.asked


def test_one_is_forgotten(cli: Any, api: Any, release: Any):
    told = cli.done("releases", "delete", "esp32-14-0f0f0f0f")
    assert told == "esp32-14-0f0f0f0f is forgotten\n"


def test_one_that_is_needed_is_not_and_it_says_what_helps(cli: Any, api: Any):
    why = "A rollout still needs release x."
    api.refuse("DELETE", f"{PATH}/x", 409, "RELEASE_IN_USE", why)
    result = cli("releases", "delete", "x")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {why} `voicestatus rollout status`")
