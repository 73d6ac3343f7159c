import re
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.lights import EVERYTHING
from voicestatus.devices.upgrade import MAX_HEAD_BYTES, Accepted, Refused, answer


def changed(head: bytes, **headers: str | None) -> bytes:
    """Replace headers (`_` for `-`), or leave them out."""
    for name, value in headers.items():
        line = rb"(?im)^%b:.*\r\n" % name.replace("_", "-").encode()
        new = (
            b"" if value is None else f"{name.replace('_', '-')}: {value}\r\n".encode()
        )
        head = re.sub(line, new, head)
    return head


def test_the_answer_to_a_device_is_byte_for_byte_that_of_ws(upgrade):
    judged = answer(upgrade())
    assert isinstance(judged, Accepted)
    assert judged.response == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"Sec-WebSocket-Protocol: arduino\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        (b"/ws", EVERYTHING),
        (b"/ws?guild=7", '{"guilds":["7"]}'),
        (b"/ws?x=1&channel=9", '{"channels":["9"]}'),
        (b"ws://sign.example/ws?guild=7", '{"guilds":["7"]}'),
        (b"/", EVERYTHING),
    ],
)
def test_the_query_says_what_a_sign_watches(upgrade, target, rule):
    judged = answer(upgrade(target))
    assert isinstance(judged, Accepted)
    assert judged.rule == rule


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "null"},
        {"origin": None},
        {"connection": "keep-alive, Upgrade"},
        {"connection": "upgrade"},
        {"upgrade": "WebSocket"},
        {"user-agent": "x\tyÿ"},
        {"sec_websocket_protocol": None},
    ],
)
def test_what_differs_harmlessly_is_accepted(upgrade, headers):
    assert isinstance(answer(changed(upgrade(), **headers)), Accepted)


def test_the_first_offered_subprotocol_is_echoed_and_no_compression(upgrade):
    head = changed(
        upgrade(),
        sec_websocket_protocol="v2.sign,arduino",
        user_agent="x\r\nSec-WebSocket-Extensions: permessage-deflate",
    )
    response = answer(head).response
    assert b"Sec-WebSocket-Protocol: v2.sign\r\n" in response
    assert b"Extensions" not in response


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({"host": None}, 400, "Host"),
        ({"host": "a\r\nHost: b"}, 400, "Host"),
        ({"upgrade": "h2c"}, 400, "Upgrade"),
        ({"upgrade": None}, 400, "Upgrade"),
        ({"connection": "keep-alive"}, 400, "Connection"),
        ({"sec_websocket_key": None}, 400, "Key"),
        ({"sec_websocket_key": "short=="}, 400, "Key"),
        ({"sec_websocket_version": "12"}, 426, "Version"),
        ({"sec_websocket_version": None}, 426, "Version"),
        ({"sec_websocket_protocol": "a,,b"}, 400, "Protocol"),
        ({"user-agent": "a\nb: c"}, 400, "header"),
        ({"user-agent": "a\x00"}, 400, "header"),
        ({"user-agent": "x\r\nno colon"}, 400, "header"),
        ({"user-agent": "x\r\n folded: y"}, 400, "header"),
    ],
)
def test_a_wrong_upgrade_is_refused_with_a_reason(upgrade, headers, status, reason):
    judged = answer(changed(upgrade(), **headers))
    assert isinstance(judged, Refused)
    assert judged.response.startswith(b"HTTP/1.1 %d " % status)
    assert reason.encode() in judged.response.partition(b"\r\n\r\n")[2]
    assert b"\r\nConnection: close\r\n" in judged.response


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"POST /ws HTTP/1.1", 405),
        (b"GET /ws HTTP/1.0", 426),
        (b"GET /ws HTTP/2", 426),
        (b"GET /ws", 400),
        (b"GET  /ws HTTP/1.1", 400),
        (b"GET /ws?guild=x HTTP/1.1", 400),
        (b"GET /ws#here HTTP/1.1", 400),
        (b"GET /\xff HTTP/1.1", 400),
    ],
)
def test_a_wrong_request_line_is_refused(upgrade, line, status):
    judged = answer(upgrade().replace(b"GET /ws HTTP/1.1", line))
    assert judged.response.startswith(b"HTTP/1.1 %d " % status)


def test_a_malformed_id_is_refused_by_the_name_of_its_key(upgrade):
    assert answer(upgrade(b"/ws?guild=x")).response.endswith(b"guild is not an id")


@given(st.binary(max_size=300))
def test_no_head_breaks_the_judge(head):
    assert isinstance(answer(head + b"\r\n\r\n"), Refused)


NEEDED = {
    "Host": "a",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
PRINTABLE = st.characters(min_codepoint=32, max_codepoint=126)


@given(
    st.permutations(list(NEEDED.items())),
    st.lists(st.text(PRINTABLE, max_size=40), max_size=5),
    st.sampled_from([str, str.upper, str.lower]),
    st.sampled_from(["", " ", " \t"]),
)
def test_order_case_space_and_other_headers_change_nothing(needed, others, case, space):
    lines = [f"{case(name)}:{space}{value}{space}" for name, value in needed]
    lines += [f"X-{i}: {text}" for i, text in enumerate(others)]
    head = "GET /ws?guild=7 HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n"
    judged = answer(head.encode("ascii"))
    assert isinstance(judged, Accepted)
    assert judged.rule == '{"guilds":["7"]}'
    assert judged.response.count(b"\r\n") == 5


@given(st.sampled_from(list(NEEDED)), st.text(PRINTABLE, max_size=30))
def test_a_changed_header_is_accepted_or_refused_in_one_answer(name, value):
    lines = [f"{n}: {v}" for n, v in (NEEDED | {name: value}).items()]
    head = "GET /ws HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n"
    judged = answer(head.encode("ascii"))
    assert judged.response.startswith((b"HTTP/1.1 101 ", b"HTTP/1.1 4"))
    assert judged.response.count(b"\r\n\r\n") == 1


@given(st.data())
def test_no_changed_byte_breaks_the_judge(data):
    head = bytearray(
        b"GET /ws?guild=1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    at = data.draw(st.integers(0, len(head) - 1))
    head[at] = data.draw(st.integers(0, 255))
    judged = answer(bytes(head))
    assert judged.response.startswith(b"HTTP/1.1 ")
    assert judged.response.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("filler", [b" ", b"\t", b"a", b":", b"\r\n", b"a:\r\n", b"x,"])
def test_no_head_takes_long_to_judge(upgrade, filler):
    fill = (filler * MAX_HEAD_BYTES)[: MAX_HEAD_BYTES - 500]
    head = upgrade().replace(b"\r\n\r\n", b"\r\nX:" + fill + b"\x00\r\n\r\n")
    began = process_time()
    answer(head)
    assert process_time() - began < 0.2
