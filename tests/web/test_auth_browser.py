"""Cookies and origins, as browsers send them and as nobody should."""

from string import ascii_letters, digits

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voicestatus.core.addresses import Addresses, parse_networks
from voicestatus.web.auth import cookies, origins
from voicestatus.web.auth.origins import Origin
from voicestatus.web.auth.visit import Visit, Visits

VALUES = st.text(ascii_letters + digits + "-_=.", min_size=1)
HEADERS = st.text(st.characters(max_codepoint=255))
HOSTS = st.from_regex(r"[a-z0-9-]{1,20}(\.[a-z0-9-]{1,20}){0,3}", fullmatch=True)


def sent(set_cookie: str) -> str:
    """Return what a browser sends that was given this."""
    return set_cookie.partition(";")[0]


# ---- cookies -----------------------------------------------------------------------


@given(VALUES, st.booleans())
def test_what_is_written_is_read(value: str, secure: bool):
    cookie = cookies.write(cookies.SESSION, value, secure=secure, max_age_s=60)
    header = f"other=1; {sent(cookie)}; more=2"
    assert cookies.read(header, cookies.SESSION, secure=secure) == value


@given(HEADERS, st.booleans())
@example(cookies.SESSION, False)
@example(f"{cookies.SESSION}=", False)
def test_whatever_a_header_holds_it_is_read_without_a_defect(header: str, secure: bool):
    found = cookies.read(header, cookies.SESSION, secure=secure)
    assert found is None or (found and found in header)


@given(VALUES, VALUES, st.booleans())
def test_of_two_cookies_of_one_name_neither_is_believed(
    mine: str, planted: str, secure: bool
):
    pair = [
        sent(cookies.write(cookies.SESSION, value, secure=secure, max_age_s=60))
        for value in (mine, planted)
    ]
    assert cookies.read("; ".join(pair), cookies.SESSION, secure=secure) is None


@given(VALUES)
def test_behind_https_a_cookie_without_the_prefix_is_not_believed(value: str):
    header = f"{cookies.SESSION}={value}"
    assert cookies.read(header, cookies.SESSION, secure=True) is None


@given(VALUES)
def test_another_cookies_value_is_no_place_for_one_of_ours(value: str):
    header = f"other=x,__Host-{cookies.SESSION}={value}"
    assert cookies.read(header, cookies.SESSION, secure=True) is None


def test_a_cookie_is_for_this_host_and_for_no_script():
    assert cookies.write("name", "value", secure=True, max_age_s=60) == (
        "__Host-name=value; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
    )
    assert cookies.write("name", "value", secure=False, max_age_s=60) == (
        "name=value; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"
    )


# ---- origins -----------------------------------------------------------------------


@given(st.sampled_from(["http", "https"]), HOSTS, st.integers(0, 65535))
def test_an_origin_is_read_as_it_is_written(scheme: str, host: str, port: int):
    assert origins.parse(f"{scheme}://{host}:{port}") == Origin(scheme, host, port)
    assert origins.parse(f"{scheme}://{host}:{port}".upper()) == (scheme, host, port)


@given(HOSTS)
def test_a_port_that_is_the_schemes_own_may_be_left_out(host: str):
    for scheme, port in (("http", 80), ("https", 443)):
        assert origins.parse(f"{scheme}://{host}") == Origin(scheme, host, port)


@given(HEADERS)
@example("null")
@example("http://")
@example("http://a/")
@example("http://a:b")
@example("http://user@a")
@example("file://")
@example("http://a\nhttp://b")
@example("http://a http://b")
def test_what_is_no_origin_is_none(text: str):
    found = origins.parse(text)
    assert found is None or text.lower().startswith(f"{found.scheme}://{found.host}")
    if any(c in text for c in "@ \n\r\t?#%,") or text.count("/") != 2:
        assert found is None


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://signs.example", ("https", "signs.example", 443)),
        ("https://signs.example/below", ("https", "signs.example", 443)),
        ("http://localhost:8080", ("http", "localhost", 8080)),
        ("http://[::1]:8080", ("http", "[::1]", 8080)),
        ("https://user@signs.example", None),
    ],
)
def test_a_url_of_ours_has_the_origin_that_browsers_give_it(
    url: str, origin: tuple[str, str, int] | None
):
    assert origins.of_url(url) == origin


# ---- requests ----------------------------------------------------------------------


def visit(public_url: str = "http://sign.example", /, **headers: str) -> Visit:
    """Let a request come from a proxy that is believed."""
    visits = Visits(Addresses(parse_networks("127.0.0.1")), public_url)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return visits.of("127.0.0.1", named, tls=False)


@pytest.mark.parametrize(
    ("public_url", "proto", "secure"),
    [
        ("http://sign.example", "", False),
        ("http://sign.example", "http", False),
        ("http://sign.example", "https", True),
        ("http://sign.example", "HTTPS ", True),
        ("http://sign.example", "https, http", False),
        ("http://sign.example", "http, https", True),
        ("https://sign.example", "", True),
        ("https://sign.example", "http", True),
    ],
)
def test_cookies_are_secure_when_the_settings_or_a_trusted_proxy_say_https(
    public_url: str, proto: str, secure: bool
):
    assert visit(public_url, x_forwarded_proto=proto).secure is secure


def test_a_stranger_who_says_https_is_not_believed():
    visits = Visits(Addresses(parse_networks("127.0.0.1")), "http://sign.example")
    headers = {"x-forwarded-proto": "https"}
    assert not visits.of("192.0.2.1", headers, tls=False).secure


@pytest.mark.parametrize(
    ("origin", "host", "proto", "own"),
    [
        ("http://sign.example", "sign.example", "", True),
        ("http://sign.example", "10.0.0.5:8080", "", True),
        ("http://10.0.0.5:8080", "10.0.0.5:8080", "", True),
        ("https://10.0.0.5:8080", "10.0.0.5:8080", "https", True),
        ("https://10.0.0.5:8080", "10.0.0.5:8080", "", False),
        ("http://10.0.0.5:8080", "10.0.0.5:8080", "https", False),
        ("https://sign.example", "sign.example", "", False),
        ("http://sign.example:81", "sign.example", "", False),
        ("http://sign.example.evil.example", "sign.example", "", False),
        ("http://evil.example", "sign.example", "", False),
        ("null", "null", "", False),
        ("", "", "", False),
    ],
)
def test_a_page_is_ours_if_it_is_where_the_browser_or_the_settings_say(
    origin: str, host: str, proto: str, own: bool
):
    seen = visit(origin=origin, host=host, x_forwarded_proto=proto)
    assert seen.own_origin is own


def test_who_names_no_page_is_neither_ours_nor_another():
    assert visit(host="sign.example").own_origin is None


@given(st.dictionaries(st.sampled_from(
    ["authorization", "cookie", "origin", "host", "x-csrf-token", "x-forwarded-proto"]
), HEADERS))  # fmt: skip
def test_no_headers_make_a_defect(headers: dict[str, str]):
    assert visit(**headers).own_origin in (True, False, None)


def test_no_secret_is_in_a_repr():
    seen = visit(
        authorization="Bearer s3cret",
        cookie=f"{cookies.SESSION}=s3cret; {cookies.SIGN_IN}=s3cret",
        x_csrf_token="s3cret",
    )
    assert (seen.bearer, seen.session, seen.sign_in) == (b"s3cret", "s3cret", "s3cret")
    assert "s3cret" not in repr(seen)
