"""Replies of Redis, however the network cuts them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.store.redis_reader import ErrorReply, NotRedis, Reader

VALUES = st.recursive(
    st.none() | st.binary(max_size=30) | st.integers(-(2**63), 2**63 - 1),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


def encoded(value: object) -> bytes:
    match value:
        case None:
            return b"$-1\r\n"
        case bytes():
            return b"$%d\r\n%s\r\n" % (len(value), value)
        case int():
            return b":%d\r\n" % value
        case list():
            return b"*%d\r\n" % len(value) + b"".join(map(encoded, value))
    raise TypeError(value)


@given(st.lists(VALUES, max_size=5), st.lists(st.integers(1, 40), min_size=1))
def test_however_the_bytes_are_cut_the_same_replies_come_out(values, sizes):
    data, reader, found = b"".join(map(encoded, values)), Reader(), []
    while data:
        size, *sizes = [*sizes, sizes[0]]
        found += reader.feed(data[:size])
        data = data[size:]
    assert found == values


def test_a_status_an_error_and_an_absent_array_are_replies():
    ok, error, other, absent = Reader().feed(
        b"+OK\r\n-ERR no such key\r\n-OOM full \xff\r\n*-1\r\n"
    )
    assert (ok, absent) == (b"OK", None)
    assert isinstance(error, ErrorReply)
    assert (str(error), str(other)) == ("no such key", "OOM full \ufffd")


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400 Bad Request\r\n", b"\r\n", b"$x\r\n", b"*\r\n", b":\r\n"]
)
def test_what_is_no_redis_is_refused(data):
    with pytest.raises(NotRedis):
        Reader().feed(data)
