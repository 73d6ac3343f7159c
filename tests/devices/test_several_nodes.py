"""Registries of several nodes over one store, and what they tell each other."""

import json
import random

import msgspec
import pytest
from twisted.internet.defer import Deferred

from voicestatus.core.errors import Refusal, StoreError
from voicestatus.core.fleet import Enrolment, Record, Sketch
from voicestatus.core.lights import EVERYTHING, NOTHING_TO_SHOW
from voicestatus.devices.catching_up import FORGOTTEN_AFTER_S, RETRY_AFTER_S
from voicestatus.devices.doubts import NEWS_WITHIN_S, REFILLED_WITHIN_S
from voicestatus.devices.news import BUNDLE_S, LOOKED_S, MOST, TOPIC
from voicestatus.devices.records import KIND
from voicestatus.devices.registry import Patch
from voicestatus.devices.session import Known, Nobody, Unsure
from voicestatus.devices.table import FLUSH_EVERY_S
from voicestatus.devices.wire import Hello, Status
from voicestatus.store.documents import Delete, FateUnknown, Put

RULE = '{"minCount":2}'
OTHER_RULE = '{"minCount":3}'


class Line:
    """A connection that keeps what the registry does with it."""

    address, dialled, rule = "192.0.2.1", "/ws", EVERYTHING

    def __init__(self):
        self.shows, self.texts, self.ended = EVERYTHING, [], None

    def follow(self, rule, *, rich):
        self.shows = rule

    def send(self, text):
        self.texts.append(json.loads(text) if text.startswith(b"{") else text)

    def dismiss(self, id_=None):
        self.ended = id_ or True

    def showing(self):
        return NOTHING_TO_SHOW, ()


class Node:
    """One node: its registry, and what it was told."""

    def __init__(self, registry, others, clock):
        self.registry, self.others, self._clock = registry, others, clock
        self.told = []
        registry.subscribe(self.told.append)

    def arrive(self, own=None):
        line, known = Line(), None
        if own is not None:
            known = self.registry.judge(own.encode())
            assert isinstance(known, Known)
        line.here = self.registry.arrive(line, known)
        return line

    def enrol(self, id_="A1"):
        """Let a device enrol; return its token and its line."""
        line = self.arrive()
        self.registry.hello(line.here, hello(id_))
        self._clock.advance(BUNDLE_S)
        return line.texts[-1]["token"], line

    def hears(self):
        """Let it tell what it has to tell."""
        self._clock.advance(BUNDLE_S)


def hello(id_, **more):
    given = {"chip": "esp8266", "board": "d1", "fw": "1.0", "build": 1}
    return Hello(id=id_, **given | {"caps": ("light",)} | more)


@pytest.fixture
def node(air, make_table, clock):
    def start(name, **how):
        others = air.node(name)
        return Node(make_table(others=others, **how), others, clock)

    return start


@pytest.fixture
def a(node):
    return node("a")


@pytest.fixture
def b(node):
    return node("b")


@pytest.fixture
def pass_on(clock):
    """Let what was done be told."""
    return lambda: clock.advance(BUNDLE_S)


@pytest.fixture
def stored(store):
    """Return what is stored of a device."""

    def stored(id_="A1"):
        document = done(store.get(KIND, id_))
        return None if document is None else json.loads(document.body)

    return stored


def done(coroutine):
    results = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    assert results, "it waits"
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]


# ---- old devices that were sent away -----------------------------------------------

SAID = {"chip": "esp8266", "fw": "1.4.0", "sketch": Sketch(asked_at=1.0)}
URL = "http://192.0.2.9"


def send_away(node):
    """Let an old device come, and be sent to fetch something."""
    line = node.arrive()
    name = line.here.id
    node.registry.probe(name, "/x")
    return line, name


@pytest.fixture
def c(node):
    return node("c", public_url=URL)


@pytest.fixture
def d(node):
    return node("d", public_url=URL)


def test_an_old_device_that_was_probed_is_known_where_it_comes_back(c, d, pass_on):
    line, name = send_away(c)
    c.registry.recognise(name, "a020a6000001", **SAID)
    c.registry.depart(line.here)
    pass_on()
    assert d.arrive().here.id == "a020a6000001"
    pass_on()
    # The next one from there is somebody else.
    assert c.arrive().here.id.startswith("conn-")


def test_one_that_came_back_before_it_was_known_becomes_that_device(c, d, pass_on):
    line, name = send_away(c)
    c.registry.depart(line.here)
    back = d.arrive()
    assert back.here.id.startswith("conn-")
    c.registry.recognise(name, "a020a6000001", **SAID)
    pass_on()
    assert back.here.id == "a020a6000001"


def test_two_from_one_place_are_not_sent_away_at_once_by_two_nodes(c, d, clock):
    other = d.arrive()
    _, name = send_away(c)
    clock.advance(40)
    c.registry.prolong(name)
    clock.advance(40)
    with pytest.raises(Refusal) as refused:
        d.registry.probe(other.here.id, "/x")
    assert refused.value.code == "RETURN_AWAITED"
    clock.advance(40)
    d.registry.probe(other.here.id, "/x")


# ---- who is known ------------------------------------------------------------------


def test_a_device_that_enrolled_at_one_node_is_known_at_the_others(a, b):
    own, _ = a.enrol()
    assert b.arrive(own).here.id == "A1"
    assert b.registry.get("A1").record.chip == "esp8266"


def test_who_comes_before_the_news_is_not_refused(a, b, air, clock):
    air.holds = True
    own, _ = a.enrol()
    judged = []
    b.registry.judge_again_by(lambda: judged.append(b.registry.judge(own.encode()).id))
    assert isinstance(b.registry.judge(own.encode()), Unsure)
    air.carry()
    assert judged == ["A1"]


def test_who_comes_when_the_news_is_lost_is_found_in_the_store(a, b, air, clock):
    clock.advance(REFILLED_WITHIN_S)
    air.holds = True
    own, _ = a.enrol()
    air.letters.clear()
    assert isinstance(b.registry.judge(own.encode()), Unsure)
    clock.advance(NEWS_WITHIN_S)
    assert b.registry.judge(own.encode()).id == "A1"


def test_a_token_of_nobody_is_refused_when_all_was_read_again(b, clock, store):
    clock.advance(REFILLED_WITHIN_S)
    judged = []
    b.registry.judge_again_by(lambda: judged.append(b.registry.judge(b"vsd_x")))
    assert isinstance(b.registry.judge(b"vsd_x"), Unsure)
    clock.advance(NEWS_WITHIN_S)
    assert judged == [Nobody()]
    # From now on at once.
    assert b.registry.judge(b"vsd_x") == Nobody()


def test_while_the_store_is_away_no_token_is_refused(b, clock, store):
    clock.advance(REFILLED_WITHIN_S)
    store.problem_with_reads = "away"
    for _ in range(3):
        assert isinstance(b.registry.judge(b"vsd_x"), Unsure)
        clock.advance(NEWS_WITHIN_S)
    store.problem_with_reads = None
    assert isinstance(b.registry.judge(b"vsd_x"), Unsure)
    clock.advance(NEWS_WITHIN_S)
    assert b.registry.judge(b"vsd_x") == Nobody()


def test_a_node_that_just_came_refuses_nobody_yet(b, clock):
    assert isinstance(b.registry.judge(b"vsd_x"), Unsure)
    clock.advance(REFILLED_WITHIN_S - 1)
    assert isinstance(b.registry.judge(b"vsd_x"), Unsure)
    clock.advance(1)
    assert b.registry.judge(b"vsd_x") == Nobody()


def test_two_that_enrol_as_one_device_get_one_record(a, b, air, stored):
    air.holds = True
    first, _ = a.enrol()
    second, _ = b.enrol()
    air.carry()
    digests = [token["digest"] for token in stored()["tokens"]]
    assert len(digests) == 2
    for own in (first, second):
        assert a.registry.judge(own.encode()).id == "A1"
        assert b.registry.judge(own.encode()).id == "A1"


def test_who_has_a_token_that_is_used_enrols_at_no_node(a, b, air):
    own, _ = a.enrol()
    a.arrive(own)
    air.holds = True
    a.hears()
    # b has not heard that the token is in use.
    line = b.arrive()
    b.registry.hello(line.here, hello("A1"))
    assert line.texts[-1]["code"] == "ALREADY_ENROLLED"


def test_an_id_that_another_node_gave_away_is_taken(a, b, air):
    air.holds = True
    done(a.registry.create("A1", Patch(name="Hall")))
    with pytest.raises(Refusal) as caught:
        done(b.registry.create("A1", Patch(name="Attic")))
    assert caught.value.code == "DEVICE_EXISTS"
    assert b.registry.get("A1").record.name == "Hall"


# ---- what admins do ----------------------------------------------------------------


def test_a_rule_that_is_set_at_one_node_is_followed_at_the_other(a, b, pass_on):
    _, line = a.enrol()
    done(b.registry.change("A1", Patch(rule=RULE)))
    pass_on()
    assert line.shows == RULE


@pytest.mark.parametrize("forget", [False, True])
def test_who_is_revoked_or_forgotten_at_one_node_is_ended_at_the_other(
    a, b, pass_on, clock, forget
):
    own, line = a.enrol()
    clock.advance(REFILLED_WITHIN_S)
    if forget:
        done(b.registry.forget("A1"))
    else:
        done(b.registry.change("A1", Patch(revoked=True)))
    pass_on()
    assert line.ended
    assert line.texts[-1]["code"] == ("FORGOTTEN" if forget else "REVOKED")
    assert (a.registry.get("A1") is None) is forget
    assert not isinstance(a.registry.judge(own.encode()), Known)
    clock.advance(NEWS_WITHIN_S)
    assert a.registry.judge(own.encode()) == Nobody()


def test_a_device_that_is_approved_of_at_another_node_gets_its_token(
    node, clock, pass_on
):
    a = node("a", enrolment=Enrolment.APPROVE)
    b = node("b", enrolment=Enrolment.APPROVE)
    line = a.arrive()
    a.registry.hello(line.here, hello("A1"))
    pass_on()
    assert "token" not in line.texts[-1]
    done(b.registry.change("A1", Patch(approved=True)))
    pass_on()
    pass_on()
    assert isinstance(b.registry.judge(line.texts[-1]["token"].encode()), Known)


def test_a_token_that_one_node_made_is_known_at_the_other_and_not_doubled(
    a, b, pass_on
):
    own, _ = a.enrol()
    line = a.arrive(own)
    a.registry.hello(line.here, hello("A1"))
    line.texts.clear()
    rotated = done(b.registry.rotate("A1"))
    pass_on()
    assert a.registry.judge(rotated.encode()).id == "A1"
    assert line.texts == []
    a.registry.welcome("A1", rotated)
    assert line.texts[-1]["token"] == rotated


def test_two_admins_lose_nothing_of_each_other(a, b, air, stored, pass_on):
    a.enrol()
    air.holds = True
    done(a.registry.change("A1", Patch(name="Hall")))
    done(b.registry.change("A1", Patch(tags=("x",))))
    air.carry()
    pass_on()
    air.carry()
    assert (stored()["name"], stored()["tags"]) == ("Hall", ["x"])
    for each in (a, b):
        record = each.registry.get("A1").record
        assert (record.name, record.tags) == ("Hall", ("x",))


def test_a_change_that_is_overtaken_is_decided_once_more(a, b, store, stored):
    a.enrol()
    go_on = store.hold()
    slow = Deferred.fromCoroutine(a.registry.change("A1", Patch(name="Hall")))
    store.gate = None
    done(b.registry.change("A1", Patch(rule=RULE)))
    assert not slow.called
    go_on()
    assert (slow.result.record.name, slow.result.record.rule) == ("Hall", RULE)
    assert (stored()["name"], stored()["rule"]) == ("Hall", RULE)


def test_a_change_of_unknown_fate_counts_if_it_was_stored(a, b, store, pass_on):
    _, line = a.enrol()

    async def no_answer(*changes, write=store.write):
        await write(*changes)
        raise FateUnknown("no answer")

    store.write = no_answer
    with pytest.raises(FateUnknown):
        done(a.registry.change("A1", Patch(rule=RULE)))
    del store.write
    pass_on()
    assert line.shows == RULE
    assert b.registry.get("A1").record.rule == RULE


def test_who_always_comes_second_is_told_so(a, b, store):
    a.enrol()

    async def write_first(*changes, write=store.write):
        version = done(store.get(KIND, "A1")).version
        await write(Put(KIND, "A1", json.dumps({"id": "A1"}).encode(), "", version))
        return await write(*changes)

    store.write = write_first
    with pytest.raises(StoreError):
        done(a.registry.change("A1", Patch(name="Hall")))


def test_what_a_device_says_does_not_undo_what_an_admin_did(
    a, b, air, clock, stored, pass_on
):
    _, line = a.enrol()
    air.holds = True
    done(b.registry.change("A1", Patch(name="Hall", rule=RULE)))
    a.registry.hello(line.here, hello("A1", fw="2.0", name="its own"))
    a.registry.depart(line.here)
    clock.advance(FLUSH_EVERY_S)
    assert (stored()["name"], stored()["rule"]) == ("Hall", RULE)
    assert stored()["fw"] == "2.0"
    assert stored()["last_seen_at"] is not None
    assert a.registry.get("A1").record.rule == RULE


def test_the_first_use_of_a_token_is_not_lost_to_an_admin(a, b, air, stored, store):
    own, _ = a.enrol()
    air.holds = True
    done(b.registry.change("A1", Patch(name="Hall")))
    a.arrive(own)
    assert stored()["name"] == "Hall"
    assert stored()["tokens"][0]["first_used_at"] is not None


def test_of_two_nodes_the_later_words_of_a_device_count(a, b, air, clock, stored):
    own, line = a.enrol()
    air.holds = True
    a.registry.depart(line.here)
    clock.advance(5)
    there = b.arrive(own)
    b.registry.hello(there.here, hello("A1", fw="2.0"))
    b.registry.depart(there.here)
    last = b.registry.get("A1").record.last_seen_at
    clock.advance(FLUSH_EVERY_S)
    assert (stored()["fw"], stored()["last_seen_at"]) == ("2.0", last)


def test_what_is_stored_later_is_told_as_well(a, b, clock, pass_on):
    _, line = a.enrol()
    a.registry.depart(line.here)
    clock.advance(FLUSH_EVERY_S)
    pass_on()
    seen_at = a.registry.get("A1").record.last_seen_at
    assert b.registry.get("A1").record.last_seen_at == seen_at


def test_what_was_not_heard_is_read(a, b, air, pass_on):
    a.enrol()
    a.enrol("B2")
    air.holds = True
    done(a.registry.change("A1", Patch(rule=RULE)))
    a.enrol("C3")
    air.lose()
    assert b.registry.get("A1").record.rule == RULE
    assert b.registry.get("C3") is not None


def test_what_cannot_be_read_now_is_read_later(a, b, store, clock, pass_on):
    a.enrol()
    done(a.registry.change("A1", Patch(rule=RULE)))
    store.problem_with_reads = "away"
    pass_on()
    assert b.registry.get("A1").record.rule is None
    store.problem_with_reads = None
    clock.advance(RETRY_AFTER_S)
    assert b.registry.get("A1").record.rule == RULE


def test_what_is_told_while_the_table_is_read_is_not_lost(
    a, node, store, clock, pass_on
):
    a.enrol()
    store.problem_with_reads = "away"
    late = node("late")
    done(a.registry.change("A1", Patch(rule=RULE)))
    pass_on()
    store.problem_with_reads = None
    clock.advance(1)
    assert late.registry.get("A1").record.rule == RULE


def test_news_that_cannot_be_read_do_no_harm(a, b, air):
    air.letters.append(("a", TOPIC, b'{"came":7}'))
    air.carry()
    a.enrol()
    assert b.registry.get("A1") is not None


# ---- one device at two nodes -------------------------------------------------------


def test_the_newer_connection_is_the_device(a, b, pass_on):
    own, _ = a.enrol()
    old = a.arrive(own)
    new = b.arrive(own)
    pass_on()
    assert old.ended == "A1"
    assert not a.registry.is_here("A1")
    assert new.ended is None
    assert b.registry.is_here("A1")


def test_the_older_news_of_two_does_not_end_the_newer(a, b, air, pass_on):
    own, line = a.enrol()
    a.registry.depart(line.here)
    pass_on()
    air.holds = True
    b.arrive(own)
    new = a.arrive(own)
    pass_on()
    air.carry()
    pass_on()
    assert new.ended is None
    assert a.registry.is_here("A1")
    assert not b.registry.is_here("A1")


def test_while_nobody_knows_which_is_newer_both_stay(a, b, pass_on, clock):
    own, line = a.enrol()
    a.others.problem = StoreError("away")
    b.arrive(own)
    pass_on()
    assert line.ended is None
    a.others.problem = None
    clock.advance(2)
    assert line.ended == "A1"


def test_strangers_of_two_nodes_never_share_a_name(a, b):
    names = {node.arrive().here.id for node in (a, b) for _ in range(100)}
    assert len(names) == 200


def test_who_watches_is_told_what_happens_elsewhere(a, b, pass_on):
    line = a.arrive()
    pass_on()
    assert b.told == [line.here.id]
    a.registry.depart(line.here)
    pass_on()
    assert b.told == [line.here.id] * 2


def test_what_devices_say_is_told_to_who_looks(a, b, pass_on, clock):
    line = a.arrive()
    pass_on()
    b.told.clear()
    status = Status(uptime_s=7)
    a.registry.status(line.here, status)
    pass_on()
    assert b.told == []
    b.registry.look()
    a.registry.status(line.here, status)
    pass_on()
    assert b.told == [line.here.id]
    clock.advance(LOOKED_S)
    a.registry.status(line.here, status)
    pass_on()
    assert b.told == [line.here.id]


def test_many_that_come_at_once_are_told_in_few_words(a, b, air, pass_on):
    air.heard.clear()
    for _ in range(2 * MOST):
        a.arrive()
    pass_on()
    assert [len(told["came"]) for told in air.heard] == [MOST, MOST]


# ---- a store that comes back empty -------------------------------------------------


def empty(store):
    done(store.write(*(Delete(KIND, d.id) for d in done(store.list(KIND)))))


def test_an_empty_store_is_written_again(a, b, store, stored, clock, pass_on):
    own, line = a.enrol()
    b.enrol("B2")
    empty(store)
    assert isinstance(a.registry.judge(own.encode()), Known)
    a.registry.refill()
    b.registry.refill()
    pass_on()
    assert stored("A1")["tokens"]
    assert stored("B2")["tokens"]
    clock.advance(2 * FORGOTTEN_AFTER_S)
    assert line.ended is None
    assert isinstance(b.registry.judge(own.encode()), Known)


def test_a_store_found_empty_before_that_is_known_forgets_nobody(
    a, b, air, store, stored, clock
):
    own, line = a.enrol()
    empty(store)
    air.lose()
    a.registry.depart(line.here)
    clock.advance(FORGOTTEN_AFTER_S - 1)
    assert stored() is None
    assert isinstance(a.registry.judge(own.encode()), Known)
    assert isinstance(a.registry.judge(b"vsd_x"), Unsure)
    with pytest.raises(StoreError):
        done(a.registry.change("A1", Patch(name="x")))
    a.registry.refill()
    clock.advance(FORGOTTEN_AFTER_S)
    assert stored()["tokens"]
    assert isinstance(b.registry.judge(own.encode()), Known)


def test_what_stays_away_was_forgotten_elsewhere(a, b, air, clock, stored):
    own, line = a.enrol()
    done(b.registry.forget("A1"))
    air.holds = True
    clock.advance(BUNDLE_S)
    air.lose()
    assert isinstance(a.registry.judge(own.encode()), Known)
    clock.advance(FORGOTTEN_AFTER_S)
    assert a.registry.get("A1") is None
    assert line.ended
    assert stored() is None


def test_a_device_that_was_forgotten_is_not_written_again(a, b, air, clock, stored):
    _, line = a.enrol()
    air.holds = True
    done(b.registry.forget("A1"))
    a.registry.depart(line.here)
    clock.advance(FLUSH_EVERY_S)
    assert stored() is None
    air.carry()
    clock.advance(2 * FORGOTTEN_AFTER_S)
    assert a.registry.get("A1") is None
    assert stored() is None


def test_a_device_that_came_anew_is_not_forgotten(a, b, air):
    air.holds = True
    a.enrol()
    air.carry()
    done(a.registry.forget("A1"))
    a.hears()
    done(a.registry.create("A1", Patch(name="anew")))
    a.hears()
    air.carry()
    assert b.registry.get("A1").record.name == "anew"


def test_what_a_newer_version_wrote_is_left_alone(a, b, store, clock, pass_on):
    _, line = a.enrol()
    done(store.write(Put(KIND, "A1", b'{"id":"A1","new":1,"name":7}')))
    a.registry.depart(line.here)
    clock.advance(FLUSH_EVERY_S)
    assert done(store.get(KIND, "A1")).body == b'{"id":"A1","new":1,"name":7}'


# ---- all of it together ------------------------------------------------------------


class Chance:
    """What may happen to two devices at two nodes, in any order."""

    def __init__(self, air, store, nodes, seed):
        self.air, self._store, self._nodes = air, store, nodes
        self.random = random.Random(seed)
        self.own = {id_: nodes[0].enrol(id_)[0] for id_ in ("A1", "B2")}

    def happens(self):
        acts = [self._comes, self._says, self._goes, self._is_changed]
        acts += [self._is_rotated, self._is_lost, self._is_emptied]
        act, at = self.random.choice(acts), self.random.choice(self._nodes)
        act(at.registry, self.random.choice([*self.own]))
        self.air.holds = self.random.random() < 0.5

    def _comes(self, at, id_):
        known = at.judge(self.own[id_].encode())
        if isinstance(known, Known):
            at.arrive(Line(), known)

    def _says(self, at, id_):
        if (here := at._here.get(id_)) is not None:
            at.hello(here, hello(id_, fw=f"{self.random.random():.3f}"))

    def _goes(self, at, id_):
        if (here := at._here.get(id_)) is not None:
            at.depart(here)

    def _is_changed(self, at, id_):
        name = f"{self.random.random():.3f}"
        done(at.change(id_, Patch(name=name)))

    def _is_rotated(self, at, id_):
        self.own[id_] = done(at.rotate(id_))

    def _is_lost(self, at, id_):
        self.air.lose()

    def _is_emptied(self, at, id_):
        empty(self._store)
        for node in self._nodes:
            node.registry.refill()


@pytest.mark.parametrize("seed", range(40))
def test_in_the_end_all_nodes_know_what_is_stored(a, b, air, store, clock, seed):
    chance = Chance(air, store, [a, b], seed)
    for _ in range(60):
        chance.happens()
        clock.advance(chance.random.choice([0.0, BUNDLE_S, 1.0, FLUSH_EVERY_S]))
    air.holds = False
    for _ in range(3):
        air.carry()
        clock.advance(2 * FORGOTTEN_AFTER_S)
    for id_, own in chance.own.items():
        stored = msgspec.json.decode(done(store.get(KIND, id_)).body, type=Record)
        for node in (a, b):
            assert node.registry.get(id_).record == stored
            assert node.registry.judge(own.encode()).id == id_
