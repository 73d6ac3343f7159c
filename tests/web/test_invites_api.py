"""The way into a server and the roles of ranks, as people ask for them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from voicestatus.community.application import OwnApplication
from voicestatus.community.guilds import Guilds
from voicestatus.community.invites import Invites
from voicestatus.community.membership import Membership
from voicestatus.community.organizations import Organizations
from voicestatus.community.ranks import RankRoles
from voicestatus.community.reauthorizing import Reauthorizing
from voicestatus.community.roster import Roster
from voicestatus.community.settings import SettingsPatch
from voicestatus.core.guild import Channel
from voicestatus.core.permissions import (
    CREATE_INSTANT_INVITE,
    MANAGE_ROLES,
    VIEW_CHANNEL,
)
from voicestatus.core.presence import GuildArrived, GuildRemoved
from voicestatus.discord.rest import wire
from voicestatus.discord.rest.errors import DiscordBusy, UnknownMember
from voicestatus.discord.rest.invites import Invite
from voicestatus.web.api.invites import InvitesSubject
from voicestatus.web.api.ranks import RanksSubject
from voicestatus.web.audit import Audit
from voicestatus.web.permits import Permits

GUILD, HALL, OWNER, INSIDER, ANN, ME = 101, 251, 1, 2, 3, 301
RAIDER, CHIEF, BOTS = 401, 402, 403
OWN = f"/organizations/{GUILD}/discord"
DAY = datetime(2026, 11, 28, 9, tzinfo=UTC)


class Discord:
    """One server where the bot may do what it needs, unless `busy`."""

    def __init__(self) -> None:
        self.members: dict[int, set[int]] = {OWNER: set(), INSIDER: set(), ME: {BOTS}}
        self.busy: Exception | None = None
        self.top = 4
        """How high the bot's own role is."""

    async def application(self) -> wire.Application:
        return wire.Application(900, 0)

    async def own_user(self) -> wire.OwnUser:
        return wire.OwnUser(ME, "bot")

    async def guild(self, guild: int) -> wire.Guild:
        may = VIEW_CHANNEL | CREATE_INSTANT_INVITE | MANAGE_ROLES
        roles = (
            wire.Role(guild, "@everyone", VIEW_CHANNEL, None),
            wire.Role(RAIDER, "Raider", 0, None, position=1),
            wire.Role(BOTS, "Bot", may, None, position=self.top),
            wire.Role(CHIEF, "Chief", 0, None, position=3),
        )
        return wire.Guild(guild, "The Guild", OWNER, None, roles, HALL)

    async def channels(self, guild: int) -> tuple[wire.Channel, ...]:
        return (wire.Channel(HALL, "hall", voice=False, hidden=False, overwrites=()),)

    async def member(self, guild: int, user: int) -> wire.Member:
        if user not in self.members:
            raise UnknownMember(404, 10007, "Unknown Member")
        return wire.Member(wire.User(user, "somebody"), tuple(self.members[user]))

    async def give_role(self, guild: int, user: int, role: int, **how: Any) -> None:
        self.members[user].add(role)

    async def take_role(self, guild: int, user: int, role: int, **how: Any) -> None:
        self.members[user].discard(role)

    async def create_invite(self, channel: int, **how: Any) -> Invite:
        if self.busy is not None:
            raise self.busy
        return Invite("hTKzmak", DAY)

    async def invite(self, code: str) -> Invite:
        return Invite(code)


class Town:
    """The pages over one server, and who signs in with Discord there."""

    def __init__(self, side: Any, serve: Callable[..., Any], sign_in: Any) -> None:
        self.side, self.discord, self.sign_in = side, Discord(), sign_in
        hub = side.hub
        hall = (Channel(HALL, "hall", 0),)
        hub.apply(GuildArrived(0, GUILD, "The Guild", None, hall, ()))
        guilds = self.guilds = Guilds(hub, self.discord, side.clock, side.wall)
        roster = self.roster = Roster(side.store)
        membership = Membership(self.discord, guilds, roster, side.clock)
        self.organizations = Organizations(
            side.store, hub, guilds, side.wall, lambda: "1"
        )
        permits = Permits(membership, self.organizations, guilds)
        reauthorizing = Reauthorizing(OwnApplication(self.discord, side.clock))
        invites = Invites(
            self.discord,
            guilds,
            self.organizations,
            membership,
            reauthorizing,
            side.clock,
            side.wall,
        )
        ranks = RankRoles(
            self.discord, guilds, self.organizations, roster, reauthorizing
        )
        audit = Audit(side.store, side.wall)
        self.ask = serve(
            side,
            InvitesSubject(invites, self.organizations, permits),
            RanksSubject(ranks, self.organizations, permits, audit),
        )

    def refused(self, surfer: Any, what: str = "server-invite") -> tuple[int, str]:
        answer = surfer.go("GET", f"/own{OWN}/{what}")
        return answer.status, answer.code

    def put(self, user: int, rank: str | None = None) -> None:
        now(self.roster.put(str(GUILD), user, rank=rank))


@pytest.fixture
def town(discord_side: Any, serve: Any, surf: Any, oauth: Any, by_discord: Any) -> Town:
    def sign_in(user: int) -> Any:
        oauth.user_ = wire.User(user, "somebody")
        surfer = surf(discord_side)
        by_discord(surfer)
        return surfer

    return Town(discord_side, serve, sign_in)


def now(work: Any) -> Any:
    """Return what comes at once, or raise it."""
    try:
        work.send(None)
    except StopIteration as e:
        return e.value
    raise AssertionError("it waits")


def in_server(inside: bool | None, reason: str | None, *, linked: bool = True) -> Any:
    return {"inServer": inside, "linked": linked, "reason": reason}


def test_one_is_told_whether_one_is_in_the_server_or_why_nobody_can_say(town: Town):
    insider, ann = town.sign_in(INSIDER), town.sign_in(ANN)

    def said(surfer: Any) -> Any:
        return surfer.go("GET", f"/own{OWN}/in-server").json

    assert said(insider) == in_server(True, None)
    assert said(ann) == in_server(False, None)
    by_token = town.ask("GET", f"{OWN}/in-server").json
    assert by_token == in_server(None, "DISCORD_NOT_LINKED", linked=False)
    unknown = insider.go("GET", "/own/organizations/7/discord/in-server")
    assert unknown.code == "ORGANIZATION_NOT_FOUND"
    now(town.organizations.create("Raiders", GUILD, lambda _: ()))
    assert said(ann) == in_server(None, "NO_LINKED_SERVER")
    town.side.hub.apply(GuildRemoved(GUILD))
    raiders = ann.go("GET", "/own/organizations/o1/discord/in-server")
    assert raiders.json == in_server(None, "BOT_NOT_IN_SERVER")


def test_a_member_outside_gets_an_invite_and_nobody_else_does(town: Town):
    insider, ann = town.sign_in(INSIDER), town.sign_in(ANN)
    assert town.refused(town.sign_in(77)) == (403, "NOT_ORGANIZATION_MEMBER")
    assert town.refused(ann) == (403, "NOT_ORGANIZATION_MEMBER")
    assert town.refused(insider) == (409, "ALREADY_IN_DISCORD_SERVER")
    assert town.ask("GET", f"{OWN}/server-invite").code == "DISCORD_NOT_LINKED"
    assert town.ask("GET", f"{OWN}/server-invite", token=None).status == 401
    town.put(ANN)
    town.discord.busy = DiscordBusy(429, 7.2)
    busy = ann.go("GET", f"/own{OWN}/server-invite")
    assert (busy.status, busy.headers["retry-after"]) == (503, "8")
    town.discord.busy = None
    first, again = (ann.go("GET", f"/own{OWN}/server-invite").json for _ in "ab")
    assert first == {
        "url": "https://discord.gg/hTKzmak",
        "code": "hTKzmak",
        "expiresAt": "2026-11-28T09:00:00Z",
        "cached": False,
    }
    assert again == first | {"cached": True}


def test_refusals_come_in_their_order(town: Town):
    ann, stranger = town.sign_in(ANN), town.sign_in(77)
    town.put(ANN)
    now(town.organizations.create("Raiders", GUILD, lambda _: ()))
    assert town.refused(stranger) == (403, "NOT_ORGANIZATION_MEMBER")
    assert town.refused(ann) == (404, "NO_LINKED_DISCORD_SERVER")
    now(town.roster.put("o1", ANN))
    town.side.hub.apply(GuildRemoved(GUILD))
    raiders = ann.go("GET", "/own/organizations/o1/discord/server-invite")
    assert (raiders.status, raiders.code) == (409, "BOT_NOT_IN_SERVER")


def test_a_manager_syncs_roles_after_a_look_at_what_that_does(town: Town):
    path = f"{OWN}/sync-roles"
    for user, rank in ((INSIDER, "raider"), (OWNER, "chief"), (ANN, "raider")):
        town.put(user, rank)
    ranks = {"raider": f"{RAIDER}", "chief": f"{CHIEF}"}
    patch = msgspec.convert({"discordRankRoles": ranks}, SettingsPatch)
    now(town.organizations.change_settings(str(GUILD), patch))
    town.discord.top = 2
    town.guilds.forget(GUILD)
    assert town.sign_in(INSIDER).write("POST", f"/own{path}").code == "FORBIDDEN"
    wrong = town.ask("POST", f"{path}?dryRun=maybe")
    assert (wrong.status, wrong.json["error"]["details"]["key"]) == (400, "dryRun")
    owner = town.sign_in(OWNER)
    dry = owner.write("POST", f"/own{path}").json
    assert dry == {
        "dryRun": True,
        "guildId": f"{GUILD}",
        "members": [
            {
                "userId": f"{OWNER}",
                "rank": "chief",
                "inServer": True,
                "give": [],
                "take": [],
                "refused": [
                    {
                        "id": f"{CHIEF}",
                        "name": "Chief",
                        "code": "ROLE_NOT_ASSIGNABLE",
                        "reason": "above",
                        "message": "The role Chief cannot be given or taken:"
                        " it is not below the highest role of the bot.",
                    }
                ],
                "problem": None,
            },
            {
                "userId": f"{INSIDER}",
                "rank": "raider",
                "inServer": True,
                "give": [{"id": f"{RAIDER}", "name": "Raider"}],
                "take": [],
                "refused": [],
                "problem": None,
            },
            {
                "userId": f"{ANN}",
                "rank": "raider",
                "inServer": False,
                "give": [],
                "take": [],
                "refused": [],
                "problem": None,
            },
        ],
    }
    done = town.ask("POST", f"{path}?dryRun=false").json
    assert done == dry | {"dryRun": False}
    assert town.discord.members[INSIDER] == {RAIDER}
    log = town.side.ask("GET", "/audit").json["entries"]
    synced = [each["target"] for each in log if each["action"].endswith("sync-roles")]
    assert synced == [f"{GUILD}"]
