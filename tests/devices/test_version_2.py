"""Devices that say who they are, over each way to them."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from voicestatus.core.lights import EVERYTHING, Light
from voicestatus.devices import later
from voicestatus.devices.keepalive import SLICE
from voicestatus.devices.registry import Patch
from voicestatus.devices.session import MAX_UNREAD_TEXTS
from voicestatus.devices.wire import (
    CLOSE,
    COME_BACK,
    GOING_AWAY,
    NOAUTH,
    OFF,
    OK,
    ON,
    PING,
    PONG,
    REMOVED,
    TRY_LATER,
    text_frame,
    texts_in,
)
from voicestatus.store.documents import Put

DARK = Light(known=True)
RULE = '{"minCount":2}'
SHARED = b"AUTH:secret"
ID = "246F28A1B2C3"


def hello(id_=ID, **more) -> bytes:
    return json.dumps({"type": "hello", "v": 2, "id": id_, **more}).encode()


RICH = hello(caps=["light"])


@pytest.fixture
def dial(talk, masked, clock):
    """Connect, say each text in a segment of its own; returns the way to say more."""

    class Line:
        def __init__(self):
            self.talk = talk()
            self.device = self.talk.device

        def say(self, *texts: bytes) -> "Line":
            for text in texts:
                self.talk.say(masked(1, text))
            clock.advance(0)
            return self

        def heard(self) -> bytes:
            return self.talk.heard()

        def texts(self) -> list:
            """What was heard: JSON as values, other texts as they are."""
            return [
                json.loads(text) if text.startswith("{") else text
                for text in texts_in(self.heard())
            ]

        def token(self) -> bytes:
            (welcome,) = [
                text
                for text in self.texts()
                if isinstance(text, dict) and text["type"] == "welcome"
            ]
            return b"AUTH:" + welcome["token"].encode()

        @property
        def ended(self):
            return self.talk.ended

    return lambda *texts: Line().say(*texts)


@pytest.fixture
def do(table):
    """Do what an admin does."""
    return Deferred.fromCoroutine


def shown(on, count, **more):
    light = {"pattern": "solid", "color": "#5865f2", "brightness": 255} | more
    return ["1" if on else "0", {"type": "light", "on": on, "count": count, **light}]


# ---- lights ------------------------------------------------------------------------


def test_a_device_with_the_capability_light_is_told_all_of_it(dial, lights):
    line = dial(SHARED, RICH)
    assert line.texts()[:4] == ["OK", "1", *shown(True, 1)]
    lights.set(Light(known=True, on=True, count=7, pattern="blink"))
    assert line.texts() == shown(True, 7, pattern="blink")
    lights.set(DARK)
    assert line.texts() == shown(False, 0)


def test_a_device_that_can_is_asked_to_come_back_spread_out(dial, devices):
    old, new = dial(SHARED), dial(SHARED, hello())
    old.heard()
    new.heard()
    devices.shut()
    assert (old.heard(), new.heard()) == (GOING_AWAY, COME_BACK)
    assert old.ended
    assert new.ended
    devices.open()


def test_the_plain_and_the_full_light_are_one_write(dial, lights):
    line = dial(SHARED, RICH)
    line.heard()
    writes = []
    put = line.device.transport.write
    if hasattr(line.device.transport, "socket"):
        line.device.transport.socket._send = writes.append
    line.device.transport.write = lambda data: (writes.append(data), put(data))
    lights.set(DARK)
    assert len(set(writes)) == 1
    assert writes[0].startswith(OFF + b"\x81")


def test_the_count_is_followed_only_while_somebody_wants_it(dial, lights):
    plain = dial(SHARED, hello("A"))
    assert lights.counted[EVERYTHING] == 0
    rich = dial(SHARED, hello("B", caps=["light"]))
    plain.heard()
    rich.heard()
    assert lights.counted[EVERYTHING] == 1
    assert len(lights.followers[EVERYTHING]) == 1
    lights.set(Light(known=True, on=True, count=2))
    assert plain.heard() == b""
    assert rich.texts() == shown(True, 2)
    rich.device.connectionLost()
    assert lights.counted[EVERYTHING] == 0
    lights.set(DARK)
    assert plain.heard() == OFF


def test_another_rule_shows_at_once_and_nothing_is_said_twice(
    dial, lights, table, do, devices
):
    line = dial(SHARED, hello())
    line.heard()
    do(table.change(ID, Patch(rule=RULE)))
    assert list(filter(lights.followers.get, lights.followers)) == [RULE]
    assert line.heard() == b""
    lights.set(DARK, RULE)
    assert line.heard() == OFF
    do(table.change(ID, Patch(rule=None)))
    assert line.heard() == ON
    assert len(devices.fanout) == 1


def test_a_devices_own_rule_is_followed_from_auth_on(dial, lights, table, do):
    auth = dial(SHARED, hello()).token()
    do(table.change(ID, Patch(rule=RULE)))
    lights.set(DARK, RULE)
    assert dial(auth).heard() == OK + OFF


def test_what_a_device_shows_is_told_from_when_it_came(dial, lights, table, clock):
    dial(SHARED, hello("A"))
    clock.advance(10)
    lights.set(DARK)
    clock.advance(10)
    line = dial(SHARED, hello())
    for on in [True, False] * 2:
        clock.advance(10)
        lights.set(Light(known=True, on=on, count=int(on)))
    came = table.get(ID).vitals.connected_at
    frames = table.showing(ID).frames
    assert [text for _, text in frames] == ["0", "1", "0", "1", "0"]
    assert [at - came for at, _ in frames] == [0, 10, 20, 30, 40]
    for _ in range(9):
        lights.set(DARK)
        lights.set(Light(known=True, on=True, count=1))
    assert len(table.showing(ID).frames) == 8
    assert line.texts()[0] == "OK"


# ---- tokens ------------------------------------------------------------------------


def test_while_the_table_is_not_read_an_own_token_is_not_refused(
    dial, table, masked, clock, store, make_table, lights, pass_time, devices
):
    enrolled = dial(SHARED, hello())
    auth = enrolled.token()
    enrolled.device.connectionLost()
    devices.registry = unread = make_unread(store, make_table)
    line = dial(auth)
    assert line.heard() == b""
    line.talk.say(masked(9))
    assert line.heard() == PONG
    store.problem_with_reads = None
    unread.judge_again_by(devices._judge_again)
    pass_time(1)
    clock.advance(0)
    assert line.heard() == OK + ON


def test_an_own_token_that_cannot_be_judged_in_time_is_put_off(
    dial, store, make_table, devices, pass_time
):
    devices.registry = make_unread(store, make_table)
    line = dial(b"AUTH:vsd_" + b"A" * 43)
    pass_time(5)
    assert line.heard() == TRY_LATER
    assert line.ended
    assert len(devices.box) == 0
    store.problem_with_reads = None


def make_unread(store, make_table):
    store.problem_with_reads = "locked"
    return make_table()


def test_a_wrong_own_token_is_a_failure_like_any_other(dial, devices):
    line = dial(b"AUTH:vsd_" + b"A" * 43)
    assert line.heard() == NOAUTH + CLOSE
    assert len(devices.box) == 1
    assert dial(b"AUTH:vsd_" + b"A" * 43).heard() == NOAUTH


def test_where_a_record_cannot_be_read_its_token_is_not_refused(
    dial, store, make_table, devices, pass_time
):
    Deferred.fromCoroutine(store.write(Put("device", "A1", b"?")))
    devices.registry = make_table()
    line = dial(b"AUTH:vsd_" + b"A" * 43)
    pass_time(5)
    assert line.heard() == TRY_LATER


def test_the_older_of_two_connections_is_closed_at_once_then_later(
    dial, pass_time, devices
):
    first = dial(SHARED, hello())
    auth = first.token()
    second, third, fourth = [dial(auth) for _ in range(3)]
    assert first.heard() == REMOVED
    assert first.ended
    for line in (second, third, fourth):
        assert line.heard() == OK + ON
    pass_time(5)
    assert second.heard().replace(PING, b"") == CLOSE
    assert third.heard().replace(PING, b"") == b""
    pass_time(5)
    assert third.heard().replace(PING, b"") == CLOSE
    assert fourth.heard().replace(PING, b"") == b""
    assert len(devices.swaps) == 1


# ---- texts -------------------------------------------------------------------------


def test_what_makes_no_sense_is_answered_three_times(dial, registry):
    line = dial(SHARED)
    line.heard()
    for number in range(5):
        line.say(b'{"type":"hello","id":%d}' % number)
    complaints = line.texts()
    assert len(complaints) == 3
    assert complaints[0] == {
        "type": "error",
        "code": "INVALID_MESSAGE",
        "message": "hello.id: Expected `str`, got `int`",
    }
    name = "voicestatus_device_invalid_texts_total"
    assert registry.get_sample_value(name) == 5


def test_a_flood_of_texts_is_closed(dial, masked):
    line = dial(SHARED)
    line.heard()
    line.talk.say(masked(1, b"{}") * (MAX_UNREAD_TEXTS + 1))
    assert line.heard() == REMOVED
    assert line.ended


@pytest.mark.parametrize("talk", ["direct", "queued"], indirect=True)
def test_texts_wait_and_pings_and_lights_do_not(dial, masked, lights, clock, devices):
    line = dial(SHARED)
    line.heard()
    for number in range(MAX_UNREAD_TEXTS):
        line.talk.say(masked(1, hello(f"D{number}")))
    line.talk.say(masked(9))
    lights.set(DARK)
    assert line.heard() == PONG + OFF
    assert len(devices.later) == MAX_UNREAD_TEXTS
    clock.advance(0)
    assert len(devices.later) == 0


@pytest.mark.parametrize("talk", ["direct", "queued"], indirect=True)
def test_texts_of_who_has_left_are_not_read(dial, masked, clock, table):
    line = dial(SHARED)
    line.talk.say(masked(1, hello()))
    line.device.connectionLost()
    clock.advance(0)
    assert list(table.devices()) == []


def test_what_waits_is_dealt_with_in_slices(clock, nothing_is_left_behind):
    done = []
    row = later.Later(clock)

    def broken():
        raise RuntimeError

    row.add(broken)
    for number in range(SLICE + 9):
        row.add(lambda number=number: done.append(number))
    between = []
    clock.callLater(0, lambda: between.append(len(done)))
    clock.advance(0)
    assert between == [SLICE - 1]
    assert done == list(range(SLICE + 9))
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()


def test_a_slice_ends_when_its_time_is_over(clock):
    done = []
    row = later.Later(clock)
    for _ in range(3):
        row.add(
            lambda: (done.append(1), setattr(clock, "rightNow", clock.rightNow + 1))
        )
    clock.callLater(0, row.clear)
    clock.advance(0)
    assert done == [1]
    assert len(row) == 0
    assert clock.getDelayedCalls() == []
    row.clear()


def test_a_device_that_does_not_read_its_texts_is_cut_off(dial, table):
    line = dial(SHARED, hello())

    class Full:
        put = staticmethod(lambda transport, data: None)
        pending_bytes = staticmethod(lambda transport: 9000)

    line.device.path = Full()
    table.command(ID, {"type": "reboot"})
    assert line.talk.cut_off or line.ended


def frame_heads(frames: bytes):
    """Return the first byte of each frame, which is all there is if nothing broke."""
    while frames:
        yield frames[0]
        size, start = frames[1], 2
        if size == 126:
            size, start = int.from_bytes(frames[2:4], "big"), 4
        assert len(frames) >= start + size
        frames = frames[start + size :]


TEXTS = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda text: b"{" + text, st.binary(max_size=200)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ).map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["hello", "status", "ota", "x"])},
        optional={
            "id": st.sampled_from([ID, "other", "", "conn-1", 7, None]),
            "v": st.sampled_from([1, 2, 3, "2"]),
            "caps": st.sampled_from([["light"], ["x"] * 40, "light", [1]]),
            "name": st.text(max_size=80),
            "uptimeS": st.integers() | st.floats(),
            "rssiDbm": st.integers() | st.none(),
        },
    ).map(lambda value: json.dumps(value).encode()),
)


@pytest.mark.parametrize("talk", ["direct"], indirect=True)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS, max_size=8))
def test_no_text_raises_or_changes_anothers_light(dial, lights, texts):
    lights.set(DARK)
    other = dial(SHARED)
    line = dial(SHARED, *texts)
    assert other.heard() == OK + OFF
    heard = line.heard()
    assert heard.startswith(OK + OFF)
    heads = [*frame_heads(heard)]
    assert set(heads) <= {0x81, 0x88}
    lights.set(Light(known=True, on=True, count=1))
    assert other.heard() == ON
    assert 0x88 in heads or line.heard().startswith(ON)
    for each in (other, line):
        each.device.connectionLost()


@pytest.mark.parametrize("target", [b"/ws", b"/ws?channel=9&token=x"])
def test_what_was_dialled_is_kept_without_what_is_nobodys_business(
    talk, masked, table, target
):
    talk(target).say(masked(1, SHARED))
    (stranger,) = table.devices()
    assert stranger.vitals.path == target.partition(b"&")[0].decode()


def test_a_long_text_is_framed_with_a_longer_length():
    assert text_frame(b"x" * 200) == b"\x81\x7e\x00\xc8" + b"x" * 200
