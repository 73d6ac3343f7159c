"""The journal: whatever happens when, the next process knows what this one knew."""

import json
from dataclasses import replace
from functools import partial

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from voicestatus.core.errors import StoreError
from voicestatus.core.guild import Channel, Knowledge, Voice
from voicestatus.core.lights import Light
from voicestatus.core.matching import Counting
from voicestatus.core.presence import (
    ChannelDeleted,
    ChannelUpserted,
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
from voicestatus.hub import Hub
from voicestatus.journal.keeper import BATCH_MAX, STAMP_EVERY_S
from voicestatus.journal.records import made_for
from voicestatus.journal.service import HELD_FOR_S, LOAD_WITHIN_S, Journal
from voicestatus.lights import LightGroups
from voicestatus.store.documents import Delete, Fence
from voicestatus.store.memory import MemoryStore

ME, ADA, BEN, BOT = 1, 11, 12, 13
HOME, AWAY = 100, 200
LOUNGE, GAMES, AFK = 101, 102, 103
NOW = 1_800_000_000.0


class Disk(MemoryStore):
    """A store that a test can slow down, cut off, and count on."""

    def __init__(self):
        super().__init__()
        self.startService()
        self.away = self.slow = self.hangs = False
        self.keeps_but_fails = False
        self.batches = []
        self.waiting = []

    async def list(self, kind, parent=None):
        if self.away:
            raise StoreError("the disk is away")
        if self.hangs:
            await Deferred()
        return await super().list(kind, parent)

    async def write(self, *changes, fence=None):
        if self.away:
            raise StoreError("the disk is away")
        if self.slow or self.waiting:
            answer = Deferred()
            self.waiting.append(((changes, fence), answer))
            return await answer
        return await self._take(changes, fence)

    async def _take(self, changes, fence):
        version = await super().write(*changes, fence=fence)
        self.batches.append(changes)
        if self.keeps_but_fails:
            raise StoreError("no answer came")
        return version

    def work(self, many):
        """Do so many of the writes that wait, as a slow disk does in the end."""
        for write, answer in self.waiting[:many]:
            done = Deferred.fromCoroutine(self._take(*write))
            if not answer.called:
                done.chainDeferred(answer)
            else:
                done.addErrback(lambda _: None)
        del self.waiting[:many]

    def forget(self):
        for kind in ("gateway-session", "presence-guild", "presence-voice"):
            for id_ in self.bodies(kind):
                Deferred.fromCoroutine(MemoryStore.write(self, Delete(kind, id_)))

    def bodies(self, kind):
        stored = Deferred.fromCoroutine(MemoryStore.list(self, kind)).result
        return {document.id: json.loads(document.body) for document in stored}


class Link:
    """One shard's link; a process' first is the process itself."""

    def __init__(self):
        self.session_state = self.confirmed = None

    def stored(self, state):
        self.confirmed = state


class Process(Link):
    """A server of which only presence and journal are there; Discord is the test."""

    def __init__(
        self,
        disk,
        purpose="a bot",
        wall=NOW,
        presence=None,
        batch_max=BATCH_MAX,
        shards=1,
        begins=True,
    ):
        super().__init__()
        self.disk = disk
        self.clock = Clock()
        self.hub = Hub(presence or Presence())
        self.lights = LightGroups(
            self.hub, self.clock, self.clock.seconds, Counting(), 0.0, hold=True
        )
        self.lights.startService()
        self.registry = CollectorRegistry()
        self.links = {0: self} | {shard: Link() for shard in range(1, shards)}
        self.journal = Journal(
            self.hub,
            disk,
            made_for=purpose,
            clock=self.clock,
            wall=lambda: wall + self.clock.seconds(),
            registry=self.registry,
            batch_max=batch_max,
        )
        self.journal.startService()
        if begins:
            self.asked = Deferred.fromCoroutine(self._ask())

    async def _ask(self):
        self.resumable = await self.journal.shard_count()
        self.journal.spread(len(self.links))
        for shard, link in self.links.items():
            state = await self.journal.restored(shard)
            link.session_state = link.confirmed = state
            self.journal.add(shard, link, None)

    def hold(self, shard, number, count=2):
        """Be the holder of one shard, as one of several nodes."""
        self.journal.spread(count)
        self.links = {shard: self}
        self.journal.add(shard, self, Fence(shard, number))

    def recalled(self, shard):
        return Deferred.fromCoroutine(self.journal.recall(shard)).result

    def take(self, event, state):
        """Deliver an event: the session is at `state` then."""
        self.session_state = state
        self.hub.apply(event)

    def pass_s(self, seconds):
        self.clock.pump([0.25] * int(seconds * 4))

    def crash(self):
        for call in self.clock.getDelayedCalls():
            call.cancel()

    def value(self, name):
        return self.registry.get_sample_value(f"voicestatus_journal_{name}")

    @property
    def presence(self):
        return self.hub.presence


def channel(id_):
    return Channel(id_, f"channel {id_}", 2)


def arrived(guild, *voices):
    places = (channel(LOUNGE), channel(GAMES), channel(AFK))
    return GuildArrived(0, guild, "a guild", AFK, places, voices)


def moved(user, where, guild=HOME):
    bot = user in {ME, BOT}
    voice = None if where is None else Voice(user, where, bot)
    return VoiceUpdated(guild, user, voice, bot)


def at(seq, syncing=False):
    return SessionState("the session", seq, "wss://resume.example", syncing)


def picture(presence):
    """All that can be known of a presence."""
    return {
        guild.id: (
            guild.name,
            guild.shard,
            guild.afk_channel,
            dict(guild.channels),
            dict(guild.voices),
            guild.knowledge,
            guild.pictured,
            guild.awaited,
            guild.total,
            {place: guild.within(place) for place in (LOUNGE, GAMES, AFK)},
        )
        for guild in presence.guilds.values()
    }


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def process(disk):
    """One that has heard of HOME, where Ada is in the lounge; all of it is stored."""
    process = Process(disk)
    process.take(SessionBegan(0, ME, frozenset({HOME})), at(1, syncing=True))
    process.take(arrived(HOME, Voice(ADA, LOUNGE)), at(2, syncing=True))
    process.take(SyncEnded(0), at(2))
    process.pass_s(1)
    assert process.confirmed == at(2)
    disk.batches.clear()
    return process


# ---- the next process --------------------------------------------------------------


def test_a_crash_leaves_a_picture_that_a_resume_confirms(process, disk):
    before = picture(process.presence)
    process.crash()
    new = Process(disk)
    assert new.session_state == at(2)
    home = new.presence.guilds[HOME]
    assert home.knowledge is Knowledge.STALE
    new.take(SessionResumed(0), at(3))
    assert picture(new.presence) == before


def test_signs_get_their_held_light_before_discord_speaks(process, disk):
    process.crash()
    new = Process(disk)
    assert new.lights.everything == Light(True, True, 1, stale=True)
    new.take(moved(ADA, None), at(3))
    new.pass_s(1)
    new.crash()
    # Nobody is there: that is held state, too, and no longer nothing to show.
    assert Process(disk).lights.everything == Light(True, False, stale=True)


def test_our_own_bot_is_still_nobody(process, disk):
    process.take(moved(ME, GAMES), at(3))
    process.pass_s(1)
    process.crash()
    new = Process(disk)
    assert new.presence.me == ME
    assert new.lights.everything.count == 1


def test_another_bot_of_ours_is_nobody_and_the_old_one_a_bot(process, disk):
    process.take(moved(ME, GAMES), at(3))
    process.pass_s(1)
    process.crash()
    new = Process(disk, "another bot")
    new.take(SessionBegan(0, BOT, frozenset({HOME})), at(1))
    assert new.presence.guilds[HOME].total.bots == 1
    new.take(arrived(HOME), at(2))
    assert new.presence.guilds[HOME].total.bots == 0


def test_a_session_made_for_something_else_is_not_resumed_but_shown(process, disk):
    process.crash()
    new = Process(disk, "another bot")
    assert new.session_state is None
    assert new.presence.guilds[HOME].knowledge is Knowledge.STALE
    assert not new.presence.heard
    new.pass_s(1)
    new.crash()
    # It is spoilt for the old purpose, too: its documents may be others by now.
    assert Process(disk).session_state is None


def test_a_guild_that_is_no_longer_watched_is_not_kept(process, disk):
    process.crash()
    new = Process(disk, "fewer guilds", presence=Presence({AWAY}))
    new.pass_s(1)
    assert new.presence.guilds == {}
    assert disk.bodies("presence-guild") == disk.bodies("presence-voice") == {}


def test_yesterdays_picture_is_neither_shown_nor_kept(process, disk):
    process.crash()
    new = Process(disk, wall=NOW + HELD_FOR_S + 2)
    assert new.session_state is None
    assert new.presence.guilds == {}
    assert not new.lights.everything.known
    new.pass_s(1)
    assert disk.bodies("presence-voice") == disk.bodies("gateway-session") == {}


def test_a_quiet_servers_picture_does_not_grow_old(process, disk):
    process.clock.advance(STAMP_EVERY_S + 20)
    process.pass_s(1)
    process.crash()
    new = Process(disk, wall=NOW + HELD_FOR_S + STAMP_EVERY_S)
    assert new.session_state == at(2)


def test_a_clock_that_was_set_back_makes_nothing_old(process, disk):
    process.crash()
    assert Process(disk, wall=0.0).session_state == at(2)


def test_a_guild_that_was_still_owed_is_still_awaited(disk):
    process = Process(disk)
    process.take(SessionBegan(0, ME, frozenset({HOME, AWAY})), at(1, syncing=True))
    process.take(arrived(HOME), at(2, syncing=True))
    process.pass_s(1)
    process.crash()
    new = Process(disk)
    assert new.session_state.syncing
    new.take(SessionResumed(0), at(3, syncing=True))
    assert new.presence.guilds[HOME].knowledge is Knowledge.KNOWN
    assert new.presence.guilds[AWAY].knowledge is Knowledge.UNKNOWN
    new.take(arrived(AWAY), at(4, syncing=True))
    assert new.presence.guilds[AWAY].knowledge is Knowledge.KNOWN


def test_a_session_that_discord_ended_is_not_resumed_and_its_picture_stands(
    process, disk
):
    process.session_state = None
    process.journal.mark()
    process.pass_s(1)
    process.crash()
    new = Process(disk)
    assert new.session_state is None
    assert new.lights.everything == Light(True, True, 1, stale=True)
    assert new.presence.heard


# ---- what is written when ----------------------------------------------------------


def test_a_first_change_is_stored_at_once_and_what_follows_shares_a_batch(
    process, disk
):
    for seq in range(3, 503):
        process.take(moved(ADA, GAMES if seq % 2 else LOUNGE), at(seq))
        process.clock.advance(0.002)
    process.pass_s(1)
    assert process.confirmed == at(502)
    assert len(disk.batches) <= 4
    assert sum(map(len, disk.batches)) <= 8


def test_an_event_of_many_changes_is_stored_whole(process, disk):
    process.take(arrived(HOME, Voice(BEN, LOUNGE), Voice(BOT, GAMES)), at(3))
    assert disk.batches == []
    process.clock.advance(0)
    (batch,) = disk.batches
    assert {write.id for write in batch} == {"100:11", "100:12", "100:13", "0"}


def test_what_is_too_much_for_one_batch_is_stored_before_its_place_is(disk):
    process = Process(disk, batch_max=100)
    process.take(SessionBegan(0, ME, frozenset({HOME})), at(1))
    crowd = [Voice(1000 + n, LOUNGE) for n in range(250)]
    process.take(arrived(HOME, *crowd), at(2))
    disk.slow = True
    process.clock.advance(0)
    disk.work(1)
    assert [len(batch) for batch in disk.batches] == [100]
    assert disk.bodies("gateway-session") == {}
    process.take(moved(1000, None), at(3))  # between two of them
    disk.slow = False
    process.clock.advance(0)
    assert [len(batch) for batch in disk.batches[:2]] == [100, 100]
    assert process.confirmed == at(3)
    assert len(disk.bodies("presence-voice")) == 249
    process.crash()
    new = Process(disk)
    assert new.lights.everything.count == 249


def test_people_of_a_guild_that_was_not_stored_yet_leave_no_ghosts(process, disk):
    process.crash()
    orphan = msgspec.json.encode(Voice(BEN, GAMES))
    Deferred.fromCoroutine(disk.put("presence-voice", "200:12", orphan, parent="200"))
    new = Process(disk)
    assert new.session_state == at(2)
    new.pass_s(1)
    assert set(disk.bodies("presence-voice")) == {"100:11"}


def test_a_voice_of_an_older_version_is_read_and_has_no_name():
    old = b'{"user":11,"channel":5,"bot":false,"roles":[7]}'
    assert msgspec.json.decode(old, type=Voice) == Voice(11, 5, roles=frozenset({7}))


def test_a_leave_deletes(process, disk):
    process.take(moved(ADA, None), at(3))
    process.pass_s(1)
    assert disk.bodies("presence-voice") == {}


def test_who_comes_and_goes_between_two_batches_is_never_written_down(process, disk):
    process.take(moved(BEN, LOUNGE), at(3))
    process.take(moved(BEN, None), at(4))
    process.pass_s(1)
    assert {write.id for batch in disk.batches for write in batch} == {"0"}
    assert process.confirmed == at(4)


def test_a_link_that_breaks_and_comes_back_rewrites_no_guild(process, disk):
    process.take(SourceLost(0), at(2))
    process.pass_s(1)
    process.take(SessionResumed(0), at(3))
    process.pass_s(1)
    assert {write.id for batch in disk.batches for write in batch} == {"0"}


def test_a_start_rewrites_nothing_that_is_stored(process, disk):
    process.crash()
    new = Process(disk)
    new.take(SessionResumed(0), at(3))
    new.pass_s(1)
    assert [write.id for batch in disk.batches for write in batch] == ["0"]


def test_a_sequence_that_moved_without_a_change_is_stored_in_a_while(process):
    process.session_state = at(900)
    process.pass_s(11)
    assert process.confirmed == at(900)


def test_stopping_stores_the_last_change(process, disk):
    process.take(moved(BEN, GAMES), at(3))
    stopped = process.journal.stopService()
    assert stopped.called
    assert process.clock.getDelayedCalls() == []
    assert Process(disk).session_state == at(3)


def test_stopping_does_not_wait_for_ever(process, disk):
    process.take(moved(BEN, GAMES), at(3))
    disk.slow = True
    stopped = process.journal.stopService()
    process.pass_s(4)
    assert not stopped.called
    process.pass_s(2)
    assert stopped.called


def test_a_stop_in_the_middle_of_a_write_stores_all_the_same(process, disk):
    process.take(moved(BEN, GAMES), at(3))
    disk.slow = True
    process.clock.advance(0)
    process.take(moved(ADA, None), at(4))
    stopped = process.journal.stopService()
    disk.work(2)
    assert stopped.called
    disk.slow = False
    new = Process(disk)
    assert new.session_state == at(4)
    assert set(new.presence.guilds[HOME].voices) == {BEN}


# ---- a store in trouble ------------------------------------------------------------


def test_while_the_store_is_away_presence_goes_on_and_is_stored_later(process, disk):
    disk.away = True
    for seq in range(3, 1003):
        process.take(moved(1000 + seq, GAMES), at(seq))
        process.take(moved(1000 + seq, None), at(seq))
    process.take(moved(BEN, GAMES), at(1003))
    process.pass_s(5)
    assert process.lights.everything.count == 2
    assert process.confirmed == at(2)
    assert process.value("waiting") == 1  # whoever came and went is forgotten
    assert 2 <= process.value("failures_total") <= 4
    disk.away = False
    process.pass_s(30)
    assert process.confirmed == at(1003)
    assert set(disk.bodies("presence-voice")) == {"100:11", "100:12"}
    assert process.value("waiting") == 0


def test_an_answer_that_got_lost_costs_nothing(process, disk):
    disk.keeps_but_fails = True
    process.take(moved(BEN, GAMES), at(3))
    process.clock.advance(0)
    assert process.confirmed == at(2)
    process.take(moved(BEN, None), at(4))
    disk.keeps_but_fails = False
    process.pass_s(2)
    assert process.confirmed == at(4)
    assert set(disk.bodies("presence-voice")) == {"100:11"}


def test_a_guild_that_is_as_before_a_lost_answer_is_written_all_the_same(process, disk):
    disk.keeps_but_fails = True
    process.take(GuildUpdated(HOME, "another name", AFK), at(3))
    process.clock.advance(0)
    disk.keeps_but_fails = False
    process.take(GuildUpdated(HOME, "a guild", AFK), at(4))
    process.pass_s(2)
    assert disk.bodies("presence-guild")["100"]["name"] == "a guild"


def test_a_session_that_may_be_stored_is_deleted_when_it_ends(disk):
    process = Process(disk)
    disk.keeps_but_fails = True
    process.take(SessionBegan(0, ME, frozenset({HOME})), at(1))
    process.clock.advance(0)
    disk.keeps_but_fails = False
    process.session_state = None
    process.pass_s(2)
    assert disk.bodies("gateway-session")["0"]["session"] is None


def test_a_store_that_hangs_holds_nobody_up_for_long(process, disk):
    process.crash()
    disk.hangs = True
    new = Process(disk)
    new.pass_s(LOAD_WITHIN_S - 0.5)
    assert not new.asked.called
    new.pass_s(1)
    assert new.asked.called
    assert new.session_state is None
    assert new.value("failures_total") == 1


def test_what_could_not_be_read_leaves_no_ghosts(process, disk):
    process.crash()
    disk.away = True
    new = Process(disk)
    disk.away = False
    new.pass_s(15)
    assert disk.batches == []  # Discord has not spoken: the next process may read it
    new.take(SessionBegan(0, ME, frozenset({AWAY})), at(1))
    new.take(arrived(AWAY, Voice(BEN, GAMES)), at(2))
    new.pass_s(1)
    assert set(disk.bodies("presence-guild")) == {"200"}
    assert set(disk.bodies("presence-voice")) == {"200:12"}
    assert new.confirmed == at(2)


def test_what_cannot_be_understood_is_replaced(process, disk):
    process.crash()
    Deferred.fromCoroutine(disk.put("presence-voice", "100:77", b"{]"))
    new = Process(disk)
    assert new.session_state is None
    new.take(SessionBegan(0, ME, frozenset({HOME})), at(1))
    new.pass_s(1)
    assert disk.bodies("presence-voice") == {}


def test_a_stop_before_anything_was_read_deletes_nothing(process, disk):
    process.crash()
    disk.hangs = True
    new = Process(disk)
    assert new.journal.stopService().called
    disk.hangs = False
    assert Process(disk).session_state == at(2)


def test_a_stop_before_the_link_was_begun_keeps_the_session(process, disk):
    process.crash()
    new = Process(disk, begins=False)
    new.journal.spread(1)
    new.hub.apply(GuildUpdated(HOME, "another name", None))
    assert new.journal.stopService().called
    assert Process(disk).session_state == at(2)


# ---- several shards ----------------------------------------------------------------

ODD, EVEN = 1 << 22, 2 << 22


@pytest.fixture
def two(disk):
    """A process of two shards, with a guild in each; all of it is stored."""
    two = Process(disk, shards=2)
    for shard, guild in enumerate((EVEN, ODD)):
        two.hub.apply(SessionBegan(shard, ME, frozenset({guild})))
        voice = Voice(ADA + shard, LOUNGE)
        two.hub.apply(replace(arrived(guild, voice), shard=shard))
        two.hub.apply(SyncEnded(shard))
        two.links[shard].session_state = at(10 + shard)
    two.pass_s(2)
    disk.batches.clear()
    return two


def test_every_shards_session_is_kept_and_given_back_to_it(two, disk):
    assert [link.confirmed for link in two.links.values()] == [at(10), at(11)]
    two.crash()
    new = Process(disk, shards=2)
    assert new.resumable == 2
    assert [link.session_state for link in new.links.values()] == [at(10), at(11)]
    assert {id_: guild.shard for id_, guild in new.presence.guilds.items()} == {
        EVEN: 0,
        ODD: 1,
    }


def test_one_shards_progress_is_stored_without_the_others(two, disk):
    two.links[1].session_state = at(12)
    two.hub.apply(VoiceUpdated(ODD, BEN, Voice(BEN, GAMES), False))
    two.pass_s(1)
    (batch,) = disk.batches
    assert {(change.kind, change.id) for change in batch} == {
        ("presence-voice", f"{ODD}:{BEN}"),
        ("gateway-session", "1"),
    }


@pytest.mark.parametrize("shards", [1, 3])
def test_among_another_number_of_shards_no_session_fits_and_the_picture_stands(
    two, disk, shards
):
    two.crash()
    new = Process(disk, shards=shards)
    assert new.resumable == 2
    assert all(link.session_state is None for link in new.links.values())
    assert new.lights.everything == Light(True, True, 2, stale=True)
    new.pass_s(2)
    new.crash()
    # All guilds had been named, so the next one may still say "nobody".
    again = Process(disk, shards=shards)
    assert again.resumable is None
    assert again.presence.heard
    assert disk.bodies("gateway-session").keys() == {str(n) for n in range(shards)}


def test_what_was_spread_anew_while_it_ran_is_not_resumed_as_before(two, disk):
    links = {shard: Link() for shard in range(4)}
    disk.slow = True
    two.links[1].session_state = at(12)
    two.journal.mark()
    two.pass_s(0.5)
    two.journal.spread(4)
    for shard, link in links.items():
        two.journal.add(shard, link, None)
    disk.slow = False
    disk.work(1)
    two.pass_s(1)
    disk.work(1)
    assert all(link.confirmed is None for link in links.values())
    assert {guild.knowledge for guild in two.presence.guilds.values()} == {
        Knowledge.STALE
    }
    links[3].session_state = at(1)
    two.journal.mark()
    two.pass_s(1)
    two.crash()
    assert Process(disk, shards=4).resumable == 4


def test_of_what_other_processes_keep_nothing_is_touched(two, disk):
    two.crash()
    mine = Process(disk, begins=False)
    mine.session_state = at(10)
    mine.hold(0, 5)
    mine.hub.apply(VoiceUpdated(ODD, BEN, Voice(BEN, GAMES), False))
    mine.hub.apply(GuildRemoved(ODD))
    mine.take(GuildRemoved(EVEN), at(12))
    mine.pass_s(2)
    touched = {change.id for batch in disk.batches for change in batch}
    assert touched == {str(EVEN), f"{EVEN}:{ADA}", "0"}
    assert disk.bodies("presence-guild").keys() == {str(ODD)}
    assert disk.bodies("gateway-session").keys() == {"0", "1"}


def test_a_holder_stores_what_the_one_before_it_had_not_and_deletes_what_is_gone(
    two, disk
):
    two.crash()
    next_one = Process(disk, begins=False)
    next_one.hub.apply(VoiceUpdated(EVEN, ADA, None, False))
    next_one.hub.apply(VoiceUpdated(EVEN, BEN, Voice(BEN, GAMES), False))
    next_one.session_state = at(12)
    next_one.hold(0, 5)
    next_one.pass_s(1)
    assert next_one.confirmed == at(12)
    assert set(disk.bodies("presence-voice")) == {f"{EVEN}:{BEN}", f"{ODD}:{BEN}"}


def test_who_has_lost_its_shard_stores_nothing_of_it_any_more(two, disk):
    two.crash()
    slow, new = (Process(disk, begins=False) for _ in range(2))
    slow.hold(0, 5)
    new.session_state = at(12)
    new.hold(0, 6)
    new.pass_s(1)
    disk.batches.clear()
    slow.take(VoiceUpdated(EVEN, BEN, Voice(BEN, GAMES), False), at(11))
    slow.pass_s(30)
    dropped = Deferred.fromCoroutine(slow.journal.drop(0))
    assert dropped.called
    assert disk.batches == []
    assert slow.value("failures_total") == 0
    assert slow.clock.getDelayedCalls() == []


@pytest.mark.parametrize("told", [True, False])
def test_a_store_that_forgot_everything_is_told_it_again(two, disk, told):
    two.crash()
    mine = Process(disk, begins=False)
    mine.session_state = at(10)
    mine.hold(0, 5)
    mine.pass_s(1)
    before = {kind: disk.bodies(kind) for kind in ("presence-guild", "presence-voice")}
    disk.forget()
    mine.take(VoiceUpdated(EVEN, BEN, Voice(BEN, GAMES), False), at(10))
    mine.take(VoiceUpdated(EVEN, BEN, None, False), at(10))
    if told:
        mine.journal.rewrite()
    else:  # it finds out by itself, when it writes where it is
        mine.session_state = at(10, syncing=True)
        mine.journal.mark()
        mine.pass_s(1)
        mine.session_state = at(10)
        mine.journal.mark()
    mine.pass_s(2)
    assert disk.bodies("gateway-session")["0"]["session"]["seq"] == 10
    for kind, bodies in before.items():
        of_0 = {id_: body for id_, body in bodies.items() if id_.startswith(str(EVEN))}
        assert disk.bodies(kind) == of_0


def test_who_left_after_the_store_forgot_everything_leaves_no_ghost(two, disk):
    two.crash()
    mine = Process(disk, begins=False)
    mine.session_state = at(10)
    mine.hold(0, 5)
    mine.pass_s(1)
    disk.forget()
    mine.hub.apply(VoiceUpdated(EVEN, BEN, Voice(BEN, GAMES), False))
    mine.pass_s(1)
    mine.hub.apply(VoiceUpdated(EVEN, BEN, None, False))
    mine.journal.rewrite()
    mine.pass_s(1)
    assert set(disk.bodies("presence-voice")) == {f"{EVEN}:{ADA}"}


def test_a_store_that_failed_and_forgot_everything_is_told_it_again(two, disk):
    two.crash()
    mine = Process(disk, begins=False)
    mine.session_state = at(10)
    mine.hold(0, 5)
    mine.pass_s(1)
    disk.away = True
    mine.take(VoiceUpdated(EVEN, BEN, Voice(BEN, GAMES), False), at(11))
    mine.pass_s(2)
    disk.away = False
    disk.forget()
    mine.pass_s(30)
    assert mine.confirmed == at(11)
    assert set(disk.bodies("presence-voice")) == {f"{EVEN}:{ADA}", f"{EVEN}:{BEN}"}


def test_what_is_stored_of_one_shard_can_be_read_again(two, disk):
    two.crash()
    mine = Process(disk, begins=False)
    mine.journal.spread(2)
    two.links[1].session_state = at(20)
    recalled = mine.recalled(1)
    assert (recalled.session, recalled.me, recalled.count) == (at(11), ME, 2)
    ((picture, voices),) = recalled.guilds
    assert (picture.guild, [voice.user for voice in voices]) == (ODD, [BEN])
    mine.journal.spread(4)
    assert mine.recalled(1) is None
    other = Process(disk, "another bot", begins=False)
    other.journal.spread(2)
    assert other.recalled(1) is None
    disk.away = True
    assert mine.recalled(1) is None


def test_what_a_session_was_made_for_shows_no_token():
    one = made_for("very.secret.token", "https://discord.com/api", 129, (1, 2))
    assert "secret" not in one
    assert one == made_for("very.secret.token", "https://discord.com/api", 129, (1, 2))
    others = [
        made_for("another.token", "https://discord.com/api", 129, (1, 2)),
        made_for("very.secret.token", "http://localhost/api", 129, (1, 2)),
        made_for("very.secret.token", "https://discord.com/api", 131, (1, 2)),
        made_for("very.secret.token", "https://discord.com/api", 129, (1,)),
    ]
    assert len({one, *others}) == 5


# ---- any order of events and crashes -----------------------------------------------

GUILDS = st.sampled_from([HOME, AWAY])
USERS = st.sampled_from([ME, ADA, BEN, BOT])
CHANNELS = st.sampled_from([LOUNGE, GAMES, AFK])
VOICES = st.builds(Voice, USERS, CHANNELS, mute=st.booleans()).map(
    lambda voice: replace(voice, bot=voice.user in {ME, BOT})
)
EVENTS = st.one_of(
    st.builds(moved, USERS, st.none() | CHANNELS, GUILDS),
    st.builds(moved, USERS, st.none() | CHANNELS, GUILDS),
    st.builds(
        GuildArrived,
        st.just(0),
        GUILDS,
        st.just("a guild"),
        st.none() | CHANNELS,
        st.lists(CHANNELS, unique=True).map(lambda c: tuple(map(channel, c))),
        st.lists(VOICES, unique_by=lambda v: v.user).map(tuple),
    ),
    st.builds(GuildUpdated, GUILDS, st.sampled_from("ab"), st.none() | CHANNELS),
    st.builds(GuildUnavailable, GUILDS),
    st.builds(GuildRemoved, GUILDS),
    st.builds(ChannelUpserted, GUILDS, CHANNELS.map(channel)),
    st.builds(ChannelDeleted, GUILDS, CHANNELS),
    st.builds(MemberRemoved, GUILDS, USERS),
)


class AnyLife(RuleBasedStateMachine):
    """A process that crashes at any moment, beside one that never does.

    Discord forgets what was confirmed to it, and replays the rest.
    """

    @initialize(batch_max=st.sampled_from([BATCH_MAX, 2]))
    def begin(self, batch_max):
        self.disk, self.truth = Disk(), Presence()
        self.start = partial(Process, self.disk, batch_max=batch_max)
        self.process = self.start()
        self.sessions = 0
        self.identify(frozenset({HOME}))

    def state(self):
        return SessionState(
            f"session {self.sessions}", self.seq, "wss://resume.example", self.syncing
        )

    def tell(self, event):
        self.truth.apply(event)
        self.process.take(event, self.state())

    def dispatch(self, event):
        self.seq += 1
        self.replay.append((self.seq, event))
        self.tell(event)

    @rule(listed=st.frozensets(GUILDS, min_size=1))
    def identify(self, listed):
        self.sessions += 1
        self.seq, self.syncing, self.replay = 1, True, []
        self.tell(SourceLost(0))
        self.tell(SessionBegan(0, ME, listed))
        self.process.journal.mark()

    @rule(event=EVENTS)
    def happen(self, event):
        self.dispatch(event)

    @rule(many=st.integers(1, 5))
    def something_else_happens(self, many):
        self.seq += many
        self.process.session_state = self.state()

    @rule()
    def end_the_telling(self):
        self.syncing = False
        self.tell(SyncEnded(0))
        self.process.journal.mark()

    @rule()
    def break_and_mend_the_link(self):
        self.tell(SourceLost(0))
        self.tell(SessionResumed(0))

    @rule(seconds=st.sampled_from([0, 0.25, 1, 20]))
    def wait(self, seconds):
        self.process.clock.advance(0)
        self.process.pass_s(seconds)

    @rule(event=EVENTS, trouble=st.sampled_from(["away", "keeps_but_fails"]))
    def happen_in_trouble(self, event, trouble):
        setattr(self.disk, trouble, True)
        self.dispatch(event)
        self.process.pass_s(0.5)
        setattr(self.disk, trouble, False)

    @rule(slow=st.booleans())
    def slow_down(self, slow):
        self.disk.slow = slow

    @precondition(lambda self: self.disk.waiting)
    @rule(many=st.integers(1, 3))
    def work_slowly(self, many):
        self.disk.work(many)

    @rule(done=st.integers(0, 3))
    def crash(self, done):
        self.process.crash()
        self.disk.work(done)
        self.come_back()

    @rule()
    def stop(self):
        stopped = self.process.journal.stopService()
        self.disk.work(9)
        self.process.pass_s(6)
        assert stopped.called
        self.process.crash()
        self.come_back()

    def come_back(self):
        confirmed = self.process.confirmed
        self.disk.waiting.clear()
        self.disk.slow = False
        self.process = self.start()
        known = self.process.session_state
        if known is None or known.session_id != f"session {self.sessions}":
            # Of this session nothing was confirmed, so Discord lost nothing.
            assert confirmed is None or confirmed.session_id != self.state().session_id
            self.begin_anew()
        else:
            if confirmed and confirmed.session_id == known.session_id:
                assert known.seq >= confirmed.seq, "Discord has forgotten some"
            for seq, event in self.replay:
                if seq > known.seq:
                    at_it = replace(known, seq=seq)
                    self.process.take(event, at_it)
            self.truth.apply(SourceLost(0))
            self.truth.apply(SessionResumed(0))
            self.process.take(SessionResumed(0), replace(known, seq=self.seq))
            if known.syncing and not self.syncing:
                self.process.take(SyncEnded(0), self.state())
            self.process.session_state = self.state()

    def begin_anew(self):
        """The resume was refused, or there was nothing to resume."""
        guilds = dict(self.truth.guilds)
        self.identify(frozenset(guilds))
        for guild in guilds.values():
            places = tuple(guild.channels.values())
            voices = tuple(guild.voices.values())
            self.dispatch(
                GuildArrived(0, guild.id, "a", guild.afk_channel, places, voices)
            )
        self.end_the_telling()

    @invariant()
    def it_knows_what_is_true(self):
        if hasattr(self, "process"):
            assert picture(self.process.presence) == picture(self.truth)
            assert self.process.presence.heard

    def teardown(self):
        if hasattr(self, "process"):
            self.process.crash()


AnyLife.TestCase.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None
)
TestAnyLife = AnyLife.TestCase
