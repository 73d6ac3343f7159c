import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from voicestatus.devices.session import (
    Close,
    DeviceSession,
    Hold,
    Holding,
    Key,
    PenaltyBox,
    Reason,
    Refuse,
    Welcome,
)

KEY = Key(b"secret")


def session(box: PenaltyBox | None = None) -> DeviceSession:
    return DeviceSession(KEY, PenaltyBox() if box is None else box)


def test_the_right_token_is_welcome():
    assert session().text(b"AUTH:secret", "a", 0) == [Welcome()]


def test_after_a_welcome_nothing_is_said_any_more():
    device = session()
    device.text(b"AUTH:secret", "a", 0)
    assert device.text(b"AUTH:wrong", "a", 1) == []
    assert device.silence() == []


def test_a_first_failure_is_closed_at_once_as_the_original_did():
    wrong = [Refuse(Reason.WRONG_TOKEN), Close()]
    assert session().text(b"AUTH:wrong", "a", 0) == wrong
    assert session().text(b"hello", "a", 0) == [Refuse(Reason.NOT_AUTH), Close()]


def test_noauth_is_said_once_in_a_connection():
    device = session()
    device.text(b"AUTH:wrong", "a", 0)
    assert device.text(b"AUTH:secret", "a", 0) == []
    assert device.text(b"AUTH:wrong", "a", 0) == []
    assert device.silence() == []


def test_silence_is_refused_without_a_penalty():
    box = PenaltyBox()
    assert session(box).silence() == [Refuse(Reason.SILENCE), Close()]
    assert len(box) == 0


def test_repeats_are_held_longer_and_longer():
    box = PenaltyBox()
    holds = [session(box).text(b"AUTH:x", "a", t)[1] for t in range(7)]
    assert holds == [Close(), *map(Hold, (5, 10, 20, 40, 60, 60))]
    assert session(box).text(b"AUTH:x", "b", 7)[1] == Close()


def test_who_was_quiet_for_long_enough_begins_anew():
    box = PenaltyBox(forget_after_s=600)
    assert [box.fail("a", 0), box.fail("a", 0), box.fail("a", 601)] == [0, 5, 0]
    box.forgive(1201)
    assert len(box) == 1
    box.forgive(1202)
    assert len(box) == 0


def test_a_token_is_never_shown():
    assert "secret" not in repr(vars(KEY))
    assert not KEY.fits(b"")
    assert not KEY.fits(b"secret ")


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


def test_the_oldest_is_let_go_when_too_many_are_held():
    held = Holding[str](limit=2)
    assert [held.hold(key, 10) for key in "abc"] == [None, None, "a"]
    held.release("b")
    held.release("b")
    assert list(held) == ["c"]


def test_the_held_are_let_go_when_their_time_is_over():
    held = Holding[str]()
    held.hold("long", 60)
    held.hold("short", 5)
    assert held.due(4.9) == []
    assert held.due(5) == ["short"]
    assert held.due(60) == ["long"]
    assert len(held) == 0
