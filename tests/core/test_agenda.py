"""The agenda: what is due when, and each thing once."""

from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.agenda import Agenda


def test_what_is_due_comes_out_once_and_in_order():
    agenda: Agenda[str] = Agenda()
    agenda.put("b", 2.0)
    agenda.put("a", 1.0)
    agenda.put("c", 3.0)
    assert agenda.next_at == 1.0
    assert agenda.due(2.0, 9) == [(1.0, "a"), (2.0, "b")]
    assert agenda.due(2.0, 9) == []
    assert agenda.next_at == 3.0


def test_no_more_comes_out_than_is_asked_for():
    agenda: Agenda[str] = Agenda()
    for thing in "abc":
        agenda.put(thing, 1.0)
    assert agenda.due(1.0, 2) == [(1.0, "a"), (1.0, "b")]
    assert agenda.due(1.0, 2) == [(1.0, "c")]


def test_a_later_word_replaces_the_earlier_one():
    agenda: Agenda[str] = Agenda()
    agenda.put("a", 1.0)
    agenda.put("a", 5.0)
    assert agenda.at("a") == agenda.next_at == 5.0
    agenda.put("a", None)
    assert agenda.next_at is None


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.one_of(st.none(), st.integers(0, 50).map(float)),
        ),
        max_size=400,
    )
)
def test_it_is_a_dictionary_of_times(puts: list[tuple[int, float | None]]):
    agenda: Agenda[int] = Agenda()
    times: dict[int, float] = {}
    for n, (thing, at) in enumerate(puts):
        agenda.put(thing, at)
        times.pop(thing, None)
        if at is not None:
            times[thing] = at
        assert agenda.next_at == min(times.values(), default=None)
        if n % 7 == 0:
            due = agenda.due(20.0, len(times) + 1)
            assert sorted(due) == sorted(
                (at, thing) for thing, at in times.items() if at <= 20.0
            )
            assert [at for at, _ in due] == sorted(at for at, _ in due)
            times = {t: at for t, at in times.items() if at > 20.0}
