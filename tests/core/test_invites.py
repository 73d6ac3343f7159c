"""Where an invite leads to, and how long one is handed out."""

import pytest

from voicestatus.core.guild import Channel
from voicestatus.core.ids import ChannelId
from voicestatus.core.invites import Places, Wishes, destination, is_fresh

CATEGORY, FIRST, SECOND, NEWS, ROOM, SYSTEM = map(ChannelId, range(1, 7))
KINDS = {CATEGORY: 4, FIRST: 0, SECOND: 0, NEWS: 5, ROOM: 2, SYSTEM: 0}
ALL = Wishes(SECOND, (ROOM, FIRST), NEWS)


def lead(wishes: Wishes = ALL, gone: set[int] = frozenset(), **more) -> int | None:
    """Say where it leads in a guild with all the channels but some."""
    channels = tuple(
        Channel(id_, "", kind) for id_, kind in KINDS.items() if id_ not in gone
    )
    given = {"system": SYSTEM, "is_open": KINDS.__contains__} | more
    return destination(wishes, Places(channels, **given))


def test_the_channel_for_invites_comes_first_then_overview_then_announcements():
    assert lead() == SECOND
    assert lead(gone={SECOND}) == ROOM
    assert lead(Wishes(None, (), NEWS)) == NEWS


def test_of_the_overview_the_first_that_still_stands_is_the_first():
    assert lead(gone={SECOND, ROOM}) == FIRST
    assert lead(gone={SECOND, ROOM, FIRST}) == NEWS


def test_a_channel_that_was_wished_for_is_kept_where_the_bot_may_not_invite():
    assert lead(is_open={FIRST}.__contains__) == SECOND


@pytest.mark.parametrize(
    ("open_", "system", "channel"),
    [
        ({FIRST, SYSTEM}, SYSTEM, SYSTEM),
        ({SECOND, NEWS}, SYSTEM, SECOND),
        ({NEWS, FIRST}, None, FIRST),
        ({ROOM, CATEGORY}, SYSTEM, None),
    ],
    ids=["system channel", "first text channel", "no system channel", "no text"],
)
def test_without_a_wish_it_leads_where_the_bot_may_invite(open_, system, channel):
    assert lead(Wishes(), is_open=open_.__contains__, system=system) == channel


def test_nobody_is_invited_to_a_category():
    assert lead(Wishes(CATEGORY)) == SYSTEM


@pytest.mark.parametrize(("left_s", "fresh"), [(3600, False), (3600.5, True)])
def test_an_invite_is_handed_out_again_with_more_than_an_hour_left(left_s, fresh):
    assert is_fresh(1000 + left_s, now=1000) is fresh
