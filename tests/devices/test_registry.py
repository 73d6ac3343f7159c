import json

import msgspec
import pytest
from twisted.internet.defer import Deferred

from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.fleet import (
    MAX_TOKENS,
    ROTATION_WINDOW_S,
    Enrolment,
    Record,
    Token,
)
from voicestatus.core.lights import EVERYTHING, Light
from voicestatus.devices.records import KIND
from voicestatus.devices.registry import Patch
from voicestatus.devices.session import Known, Nobody, Unsure
from voicestatus.devices.table import BATCH, FLUSH_EVERY_S, RETRY_AFTER_S
from voicestatus.devices.wire import Hello, Status
from voicestatus.store.documents import Delete, Put

RULE = '{"minCount":2}'
LIT = Light(known=True, on=True, count=1)
HELLO = Hello(id="A1", chip="esp8266", board="d1", fw="1.0", build=7, caps=("light",))


def token(number: int) -> str:
    return f"vsd_{number:A>43}"


class FakeConnection:
    """A connection that keeps what the registry does with it."""

    def __init__(self, rule=EVERYTHING, address="192.0.2.1"):
        self.address, self.dialled, self.rule = address, "/ws", rule
        self.follows = []
        self.texts = []
        self.ended = False

    def follow(self, rule, *, rich):
        self.follows.append((rule, rich))

    def send(self, text):
        self.texts.append(json.loads(text))

    def dismiss(self, id_=None):
        self.ended = True

    def showing(self):
        return LIT, ((1.0, "1"),)


@pytest.fixture
def arrive(table):
    """Let a connection in, by its own token if one is given."""

    def arrived(own=None, **connection):
        line = FakeConnection(**connection)
        known = None
        if own is not None:
            known = table.judge(own.encode())
            assert isinstance(known, Known)
        return line, table.arrive(line, known)

    return arrived


@pytest.fixture
def enrol(table, arrive):
    """Let a device enrol; returns its token, its connection, and what stands for it."""

    def enrolled(id_="A1"):
        line, here = arrive()
        table.hello(here, replace_hello(id=id_))
        return line.texts[-1]["token"], line, here

    return enrolled


def replace_hello(**changes):
    return Hello(
        **{name: getattr(HELLO, name) for name in HELLO.__struct_fields__} | changes
    )


def result(coroutine):
    return Deferred.fromCoroutine(coroutine)


def done(coroutine):
    """Run what does not have to wait."""
    results = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    assert results, "it waits"
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]


def refused(coroutine) -> str:
    with pytest.raises(Refusal) as caught:
        done(coroutine)
    return caught.value.code


# ---- enrolment ---------------------------------------------------------------------


def test_an_unknown_device_gets_a_token_of_its_own_that_is_stored(
    table, enrol, make_table
):
    own, line, _ = enrol()
    assert line.texts == [{"type": "welcome", "v": 2, "device": "A1", "token": own}]
    assert line.follows[-1] == (EVERYTHING, True)
    device = table.get("A1")
    assert device.connected
    assert device.enrolled
    assert device.record.chip == "esp8266"
    assert device.record.caps == ("light",)
    assert make_table().judge(own.encode()) == table.judge(own.encode())
    assert table.judge(own.encode()).id == "A1"


def test_a_token_is_durable_before_it_is_sent(table, arrive, store):
    line, here = arrive()
    go_on = store.hold()
    table.hello(here, HELLO)
    assert line.texts == []
    assert table.get(here.id).enrolled is False
    go_on()
    assert line.texts[0]["token"] == token(1)


def test_a_token_survives_a_power_cut_before_it_is_sent(table, arrive, store):
    line, here = arrive()
    store.syncing = Deferred()
    table.hello(here, HELLO)
    assert store.writes
    assert line.texts == []
    store.syncing.callback(None)
    assert line.texts[0]["token"] == token(1)


def test_who_comes_while_a_batch_is_written_is_in_the_next(table, arrive, store):
    pairs = [arrive() for _ in range(20)]
    go_on = store.hold()
    for number, (_, here) in enumerate(pairs):
        table.hello(here, replace_hello(id=f"D{number}"))
    assert len(store.writes) == 1
    go_on()
    assert [len(changes) for changes in store.writes] == [1, 19]
    assert all("token" in line.texts[0] for line, _ in pairs)


def test_a_batch_is_not_larger_than_what_takes_milliseconds(table, arrive, store):
    pairs = [arrive() for _ in range(BATCH + 10)]
    go_on = store.hold()
    for number, (_, here) in enumerate(pairs):
        table.hello(here, replace_hello(id=f"D{number}"))
    go_on()
    assert [len(changes) for changes in store.writes] == [1, BATCH, 9]


def test_two_that_say_they_are_the_same_device_are_stored_one_after_the_other(
    table, arrive, store
):
    busy, one, two = [arrive() for _ in range(3)]
    go_on = store.hold()
    table.hello(busy[1], replace_hello(id="busy"))
    table.hello(one[1], HELLO)
    table.hello(two[1], HELLO)
    go_on()
    assert [len(changes) for changes in store.writes] == [1, 1, 1]
    assert one[0].ended
    for line in (one[0], two[0]):
        own = line.texts[0]["token"]
        assert table.judge(own.encode()).id == "A1"


def test_who_leaves_while_it_is_stored_is_known_when_it_comes_again(
    table, arrive, store
):
    line, here = arrive()
    go_on = store.hold()
    table.hello(here, HELLO)
    table.depart(here)
    go_on()
    assert line.texts == []
    assert not table.get("A1").connected
    line, here = arrive()
    table.hello(here, HELLO)
    assert table.judge(line.texts[0]["token"].encode()).id == "A1"


def test_what_a_device_says_while_its_further_token_is_stored_is_kept(
    table, enrol, arrive, store, make_table
):
    first, _, here = enrol()
    table.depart(here)
    _, here = arrive(first)
    table.depart(here)
    done(table.rotate("A1"))
    line, here = arrive(first)
    go_on = store.hold()
    table.hello(here, HELLO)
    table.hello(here, replace_hello(fw="2.0"))
    go_on()
    own = line.texts[0]["token"]
    assert table.get("A1").record.fw == "2.0"
    table.stopService()
    again = make_table()
    assert again.get("A1").record.fw == "2.0"
    assert again.judge(own.encode()).id == "A1"


def test_a_further_token_that_is_not_needed_any_more_is_not_made(
    table, enrol, arrive, store
):
    first, _, here = enrol()
    table.depart(here)
    _, here = arrive(first)
    table.depart(here)
    second = done(table.rotate("A1"))
    busy = arrive()
    line, here = arrive(first)
    go_on = store.hold()
    table.hello(busy[1], replace_hello(id="busy"))
    table.hello(here, HELLO)
    known = table.judge(second.encode())
    other = FakeConnection()
    table.arrive(other, known)
    go_on()
    assert line.ended
    assert all("token" not in text for text in line.texts)


def test_another_id_while_the_first_one_is_stored_changes_nothing(table, arrive, store):
    line, here = arrive()
    go_on = store.hold()
    table.hello(here, HELLO)
    table.hello(here, replace_hello(id="B2", chip="esp32"))
    assert [text["code"] for text in line.texts] == ["WRONG_ID"]
    go_on()
    assert line.texts[-1]["device"] == "A1"
    assert table.get("A1").record.chip == "esp8266"
    assert table.get("B2") is None


def test_while_the_store_refuses_no_token_is_sent_and_it_is_tried_again(
    table, arrive, store, clock
):
    line, here = arrive()
    store.problem_with_writes = "the disk is full"
    table.hello(here, HELLO)
    clock.advance(RETRY_AFTER_S)
    assert len(store.writes) == 2
    assert line.texts == []
    assert not line.ended
    store.problem_with_writes = None
    clock.advance(RETRY_AFTER_S)
    assert line.texts[0]["device"] == "A1"
    assert table.judge(line.texts[0]["token"].encode()).id == "A1"


def test_who_leaves_before_it_is_stored_is_not_enrolled(table, arrive, store, clock):
    _, here = arrive()
    store.problem_with_writes = "the disk is full"
    table.hello(here, HELLO)
    table.depart(here)
    store.problem_with_writes = None
    clock.advance(RETRY_AFTER_S)
    assert table.get("A1") is None


def test_until_its_token_is_used_a_device_may_enrol_again(table, enrol):
    first, line, _ = enrol()
    second, _, _ = enrol()
    assert line.ended
    assert first != second
    assert table.judge(second.encode()).id == "A1"


def test_a_thief_who_enrols_after_its_owner_has_nothing_once_the_owner_comes_back(
    table, enrol, arrive, make_table, clock
):
    owners, _, _ = enrol()
    stolen, _, _ = enrol()
    arrive(owners)
    assert isinstance(table.judge(stolen.encode()), Nobody)
    assert isinstance(make_table().judge(stolen.encode()), Nobody)
    clock.advance(10 * ROTATION_WINDOW_S)
    assert table.judge(owners.encode()).id == "A1"


def test_an_owner_whose_thief_is_faster_is_refused_and_so_hears_of_it(
    table, enrol, arrive
):
    owners, _, _ = enrol()
    stolen, _, _ = enrol()
    arrive(stolen)
    assert isinstance(table.judge(owners.encode()), Nobody)
    line, here = arrive()
    table.hello(here, HELLO)
    assert [text["code"] for text in line.texts] == ["ALREADY_ENROLLED"]


@pytest.mark.parametrize("enrolment", [Enrolment.APPROVE])
def test_a_token_that_is_used_while_an_approved_device_gets_one_stops_that(
    table, arrive, enrolment, store
):
    _, by_hand = done(table.create("A1", Patch(approved=False)))
    _, here = arrive()
    table.hello(here, HELLO)
    store.hold()
    result(table.change("A1", Patch(approved=True)))
    approval, go_on = store.gate, store.hold()
    approval.callback(None)
    arrive(by_hand)
    go_on()
    assert len(store.writes) == 4
    assert len(table.get("A1").record.tokens) == 1


def test_a_device_whose_token_was_used_is_not_enrolled_again(table, enrol, arrive):
    own, _, here = enrol()
    table.depart(here)
    arrive(own)
    other, here = arrive()
    table.hello(here, HELLO)
    assert [text["code"] for text in other.texts] == ["ALREADY_ENROLLED"]
    assert not table.get(here.id).enrolled
    assert here.id.startswith("conn-")
    assert not other.ended


def test_a_token_that_is_used_while_another_is_written_stops_that(
    table, enrol, arrive, store
):
    own, _, here = enrol()
    table.depart(here)
    thief, its = arrive()
    go_on = store.hold()
    table.hello(its, HELLO)
    arrive(own)
    go_on()
    assert [text["code"] for text in thief.texts] == ["ALREADY_ENROLLED"]
    assert isinstance(table.judge(token(2).encode()), Nobody)


@pytest.mark.parametrize("enrolment", [Enrolment.CLOSED])
def test_closed_enrolment_keeps_nothing(table, arrive, store, enrolment):
    line, here = arrive()
    table.hello(here, HELLO)
    assert line.texts == [{"type": "welcome", "v": 2, "device": here.id}]
    assert store.writes == []
    assert [device.enrolled for device in table.devices()] == [False]


@pytest.mark.parametrize("enrolment", [Enrolment.APPROVE])
def test_a_device_is_listed_until_an_admin_approves(table, arrive, enrolment):
    line, here = arrive()
    table.hello(here, HELLO)
    assert line.texts == [{"type": "welcome", "v": 2, "device": "A1"}]
    assert table.get("A1").record.approved is False
    assert table.get("A1").connected
    done(table.change("A1", Patch(approved=True)))
    assert line.texts[1:] == [
        {"type": "welcome", "v": 2, "device": "A1", "token": token(1)}
    ]


@pytest.mark.parametrize("enrolment", [Enrolment.APPROVE])
def test_who_was_approved_while_away_gets_its_token_at_the_next_hello(
    table, arrive, enrolment
):
    _, here = arrive()
    table.hello(here, HELLO)
    table.depart(here)
    waiting, here = arrive()
    table.hello(here, HELLO)
    table.depart(here)
    assert "token" not in waiting.texts[0]
    done(table.change("A1", Patch(approved=True)))
    line, here = arrive()
    table.hello(here, HELLO)
    assert line.texts[0]["token"] == token(1)


def test_there_is_a_limit_to_devices_that_are_made_up(make_table, store):
    table = make_table(max_devices=1)
    for id_ in ("A1", "A2"):
        line = FakeConnection()
        table.hello(table.arrive(line, None), replace_hello(id=id_))
    assert "token" not in line.texts[0]
    assert len(store.writes) == 1


# ---- tokens ------------------------------------------------------------------------


def test_the_first_use_of_a_token_is_stored_at_once(table, enrol, arrive, make_table):
    own, _, _ = enrol()
    arrive(own)
    again = make_table()
    line = FakeConnection()
    here = again.arrive(line, None)
    again.hello(here, HELLO)
    assert line.texts[0]["code"] == "ALREADY_ENROLLED"


def test_after_a_rotation_both_tokens_work_until_the_window_is_over(
    table, enrol, arrive, clock
):
    first, _, _ = enrol()
    arrive(first)
    second = done(table.rotate("A1"))
    clock.advance(10_000)
    assert table.judge(first.encode()).id == "A1"
    arrive(second)
    clock.advance(ROTATION_WINDOW_S - 1)
    assert table.judge(first.encode()).id == "A1"
    clock.advance(1)
    assert isinstance(table.judge(first.encode()), Nobody)
    assert table.judge(second.encode()).id == "A1"


def test_a_connected_device_is_sent_its_new_token(table, enrol):
    _, line, _ = enrol()
    second = done(table.rotate("A1"))
    assert line.texts[-1]["token"] == second


def test_who_was_away_during_a_rotation_gets_a_further_token(table, enrol, arrive):
    first, _, here = enrol()
    table.depart(here)
    line, here = arrive(first)
    table.depart(here)
    done(table.rotate("A1"))
    line, here = arrive(first)
    assert line.texts == []
    table.hello(here, HELLO)
    table.hello(here, HELLO)
    assert [text.get("token") for text in line.texts] == [token(3), None]
    for own in (first, token(2), token(3)):
        assert table.judge(own.encode()).id == "A1"


def test_there_are_never_more_than_four_and_the_one_in_use_stays(
    table, enrol, arrive, store
):
    first, _, _ = enrol()
    arrive(first)
    newer = [done(table.rotate("A1")) for _ in range(9)]
    assert len(table.get("A1").record.tokens) == MAX_TOKENS
    good = [
        own for own in [first, *newer] if isinstance(table.judge(own.encode()), Known)
    ]
    assert good == [first, *newer[-3:]]


def test_a_revoked_device_is_told_so_and_let_in_no_more(table, enrol, arrive):
    own, line, here = enrol()
    done(table.change("A1", Patch(revoked=True)))
    assert line.texts[-1]["code"] == "REVOKED"
    assert line.ended
    assert isinstance(table.judge(own.encode()), Nobody)
    stranger, here = arrive()
    table.hello(here, HELLO)
    assert [text["code"] for text in stranger.texts] == ["REVOKED"]
    assert refused(table.rotate("A1")) == "DEVICE_REVOKED"
    done(table.change("A1", Patch(revoked=False)))
    assert table.judge(own.encode()).id == "A1"


def test_a_forgotten_device_may_enrol_anew(table, enrol, store):
    own, line, here = enrol()
    done(table.forget("A1"))
    assert line.ended
    table.depart(here)
    assert isinstance(table.judge(own.encode()), Nobody)
    assert table.get("A1") is None
    assert isinstance(store.writes[-1][0], Delete)
    second, _, _ = enrol()
    assert table.judge(second.encode()).id == "A1"


def test_another_id_than_the_tokens_is_refused(table, enrol, arrive):
    own, _, _ = enrol()
    line, here = arrive(own)
    table.hello(here, replace_hello(id="B2"))
    assert [text["code"] for text in line.texts] == ["WRONG_ID"]
    assert table.get("B2") is None


def test_no_token_is_in_what_is_stored_or_shown(table, enrol, store):
    own, _, here = enrol()
    secret = own.removeprefix("vsd_")
    stored = b"".join(put.body for put in store.writes[0])
    assert secret.encode() not in stored
    assert secret not in repr((table.get("A1"), vars(table), here))


# ---- the table ---------------------------------------------------------------------


def test_a_device_is_known_again_after_a_restart(table, enrol, make_table):
    own, _, _ = enrol()
    done(table.change("A1", Patch(name="Hall", tags=("a",), rule=RULE)))
    table.stopService()
    again = make_table()
    assert again.loaded
    record = again.get("A1").record
    assert (record.name, record.tags, record.rule) == ("Hall", ("a",), RULE)
    assert again.judge(own.encode()).id == "A1"


def test_until_the_table_is_read_no_token_is_judged(store, make_table, clock):
    store.problem_with_reads = "locked"
    table = make_table()
    judged = []
    table.judge_again_by(lambda: judged.append(table.loaded))
    assert isinstance(table.judge(token(1).encode()), Unsure)
    line = FakeConnection()
    here = table.arrive(line, None)
    table.hello(here, HELLO)
    with pytest.raises(StoreError):
        done(table.change("A1", Patch(name="x")))
    assert line.texts == []
    store.problem_with_reads = None
    clock.advance(1)
    assert judged == [True]
    assert line.texts[0]["token"] == token(1)
    assert isinstance(table.judge(token(9).encode()), Nobody)


def test_what_cannot_be_read_is_left_alone_and_nobody_is_refused_for_it(
    store, make_table
):
    done(store.write(Put(KIND, "A1", b"?"), Put(KIND, "B2", b'{"id":"B2","new":1}')))
    table = make_table()
    assert [device.id for device in table.devices()] == ["B2"]
    assert isinstance(table.judge(token(5).encode()), Unsure)
    line = FakeConnection()
    table.hello(table.arrive(line, None), HELLO)
    assert line.texts[0]["device"].startswith("conn-")
    assert refused(table.create("A1", Patch())) == "DEVICE_EXISTS"
    assert done(store.get(KIND, "A1")).body == b"?"


def test_a_minute_of_statuses_of_ten_thousand_devices_writes_nothing(
    store, make_table, clock
):
    encode = msgspec.json.encode
    used = [(Token(f"{number}", 1.0, 1.0),) for number in range(10_000)]
    records = [
        Record(id=f"D{tokens[0].digest}", first_seen_at=1.0, tokens=tokens)
        for tokens in used
    ]
    done(store.write(*(Put(KIND, record.id, encode(record)) for record in records)))
    table = make_table()
    heres = [
        table.arrive(FakeConnection(), Known(record.id, record.tokens[0].digest))
        for record in records
    ]
    before = len(store.writes)
    for _ in range(2):
        for here in heres:
            table.status(here, Status(uptime_s=5, rssi_dbm=-60, heap_free_b=20_000))
        clock.advance(60)
    assert len(store.writes) == before
    vitals = table.get("D7").vitals
    assert (vitals.uptime_s, vitals.rssi_dbm, vitals.heap_free_b) == (5, -60, 20_000)
    for here in heres:
        table.depart(here)
    clock.advance(60)
    assert [len(batch) for batch in store.writes[before:]] == [500] * 20


def test_what_devices_say_of_themselves_is_written_together(
    table, enrol, arrive, store, clock
):
    pairs = [enrol(f"D{number}")[2] for number in range(10)]
    for here in pairs:
        table.hello(here, replace_hello(id=here.id, fw="2.0"))
        table.hello(here, replace_hello(id=here.id, fw="2.0"))
    before = len(store.writes)
    for here in pairs:
        table.depart(here)
    clock.advance(FLUSH_EVERY_S)
    (batch,) = store.writes[before:]
    assert len(batch) == 10
    assert b'"fw":"2.0"' in batch[0].body
    clock.advance(10 * FLUSH_EVERY_S)
    assert len(store.writes) == before + 1


def test_what_is_not_written_yet_is_written_when_the_service_stops(
    table, enrol, store, make_table
):
    _, _, here = enrol()
    table.depart(here)
    assert table.stopService().called
    assert make_table().get("A1").record.last_seen_at == table._wall()


def test_a_change_of_an_admin_keeps_what_a_device_says_meanwhile(
    table, enrol, store, make_table
):
    _, _, here = enrol()
    go_on = store.hold()
    changing = result(table.change("A1", Patch(name="Hall")))
    table.hello(here, replace_hello(fw="2.0"))
    go_on()
    assert changing.called
    record = table.get("A1").record
    assert (record.name, record.fw) == ("Hall", "2.0")
    table.stopService()
    assert make_table().get("A1").record == record


def test_an_admins_name_is_not_replaced_by_the_devices(table, enrol, arrive):
    _, _, here = enrol()
    table.hello(here, replace_hello(name="mine"))
    assert table.get("A1").record.name == "mine"
    done(table.change("A1", Patch(name="Hall")))
    table.hello(here, replace_hello(name="other"))
    assert table.get("A1").record.name == "Hall"


def test_a_device_that_is_enrolled_by_hand_speaks_version_1(table, arrive, make_table):
    device, own = done(table.create("hall-lamp", Patch(name="Hall", rule=RULE)))
    assert device.record.name == "Hall"
    _, here = arrive(own)
    assert table.rule_of(here) == RULE
    device = table.get("hall-lamp")
    assert device.connected
    assert device.vitals.protocol == 1
    assert device.record.first_seen_at is not None
    table.depart(here)
    assert not table.get("hall-lamp").connected


@pytest.mark.parametrize("id_", ["", "a b", "conn-1", "x" * 65, "ä", "a\n"])
def test_an_id_that_cannot_be_is_refused(table, id_):
    assert refused(table.create(id_, Patch())) == "INVALID_ID"


def test_an_admin_is_refused_in_words(table, enrol, arrive):
    enrol()
    _, stranger = arrive()
    assert refused(table.create("A1", Patch())) == "DEVICE_EXISTS"
    for act in (
        lambda id_: table.change(id_, Patch()),
        table.forget,
        table.rotate,
    ):
        assert refused(act("nobody")) == "DEVICE_NOT_FOUND"
        assert refused(act(stranger.id)) == "NOT_ENROLLED"


def test_an_audit_entry_is_in_the_batch_of_its_change(table, enrol, store):
    entry = Put("audit", "1", b"{}")
    enrol()
    done(table.change("A1", Patch(name="x"), also=(entry,)))
    assert entry in store.writes[-1]
    done(table.rotate("A1", also=(entry,)))
    assert entry in store.writes[-1]
    done(table.create("B2", Patch(), also=(entry,)))
    assert entry in store.writes[-1]
    done(table.forget("A1", also=(entry,)))
    assert entry in store.writes[-1]
    assert len(store.writes[-1]) == 2


def test_what_the_store_refuses_did_not_happen(table, enrol, store):
    enrol()
    before = table.get("A1").record
    store.problem_with_writes = "the disk is full"
    for act in (
        table.change("A1", Patch(name="x")),
        table.rotate("A1"),
        table.forget("A1"),
        table.create("B2", Patch()),
    ):
        with pytest.raises(StoreError):
            done(act)
    assert table.get("A1").record == before
    assert table.get("B2") is None


# ---- connections -------------------------------------------------------------------


def test_strangers_are_listed_while_they_are_connected(table, arrive):
    _, one = arrive()
    _, two = arrive(address=None)
    assert len({one.id, two.id}) == 2
    listed = {device.id: device for device in table.devices()}
    stranger = listed[one.id]
    assert (stranger.enrolled, stranger.connected) == (False, True)
    assert stranger.vitals.address == "192.0.2.1"
    assert stranger.vitals.path == "/ws"
    assert len(one.id) == len("conn-") + 12
    table.depart(one)
    assert table.get(one.id) is None


def test_the_newer_of_two_connections_is_the_device(table, enrol, arrive):
    own, old, its = enrol()
    _, here = arrive(own)
    assert old.ended
    assert table.get("A1").vitals.reconnects == 1
    table.depart(its)
    assert table.get("A1").connected
    table.status(its, Status(uptime_s=1))
    assert table.get("A1").vitals.uptime_s is None
    table.depart(here)
    table.depart(here)
    arrive(own)
    assert table.get("A1").vitals.reconnects == 2


def test_whose_rule_it_is_that_a_device_follows(table, enrol, arrive):
    own, _, _ = enrol()
    line, _ = arrive(own, rule='{"guilds":["1"]}')
    assert table.showing("A1").source == "address"
    done(table.change("A1", Patch(rule=RULE)))
    assert line.follows[-1] == (RULE, False)
    showing = table.showing("A1")
    assert (showing.rule, showing.source) == (RULE, "device")
    assert (showing.light, showing.frames) == (LIT, ((1.0, "1"),))
    done(table.change("A1", Patch(rule=None)))
    assert line.follows[-1] == ('{"guilds":["1"]}', False)
    _, stranger = arrive()
    assert table.showing(stranger.id).source == "default"
    assert table.showing("nobody") is None


def test_commands_reach_connected_devices_of_version_2(table, enrol, arrive):
    own, line, here = enrol()
    table.command("A1", {"type": "identify", "seconds": 5})
    table.command("A1", {"type": "config", "brightness": 9})
    assert line.texts[1:] == [
        {"type": "identify", "seconds": 5},
        {"type": "config", "brightness": 9},
    ]
    table.depart(here)

    def code(id_, command):
        with pytest.raises(Refusal) as caught:
            table.command(id_, command)
        return caught.value.code

    reboot = {"type": "reboot"}
    assert code("A1", reboot) == "DEVICE_OFFLINE"
    assert code("nobody", reboot) == "DEVICE_NOT_FOUND"
    arrive(own)
    assert code("A1", reboot) == "COMMAND_NOT_SUPPORTED"
    assert code("A1", {"type": "explode"}) == "INVALID_COMMAND"
    assert code("A1", {"type": "identify", "seconds": 61}) == "INVALID_COMMAND"
    assert code("A1", {"type": "config", "x": "x" * 1024}) == "INVALID_COMMAND"


def test_who_subscribes_is_told_ids(table, enrol, arrive, nothing_is_left_behind):
    told = []

    def broken(id_):
        raise RuntimeError

    table.subscribe(broken)
    leave = table.subscribe(told.append)
    _, _, here = enrol()
    assert {"A1"} < set(told)
    assert len(nothing_is_left_behind) == 1
    nothing_is_left_behind.clear()
    for act in (
        lambda: table.status(here, Status()),
        lambda: done(table.change("A1", Patch(name="x"))),
        lambda: done(table.rotate("A1")),
        lambda: table.depart(here),
        lambda: done(table.forget("A1")),
    ):
        told.clear()
        act()
        assert "A1" in told
    leave()
    told.clear()
    arrive()
    assert told == []


def test_hellos_and_devices_are_counted(table, enrol, registry, arrive):
    _, _, here = enrol()
    table.hello(here, HELLO)
    table.hello(here, replace_hello(id="B2"))

    def count(name, **labels):
        return registry.get_sample_value(f"voicestatus_{name}", labels)

    assert count("devices_enrolled") == 1
    for outcome in ("enrolled", "known", "wrong_id"):
        assert count("device_hellos_total", outcome=outcome) == 1
