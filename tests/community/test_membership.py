"""Who is in a server and manages it: when Discord is asked, and what if it fails."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from voicestatus.community.guilds import Guilds
from voicestatus.community.membership import KEPT_MOST, NAMED, STRANGER, Membership
from voicestatus.community.organizations import Organization
from voicestatus.community.roster import Roster
from voicestatus.community.service import Community
from voicestatus.community.settings import OrganizationSettings
from voicestatus.core.errors import Refusal
from voicestatus.core.guild_news import MemberJoined, MemberLeft
from voicestatus.core.permissions import ADMINISTRATOR, MANAGE_GUILD, Holder
from voicestatus.core.presence import GuildArrived, Presence, SessionBegan
from voicestatus.discord.rest import wire
from voicestatus.discord.rest.errors import (
    DiscordRefused,
    DiscordUnreachable,
    MissingAccess,
    UnknownGuild,
    UnknownMember,
    UnknownUser,
)
from voicestatus.hub import Hub
from voicestatus.store.memory import MemoryStore

GUILD, ME = 101, 301
OWNER, BOSS, MOD, ANN, BEA = 1, 2, 3, 4, 5
BOSSES, MODS, PLAIN = 401, 402, 403
ROLES = {OWNER: (), BOSS: (BOSSES,), MOD: (PLAIN, MODS), ANN: (PLAIN,), ME: ()}
AWAY = DiscordUnreachable("no answer")


class Discord:
    """One server; what its answers wait for is `gate`, what it says instead `error`."""

    def __init__(self) -> None:
        self.gate: Deferred[None] | None = None
        self.error: Exception | None = None
        self.guild_error: Exception | None = None
        self.asked: list[int] = []
        self.members = dict(ROLES)
        self.timed_out_until: dict[int, datetime] = {}

    def within(self, _patience_s: float) -> "Discord":
        return self

    async def own_user(self) -> wire.OwnUser:
        return wire.OwnUser(ME, "bot")

    async def guild(self, guild: int) -> wire.Guild:
        if error := self.error or self.guild_error:
            raise error
        roles = (
            wire.Role(guild, "@everyone", 0, None),
            wire.Role(BOSSES, "Boss", ADMINISTRATOR, None),
            wire.Role(MODS, "Mod", MANAGE_GUILD, None),
            wire.Role(PLAIN, "Plain", 0, None),
        )
        return wire.Guild(guild, "The Guild", OWNER, None, roles)

    async def channels(self, guild: int) -> tuple[wire.Channel, ...]:
        return ()

    async def member(self, guild: int, user: int) -> wire.Member:
        if user != ME:
            self.asked.append(user)
        if self.gate is not None:
            await self.gate
        if self.error is not None:
            raise self.error
        if user not in self.members:
            raise UnknownMember(404, 10007, "Unknown Member")
        return wire.Member(
            wire.User(user, f"user {user}"),
            self.members[user],
            timed_out_until=self.timed_out_until.get(user),
        )


class Club:
    """One organization, its roster and its server."""

    def __init__(self) -> None:
        self.discord, self.clock = Discord(), Clock()
        store = self.store = MemoryStore()
        store.startService()
        hub = self.hub = Hub(Presence())
        hub.apply(SessionBegan(0, ME, frozenset({GUILD})))
        hub.apply(GuildArrived(0, GUILD, "The Guild", None, (), ()))
        self.roster = Roster(store)
        guilds = Guilds(hub, self.discord, self.clock, self.clock.seconds)
        self.membership = Membership(self.discord, guilds, self.roster, self.clock)

    def inside(self, user: int) -> bool:
        return now(self.membership.inside(GUILD, user)) is not None

    def standing(self, user: int, guild: int | None = GUILD) -> Any:
        club = Organization("o1", "Club", guild, OrganizationSettings(), {}, 1)
        return now(self.membership.standing(club, user))


def now(work: Coroutine[Deferred[Any], Any, Any]) -> Any:
    """Return what comes at once, or raise it."""
    got: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(got.append)
    (result,) = got
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result


def code_of(do: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as caught:
        do()
    return caught.value.code


@pytest.fixture
def club() -> Club:
    return Club()


@pytest.mark.parametrize(
    ("user", "manages"), [(OWNER, True), (BOSS, True), (MOD, True), (ANN, False)]
)
def test_managers_are_who_may_manage_the_server(club: Club, user: int, manages: bool):
    standing = club.standing(user)
    assert (standing.member, standing.manager) == (True, manages)
    assert standing.holder == Holder(user, frozenset(ROLES[user]))


def test_who_is_timed_out_manages_nothing_until_that_is_over(club: Club):
    over = datetime.fromtimestamp(60, UTC)
    club.discord.timed_out_until = dict.fromkeys((OWNER, BOSS, MOD), over)
    # Source: Discord docs, Permissions: owners and administrators are exempt.
    standings = [club.standing(user) for user in (OWNER, BOSS, MOD)]
    assert [standing.manager for standing in standings] == [True, True, False]
    assert standings[2].holder == Holder(MOD, frozenset(ROLES[MOD]), timed_out=True)
    club.clock.advance(60)
    assert club.standing(MOD).manager
    assert club.standing(MOD).holder == Holder(MOD, frozenset(ROLES[MOD]))


def test_a_yes_is_kept_five_minutes_and_a_no_half_a_minute(club: Club):
    assert club.inside(ANN)
    assert not club.inside(BEA)
    club.discord.members[BEA] = ()
    del club.discord.members[ANN]
    club.clock.advance(29)
    assert (club.inside(ANN), club.inside(BEA)) == (True, False)
    club.clock.advance(1)
    assert (club.inside(ANN), club.inside(BEA)) == (True, True)
    club.clock.advance(270)
    assert (club.inside(ANN), club.inside(BEA)) == (False, True)
    assert club.discord.asked == [ANN, BEA, BEA, ANN]


def test_who_came_or_went_is_asked_for_at_once(club: Club):
    assert (club.inside(ANN), club.inside(BEA)) == (True, False)
    club.discord.members = {ME: (), BEA: ()}
    for user in (ANN, BEA):
        club.membership.forget(GUILD, user)
    assert (club.inside(ANN), club.inside(BEA)) == (False, True)


def test_so_is_whom_discord_tells_of(club: Club):
    discord: Any = club.discord
    community = Community(
        rest=discord,
        hub=club.hub,
        documents=club.store,
        client_id=900,
        clock=club.clock,
        wall=club.clock.seconds,
        new_id=lambda: "new",
    )

    def inside() -> bool:
        return now(community.membership.inside(GUILD, ANN)) is not None

    assert inside()
    roles = club.discord.members.pop(ANN)
    assert inside()
    community.hear(MemberLeft(GUILD, ANN))
    assert not inside()
    club.discord.members[ANN] = roles
    community.hear(MemberJoined(GUILD, ANN))
    assert inside()


def test_many_ask_and_discord_is_asked_once(club: Club):
    club.discord.gate = Deferred()
    got: list[Any] = []
    for _ in range(50):
        d = Deferred.fromCoroutine(club.membership.in_guild(GUILD, MOD))
        d.addCallback(got.append)
    club.discord.gate.callback(None)
    assert [standing.manager for standing in got] == [True] * 50
    assert club.discord.asked == [MOD]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AWAY, "DISCORD_UNAVAILABLE"),
        (UnknownUser(404, 10013, "Unknown User"), "DISCORD_ERROR"),
        (DiscordRefused(403, 0, "no"), "DISCORD_ERROR"),
        (MissingAccess(403, 50001, "Missing Access"), "BOT_NOT_IN_SERVER"),
        (UnknownGuild(404, 10004, "Unknown Guild"), "BOT_NOT_IN_SERVER"),
    ],
)
def test_whatever_else_discord_says_is_no_no(club: Club, error: Exception, code: str):
    club.discord.error = error
    assert code_of(lambda: club.inside(ANN)) == code
    assert code_of(lambda: club.inside(ANN)) == code
    assert club.discord.asked == [ANN]
    club.discord.error = None
    club.clock.advance(5)
    assert club.inside(ANN)


def test_while_discord_is_away_its_last_yes_counts_for_a_quarter_of_an_hour(club: Club):
    assert club.standing(MOD).manager
    assert not club.inside(BEA)
    club.discord.error = AWAY
    for _ in range(5):
        club.clock.advance(170)
        assert club.standing(MOD).manager
        assert code_of(lambda: club.inside(BEA)) == "DISCORD_UNAVAILABLE"
    club.clock.advance(50)
    assert code_of(lambda: club.standing(MOD)) == "DISCORD_UNAVAILABLE"
    # It knew MOD, but who asks for the first time cannot be weighed.
    assert code_of(lambda: club.standing(ANN)) == "DISCORD_UNAVAILABLE"


def test_members_are_known_where_the_server_itself_is_not(club: Club):
    club.discord.guild_error = AWAY
    assert club.inside(MOD)
    assert code_of(lambda: club.standing(MOD)) == "DISCORD_UNAVAILABLE"
    club.discord.guild_error = None
    club.clock.advance(5)
    assert club.standing(MOD).manager
    # What they may was weighed with what they are: both are kept.
    club.discord.guild_error = AWAY
    club.clock.advance(299)
    assert club.standing(MOD).manager
    club.clock.advance(1)
    assert club.standing(MOD).manager


def test_who_was_thrown_out_is_no_member_when_discord_goes_away(club: Club):
    assert club.inside(MOD)
    del club.discord.members[MOD]
    club.clock.advance(300)
    assert not club.inside(MOD)
    club.discord.error = AWAY
    club.clock.advance(30)
    assert code_of(lambda: club.inside(MOD)) == "DISCORD_UNAVAILABLE"


def test_the_roster_makes_members_and_managers_without_a_server(club: Club):
    now(club.roster.put("o1", BEA, rank="Raider"))
    now(club.roster.put("o1", ANN, manager=True, may_name=True))
    for guild in (GUILD, None):
        bea = club.standing(BEA, guild)
        assert (bea.member, bea.manager, bea.holder) == (True, False, None)
        assert club.standing(ANN, guild) == NAMED
    assert club.standing(MOD, None) == STRANGER
    # A manager by name is not asked for; where the bot is gone the roster is all.
    assert ANN not in club.discord.asked
    club.discord.error = UnknownGuild(404, 10004, "Unknown Guild")
    club.clock.advance(300)
    assert club.standing(BEA) == bea
    assert club.standing(MOD) == STRANGER


def test_however_many_are_asked_for_no_more_are_kept(club: Club):
    club.discord.members |= dict.fromkeys(range(1000, 1010 + KEPT_MOST), ())
    for user in range(1000, 1010 + KEPT_MOST):
        now(club.membership.inside(GUILD, user))
    kept = (club.membership._seen._asked, club.membership._lately._seen)
    assert {len(each) for each in kept} == {KEPT_MOST}
