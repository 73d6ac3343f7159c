"""What people on a roster are called: what if Discord does not say, or not soon."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from voicestatus.community.profiles import AT_ONCE, UNKNOWN, WITHIN_S, Profile, Profiles
from voicestatus.core.errors import Refusal
from voicestatus.discord.rest.wire import Member, User

GUILD, ANN, BEA, COY, DAN = 101, 1, 2, 3, 4
CDN = "https://cdn.discordapp.com"


class Membership:
    """Knows people; who is asked for waits for `gates`."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.gates: dict[int, Deferred[None]] = {}
        ann = User(ANN, "ann", "Ann A.", "a1")
        self.members: dict[int, Member | Exception | None] = {
            ANN: Member(ann, (), "Annie", "a2"),
            BEA: Member(User(BEA, "bea", None, "b1"), ()),
            COY: None,
            DAN: Refusal("DISCORD_UNAVAILABLE", "no answer"),
        }

    async def inside(self, guild: int, user: int) -> Member | None:
        assert guild == GUILD
        self.asked.append(user)
        if user in self.gates:
            await self.gates[user]
        known = self.members.get(user)
        if isinstance(known, Exception):
            raise known
        return known


@pytest.fixture
def membership() -> Membership:
    return Membership()


def look(profiles: Profiles, *users: int, guild: int | None = GUILD) -> list[Any]:
    found: list[Any] = []
    Deferred.fromCoroutine(profiles.of(guild, users)).addBoth(found.append)
    return found


def test_people_have_the_name_of_their_server_or_else_are_not_known(
    membership: Membership,
):
    profiles: Any = Profiles(membership, Clock())
    assert look(profiles, ANN, BEA, COY, DAN) == [
        {
            ANN: Profile(True, "Annie", f"{CDN}/guilds/101/users/1/avatars/a2.png"),
            BEA: Profile(True, "bea", f"{CDN}/avatars/2/b1.png"),
            COY: Profile(inside=False),
            DAN: UNKNOWN,
        }
    ]
    assert look(profiles, ANN, guild=None) == [{ANN: UNKNOWN}]
    assert membership.asked == [ANN, BEA, COY, DAN]


def test_few_are_asked_for_at_a_time_and_who_is_late_is_left_out(
    membership: Membership,
):
    clock, users = Clock(), range(1000, 1000 + 3 * AT_ONCE)
    membership.gates = {user: Deferred() for user in users}
    profiles: Any = Profiles(membership, clock)
    found = look(profiles, *users)
    assert membership.asked == [*users[:AT_ONCE]]
    membership.gates[1000].callback(None)
    assert membership.asked == [*users[: AT_ONCE + 1]]
    clock.advance(WITHIN_S)
    assert found == [dict.fromkeys(users, UNKNOWN) | {1000: Profile(inside=False)}]
    assert look(profiles, ANN)[0][ANN].name == "Annie"
    assert not clock.getDelayedCalls()
