"""Replays of traces written by hand: what is told, and what is wrong with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.cli import main
from voicestatus.trace.replay import Moment, play

HEADER = {
    "kind": "trace",
    "format": 1,
    "version": "1.2.3",
    "started": 1_800_000_000,
    "intents": 129,
    "shards": 1,
    "guilds": [],
    "countBots": False,
    "countAfk": False,
    "unknownPolicy": "hold",
    "unknownAfterS": 60,
}
GUILD, ADA, BEN, LOUNGE, BOT = "11", "21", "22", "31", "41"


def line(kind: str, t: float, **what: Any) -> dict[str, Any]:
    return {"kind": kind, "t": t, "shard": 0, **what}


def opened(t: float, seq: int | None = None) -> dict[str, Any]:
    return line("open", t, jitter=0.5, seq=seq, syncing=False)


def receive(
    t: float, op: int, d: object = None, s: int | None = None, name: str | None = None
) -> dict[str, Any]:
    return line("receive", t, message={"t": name, "s": s, "op": op, "d": d})


def ready(t: float, *guilds: str) -> dict[str, Any]:
    body = {
        "session_id": "session",
        "resume_gateway_url": "wss://trace.invalid",
        "user": {"id": BOT},
        "guilds": [{"id": guild} for guild in guilds],
    }
    return receive(t, 0, body, 1, "READY")


def voice(t: float, seq: int, user: str, channel: str | None) -> dict[str, Any]:
    body = {"guild_id": GUILD, "user_id": user, "channel_id": channel}
    return receive(t, 0, body, seq, "VOICE_STATE_UPDATE")


CREATED = {
    "id": GUILD,
    "channels": [{"id": LOUNGE, "type": 2}],
    "voice_states": [],
    "members": [],
}
BEGUN = [
    HEADER,
    opened(0),
    receive(0.1, 10, {"heartbeat_interval": 40000}),
    line("send", 0.1, op=2),
    ready(0.2, GUILD),
    receive(0.3, 0, CREATED, 2, "GUILD_CREATE"),
]
DAY = [
    *BEGUN,
    voice(1, 3, ADA, LOUNGE),
    voice(2, 5, BEN, LOUNGE),
    voice(3, 6, ADA, None),
    voice(4, 7, BEN, None),
    line("wake", 20.0),
    line("wake", 20.1),
    line("send", 20.1, op=1),
    line("wake", 60.1),
    line("close", 60.1, cause="zombie", code=None),
    opened(61, 7),
    receive(61.1, 10, {"heartbeat_interval": 40000}),
    line("send", 61.1, op=6),
    receive(61.2, 0, {}, 8, "RESUMED"),
    line("close", 70, cause="stopped", code=None),
]


@pytest.fixture
def replay(tmp_path: Path) -> Callable[..., Result]:
    def replay(trace: list[Any] | bytes, *options: str) -> Result:
        file = tmp_path / "a.trace"
        text = trace if isinstance(trace, bytes) else as_text(trace)
        file.write_bytes(text)
        return CliRunner().invoke(main, ["replay", str(file), *options])

    return replay


def as_text(trace: list[Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in trace)


def moments(result: Result, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(text) for text in result.output.splitlines()]
    return [moment for moment in found if moment["kind"] == kind]


def summary(result: Result) -> dict[str, Any]:
    return moments(result, "summary")[0]


def test_a_day_is_told_moment_by_moment(replay: Callable[..., Result]):
    result = replay(DAY, "--json")
    assert result.exit_code == 0, result.output
    assert [m["state"] for m in moments(result, "link")] == [
        "open", "identifying", "guilds named", "ready", "over",
        "open", "resuming", "ready", "over",
    ]  # fmt: skip
    assert [(m["t"], m["state"]) for m in moments(result, "light")] == [
        (0, "unknown"), (0.3, "off"), (1, "on"), (4, "off"), (60.1, "off"),
        (61.2, "off"), (70, "off"),
    ]  # fmt: skip
    assert [(m["after"], m["came"]) for m in moments(result, "gap")] == [(3, 5)]
    assert [m["t"] for m in moments(result, "heartbeat")] == [60.1]
    assert [m["people"] for m in moments(result, "people")] == [1, 2, 1, 0]
    assert [m["state"] for m in moments(result, "guild")] == [
        "unknown", "known", "stale", "known", "stale",
    ]  # fmt: skip
    assert summary(result) == {
        "t": 70,
        "kind": "summary",
        "state": "off",
        "count": 0,
        "received": 9,
        "unused": 0,
        "faults": 0,
        "gaps": 1,
        "missedHeartbeats": 1,
        "errors": 0,
    }


def test_the_same_trace_gives_the_same_bytes(replay: Callable[..., Result]):
    for options in ([], ["--json"]):
        assert replay(DAY, *options).output == replay(DAY, *options).output


def test_it_can_stop_in_between(replay: Callable[..., Result]):
    result = replay(DAY, "--json", "--until", "2.5")
    assert result.exit_code == 0
    assert summary(result)["t"] == 2.5
    assert (summary(result)["state"], summary(result)["count"]) == ("on", 2)


def test_a_rule_has_a_light_of_its_own(replay: Callable[..., Result]):
    rule = '{"minCount": 2, "offDelayS": 5}'
    result = replay(DAY, "--json", "--rule", rule)
    lights = [m for m in moments(result, "light") if m["which"] == "rule"]
    assert [(m["t"], m["state"]) for m in lights][:4] == [
        (0, "unknown"), (0.3, "off"), (2, "on"), (8, "off"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [["--rule", "{"], ["--rule", '{"minCount": 0}'], ["--until", "-1"], ["--nope"]],
)
def test_wrong_use_is_refused(replay: Callable[..., Result], options: list[str]):
    assert replay(DAY, *options).exit_code == 2


def test_a_last_line_that_is_cut_off_is_said_and_no_error(
    replay: Callable[..., Result],
):
    result = replay(as_text(DAY)[:-5], "--json")
    assert result.exit_code == 0
    (note,) = moments(result, "note")
    assert f"line {len(DAY)} is cut off" in note["said"]


def test_a_broken_line_in_between_is_named_by_its_number(
    replay: Callable[..., Result],
):
    lines = as_text(DAY).splitlines(keepends=True)
    lines[7] = b'{"kind":"receive","t":\n'
    result = replay(b"".join(lines), "--json")
    assert result.exit_code == 1
    assert [m["line"] for m in moments(result, "error")] == [8]
    assert summary(result)["state"] == "off"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (voice(0.1, 9, ADA, None), "goes back in time"),
        (line("wake", 90) | {"shard": 4}, "names a shard that there is not"),
        (HEADER, "is a second header"),
        (voice(90, 9, ADA, None), "is heard after the end"),
        (line("close", 90, cause="lost", code=None), "ended otherwise then"),
        (
            line("picture", 90, restored={"me": 41, "count": 2, "shards": [],
                                          "guilds": []}),
            "has another number of shards",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_an_error(
    replay: Callable[..., Result], more: dict[str, Any], said: str
):
    result = replay([*DAY, more], "--json")
    assert result.exit_code == 1
    assert said in [m["said"] for m in moments(result, "error")]


def test_what_was_decided_otherwise_is_an_error(replay: Callable[..., Result]):
    trace = [*BEGUN, line("send", 1, op=1), line("close", 2, cause="zombie", code=None)]
    result = replay(trace, "--json")
    assert result.exit_code == 1
    sent, ended = moments(result, "error")
    assert (sent["line"], sent["op"]) == (7, 1)
    assert (ended["line"], ended["then"], ended["now"]) == (8, "zombie", "lost")


def test_a_line_without_a_connection_is_an_error(replay: Callable[..., Result]):
    result = replay([HEADER, line("wake", 1)], "--json")
    assert [m["said"] for m in moments(result, "error")] == [
        "has no connection before it"
    ]


def test_malformed_messages_are_told_with_their_lines(replay: Callable[..., Result]):
    broken = receive(1, 0, {"guild_id": "?"}, 3, "VOICE_STATE_UPDATE")
    unknown = receive(2, 0, None, 4, "OTHER")
    garbage = line("receive", 3, message=None)
    ended = line("close", 3, cause="unreadable", code=None)
    result = replay([*BEGUN, broken, unknown, garbage, ended], "--json")
    assert result.exit_code == 0
    assert [m["line"] for m in moments(result, "fault")] == [7, 9]
    assert (summary(result)["faults"], summary(result)["unused"]) == (2, 1)


@pytest.mark.parametrize(
    "trace",
    [b"", b"hello\n", b"\x00\xff", as_text([opened(0)]),
     as_text([HEADER | {"format": 2}]), as_text([HEADER | {"shards": 0}])],
)  # fmt: skip
def test_what_is_no_trace_is_refused(replay: Callable[..., Result], trace: bytes):
    result = replay(trace)
    assert result.exit_code == 1
    assert "trace" in result.output


def test_a_terminal_is_safe_from_a_trace(replay: Callable[..., Result]):
    broken = receive(1, 0, {"guild_id": "?"}, 3, "VOICE_STATE_UPDATE")
    broken["message"]["d"]["\x1b[2J"] = 1
    ended = line("close", 3, cause="\x1b[2J", code=None)
    result = replay([*BEGUN, broken, ended])
    assert "\x1b" not in result.output
    assert "?[2J" in result.output


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        ("closed", 4009),
        ("closed", 4004),
        ("lost", None),
        ("unreadable", None),
        ("stopped", None),
    ],
)
def test_each_end_is_replayed(
    replay: Callable[..., Result], cause: str, code: int | None
):
    result = replay([*BEGUN, line("close", 9, cause=cause, code=code)], "--json")
    assert result.exit_code == 0
    over = moments(result, "link")[-1]
    assert (over["cause"], over.get("code")) == (cause, code)


def test_a_server_that_the_bot_leaves_is_gone_with_its_people(
    replay: Callable[..., Result],
):
    removed = receive(2, 0, {"id": GUILD}, 4, "GUILD_DELETE")
    result = replay([*BEGUN, voice(1, 3, ADA, LOUNGE), removed], "--json")
    assert result.exit_code == 0
    assert moments(result, "guild")[-1]["state"] == "gone"
    assert summary(result)["state"] == "off"


def test_a_picture_is_what_a_resumed_session_begins_with(
    replay: Callable[..., Result],
):
    picture = {
        "guild": 11, "name": "name 1", "afk_channel": None, "available": True,
        "pictured": True, "awaited": False,
        "channels": [{"id": 31, "name": "name 2", "kind": 2, "parent": None,
                      "position": 0, "hidden": False}],
    }  # fmt: skip
    restored = {
        "me": 41, "count": 1, "shards": [0],
        "guilds": [[picture, [{"user": 21, "channel": 31}]]],
    }  # fmt: skip
    trace = [
        HEADER,
        line("picture", 0, restored=restored),
        opened(0, 7),
        receive(0.1, 10, {"heartbeat_interval": 40000}),
        line("send", 0.1, op=6),
        receive(0.2, 0, {}, 8, "RESUMED"),
        voice(1, 9, ADA, None),
    ]
    result = replay(trace, "--json")
    assert result.exit_code == 0, result.output
    shown = [(m["t"], m["state"], m.get("stale")) for m in moments(result, "light")]
    assert shown[1:] == [(0, "on", True), (0.2, "on", False), (1, "off", False)]


@given(st.lists(st.sampled_from(DAY), max_size=30), st.sampled_from([None, 30.0]))
def test_no_order_of_lines_breaks_it(trace: list[dict[str, Any]], until: float | None):
    text = as_text([HEADER, *trace]).splitlines(keepends=True)
    first: list[Moment] = []
    again: list[Moment] = []
    play(text, first.append, until_s=until)
    play(text, again.append, until_s=until)
    assert first == again
