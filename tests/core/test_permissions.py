"""Effective permissions, against cases worked out from Discord's documentation."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.bot_permissions import (
    NEEDED,
    REQUESTED,
    invitation,
    missing_in,
)
from voicestatus.core.permissions import (
    ADMINISTRATOR,
    ALL,
    CONNECT,
    EMBED_LINKS,
    READ_MESSAGE_HISTORY,
    SEND_MESSAGES,
    VIEW_CHANNEL,
    Holder,
    Overwrite,
    base_of,
    in_channel,
    in_guild,
)

DERIVED = Path(__file__).parents[1] / "fixtures/derived"
CASES = json.loads((DERIVED / "permission_cases.json").read_text())
BITS = json.loads((DERIVED / "permission_bits.json").read_text())
GUILD, OWNER, ME, ROLE, OTHER = 1, 2, 3, 11, 12
PERMISSIONS = {GUILD: VIEW_CHANNEL, ROLE: 1 << 40, OTHER: 1 << 41}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_documented_cases_hold(case: dict[str, Any]):
    guild = int(case["guild"]["id"])
    roles = {
        int(role["id"]): int(role["permissions"]) for role in case["guild"]["roles"]
    }
    holder = Holder(
        int(case["member"]["id"]), tuple(int(role) for role in case["member"]["roles"])
    )
    overwrites = [
        Overwrite(int(o["id"]), int(o["allow"]), int(o["deny"]), o["type"] == 1)
        for o in case["permission_overwrites"]
    ]
    base = base_of(guild, int(case["guild"]["owner_id"]), roles, holder)
    wanted = ALL if case["expect"] == "ALL" else int(case["expect"])
    assert in_channel(base, guild, overwrites, holder) == wanted


def test_who_cannot_see_a_channel_may_do_nothing_there():
    hidden = [Overwrite(GUILD, allow=0, deny=VIEW_CHANNEL)]
    assert in_channel(VIEW_CHANNEL | 1 << 20, GUILD, hidden, Holder(ME)) == 0


def test_what_others_are_denied_is_not_denied_to_me():
    others = [
        Overwrite(OTHER, allow=0, deny=VIEW_CHANNEL),
        Overwrite(OWNER, allow=0, deny=VIEW_CHANNEL, of_member=True),
    ]
    assert in_channel(VIEW_CHANNEL, GUILD, others, Holder(ME, (ROLE,))) == VIEW_CHANNEL


def test_who_may_not_connect_to_a_voice_channel_has_nothing_else_there():
    locked = [Overwrite(GUILD, allow=0, deny=CONNECT)]
    base = VIEW_CHANNEL | CONNECT | READ_MESSAGE_HISTORY
    holder = Holder(ME)
    assert in_channel(base, GUILD, locked, holder, voice=True) == VIEW_CHANNEL
    assert in_channel(base, GUILD, locked, holder) == base & ~CONNECT
    assert in_channel(base, GUILD, [], holder, voice=True) == base


def test_who_may_not_write_cannot_embed_links_either():
    muted = [Overwrite(GUILD, allow=0, deny=SEND_MESSAGES)]
    base = VIEW_CHANNEL | SEND_MESSAGES | EMBED_LINKS
    assert in_channel(base, GUILD, muted, Holder(ME)) == VIEW_CHANNEL


def test_nobody_has_anything_in_a_channel_whose_overwrites_are_made_up():
    assert in_channel(ALL, GUILD, [], Holder(OWNER), hidden=True) == 0


def test_in_a_time_out_one_may_see_and_read_alone():
    quiet, held = Holder(ME, timed_out=True), {GUILD: ALL & ~ADMINISTRATOR}
    left = VIEW_CHANNEL | READ_MESSAGE_HISTORY
    assert in_guild(GUILD, OWNER, held, quiet) == left
    assert in_channel(base_of(GUILD, OWNER, held, quiet), GUILD, [], quiet) == left


@pytest.mark.parametrize("holder", [Holder(OWNER, (), True), Holder(ME, (ROLE,), True)])
def test_owners_and_administrators_are_never_in_a_time_out(holder: Holder):
    held = {ROLE: ADMINISTRATOR}
    assert in_guild(GUILD, OWNER, held, holder) == ALL
    assert in_channel(base_of(GUILD, OWNER, held, holder), GUILD, [], holder) == ALL


def test_a_role_that_the_guild_no_longer_has_gives_nothing():
    assert in_guild(GUILD, OWNER, PERMISSIONS, Holder(ME, (99,))) == VIEW_CHANNEL


bits = st.integers(0, ALL)
overwrites = st.lists(
    st.builds(
        Overwrite, st.sampled_from([GUILD, ROLE, OTHER, ME]), bits, bits, st.booleans()
    )
)


@given(bits, overwrites, st.randoms())
def test_the_order_of_overwrites_means_nothing(base, changes, random):
    holder = Holder(ME, (ROLE, OTHER))
    shuffled = random.sample(changes, len(changes))
    assert in_channel(base, GUILD, changes, holder) == in_channel(
        base, GUILD, shuffled, holder
    )


@given(bits, overwrites)
def test_an_administrator_may_do_all_in_every_channel(base, changes):
    assert in_channel(base | ADMINISTRATOR, GUILD, changes, Holder(ME)) == ALL


@given(bits, overwrites, st.booleans())
def test_a_time_out_gives_nothing(base, changes, voice):
    free, quiet = Holder(ME, (ROLE,)), Holder(ME, (ROLE,), timed_out=True)
    before = in_channel(base, GUILD, changes, free, voice=voice)
    assert not in_channel(base, GUILD, changes, quiet, voice=voice) & ~before


# -- what the bot needs ----------------------------------------------------------------


def test_what_the_bot_needs_is_what_an_invitation_asks_for():
    given = {int(v) for k, v in BITS.items() if k.isupper() and k != "SPEAK"}
    assert {each.bit for each in NEEDED} == given
    assert int(BITS["all_requested"]) == REQUESTED
    assert invitation(1187000000000000100) == BITS["bot_invite_url"]


def test_an_invitation_to_one_guild_lets_no_other_be_chosen():
    chosen = invitation(5, 42).removeprefix(invitation(5))
    assert chosen == "&guild_id=42&disable_guild_select=true"


def test_what_is_missing_is_named_once_and_only_if_it_was_wanted():
    assert missing_in(REQUESTED) == missing_in(ALL) == ()
    (connect,) = missing_in(REQUESTED & ~CONNECT)
    assert connect.name == "Connect"
    assert missing_in(0, CONNECT) == (connect,)
