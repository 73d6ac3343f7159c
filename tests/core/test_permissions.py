"""Effective permissions, against cases worked out from Discord's documentation."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.permissions import (
    ADMINISTRATOR,
    ALL,
    VIEW_CHANNEL,
    Holder,
    Overwrite,
    in_channel,
    in_guild,
)

CASES = json.loads(
    (Path(__file__).parents[1] / "fixtures/derived/permission_cases.json").read_text()
)
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
    base = in_guild(guild, int(case["guild"]["owner_id"]), roles, holder)
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
