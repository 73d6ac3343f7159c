"""`voicestatus device ID …`, as its user types it."""

import json
from pathlib import Path
from typing import Any

import pytest

LAMP = "/api/v1/devices/desk-lamp"
LIGHT = {"known": True, "on": True, "count": 3, "stale": False}
EXPLAINED = {
    "device": "desk-lamp",
    "connected": True,
    "source": "device",
    "shown": LIGHT,
    "frames": [{"at": "2026-11-21T12:00:00Z", "text": "1"}],
    "rule": {"minCount": 2},
    "light": LIGHT,
    "wanted": True,
    "counted": 3,
    "needed": 2,
    "excluded": {"bot": 1, "afk": 0},
    "guilds": {"known": 1, "stale": 0, "unknown": 0},
    "quiet": False,
    "pending": [{"kind": "offDelay", "remainingS": 12.4}],
    "why": "3 people count, and 2 are needed.",
}


@pytest.fixture
def lamp(api: Any, make_device: Any) -> Any:
    lamp = make_device(
        "desk-lamp",
        name="Desk lamp",
        connected=True,
        connectedSince="2026-11-21T12:00:00Z",
        chip="esp32",
        board="esp32dev",
        fw="1.4.0",
        build=14,
        tags=["office"],
        rule={"minCount": 2},
        protocol=2,
    )
    for method in ("GET", "PATCH"):
        api.answer(method, LAMP, 200, lamp)
    return lamp


def test_a_sign_is_shown(cli: Any, lamp: Any):
    output = cli.done("device", "desk-lamp")
    for fact in ("Desk lamp", "connected", "esp32 esp32dev", "1.4.0 (build 14)"):
        assert fact in output
    assert '{"minCount": 2}' in output
    assert json.loads(cli.done("device", "desk-lamp", "--json")) == lamp


def test_options_may_stand_anywhere(api: Any, cli: Any, lamp: Any, admin_token: str):
    options = ("--server", api.url, "--token", admin_token)
    for arguments in (
        ("device", *options, "desk-lamp"),
        ("device", "desk-lamp", *options),
        ("device", "desk-lamp", *options, "rename", "x"),
        ("device", "desk-lamp", "rename", "x", *options),
        ("device", *options, "desk-lamp", "rename", *options, "x"),
    ):
        assert cli(*arguments, env={}).exit_code == 0, arguments


def test_the_innermost_option_wins(cli: Any, api: Any, lamp: Any):
    far = ("--server", "http://127.0.0.1:1")
    near = ("--server", api.url)
    assert cli("device", *far, "desk-lamp", "rename", "x", *near).exit_code == 0


def test_an_explanation_is_for_people(cli: Any, api: Any):
    api.answer("GET", f"{LAMP}/explain", 200, EXPLAINED)
    output = cli.done("device", "desk-lamp", "explain")
    for said in (
        "on, 3 counted",
        "3 people count, and 2 are needed.",
        '{"minCount": 2} (its own)',
        "1 bot",
        "offDelay, 12 s left",
        "12:00:00  1",
    ):
        assert said in output
    assert "0 afk" not in output
    assert json.loads(cli.done("device", "desk-lamp", "explain", "--json")) == EXPLAINED


@pytest.mark.parametrize(
    ("shown", "connected", "said"),
    [
        (None, False, "nothing: it is away"),
        (LIGHT | {"known": False}, True, "nothing: nothing is known yet"),
        (LIGHT | {"on": False, "count": 0, "stale": True}, True, "off, 0 counted, the"),
    ],
)
def test_what_is_not_known_is_not_called_off(
    cli: Any, api: Any, shown: Any, connected: bool, said: str
):
    told = EXPLAINED | {"shown": shown, "connected": connected}
    api.answer("GET", f"{LAMP}/explain", 200, told)
    assert said in cli.done("device", "desk-lamp", "explain")


@pytest.mark.parametrize(
    ("arguments", "method", "below", "body"),
    [
        (("rename", "Hall"), "PATCH", "", {"name": "Hall"}),
        (("tag", "+a", "-office", "+b"), "PATCH", "", {"tags": ["a", "b"]}),
        (("tag", "-h", "+office"), "PATCH", "", {"tags": ["office"]}),
        (("rule", '{"minCount":2}'), "PATCH", "", {"rule": {"minCount": 2}}),
        (("rule", "--clear"), "PATCH", "", {"rule": None}),
        (("approve",), "PATCH", "", {"approved": True, "revoked": False}),
        (("revoke",), "PATCH", "", {"revoked": True}),
        (("forget",), "DELETE", "", None),
        (("identify",), "POST", "/commands", {"type": "identify", "seconds": 5}),
        (
            ("identify", "--seconds", "9"),
            "POST",
            "/commands",
            {"type": "identify", "seconds": 9},
        ),
        (("reboot",), "POST", "/commands", {"type": "reboot"}),
        (("probe",), "POST", "/commands", {"type": "probe"}),
        (("update", "R"), "POST", "/commands", {"type": "ota", "release": "R"}),
    ],
)
def test_each_command_asks_for_one_thing(
    cli: Any, api: Any, lamp: Any, arguments: Any, method: str, below: str, body: Any
):
    sent = {"device": "desk-lamp", "rollout": "1f"}
    api.answer("POST", f"{LAMP}/commands", 202, sent)
    api.answer("DELETE", LAMP, 204, None)
    assert "desk-lamp" in cli.done("device", "desk-lamp", *arguments)
    assert api.asked[-1] == (method, LAMP + below, body)


def test_an_old_sign_that_was_asked_is_told_by_its_new_id(cli: Any, api: Any):
    path = "/api/v1/devices/conn-4/commands"
    api.answer("POST", path, 202, {"device": "a020a6000001", "type": "probe"})
    assert cli.done("device", "conn-4", "probe") == "conn-4 is a020a6000001\n"


def test_a_rule_comes_from_a_file_or_from_stdin(
    cli: Any, api: Any, lamp: Any, tmp_path: Path
):
    file = tmp_path / "rule.json"
    file.write_text('{"minCount": 3}')
    cli.done("device", "desk-lamp", "rule", str(file))
    cli.done("device", "desk-lamp", "rule", "-", input_='{"minCount": 4}')
    assert [body for _, _, body in api.asked] == [
        {"rule": {"minCount": 3}},
        {"rule": {"minCount": 4}},
    ]


def test_the_present_rule_is_printed(cli: Any, lamp: Any):
    assert json.loads(cli.done("device", "desk-lamp", "rule")) == {"minCount": 2}


def test_a_new_sign_gets_a_token_that_stands_alone_on_stdout(
    cli: Any, api: Any, make_device: Any
):
    answer = {"device": make_device("old-1"), "token": "vsd_new"}
    api.answer("POST", "/api/v1/devices", 201, answer)
    result = cli("device", "old-1", "add", "--name", "Old", "--tag", "a", "--tag", "b")
    assert result.exit_code == 0
    assert result.stdout == "vsd_new\n"
    assert "portal" in result.stderr
    body = {"id": "old-1", "name": "Old", "tags": ["a", "b"]}
    assert api.asked == [("POST", "/api/v1/devices", body)]


def test_a_token_is_rotated(cli: Any, api: Any):
    api.answer("POST", f"{LAMP}/token", 200, {"token": "vsd_next"})
    assert cli.done("device", "desk-lamp", "token") == "vsd_next\n"


def test_an_id_is_one_part_of_the_path(cli: Any, api: Any, make_device: Any):
    api.answer("GET", "/api/v1/devices/a%2F..%3Fb", 200, make_device("a/..?b"))
    cli.done("device", "a/..?b")


# -- what goes wrong -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (404, "DEVICE_NOT_FOUND", "voicestatus devices"),
        (409, "DEVICE_OFFLINE", "when it is connected"),
        (409, "COMMAND_NOT_SUPPORTED", "firmware"),
        (409, "NOT_ENROLLED", "add"),
        (409, "DEVICE_REVOKED", "approve"),
        (400, "VALIDATION_FAILED", "That is why."),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(
    cli: Any, api: Any, status: int, code: str, hint: str
):
    api.refuse("POST", f"{LAMP}/commands", status, code, "That is why.")
    result = cli("device", "desk-lamp", "reboot")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: That is why.")
    assert hint in line


def test_a_wrong_token_is_said_and_not_shown(cli: Any, api: Any):
    result = cli("devices", "--token", "a-wrong-token")
    assert result.exit_code == 1
    assert "takes another admin token" in result.stderr
    assert "a-wrong-token" not in result.output


def test_a_closed_admin_side_is_said(cli: Any, api: Any):
    api.answer("GET", "/api/v1/devices", 404, b"not found")
    result = cli("devices")
    assert result.exit_code == 1
    assert "is closed: set ADMIN_TOKEN" in result.stderr


def test_a_server_that_does_not_answer_is_said(cli: Any):
    result = cli("devices", "--server", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "http://127.0.0.1:1 does not answer: Connection refused" in result.stderr


@pytest.mark.parametrize(
    "answer", [(502, b"<html>"), (302, b""), (500, b"{}"), (200, b"<p>")]
)
def test_another_answer_is_said(cli: Any, api: Any, answer: tuple[int, bytes]):
    api.answer("GET", "/api/v1/devices", *answer)
    result = cli("devices")
    assert result.exit_code == 1
    assert f"answered {answer[0]}" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("device",),
        ("device", "x", "dance"),
        ("device", "x", "tag"),
        ("device", "x", "tag", "office"),
        ("device", "x", "tag", "+"),
        ("device", "x", "rename"),
        ("device", "x", "rule", "no-such-file"),
        ("device", "x", "rule", "{"),
        ("device", "x", "rule", "{}", "--clear"),
        ("device", "x", "identify", "--seconds", "61"),
        ("devices", "--server", "localhost:8080"),
        ("devices", "--server", "http://user:secret@host"),
        ("devices", "--server", "http://host:x"),
        ("devices", "--token", "two\nlines"),
    ],
)
def test_wrong_use_is_status_2_and_asks_nobody(
    cli: Any, api: Any, arguments: tuple[str, ...]
):
    result = cli(*arguments)
    assert result.exit_code == 2, result.output
    assert api.asked == []
    assert "secret" not in result.output


def test_without_a_token_the_ways_to_give_one_are_named(cli: Any, api: Any):
    result = cli("devices", env={"VOICESTATUS_URL": api.url})
    assert result.exit_code == 2
    for way in ("--token", "ADMIN_TOKEN", "ADMIN_TOKEN_FILE"):
        assert way in result.stderr


def test_a_token_may_come_from_a_file(
    cli: Any, api: Any, lamp: Any, admin_token: str, tmp_path: Path
):
    file = tmp_path / "token"
    file.write_text(admin_token + "\n")
    env = {"VOICESTATUS_URL": api.url, "ADMIN_TOKEN_FILE": str(file)}
    assert cli("device", "desk-lamp", env=env).exit_code == 0
    missing = env | {"ADMIN_TOKEN_FILE": str(tmp_path / "none")}
    assert cli("device", "desk-lamp", env=missing).exit_code == 2


@pytest.mark.parametrize(
    "command",
    [
        "explain",
        "identify",
        "reboot",
        "rename",
        "tag",
        "rule",
        "token",
        "approve",
        "revoke",
        "forget",
        "add",
        "probe",
        "update",
    ],
)
def test_each_command_has_help(cli: Any, command: str):
    assert "Usage:" in cli.done("device", "x", command, "--help")
