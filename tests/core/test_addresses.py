from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.addresses import Addresses, parse_networks

PROXIED = Addresses(parse_networks("10.0.0.0/8, 192.0.2.7, fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        # nobody but a listed proxy is believed
        ("203.0.113.9", {"x-forwarded-for": "198.51.100.1"}, "203.0.113.9"),
        ("203.0.113.9", {"cf-connecting-ip": "198.51.100.1"}, "203.0.113.9"),
        ("10.1.1.1", {}, "10.1.1.1"),
        ("10.1.1.1", {"x-forwarded-for": "198.51.100.1"}, "198.51.100.1"),
        # from the right: what the client claims stands on the left
        ("10.1.1.1", {"x-forwarded-for": "1.1.1.1, 198.51.100.1"}, "198.51.100.1"),
        (
            "10.1.1.1",
            {"x-forwarded-for": "1.1.1.1,198.51.100.1, 192.0.2.7,10.9.9.9"},
            "198.51.100.1",
        ),
        # all of them are proxies: the farthest
        ("10.1.1.1", {"x-forwarded-for": "10.2.2.2, 10.3.3.3"}, "10.2.2.2"),
        # Cloudflare's word comes first
        (
            "10.1.1.1",
            {"cf-connecting-ip": "198.51.100.1", "x-forwarded-for": "198.51.100.2"},
            "198.51.100.1",
        ),
        # garbage: what is known is the peer
        ("10.1.1.1", {"cf-connecting-ip": "198.51.100.1,198.51.100.2"}, "10.1.1.1"),
        ("10.1.1.1", {"x-forwarded-for": "198.51.100.1, unknown"}, "10.1.1.1"),
        ("10.1.1.1", {"x-forwarded-for": "unknown, 10.2.2.2"}, "10.1.1.1"),
        ("10.1.1.1", {"x-forwarded-for": ""}, "10.1.1.1"),
        # spellings
        ("::ffff:10.1.1.1", {"x-forwarded-for": "198.51.100.1"}, "198.51.100.1"),
        ("10.1.1.1", {"x-forwarded-for": "::ffff:198.51.100.1"}, "198.51.100.1"),
        ("10.1.1.1", {"x-forwarded-for": "198.51.100.1:4711"}, "198.51.100.1"),
        ("10.1.1.1", {"x-forwarded-for": "[2001:db8::1]:4711"}, "2001:db8::1"),
        ("fd00::1%eth0", {"x-forwarded-for": "2001:DB8::1"}, "2001:db8::1"),
        # a Unix socket is this machine's own proxy
        (None, {"x-forwarded-for": "198.51.100.1"}, "198.51.100.1"),
        (None, {}, ""),
    ],
)
def test_only_a_listed_proxy_can_name_another_client(peer, headers, client):
    assert PROXIED.of(peer, headers) == client


def test_nobody_is_believed_while_no_proxy_is_listed():
    nobody = Addresses()
    assert nobody.of(None, {"x-forwarded-for": "198.51.100.1"}) == ""
    assert nobody.of("127.0.0.1", {"cf-connecting-ip": "198.51.100.1"}) == "127.0.0.1"
    assert not nobody.believes("127.0.0.1")


def test_networks_are_cidrs_or_single_addresses():
    assert parse_networks(" 10.1.2.3/8 ,, ::1 ") == (
        ip_network("10.0.0.0/8"),
        ip_network("::1/128"),
    )
    with pytest.raises(ValueError, match=r"proxy\.example"):
        parse_networks("10.0.0.0/8, proxy.example")


@given(st.text(), st.text())
def test_whatever_a_proxy_says_the_answer_is_an_address(cloudflare, forwarded):
    headers = {"cf-connecting-ip": cloudflare, "x-forwarded-for": forwarded}
    ip_address(PROXIED.of("10.1.1.1", headers))
    del headers["cf-connecting-ip"]
    ip_address(PROXIED.of("10.1.1.1", headers))
