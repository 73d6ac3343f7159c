"""No file makes the reader fail, and how it comes does not change what it is."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.chip import Chip
from voicestatus.core.image import ImageReader, ImageRefused
from voicestatus.simulator.images import make_image

WHOLE = {chip: make_image(chip, 8192, board="b") for chip in Chip}

Verdict = Callable[..., Any]

chips = st.sampled_from(list(Chip))
sizes = st.lists(st.integers(0, 3000), max_size=20)
beginnings = st.sampled_from(
    [
        b"",
        b"\xe9",
        b"\x7fELF",
        b"\xff" * 8,
        b"VSFW1|",
        *(d[:64] for d in WHOLE.values()),
    ]
)


@st.composite
def spoilt(draw: Any) -> bytes:
    """Take an image, write over some of it, and cut or lengthen it."""
    data = bytearray(WHOLE[draw(chips)])
    for _ in range(draw(st.integers(1, 4))):
        # Where headers are, more often than elsewhere.
        at = draw(st.one_of(st.integers(0, 64), st.integers(0, len(data) - 1)))
        new = draw(st.binary(min_size=1, max_size=8))
        data[at : at + len(new)] = new
    end = draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))
    return bytes(data[:end]) + draw(st.binary(max_size=40))


def outcome(judge: Verdict, data: bytes, pieces: list[int], **how: Any) -> Any:
    try:
        return judge(data, pieces, **how)
    except ImageRefused as refused:
        return refused.code, refused.message, refused.offset, refused.app_at


@given(beginning=beginnings, rest=st.binary(max_size=300), pieces=sizes)
def test_no_bytes_raise_anything_but_a_refusal(
    refusal: Verdict, beginning: bytes, rest: bytes, pieces: list[int]
):
    assert refusal(beginning + rest, pieces).startswith("IMAGE_")


@given(data=spoilt(), pieces=sizes)
def test_a_spoilt_image_raises_nothing_but_a_refusal(
    refusal: Verdict, data: bytes, pieces: list[int]
):
    refusal(data, pieces)


@given(data=st.one_of(spoilt(), chips.map(WHOLE.get)), pieces=sizes)
def test_the_size_of_the_pieces_does_not_change_the_verdict(
    judge: Verdict, data: bytes, pieces: list[int]
):
    assert outcome(judge, data, pieces) == outcome(judge, data, [])


@given(data=spoilt(), pieces=sizes, limit=st.integers(0, 9000))
def test_nor_does_it_where_a_limit_is(
    judge: Verdict, data: bytes, pieces: list[int], limit: int
):
    whole = outcome(judge, data, [], limit=limit)
    assert outcome(judge, data, pieces, limit=limit) == whole


@given(chip=chips, limit=st.integers(0, 8191))
def test_an_image_above_the_limit_is_never_taken(
    refusal: Verdict, chip: Chip, limit: int
):
    assert refusal(WHOLE[chip], limit=limit) == "IMAGE_TOO_LARGE"


@given(
    chip=chips,
    at=st.integers(0, 2500),
    pieces=st.lists(st.integers(0, 90), max_size=80),
)
def test_a_marker_is_found_across_pieces(
    judge: Verdict, chip: Chip, at: int, pieces: list[int]
):
    assert judge(WHOLE[chip], [at, *pieces]).marker.board == "b"


@given(chip=chips, end=st.integers(0, 8191))
def test_no_beginning_of_an_image_is_one(refusal: Verdict, chip: Chip, end: int):
    assert refusal(WHOLE[chip][:end])


def test_a_file_may_come_byte_by_byte():
    reader, data = ImageReader(), WHOLE[Chip.ESP8266]
    for at in range(len(data)):
        reader.feed(data[at : at + 1])
    assert reader.finish().chip is Chip.ESP8266
