"""What goes on in a guild: which texts Discord is asked for, and who is told what."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from voicestatus.community.activity import (
    AT_ONCE,
    CHANNELS_MOST,
    KEPT_S,
    WITHIN_S,
    Activity,
    voice_channels,
)
from voicestatus.community.application import KEPT_S as APPLICATION_KEPT_S
from voicestatus.community.application import OwnApplication
from voicestatus.community.guilds import Guilds
from voicestatus.core import permissions as bits
from voicestatus.core.guild import Channel as TrackedChannel
from voicestatus.core.guild import Voice
from voicestatus.core.permissions import Overwrite
from voicestatus.core.presence import GuildArrived, Presence, SessionBegan
from voicestatus.discord.rest import errors
from voicestatus.discord.rest.messages import Attachment, Message
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

GUILD, OWNER, BOT, ADA, BO = 1, 2, 3, 4, 987654
TEXT, NEWS, MUTE, SECRET, TALK, STAGE, AFK = 21, 22, 23, 24, 31, 32, 33
VIEW, HISTORY = bits.VIEW_CHANNEL, bits.READ_MESSAGE_HISTORY
NOW = 1_795_000_000.0
CONTENT = 1 << 18
_encode = msgspec.json.encode


def text(
    id_: int,
    kind: int = 0,
    deny: int = 0,
    last: int | None = 500,
    made: type[Channel] = Channel,
) -> Channel:
    overwrites = (Overwrite(GUILD, 0, deny),)
    return made(id_, f"text {id_}", False, False, overwrites, kind, None, id_, last)


def talk(id_: int, kind: int = 2) -> Channel:
    return Channel(id_, f"talk {id_}", True, False, (), kind, None, id_)


def message(id_: int, channel: int = TEXT, **more: Any) -> Message:
    author = User(ADA, "ada", "Ada L.", avatar="abc")
    at = datetime(2026, 11, 21, 12, 0, id_, tzinfo=UTC)
    return Message(id_, channel, author, f"text {id_}", at, **more)


class FakeDiscord:
    """A guild with messages; a channel in `answers` answers as that says."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.shown = [text(TEXT), text(NEWS, 5), talk(TALK), talk(STAGE, 13), talk(AFK)]
        self.written: dict[int, list[Message]] = {}
        self.answers: dict[int, Any] = {}
        self.flags: Any = CONTENT

    async def own_user(self) -> OwnUser:
        return OwnUser(BOT, "lamp")

    async def guild(self, guild: int) -> Guild:
        everyone = Role(guild, "@everyone", VIEW | HISTORY | bits.CONNECT, None)
        return Guild(guild, "Harbour", OWNER, None, (everyone,))

    async def channels(self, guild: int) -> tuple[Channel, ...]:
        return tuple(self.shown)

    async def member(self, guild: int, user: int) -> Member:
        return Member(User(user, "lamp"), ())

    async def messages(self, channel: int, *, limit: int) -> tuple[Message, ...]:
        self.asked.append(channel)
        answer = self.answers.get(channel)
        if isinstance(answer, Exception):
            raise answer
        await (answer or succeed(None))
        newest = sorted(self.written.get(channel, ()), key=lambda m: -m.id)
        return tuple(newest[:limit])

    async def application(self) -> Application:
        self.asked.append("application")
        if isinstance(self.flags, Exception):
            raise self.flags
        return Application(900, self.flags)


class Scene:
    """An activity over a guild that Discord tells, and who asks for it."""

    def __init__(self) -> None:
        self.clock, self.discord = Clock(), FakeDiscord()
        self.hub = Hub(Presence())
        self.hub.apply(SessionBegan(0, BOT, frozenset({GUILD})))
        self.guilds = Guilds(self.hub, self.discord, self.clock, self.clock.seconds)
        self.application = OwnApplication(self.discord, self.clock)
        self.activity = Activity(
            self.guilds, self.discord, self.application, self.clock, self.wall
        )
        self.people()

    def wall(self) -> float:
        return NOW + self.clock.seconds()

    def people(self, *voices: Voice) -> None:
        rooms = (
            TrackedChannel(TALK, "talk", 2, None, 1),
            TrackedChannel(STAGE, "stage", 13, None, 2),
            TrackedChannel(AFK, "afk", 2, None, 3),
            TrackedChannel(SECRET, "___hidden___", 2, None, 0, hidden=True),
            TrackedChannel(TEXT, "text", 0, None, 0),
        )
        self.hub.apply(GuildArrived(0, GUILD, "Harbour", AFK, rooms, voices))

    def begin(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Ask; the list gets what the page shows as soon as it is there."""
        got: list[Any] = []
        asked = Deferred.fromCoroutine(self.activity.of(GUILD, *args, **kwargs))
        asked.addCallback(lambda shown: got.append(json.loads(_encode(shown))))
        return got

    def ask(self, *args: Any, **kwargs: Any) -> Any:
        (shown,) = self.begin(*args, **kwargs)
        return shown


@pytest.fixture
def scene() -> Scene:
    return Scene()


def left_out(shown: Any) -> dict[int, str]:
    return {int(each["channelId"]): each["reason"] for each in shown["unavailable"]}


# -- texts -----------------------------------------------------------------------------


def test_a_message_is_shown_as_it_was_written(scene):
    edited = datetime(2026, 11, 21, 13, tzinfo=UTC)
    scene.discord.written[TEXT] = [
        message(7, edited_at=edited, attachments=(Attachment(), Attachment()))
    ]
    shown = scene.ask([TEXT])
    (channel,) = shown["textChannels"]
    assert (channel["id"], channel["name"], channel["type"]) == (
        "21",
        "text 21",
        "text",
    )
    assert channel["messages"] == [
        {
            "id": "7",
            "content": "text 7",
            "author": {
                "id": "4",
                "displayName": "Ada L.",
                "avatarUrl": "https://cdn.discordapp.com/avatars/4/abc.png",
                "bot": False,
            },
            "createdAt": "2026-11-21T12:00:07Z",
            "editedAt": "2026-11-21T13:00:00Z",
            "attachmentCount": 2,
            "url": "https://discord.com/channels/1/21/7",
        }
    ]
    assert shown["guildId"] == "1"
    assert shown["contentAvailable"] is True


def test_the_newest_come_first_and_no_more_than_asked_for(scene):
    scene.discord.written[TEXT] = [message(n) for n in range(1, 30)]
    for limit, newest in ((1, 29), (5, 29), (20, 29)):
        (channel,) = scene.ask([TEXT], limit=limit)["textChannels"]
        ids = [int(each["id"]) for each in channel["messages"]]
        assert ids == list(range(newest, newest - limit, -1))
    assert scene.discord.asked.count(TEXT) == 1


def test_notices_of_discord_are_no_messages(scene):
    scene.discord.written[TEXT] = [message(1), message(2, kind=7), message(3, kind=19)]
    (channel,) = scene.ask([TEXT])["textChannels"]
    assert [each["id"] for each in channel["messages"]] == ["3", "1"]


def test_a_channel_is_asked_for_once_in_15_seconds_whoever_wants_it(scene):
    gate = scene.discord.answers[TEXT] = Deferred()
    got = [scene.begin([TEXT]), scene.begin(sees={TEXT}), scene.begin([NEWS, TEXT])]
    gate.callback(None)
    assert all(got)
    scene.clock.advance(KEPT_S - 1)
    later = scene.ask([TEXT])
    assert scene.discord.asked.count(TEXT) == 1
    assert later["fetchedAt"] == got[0][0]["fetchedAt"]
    scene.clock.advance(1)
    scene.ask([TEXT])
    assert scene.discord.asked.count(TEXT) == 2


def test_so_many_are_asked_for_at_a_time(scene):
    many = [text(100 + n, last=n) for n in range(AT_ONCE + 3)]
    scene.discord.shown, gate = many, Deferred()
    scene.discord.answers = {each.id: gate for each in many}
    got = scene.begin()
    assert len(scene.discord.asked) == AT_ONCE
    gate.callback(None)
    assert len(got[0]["textChannels"]) == len(many)


class Uncompared(Channel):
    """One of hundreds: each with each, that took longer than all else."""

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        raise AssertionError("channels were compared")


def test_of_all_only_those_are_asked_for_that_were_written_in_last(scene):
    quiet = text(50, last=None)
    busy = [text(100 + n, last=n, made=Uncompared) for n in range(27)]
    scene.discord.shown = [quiet, *busy]
    shown = scene.ask()
    asked = [each for each in scene.discord.asked if each != "application"]
    assert sorted(asked) == list(range(102, 127))
    assert len(asked) == CHANNELS_MOST
    assert left_out(shown) == {100: "NOT_ASKED", 101: "NOT_ASKED"}
    assert shown["textChannels"][0] == {
        "id": "50",
        "name": "text 50",
        "type": "text",
        "messages": [],
    }
    # By name each can be had.
    assert left_out(scene.ask([50, 100])) == {}
    assert scene.discord.asked[-2:] == [50, 100]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.DiscordBusy(500, 0.0), "DISCORD_UNAVAILABLE"),
        (errors.DiscordBusy(429, 7.0), "DISCORD_UNAVAILABLE"),
        (errors.MissingAccess(403, 50001, "no"), "MISSING_PERMISSION"),
        (errors.UnknownChannel(404, 10003, "no"), "CHANNEL_NOT_FOUND"),
        (errors.DiscordRefused(400, 1, "no"), "DISCORD_ERROR"),
    ],
)
def test_one_channel_that_fails_keeps_back_none_of_the_others(scene, error, reason):
    scene.discord.answers[TEXT] = error
    for _ in range(2):  # nor is it asked for at once again
        shown = scene.ask()
        assert left_out(shown) == {TEXT: reason}
        assert [each["id"] for each in shown["textChannels"]] == [str(NEWS)]
    assert scene.discord.asked.count(TEXT) == 1


def test_one_that_takes_too_long_is_there_for_the_next_who_asks(scene):
    gate = scene.discord.answers[TEXT] = Deferred()
    got = scene.begin()
    scene.clock.advance(WITHIN_S)
    assert left_out(got[0]) == {TEXT: "DISCORD_UNAVAILABLE"}
    gate.callback(None)
    assert left_out(scene.ask()) == {}
    assert scene.discord.asked.count(TEXT) == 1


def test_what_has_no_history_for_the_bot_is_not_taken_for_empty(scene):
    scene.discord.shown.append(text(MUTE, deny=HISTORY))
    assert left_out(scene.ask()) == {MUTE: "MISSING_PERMISSION"}
    assert MUTE not in scene.discord.asked


def test_what_the_bot_does_not_see_is_said_only_to_who_asks_for_it(scene):
    scene.discord.shown.append(text(MUTE, deny=VIEW))
    assert left_out(scene.ask()) == {}
    assert left_out(scene.ask([MUTE, SECRET, 99])) == {
        MUTE: "MISSING_PERMISSION",
        SECRET: "MISSING_PERMISSION",
        99: "CHANNEL_NOT_FOUND",
    }


def test_what_one_may_not_see_is_as_if_it_were_not_there(scene):
    sees = {NEWS, STAGE}
    shown = scene.ask(sees=sees)
    assert [each["id"] for each in shown["textChannels"]] == [str(NEWS)]
    assert [each["id"] for each in shown["voiceChannels"]] == [str(STAGE)]
    named = scene.ask([TEXT, TALK, SECRET, 99, NEWS], sees)
    assert set(left_out(named).values()) == {"CHANNEL_NOT_FOUND"}
    assert TEXT not in scene.discord.asked


EVERY = [TEXT, NEWS, MUTE, SECRET, TALK, STAGE, AFK, 99]


@settings(max_examples=40)
@given(st.sets(st.sampled_from(EVERY)), st.none() | st.permutations(EVERY))
def test_nothing_is_ever_told_of_a_channel_that_one_may_not_see(sees, named):
    scene = Scene()
    scene.discord.shown.append(text(MUTE, deny=HISTORY))
    shown = scene.ask(named, sees)
    told = {int(c["id"]) for c in shown["textChannels"] + shown["voiceChannels"]}
    assert told <= sees & {TEXT, NEWS, TALK, STAGE, AFK}
    reasons = {(id_ in sees, reason) for id_, reason in left_out(shown).items()}
    assert (False, "MISSING_PERMISSION") not in reasons
    if named is not None:
        assert told | left_out(shown).keys() == set(EVERY)


def test_channels_come_in_the_order_in_which_they_are_named(scene):
    shown = scene.ask([AFK, NEWS, TALK, TEXT])
    assert [each["id"] for each in shown["textChannels"]] == [str(NEWS), str(TEXT)]
    assert [each["id"] for each in shown["voiceChannels"]] == [str(AFK), str(TALK)]


@pytest.mark.parametrize("flags", [0, CONTENT, 1 << 19])
def test_whether_there_is_content_is_read_from_the_applications_flags(scene, flags):
    scene.discord.flags = flags
    assert scene.ask([])["contentAvailable"] is bool(flags)
    scene.discord.flags = CONTENT
    scene.ask([])
    assert scene.discord.asked == ["application"]
    scene.clock.advance(APPLICATION_KEPT_S)
    assert scene.ask([])["contentAvailable"] is True


def test_while_discord_does_not_tell_its_last_word_stands(scene):
    scene.discord.flags, away = errors.DiscordUnreachable("away"), APPLICATION_KEPT_S
    assert scene.ask([])["contentAvailable"] is None
    scene.discord.flags = 0
    scene.clock.advance(away)
    assert scene.ask([])["contentAvailable"] is False
    scene.discord.flags = errors.DiscordUnreachable("away")
    scene.clock.advance(away)
    assert scene.ask([])["contentAvailable"] is False


# -- voice -----------------------------------------------------------------------------


def test_who_is_in_voice_is_told_by_heart(scene):
    scene.people(
        Voice(BO, STAGE, suppress=True, self_deaf=True, bot=True),
        Voice(
            ADA,
            TALK,
            self_mute=True,
            streaming=True,
            video=True,
            name="Zoe",
            avatar_url="https://cdn.example/a.png",
        ),
        Voice(BOT, TALK, name="bert"),
        Voice(9, SECRET, name="hidden"),
    )
    talk_, stage, afk = scene.ask()["voiceChannels"]
    assert (talk_["type"], stage["type"], afk["type"]) == ("voice", "stage", "voice")
    assert [each["displayName"] for each in talk_["members"]] == ["bert", "Zoe"]
    assert talk_["members"][1] == {
        "userId": str(ADA),
        "displayName": "Zoe",
        "avatarUrl": "https://cdn.example/a.png",
        "selfMute": True,
        "selfDeaf": False,
        "streaming": True,
        "video": True,
        "suppressed": False,
        "bot": False,
        "speaking": None,
    }
    (bo,) = stage["members"]
    assert (bo["suppressed"], bo["selfDeaf"], bo["bot"]) == (True, True, True)
    # Whose name was never told is called something all the same.
    assert (bo["displayName"], bo["avatarUrl"]) == ("User 7654", None)
    assert afk["members"] == []
    tracked = scene.guilds.tracked(GUILD)
    assert [each.id for each in voice_channels(tracked, {AFK, SECRET})] == [str(AFK)]
