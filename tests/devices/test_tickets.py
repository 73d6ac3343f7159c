"""One-use tokens of an admin: each enrols one device, once, within an hour."""

import json

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from voicestatus.core.fleet import Enrolment
from voicestatus.devices.registry import Patch
from voicestatus.devices.session import Nobody, Ticket, Unsure
from voicestatus.devices.tickets import GOOD_FOR_S
from voicestatus.devices.wire import CLOSE, NOAUTH, OK, REMOVED, texts_in
from voicestatus.store.documents import FateUnknown

ID = "246F28A1B2C3"
SHARED = b"AUTH:secret"


def hello(id_=ID, **more) -> bytes:
    return json.dumps({"type": "hello", "v": 2, "id": id_, **more}).encode()


@pytest.fixture(params=[Enrolment.OPEN, Enrolment.APPROVE, Enrolment.CLOSED])
def enrolment(request) -> Enrolment:
    """Whatever is said of unknown devices."""
    return request.param


@pytest.fixture
def ticket(table):
    """Make one, as an admin does; return what a device says with it."""

    def make() -> bytes:
        made = Deferred.fromCoroutine(table.provision()).result
        return b"AUTH:" + made[0].encode()

    return make


@pytest.fixture
def dial(talk, masked, clock):
    def dial(*texts: bytes):
        line = talk()
        for text in texts:
            line.say(masked(1, text))
            clock.advance(0)
        return line

    return dial


def token_in(heard: bytes) -> bytes:
    (welcome,) = [json.loads(t) for t in texts_in(heard) if '"welcome"' in t]
    assert welcome["device"] == ID
    return b"AUTH:" + welcome["token"].encode()


def test_it_enrols_a_device_once_and_then_opens_nothing(dial, ticket, table, store):
    one_use = ticket()
    line = dial(one_use, hello(fw="1.4.0"))
    own = token_in(line.heard())
    record = table.get(ID).record
    assert (record.approved, record.fw) == (True, "1.4.0")
    assert dial(own).heard().startswith(OK)
    assert dial(one_use).heard() == NOAUTH + CLOSE
    (kept,) = Deferred.fromCoroutine(store.list("ticket")).result
    assert own.removeprefix(b"AUTH:") not in kept.body


def test_of_two_that_show_it_at_one_time_only_one_enrols(dial, ticket, masked, clock):
    one_use = ticket()
    first, second = dial(one_use), dial(one_use)
    for line, id_ in ((first, ID), (second, "THIEF")):
        line.heard()
        line.say(masked(1, hello(id_)))
    clock.advance(0)
    assert b'"token"' in first.heard()
    said = second.heard()
    assert b"TICKET_SPENT" in said
    assert said.endswith(REMOVED)


def test_who_took_it_and_got_nothing_takes_it_again_and_nobody_else_does(
    dial, ticket, table, store, masked, clock
):
    one_use, write = ticket(), store.write

    async def write_and_lose_the_answer(*changes):
        await write(*changes)
        raise FateUnknown("no answer")

    store.write = write_and_lose_the_answer
    assert dial(one_use, hello()).heard().endswith(REMOVED)
    store.write, go_on = write, store.hold()
    line = dial(one_use, hello())
    line.device.connectionLost(Failure(ConnectionDone()))
    go_on()
    clock.advance(0)
    assert b"TICKET_SPENT" in dial(one_use, hello("THIEF")).heard()
    line = dial(one_use, hello())
    own = token_in(line.heard())
    # Who is here has got it: that is somebody else, or has to wait a moment.
    assert b'"welcome"' not in dial(one_use, hello()).heard()
    assert dial(own).heard().startswith(OK)
    assert [device.id for device in table.devices() if device.enrolled] == [ID]
    assert dial(one_use).heard() == NOAUTH + CLOSE


def test_many_made_up_ones_do_not_make_work_for_each_other(
    talk, masked, devices, store, clock
):
    look, there = store.get, Deferred()

    async def look_when_there(kind, id_):
        await there
        return await look(kind, id_)

    store.get = look_when_there
    lines = [talk().say(masked(1, b"AUTH:vst_%d" % n)) for n in range(20)]
    there.callback(None)
    assert len(devices.later) == 1
    clock.advance(0)
    assert all(line.heard().startswith(NOAUTH) for line in lines)


def test_an_hour_is_over_for_who_has_only_shown_it(
    dial, ticket, pass_time, clock, masked
):
    line = dial(ticket())
    line.heard()
    clock.advance(GOOD_FOR_S)
    line.say(masked(1, hello()))
    clock.advance(0)
    assert b"TICKET_SPENT" in line.heard()


def test_who_says_hello_twice_gets_one_token(dial, ticket, store, masked, clock):
    one_use, go_on = ticket(), store.hold()
    line = dial(one_use, hello(), hello(fw="1.4.0"))
    go_on()
    clock.advance(0)
    token_in(line.heard())
    (kept,) = Deferred.fromCoroutine(store.list("device")).result
    assert len(json.loads(kept.body)["tokens"]) == 1


def test_what_is_made_at_one_node_opens_the_door_at_another(
    dial, ticket, make_table, clock
):
    other = make_table()
    token = ticket().removeprefix(b"AUTH:")
    assert isinstance(other.judge(token), Unsure)
    assert isinstance(other.judge(token), Ticket)
    assert isinstance(other.judge(b"vst_made-up"), Unsure)
    assert isinstance(other.judge(b"vst_made-up"), Nobody)


def test_it_is_good_for_an_hour(dial, ticket, pass_time, clock):
    one_use = ticket()
    clock.advance(GOOD_FOR_S - 1)
    assert dial(one_use).heard().startswith(OK)
    clock.advance(1)
    assert dial(one_use).heard() == NOAUTH + CLOSE


def test_what_is_stored_of_it_is_a_digest_and_no_more_once_it_has_ended(
    ticket, store, clock
):
    one_use = ticket().removeprefix(b"AUTH:")
    assert one_use.startswith(b"vst_")
    (kept,) = Deferred.fromCoroutine(store.list("ticket")).result
    assert one_use not in kept.id.encode() + kept.body
    clock.advance(GOOD_FOR_S)
    ticket()
    (newer,) = Deferred.fromCoroutine(store.list("ticket")).result
    assert newer.id != kept.id


def test_a_device_whose_flash_was_erased_stays_who_it_is(dial, ticket, table):
    old = token_in(dial(ticket(), hello()).heard())
    Deferred.fromCoroutine(table.change(ID, Patch(name="Hall", tags=("a",))))
    dial(old)
    new = token_in(dial(ticket(), hello()).heard())
    assert new != old
    assert (table.get(ID).record.name, table.get(ID).record.tags) == ("Hall", ("a",))
    assert dial(new, hello()).heard().startswith(OK)


def test_a_revoked_device_does_not_get_in_by_it(dial, ticket, table):
    dial(ticket(), hello())
    Deferred.fromCoroutine(table.change(ID, Patch(revoked=True)))
    said = dial(ticket(), hello()).heard()
    assert b"REVOKED" in said
    assert said.endswith(REMOVED)


def test_a_store_that_is_away_refuses_nobody(dial, ticket, store, pass_time):
    one_use = ticket()
    store.problem_with_reads = "is away"
    line = dial(one_use)
    assert line.heard() == b""
    pass_time(6)
    assert NOAUTH not in line.heard()
    store.problem_with_reads = None
    store.problem_with_writes = "is away"
    assert dial(one_use, hello()).heard().endswith(REMOVED)
    store.problem_with_writes = None
    assert b'"token"' in dial(one_use, hello()).heard()
