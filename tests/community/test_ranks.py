"""Members get the roles of their ranks, and lose those of other ranks."""

from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from voicestatus.community.application import OwnApplication
from voicestatus.community.guilds import Guilds
from voicestatus.community.organizations import Organizations
from voicestatus.community.ranks import WHY, RankRoles, Report
from voicestatus.community.reauthorizing import Reauthorizing
from voicestatus.community.roster import Roster
from voicestatus.community.settings import SettingsPatch
from voicestatus.core.errors import Refusal
from voicestatus.core.guild_news import InviteDeleted, MemberJoined
from voicestatus.core.permissions import MANAGE_ROLES, Holder
from voicestatus.core.presence import GuildArrived, Presence, SessionBegan
from voicestatus.core.ranks import Obstacle
from voicestatus.discord.rest import wire
from voicestatus.discord.rest.errors import (
    DiscordUnreachable,
    MissingAccess,
    MissingPermissions,
    UnknownMember,
    UnknownRole,
)
from voicestatus.hub import Hub
from voicestatus.store.memory import MemoryStore

GUILD, ME = 101, 301
ANN, BEA, COY = 1, 2, 3
RAIDER, OFFICER, OTHER, BOTS = 401, 402, 403, 404
Call = tuple[str, int, int]


class Discord:
    """One server, whose members' roles are changed; `errors` come instead."""

    def __init__(self) -> None:
        self.roles: dict[int, set[int]] = {ME: {BOTS}, ANN: {OTHER}, BEA: {RAIDER}}
        self.permissions, self.high = MANAGE_ROLES, 1
        self.calls: list[Call] = []
        self.reasons: set[str | None] = set()
        self.errors: dict[Call, Exception] = {}
        self.gate: Deferred[None] | None = None

    async def application(self) -> wire.Application:
        return wire.Application(900, 0)

    async def guild(self, guild: int) -> wire.Guild:
        roles = (
            wire.Role(guild, "@everyone", 0, None),
            wire.Role(RAIDER, "Raider", 0, None, position=1),
            wire.Role(OFFICER, "Officer", 0, None, position=self.high),
            wire.Role(OTHER, "Other", 0, None, position=2),
            wire.Role(BOTS, "Bot", self.permissions, None, position=5),
        )
        return wire.Guild(guild, "The Guild", 999, None, roles)

    async def channels(self, guild: int) -> tuple[wire.Channel, ...]:
        return ()

    async def member(self, guild: int, user: int) -> wire.Member:
        self._refuse(("GET", user, 0))
        if user not in self.roles:
            raise UnknownMember(404, 10007, "Unknown Member")
        return wire.Member(wire.User(user, f"user {user}"), tuple(self.roles[user]))

    async def give_role(self, guild: int, user: int, role: int, *, reason: str) -> None:
        await self._change(("PUT", user, role), reason)
        self.roles[user].add(role)

    async def take_role(self, guild: int, user: int, role: int, *, reason: str) -> None:
        await self._change(("DELETE", user, role), reason)
        self.roles[user].discard(role)

    async def _change(self, call: Call, reason: str) -> None:
        self.calls.append(call)
        self.reasons.add(reason)
        if self.gate is not None:
            await self.gate
        self._refuse(call)

    def _refuse(self, call: Call) -> None:
        if call in self.errors:
            raise self.errors[call]


class Club:
    """The organization of one server, with two ranks that have a role there."""

    def __init__(self) -> None:
        store, hub, clock = MemoryStore(), Hub(Presence()), Clock()
        store.startService()
        self.discord, self.roster, self.store = Discord(), Roster(store), store
        hub.apply(SessionBegan(0, ME, frozenset({GUILD})))
        hub.apply(GuildArrived(0, GUILD, "The Guild", None, (), ()))
        self.guilds = Guilds(hub, self.discord, clock, clock.seconds)
        self.organizations = Organizations(
            store, hub, self.guilds, lambda: 0.0, lambda: "x"
        )
        self.ranks = RankRoles(
            self.discord,
            self.guilds,
            self.organizations,
            self.roster,
            Reauthorizing(OwnApplication(self.discord, clock)),
        )
        self.ranks.startService()

    def set_roles(self, **roles: int) -> None:
        given = {rank: str(role) for rank, role in roles.items()}
        patch = msgspec.convert({"discordRankRoles": given}, SettingsPatch)
        now(self.organizations.change_settings(str(GUILD), patch))

    def rank(self, user: int, rank: str | None) -> None:
        now(self.roster.put(str(GUILD), user, rank=rank))

    def sync(self, *, dry_run: bool = False) -> Report:
        return now(self.ranks.sync(str(GUILD), dry_run=dry_run))

    def refused(self) -> Refusal:
        with pytest.raises(Refusal) as caught:
            self.sync()
        return caught.value


def now(work: Coroutine[Deferred[Any], Any, Any]) -> Any:
    """Return what comes at once, or raise it."""
    got: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(got.append)
    (result,) = got
    if isinstance(result, Failure):
        result.raiseException()
    return result


def said(report: Report) -> dict[int, tuple[Any, ...]]:
    return {
        each.member.user: (each.change.give, each.change.take)
        for each in report.outcomes
    }


@pytest.fixture
def club() -> Club:
    """Three who have ranks from before there were roles for them; one is away."""
    club = Club()
    club.rank(ANN, "raider")
    club.rank(BEA, "officer")
    club.rank(COY, "raider")
    club.set_roles(raider=RAIDER, officer=OFFICER)
    return club


# ---- of all ------------------------------------------------------------------------


def test_a_dry_run_tells_what_a_sync_then_does_and_the_next_one_need_not(club: Club):
    dry = club.sync(dry_run=True)
    assert said(dry) == {
        ANN: ((RAIDER,), ()),
        BEA: ((OFFICER,), (RAIDER,)),
        COY: ((), ()),
    }
    assert [each.inside for each in dry.outcomes] == [True, True, False]
    assert dry.names == {RAIDER: "Raider", OFFICER: "Officer"}
    assert club.discord.calls == []
    done = club.sync()
    assert (said(done), done.dry_run) == (said(dry), False)
    assert club.discord.roles == {ME: {BOTS}, ANN: {OTHER, RAIDER}, BEA: {OFFICER}}
    assert club.discord.reasons == {WHY}
    calls = len(club.discord.calls)
    assert said(club.sync()) == {ANN: ((), ()), BEA: ((), ()), COY: ((), ())}
    assert len(club.discord.calls) == calls


def test_who_cannot_be_synced_does_not_stop_the_rest(club: Club):
    club.discord.errors = {
        ("PUT", ANN, RAIDER): DiscordUnreachable("no answer"),
        ("GET", COY, 0): DiscordUnreachable("no answer"),
    }
    ann, bea, coy = club.sync().outcomes
    assert ann.problem is not None
    assert coy.problem is not None
    assert (ann.problem.code, coy.problem.code) == ("DISCORD_UNAVAILABLE",) * 2
    assert (bea.change.give, bea.problem) == ((OFFICER,), None)


@pytest.mark.parametrize(
    ("error", "obstacle"),
    [
        (MissingPermissions(403, 50013, "no"), Obstacle.FORBIDDEN),
        (UnknownRole(404, 10011, "no"), Obstacle.GONE),
    ],
)
def test_a_role_that_discord_refuses_is_not_tried_with_the_next(
    club: Club, error: Exception, obstacle: Obstacle
):
    club.discord.roles[COY] = {OFFICER}
    club.discord.errors = {("PUT", ANN, RAIDER): error, ("PUT", COY, RAIDER): error}
    report = club.sync()
    assert ("PUT", COY, RAIDER) not in club.discord.calls
    ann, _, coy = (each.change for each in report.outcomes)
    assert [each.obstacle for each in (*ann.refused, *coy.refused)] == [obstacle] * 2
    assert coy.take == (OFFICER,)


def test_a_role_above_the_bots_own_is_refused_and_the_other_one_taken(club: Club):
    club.discord.high = 6
    _, bea, _ = club.sync().outcomes
    (refused,) = bea.change.refused
    assert (refused.role, refused.obstacle) == (OFFICER, Obstacle.ABOVE)
    assert club.discord.roles[BEA] == set()


def test_a_sync_hands_out_no_role_that_is_beyond_who_asks_for_it(club: Club):
    club.discord.high = 4
    mod = Holder(99, frozenset({OTHER}))
    ann, bea, _ = now(club.ranks.sync(str(GUILD), dry_run=False, by=mod)).outcomes
    (refused,) = bea.change.refused
    assert (refused.role, refused.obstacle) == (OFFICER, Obstacle.BEYOND)
    assert (ann.change.give, bea.change.take) == ((RAIDER,), (RAIDER,))


def test_a_long_sync_heeds_what_is_written_meanwhile(club: Club):
    gate, others = Deferred(), Roster(club.store)  # another node's
    club.discord.gate = gate
    first = Deferred.fromCoroutine(club.ranks.sync(str(GUILD), dry_run=False))
    now(others.put(str(GUILD), BEA, rank="raider"))
    club.discord.gate = None
    gate.callback(None)
    assert said(first.result) == {ANN: ((RAIDER,), ()), BEA: ((), ()), COY: ((), ())}
    now(others.put(str(GUILD), BEA, rank="officer"))
    club.discord.roles[ANN] = set()
    club.discord.gate = gate = Deferred()
    second = Deferred.fromCoroutine(club.ranks.sync(str(GUILD), dry_run=False))
    club.set_roles(raider=RAIDER)
    gate.callback(None)
    got: list[Failure] = []
    second.addErrback(got.append)
    assert got[0].value.code == "VERSION_CONFLICT"
    assert club.discord.roles[BEA] == {RAIDER}


def test_without_manage_roles_it_leads_to_where_that_is_granted(club: Club):
    club.discord.permissions = 0
    refusal = club.refused()
    assert refusal.code == "MISSING_PERMISSION"
    assert [each["name"] for each in refusal.details["missing"]] == ["Manage Roles"]
    assert "client_id=900&" in refusal.details["reauthorizeUrl"]
    club.discord.permissions = MANAGE_ROLES
    assert said(club.sync())[ANN] == ((RAIDER,), ())


def test_without_a_role_for_any_rank_nobody_is_looked_up(club: Club):
    club.set_roles()
    club.discord.errors = {("GET", ANN, 0): DiscordUnreachable("no answer")}
    assert said(club.sync()) == {ANN: ((), ()), BEA: ((), ()), COY: ((), ())}


def test_where_the_bot_is_no_more_the_sync_ends(club: Club):
    club.discord.errors = {("GET", ANN, 0): MissingAccess(403, 50001, "no")}
    assert club.refused().code == "BOT_NOT_IN_SERVER"
    now(club.organizations.create("Raiders", None, lambda _: ()))
    with pytest.raises(Refusal) as caught:
        now(club.ranks.sync("ox", dry_run=True))
    assert caught.value.code == "NO_LINKED_DISCORD_SERVER"


# ---- of one ------------------------------------------------------------------------


def test_a_change_of_rank_changes_the_roles_of_that_member_alone(club: Club):
    club.rank(ANN, "officer")
    assert club.discord.calls == [("PUT", ANN, OFFICER)]
    club.rank(ANN, None)
    now(club.roster.put(str(GUILD), ANN, manager=True, may_name=True))
    now(club.roster.remove(str(GUILD), BEA))
    assert club.discord.calls[1:] == [("DELETE", ANN, OFFICER), ("DELETE", BEA, RAIDER)]
    assert club.discord.roles[ANN] == {OTHER}


def test_the_last_word_on_a_rank_has_the_last_say(club: Club):
    gate = club.discord.gate = Deferred()
    for rank in ("officer", "raider", "officer", "raider"):
        club.rank(ANN, rank)
    assert club.discord.calls == [("PUT", ANN, OFFICER)]
    club.discord.gate = None
    gate.callback(None)
    assert club.discord.roles[ANN] == {OTHER, RAIDER}
    assert len(club.discord.calls) == 3


def test_who_signs_in_or_joins_is_synced_if_they_are_on_the_roster(club: Club):
    club.ranks.signed_in(ANN)
    assert club.discord.roles[ANN] == {OTHER, RAIDER}
    club.discord.roles |= {COY: set(), 99: {OFFICER}}
    for news in (MemberJoined(GUILD, COY), MemberJoined(GUILD, 99)):
        club.ranks.hear(news)
    club.ranks.signed_in(99)
    club.ranks.hear(MemberJoined(102, ANN))
    club.ranks.hear(InviteDeleted(GUILD, 201, "code"))
    assert (club.discord.roles[COY], club.discord.roles[99]) == ({RAIDER}, {OFFICER})


def test_a_sign_in_reads_no_whole_roster(club: Club):
    listed: list[str] = []
    read = club.store.list

    async def watched(kind: str, parent: str | None = None) -> Any:
        listed.append(kind)
        return await read(kind, parent)

    club.store.list = watched
    club.ranks.signed_in(ANN)
    assert club.discord.roles[ANN] == {OTHER, RAIDER}
    assert "organization-member" not in listed


def test_what_nobody_waits_for_fails_with_a_line_in_the_log(club: Club):
    club.discord.errors = {("GET", ANN, 0): DiscordUnreachable("no answer")}
    with capturedLogs() as logged:
        club.ranks.signed_in(ANN)
        club.discord.permissions = 0
        club.guilds.forget(GUILD)
        club.ranks.signed_in(BEA)
    codes = ["DISCORD_UNAVAILABLE", "MISSING_PERMISSION"]
    assert [event["code"] for event in logged] == codes
    assert club.discord.calls == []


def test_a_stop_ends_what_waits_for_discord(club: Club):
    gate = club.discord.gate = Deferred()
    club.rank(ANN, "officer")
    club.ranks.signed_in(BEA)
    got: list[Any] = []
    waiting = Deferred.fromCoroutine(club.ranks.sync(str(GUILD), dry_run=True))
    waiting.addBoth(got.append)
    waiting.cancel()
    club.ranks.stopService()
    assert got[0].check(CancelledError)
    assert gate.called
    assert club.discord.calls == [("PUT", ANN, OFFICER)]
