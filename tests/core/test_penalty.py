import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from voicestatus.core.penalty import PenaltyBox


def test_repeats_are_held_longer_and_longer():
    box = PenaltyBox()
    assert [box.fail("a", t) for t in range(7)] == [0, 5, 10, 20, 40, 60, 60]
    assert box.fail("b", 7) == 0


def test_who_was_quiet_for_long_enough_begins_anew():
    box = PenaltyBox(forget_after_s=600)
    assert [box.fail("a", 0), box.fail("a", 0), box.fail("a", 601)] == [0, 5, 0]
    box.forgive(1201)
    assert len(box) == 1
    box.forgive(1202)
    assert len(box) == 0


class PenaltyMachine(RuleBasedStateMachine):
    """A box of three addresses, against a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.box = PenaltyBox(max_addresses=3, forget_after_s=100)
        self.seen: list[str] = []
        self.now = 0.0

    @rule(address=st.sampled_from("abcde"))
    def fail(self, address):
        known = address in self.seen[-3:]
        hold_s = self.box.fail(address, self.now)
        assert hold_s <= 60
        if not known:
            assert hold_s == 0
        self.seen = [a for a in self.seen if a != address] + [address]

    @rule(seconds=st.sampled_from([1, 50, 200]))
    def wait(self, seconds):
        self.now += seconds
        self.box.forgive(self.now)

    @invariant()
    def memory_is_bounded(self):
        assert len(self.box) <= 3


TestPenaltyBox = PenaltyMachine.TestCase
