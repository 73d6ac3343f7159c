from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.penalty import PenaltyBox
from voicestatus.devices.session import (
    MAX_UNREAD_BYTES,
    MAX_UNREAD_TEXTS,
    Ask,
    Close,
    DeviceSession,
    Hear,
    Hold,
    Holding,
    Key,
    Known,
    LetIn,
    Nobody,
    PutOff,
    Reason,
    Refuse,
    Remove,
    Unsure,
)

KEY = Key(b"secret")


def session(box: PenaltyBox | None = None) -> DeviceSession:
    return DeviceSession(KEY, PenaltyBox() if box is None else box)


def test_the_right_token_is_welcome():
    assert session().text(b"AUTH:secret", "a", 0) == [LetIn()]


def test_after_a_welcome_nothing_is_said_any_more():
    device = session()
    device.text(b"AUTH:secret", "a", 0)
    assert device.text(b"AUTH:wrong", "a", 1) == []
    assert device.silence() == []


OWN = b"vsd_" + b"A" * 43
KNOWN = Known("A1", "digest")


def shown_its_own() -> DeviceSession:
    device = session()
    assert device.text(b"AUTH:" + OWN, "a", 0) == [Ask(OWN)]
    return device


def test_a_devices_own_token_is_asked_about():
    device = shown_its_own()
    assert device.judged(KNOWN, "a", 0) == [LetIn(KNOWN)]
    assert device.judged(KNOWN, "a", 0) == []
    assert device.text(b"{}", "a", 1) == [Hear(b"{}")]


def test_an_own_token_that_is_nobodys_is_a_failure():
    device = shown_its_own()
    assert device.judged(Nobody(), "a", 0) == [Refuse(Reason.WRONG_TOKEN), Close()]
    assert device.text(b"AUTH:secret", "a", 0) == []


def test_what_cannot_be_judged_yet_is_judged_again_and_put_off_in_the_end():
    device = shown_its_own()
    assert device.judged(Unsure(), "a", 0) == []
    assert device.text(b"AUTH:secret", "a", 0) == []
    assert device.once_more() == [Ask(OWN)]
    assert device.silence() == [PutOff()]
    assert device.once_more() == []
    assert device.judged(KNOWN, "a", 0) == []


def test_the_shared_token_may_look_like_an_own_one():
    device = DeviceSession(Key(OWN), PenaltyBox())
    assert device.text(b"AUTH:" + OWN, "a", 0) == [LetIn()]


def test_texts_that_are_no_json_mean_nothing():
    device = session()
    device.text(b"AUTH:secret", "a", 0)
    for text in (b"", b"hello", b" {}", b"[]"):
        assert device.text(text, "a", 0) == []


def test_more_texts_than_were_read_end_the_connection():
    device = session()
    device.text(b"AUTH:secret", "a", 0)
    for _ in range(MAX_UNREAD_TEXTS):
        assert device.text(b"{}", "a", 0) == [Hear(b"{}")]
    assert device.read(b"{}")
    assert device.text(b"{}", "a", 0) == [Hear(b"{}")]
    assert device.text(b"{}", "a", 0) == [Remove()]
    assert device.text(b"{}", "a", 0) == []
    assert not device.read(b"{}")


def test_so_do_too_many_bytes():
    device, half = session(), b"{" + b" " * (MAX_UNREAD_BYTES // 2 - 1)
    device.text(b"AUTH:secret", "a", 0)
    for _ in range(3):
        assert device.text(half, "a", 0) == [Hear(half)]
        assert device.text(half, "a", 0) == [Hear(half)]
        assert device.read(half)
        assert device.read(half)
    device.text(half, "a", 0)
    device.text(half, "a", 0)
    assert device.text(b"{}", "a", 0) == [Remove()]


def test_nothing_is_heard_of_who_is_to_go():
    device = session()
    device.text(b"AUTH:secret", "a", 0)
    device.text(b"{}", "a", 0)
    device.end()
    assert not device.read(b"{}")
    assert device.text(b"{}", "a", 0) == []
    assert device.silence() == []


@given(st.lists(st.binary(max_size=60) | st.just(b"AUTH:secret"), max_size=6))
def test_noauth_is_never_said_twice(texts):
    device, said = session(), []
    for text in texts:
        said += device.text(text, "a", 0)
    said += device.silence()
    assert sum(isinstance(effect, Refuse) for effect in said) <= 1


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


def test_a_token_is_never_shown():
    assert "secret" not in repr(vars(KEY))
    assert repr(Ask(b"secret")) == "Ask()"
    assert not KEY.fits(b"")
    assert not KEY.fits(b"secret ")


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
