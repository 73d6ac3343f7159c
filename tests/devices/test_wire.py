import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.errors import ProtocolError
from voicestatus.core.lights import EVERYTHING, NOTHING_TO_SHOW, Light
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
    assert wire.rule_of(f"guild={number}") == f'{{"guilds":["{number}"]}}'
    assert (
        wire.rule_of(f"a=1&channel={number}&guilds=x") == f'{{"channels":["{number}"]}}'
    )


@pytest.mark.parametrize("query", ["", "token=x", "&&", "Guild=7", "room=%zz"])
def test_other_keys_mean_everything(query):
    assert wire.rule_of(query) == EVERYTHING


@pytest.mark.parametrize("key", ["guild", "channel"])
@pytest.mark.parametrize(
    "value",
    ["", "0", "-1", "+1", "1_0", " 1", "1.0", "0x1", "x", "1,2", "1%00"],
)
def test_a_malformed_id_is_refused_by_the_name_of_its_key(key, value):
    with pytest.raises(ProtocolError, match=key):
        wire.rule_of(f"{key}={value}")


@pytest.mark.parametrize("value", [str(2**64), "9" * 5000, "\u0663", "%D9%A3"])
def test_an_id_is_64_bits_in_ascii_digits(value):
    with pytest.raises(ProtocolError, match="guild"):
        wire.rule_of(f"guild={value}")


@pytest.mark.parametrize("query", ["guild=1&guild=1", "guild=1&guild=2"])
def test_a_repeated_key_is_refused(query):
    with pytest.raises(ProtocolError, match="guild"):
        wire.rule_of(query)


def test_guild_and_channel_together_are_refused():
    with pytest.raises(ProtocolError, match="guild and channel"):
        wire.rule_of("guild=1&channel=2")


@given(st.text())
def test_no_query_breaks_the_parser(query):
    try:
        wire.rule_of(query)
    except ProtocolError as e:
        assert "guild" in str(e) or "channel" in str(e)  # noqa: PT017


# ---- version 2 ---------------------------------------------------------------------


def test_a_hello_is_read_and_what_is_not_known_of_it_ignored():
    hello = wire.decode(b'{"new":[{}],"type":"hello","id":"A1","caps":["light"]}')
    assert hello == wire.Hello(id="A1", caps=("light",))


def test_a_status_is_read():
    status = wire.decode(b'{"type":"status","uptimeS":5,"rssiDbm":-60}')
    assert status == wire.Status(uptime_s=5, rssi_dbm=-60)
    assert wire.decode(b'{"type":"ota"}') == wire.OtaReport()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "this is not JSON"),
        ('{"a":' + "[" * 5000, "this is not JSON"),
        ('{"a":' * 5000, "this is not JSON"),
        ("{}", "type is missing"),
        ("[]", "type is missing"),
        ('{"type":7}', "type is missing"),
        ('{"type":"x"}', "type is none that is known"),
        ('{"type":"hello"}', "hello.id is missing"),
        ('{"type":"hello","id":""}', "hello.id: Expected `str` of length >= 1"),
        (
            '{"type":"hello","id":"conn-1"}',
            "hello.id has characters that it may not have",
        ),
        ('{"type":"hello","id":"A","v":1}', "hello.v: Expected `int` >= 2"),
        (
            '{"type":"hello","id":"A","name":"\\u202e"}',
            "hello.name has characters that it may not have",
        ),
        (
            '{"type":"hello","id":"A","fw":"1\\n"}',
            "hello.fw has characters that it may not have",
        ),
        (
            '{"type":"hello","id":"A","caps":[1]}',
            "hello.caps[0]: Expected `str`, got `int`",
        ),
        ('{"type":"status","rssiDbm":-1000}', "status.rssiDbm: Expected `int` >= -200"),
    ],
)
def test_what_is_wrong_with_a_text_is_told_by_its_key(text, error):
    with pytest.raises(ProtocolError) as caught:
        wire.decode(text.encode())
    assert str(caught.value) == error


@given(st.binary(max_size=300))
def test_no_text_of_a_device_breaks_the_reader(text):
    for each in (text, b"{" + text):
        try:
            wire.decode(each)
        except ProtocolError as e:
            assert len(str(e)) < 200  # noqa: PT017


@given(st.lists(st.text(max_size=300), max_size=4))
def test_framed_texts_are_taken_apart_again(texts):
    frames = b"".join(wire.text_frame(text.encode()) for text in texts)
    assert [*wire.texts_in(frames)] == texts


def test_a_welcome_says_its_token_and_never_shows_it():
    welcome = wire.Welcome(device="A1", token="vsd_x")
    assert wire.encode(welcome) == (
        b'{"type":"welcome","v":2,"device":"A1","token":"vsd_x"}'
    )
    assert "vsd_x" not in repr(welcome)


def test_the_full_light_is_two_texts():
    assert wire.rich_frame_of(NOTHING_TO_SHOW) is None
    light = Light(True, False, 0, pattern="blink", color="#000000", brightness=7)
    plain, full = wire.texts_in(wire.rich_frame_of(light))
    assert plain == "0"
    assert json.loads(full) == {
        "type": "light",
        "on": False,
        "count": 0,
        "pattern": "blink",
        "color": "#000000",
        "brightness": 7,
    }


@pytest.mark.parametrize(
    "command",
    [
        {},
        {"type": "explode"},
        {"type": "identify", "seconds": 0},
        {"type": "identify", "seconds": 61},
        {"type": "reboot", "now": True},
        {"type": "config", "x": object()},
        {"type": "config", "x": "x" * 1024},
    ],
)
def test_what_is_no_command_is_not_sent(command):
    with pytest.raises(ProtocolError, match="command: "):
        wire.command_text(command)


def test_a_command_is_sent_as_it_was_given_with_what_it_left_out():
    identify = b'{"type":"identify","seconds":5}'
    assert wire.command_text({"type": "identify"}) == identify
    assert wire.command_text({"type": "config", "a": {"b": 1}}) == (
        b'{"type":"config","a":{"b":1}}'
    )
