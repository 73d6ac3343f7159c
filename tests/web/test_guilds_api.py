"""`/discord`: what is told of a server, in which shape, and to whom."""

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from voicestatus.community.activity import Activity
from voicestatus.community.application import OwnApplication
from voicestatus.community.guilds import Guilds
from voicestatus.community.settings import OrganizationSettings
from voicestatus.core import permissions as bits
from voicestatus.core.bot_permissions import NEEDED, REQUESTED
from voicestatus.core.errors import Refusal
from voicestatus.core.permissions import Overwrite
from voicestatus.core.presence import GuildArrived, Presence, SessionBegan
from voicestatus.discord.rest.errors import DiscordBusy, UnknownGuild
from voicestatus.discord.rest.wire import (
    Application,
    Channel,
    Guild,
    Member,
    OwnUser,
    Role,
    User,
)
from voicestatus.hub import Hub
from voicestatus.web.api.guilds import GuildsSubject

GUILD, OWNER, BOT, OWN, MODS = 1, 2, 3, 11, 12
CATEGORY, TEXT, TALK, NEWS, FORUM, SECRET = 20, 21, 22, 23, 24, 25
HIDING = (Overwrite(GUILD, 0, bits.VIEW_CHANNEL),)
SILENT = (Overwrite(GUILD, 0, bits.SEND_MESSAGES),)


class FakeDiscord:
    """One server; its bot was authorized long ago, without Create Events."""

    def __init__(self) -> None:
        self.refuses: Exception | None = None
        self.held = REQUESTED & ~bits.CREATE_EVENTS

    async def own_user(self) -> OwnUser:
        return OwnUser(BOT, "lamp")

    async def application(self) -> Application:
        return Application(900, 0)

    async def guild(self, guild: int) -> Guild:
        if self.refuses is not None:
            raise self.refuses
        roles = (
            Role(GUILD, "@everyone", 0, None),
            Role(OWN, "lamp", self.held, BOT, position=1, managed=True),
            Role(MODS, "Mods", 0, None, 0xFF0000, 2, mentionable=True),
        )
        return Guild(guild, "Harbour", OWNER, None, roles)

    async def channels(self, guild: int) -> tuple[Channel, ...]:
        return (
            Channel(TALK, "Lounge", True, False, (), 2, CATEGORY, 0),
            Channel(TEXT, "general", False, False, (), 0, CATEGORY, 3),
            Channel(CATEGORY, "Town", False, False, (), 4, None, 1),
            Channel(NEWS, "news", False, False, SILENT, 5, None, 5),
            Channel(FORUM, "forum", False, False, (), 15, None, 0),
            Channel(SECRET, "secret", False, False, HIDING, 0, None, 0),
        )

    async def member(self, guild: int, user: int) -> Member:
        return Member(User(user, "lamp"), (OWN,))

    async def messages(self, channel: int, *, limit: int) -> tuple[()]:
        return ()


class FakePermits:
    """Lets all in, unless it `refuses`; `seen` are the channels that one sees."""

    def __init__(self) -> None:
        self.refuses: str | None = None
        self.manages = True
        self.seen: frozenset[int] | None = None

    async def manager(self, caller: Any, guild: int) -> None:
        await self.sees(caller, guild)
        if not self.manages:
            raise Refusal("FORBIDDEN", "no")

    async def sees(self, caller: Any, guild: int) -> frozenset[int] | None:
        if guild != GUILD:
            raise Refusal("GUILD_NOT_FOUND", "no")
        if self.refuses is not None:
            raise Refusal(self.refuses, "no")
        return self.seen


class Served:
    """The subject over all of these."""

    def __init__(self, side: Any, serve: Any) -> None:
        clock, hub = Clock(), Hub(Presence())
        hub.apply(SessionBegan(0, BOT, frozenset({GUILD})))
        hub.apply(GuildArrived(0, GUILD, "Harbour", None, (), ()))
        self.discord, self.permits = FakeDiscord(), FakePermits()
        self.settings: OrganizationSettings | None = OrganizationSettings(
            discord_overview_channel_ids=(TEXT, 99),
            discord_announcement_channel_id=NEWS,
        )
        guilds = Guilds(hub, self.discord, clock, clock.seconds)
        application = OwnApplication(self.discord, clock)
        activity = Activity(guilds, self.discord, application, clock, side.wall)
        subject = GuildsSubject(guilds, activity, application, self, self.permits)
        self._ask = serve(side, subject)

    async def of_guild(self, guild: int) -> Any:
        found = self.settings
        return None if found is None else SimpleNamespace(settings=found)

    def ask(self, path: str, **how: Any) -> Any:
        return self._ask("GET", f"/discord/{path}", **how)


@pytest.fixture
def served(side: Any, serve: Any) -> Served:
    return Served(side, serve)


ALL_OF_A_GUILD = [
    f"{GUILD}/{e}" for e in ("permissions", "channels", "roles", "activity")
]


def names(permissions: Any) -> list[str]:
    return [each["name"] for each in permissions]


def test_the_bots_invitation_lists_all_that_it_needs(served):
    said = served.ask("bot-invite").json
    assert said["permissions"] == "17601045548033"
    assert said["clientId"] == "900"
    assert said["url"] == (
        "https://discord.com/oauth2/authorize?client_id=900"
        "&scope=bot+applications.commands&permissions=17601045548033"
    )
    required = said["requiredPermissions"]
    assert set(names(required)) == {
        "View Channels",
        "Read Message History",
        "Send Messages",
        "Embed Links",
        "Create Instant Invite",
        "Connect",
        "Manage Roles",
        "Manage Events",
        "Create Events",
    }
    assert sum(int(each["bit"]) for each in required) == 17601045548033
    assert all(each["neededFor"] for each in required)
    chosen = served.ask("bot-invite?guildId=42").json["url"]
    assert chosen == f"{said['url']}&guild_id=42&disable_guild_select=true"


def test_what_the_bot_lacks_is_named_and_where_it_is_to_be_had(served):
    health = served.ask(f"{GUILD}/permissions").json
    assert names(health["missing"]) == ["Create Events"]
    assert set(names(health["granted"])) == {p.name for p in NEEDED} - {"Create Events"}
    assert health["reauthorizeUrl"].endswith(
        f"&guild_id={GUILD}&disable_guild_select=true"
    )
    general, gone, news = health["channels"]
    assert (general["id"], general["name"], general["missing"]) == (
        str(TEXT),
        "general",
        [],
    )
    assert (gone["name"], names(gone["missing"])) == (None, ["View Channels"])
    # In a channel less may be allowed than in the server.
    assert (news["name"], names(news["missing"])) == (
        "news",
        ["Send Messages", "Embed Links"],
    )


def test_a_server_of_no_organization_has_no_channels_in_use(served):
    served.settings = None
    assert served.ask(f"{GUILD}/permissions").json["channels"] == []


def test_channels_are_listed_as_people_see_them(served):
    channels = served.ask(f"{GUILD}/channels").json
    assert [(each["name"], each["type"]) for each in channels] == [
        ("news", "announcement"),
        ("general", "text"),
        ("Lounge", "voice"),
    ]
    assert channels[0]["parentId"] is channels[0]["parentName"] is None
    assert channels[1] == {
        "id": str(TEXT),
        "name": "general",
        "type": "text",
        "parentId": str(CATEGORY),
        "parentName": "Town",
        "position": 3,
    }


def test_roles_are_listed_from_the_highest_without_everyones(served):
    roles = served.ask(f"{GUILD}/roles").json
    assert [each["name"] for each in roles] == ["Mods", "lamp"]
    assert roles[0] == {
        "id": str(MODS),
        "name": "Mods",
        "color": 0xFF0000,
        "position": 2,
        "managed": False,
        "mentionable": True,
    }


def test_activity_is_of_the_channels_that_one_asks_for_and_sees(served):
    served.permits.seen = frozenset({TEXT})
    shown = served.ask(f"{GUILD}/activity?channelIds={TEXT},%20{NEWS},{TEXT}&limit=20")
    assert [each["id"] for each in shown.json["textChannels"]] == [str(TEXT)]
    assert shown.json["unavailable"] == [
        {"channelId": str(NEWS), "reason": "CHANNEL_NOT_FOUND"}
    ]
    assert shown.json["contentAvailable"] is False
    assert len(served.ask(f"{GUILD}/activity").json["textChannels"]) == 1


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("limit=21", "limit"),
        ("limit=0", "limit"),
        ("limit=many", "limit"),
        ("channelIds=", "channelIds"),
        ("channelIds=1,x", "channelIds"),
        ("channelIds=" + ",".join(map(str, range(1, 27))), "channelIds"),
        ("channel=1", "channel"),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(served, query, key):
    answer = served.ask(f"{GUILD}/activity?{query}")
    assert (answer.status, answer.code) == (400, "VALIDATION_FAILED")
    assert answer.json["error"]["details"]["key"] == key


@pytest.mark.parametrize("path", ALL_OF_A_GUILD)
def test_who_may_not_is_told_why(served, path):
    assert served.ask(path, token=None).status == 401
    for code, status in (("NOT_ORGANIZATION_MEMBER", 403), ("DISCORD_NOT_LINKED", 403)):
        served.permits.refuses = code
        answer = served.ask(path)
        assert (answer.status, answer.code) == (status, code)


def test_a_member_who_does_not_manage_it_is_told_its_activity_alone(served):
    served.permits.manages, served.permits.seen = False, frozenset()
    *managed, activity = ALL_OF_A_GUILD
    assert {served.ask(path).code for path in managed} == {"FORBIDDEN"}
    assert served.ask(activity).status == 200


@pytest.mark.parametrize("path", ALL_OF_A_GUILD)
def test_what_discord_refuses_is_answered(served, path):
    served.discord.refuses = UnknownGuild(404, 10004, "Unknown Guild")
    answer = served.ask(path)
    assert (answer.status, answer.code) == (409, "BOT_NOT_IN_SERVER")


def test_while_discord_is_busy_it_is_said_for_how_long(served):
    served.discord.refuses = DiscordBusy(429, 2.5)
    answer = served.ask(f"{GUILD}/roles")
    assert (answer.status, answer.code) == (503, "DISCORD_UNAVAILABLE")
    assert answer.headers["retry-after"] == "3"


@pytest.mark.parametrize("guild", ["2", f"0{GUILD}", "x", "%00", "9" * 400, "٣"])
def test_another_server_is_not_there(served, guild):
    path = guild if guild.isascii() else "%D9%A3"
    for part in ("permissions", "channels", "roles", "activity"):
        answer = served.ask(f"{path}/{part}")
        assert (answer.status, answer.code) == (404, "GUILD_NOT_FOUND")
