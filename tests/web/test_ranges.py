"""A part is asked for in so many ways; what is not understood is the whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.web.ranges import Span, Unsatisfiable, asked


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=90-", (90, 100)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        (" Bytes=5-6 ", (5, 7)),
    ],
)
def test_a_part_is_understood(header: str, span: tuple[int, int]):
    assert asked(header, 100) == Span(*span)


@pytest.mark.parametrize(
    "header",
    [
        *(
            None,
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-4",
            "lines=0-1",
        ),
        *("bytes=0-1,5-6", "bytes=0 - 1", "bytes=٣-", "bytes=" + "9" * 30 + "-"),
    ],
)
def test_what_is_not_understood_asks_for_the_whole(header: str | None):
    assert asked(header, 100) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_what_lies_behind_the_end_is_refused(header: str):
    with pytest.raises(Unsatisfiable):
        asked(header, 100)


@given(
    st.text() | st.from_regex(r"bytes=\d{0,25}-\d{0,25}", fullmatch=True),
    st.integers(1, 2**40),
)
def test_a_part_is_never_more_than_there_is(header: str, size: int):
    try:
        span = asked(header, size)
    except Unsatisfiable:
        return
    assert span is None or 0 <= span.start < span.end <= size
