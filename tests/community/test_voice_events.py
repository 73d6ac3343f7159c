"""What watchers of a guild's voice are told, and that it is always the truth."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from voicestatus.community.activity import voice_channels
from voicestatus.community.voice_events import (
    Audience,
    VoiceSight,
    event_for,
    marks_for,
    move_of,
)
from voicestatus.community.voice_stream import LINGERS_S, View, VoiceStreams
from voicestatus.core.errors import Refusal
from voicestatus.core.guild import Channel, Voice
from voicestatus.core.presence import (
    ChannelDeleted,
    ChannelUpserted,
    GuildArrived,
    GuildRemoved,
    GuildUnavailable,
    Presence,
    SessionBegan,
    SessionResumed,
    SourceLost,
    VoiceChanged,
    VoiceUpdated,
)
from voicestatus.hub import Hub

GUILD, LOUNGE, GAMES, STAGE, SECRET, ADA, BEN = 1, 11, 12, 13, 14, 21, 22
CHANNELS = {
    LOUNGE: Channel(LOUNGE, "Lounge", 2),
    GAMES: Channel(GAMES, "Games", 2, None, 1),
    STAGE: Channel(STAGE, "Stage", 13, None, 2),
    SECRET: Channel(SECRET, "Secret", 2, None, 3),
}
KEYS = {
    *("guildId", "channelId", "channelName", "channelType", "userId"),
    *("displayName", "avatarUrl", "action", "previousChannelId", "previousChannelName"),
}


def at(channel: int | None, user: int = ADA, **how: Any) -> Voice | None:
    return None if channel is None else Voice(user, channel, name="Ada", **how)


def seen(before: int | None, after: int | None, sees: Any = None) -> Any:
    """Return the event of a move, as JSON; None: there is none."""
    move = move_of(VoiceChanged(GUILD, ADA, at(before), at(after)), CHANNELS, {})
    event = None if move is None else event_for(move, sees)
    return None if event is None else json.loads(msgspec.json.encode(event))


def test_an_event_has_the_keys_of_the_contract() -> None:
    assert seen(None, LOUNGE) == {
        "guildId": "1",
        "channelId": "11",
        "channelName": "Lounge",
        "channelType": "voice",
        "userId": "21",
        "displayName": "Ada",
        "avatarUrl": None,
        "action": "join",
        "previousChannelId": None,
        "previousChannelName": None,
    }
    moved = seen(LOUNGE, STAGE)
    assert (moved["action"], moved["channelType"]) == ("move", "stage")
    assert (moved["previousChannelId"], moved["previousChannelName"]) == (
        "11",
        "Lounge",
    )
    left = seen(STAGE, None)
    assert left.keys() == moved.keys() == KEYS
    assert (left["action"], left["channelId"], left["channelName"]) == (
        "leave",
        None,
        None,
    )
    assert (left["channelType"], left["previousChannelId"]) == ("stage", "13")


def test_who_is_muted_or_renamed_has_not_moved() -> None:
    muted = at(LOUNGE, self_mute=True, streaming=True)
    renamed = Voice(ADA, LOUNGE, name="Lady Ada")
    for after in (muted, renamed):
        change = VoiceChanged(GUILD, ADA, at(LOUNGE), after)
        assert move_of(change, CHANNELS, {}) is None


def marks(before: Voice | None, after: Voice | None, sees: Any = None) -> Any:
    """Return what is told of how somebody is after a change, as JSON."""
    change = VoiceChanged(GUILD, ADA, before, after)
    move = move_of(change, CHANNELS, {})
    told = None if move is None else event_for(move, sees)
    found = marks_for(change, told, CHANNELS, sees)
    return None if found is None else json.loads(msgspec.json.encode(found))


def test_how_somebody_is_is_told_as_the_members_are() -> None:
    muted = at(LOUNGE, self_mute=True, streaming=True)
    assert marks(at(LOUNGE), muted) == {
        "userId": "21",
        "displayName": "Ada",
        "avatarUrl": None,
        "selfMute": True,
        "selfDeaf": False,
        "streaming": True,
        "video": False,
        "suppressed": False,
        "bot": False,
        "speaking": None,
        "guildId": "1",
        "channelId": "11",
    }
    renamed = marks(at(LOUNGE), Voice(ADA, LOUNGE, name="Lady Ada", avatar_url="u"))
    assert (renamed["displayName"], renamed["avatarUrl"]) == ("Lady Ada", "u")
    assert marks(muted, at(LOUNGE))["selfMute"] is False


def test_what_an_event_says_already_and_what_nobody_sees_is_not_told_again() -> None:
    muted = at(LOUNGE, self_mute=True)
    assert marks(None, at(LOUNGE)) is marks(at(LOUNGE), at(GAMES)) is None
    assert marks(muted, at(GAMES, self_mute=True)) is marks(muted, None) is None
    assert marks(at(STAGE, suppress=True), at(LOUNGE)) is None
    assert marks(at(LOUNGE), at(LOUNGE, roles=frozenset({5}))) is None
    assert marks(at(SECRET), at(SECRET, self_mute=True), frozenset({LOUNGE})) is None
    assert marks(None, muted)["selfMute"] is True
    assert marks(None, at(LOUNGE, bot=True))["bot"] is True
    assert marks(at(LOUNGE), at(STAGE, suppress=True))["suppressed"] is True
    from_secret = at(SECRET, self_mute=True), muted, frozenset({LOUNGE})
    assert marks(*from_secret)["selfMute"] is True
    assert marks(*from_secret[:2]) is None


def test_of_what_an_audience_may_not_see_nothing_is_told() -> None:
    sees = frozenset({LOUNGE, GAMES})
    joined, left = seen(SECRET, LOUNGE, sees), seen(LOUNGE, SECRET, sees)
    assert (joined["action"], left["action"]) == ("join", "leave")
    for event in (joined, left):
        assert "14" not in event.values()
        assert "Secret" not in event.values()
    assert seen(SECRET, STAGE, sees) is seen(None, SECRET, sees) is None
    assert seen(SECRET, LOUNGE)["action"] == "move"


@given(told=st.integers(0, 12), heard=st.integers(-2, 15), kept=st.integers(1, 8))
def test_what_was_missed_is_told_once_or_not_at_all(
    told: int, heard: int, kept: int
) -> None:
    audience = Audience("e", kept)
    texts = [audience.tell(VoiceSight(f"{n}", "known")) for n in range(told)]
    missed = audience.since(f"e-{heard}")
    if 0 <= heard <= told and told - heard <= kept:
        assert missed == b"".join(texts[heard:])
    else:
        assert missed is None
    for foreign in ("", "e", "f-1", "e-1-1", "e-x", "e-" + "9" * 5000, "e-\u00b2"):
        assert audience.since(foreign) is None


# ---- the stream of a guild ---------------------------------------------------------


class Page:
    """A page that keeps up: it knows what it was told, and comes back when cut off."""

    def __init__(self, streams: VoiceStreams, sees: Any) -> None:
        self.view: View = streams.view(GUILD, sees)
        self.heard: list[str] = []
        self.snapshots = 0
        self.last_id = self.state = ""
        self.inside: dict[str, str] = {}
        self.how: dict[str, Any] = {}
        self.actions: list[str] = []
        self.ended = False
        self.open()

    def open(self) -> None:
        hello = self.view.hello(self.last_id)
        self.close = self.view.follow(self._tell)
        self._tell(hello)

    def _tell(self, text: bytes | None) -> None:
        if text is None:
            self.ended = True
            return
        for event, id_, data in messages(text):
            self.last_id = id_
            if event == "snapshot":
                self.snapshots += 1
                self.state = data["state"]
                told = data["voiceChannels"]
                self.inside = {m["userId"]: c["id"] for c in told for m in c["members"]}
                self.how = {m["userId"]: how(m) for c in told for m in c["members"]}
                continue
            assert id_ not in self.heard
            self.heard.append(id_)
            if event == "state":
                self.state = data["state"]
            elif event == "marks":
                assert self.inside[data["userId"]] == data["channelId"]
                self.how[data["userId"]] = how(data)
            elif data["action"] == "leave":
                self.inside.pop(data["userId"], None)
                self.how.pop(data["userId"], None)
                self.actions.append("leave")
            else:
                known = self.how.get(data["userId"]) or how({})
                self.how[data["userId"]] = known | {"suppressed": False}
                self.inside[data["userId"]] = data["channelId"]
                self.actions.append(data["action"])


def how(member: Any) -> dict[str, bool]:
    return {mark: member.get(mark, False) for mark in ("selfMute", "suppressed")}


def messages(text: bytes) -> Iterator[tuple[str, str, Any]]:
    for block in text.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        yield fields.get("event", ""), fields["id"], json.loads(fields["data"])


class World:
    def __init__(self, process: str = "here") -> None:
        self.clock, self.hub = Clock(), Hub(Presence())
        epochs = count()
        self.streams = VoiceStreams(
            self.hub, self.clock, voice_channels, lambda: f"{process}{next(epochs)}"
        )
        self.streams.startService()
        self.hub.apply(SessionBegan(0, 9, frozenset({GUILD})))
        self.arrive()

    def arrive(self, *voices: Voice) -> None:
        channels = tuple(CHANNELS.values())
        self.hub.apply(GuildArrived(0, GUILD, "G", None, channels, voices))

    def go(self, channel: int | None, user: int = ADA, **how: Any) -> None:
        self.hub.apply(VoiceUpdated(GUILD, user, at(channel, user, **how), bot=False))

    def do(self, step: Any) -> None:
        match step:
            case "go", channel, user, mute:
                self.go(channel, user, self_mute=mute, suppress=channel == STAGE)
            case "delete", channel:
                self.hub.apply(ChannelDeleted(GUILD, channel))
            case "upsert", channel, hidden:
                known = CHANNELS[channel]
                news = Channel(channel, known.name, known.kind, hidden=hidden)
                self.hub.apply(ChannelUpserted(GUILD, news))
            case "arrive", ada, ben:
                voices = at(ada), at(ben, BEN)
                self.arrive(*(voice for voice in voices if voice is not None))
            case ("lose",):
                self.hub.apply(SourceLost(0))
            case ("resume",):
                self.hub.apply(SessionResumed(0))
            case ("outage",):
                self.hub.apply(GuildUnavailable(GUILD))


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.streams.stopService()


def test_a_deleted_channel_is_still_named_as_its_people_leave(world: World) -> None:
    world.go(STAGE)
    told: list[bytes | None] = []
    world.streams.view(GUILD, None).follow(told.append)
    world.hub.apply(ChannelDeleted(GUILD, STAGE))
    ((_, _, left),) = messages(told[0] or b"")
    assert (left["action"], left["channelType"]) == ("leave", "stage")
    assert left["previousChannelName"] == "Stage"


def test_one_serialisation_serves_all_who_see_the_same(world: World) -> None:
    told: list[bytes | None] = []
    for _ in range(2):
        world.streams.view(GUILD, frozenset({LOUNGE})).follow(told.append)
    hello = world.streams.view(GUILD, frozenset({LOUNGE})).hello("")
    assert hello is world.streams.view(GUILD, frozenset({LOUNGE})).hello("")
    world.go(LOUNGE)
    assert told[0] is told[1]
    assert hello is not world.streams.view(GUILD, frozenset({LOUNGE})).hello("")


def test_a_view_outlives_its_last_watcher_for_minutes_and_no_longer(
    world: World,
) -> None:
    page = Page(world.streams, None)
    world.clock.advance(LINGERS_S * 2)
    page.close()
    world.go(LOUNGE)
    world.clock.advance(LINGERS_S - 60)
    page.open()
    assert (page.actions, page.snapshots) == (["join"], 1)
    page.close()
    world.clock.pump([60.0] * 6)
    assert list(world.streams) == []
    again = world.streams.view(GUILD, None)
    assert b"event: snapshot" in again.hello(page.last_id)


def test_a_guild_that_goes_ends_its_streams_and_is_not_found(world: World) -> None:
    page = Page(world.streams, None)
    world.hub.apply(GuildRemoved(GUILD))
    assert page.ended
    with pytest.raises(Refusal) as refused:
        world.streams.view(GUILD, None)
    assert refused.value.code == "GUILD_NOT_FOUND"


def test_on_another_node_the_same_is_told_under_other_ids(world: World) -> None:
    other, page = World("there"), Page(world.streams, None)
    for each in (world, other):
        each.go(LOUNGE)
    page.close()
    for each in (world, other):
        each.go(GAMES)
    page.view = other.streams.view(GUILD, None)
    page.open()
    assert (page.snapshots, page.inside) == (2, {"21": "12"})
    for each in (world, other):
        each.go(None)
    assert (page.actions, page.inside) == (["join", "leave"], {})
    other.streams.stopService()


def test_after_a_gap_the_state_comes_first_and_then_what_differs(world: World) -> None:
    world.go(LOUNGE)
    page = Page(world.streams, None)
    world.hub.apply(SourceLost(0))
    assert page.state == "stale"
    world.hub.apply(SessionResumed(0))
    assert page.state == "known"
    world.hub.apply(GuildUnavailable(GUILD))
    assert (page.state, page.inside) == ("unknown", {"21": "11"})
    world.arrive(Voice(ADA, GAMES), Voice(BEN, GAMES))
    assert (page.state, page.inside) == ("known", {"21": "12", "22": "12"})
    assert (sorted(page.actions), page.snapshots) == (["join", "move"], 1)


PLACES = st.sampled_from([None, *CHANNELS])
STEPS = st.one_of(
    st.tuples(st.just("go"), PLACES, st.sampled_from([ADA, BEN]), st.booleans()),
    st.tuples(st.just("delete"), st.sampled_from([*CHANNELS])),
    st.tuples(st.just("upsert"), st.sampled_from([*CHANNELS]), st.booleans()),
    st.tuples(st.just("arrive"), PLACES, PLACES),
    st.sampled_from([("lose",), ("resume",), ("outage",), ("cut",), ("cut",)]),
)


@given(
    steps=st.lists(STEPS, max_size=25),
    sees=st.one_of(st.none(), st.frozensets(st.sampled_from([*CHANNELS]))),
)
def test_whatever_happens_a_page_knows_the_truth(steps: Any, sees: Any) -> None:
    world = World()
    page, away = Page(world.streams, sees), False
    for step in steps:
        world.do(step)
        if step == ("cut",):
            away = not away
            page.close() if away else page.open()
        if not away:
            guild = world.hub.presence.guilds[GUILD]
            shown = json.loads(msgspec.json.encode(voice_channels(guild, sees)))
            truth = {m["userId"]: c["id"] for c in shown for m in c["members"]}
            assert (page.inside, page.state) == (truth, guild.knowledge.value)
            assert page.how == {
                m["userId"]: how(m) for c in shown for m in c["members"]
            }
    world.streams.stopService()
