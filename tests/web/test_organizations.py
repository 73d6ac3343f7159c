"""`/organizations` as people ask: what is shown to whom, and who may change it."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from voicestatus.community.guilds import Guilds
from voicestatus.community.membership import Membership
from voicestatus.community.organizations import CachedInvite, Organizations
from voicestatus.community.profiles import Profiles
from voicestatus.community.roster import Roster
from voicestatus.core.errors import Refusal
from voicestatus.core.guild import Channel, Voice
from voicestatus.core.permissions import (
    ADMINISTRATOR,
    CONNECT,
    MANAGE_GUILD,
    READ_MESSAGE_HISTORY,
    VIEW_CHANNEL,
    Holder,
    Overwrite,
)
from voicestatus.core.presence import (
    GuildArrived,
    GuildRemoved,
    Presence,
    VoiceUpdated,
)
from voicestatus.discord.rest import wire
from voicestatus.discord.rest.errors import (
    DiscordUnreachable,
    UnknownGuild,
    UnknownMember,
)
from voicestatus.hub import Hub
from voicestatus.web.api.organizations import OrganizationsSubject
from voicestatus.web.audit import Audit, Caller
from voicestatus.web.auth.identity import Identity, Level
from voicestatus.web.permits import ASKED_MOST, FEW, DiscordStanding, Permits

GUILD, OTHER, HALL, DEN, ROOM = 101, 102, 251, 252, 202
LIVE, BAR = 253, 254
"""Nobody reads back there; of a place to talk that takes nothing."""
OWNER, BOSS, ANN, BEA, ME = 1, 2, 3, 4, 301
MODS, CHIEFS, RAIDERS = 401, 402, 403
NOW = 1_795_000_000.0


class Discord:
    """One server with a hall for all, and a den for those who manage it."""

    def __init__(self) -> None:
        self.members: dict[int, tuple[int, ...]] = {
            OWNER: (),
            BOSS: (MODS,),
            ANN: (),
            ME: (MODS,),
        }
        self.homes = {GUILD}
        """The servers that they are members of."""
        self.error: Exception | None = None
        self.asked: list[int] = []
        self.away: set[int] = set()
        """The servers of which nothing is told."""

    async def own_user(self) -> wire.OwnUser:
        return wire.OwnUser(ME, "bot")

    async def guild(self, guild: int) -> wire.Guild:
        common = VIEW_CHANNEL | READ_MESSAGE_HISTORY
        everyone = wire.Role(guild, "@everyone", common, None)
        mods = wire.Role(MODS, "Mods", MANAGE_GUILD, None, position=3)
        chiefs = wire.Role(CHIEFS, "Chiefs", ADMINISTRATOR, None, position=2)
        raiders = wire.Role(RAIDERS, "Raiders", 0, None, position=1)
        roles = (everyone, mods, chiefs, raiders)
        return wire.Guild(guild, "The Guild", OWNER, None, roles)

    async def channels(self, guild: int) -> tuple[wire.Channel, ...]:
        closed = (Overwrite(guild, 0, VIEW_CHANNEL), Overwrite(MODS, VIEW_CHANNEL, 0))
        live_only = (Overwrite(guild, CONNECT, READ_MESSAGE_HISTORY),)
        return (
            wire.Channel(HALL, "hall", voice=False, hidden=False, overwrites=()),
            wire.Channel(DEN, "den", voice=False, hidden=False, overwrites=closed),
            wire.Channel(LIVE, "live", voice=False, hidden=False, overwrites=live_only),
            wire.Channel(BAR, "bar", voice=True, hidden=False, overwrites=live_only),
        )

    async def member(self, guild: int, user: int) -> wire.Member:
        self.asked.append(guild)
        if self.error is not None and user != ME:
            raise self.error
        if guild in self.away:
            raise DiscordUnreachable("no answer")
        if guild == 999:
            raise UnknownGuild(404, 10004, "Unknown Guild")
        if guild not in self.homes or user not in self.members:
            raise UnknownMember(404, 10007, "Unknown Member")
        return wire.Member(wire.User(user, f"user {user}"), self.members[user])


class Town:
    """The pages, a server with people, and another one that the bot is in."""

    def __init__(self, side: Any, serve: Callable[..., Any]) -> None:
        self.side, self.discord = side, Discord()
        hub, ids = side.hub, count(1)
        for guild, channels in (
            (GUILD, (Channel(HALL, "hall", 0), Channel(ROOM, "room", 2))),
            (OTHER, ()),
        ):
            hub.apply(GuildArrived(0, guild, f"Guild {guild}", None, channels, ()))
        guilds = Guilds(hub, self.discord, side.clock, side.wall)
        roster = Roster(side.store)
        self.membership = Membership(self.discord, guilds, roster, side.clock)
        self.organizations = Organizations(
            side.store, hub, guilds, side.wall, lambda: f"{next(ids)}"
        )
        self.permits = Permits(self.membership, self.organizations, guilds)
        # Of the second one the bot is not, or nothing was heard since the start.
        self.standing = DiscordStanding(self.membership, hub.presence, (GUILD, 999))
        subject = OrganizationsSubject(
            self.organizations,
            roster,
            Profiles(self.membership, side.clock),
            self.permits,
            hub.presence,
            Audit(side.store, side.wall),
        )
        self._ask = serve(side, subject)

    def ask(self, *asked: Any, **how: Any) -> Any:
        self.side.clock.advance(0.001)  # entries of one moment are told apart by it
        return self._ask(*asked, **how)

    def refused(self, *asked: Any) -> tuple[int, str]:
        answer = self.ask(*asked)
        return answer.status, answer.code


@pytest.fixture
def town(discord_side: Any, serve: Callable[..., Any]) -> Town:
    return Town(discord_side, serve)


def caller(user: int | None, level: Level = Level.GUEST) -> Caller:
    return Caller(Identity("somebody", level, user=user), "192.0.2.1", "r1")


def now(work: Any) -> Any:
    """Return what comes at once, or raise it."""
    try:
        work.send(None)
    except StopIteration as e:
        return e.value
    raise AssertionError("it waits")


def code_of(work: Any) -> str:
    with pytest.raises(Refusal) as caught:
        now(work)
    return caught.value.code


OWN = f"/organizations/{GUILD}"


# ---- by the admin token ------------------------------------------------------------


def test_the_admin_token_manages_all_and_makes_others(town: Town):
    def mine() -> list[Any]:
        listed: list[Any] = town.ask("GET", "/organizations").json["organizations"]
        return listed

    assert mine()[0] == {
        "id": f"{GUILD}",
        "name": "Guild 101",
        "discordGuildId": f"{GUILD}",
        "guildName": "Guild 101",
        "botPresent": True,
        "discordOverviewChannelIds": [],
        "role": "manager",
    }
    body = {"name": "Raiders", "discordGuildId": f"{GUILD}"}
    made = town.ask("POST", "/organizations", body)
    assert (made.status, made.json["id"]) == (201, "o1")
    linked = [(each["name"], each["discordGuildId"]) for each in mine()]
    assert linked == [
        ("Guild 101", None),
        ("Guild 102", f"{OTHER}"),
        ("Raiders", f"{GUILD}"),
    ]
    again = town.refused("POST", "/organizations", body)
    assert again == (409, "GUILD_ALREADY_LINKED")
    renamed = town.ask("PATCH", "/organizations/o1", {"name": "Knights"})
    assert (renamed.json["name"], renamed.json["role"]) == ("Knights", "manager")
    town.ask("PUT", f"/organizations/o1/members/{BEA}", {"rank": "Raider"})
    assert town.ask("DELETE", "/organizations/o1").status == 204
    assert town.refused("GET", "/organizations/o1") == (404, "ORGANIZATION_NOT_FOUND")
    log = [(each["action"], each["target"]) for each in entries(town)]
    assert log == [
        ("organization.delete", "o1"),
        ("member.put", "o1"),
        ("organization.rename", "o1"),
        ("organization.create", "o1"),
    ]
    left = {kind for kind, _ in town.side.store._documents}
    assert left.isdisjoint({"organization", "organization-link", "organization-member"})


def entries(town: Town) -> list[Any]:
    log: list[Any] = town.side.ask("GET", "/audit").json["entries"]
    return [entry for entry in log if not entry["action"].startswith("session.")]


def test_settings_are_answered_whole_with_the_servers_own_invites(town: Town):
    assert town.ask("GET", f"{OWN}/settings").json == {
        "discordGuildId": f"{GUILD}",
        "discordOverviewChannelIds": [],
        "discordInviteChannelId": None,
        "discordAnnouncementChannelId": None,
        "discordVoiceChannelId": None,
        "discordEventsEnabled": True,
        "voiceAttendanceMode": "off",
        "voiceAttendanceMinMinutes": 10,
        "voiceAttendanceMinPercent": 50,
        "eventAutoStart": True,
        "eventStartDelayMinutes": 0,
        "eventAutoComplete": True,
        "eventCompleteDelayMinutes": 0,
        "attendanceRetentionDays": 14,
        "discordRankRoles": {},
        "discordServerInviteCache": [],
    }
    body = {
        "discordOverviewChannelIds": [f"{ROOM}", f"{HALL}"],
        "discordInviteChannelId": f"{HALL}",
        "voiceAttendanceMode": "track",
    }
    changed = town.ask("PATCH", f"{OWN}/settings", body)
    assert changed.status == 200
    assert changed.json.items() >= body.items()
    invite = CachedInvite("abc", "https://discord.gg/abc", HALL, NOW, NOW + 604800)
    now(town.organizations.keep_invite(f"{GUILD}", invite))
    after = town.ask("PATCH", f"{OWN}/settings", {"voiceAttendanceMode": None}).json
    assert after == changed.json | {
        "voiceAttendanceMode": "off",
        "discordServerInviteCache": [
            {
                "code": "abc",
                "url": "https://discord.gg/abc",
                "channelId": f"{HALL}",
                "createdAt": "2026-11-18T11:06:40Z",
                "expiresAt": "2026-11-25T11:06:40Z",
            }
        ],
    }
    assert town.ask("GET", f"{OWN}/settings").json == after


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"discordServerInviteCache": []}, "discordServerInviteCache"),
        ({"discordGuildID": None}, "discordGuildID"),
        ({"eventAutoStart": "yes"}, "eventAutoStart"),
        ({"attendanceRetentionDays": 0}, "attendanceRetentionDays"),
        ({"voiceAttendanceMinPercent": 101}, "voiceAttendanceMinPercent"),
        ({"eventStartDelayMinutes": 1441}, "eventStartDelayMinutes"),
        ({"voiceAttendanceMode": "on"}, "voiceAttendanceMode"),
        ({"discordInviteChannelId": HALL}, "discordInviteChannelId"),
        ({"discordOverviewChannelIds": ["1"] * 26}, "discordOverviewChannelIds"),
        ({"discordGuildId": "everything"}, "discordGuildId"),
        ({"discordInviteChannelId": "999"}, "discordInviteChannelId"),
    ],
)
def test_a_wrong_key_is_named_and_nothing_is_written(town: Town, body: Any, key: str):
    answer = town.ask("PATCH", f"{OWN}/settings", body | {"eventAutoComplete": False})
    assert (answer.status, answer.code) == (400, "VALIDATION_FAILED")
    assert answer.json["error"]["details"]["key"] == key
    assert town.ask("GET", f"{OWN}/settings").json["eventAutoComplete"] is True
    assert entries(town) == []


def test_a_roster_is_kept(town: Town):
    path = f"{OWN}/members/{BEA}"
    assert town.refused("DELETE", path) == (404, "MEMBER_NOT_FOUND")
    put = town.ask("PUT", path, {"rank": "Raider", "manager": True})
    bea = {"userId": f"{BEA}", "rank": "Raider", "manager": True}
    assert (put.status, put.json) == (200, bea)
    assert town.ask("PUT", path, {"rank": None}).json == bea | {"rank": None}
    assert roster_of(town) == [listed(BEA, manager=True, inServer=False)]
    assert town.ask("DELETE", path).status == 204
    for name in ("anybody", "0", "007", "9" * 20):
        asked = town.refused("PUT", f"{OWN}/members/{name}", {"rank": "x"})
        assert asked == (400, "VALIDATION_FAILED")


def roster_of(town: Town, organization: str = OWN) -> Any:
    answer = town.ask("GET", f"{organization}/members")
    assert answer.status == 200
    return answer.json["members"]


def listed(user: int, **known: Any) -> Any:
    nothing = {"rank": None, "manager": False, "inServer": None, "displayName": None}
    return {"userId": f"{user}", **nothing, "avatarUrl": None} | known


def test_a_roster_shows_people_as_their_server_knows_them(town: Town):
    town.ask("PUT", f"{OWN}/members/{ANN}", {})
    ann = listed(ANN, inServer=True, displayName=f"user {ANN}")
    assert roster_of(town) == [ann]
    town.discord.error = DiscordUnreachable("no answer")
    town.ask("PUT", f"{OWN}/members/{BEA}", {})
    assert roster_of(town) == [ann, listed(BEA)]
    town.ask("PATCH", f"{OWN}/settings", {"discordGuildId": None})
    assert roster_of(town) == [listed(ANN), listed(BEA)]


def test_a_token_may_what_its_scopes_say(town: Town):
    def token(*scopes: str) -> str:
        body = {"name": "-".join(scopes), "scopes": scopes}
        made: str = town.side.ask("POST", "/tokens", body).json["token"]
        return made

    reads, writes = token("read"), token("settings")
    assert town.ask("GET", f"{OWN}/settings", token=reads).status == 200
    change = {"eventAutoStart": False}
    assert town.ask("PATCH", f"{OWN}/settings", change, token=reads).status == 403
    assert town.ask("PATCH", f"{OWN}/settings", change, token=writes).status == 200
    assert town.ask("GET", f"{OWN}/settings", token=writes).status == 403


# ---- by people ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "role"),
    [(OWNER, "manager"), (BOSS, "manager"), (ANN, "member"), (BEA, None)],
)
def test_people_see_what_they_are_in(
    town: Town, surf: Any, oauth: Any, by_discord: Any, user: int, role: str | None
):
    oauth.user_ = wire.User(user, f"user {user}")
    surfer = surf(town.side)
    by_discord(surfer)
    listed = surfer.go("GET", "/own/organizations").json["organizations"]
    found = {each["id"]: each["role"] for each in listed}
    assert found == ({} if role is None else {f"{GUILD}": role})
    patched = surfer.write("PATCH", f"/own{OWN}/settings", {"eventAutoStart": False})
    roster = surfer.go("GET", f"/own{OWN}/members")
    other = surfer.go("GET", f"/own/organizations/{OTHER}")
    assert (other.status, other.code) == (403, "NOT_ORGANIZATION_MEMBER")
    if role == "manager":
        assert (patched.status, roster.status) == (200, 200)
        # What admins alone may.
        for method, path, body in (
            ("PATCH", f"{OWN}/settings", {"discordGuildId": None}),
            ("PUT", f"{OWN}/members/{BEA}", {"manager": True}),
            ("POST", "/organizations", {"name": "Mine"}),
            ("DELETE", OWN, None),
        ):
            answer = surfer.write(method, f"/own{path}", body)
            assert (answer.status, answer.code) == (403, "FORBIDDEN"), path
        rank = surfer.write("PUT", f"/own{OWN}/members/{BEA}", {"rank": "Raider"})
        assert (rank.status, rank.json["manager"]) == (200, False)
    else:
        code = "NOT_ORGANIZATION_MEMBER" if role is None else "FORBIDDEN"
        for answer in (patched, roster):
            assert (answer.status, answer.code) == (403, code)


def test_a_manager_hands_out_no_role_that_is_more_than_their_own(
    town: Town, surf: Any, oauth: Any, by_discord: Any
):
    """Else who has Manage Server alone would make themselves an administrator."""
    oauth.user_ = wire.User(BOSS, "boss")
    boss = surf(town.side)
    by_discord(boss)

    def write(method: str, path: str, body: Any = None) -> tuple[int, str | None]:
        answer = boss.write(method, f"/own{OWN}{path}", body)
        return answer.status, answer.code if answer.status >= 400 else None

    ranks = {"Chief": f"{CHIEFS}"}
    town.ask("PATCH", f"{OWN}/settings", {"discordRankRoles": ranks})
    town.ask("PUT", f"{OWN}/members/{ANN}", {"rank": "Chief"})
    beyond = (409, "ROLE_NOT_ASSIGNABLE")
    for roles in ({"Mine": f"{CHIEFS}"}, ranks | {"Mine": f"{CHIEFS}"}):
        assert write("PATCH", "/settings", {"discordRankRoles": roles}) == beyond
    roles = ranks | {"Raider": f"{RAIDERS}"}
    assert write("PATCH", "/settings", {"discordRankRoles": roles}) == (200, None)
    assert write("PUT", f"/members/{BOSS}", {"rank": "Chief"}) == beyond
    assert write("PUT", f"/members/{BOSS}", {"rank": "Raider"}) == (200, None)
    # Nor do they take it away.
    assert write("PUT", f"/members/{ANN}", {"rank": None}) == beyond
    assert write("DELETE", f"/members/{ANN}") == beyond
    assert write("PUT", f"/members/{ANN}", {"rank": "Chief"}) == (200, None)
    # Who was named a manager has what they have in the server: perhaps nothing.
    town.ask("PUT", f"{OWN}/members/{BEA}", {"manager": True})
    bea, club = caller(BEA), now(town.organizations.get(f"{GUILD}"))
    assert now(town.permits.hands_out_as(bea, club)) == Holder(BEA)
    assert now(town.permits.hands_out_as(caller(None, Level.ADMIN), club)) is None


def test_a_member_sees_what_they_see_in_discord_and_the_overview(town: Town):
    town.discord.members[BEA] = ()
    town.ask("PUT", f"{OWN}/members/{77}", {"rank": "Raider"})
    sees = town.permits.sees
    assert now(sees(caller(ANN), GUILD)) == {HALL, BAR}
    assert now(sees(caller(77), GUILD)) == set()
    overview = {"discordOverviewChannelIds": [f"{ROOM}"]}
    town.ask("PATCH", f"{OWN}/settings", overview)
    assert now(sees(caller(ANN), GUILD)) == {HALL, BAR, ROOM}
    assert now(sees(caller(77), GUILD)) == {ROOM}
    for who in (caller(BOSS), caller(None, Level.ADMIN), caller(BEA, Level.ADMIN)):
        assert now(sees(who, GUILD)) is None


def test_of_very_many_servers_those_are_found_where_one_talks_or_is_listed(town: Town):
    many = range(1001, 1001 + ASKED_MOST)
    for guild in many:
        town.side.hub.apply(GuildArrived(0, guild, "", None, (Channel(1, "", 2),), ()))
    last = many[-1]
    town.discord.homes.add(last)
    assert [each.id for each, _ in now(town.permits.theirs(caller(ANN)))] == [
        f"{GUILD}"
    ]
    town.side.hub.apply(VoiceUpdated(last, ANN, Voice(ANN, 1), bot=False))
    found = [each.id for each, _ in now(town.permits.theirs(caller(ANN)))]
    assert found == [f"{GUILD}", f"{last}"]
    before = many[-2]
    town.ask("PUT", f"/organizations/{before}/members/{BEA}", {"manager": True})
    assert [each.id for each, _ in now(town.permits.theirs(caller(BEA)))] == [
        f"{before}"
    ]


def test_who_is_nobody_there_is_told_why(town: Town):
    permits = town.permits
    assert code_of(permits.member(caller(None), GUILD)) == "DISCORD_NOT_LINKED"
    assert now(permits.theirs(caller(None))) == []
    assert code_of(permits.sees(caller(BEA), GUILD)) == "NOT_ORGANIZATION_MEMBER"
    assert code_of(permits.manager(caller(ANN), GUILD)) == "FORBIDDEN"
    for who in (caller(ANN), caller(None, Level.ADMIN)):
        assert code_of(permits.member(who, 999)) == "GUILD_NOT_FOUND"
    # A server that an admin unlinked has its people still.
    town.ask("PATCH", f"{OWN}/settings", {"discordGuildId": None})
    assert now(permits.manager(caller(BOSS), GUILD)).manager
    assert now(permits.sees(caller(ANN), GUILD)) == {HALL, BAR}
    unlinked = now(town.organizations.get(f"{GUILD}"))
    assert code_of(permits.member(caller(ANN), unlinked)) == "NOT_ORGANIZATION_MEMBER"


def test_a_server_that_the_bot_has_left_is_told_from_one_that_nobody_knows(town: Town):
    town.ask("PATCH", f"{OWN}/settings", {"eventAutoStart": False})  # so it is kept
    permits, admin = town.permits, caller(None, Level.ADMIN)
    for guild in (GUILD, OTHER):
        town.side.hub.apply(GuildRemoved(guild))
    for who in (caller(ANN), admin):
        assert code_of(permits.sees(who, GUILD)) == "BOT_NOT_IN_SERVER"
        assert code_of(permits.sees(who, OTHER)) == "GUILD_NOT_FOUND"
    young = Hub(Presence())
    guilds = Guilds(young, town.discord, town.side.clock, town.side.wall)
    early = Permits(town.membership, town.organizations, guilds)
    assert code_of(early.sees(admin, GUILD)) == "DISCORD_UNAVAILABLE"


def test_nobody_in_doubt_is_told_a_no(town: Town):
    doubt = Refusal("DISCORD_UNAVAILABLE", "no answer")
    ann, bea = (
        Caller(Identity("somebody", Level.GUEST, user=user, doubt=doubt), "", "r1")
        for user in (ANN, BEA)
    )
    assert now(town.permits.sees(ann, GUILD)) == {HALL, BAR}
    assert code_of(town.permits.manager(ann, GUILD)) == "DISCORD_UNAVAILABLE"
    assert code_of(town.permits.member(bea, GUILD)) == "DISCORD_UNAVAILABLE"


def test_only_who_manages_a_server_of_the_settings_is_an_admin(town: Town):
    level_of = town.standing.level_of
    levels = {user: now(level_of(user)) for user in (OWNER, BOSS, ANN, BEA)}
    assert levels == {
        OWNER: Level.ADMIN,
        BOSS: Level.ADMIN,
        ANN: Level.MEMBER,
        BEA: Level.GUEST,
    }
    elsewhere = DiscordStanding(town.membership, town.side.hub.presence, (OTHER,))
    assert now(elsewhere.level_of(OWNER)) is Level.MEMBER
    # It is asked with every request: not of many servers that give no level.
    for guild in range(1001, 1001 + FEW):
        town.side.hub.apply(GuildArrived(0, guild, "", None, (), ()))
    town.discord.members[78] = ()
    town.discord.asked.clear()
    assert now(elsewhere.level_of(78)) is Level.GUEST
    assert town.discord.asked == [OTHER]
    now(town.membership.inside(GUILD, 78))
    assert now(elsewhere.level_of(78)) is Level.MEMBER
    town.ask("PUT", f"{OWN}/members/{BEA}", {"manager": True})
    assert now(level_of(BEA)) is Level.GUEST
    town.discord.error = DiscordUnreachable("no answer")
    assert code_of(level_of(77)) == "DISCORD_UNAVAILABLE"
    assert now(elsewhere.level_of(OWNER)) is Level.MEMBER
    # Who is one by one server is one whatever of another.
    town.discord.error, town.discord.away = None, {OTHER}
    both = DiscordStanding(town.membership, town.side.hub.presence, (OTHER, GUILD))
    assert now(both.level_of(OWNER)) is Level.ADMIN
    assert code_of(both.level_of(BOSS + 50)) == "DISCORD_UNAVAILABLE"
    # Where nobody can be an admin nothing has to be known for sure.
    nowhere = DiscordStanding(town.membership, town.side.hub.presence, ())
    assert now(nowhere.level_of(77)) is Level.GUEST
    town.side.person(ROOM, 77)
    assert now(nowhere.level_of(77)) is Level.MEMBER
