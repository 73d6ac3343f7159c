"""Who is in the linked server, and the invites that others get."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from itertools import count
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from voicestatus.community.application import OwnApplication
from voicestatus.community.guilds import Guilds
from voicestatus.community.invites import WHY, Invites, Unsure
from voicestatus.community.membership import Membership
from voicestatus.community.organizations import Organizations
from voicestatus.community.reauthorizing import Reauthorizing
from voicestatus.community.roster import Roster
from voicestatus.community.settings import SettingsPatch
from voicestatus.core.errors import Refusal
from voicestatus.core.guild import Channel
from voicestatus.core.guild_news import InviteDeleted, MemberJoined
from voicestatus.core.permissions import (
    CONNECT,
    CREATE_INSTANT_INVITE,
    VIEW_CHANNEL,
    Overwrite,
)
from voicestatus.core.presence import (
    ChannelDeleted,
    GuildArrived,
    GuildRemoved,
    Presence,
    SessionBegan,
)
from voicestatus.discord.rest import wire
from voicestatus.discord.rest.errors import (
    DiscordBusy,
    DiscordRefused,
    DiscordUnreachable,
    MaximumInvites,
    MissingAccess,
    MissingPermissions,
    UnknownChannel,
    UnknownGuild,
    UnknownInvite,
    UnknownMember,
)
from voicestatus.discord.rest.invites import Invite
from voicestatus.hub import Hub
from voicestatus.store.memory import MemoryStore

GUILD, ME, APP = 101, 301, 900
ANN, BEA, INSIDER = 1, 2, 3
HALL, NEWS, ROOM, LOUNGE = 201, 202, 203, 204
KINDS = {HALL: 0, NEWS: 5, ROOM: 2, LOUNGE: 0}
NOW = 1_795_000_000.0
WEEK_S, HOUR_S = 604_800, 3600


class Discord:
    """One server where the bot may invite, but where `denied`; `errors` come first."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._codes = clock, count(1)
        self.denied: dict[int, int] = {}
        self.insiders = {ME, INSIDER}
        self.member_error: Exception | None = None
        self.errors: list[Exception] = []
        self.gate: Deferred[None] | None = None
        self.stand: set[str] = set()
        self.made: list[tuple[int, dict[str, Any]]] = []
        self.looked_up: list[str] = []

    async def application(self) -> wire.Application:
        return wire.Application(APP, 0)

    async def guild(self, guild: int) -> wire.Guild:
        may = VIEW_CHANNEL | CREATE_INSTANT_INVITE | CONNECT
        everyone = wire.Role(guild, "@everyone", may, None)
        return wire.Guild(guild, "The Guild", 999, None, (everyone,), LOUNGE)

    async def channels(self, guild: int) -> tuple[wire.Channel, ...]:
        return tuple(
            wire.Channel(
                id_,
                f"{id_}",
                kind == 2,
                False,
                (Overwrite(GUILD, 0, self.denied.get(id_, 0)),),
                kind,
            )
            for id_, kind in KINDS.items()
        )

    async def member(self, guild: int, user: int) -> wire.Member:
        if self.member_error is not None:
            raise self.member_error
        if user not in self.insiders:
            raise UnknownMember(404, 10007, "Unknown Member")
        return wire.Member(wire.User(user, f"user {user}"), ())

    async def create_invite(self, channel: int, **how: Any) -> Invite:
        self.made.append((channel, how))
        if self.gate is not None:
            await self.gate
        if self.errors:
            raise self.errors.pop(0)
        code = f"code{next(self._codes)}"
        self.stand.add(code)
        ends = NOW + self._clock.seconds() + how["max_age_s"]
        return Invite(code, datetime.fromtimestamp(ends, UTC))

    async def invite(self, code: str) -> Invite:
        self.looked_up.append(code)
        if code not in self.stand:
            raise UnknownInvite(404, 10006, "Unknown Invite")
        return Invite(code)


class Club:
    """The organization of one server, whose members ask for invites."""

    def __init__(self, *, told: bool = True) -> None:
        self.clock, store = Clock(), MemoryStore()
        store.startService()
        self.discord, self.hub = Discord(self.clock), Hub(Presence())
        channels = tuple(Channel(id_, f"{id_}", kind) for id_, kind in KINDS.items())
        if told:
            self.hub.apply(SessionBegan(0, ME, frozenset({GUILD})))
            self.hub.apply(GuildArrived(0, GUILD, "The Guild", None, channels, ()))
        guilds = Guilds(self.hub, self.discord, self.clock, self.clock.seconds)
        self.organizations = Organizations(
            store, self.hub, guilds, self._wall, lambda: "x"
        )
        self.membership = Membership(self.discord, guilds, Roster(store), self.clock)
        application = OwnApplication(self.discord, self.clock)
        self.invites = Invites(
            self.discord,
            guilds,
            self.organizations,
            self.membership,
            Reauthorizing(application),
            self.clock,
            self._wall,
        )
        self.invites.startService()

    def _wall(self) -> float:
        return NOW + self.clock.seconds()

    def set(self, **settings: Any) -> None:
        patch = msgspec.convert(settings, SettingsPatch)
        now(self.organizations.change_settings(str(GUILD), patch, may_relink=True))

    def of(self, id_: object = GUILD) -> Any:
        return now(self.organizations.get(str(id_)))

    def asking(self, user: int = ANN) -> list[Any]:
        """Ask, and return where the answer will be."""
        got: list[Any] = []
        Deferred.fromCoroutine(self.invites.invite(self.of(), user)).addBoth(got.append)
        return got

    def ask(self, user: int = ANN) -> tuple[str, bool]:
        (got,) = self.asking(user)
        if isinstance(got, Failure):
            got.raiseException()
        return got.invite.code, got.cached

    def refused(self) -> Refusal:
        with pytest.raises(Refusal) as caught:
            self.ask()
        return caught.value

    @property
    def tried(self) -> list[int]:
        """The channels to which invites were wanted of Discord."""
        return [channel for channel, _ in self.discord.made]


def now(work: Coroutine[Deferred[Any], Any, Any]) -> Any:
    """Return what comes at once, or raise it."""
    got: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(got.append)
    (result,) = got
    if isinstance(result, Failure):
        result.raiseException()
    return result


def no(kind: type[DiscordRefused], code: int) -> DiscordRefused:
    return kind(403, code, "no")


@pytest.fixture
def club() -> Club:
    return Club()


# ---- handed out again --------------------------------------------------------------


def test_an_invite_is_good_for_a_week_and_handed_out_until_its_last_hour(club: Club):
    assert club.ask() == ("code1", False)
    assert club.discord.made == [
        (LOUNGE, {"max_age_s": WEEK_S, "max_uses": 0, "unique": False, "reason": WHY})
    ]
    kept = club.of().invites[LOUNGE]
    assert (kept.url, kept.expires_at) == ("https://discord.gg/code1", NOW + WEEK_S)
    assert club.ask(BEA) == ("code1", True)
    club.clock.advance(WEEK_S - HOUR_S - 1)
    assert club.ask() == ("code1", True)
    club.clock.advance(1)
    assert club.ask() == ("code2", False)


def test_a_code_is_looked_up_once_a_minute_and_made_anew_when_it_is_gone(club: Club):
    for _ in range(3):
        club.ask()
    assert club.discord.looked_up == ["code1"]
    club.discord.stand.clear()
    club.clock.advance(59)
    assert club.ask() == ("code1", True)
    club.clock.advance(1)
    assert club.ask() == ("code2", False)
    assert club.discord.looked_up == ["code1", "code1"]


def test_an_invite_that_is_told_to_be_deleted_is_made_anew_at_once(club: Club):
    club.ask()
    club.ask()
    club.invites.hear(InviteDeleted(GUILD, LOUNGE, "another"))
    club.invites.hear(MemberJoined(GUILD, ANN))
    assert club.ask() == ("code1", True)
    club.invites.hear(InviteDeleted(GUILD, LOUNGE, "code1"))
    club.invites.hear(InviteDeleted(102, LOUNGE, "code1"))
    assert club.of().invites == {}
    assert club.ask() == ("code2", False)


def test_each_channel_has_its_own_until_another_is_chosen_for_invites(club: Club):
    club.ask()
    club.set(discordAnnouncementChannelId=str(NEWS))
    assert club.ask() == ("code2", False)
    club.set(discordAnnouncementChannelId=None)
    assert club.ask() == ("code1", True)
    club.set(discordInviteChannelId=str(HALL))
    assert club.of().invites == {}
    assert club.ask() == ("code3", False)
    assert club.tried == [LOUNGE, NEWS, HALL]


def test_who_asks_together_shares_one_creation(club: Club):
    gate = club.discord.gate = Deferred()
    asking = [club.asking(user) for user in (ANN, BEA, ANN)]
    gate.callback(None)
    assert {got.invite.code for (got,) in asking} == {"code1"}
    gate = club.discord.gate = Deferred()
    club.discord.errors = [no(MaximumInvites, 30016)]
    club.clock.advance(WEEK_S)
    asking = [club.asking(user) for user in (ANN, BEA)]
    gate.callback(None)
    assert [got.value.code for (got,) in asking] == ["INVITE_LIMIT"] * 2
    assert len(club.tried) == 2


def test_a_stop_lets_nobody_wait(club: Club):
    club.discord.gate = Deferred()
    asking = club.asking()
    club.invites.stopService()
    assert asking[0].check(CancelledError)


# ---- to which channel --------------------------------------------------------------


def test_a_channel_that_was_deleted_gives_way_to_the_next(club: Club):
    club.set(discordInviteChannelId=str(HALL), discordOverviewChannelIds=[str(ROOM)])
    club.ask()
    club.hub.apply(ChannelDeleted(GUILD, HALL))
    assert club.ask() == ("code2", False)
    assert club.tried == [HALL, ROOM]
    # One of which nobody has told yet that it is gone.
    club.clock.advance(WEEK_S)
    club.discord.errors = [no(UnknownChannel, 10003)]
    assert club.ask() == ("code3", False)
    assert club.tried[2:] == [ROOM, LOUNGE]
    assert {*club.of().invites} == {LOUNGE}


def test_the_next_channel_is_tried_once(club: Club):
    club.discord.errors = [no(UnknownChannel, 10003), no(UnknownChannel, 10003)]
    assert club.refused().code == "DISCORD_ERROR"
    assert club.tried == [LOUNGE, HALL]


def test_where_the_bot_may_invite_nowhere_there_is_no_channel(club: Club):
    club.discord.denied = dict.fromkeys(KINDS, CREATE_INSTANT_INVITE)
    assert club.refused().code == "NO_INVITE_CHANNEL"
    assert club.tried == []


# ---- refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "denied", "missing"),
    [
        (HALL, CREATE_INSTANT_INVITE, ["Create Instant Invite"]),
        (HALL, VIEW_CHANNEL, ["View Channels", "Create Instant Invite"]),
        (ROOM, CONNECT, ["Create Instant Invite", "Connect"]),
    ],
)
def test_a_missing_permission_is_named_until_it_is_granted(
    club: Club, channel: int, denied: int, missing: list[str]
):
    club.set(discordOverviewChannelIds=[str(channel)])
    club.discord.denied = {channel: denied}
    refusal = club.refused()
    assert refusal.code == "MISSING_PERMISSION"
    assert [each["name"] for each in refusal.details["missing"]] == missing
    assert refusal.details["channelId"] == str(channel)
    assert f"client_id={APP}&" in refusal.details["reauthorizeUrl"]
    assert f"&guild_id={GUILD}&" in refusal.details["reauthorizeUrl"]
    assert club.tried == [], "refusals bring Discord's ban nearer"
    club.discord.denied = {}
    assert club.ask() == ("code1", False)


@pytest.mark.parametrize(
    ("error", "code", "details"),
    [
        (no(MissingPermissions, 50013), "MISSING_PERMISSION", "Create Instant Invite"),
        (no(MissingAccess, 50001), "MISSING_PERMISSION", "View Channels"),
        (no(MaximumInvites, 30016), "INVITE_LIMIT", ""),
        (DiscordBusy(429, 7.2), "DISCORD_UNAVAILABLE", "'retryAfterS': 8"),
        (DiscordUnreachable("no answer"), "DISCORD_UNAVAILABLE", ""),
        (DiscordRefused(204, 0, "paused"), "DISCORD_ERROR", ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_discord_refuses_is_said_and_tried_again_the_next_time(
    club: Club, error: Exception, code: str, details: str
):
    club.discord.errors = [error]
    refusal = club.refused()
    assert refusal.code == code
    assert details in str(refusal.details)
    assert club.ask() == ("code1", False)


def test_nothing_is_handed_out_that_cannot_be_looked_up(club: Club):
    club.ask()

    async def away(code: str) -> Invite:
        raise DiscordBusy(503, 0.0)

    club.discord.invite = away
    assert club.refused().code == "DISCORD_UNAVAILABLE"


def test_who_is_inside_is_not_invited_nor_anybody_without_a_server(club: Club):
    (inside,) = club.asking(INSIDER)
    assert inside.value.code == "ALREADY_IN_DISCORD_SERVER"
    club.hub.apply(GuildRemoved(GUILD))
    now(club.organizations.create("Raiders", None, lambda _: ()))
    raiders = club.of("ox")
    with pytest.raises(Refusal) as caught:
        now(club.invites.invite(raiders, ANN))
    assert caught.value.code == "NO_LINKED_DISCORD_SERVER"
    assert club.tried == []


# ---- who is inside -----------------------------------------------------------------


def leave(club: Club) -> None:
    club.hub.apply(GuildRemoved(GUILD))


def fail(error: Exception) -> Callable[[Club], None]:
    def fail(club: Club) -> None:
        club.discord.member_error = error

    return fail


@pytest.mark.parametrize(
    ("user", "happens", "answer"),
    [
        (INSIDER, None, True),
        (ANN, None, False),
        (None, None, Unsure.NOT_LINKED),
        (ANN, leave, Unsure.NO_BOT),
        (ANN, fail(no(UnknownGuild, 10004)), Unsure.NO_BOT),
        (ANN, fail(no(MissingAccess, 50001)), Unsure.NO_BOT),
        (ANN, fail(DiscordUnreachable("no answer")), Unsure.UNKNOWN),
        (ANN, fail(no(DiscordRefused, 0)), Unsure.UNKNOWN),
    ],
    ids=[
        "inside",
        "outside",
        "no account",
        "no bot any more",
        "no such server",
        "no access",
        "away",
        "another no",
    ],
)
def test_only_discords_word_that_somebody_is_no_member_means_no(
    club: Club, user: int | None, happens: Any, answer: object
):
    organization = club.of()
    if happens is not None:
        happens(club)
    assert now(club.invites.inside(organization, user)) == answer


def test_without_a_server_nobody_can_say_who_is_inside(club: Club):
    now(club.organizations.create("Raiders", None, lambda _: ()))
    assert now(club.invites.inside(club.of("ox"), ANN)) is Unsure.NO_SERVER


def test_until_discord_names_its_servers_the_bot_is_not_said_to_be_gone(club: Club):
    organization, young = club.of(), Club(told=False)
    assert now(young.invites.inside(organization, ANN)) is Unsure.UNKNOWN
    with pytest.raises(Refusal) as caught:
        now(young.invites.invite(organization, ANN))
    assert caught.value.code == "DISCORD_UNAVAILABLE"
