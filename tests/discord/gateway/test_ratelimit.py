"""How often we may send."""

from hypothesis import given
from hypothesis import strategies as st

from voicestatus.discord.gateway.ratelimit import SENDS, WINDOW_S, SendLimit


def test_so_many_go_at_once_and_the_next_waits_for_the_window():
    limit = SendLimit()
    for _ in range(SENDS):
        assert limit.free_at(5.0) == 5.0
        limit.sent(5.0)
    assert limit.free_at(6.0) == 65.0
    assert limit.free_at(65.0) == 65.0


@given(st.lists(st.floats(0, 20), max_size=400))
def test_no_window_ever_holds_more_than_allowed(pauses):
    limit, now, sent = SendLimit(sends=5, window_s=10), 0.0, []
    for pause in pauses:
        now = limit.free_at(now + pause)
        limit.sent(now)
        sent.append(now)
    for first, sixth in zip(sent, sent[5:], strict=False):
        assert sixth - first >= 10 - 1e-9


def test_ours_leaves_room_for_heartbeats():
    assert SENDS <= 120 - 5
    assert WINDOW_S == 60
