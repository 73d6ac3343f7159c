"""Who is taken for whom: old devices that were sent away, and who comes."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from voicestatus.devices.returning import RETURN_WITHIN_S, Returning

HERE, THERE = ("192.0.2.1", "/ws"), ("192.0.2.2", "/ws")


def test_the_next_one_from_there_is_the_one_that_was_sent_away():
    returning = Returning()
    assert returning.expect(HERE, "a", 0)
    assert returning.came(THERE, "conn-1", 1) is None
    assert returning.came(HERE, "conn-2", 1) == "a"
    assert returning.came(HERE, "conn-3", 2) is None


def test_who_comes_too_late_is_nobody():
    returning = Returning()
    returning.expect(HERE, "a", 0)
    assert returning.came(HERE, "conn-1", RETURN_WITHIN_S) is None
    assert len(returning) == 0


def test_while_one_is_awaited_from_there_no_other_is():
    returning = Returning()
    returning.expect(HERE, "a", 0)
    assert not returning.expect(HERE, "b", 1)
    assert returning.expect(THERE, "b", 1)
    assert returning.expect(HERE, "a", 2)
    returning.came(HERE, "conn-1", 3)
    assert returning.expect(HERE, "b", 4)


def test_who_is_still_busy_is_awaited_as_long_again():
    returning = Returning()
    returning.expect(HERE, "a", 0)
    returning.expect(THERE, "b", 1)
    returning.prolong("a", 50)
    returning.prolong("nobody", 50)
    assert returning.came(THERE, "conn-1", 70) is None
    assert returning.came(HERE, "conn-2", 109) == "a"


def test_what_is_learnt_of_a_connection_holds_for_who_comes_after_it():
    returning = Returning()
    returning.expect(HERE, "conn-1", 0)
    assert returning.learnt("conn-1", "a", 1) is None
    assert returning.came(HERE, "conn-2", 2) == "a"


def test_what_is_learnt_late_holds_for_who_has_come_already():
    returning = Returning()
    returning.expect(HERE, "conn-1", 0)
    assert returning.came(HERE, "conn-2", 1) == "conn-1"
    assert returning.learnt("conn-1", "a", 2) == "conn-2"
    assert returning.learnt("conn-9", "b", 2) is None


class Comings(RuleBasedStateMachine):
    """Nobody is taken for somebody who was not sent away from there, nor twice."""

    places = st.sampled_from([HERE, THERE])
    names = st.sampled_from(["a", "b", "c"])

    def __init__(self):
        super().__init__()
        self.returning, self.now = Returning(), 0.0
        self.away = {}

    @rule(seconds=st.floats(0, 80))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(place=places, name=names)
    def one_is_sent_away(self, place, name):
        other, until = self.away.get(place, (name, 0))
        busy = other != name and until > self.now
        assert self.returning.expect(place, name, self.now) is not busy
        if not busy:
            self.away[place] = name, self.now + RETURN_WITHIN_S

    @rule(place=places)
    def one_comes(self, place):
        name, until = self.away.pop(place, (None, 0))
        wanted = name if until > self.now else None
        assert self.returning.came(place, "conn", self.now) == wanted

    @invariant()
    def it_keeps_no_more_than_a_place_each(self):
        assert len(self.returning) <= 2


Comings.TestCase.settings = settings(max_examples=50, stateful_step_count=30)
test_nobody_is_taken_for_another = Comings.TestCase
