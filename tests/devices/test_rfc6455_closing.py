"""RFC 6455, section 7: each test names its part; each runs over every path.

What Autobahn|Testsuite asks in its case 7.
"""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicestatus.devices.wire import CLOSE, GOING_AWAY, NOAUTH, OK, ON

TEXT, CONTINUATION, CLOSE_CODE, PING = 1, 0, 8, 9
PROTOCOL_ERROR = b"\x88\x02\x03\xea"  # 1002
INVALID_PAYLOAD = b"\x88\x02\x03\xef"  # 1007
AUTH = b"AUTH:secret"

# Source: RFC 6455 7.4.1 and 7.4.2; IANA's registry has added 1012 and 1013
# (and 1014, which is said by gateways only: Autobahn does not know it).
VALID = [*range(1000, 1004), *range(1007, 1014), 3000, 3001, 3999, 4000, 4999]
INVALID = [0, 1, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65535]

# Defined inside the tests: pytest-twisted and @given go together over no parameters.
wide = settings(max_examples=50, deadline=None)


def body(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


@pytest.fixture(params=["before AUTH", "let in"])
def peer(request, talk, masked):
    """Open a connection in one of its two states."""

    def opened():
        connection = talk()
        if request.param == "let in":
            assert connection.say(masked(TEXT, AUTH)).heard() == OK + ON
        return connection

    return opened


# ---- 7.1 how a connection ends -----------------------------------------------------


def test_7_1_1_the_server_ends_the_stream_right_after_its_answer(peer, masked):
    connection = peer().say(masked(CLOSE_CODE, body(1000)))
    assert connection.heard() == b"\x88\x02\x03\xe8"
    assert connection.ended


def test_7_1_2_whom_the_server_closes_it_waits_for(talk, masked):
    connection = talk().say(masked(TEXT, b"AUTH:wrong"))
    assert connection.heard() == NOAUTH + CLOSE
    assert not connection.ended
    connection.say(masked(CLOSE_CODE))
    assert connection.ended
    assert connection.heard() == b""


def test_7_1_3_who_does_not_answer_a_close_in_time_is_cut_off(talk, masked, pass_time):
    connection = talk().say(masked(TEXT, b"AUTH:wrong"))
    pass_time(1.5)
    assert not connection.cut_off
    pass_time(1)
    assert connection.cut_off


@pytest.mark.parametrize("reply", [b"", body(1000), body(1005), body(1000, b"\xff")])
def test_7_1_4_any_reply_to_our_close_ends_it_and_is_not_answered(talk, masked, reply):
    connection = talk().say(masked(TEXT, b"AUTH:wrong"))
    connection.heard()
    connection.say(masked(CLOSE_CODE, reply))
    assert connection.heard() == b""
    assert connection.ended


def test_7_1_5_the_code_comes_back(peer, masked):
    for code in VALID:
        connection = peer().say(masked(CLOSE_CODE, body(code)))
        assert connection.heard() == b"\x88\x02" + body(code)
        assert connection.ended


def test_7_1_5_a_close_without_a_code_is_answered_without_one(peer, masked):
    connection = peer().say(masked(CLOSE_CODE))
    assert connection.heard() == CLOSE
    assert connection.ended


@pytest.mark.parametrize("reason", [b"x", "grüß euch".encode(), b"x" * 122, b"x" * 123])
def test_7_1_6_the_reason_comes_back(peer, masked, reason):
    connection = peer().say(masked(CLOSE_CODE, body(1000, reason)))
    assert connection.heard() == bytes([0x88, 2 + len(reason)]) + body(1000, reason)
    assert connection.ended


def test_7_1_7_who_broke_the_protocol_is_told_once_and_then_cut_off(
    peer, masked, pass_time
):
    connection = peer().say(masked(3))
    assert connection.heard() == PROTOCOL_ERROR
    for _ in range(3):
        connection.say(masked(3), masked(CLOSE_CODE, body(1000)))
    assert connection.heard() == b""
    pass_time(2.5)
    assert connection.cut_off


# ---- what comes after a close ------------------------------------------------------


def test_7_1_a_second_close_is_not_answered(peer, masked):
    connection = peer().say(masked(CLOSE_CODE, body(1000)) * 2)
    connection.say(masked(CLOSE_CODE, body(1001)))
    assert connection.heard() == b"\x88\x02\x03\xe8"
    assert connection.ended


@pytest.mark.parametrize("together", [True, False])
def test_7_1_what_follows_a_close_is_not_read(talk, masked, together, devices):
    connection = talk()
    frames = [
        masked(CLOSE_CODE, body(1000)),
        masked(PING, b"x"),
        masked(TEXT, AUTH),
        b"\xff" * 500,
    ]
    connection.say(*([b"".join(frames)] if together else frames))
    assert connection.heard() == b"\x88\x02\x03\xe8"
    assert connection.device.data == b""
    assert devices.connected == 0


def test_7_1_after_a_close_no_light_is_sent(talk, masked, lights):
    connection = talk().say(masked(TEXT, AUTH), masked(CLOSE_CODE))
    connection.heard()
    lights.set(type(lights.light)(known=True))
    assert connection.heard() == b""


def test_7_1_a_close_that_arrives_byte_by_byte_is_a_close(peer, masked):
    frame = masked(CLOSE_CODE, body(1001, b"bye"))
    connection = peer().say(*[frame[i : i + 1] for i in range(len(frame))])
    assert connection.heard() == b"\x88\x05" + body(1001, b"bye")
    assert connection.ended


# ---- 7.2 and 7.3 the server's own close --------------------------------------------


def test_7_4_1_a_server_that_goes_away_says_1001(talk, masked, devices):
    connection = talk().say(masked(TEXT, AUTH))
    connection.heard()
    devices.shut()
    assert connection.heard() == GOING_AWAY
    assert connection.ended
    devices.open()


# ---- 7.4 codes, and 5.5.1 the body -------------------------------------------------


@pytest.mark.parametrize("reason", [b"", b"why"])
def test_7_4_a_code_that_may_not_be_sent_breaks_the_protocol(peer, masked, reason):
    for code in INVALID:
        connection = peer().say(masked(CLOSE_CODE, body(code, reason)))
        assert connection.heard() == PROTOCOL_ERROR, code


def test_5_5_1_a_body_of_one_byte_breaks_the_protocol(peer, masked):
    assert peer().say(masked(CLOSE_CODE, b"\x03")).heard() == PROTOCOL_ERROR


def test_5_5_1_a_body_has_at_most_125_bytes(peer, masked):
    connection = peer().say(masked(CLOSE_CODE, body(1000, b"x" * 124)))
    assert connection.heard() == PROTOCOL_ERROR


@pytest.mark.parametrize(
    "reason",
    [b"\xff", b"ok\xce", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"x" * 122 + b"\xc3"],
)
def test_8_1_a_reason_is_utf_8(peer, masked, reason):
    connection = peer().say(masked(CLOSE_CODE, body(1000, reason)))
    assert connection.heard() == INVALID_PAYLOAD


def test_7_any_close_is_answered_by_one_close(talk, masked):
    @wide
    @given(payload=st.binary(max_size=125))
    def holds(payload):
        connection = talk().say(masked(CLOSE_CODE, payload))
        answer = connection.heard()
        assert answer[0] == 0x88
        assert len(answer) == 2 + answer[1]
        own = bytes([0x88, len(payload)]) + payload
        assert answer in {own, PROTOCOL_ERROR, INVALID_PAYLOAD}

    holds()


def test_7_4_every_code_is_either_echoed_or_refused(talk, masked):
    @wide
    @given(code=st.integers(0, 65535))
    def holds(code):
        answer = talk().say(masked(CLOSE_CODE, body(code))).heard()
        may = code in VALID or 3000 <= code <= 4999
        assert answer == (b"\x88\x02" + body(code) if may else PROTOCOL_ERROR)

    holds()
