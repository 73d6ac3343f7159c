"""A gateway session as a client meets it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from voicestatus.simulator.log import ClientLog
from voicestatus.simulator.messages import Messages
from voicestatus.simulator.session import Close, Connection, Publish
from voicestatus.simulator.sessions import Rules, Sessions
from voicestatus.simulator.world import Dispatch, Voice, World

GUILD = 1187000000000000001
MEMBERS, VOICES, MESSAGES = 2, 128, 512


def walk(hall: Any, times: int, user: int = 5) -> None:
    """One person goes to and fro, so many times."""
    hall.publish(hall.world.meet(GUILD, user))
    for n in range(times):
        hall.publish(hall.world.join(GUILD, user, hall.rooms[n % 2]))


# -- the beginning ---------------------------------------------------------------


def test_hello_comes_first_and_tells_the_interval(make_hall: Any) -> None:
    client = make_hall(heartbeat_interval_s=41.25).connect()
    assert client.told[0]["op"] == 10
    assert client.told[0]["d"]["heartbeat_interval"] == 41250


def test_ready_names_each_guild_and_then_tells_it(
    hall: Any, fixture_data: Callable[[str], Any]
) -> None:
    client = hall.connect().identify()
    assert client.names == ["READY", "GUILD_CREATE"]
    ready = client.last("READY")
    assert ready.keys() == fixture_data("gateway/ready").keys()
    assert ready["user"].keys() == fixture_data("gateway/ready")["user"].keys()
    assert ready["guilds"] == [{"id": str(GUILD), "unavailable": True}]
    assert ready["resume_gateway_url"] == "ws://here/gateway"
    assert [m["s"] for m in client.told if m["op"] == 0] == [1, 2]


def test_a_guild_in_outage_is_told_as_unavailable(hall: Any) -> None:
    hall.world.begin_outage(GUILD)
    client = hall.connect().identify()
    assert client.names == ["READY", "GUILD_DELETE"]
    assert client.last("GUILD_DELETE")["unavailable"]


def test_a_heartbeat_is_acknowledged_even_before_identify(hall: Any) -> None:
    assert hall.connect().say(1).ops == [10, 11]


def test_a_zombie_acknowledges_nothing(hall: Any) -> None:
    client = hall.connect().identify()
    client.connection.acknowledges = False
    before = list(client.told)
    assert client.say(1, 2).told == before


def test_a_shard_is_told_only_its_own_guilds(make_hall: Any) -> None:
    hall = make_hall(guilds=(0 << 22, 1 << 22, 2 << 22), identify_every_s=0)
    told = hall.connect().identify(shard=[1, 2]).last("GUILD_CREATE")
    assert told["id"] == str(1 << 22)
    other = hall.connect().identify(shard=[0, 2])
    assert other.names.count("GUILD_CREATE") == 2


def test_who_is_in_more_guilds_than_so_few_shards_may_serve_is_closed_with_4011(
    make_hall: Any,
) -> None:
    hall = make_hall(
        guilds=(0 << 22, 1 << 22, 2 << 22), guilds_a_shard=1, identify_every_s=0
    )
    assert hall.connect().identify(shard=[1, 2]).closed == 4011
    assert hall.connect().identify(shard=[1, 3]).names[0] == "READY"


# -- what closes a connection -----------------------------------------------------


@pytest.mark.parametrize(
    ("code", "act"),
    [
        (4001, lambda c: c.identify().say(99, {})),
        (4002, lambda c: c.say_raw(b"no json")),
        (4002, lambda c: c.say_raw(b"[1]")),
        (4002, lambda c: c.say_raw(b'{"d":1}')),
        (4002, lambda c: c.say_raw(b"\xff\xfe")),
        (4002, lambda c: c.say(2, "text")),
        (4002, lambda c: c.identify().say(4, {"guild_id": "x"})),
        (4002, lambda c: c.identify(properties={"os": "x" * 4096})),
        (4002, lambda c: c.identify().say(8, {"guild_id": None})),
        (4003, lambda c: c.say(3, {})),
        (4003, lambda c: c.resume("nobody", 1).say(1)),
        (4004, lambda c: c.identify(token="wrong")),
        (4004, lambda c: c.identify(token=5)),
        (4004, lambda c: c.resume("nobody", 1, token="wrong")),
        (4005, lambda c: c.identify().identify()),
        (4005, lambda c: c.identify().resume("nobody", 1)),
        (4010, lambda c: c.identify(shard=[1, 1])),
        (4010, lambda c: c.identify(shard="x")),
        (4013, lambda c: c.identify(intents=1 << 18)),
        (4013, lambda c: c.identify(intents="129")),
    ],
)
def test_each_mistake_closes_with_its_own_code(
    hall: Any, code: int, act: Callable[[Any], object]
) -> None:
    client = hall.connect()
    act(client)
    assert client.closed == code


def test_a_privileged_intent_that_is_not_granted_closes_with_4014(
    make_hall: Any,
) -> None:
    assert make_hall(disallowed_intents=MEMBERS).connect().identify(3).closed == 4014


@pytest.mark.parametrize(
    ("query", "code"), [({"v": "6"}, 4012), ({"encoding": "etf"}, 4002)]
)
def test_another_dialect_is_refused(
    hall: Any, query: dict[str, str], code: int
) -> None:
    client = hall.connect(**query)
    assert (client.closed, client.told) == (code, [])


def test_121_messages_in_a_minute_close_with_4008(hall: Any) -> None:
    client = hall.connect()
    for _ in range(120):
        client.say(1)
    assert client.closed is None
    assert client.say(1).closed == 4008


def test_120_messages_a_minute_may_go_on_for_ever(hall: Any) -> None:
    client = hall.connect()
    for _ in range(600):
        hall.now += 0.5
        client.say(1)
    assert client.closed is None


def test_a_session_without_heartbeats_times_out_and_is_gone(make_hall: Any) -> None:
    hall = make_hall(heartbeat_interval_s=10.0)
    client = hall.connect().identify()
    hall.now += 14.0
    client.perform(client.connection.tick(hall.now))
    assert client.closed is None
    hall.now += 1.0
    client.perform(client.connection.tick(hall.now))
    assert client.closed == 4009
    assert hall.connect().resume("session-0", 1).told[-1] == {
        "op": 9,
        "d": False,
        "s": None,
        "t": None,
    }


def test_each_heartbeat_buys_more_time(make_hall: Any) -> None:
    hall = make_hall(heartbeat_interval_s=10.0)
    client = hall.connect()
    for _ in range(10):
        hall.now += 10.0
        client.say(1)
        client.perform(client.connection.tick(hall.now))
    assert client.closed is None


def test_a_connection_that_is_over_hears_and_says_nothing(hall: Any) -> None:
    client = hall.connect().identify().say(99)
    assert client.closed == 4001
    told = list(client.told)
    connection = client.connection
    client.identify().perform(connection.tick(hall.now))
    for effects in (
        connection.ask_to_reconnect(),
        connection.invalidate(resumable=True, now=hall.now),
        connection.shut(4000, "again", hall.now),
    ):
        client.perform(effects)
    assert (client.told, client.closed) == (told, 4001)


# -- who may identify ------------------------------------------------------------


def test_a_second_identify_within_five_seconds_is_invalid(hall: Any) -> None:
    hall.connect().identify()
    hall.now += 4.9
    assert hall.connect().identify().told[-1]["d"] is False
    hall.now += 0.1
    assert hall.connect().identify().names[0] == "READY"


def test_shards_of_different_keys_may_identify_together(make_hall: Any) -> None:
    hall = make_hall(max_concurrency=2)
    assert hall.connect().identify(shard=[0, 4]).names[0] == "READY"
    assert hall.connect().identify(shard=[1, 4]).names[0] == "READY"
    assert hall.connect().identify(shard=[2, 4]).ops[-1] == 9


def test_the_start_limit_counts_down_and_then_costs_the_token(make_hall: Any) -> None:
    hall = make_hall(session_starts=2, identify_every_s=0)
    assert hall.sessions.start_limit(hall.now)["remaining"] == 2
    hall.connect().identify()
    hall.connect().identify()
    assert hall.sessions.start_limit(hall.now)["remaining"] == 0
    assert hall.connect().identify().closed == 4004
    hall.now += 86_400
    assert hall.sessions.start_limit(hall.now)["remaining"] == 2
    assert hall.connect().identify().closed is None


# -- resume ----------------------------------------------------------------------


@pytest.mark.parametrize("seen", range(8))
def test_a_resume_replays_exactly_what_was_missed(hall: Any, seen: int) -> None:
    witness, client = hall.connect().identify(), hall.connect()
    hall.now += 5
    client.identify()
    client.lose()
    walk(hall, 6)
    again = hall.connect().resume("session-1", seen)
    dispatches = [message for message in again.told if message["op"] == 0]
    whole = [message for message in witness.told if message["op"] == 0]
    assert [m["s"] for m in dispatches[:-1]] == list(range(seen + 1, 9))
    assert [m["d"] for m in dispatches[max(0, 2 - seen) : -1]] == [
        m["d"] for m in whole[max(seen, 2) :]
    ]
    assert again.names[-1] == "RESUMED"


def test_a_resumed_session_goes_on_where_it_was(hall: Any) -> None:
    client = hall.connect().identify()
    client.lose()
    walk(hall, 1)
    again = hall.connect().resume("session-0", 2)
    walk(hall, 3)
    assert again.names[-2:] == ["VOICE_STATE_UPDATE", "VOICE_STATE_UPDATE"]
    numbers = [m["s"] for m in again.told if m["op"] == 0]
    assert numbers == sorted(set(numbers))


def test_a_session_can_be_resumed_again_and_again(hall: Any) -> None:
    client = hall.connect().identify()
    for n in range(5):
        client.lose()
        walk(hall, n + 1)
        client = hall.connect().resume("session-0", client.seq)
        assert client.names[-1] == "RESUMED"


def test_a_resume_is_too_late_after_the_window(make_hall: Any) -> None:
    hall = make_hall(resume_window_s=120)
    hall.connect().identify().lose()
    hall.now += 120
    assert hall.connect().resume("session-0", 2).names == ["RESUMED"]
    hall.clients[-1].lose()
    hall.now += 120.1
    assert hall.connect().resume("session-0", 2).told[-1]["op"] == 9


def test_an_overrun_buffer_makes_the_session_invalid(make_hall: Any) -> None:
    hall = make_hall(replay_limit=10)
    client = hall.connect().identify()
    client.lose()
    walk(hall, 11)
    assert hall.connect().resume("session-0", 2).told[-1]["d"] is False


def test_a_full_buffer_that_holds_all_that_was_missed_is_enough(
    make_hall: Any,
) -> None:
    hall = make_hall(replay_limit=10)
    hall.connect().identify().lose()
    walk(hall, 10)
    assert hall.connect().resume("session-0", 2).names[-1] == "RESUMED"


def test_a_resume_needs_a_number(hall: Any) -> None:
    hall.connect().identify().lose()
    assert hall.connect().resume("session-0", None).closed == 4002


def test_a_sequence_that_was_never_sent_closes_with_4007(hall: Any) -> None:
    hall.connect().identify().lose()
    assert hall.connect().resume("session-0", 3).closed == 4007
    assert hall.connect().resume("session-0", 2).told[-1]["op"] == 9


@pytest.mark.parametrize(
    ("code", "kept"), [(1000, False), (1001, False), (4000, True), (None, True)]
)
def test_only_1000_and_1001_of_the_client_end_the_session(
    hall: Any, code: int | None, kept: bool
) -> None:
    hall.connect().identify().lose(code)
    again = hall.connect().resume("session-0", 2)
    assert (again.names == ["RESUMED"]) is kept


@pytest.mark.parametrize(("code", "kept"), [(4000, True), (1001, True), (4009, False)])
def test_the_servers_code_says_whether_a_resume_is_possible(
    hall: Any, code: int, kept: bool
) -> None:
    client = hall.connect().identify()
    client.perform(client.connection.shut(code, "as told", hall.now))
    assert client.closed == code
    assert (hall.connect().resume("session-0", 2).names == ["RESUMED"]) is kept


def test_a_session_that_is_resumed_elsewhere_leaves_its_old_connection(
    hall: Any,
) -> None:
    old = hall.connect().identify()
    new = hall.connect().resume("session-0", 2)
    assert old.closed == 4000
    walk(hall, 1)
    assert new.names[-1] == "VOICE_STATE_UPDATE"


def test_forgotten_sessions_cannot_be_resumed_but_are_served(hall: Any) -> None:
    client = hall.connect().identify()
    hall.now += 5
    hall.connect().identify().lose()
    hall.sessions.forget()
    walk(hall, 1)
    assert client.names[-1] == "VOICE_STATE_UPDATE"
    client.lose()
    for session in ("session-0", "session-1"):
        assert hall.connect().resume(session, 2).told[-1]["d"] is False


@pytest.mark.parametrize("resumable", [True, False])
def test_an_invalidated_session_tells_whether_it_may_be_resumed(
    hall: Any, resumable: bool
) -> None:
    client = hall.connect().identify()
    told = client.connection.invalidate(resumable=resumable, now=hall.now)
    client.perform(told)
    assert client.told[-1]["d"] is resumable
    assert client.say(1).closed == 4003
    again = hall.connect().resume("session-0", 2)
    assert (again.names == ["RESUMED"]) is resumable


# -- intents ---------------------------------------------------------------------


def test_a_session_is_told_only_what_its_intents_let_through(hall: Any) -> None:
    clients = {}
    for intents in (0, 1, VOICES, MEMBERS, MESSAGES):
        hall.now += 5
        clients[intents] = hall.connect().identify(intents)
        clients[intents].told.clear()
    walk(hall, 1)
    home = hall.world.guilds[GUILD]
    hall.publish(Messages(hall.world).write(home.system, home.owner, "hi", "T"))
    hall.publish(hall.world.add_channel(GUILD))
    assert {intents: client.names for intents, client in clients.items()} == {
        0: [],
        1: ["CHANNEL_CREATE"],
        VOICES: ["VOICE_STATE_UPDATE"],
        MEMBERS: ["GUILD_MEMBER_ADD"],
        MESSAGES: ["MESSAGE_CREATE"],
    }


def test_what_a_session_may_not_know_takes_no_number(hall: Any) -> None:
    client = hall.connect().identify(1)
    walk(hall, 5)
    hall.publish(hall.world.add_channel(GUILD))
    assert client.seq == 3


# -- commands --------------------------------------------------------------------


def test_the_bot_moves_by_op_4_and_what_cannot_be_is_not_answered(hall: Any) -> None:
    client = hall.connect().identify()
    room = hall.rooms[0]
    order = {"guild_id": str(GUILD), "channel_id": str(room), "self_mute": True}
    client.say(4, order)
    state = client.last("VOICE_STATE_UPDATE")
    assert (state["channel_id"], state["self_mute"]) == (str(room), True)
    told = len(client.told)
    client.say(4, order | {"channel_id": "1"}).say(4, order | {"guild_id": "1"})
    assert len(client.told) == told
    client.say(4, order | {"channel_id": None})
    assert client.last("VOICE_STATE_UPDATE")["channel_id"] is None


def test_members_are_found_by_id_and_by_the_beginning_of_a_name(hall: Any) -> None:
    client = hall.connect().identify()
    owner = hall.world.guilds[GUILD].owner
    client.say(8, {"guild_id": str(GUILD), "user_ids": [str(owner), "9"], "nonce": "n"})
    chunk = client.last("GUILD_MEMBERS_CHUNK")
    assert [m["user"]["id"] for m in chunk["members"]] == [str(owner)]
    assert (chunk["not_found"], chunk["nonce"]) == (["9"], "n")
    client.say(8, {"guild_id": str(GUILD), "query": "ad", "limit": 5})
    chunk = client.last("GUILD_MEMBERS_CHUNK")
    assert [m["user"]["username"] for m in chunk["members"]] == ["ada"]


def test_all_members_need_the_intent_come_in_chunks_and_not_twice(
    make_hall: Any,
) -> None:
    hall = make_hall(identify_every_s=0)
    hall.world.add_guild(77, members=1500)
    everybody = {"guild_id": "77", "query": "", "limit": 0}
    assert (
        "GUILD_MEMBERS_CHUNK" not in hall.connect().identify().say(8, everybody).names
    )
    client = hall.connect().identify(3).say(8, everybody)
    chunks = [m["d"] for m in client.told if m["t"] == "GUILD_MEMBERS_CHUNK"]
    assert [len(chunk["members"]) for chunk in chunks] == [1000, 501]
    assert client.say(8, everybody).names[-1] == "RATE_LIMITED"
    hall.now += 30
    assert client.say(8, everybody).names[-1] == "GUILD_MEMBERS_CHUNK"


def test_sounds_and_channel_info_are_answered_for_each_guild(hall: Any) -> None:
    client = hall.connect().identify()
    client.say(31, {"guild_ids": [str(GUILD), "1"]})
    assert client.last("SOUNDBOARD_SOUNDS")["guild_id"] == str(GUILD)
    client.say(43, {"guild_id": str(GUILD), "fields": ["status"]})
    info = client.last("CHANNEL_INFO")
    assert len(info["channels"]) == 4
    assert set(info["channels"][0]) == {"id", "status"}
    assert client.say(3, {"status": "idle"}).closed is None


def test_a_question_about_no_guild_of_ours_is_not_answered(hall: Any) -> None:
    client = hall.connect().identify()
    told = len(client.told)
    client.say(8, {"guild_id": "1", "user_ids": ["1"]}).say(31, {})
    client.say(43, {"guild_id": "1", "fields": []})
    hall.world.begin_outage(GUILD)
    client.say(8, {"guild_id": str(GUILD), "user_ids": "1"})
    assert len(client.told) == told


# -- the log ---------------------------------------------------------------------


def test_the_log_tells_what_clients_did_and_no_token(hall: Any) -> None:
    client = hall.connect(v="10").identify(token="t").say(1, 2)
    client.lose(4000)
    hall.connect().resume("session-0", 2)
    hall.connect().identify(token="a-secret")
    kinds = [entry["kind"] for entry in hall.log.since()]
    assert kinds == [
        *("connect", "identify", "heartbeat", "close"),
        *("connect", "resume", "resumed", "connect", "identify", "close"),
    ]
    assert "a-secret" not in json.dumps(hall.log.since())
    assert [entry["kind"] for entry in hall.log.since(8)] == kinds[8:]
    assert hall.log.since(99) == []


def test_the_log_is_bounded() -> None:
    log = ClientLog(limit=3)
    for n in range(10):
        log.add(float(n), "rest")
    assert [entry["seq"] for entry in log.since()] == [8, 9, 10]
    assert [entry["seq"] for entry in log.since(9)] == [10]


# -- the whole of it -------------------------------------------------------------


class Mirror(RuleBasedStateMachine):
    """Whatever happens, a client that keeps up or resumes ends with the truth."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World((7, 8))
        ids = iter(range(100_000))
        rules = Rules(identify_every_s=0, session_starts=10**6, replay_limit=40)
        self.sessions = Sessions(rules, lambda: str(next(ids)))
        self.connection = self._connect()
        self.where: dict[str, dict[str, str]] = {}
        self.unknown: set[str] = set()
        self.session, self.seq = "", 0
        self._identify()

    def _connect(self) -> Connection:
        connection = Connection(1, self.world, self.sessions, ClientLog(), "ws://h")
        connection.hello(0.0)
        return connection

    def _say(self, op: int, data: object) -> list[Any]:
        payload = json.dumps({"op": op, "d": data}).encode()
        return self.connection.receive(payload, 0.0)

    def _identify(self) -> None:
        self.where.clear()
        self.unknown.clear()
        self._take(self._say(2, {"token": "t", "intents": 129}))

    def _take(self, effects: list[Any]) -> None:
        for effect in effects:
            assert not isinstance(effect, Close)
            if isinstance(effect, Publish):
                self._publish(effect.dispatches)
            else:
                self._learn(json.loads(effect.payload))

    def _publish(self, dispatches: list[Dispatch]) -> None:
        for dispatch in dispatches:
            for session in self.sessions.alive(0.0):
                payload = session.take(dispatch)
                if payload is not None and session.holder is self.connection:
                    self._learn(json.loads(payload))

    def _learn(self, message: Any) -> None:
        if message["op"] == 9:
            self.connection, self.seq = self._connect(), 0
            self._identify()
            return
        assert message["s"] > self.seq or message["t"] == "READY"
        self.seq, data = message["s"], message["d"]
        match message["t"]:
            case "READY":
                self.session = data["session_id"]
            case "GUILD_CREATE":
                self.unknown.discard(data["id"])
                self.where[data["id"]] = {
                    state["user_id"]: state["channel_id"]
                    for state in data["voice_states"]
                }
            case "GUILD_DELETE":
                self.where.pop(data["id"], None)
                if data.get("unavailable"):
                    self.unknown.add(data["id"])
                else:
                    self.unknown.discard(data["id"])
            case "VOICE_STATE_UPDATE":
                room = self.where[data["guild_id"]]
                room.pop(data["user_id"], None)
                if data["channel_id"] is not None:
                    room[data["user_id"]] = data["channel_id"]

    guilds = st.sampled_from([7, 8])
    users = st.integers(20, 24)
    rooms = st.integers(0, 3)

    @rule(guild=guilds, user=users, room=rooms, mute=st.none() | st.booleans())
    def join(self, guild: int, user: int, room: int, mute: bool | None) -> None:
        home = self.world.guilds.get(guild)
        if home is not None and home.rooms:
            self._publish(self.world.meet(guild, user))
            channel = home.rooms[room % len(home.rooms)]
            self._publish(self.world.join(guild, user, channel, Voice(mute)))

    @rule(guild=guilds, user=users)
    def leave(self, guild: int, user: int) -> None:
        if guild in self.world.guilds:
            self._publish(self.world.leave(guild, user))

    @rule(guild=guilds, user=users)
    def dismiss(self, guild: int, user: int) -> None:
        home = self.world.guilds.get(guild)
        if home is not None and user in home.members:
            self._publish(self.world.dismiss(guild, user))

    @rule(guild=guilds, begin=st.booleans())
    def outage(self, guild: int, begin: bool) -> None:
        if guild in self.world.guilds:
            act = self.world.begin_outage if begin else self.world.end_outage
            self._publish(act(guild))

    @rule(guild=guilds)
    def guild_comes_or_goes(self, guild: int) -> None:
        known = guild in self.world.guilds
        act = self.world.remove_guild if known else self.world.add_guild
        self._publish(act(guild))

    @rule(guild=guilds, room=rooms, remove=st.booleans())
    def channel(self, guild: int, room: int, remove: bool) -> None:
        home = self.world.guilds.get(guild)
        if home is not None and not remove:
            self._publish(self.world.add_channel(guild))
        elif home is not None and home.rooms:
            channel = home.rooms[room % len(home.rooms)]
            self._publish(self.world.remove_channel(channel))

    @rule(room=rooms)
    def bot_moves(self, room: int) -> None:
        home = self.world.guilds.get(7)
        if home is not None and home.rooms:
            channel = str(home.rooms[room % len(home.rooms)])
            self._take(self._say(4, {"guild_id": "7", "channel_id": channel}))
            self._resume()  # else 120 of them are too many

    @rule(guild=guilds, moves=st.integers(0, 50))
    def cut_off_and_resume(self, guild: int, moves: int) -> None:
        self.connection.lost(None, 0.0)
        for n in range(moves):
            self.join(guild, 20 + n % 4, n % 2, None)
        self._resume()

    def _resume(self) -> None:
        self.connection.lost(None, 0.0)
        self.connection = self._connect()
        resume = {"token": "t", "session_id": self.session, "seq": self.seq}
        self._take(self._say(6, resume))

    @rule()
    def begin_anew(self) -> None:
        self.connection.lost(1000, 0.0)
        self.connection, self.seq = self._connect(), 0
        self._identify()

    @invariant()
    def the_client_knows_the_truth(self) -> None:
        truth = {
            guild: told["voice"]
            for guild, told in self.world.state()["guilds"].items()
            if guild not in self.unknown
        }
        assert self.where == truth


TestMirror = Mirror.TestCase
TestMirror.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
