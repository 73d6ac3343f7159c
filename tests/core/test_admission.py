"""The door's bookkeeping, beside a simple model of it."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.addresses import end_site
from voicestatus.core.admission import Admission, Limits

IPV6 = st.ip_addresses(v=6, network="2001:db8::/32")
WHO = st.integers(0, 9)
ACTS = st.one_of(
    st.tuples(st.just("arrive"), WHO),
    st.tuples(st.just("claim"), WHO, st.sampled_from("abc")),
    st.tuples(st.just("let_in"), WHO),
    st.tuples(st.just("depart"), WHO),
)


def test_without_limits_everybody_may_come():
    admission = Admission[int](Limits())
    assert all(admission.arrive(who) for who in range(1000))
    assert all(admission.claim(who, "a") for who in range(1000))
    assert len(admission) == 1000


def test_who_moves_to_another_address_leaves_its_place():
    admission = Admission[int](Limits(per_address=1))
    assert admission.claim(1, "a")
    assert not admission.claim(2, "a")
    assert admission.claim(1, "b")
    assert admission.claim(2, "a")


@given(st.lists(ACTS, max_size=60))
def test_the_limits_hold_whatever_happens_and_nothing_is_left(acts):
    admission = Admission[int](Limits(in_all=5, per_address=2))
    arrived: set[int] = set()
    strangers: dict[int, str] = {}
    for act, who, *address in acts:
        match act:
            case "arrive" if who not in arrived:
                assert admission.arrive(who) == (len(arrived) < 5)
                if len(arrived) < 5:
                    arrived.add(who)
            case "claim" if who in arrived:
                strangers.pop(who, None)
                there = Counter(strangers.values())[address[0]]
                assert admission.claim(who, address[0]) == (there < 2)
                if there < 2:
                    strangers[who] = address[0]
            case "let_in":
                admission.let_in(who)
                strangers.pop(who, None)
            case "depart":
                admission.depart(who)
                arrived.discard(who)
                strangers.pop(who, None)
        assert len(admission) == len(arrived)
    for who in tuple(arrived):
        admission.depart(who)
    assert len(admission) == 0
    assert all(admission.claim(who, "a") for who in (1, 2))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_a_subscriber_also_where_it_is_mapped(address):
    assert end_site(str(address)) == end_site(f"::ffff:{address}") == str(address)


@given(IPV6, st.integers(0, 127))
def test_ipv6_addresses_are_one_subscribers_if_they_share_64_bits(address, bit):
    other = type(address)(int(address) ^ 1 << bit)
    assert (end_site(str(address)) == end_site(str(other))) == (bit < 64)


@given(st.text(max_size=50))
def test_what_is_no_address_is_its_own_subscriber(text):
    assert isinstance(end_site(text), str)
