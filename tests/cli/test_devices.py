"""`voicestatus devices`, as its user types it."""

import io
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import click
import pytest
from rich.console import Console

from voicestatus.cli.devices import follow, state_of
from voicestatus.cli.shown import ago

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def signs(api: Any, make_device: Any) -> list[Any]:
    signs = [
        make_device(
            "desk-lamp",
            name="Desk [red]lamp",
            connected=True,
            fw="1.4.0",
            chip="esp32",
            rssiDbm=-61,
            address="192.0.2.7",
            tags=["office", "door"],
            lastSeen="2026-11-21T11:00:00Z",
        ),
        make_device("hall", approved=False, lastSeen="2026-11-21T11:00:00Z"),
    ]
    api.answer("GET", "/api/v1/devices", 200, {"devices": signs, "next": None})
    return signs


def test_what_is_no_terminal_gets_one_line_a_sign_and_nothing_is_cut_off(
    cli: Any, signs: Any
):
    head, lamp, hall, count = cli.done("devices").splitlines()
    assert head.split("  ")[0].startswith("id")
    for shown in ("desk-lamp", "Desk [red]lamp", "connected", "1.4.0", "esp32"):
        assert shown in lamp
    for shown in ("-61 dBm", "now", "192.0.2.7", "office, door"):
        assert shown in lamp
    assert "away, to approve" in hall
    assert "ago" in hall
    assert count.strip() == "1 of 2 connected"


def test_json_is_one_document_with_all_that_the_server_says(cli: Any, signs: Any):
    assert json.loads(cli.done("devices", "--json")) == signs


def test_all_pages_are_fetched(cli: Any, api: Any, make_device: Any):
    path = "/api/v1/devices"
    api.answer("GET", path, 200, {"devices": [make_device("a")], "next": "a/b"})
    api.answer("GET", path, 200, {"devices": [make_device("c")], "next": None})
    listed = json.loads(cli.done("devices", "--json"))
    assert [sign["id"] for sign in listed] == ["a", "c"]
    asked = [dict(parse_qsl(urlsplit(path).query)) for _, path, _ in api.asked]
    assert asked == [{"limit": "1000"}, {"limit": "1000", "after": "a/b"}]


def test_filters_are_the_servers_business(cli: Any, api: Any, signs: Any):
    cli.done("devices", "--once", "--tag", "a&b", "--offline", "--search", "Lamp")
    ((_, path, _),) = api.asked
    assert dict(parse_qsl(urlsplit(path).query)) == {
        "limit": "1000",
        "tag": "a&b",
        "connected": "false",
        "q": "Lamp",
    }


def test_what_a_name_holds_does_nothing_to_a_terminal(
    cli: Any, api: Any, make_device: Any
):
    named = make_device("x", name="\x1b[2Jgone\n")
    api.answer("GET", "/api/v1/devices", 200, {"devices": [named], "next": None})
    output = cli.done("devices")
    assert "\x1b" not in output
    assert "\ufffd[2Jgone\ufffd" in output


def test_a_table_follows_and_survives_that_the_server_is_away(make_device: Any):
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    answers: list[Any] = [
        [make_device("first")],
        click.ClickException("it does not answer"),
        [make_device("second", connected=True)],
        KeyboardInterrupt(),
    ]
    slept: list[float] = []

    def fetch() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    screen = Screen()
    console = Console(file=screen, width=120, height=20, force_terminal=True)
    with pytest.raises(KeyboardInterrupt):
        follow(fetch, console, slept.append)
    output = screen.getvalue()
    assert output.index("first") < output.index("it does not answer")
    assert output.index("it does not answer") < output.index("second")
    assert slept == [2.0] * 3


def test_a_table_is_no_longer_than_the_screen(make_device: Any):
    screen = io.StringIO()
    console = Console(file=screen, width=120, height=10, force_terminal=True)
    many = [make_device(f"sign-{n}") for n in range(100)]

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(lambda: many, console, interrupt)
    assert "sign-5" in screen.getvalue()
    assert "sign-6" not in screen.getvalue()
    assert "0 of 100 connected; 94 are not shown" in screen.getvalue()


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ({}, "away"),
        ({"connected": True}, "connected"),
        ({"connected": True, "enrolled": False}, "connected, stranger"),
        ({"revoked": True, "approved": False}, "away, revoked"),
        ({"approved": False}, "away, to approve"),
    ],
)
def test_a_state_says_what_an_admin_has_to_know(
    make_device: Any, how: dict[str, bool], state: str
):
    assert state_of(make_device("x", **how)) == state


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (None, "never"),
        ("2026-11-21T12:00:05Z", "0 s ago"),
        ("2026-11-21T11:59:59.5Z", "0 s ago"),
        ("2026-11-21T11:58:01Z", "119 s ago"),
        ("2026-11-21T11:58:00Z", "2 min ago"),
        ("2026-11-21T10:00:00+00:00", "2 h ago"),
        ("2026-11-19T12:00:00Z", "2 days ago"),
    ],
)
def test_a_moment_is_told_by_its_distance(moment: str | None, said: str):
    assert ago(moment, NOW) == said
