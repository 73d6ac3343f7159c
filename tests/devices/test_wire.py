import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.errors import ProtocolError
from voicestatus.core.lights import NOTHING_TO_SHOW, Light, Scope
from voicestatus.devices import wire

IDS = st.integers(1, 2**64 - 1)


def test_the_prepared_frames_are_what_the_original_sends():
    frames = [wire.OK, wire.NOAUTH, wire.ON, wire.OFF]
    sent = ["81 02 4f 4b", "81 06 4e 4f 41 55 54 48", "81 01 31", "81 01 30"]
    assert [frame.hex(" ") for frame in frames] == sent


def test_an_unknown_light_has_no_frame():
    assert wire.frame_of(NOTHING_TO_SHOW) is None
    assert wire.frame_of(Light(known=True, on=True, count=3, stale=True)) == wire.ON
    assert wire.frame_of(Light(known=True)) == wire.OFF


@pytest.mark.parametrize(
    ("text", "token"),
    [
        (b"AUTH:secret", b"secret"),
        (b" AUTH:secret\r\n", b"secret"),
        (b"AUTH:\tsecret ", b"secret"),
        (b"AUTH:AUTH:x", b"AUTH:x"),
        (b"AUTH:" + b"x" * 512, b"x" * 512),
        (b"AUTH:" + b"x" * 513, None),
        (b"AUTH:", None),
        (b"AUTH: ", None),
        (b"auth:secret", None),
        (b"AUTH secret", None),
        (b"", None),
    ],
)
def test_only_auth_with_a_token_is_auth(text, token):
    assert wire.parse_auth(text) == token


@given(st.binary(max_size=600))
def test_no_text_breaks_the_parser(text):
    token = wire.parse_auth(text)
    assert token is None or token in text


@given(st.binary(min_size=1, max_size=512), st.sampled_from([b"", b" ", b"\r\n"]))
def test_every_token_is_read_without_the_space_around_it(token, space):
    read = wire.parse_auth(space + b"AUTH:" + space + token + space)
    assert read == (token.strip() or None)


@given(IDS)
def test_every_id_is_read(number):
    assert wire.scope_of(f"guild={number}") == Scope(guild=number)
    assert wire.scope_of(f"a=1&channel={number}&guilds=x") == Scope(channel=number)


@pytest.mark.parametrize("query", ["", "token=x", "&&", "Guild=7", "room=%zz"])
def test_other_keys_mean_everything(query):
    assert wire.scope_of(query) == Scope()


@pytest.mark.parametrize("key", ["guild", "channel"])
@pytest.mark.parametrize(
    "value",
    ["", "0", "-1", "+1", "1_0", " 1", "1.0", "0x1", "x", "1,2", "1%00"],
)
def test_a_malformed_id_is_refused_by_the_name_of_its_key(key, value):
    with pytest.raises(ProtocolError, match=key):
        wire.scope_of(f"{key}={value}")


@pytest.mark.parametrize("value", [str(2**64), "9" * 5000, "\u0663", "%D9%A3"])
def test_an_id_is_64_bits_in_ascii_digits(value):
    with pytest.raises(ProtocolError, match="guild"):
        wire.scope_of(f"guild={value}")


@pytest.mark.parametrize("query", ["guild=1&guild=1", "guild=1&guild=2"])
def test_a_repeated_key_is_refused(query):
    with pytest.raises(ProtocolError, match="guild"):
        wire.scope_of(query)


def test_guild_and_channel_together_are_refused():
    with pytest.raises(ProtocolError, match="guild and channel"):
        wire.scope_of("guild=1&channel=2")


@given(st.text())
def test_no_query_breaks_the_parser(query):
    try:
        wire.scope_of(query)
    except ProtocolError as e:
        assert "guild" in str(e) or "channel" in str(e)  # noqa: PT017
