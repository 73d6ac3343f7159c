"""The recorder: what it writes, where it ends, and that it never harms the link."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent

from voicestatus.core.presence import Presence, SessionBegan
from voicestatus.core.session import SessionState
from voicestatus.discord.gateway.session import Cause, Ended, GatewaySession
from voicestatus.discord.gateway.wire import Login
from voicestatus.trace.lines import FORMAT, Header
from voicestatus.trace.recorder import BUFFER_BYTES, FLUSH_EVERY_S, Recorder

GUILD: Any = 1187000000000000001
ME: Any = 1187000000000000100
ABOUT = Header(
    format=FORMAT,
    version="1.2.3",
    started=1_800_000_000,
    intents=129,
    shards=1,
    guilds=(GUILD,),
    count_bots=False,
    count_afk=True,
    unknown_policy="hold",
    unknown_after_s=60.0,
)
ACK = b'{"t":null,"s":null,"op":11,"d":null}'


def session(shard: tuple[int, int] = (0, 1), seq: int | None = None) -> GatewaySession:
    login = Login("the token", 129, shard)
    state = None if seq is None else SessionState("secret id", seq, "wss://secret")
    return GatewaySession(login, state, 0.25)


def written(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(1000)
    return clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.trace"


@pytest.fixture
def make(clock: Clock, path: Path) -> Callable[..., Recorder]:
    def make(presence: Presence | None = None, **how: Any) -> Recorder:
        recorder = Recorder(
            path, ABOUT, presence or Presence(), clock, clock.seconds, **how
        )
        recorder.startService()
        return recorder

    return make


def test_it_writes_what_happens_on_a_connection(
    make: Callable[..., Recorder], clock: Clock, path: Path
):
    recorder, one = make(), session(seq=7)
    recorder.opened(one, 1000.5)
    recorder.received(one, ACK, 1001)
    recorder.woken(one, 1002)
    recorder.sent(one, b'{"op":6,"d":{"token":"the token"}}', 1002)
    recorder.closed(one, Ended(Cause.CLOSED, None, 4009), 1003.0000001)
    recorder.stopService()
    header, *rest = written(path)
    assert header["kind"] == "trace"
    assert header["shards"] == 1
    assert header["guilds"] != [GUILD]
    at = {"shard": 0}
    assert rest == [
        {"kind": "open", "t": 0.5, **at, "jitter": 0.25, "seq": 7, "syncing": False},
        {
            "kind": "receive",
            "t": 1.0,
            **at,
            "message": {"t": None, "s": None, "op": 11},
        },
        {"kind": "wake", "t": 2.0, **at},
        {"kind": "send", "t": 2.0, **at, "op": 6},
        {"kind": "close", "t": 3.0, **at, "cause": "closed", "code": 4009},
    ]
    for secret in ("the token", "secret", str(GUILD)):
        assert secret not in path.read_text()


def test_only_its_owner_may_read_it(make: Callable[..., Recorder], path: Path):
    before = os.umask(0)
    try:
        make().stopService()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_written_every_second_and_not_at_each_line(
    make: Callable[..., Recorder], clock: Clock, path: Path
):
    recorder, one = make(), session()
    recorder.opened(one, 1000)
    assert path.read_text() == ""
    clock.advance(FLUSH_EVERY_S)
    assert len(written(path)) == 2
    recorder.received(one, ACK, 1002)
    assert len(written(path)) == 2
    recorder.stopService()
    assert len(written(path)) == 3
    assert clock.getDelayedCalls() == []


def test_a_file_that_is_there_is_never_touched(
    make: Callable[..., Recorder], clock: Clock, path: Path
):
    path.write_text("mine")
    recorder = make()
    recorder.opened(session(), 1000)
    recorder.stopService()
    assert path.read_text() == "mine"
    assert clock.getDelayedCalls() == []


def test_nothing_is_written_through_a_link(
    make: Callable[..., Recorder], path: Path, tmp_path: Path
):
    path.symlink_to(tmp_path / "elsewhere")
    recorder = make()
    recorder.opened(session(), 1000)
    recorder.stopService()
    assert not (tmp_path / "elsewhere").exists()


def test_it_ends_with_a_whole_line_when_it_is_long_enough(
    make: Callable[..., Recorder], clock: Clock, path: Path
):
    recorder, one = make(limit_bytes=1000), session()
    recorder.opened(one, 1000)
    for _ in range(100):
        recorder.received(one, ACK, 1001)
    assert path.stat().st_size <= 1000
    assert len(written(path)) > 3
    size = path.stat().st_size
    recorder.stopService()
    assert path.stat().st_size == size
    assert clock.getDelayedCalls() == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_full_disk_ends_the_recording_alone(
    make: Callable[..., Recorder], clock: Clock, path: Path
):
    recorder, one = make(), session()
    full = Path("/dev/full").open("wb")  # noqa: SIM115 - the recorder closes it
    os.dup2(full.fileno(), recorder._file.fileno())  # type: ignore[union-attr] # it is
    full.close()
    recorder.opened(one, 1000)
    clock.advance(FLUSH_EVERY_S)
    recorder.received(one, ACK, 1002)
    recorder.stopService()
    assert path.read_text() == ""
    assert clock.getDelayedCalls() == []


def test_what_it_cannot_write_down_ends_the_recording_alone(
    make: Callable[..., Recorder], path: Path, nothing_is_left_behind: list[LogEvent]
):
    recorder, one = make(), session()
    recorder.opened(one, 1000)
    recorder.sent(one, b"no JSON", 1001)
    recorder.received(one, ACK, 1002)
    recorder.stopService()
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()
    assert [line["kind"] for line in written(path)] == ["trace", "open"]


def test_what_a_resumed_session_stands_for_comes_first(
    make: Callable[..., Recorder], path: Path
):
    presence = Presence()
    presence.apply(SessionBegan(0, ME, frozenset({GUILD})))
    recorder, one = make(presence), session(seq=7)
    recorder.opened(one, 1000)
    recorder.opened(one, 1001)
    recorder.stopService()
    kinds = [line["kind"] for line in written(path)]
    assert kinds == ["trace", "picture", "open", "open"]
    restored = written(path)[1]["restored"]
    assert restored["shards"] == [0]
    assert restored["count"] == 1
    assert restored["guilds"][0][0]["guild"] == written(path)[0]["guilds"][0] != GUILD


def test_another_number_of_shards_ends_it(make: Callable[..., Recorder], path: Path):
    recorder = make()
    recorder.opened(session((1, 2)), 1000)
    recorder.opened(session((1, 3)), 1001)
    recorder.opened(session((1, 2)), 1002)
    recorder.stopService()
    assert [line["kind"] for line in written(path)] == ["trace", "open"]
    assert written(path)[0]["shards"] == 2


def test_much_is_written_at_once(
    make: Callable[..., Recorder], clock: Clock, path: Path
):
    recorder, one = make(), session()
    recorder.opened(one, 1000)
    for _ in range(BUFFER_BYTES // 40):
        recorder.received(one, ACK, 1000)
    assert path.stat().st_size >= BUFFER_BYTES
    assert clock.seconds() == 1000
    recorder.stopService()
