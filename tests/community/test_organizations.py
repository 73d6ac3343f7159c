"""Organizations, their settings and rosters: what is kept, and what is refused."""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from voicestatus.community.guilds import Guilds
from voicestatus.community.organizations import (
    CachedInvite,
    Organization,
    Organizations,
)
from voicestatus.community.roster import Roster, RosterMember
from voicestatus.community.settings import SettingsPatch, patched
from voicestatus.core.errors import Refusal
from voicestatus.core.guild import Channel
from voicestatus.core.presence import GuildArrived, Presence, SessionBegan
from voicestatus.discord.rest import wire
from voicestatus.hub import Hub
from voicestatus.store.documents import Put
from voicestatus.store.memory import MemoryStore

GUILD, OTHER, THIRD = 101, 102, 103
HALL, NEWS, ROOM, STAGE, SHELF, ELSEWHERE = 201, 202, 203, 204, 205, 206
ME, ANN = 301, 302
BOTS, HIGH, LOW, TWITCH = 401, 402, 403, 404
NOW = 1_795_000_000.0
CHANNELS = tuple(
    Channel(id_, f"channel {id_}", kind)
    for id_, kind in ((HALL, 0), (NEWS, 5), (ROOM, 2), (STAGE, 13), (SHELF, 4))
)
KNOWN = {channel.id: channel for channel in CHANNELS}
AUDIT = Put("audit", "one", b"{}", expected=None)


class Discord:
    """Where the bot's role is above the low one, and below the high one."""

    async def own_user(self) -> wire.OwnUser:
        return wire.OwnUser(ME, "bot")

    async def guild(self, guild: int) -> wire.Guild:
        roles = (
            wire.Role(guild, "@everyone", 0, None),
            wire.Role(BOTS, "Bot", 0, None, position=5),
            wire.Role(HIGH, "Boss", 0, None, position=9),
            wire.Role(LOW, "Raider", 0, None, position=1),
            wire.Role(TWITCH, "Twitch", 0, None, position=2, managed=True),
        )
        return wire.Guild(guild, "The Guild", 999, None, roles)

    async def channels(self, guild: int) -> tuple[wire.Channel, ...]:
        return ()

    async def member(self, guild: int, user: int) -> wire.Member:
        return wire.Member(wire.User(user, "bot"), (BOTS,))


class Town:
    """Organizations over a store in memory; the bot is in three servers."""

    def __init__(self) -> None:
        self.store, self.hub, self.clock = MemoryStore(), Hub(Presence()), Clock()
        self.store.startService()
        self.hub.apply(SessionBegan(0, ME, frozenset({GUILD, OTHER, THIRD})))
        for guild in (GUILD, OTHER):
            channels = CHANNELS if guild == GUILD else (Channel(ELSEWHERE, "x", 0),)
            self.hub.apply(GuildArrived(0, guild, f"Guild {guild}", None, channels, ()))
        ids = count(1)
        self.all = Organizations(
            self.store,
            self.hub,
            Guilds(self.hub, Discord(), self.clock, self.clock.seconds),
            lambda: NOW + self.clock.seconds(),
            lambda: f"{next(ids)}",
        )
        self.roster = Roster(self.store)

    def patch(self, id_: object, *also: Any, admin: bool = True, **keys: Any) -> Any:
        body = msgspec.convert(keys, SettingsPatch)
        return now(self.all.change_settings(str(id_), body, *also, may_relink=admin))

    def make(self, guild: int | None = None, name: str = "Raiders") -> Organization:
        return now(self.all.create(name, guild, lambda _: ()))

    def links(self) -> dict[str, int | None]:
        return {each.id: each.guild for each in now(self.all.list())}


def now(work: Coroutine[Deferred[Any], Any, Any]) -> Any:
    """Return what comes at once, or raise it."""
    got: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(got.append)
    (result,) = got
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result


def refusal(do: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        do()
    return caught.value


@pytest.fixture
def town() -> Town:
    return Town()


def invite(channel: int, expires_at: float = NOW + 3600) -> CachedInvite:
    return CachedInvite("abc", "https://discord.gg/abc", channel, NOW, expires_at)


# ---- which there are, and whose server is whose ------------------------------------


def test_each_server_has_its_own_one_and_nothing_is_written_for_it(town: Town):
    assert town.links() == {f"{id_}": id_ for id_ in (GUILD, OTHER, THIRD)}
    own = now(town.all.get(f"{GUILD}"))
    assert (own.name, own.guild, own.version) == ("Guild 101", GUILD, None)
    assert now(town.all.of_guild(OTHER)).id == f"{OTHER}"
    assert now(town.all.of_guild(999)) is None
    assert town.store._documents == {}


@pytest.mark.parametrize(
    "id_", ["999", "0101", "\u0661\u0660\u0661", "o1", "", "9" * 5000]
)
def test_what_is_no_organization_is_none(town: Town, id_: str):
    why = refusal(lambda: now(town.all.get(id_)))
    assert why.code == "ORGANIZATION_NOT_FOUND"


def test_a_made_one_takes_a_server_and_gives_it_back(town: Town):
    town.patch(GUILD, discordInviteChannelId=f"{HALL}")
    now(town.all.keep_invite(f"{GUILD}", invite(HALL)))
    made = town.make(GUILD)
    assert (made.id, made.name, made.guild) == ("o1", "Raiders", GUILD)
    assert town.links()[f"{GUILD}"] is None
    own = now(town.all.get(f"{GUILD}"))
    # Without a server it has no channels; with it again they are as they were.
    assert (own.settings.discord_invite_channel_id, own.invites) == (None, {})
    assert now(town.all.of_guild(GUILD)) == made
    assert refusal(lambda: town.make(GUILD)).code == "GUILD_ALREADY_LINKED"
    mine = refusal(lambda: town.patch(GUILD, discordGuildId=f"{GUILD}"))
    assert mine.code == "GUILD_ALREADY_LINKED"
    assert refusal(lambda: town.make(999)).code == "GUILD_NOT_FOUND"
    town.patch(GUILD, eventAutoStart=False)
    now(town.all.delete(made.id))
    own = now(town.all.of_guild(GUILD))
    assert (own.id, own.settings.discord_invite_channel_id) == (f"{GUILD}", HALL)
    assert own.invites == {HALL: invite(HALL)}


def test_another_server_takes_along_what_is_there_alone(town: Town):
    made = town.make(GUILD)
    town.patch(
        made.id,
        discordOverviewChannelIds=[f"{ROOM}", f"{HALL}"],
        discordInviteChannelId=f"{NEWS}",
        discordRankRoles={"Raider": f"{LOW}"},
        eventAutoStart=False,
    )
    now(town.all.keep_invite(made.id, invite(NEWS)))
    asked = {"discordGuildId": f"{OTHER}"}
    assert refusal(lambda: town.patch(made.id, admin=False, **asked)).code == (
        "FORBIDDEN"
    )
    same = {"discordGuildId": f"{GUILD}"}
    assert town.patch(made.id, admin=False, **same).guild == GUILD
    after = town.patch(made.id, discordVoiceChannelId=None, **asked)
    settings = after.settings
    assert (after.guild, after.invites) == (OTHER, {})
    assert settings.discord_overview_channel_ids == ()
    assert settings.discord_invite_channel_id is None
    assert settings.discord_rank_roles == {}
    assert settings.event_auto_start is False
    # The server is looked at first, then what has to be in it.
    back = same | {"discordInviteChannelId": f"{HALL}"}
    assert town.patch(made.id, **back).settings.discord_invite_channel_id == HALL


def test_an_own_one_can_be_unlinked_and_linked_again(town: Town):
    assert town.patch(GUILD, discordGuildId=None).guild is None
    assert now(town.all.of_guild(GUILD)) is None
    made = town.make(GUILD)
    now(town.all.delete(made.id))
    assert now(town.all.of_guild(GUILD)) is None
    assert town.patch(GUILD, discordGuildId=f"{GUILD}").guild == GUILD
    assert town.patch(GUILD, discordGuildId=f"{OTHER}").guild == OTHER
    assert now(town.all.of_guild(OTHER)).id == f"{GUILD}"
    now(town.all.delete(f"{GUILD}"))
    assert town.links() == {f"{id_}": id_ for id_ in (GUILD, OTHER, THIRD)}
    assert town.store._documents == {}


GUILDS = st.sampled_from([GUILD, OTHER, None])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["make", "link", "delete"]), st.integers(0, 5), GUILDS
        ),
        max_size=12,
    )
)
def test_a_server_never_has_two(orders: list[tuple[str, int, int | None]]):
    town = Town()
    for order, n, guild in orders:
        ids = list(town.links())
        id_ = ids[n % len(ids)]
        with suppress(Refusal):  # the server is taken
            match order:
                case "make":
                    town.make(guild)
                case "link":
                    town.patch(id_, discordGuildId=guild and f"{guild}")
                case "delete":
                    now(town.all.delete(id_))
        links = town.links()
        assert {f"{GUILD}", f"{OTHER}", f"{THIRD}"} <= links.keys()
        for each in (GUILD, OTHER, THIRD):
            holders = [id_ for id_, guild in links.items() if guild == each]
            linked = now(town.all.of_guild(each))
            assert holders == ([] if linked is None else [linked.id])


# ---- settings ----------------------------------------------------------------------


def test_a_patch_changes_what_it_names_and_null_is_the_default(town: Town):
    overview = [f"{STAGE}", f"{HALL}", f"{ROOM}"]
    one = town.patch(GUILD, discordOverviewChannelIds=overview, eventAutoStart=False)
    assert one.settings.discord_overview_channel_ids == (STAGE, HALL, ROOM)
    two = town.patch(
        GUILD,
        discordOverviewChannelIds=None,
        attendanceRetentionDays=90,
        voiceAttendanceMode="auto",
    )
    assert two.settings.discord_overview_channel_ids == ()
    assert (two.settings.event_auto_start, two.version) == (False, one.version + 1)
    three = town.patch(GUILD, attendanceRetentionDays=None)
    assert three.settings.attendance_retention_days == 14
    assert town.patch(GUILD, voiceAttendanceMode="auto") == three


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("discordOverviewChannelIds", [f"{HALL}", f"{SHELF}"], "write or talk"),
        ("discordOverviewChannelIds", [f"{HALL}", f"{HALL}"], "twice"),
        ("discordOverviewChannelIds", [f"{ELSEWHERE}"], "no channel 206"),
        ("discordInviteChannelId", f"{ROOM}", "text or announcement"),
        ("discordAnnouncementChannelId", f"{STAGE}", "text or announcement"),
        ("discordVoiceChannelId", f"{NEWS}", "voice or stage"),
        ("discordVoiceChannelId", "999", "no channel 999"),
        ("discordRankRoles.Boss", {"Boss": "999"}, "no role 999"),
    ],
)
def test_what_is_not_in_the_server_is_refused(
    town: Town, key: str, value: Any, words: str
):
    name = key.partition(".")[0]
    why = refusal(lambda: town.patch(GUILD, **{name: value}))
    assert (why.code, why.details) == ("VALIDATION_FAILED", {"key": key})
    assert words in why.message
    unlinked = refusal(lambda: town.patch(town.make().id, **{name: value}))
    assert (unlinked.code, unlinked.details["key"]) == ("VALIDATION_FAILED", name)
    # Of a server that was not told of yet nothing can be said.
    late = refusal(lambda: town.patch(THIRD, **{name: value}))
    assert late.code == "DISCORD_UNAVAILABLE"


@pytest.mark.parametrize(
    ("role", "reason"), [(GUILD, "everyone"), (HIGH, "above"), (TWITCH, "managed")]
)
def test_a_role_that_the_bot_cannot_give_is_refused_by_name(
    town: Town, role: int, reason: str
):
    ranks = {"Raider": f"{LOW}", "Boss": f"{role}"}
    why = refusal(lambda: town.patch(GUILD, discordRankRoles=ranks))
    assert (why.code, why.details["reason"]) == ("ROLE_NOT_ASSIGNABLE", reason)
    assert why.details["key"] == "discordRankRoles.Boss"
    assert why.details["role"]["name"] in why.message
    kept = town.patch(GUILD, discordRankRoles={"Raider": f"{LOW}"})
    assert kept.settings.discord_rank_roles == {"Raider": LOW}


@given(st.builds(dict, st.dictionaries(st.sampled_from(list(KNOWN)), st.none())))
def test_any_order_of_channels_is_kept(chosen: dict[int, None]):
    wanted = [id_ for id_ in chosen if id_ != SHELF]
    patch = SettingsPatch(discord_overview_channel_ids=tuple(map(str, wanted)))
    settings = patched(Town().patch(GUILD).settings, patch, KNOWN)
    assert settings.discord_overview_channel_ids == tuple(wanted)


# ---- invites -----------------------------------------------------------------------


def test_invites_are_kept_one_a_channel_until_the_channel_is_another(town: Town):
    id_ = f"{GUILD}"
    for each in (invite(HALL), invite(NEWS), invite(ELSEWHERE)):
        kept = now(town.all.keep_invite(id_, each)).invites
    assert kept == {HALL: invite(HALL), NEWS: invite(NEWS)}
    assert now(town.all.forget_invites(id_, HALL)).invites == {NEWS: invite(NEWS)}
    # Another setting leaves them, and what is over goes with the next write.
    assert town.patch(GUILD, eventAutoStart=False).invites == {NEWS: invite(NEWS)}
    town.clock.advance(3600)
    later = invite(HALL, NOW + 9000)
    assert now(town.all.keep_invite(id_, later)).invites == {HALL: later}
    assert town.patch(GUILD, discordInviteChannelId=f"{HALL}").invites == {}
    now(town.all.keep_invite(id_, later))
    assert now(town.all.forget_invites(id_)).invites == {}


# ---- writing -----------------------------------------------------------------------


def test_who_comes_second_decides_again_and_both_are_kept(town: Town):
    write, late = town.store.write, [town]

    async def interrupted(*changes: Any, **more: Any) -> int:
        if late:
            late.pop().patch(GUILD, voiceAttendanceMode="track")
        return await write(*changes, **more)

    town.store.write = interrupted  # type: ignore[method-assign]
    both = town.patch(GUILD, AUDIT, attendanceRetentionDays=3).settings
    assert (both.voice_attendance_mode, both.attendance_retention_days) == ("track", 3)
    # Nothing changed, nothing is written: the entry would be there twice.
    town.patch(GUILD, AUDIT, attendanceRetentionDays=3)


def test_who_always_comes_second_is_told_so(town: Town):
    write, roster, numbers = town.store.write, town.roster, count(1)
    now(roster.put(f"{GUILD}", ANN, rank="Raider"))

    async def interrupted(*changes: Any, **more: Any) -> int:
        name = b'{"name":"%d"}' % next(numbers)
        await write(
            Put("organization", f"{GUILD}", name),
            Put("organization-member", f"{GUILD}:{ANN}", name, f"{GUILD}"),
        )
        return await write(*changes, **more)

    town.store.write = interrupted  # type: ignore[method-assign]
    for attempt in (
        town.all.rename(f"{GUILD}", "A"),
        town.all.delete(f"{GUILD}"),
        roster.put(f"{GUILD}", ANN, rank="Officer"),
        roster.remove(f"{GUILD}", ANN),
    ):
        assert refusal(lambda work=attempt: now(work)).code == "VERSION_CONFLICT"


def test_who_cannot_hear_a_change_does_not_undo_it(
    town: Town, nothing_is_left_behind: list[Any]
):
    def fail(*_: Any) -> None:
        raise ValueError

    town.roster.subscribe(fail)
    now(town.roster.put(f"{GUILD}", ANN, rank="Raider"))
    found = now(town.roster.get(f"{GUILD}", ANN))
    assert found is not None
    assert found.rank == "Raider"
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()


# ---- the roster --------------------------------------------------------------------


def test_a_roster_keeps_what_is_not_named_and_tells_what_changes(town: Town):
    roster, heard = town.roster, list[Any]()
    stop = roster.subscribe(lambda *told: heard.append(told))
    now(roster.put("o1", ANN, rank="Raider"))
    now(roster.put("o1", ANN, manager=True, may_name=True))
    now(roster.put("o1", ANN, AUDIT, rank="Officer"))
    now(roster.put("o1", ANN, AUDIT, rank="Officer"))
    officer = RosterMember(ANN, "Officer", manager=True)
    assert now(roster.get("o1", ANN)) == officer
    assert now(roster.of("o1")) == [officer]
    assert (now(roster.of("o2")), now(roster.of_user(ANN))) == ([], ["o1"])
    ranks = [(before and before.rank, after.rank) for _, before, after in heard]
    assert ranks == [
        (None, "Raider"),
        ("Raider", "Raider"),
        ("Raider", "Officer"),
    ]
    now(roster.remove("o1", ANN, may_name=True))
    assert heard.pop() == ("o1", officer, None)
    assert refusal(lambda: now(roster.remove("o1", ANN))).code == "MEMBER_NOT_FOUND"
    stop()


def test_only_an_admin_names_managers_and_takes_it_back(town: Town):
    roster = town.roster
    no = refusal(lambda: now(roster.put("o1", ANN, manager=True)))
    assert (no.code, now(roster.of("o1"))) == ("FORBIDDEN", [])
    now(roster.put("o1", ANN, manager=True, may_name=True))
    for attempt in (
        roster.put("o1", ANN, manager=False),
        roster.remove("o1", ANN),
    ):
        assert refusal(lambda work=attempt: now(work)).code == "FORBIDDEN"
    now(roster.put("o1", ANN, rank="Raider"))
    now(town.store.write(*now(roster.clearing("o1"))))
    assert town.store._documents == {}
