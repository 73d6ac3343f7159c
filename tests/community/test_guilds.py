"""Pictures of guilds: what Discord is asked, how often, and what they tell."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock

from voicestatus.community.guilds import FAILURE_KEPT_S, KEPT_S, GuildPicture, Guilds
from voicestatus.community.kept import Kept
from voicestatus.community.needs import needed_in
from voicestatus.community.refusals import said_no
from voicestatus.community.settings import OrganizationSettings
from voicestatus.core import permissions as bits
from voicestatus.core.bot_permissions import REQUESTED
from voicestatus.core.channels import in_order
from voicestatus.core.errors import Refusal
from voicestatus.core.permissions import Holder, Overwrite
from voicestatus.core.presence import (
    GuildArrived,
    GuildRemoved,
    GuildUpdated,
    Presence,
    SessionBegan,
)
from voicestatus.discord.rest import errors
from voicestatus.discord.rest.wire import Channel, Guild, Member, OwnUser, Role, User
from voicestatus.hub import Hub

GUILD, OWNER, BOT, PERSON = 1, 2, 3, 4
OWN, HIGH, LOW, MIGHTY, KEY, ADMINS = 11, 12, 13, 14, 15, 16
CATEGORY, TEXT, TALK, NEWS, SECRET = 20, 21, 22, 23, 24
ROLES = (
    Role(GUILD, "@everyone", bits.VIEW_CHANNEL, None),
    Role(OWN, "lamp", REQUESTED, BOT, position=1, managed=True),
    Role(LOW, "low", 0, None, position=1),
    Role(HIGH, "high", bits.MANAGE_GUILD, None, position=2),
)


def channel(id_: int, kind: int = 0, **more: Any) -> Channel:
    made = Channel(id_, f"channel {id_}", kind in {2, 13}, False, (), kind)
    return replace(made, **more)


CHANNELS = (
    channel(TALK, 2, parent=CATEGORY, position=0),
    channel(TEXT, parent=CATEGORY, position=7),
    channel(CATEGORY, 4),
    channel(NEWS, 5, position=9),
    channel(SECRET, overwrites=(Overwrite(GUILD, 0, bits.VIEW_CHANNEL),)),
)


def picture(*channels: Channel) -> GuildPicture:
    guild = Guild(GUILD, "Harbour", OWNER, None, ROLES, NEWS)
    return GuildPicture.of(guild, channels or CHANNELS, Holder(BOT, (OWN,)))


class FakeDiscord:
    """Answers at once, or when `gate` opens; `refuses` to tell of a guild."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gate: Deferred[None] = succeed(None)
        self.refuses: Exception | None = None
        self.timed_out_until: datetime | None = None

    async def own_user(self) -> OwnUser:
        self.asked.append("own user")
        return OwnUser(BOT, "lamp")

    async def guild(self, guild: int) -> Guild:
        self.asked.append("guild")
        await self.gate
        if self.refuses is not None:
            raise self.refuses
        return Guild(guild, "Harbour", OWNER, None, ROLES)

    async def channels(self, guild: int) -> tuple[Channel, ...]:
        self.asked.append("channels")
        return CHANNELS

    async def member(self, guild: int, user: int) -> Member:
        self.asked.append("member")
        return Member(User(user, "lamp"), (OWN,), timed_out_until=self.timed_out_until)


@pytest.fixture
def discord() -> FakeDiscord:
    return FakeDiscord()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hub() -> Hub:
    hub = Hub(Presence())
    hub.apply(SessionBegan(0, BOT, frozenset({GUILD})))
    hub.apply(GuildArrived(0, GUILD, "Harbour", None, (), ()))
    return hub


@pytest.fixture
def guilds(hub: Hub, discord: FakeDiscord, clock: Clock) -> Guilds:
    return Guilds(hub, discord, clock, clock.seconds)


def ask(guilds: Guilds, guild: int = GUILD) -> Any:
    """Return the picture, the code of a refusal, or None: it takes its time."""
    got: list[Any] = []
    Deferred.fromCoroutine(guilds.picture(guild)).addBoth(got.append)
    if not got:
        return None
    refusal = getattr(got[0], "value", None)
    return got[0] if refusal is None else refusal.code


# -- what it tells ---------------------------------------------------------------------


def test_roles_are_told_from_the_highest_to_everyones():
    assert [role.id for role in picture().roles] == [HIGH, OWN, LOW, GUILD]
    assert picture().role(LOW) == ROLES[2]
    assert picture().role(99) is None


def test_channels_are_told_as_people_see_them():
    # Without a category first; in one, text before voice, whatever their positions.
    assert [c.id for c in picture().channels] == [SECRET, NEWS, TEXT, TALK, CATEGORY]


def test_a_category_that_is_not_told_counts_as_none():
    lost = channel(30, parent=99, position=8)
    assert [c.id for c in in_order([*CHANNELS, lost])][:3] == [SECRET, lost.id, NEWS]


@given(st.permutations(CHANNELS))
def test_in_which_order_discord_tells_channels_means_nothing(told: list[Channel]):
    assert picture(*told).channels[:4] == picture().channels[:4]


def test_the_bot_may_what_its_role_gives_it():
    seen = picture()
    assert seen.may(REQUESTED)
    assert seen.missing() == ()
    assert not seen.may(bits.MANAGE_GUILD)
    assert not seen.may(bits.VIEW_CHANNEL, SECRET)
    assert [p.name for p in seen.missing(bits.VIEW_CHANNEL, SECRET)] == [
        "View Channels"
    ]


def test_others_may_what_theirs_give_them():
    seen, manager = picture(), Holder(PERSON, (HIGH,))
    assert seen.may(bits.MANAGE_GUILD, holder=manager)
    assert not seen.may(bits.MANAGE_GUILD, holder=Holder(PERSON))
    assert seen.visible_to(manager) == {NEWS, TEXT, TALK, CATEGORY}
    assert SECRET in seen.visible_to(Holder(OWNER))


def test_a_channel_that_is_hidden_from_the_bot_is_seen_by_nobody():
    hidden = picture(channel(SECRET, hidden=True))
    assert hidden.visible_to(Holder(OWNER)) == frozenset()


def test_in_a_channel_that_is_not_there_nobody_may_anything():
    assert not picture().may(bits.VIEW_CHANNEL, 99, Holder(OWNER))


def test_what_matters_in_a_channel_is_what_the_organization_uses_it_for():
    used = OrganizationSettings(
        discord_overview_channel_ids=(NEWS, TALK),
        discord_announcement_channel_id=TEXT,
        discord_voice_channel_id=TALK,
    )
    needs = needed_in(used, picture())
    view, history = bits.VIEW_CHANNEL, bits.READ_MESSAGE_HISTORY
    of_events = bits.CONNECT | bits.CREATE_EVENTS | bits.MANAGE_EVENTS
    assert needs == {
        NEWS: view | history | bits.CREATE_INSTANT_INVITE,
        TALK: view | of_events,
        TEXT: view | bits.SEND_MESSAGES | bits.EMBED_LINKS,
    }
    without = OrganizationSettings(
        discord_invite_channel_id=NEWS,
        discord_voice_channel_id=TALK,
        discord_events_enabled=False,
    )
    assert needed_in(without, picture()) == {NEWS: view | bits.CREATE_INSTANT_INVITE}


# -- how often Discord is asked --------------------------------------------------------


def test_a_bot_that_is_timed_out_looks_and_does_nothing_else(guilds, discord, clock):
    discord.timed_out_until = datetime.fromtimestamp(KEPT_S, UTC)
    seen = ask(guilds)
    assert seen.may(bits.VIEW_CHANNEL, TEXT)
    assert not seen.may(bits.CREATE_INSTANT_INVITE, TEXT)
    clock.advance(KEPT_S)
    assert ask(guilds).may(bits.CREATE_INSTANT_INVITE, TEXT)


def test_one_picture_is_for_all_who_ask_within_30_seconds(guilds, discord, clock):
    first = ask(guilds)
    clock.advance(KEPT_S - 1)
    assert ask(guilds) is first
    assert discord.asked == ["guild", "channels", "member"]
    clock.advance(1)
    assert ask(guilds) is not first


def test_who_asks_meanwhile_waits_for_the_same_answer(guilds, discord):
    discord.gate = Deferred()
    got: list[GuildPicture] = []
    waiting = [Deferred.fromCoroutine(guilds.picture(GUILD)) for _ in range(3)]
    for each in waiting[1:]:
        each.addCallback(got.append)
    left = waiting[0].addErrback(lambda failure: failure.trap(CancelledError))
    waiting[0].cancel()  # who goes away takes it from nobody else
    discord.gate.callback(None)
    assert left.result is CancelledError
    assert len(got) == 2
    assert discord.asked.count("guild") == 1


@pytest.mark.parametrize("how", ["forgotten", "changed"])
def test_a_picture_is_made_anew_after(guilds, discord, hub, how):
    first = ask(guilds)
    if how == "forgotten":
        guilds.forget(GUILD)
    else:
        hub.apply(GuildUpdated(GUILD, "Port", None))
    assert ask(guilds) is not first


def test_before_discord_has_said_who_we_are_it_is_asked(discord, clock):
    seen = ask(Guilds(Hub(Presence()), discord, clock, clock.seconds))
    assert seen.own.user == BOT
    assert discord.asked[0] == "own user"


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (errors.UnknownGuild(404, 10004, "Unknown Guild"), "BOT_NOT_IN_SERVER"),
        (errors.MissingAccess(403, 50001, "Missing Access"), "BOT_NOT_IN_SERVER"),
        (errors.DiscordUnreachable("away"), "DISCORD_UNAVAILABLE"),
    ],
)
def test_a_refusal_is_kept_for_a_moment(guilds, discord, clock, refusal, code):
    discord.refuses = refusal
    assert [ask(guilds), ask(guilds)] == [code, code]
    assert discord.asked == ["guild"]
    discord.refuses = None
    clock.advance(FAILURE_KEPT_S)
    assert isinstance(ask(guilds), GuildPicture)


def test_where_the_bot_is_not_discord_is_not_asked(guilds, discord, hub):
    hub.apply(GuildRemoved(GUILD))
    assert ask(guilds) == "BOT_NOT_IN_SERVER"
    assert discord.asked == []
    with pytest.raises(Refusal) as refused:
        guilds.tracked(GUILD)
    assert refused.value.code == "GUILD_NOT_FOUND"


def test_at_the_end_nobody_waits_on(guilds, discord):
    discord.gate = Deferred()
    waiting = Deferred.fromCoroutine(guilds.picture(GUILD))
    guilds.close()
    assert waiting.addErrback(lambda failure: failure.type).result is CancelledError


def test_no_more_answers_are_kept_than_it_may(clock):
    asked = []

    async def answer(key: int) -> int:
        asked.append(key)
        return key

    kept = Kept(answer, lambda _: 10.0, clock, most=2)
    for key in (1, 2, 3, 3, 1):
        Deferred.fromCoroutine(kept.get(key))
    assert asked == [1, 2, 3, 1]


# -- what Discord's errors are here ----------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "details"),
    [
        (
            errors.MissingPermissions(403, 50013, "no"),
            "MISSING_PERMISSION",
            {"discordCode": 50013},
        ),
        (errors.MaximumInvites(400, 30016, "no"), "INVITE_LIMIT", {}),
        (errors.DiscordBusy(429, 1.2), "DISCORD_UNAVAILABLE", {"retryAfterS": 2}),
        (errors.DiscordBusy(429, 0.0), "DISCORD_UNAVAILABLE", {"retryAfterS": 1}),
        (errors.DiscordBusy(500, 0.0), "DISCORD_UNAVAILABLE", {}),
        (errors.TooManyRefusals(60.0), "DISCORD_UNAVAILABLE", {"retryAfterS": 60}),
        (errors.DiscordRefused(400, 7, "no"), "DISCORD_ERROR", {"discordCode": 7}),
    ],
)
def test_an_error_of_discords_is_answered_in_our_words(error, code, details):
    said = said_no(error)
    assert (said.code, said.details) == (code, details)


def test_a_defect_is_no_answer():
    with pytest.raises(KeyError):
        said_no(KeyError("ours"))


@pytest.mark.parametrize(
    ("role", "holder", "beyond"),
    [
        (LOW, Holder(PERSON, (HIGH,)), False),
        (HIGH, Holder(PERSON, (HIGH,)), False),
        (HIGH, Holder(PERSON, (LOW,)), True),  # it is higher
        (LOW, Holder(PERSON), True),
        (MIGHTY, Holder(PERSON, (HIGH,)), True),  # it may more in the server
        (MIGHTY, Holder(PERSON, (HIGH,), timed_out=True), True),
        (KEY, Holder(PERSON, (HIGH,)), True),  # it opens a channel
        (KEY, Holder(PERSON, (HIGH, ADMINS)), False),
        (ADMINS, Holder(OWNER), False),
    ],
)
def test_nobody_has_a_role_that_is_higher_or_good_for_more(
    role: int, holder: Holder, beyond: bool
):
    more = (
        Role(MIGHTY, "mighty", bits.MANAGE_ROLES, None, position=1),
        Role(KEY, "key", 0, None, position=1),
        Role(ADMINS, "admins", bits.ADMINISTRATOR, None, position=9),
    )
    locked = channel(
        SECRET,
        overwrites=(
            Overwrite(GUILD, 0, bits.VIEW_CHANNEL),
            Overwrite(KEY, bits.VIEW_CHANNEL, 0),
        ),
    )
    guild = Guild(GUILD, "Harbour", OWNER, None, (*ROLES, *more), NEWS)
    seen = GuildPicture.of(guild, (locked,), Holder(BOT, (OWN,)))
    assert seen.is_beyond(role, holder) is beyond
