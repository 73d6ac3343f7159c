"""RFC 6455, section 5 (and 8.1): each test names its part; each runs over every path.

What Autobahn|Testsuite asks in its cases 1 to 6 and 9, as far as devices may say it.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicestatus.devices.wire import MAX_MESSAGE_BYTES, OK, ON, PONG, text_frame

PROTOCOL_ERROR = b"\x88\x02\x03\xea"  # 1002
INVALID_PAYLOAD = b"\x88\x02\x03\xef"  # 1007
TOO_BIG = b"\x88\x02\x03\xf1"  # 1009
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG_CODE = 0, 1, 2, 8, 9, 10
AUTH = b"AUTH:secret"

# Defined inside the tests: pytest-twisted and @given go together over no parameters.
wide = settings(max_examples=50, deadline=None)


class Recorder:
    """Stands for a session: keeps the texts and says nothing."""

    def __init__(self):
        self.texts = []

    def text(self, payload, address, now_s):
        self.texts.append(payload)
        return []

    def silence(self):
        return []


def recorded(connection):
    connection.device.session = Recorder()
    return connection.device.session.texts


@pytest.fixture
def fails(talk, masked):
    """Tell whether bytes end in this close frame and nothing after it counts."""

    def check(close, *segments):
        connection = talk()
        texts = recorded(connection)
        connection.say(*segments)
        assert connection.heard() == close
        connection.say(masked(PING, b"x"), masked(TEXT, AUTH))
        assert connection.heard() == b""
        assert texts == []
        assert connection.device.data == b""

    return check


# ---- 5.1 overview: masking ---------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG_CODE])
@pytest.mark.parametrize("payload", [b"", b"ab"])
def test_5_1_a_frame_without_a_mask_breaks_the_protocol(fails, masked, opcode, payload):
    fails(PROTOCOL_ERROR, masked(opcode, payload, mask=None))


def test_5_1_no_frame_of_the_server_is_masked(talk, masked):
    connection = talk().say(masked(TEXT, AUTH), masked(PING), masked(PING, b"x"))
    assert connection.heard() == OK + ON + PONG + b"\x8a\x01x"
    connection.say(masked(CLOSE, b"\x03\xe8"))
    assert connection.heard() == b"\x88\x02\x03\xe8"


# ---- 5.2 base framing --------------------------------------------------------------


@pytest.mark.parametrize("rsv", range(1, 8))
def test_5_2_a_reserved_bit_breaks_the_protocol(fails, masked, rsv):
    for opcode in (TEXT, BINARY, CLOSE, PING, PONG_CODE):
        fails(PROTOCOL_ERROR, masked(opcode, b"", rsv=rsv))
    first = masked(TEXT, b"a", fin=False)
    fails(PROTOCOL_ERROR, first + masked(CONTINUATION, b"b", rsv=rsv))


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_5_2_a_reserved_opcode_breaks_the_protocol(fails, masked, opcode):
    for payload in (b"", b"x" * 125):
        fails(PROTOCOL_ERROR, masked(opcode, payload))


def test_5_2_all_that_can_be_wrong_at_once_is_answered_once(fails, masked):
    fails(PROTOCOL_ERROR, masked(15, b"x" * 126, fin=False, rsv=7, mask=None))


@pytest.mark.parametrize("size", [0, 1, 2, 124, 125, 126, 127, 128, 255, 256, 4095])
def test_5_2_every_length_is_read(talk, masked, size):
    connection = talk()
    texts = recorded(connection)
    connection.say(masked(TEXT, b"x" * size) + masked(PING))
    assert texts == [b"x" * size]
    assert connection.heard() == PONG


@pytest.mark.parametrize(
    ("size", "wide_bytes"), [(0, 2), (1, 2), (125, 2), (0, 8), (125, 8), (126, 8)]
)
def test_5_2_a_length_is_written_as_short_as_can_be(fails, masked, size, wide_bytes):
    fails(PROTOCOL_ERROR, masked(TEXT, b"x" * size, wide=wide_bytes))


@pytest.mark.parametrize("claims", [2**63, 2**64 - 1])
def test_5_2_the_first_bit_of_a_long_length_is_0(fails, masked, claims):
    fails(PROTOCOL_ERROR, masked(BINARY, b"", claims=claims))


@pytest.mark.parametrize("claims", [4097, 65535, 65536, 2**20, 2**32, 2**63 - 1])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_5_2_a_frame_that_is_too_big_is_refused_by_its_head_alone(
    fails, masked, claims, opcode
):
    fails(TOO_BIG, masked(opcode, b"", claims=claims))


def test_5_2_what_follows_the_head_of_a_frame_that_is_too_big_is_not_kept(talk, masked):
    connection = talk().say(masked(BINARY, b"", claims=2**20))
    connection.heard()
    for _ in range(16):
        connection.say(b"x" * 65536)
    assert len(connection.device.data) == 0
    assert connection.heard() == b""


@pytest.mark.parametrize("size", [0, 125, 126, 300])
def test_5_2_a_frame_may_be_cut_anywhere(talk, masked, size):
    connection = talk()
    texts = recorded(connection)
    frame = masked(TEXT, bytes(range(65, 91)) * 12 if size == 300 else b"x" * size)
    cuts = range(1, min(len(frame), 16))
    for at in cuts:
        connection.say(frame[:at], frame[at:])
    assert len(texts) == len(cuts)
    assert len(set(texts)) == 1


def test_5_3_any_mask_hides_any_payload(talk, masked):
    @wide
    @given(data=st.data())
    def holds(data):
        connection = talk()
        mask = data.draw(st.binary(min_size=4, max_size=4))
        payload = data.draw(st.text(max_size=90)).encode()
        texts = recorded(connection)
        connection.say(masked(TEXT, payload, mask=mask))
        assert texts == [payload]

    holds()


# ---- 5.4 fragmentation -------------------------------------------------------------


@pytest.mark.parametrize("cut", [(0, 0), (0, 5), (5, 5), (3, 11), (11, 11), (1, 1)])
@pytest.mark.parametrize("together", [True, False])
def test_5_4_fragments_make_one_message(talk, masked, cut, together):
    connection = talk()
    texts = recorded(connection)
    frames = [
        masked(TEXT, AUTH[: cut[0]], fin=False),
        masked(CONTINUATION, AUTH[cut[0] : cut[1]], fin=False),
        masked(CONTINUATION, AUTH[cut[1] :]),
    ]
    connection.say(*([b"".join(frames)] if together else frames))
    assert texts == [AUTH]


@pytest.mark.parametrize("opcode", [PING, PONG_CODE])
@pytest.mark.parametrize("payload", [b"", b"x" * 125])
def test_5_4_a_control_frame_may_come_between_fragments(talk, masked, opcode, payload):
    connection = talk()
    texts = recorded(connection)
    connection.say(masked(TEXT, b"AUTH", fin=False), masked(opcode, payload))
    # It is answered at once, and not when the message is whole.
    pong = bytes([0x8A, len(payload)]) + payload
    assert connection.heard() == (pong if opcode == PING else b"")
    connection.say(masked(CONTINUATION, b":secret"))
    assert texts == [AUTH]


def test_5_4_a_close_between_fragments_ends_the_connection(talk, masked):
    connection = talk()
    texts = recorded(connection)
    connection.say(masked(TEXT, b"AUTH", fin=False), masked(CLOSE, b"\x03\xe8"))
    assert connection.heard() == b"\x88\x02\x03\xe8"
    assert connection.ended
    assert texts == []


@pytest.mark.parametrize("fin", [True, False])
def test_5_4_a_continuation_of_nothing_breaks_the_protocol(fails, masked, fin):
    fails(PROTOCOL_ERROR, masked(CONTINUATION, b"x", fin=fin))


def test_5_4_a_continuation_after_the_last_one_breaks_the_protocol(fails, masked):
    whole = masked(BINARY, b"a", fin=False) + masked(CONTINUATION, b"b")
    fails(PROTOCOL_ERROR, whole + masked(CONTINUATION, b"c"))


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
def test_5_4_a_message_inside_a_message_breaks_the_protocol(fails, masked, opcode, fin):
    fails(PROTOCOL_ERROR, masked(TEXT, b"a", fin=False), masked(opcode, b"b", fin=fin))


@pytest.mark.parametrize("step", [1, 100, 125, 1000])
def test_5_4_the_limit_holds_for_the_whole_message(fails, talk, masked, step):
    parts = [b"x" * step] * (MAX_MESSAGE_BYTES // step)
    parts.append(b"x" * (MAX_MESSAGE_BYTES % step))
    frames = [
        masked(CONTINUATION if i else TEXT, part, fin=False)
        for i, part in enumerate(parts)
    ]
    connection = talk()
    texts = recorded(connection)
    connection.say(b"".join(frames), masked(CONTINUATION))
    assert texts == [b"x" * MAX_MESSAGE_BYTES]
    fails(TOO_BIG, b"".join(frames), masked(CONTINUATION, b"x"))


def test_5_4_any_cut_into_frames_and_segments_means_the_same(talk, masked):
    @wide
    @given(data=st.data())
    def holds(data):
        text = data.draw(st.text(max_size=200)).encode()
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
        ends = [*cuts, len(text)]
        stream, pings = b"", 0
        for i, (start, end) in enumerate(zip([0, *cuts], ends, strict=True)):
            opcode = CONTINUATION if i else TEXT
            stream += masked(opcode, text[start:end], fin=i == len(cuts))
            if data.draw(st.booleans()):
                stream, pings = stream + masked(PING), pings + 1
        connection = talk()
        texts = recorded(connection)
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            connection.say(stream[:size])
            stream = stream[size:]
        assert texts == [text]
        assert connection.heard() == PONG * pings

    holds()


# ---- 5.5 control frames ------------------------------------------------------------


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG_CODE])
@pytest.mark.parametrize("size", [126, 65536])
def test_5_5_a_control_frame_has_at_most_125_bytes(fails, masked, opcode, size):
    fails(PROTOCOL_ERROR, masked(opcode, b"", claims=size))


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG_CODE])
def test_5_5_a_control_frame_is_not_fragmented(fails, masked, opcode):
    fails(PROTOCOL_ERROR, masked(opcode, b"", fin=False))


@pytest.mark.parametrize("size", [0, 1, 2, 124, 125])
def test_5_5_2_a_ping_is_answered_with_its_payload(talk, masked, size):
    payload = bytes(range(130, 255))[:size]
    for before in (b"", masked(TEXT, AUTH)):
        connection = talk().say(before)
        connection.heard()
        connection.say(masked(PING, payload))
        assert connection.heard() == bytes([0x8A, size]) + payload


def test_5_5_2_each_ping_is_answered_and_in_order(talk, masked):
    connection = talk()
    connection.say(b"".join(masked(PING, bytes([i])) for i in range(20)))
    assert connection.heard() == b"".join(bytes([0x8A, 1, i]) for i in range(20))


@pytest.mark.parametrize("payload", [b"", b"\xff\xfe", b"x" * 125])
def test_5_5_3_a_pong_that_nobody_asked_for_is_not_answered(talk, masked, payload):
    connection = talk().say(masked(PONG_CODE, payload), masked(TEXT, AUTH))
    assert connection.heard() == OK + ON


# ---- 5.6 data frames ---------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"AUTH:secret", b"\xff\x00", b"x" * 4096])
def test_5_6_a_binary_message_says_nothing(talk, masked, payload):
    connection = talk().say(masked(BINARY, payload))
    assert connection.heard() == b""
    connection.say(masked(BINARY, b"a", fin=False), masked(CONTINUATION, b"\xff"))
    assert connection.heard() == b""
    assert connection.say(masked(TEXT, AUTH)).heard() == OK + ON


# ---- 5.8 extensibility -------------------------------------------------------------


def test_5_8_without_an_extension_nothing_is_compressed(fails, masked):
    deflated = bytes.fromhex("72 0c 0d 71 b4 2a 4e 4d 2e 4a 2d 01 00")
    fails(PROTOCOL_ERROR, masked(TEXT, deflated, rsv=4))


# ---- 5.6 and 8.1 UTF-8 -------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["κόσμε", "\ufeff", "\u0000", "\u007f\u0080", "\ud7ff\ue000\ufffd\U0010ffff"],
)
def test_8_1_text_is_utf_8_wherever_it_is_cut(talk, masked, text):
    payload = text.encode()
    for at in range(len(payload) + 1):
        connection = talk()
        texts = recorded(connection)
        connection.say(
            masked(TEXT, payload[:at], fin=False), masked(CONTINUATION, payload[at:])
        )
        assert texts == [payload]


@pytest.mark.parametrize(
    "payload",
    [
        b"\x80",
        b"\xff",
        b"\xce",
        b"\xce\xba\xe1\xbd",
        b"\xed\xa0\x80",
        b"\xed\xaf\xbf\xed\xbf\xbf",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"AUTH:secret\xc3",
    ],
)
def test_8_1_text_that_is_not_utf_8_is_refused(fails, masked, payload):
    fails(INVALID_PAYLOAD, masked(TEXT, payload))
    fails(
        INVALID_PAYLOAD,
        masked(TEXT, payload[:1], fin=False),
        masked(CONTINUATION, payload[1:]),
    )


# ---- everything else ---------------------------------------------------------------


def test_5_no_bytes_break_a_connection_or_open_the_door(talk, masked):
    @wide
    @given(noise=st.binary(max_size=300), let_in=st.booleans(), at=st.integers(0, 300))
    def holds(noise, let_in, at):
        connection = talk()
        if let_in:
            connection.say(masked(TEXT, AUTH))
            assert connection.heard() == OK + ON
        connection.say(*[part for part in (noise[:at], noise[at:]) if part])
        assert OK not in connection.heard()
        assert len(connection.device.data) <= len(noise)

    holds()


FRAME = st.tuples(
    st.integers(0, 15),
    st.binary(max_size=130),
    st.booleans(),
    st.sampled_from([0] * 8 + [1, 4]),
)


def test_5_frames_end_in_at_most_one_close_and_the_server_says_nothing_after_it(
    talk, masked
):
    @wide
    @given(frames=st.lists(FRAME, max_size=8))
    def holds(frames):
        connection = talk()
        recorded(connection)
        for opcode, payload, fin, rsv in frames:
            connection.say(masked(opcode, payload, fin=fin, rsv=rsv))
        answer, said = connection.heard(), []
        while answer:
            assert answer[1] < 126
            said.append(answer[0])
            answer = answer[2 + answer[1] :]
        assert set(said) <= {0x8A, 0x88}
        assert 0x88 not in said[:-1]

    holds()


def test_5_frames_of_the_server_are_whole_and_short():
    assert text_frame(b"OK") == OK
