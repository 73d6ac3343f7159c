"""A follower that begins anywhere knows what the holder knows."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock, deferLater

from voicestatus.cluster.follower import Follower
from voicestatus.cluster.picture import recalled
from voicestatus.cluster.recorder import Recorder
from voicestatus.cluster.wire import News, Part, TermBegan, decode_news, encode
from voicestatus.core.errors import ProtocolError, StoreError
from voicestatus.core.guild import Channel, Knowledge, Voice
from voicestatus.core.presence import (
    ChannelDeleted,
    ChannelUpserted,
    Event,
    GuildArrived,
    GuildRemoved,
    GuildUnavailable,
    GuildUpdated,
    MemberRemoved,
    Presence,
    SessionBegan,
    SessionResumed,
    SourceLost,
    SyncEnded,
    VoiceUpdated,
)
from voicestatus.core.session import SessionState
from voicestatus.store.documents import Fence

GUILDS = st.sampled_from([11, 12, 13])
USERS = st.sampled_from([1, 2, 3, 99])
BOT = 3
ROLES = st.frozensets(st.sampled_from([5, 6]))


def channel_of(guild: int, which: int) -> Channel:
    return Channel(guild * 10 + which, f"c{which}", 2)


@st.composite
def voices(draw: st.DrawFn, guild: int, user: int) -> Voice:
    channel = guild * 10 + draw(st.integers(0, 1))
    name = draw(st.sampled_from(["", "Ada"]))
    return Voice(user, channel, user == BOT, roles=draw(ROLES), name=name)


@st.composite
def events(draw: st.DrawFn) -> Event:
    guild, user = draw(GUILDS), draw(USERS)
    kinds: list[Any] = [
        lambda: SessionBegan(0, 99, draw(st.frozensets(GUILDS))),
        lambda: SessionResumed(0),
        lambda: SourceLost(0),
        lambda: SyncEnded(0),
        lambda: GuildArrived(
            0,
            guild,
            draw(st.sampled_from("ab")),
            draw(st.sampled_from([None, guild * 10])),
            tuple(channel_of(guild, n) for n in range(draw(st.integers(0, 2)))),
            tuple(draw(voices(guild, u)) for u in draw(st.sets(USERS))),
            draw(st.frozensets(USERS)),
        ),
        lambda: GuildUpdated(guild, draw(st.sampled_from("ab")), None),
        lambda: GuildUnavailable(guild),
        lambda: GuildRemoved(guild),
        lambda: ChannelUpserted(guild, channel_of(guild, draw(st.integers(0, 2)))),
        lambda: ChannelDeleted(guild, guild * 10 + draw(st.integers(0, 1))),
        lambda: VoiceUpdated(
            guild,
            user,
            draw(st.none() | voices(guild, user)),
            draw(st.sampled_from([None, user == BOT])),
        ),
        lambda: MemberRemoved(guild, user),
    ]
    # Most of what happens is that people come and go.
    return draw(st.sampled_from([*kinds, *kinds[4:5] * 2, *kinds[10:11] * 8]))()


class Tape:
    """Stands for the bus: keeps what was told, as bytes; slow, and may fail."""

    def __init__(self, clock: Clock) -> None:
        self.told: list[bytes] = []
        self.fails = 0
        self._clock = clock

    async def tell(self, news: News, *_fence: int) -> bool:
        self.told.append(encode(news))
        await deferLater(self._clock, 0.1)
        if self.fails:
            self.fails -= 1
            raise StoreError("away")
        return True


def known(presence: Presence, told: set[int]) -> object:
    """All that is known of those guilds that Discord has told."""
    return presence.me, {
        guild.id: (guild.knowledge, guild.picture, dict(guild.voices))
        if guild.id in told
        else None
        for guild in presence.guilds.values()
    }


def follow(told: list[bytes], follower: Follower, presence: Presence) -> None:
    for body in told:
        news = decode_news(body)
        assert isinstance(news, Part)
        for event in follower.part(news):
            presence.apply(event)


@settings(max_examples=100, deadline=None)
@given(
    before=st.lists(events(), max_size=15),
    during=st.lists(st.tuples(st.sampled_from([0.0, 0.1]), events()), max_size=25),
    missing_at=st.integers(0, 25),
    missing=st.integers(0, 5),
    fails=st.integers(0, 3),
)
def test_a_picture_and_the_news_make_the_holders_presence(
    before: list[Event],
    during: list[tuple[float, Event]],
    missing_at: int,
    missing: int,
    fails: int,
) -> None:
    clock = Clock()
    truth, tape = Presence(), Tape(clock)
    states = iter(SessionState("s", seq, "wss://r") for seq in range(1000))
    last: list[SessionState] = []
    recorder = Recorder(
        tape,  # type: ignore[arg-type] # stands in for the bus
        truth,
        Fence(0, 5),
        1,
        lambda: last[-1],
        clock,
        anew=False,
    )

    linked = [True]

    def live(event: Event) -> None:
        if isinstance(event, SessionBegan | SessionResumed | SourceLost):
            linked[:] = [not isinstance(event, SourceLost)]
        elif not linked[0]:
            return  # without a link nothing is heard
        truth.apply(event)
        last.append(next(states))
        recorder.note(event, last[-1])

    live(SessionBegan(0, 99, frozenset({11, 12})))
    for event in before:
        live(event)
    recorder.want_picture()
    tape.fails = fails
    for after_s, event in during:
        clock.advance(after_s)
        live(event)
    clock.pump([0.1] * 100)
    told = list(tape.told)
    del told[missing_at : missing_at + missing]
    follower, presence = Follower(0), Presence()
    assert list(follower.term(TermBegan(0, 5, "a"), ours=False)) == [SourceLost(0)]
    follow(told, follower, presence)
    recorder.beat()
    at = len(tape.told)
    clock.pump([0.1] * 5)
    follow(tape.told[at - 1 :], follower, presence)
    if follower.wanting:  # it was told so by a gap
        at = len(tape.told)
        recorder.want_picture()
        clock.pump([0.1] * 20)
        follow(tape.told[at:], follower, presence)
    assert follower.in_step
    told_of = {guild.id for guild in truth.guilds.values() if guild.pictured}
    assert known(presence, told_of) == known(truth, told_of)
    assert follower.session == last[-1]


@settings(max_examples=100, deadline=None)
@given(before=st.lists(events(), max_size=15), other=st.lists(events(), max_size=15))
def test_what_was_stored_is_recalled_from_whatever_is_there(
    before: list[Event], other: list[Event]
) -> None:
    stored, presence = Presence(), Presence()
    for truth, told in ((stored, before), (presence, other)):
        truth.apply(SessionBegan(0, 99, frozenset({11, 12})))
        for event in told:
            truth.apply(event)
    stored.apply(SourceLost(0))
    guilds = tuple(
        (guild.picture, tuple(guild.voices.values()))
        for guild in stored.guilds.values()
    )
    for event in recalled(0, 99, guilds, 1):
        presence.apply(event)
    told_of = {guild.id for guild in stored.guilds.values() if guild.pictured}
    assert known(presence, told_of) == known(stored, told_of)


def a_part(number: int, *, fence: int = 5, **more: Any) -> Part:
    return Part(0, fence, number, **more)


def in_step() -> Follower:
    follower = Follower(0)
    list(follower.term(TermBegan(0, 5, "a"), ours=False))
    list(follower.part(a_part(1, picture="first")))
    list(follower.part(a_part(2, picture="last", linked=True)))
    assert follower.in_step
    return follower


def test_what_comes_twice_or_from_an_older_holder_is_dropped() -> None:
    follower = in_step()
    assert not list(follower.part(a_part(2)))
    assert not list(follower.part(a_part(9, fence=4)))
    assert not list(follower.term(TermBegan(0, 5, "b"), ours=False))
    assert follower.in_step


def test_a_part_that_is_missing_makes_the_guilds_stale_until_a_picture_came() -> None:
    follower = in_step()
    assert list(follower.part(a_part(4))) == [SourceLost(0)]
    assert follower.wanting
    assert not list(follower.part(a_part(5)))
    list(follower.part(a_part(6, picture="first")))
    assert not follower.wanting
    list(follower.part(a_part(7, picture="last")))
    assert follower.in_step


def test_a_silent_holder_is_a_lost_link_until_it_speaks_again() -> None:
    follower = in_step()
    assert list(follower.silence()) == [SourceLost(0)]
    assert not list(follower.silence())
    assert list(follower.part(a_part(3, linked=True))) == [SessionResumed(0)]


def test_a_picture_that_breaks_off_leaves_no_session_to_resume() -> None:
    follower = Follower(0)
    state = SessionState("s", 1, "wss://r")
    list(follower.part(a_part(1, picture="first", session=state)))
    list(follower.term(TermBegan(0, 6, "b"), ours=True))
    assert follower.session is None
    assert follower.alone


def test_who_was_the_holder_goes_on_from_what_it_alone_knows() -> None:
    state = SessionState("s", 7, "wss://r")
    follower = in_step()
    follower.was_holder(state, unshared=True)
    assert not list(follower.part(a_part(3)))
    list(follower.term(TermBegan(0, 6, "us"), ours=True))
    assert (follower.session, follower.alone) == (state, True)


def test_who_knew_more_than_the_others_takes_the_next_holders_word() -> None:
    follower = in_step()
    follower.was_holder(None, unshared=True)
    list(follower.term(TermBegan(0, 6, "b"), ours=False))
    assert follower.wanting


def test_events_that_are_not_known_are_refused() -> None:
    follower = in_step()
    body = encode(a_part(3))
    assert decode_news(body) == a_part(3)
    with pytest.raises(ProtocolError):
        decode_news(b"\x93\xa1q\x00\x05")
    part = a_part(3, events=((250, Knowledge.KNOWN),))
    with pytest.raises(ProtocolError):
        list(follower.part(part))
