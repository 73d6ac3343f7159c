"""Which roles a rank gives and takes."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.ids import GuildId, RoleId
from voicestatus.core.ranks import Change, Hierarchy, Obstacle, Refused

GUILD = GuildId(1)
RAIDER, OFFICER, OTHER, OWN, TWIN, CHIEF, BOOSTER, LOST = map(RoleId, range(11, 19))
BEFORE_OWN = RoleId(5)
RANKS = {"raider": RAIDER, "officer": OFFICER, "recruit": RAIDER}


@dataclass(frozen=True)
class Role:
    id: int
    name: str
    position: int
    managed: bool = False


ROLES = (
    Role(GUILD, "@everyone", 0),
    Role(RAIDER, "Raider", 1),
    Role(OFFICER, "Officer", 2),
    Role(OTHER, "Other", 3),
    Role(BOOSTER, "Booster", 4, managed=True),
    Role(OWN, "bot", 5),
    Role(TWIN, "younger than the bot's", 5),
    Role(BEFORE_OWN, "older than the bot's", 5),
    Role(CHIEF, "Chief", 6),
)
HIERARCHY = Hierarchy(GUILD, ROLES, own=(OWN, OTHER))


@pytest.mark.parametrize(
    ("rank", "held", "change"),
    [
        ("officer", [], Change(give=(OFFICER,))),
        ("officer", [RAIDER, OTHER], Change(give=(OFFICER,), take=(RAIDER,))),
        ("officer", [OFFICER], Change()),
        ("recruit", [RAIDER], Change()),
        ("stranger", [OFFICER, RAIDER], Change(take=(RAIDER, OFFICER))),
        (None, [OFFICER, CHIEF], Change(take=(OFFICER,))),
    ],
    ids=[
        "given",
        "instead of another",
        "held",
        "shared by ranks",
        "rank without role",
        "no rank",
    ],
)
def test_a_rank_gives_its_role_and_takes_those_of_others(rank, held, change):
    assert HIERARCHY.change(rank, RANKS, held) == change


@pytest.mark.parametrize(
    ("role", "obstacle"),
    [
        (RAIDER, None),
        (TWIN, None),
        (OWN, Obstacle.ABOVE),
        (BEFORE_OWN, Obstacle.ABOVE),
        (CHIEF, Obstacle.ABOVE),
        (BOOSTER, Obstacle.MANAGED),
        (RoleId(GUILD), Obstacle.EVERYONE),
        (LOST, Obstacle.GONE),
    ],
    ids=str,
)
def test_a_role_that_the_bot_cannot_give_is_refused_both_ways(role, obstacle):
    assert HIERARCHY.obstacle(role) is obstacle
    ranks = {"new": role, "old": OFFICER}
    gives = HIERARCHY.change("new", ranks, [OFFICER])
    takes = HIERARCHY.change("old", ranks, [OFFICER, role])
    kept = () if obstacle is None else (Refused(role, obstacle),)
    assert (gives.refused, takes.refused) == (kept, kept)
    assert gives.take == (OFFICER,)


def test_a_bot_without_a_role_gives_none():
    bare = Hierarchy(GUILD, ROLES, own=())
    assert bare.obstacle(RAIDER) is Obstacle.ABOVE


def test_what_discord_refused_is_not_tried_again():
    hierarchy = Hierarchy(GUILD, ROLES, own=(OWN,))
    refused = hierarchy.bar(RAIDER, Obstacle.FORBIDDEN)
    assert hierarchy.change("raider", RANKS, []) == Change(refused=(refused,))


def test_a_role_has_a_name_even_when_it_is_gone():
    assert (HIERARCHY.name(RAIDER), HIERARCHY.name(LOST)) == ("Raider", f"{LOST}")


any_role = st.sampled_from([*(RoleId(role.id) for role in ROLES), LOST])
some_roles = st.sets(any_role)


@given(
    st.dictionaries(st.sampled_from("abc"), any_role),
    st.sampled_from([None, *"abcd"]),
    some_roles,
    some_roles,
)
def test_what_was_done_need_not_be_done_again(ranks, rank, held, own):
    hierarchy = Hierarchy(GUILD, ROLES, own)
    first = hierarchy.change(rank, ranks, held)
    after = (held | set(first.give)) - set(first.take)
    again = hierarchy.change(rank, ranks, after)
    assert (again.give, again.take) == ((), ())
    assert again.refused == first.refused
    assert after - set(ranks.values()) == held - set(ranks.values())
