"""What is told of a message, and that it is read as the message itself is."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voicestatus.core.errors import ProtocolError
from voicestatus.core.guild import Voice
from voicestatus.core.presence import Presence, SessionBegan
from voicestatus.discord.gateway import wire
from voicestatus.trace.redaction import (
    EVENTS,
    LARGEST,
    RESUME_URL,
    SESSION_ID,
    Pseudonyms,
    redact,
)

SAMPLES = sorted((Path(__file__).parents[1] / "fixtures" / "gateway").glob("*.json"))
MESSAGES = [
    path
    for path in SAMPLES
    if not path.stem.endswith(("_send", "_send_null", "_frames", "close_codes"))
]
PLAIN = {"shard", "kind", "position", "seq", "interval_s", "op"}
"""Fields whose numbers are no ids."""
INSTEAD = {"session_id": SESSION_ID, "resume_url": RESUME_URL, "avatar_url": None,
           "code": "-"}  # fmt: skip


def leaves(value: Any) -> Iterator[Any]:
    """Find every text and number of a JSON value, keys too."""
    match value:
        case dict():
            for key, each in value.items():
                yield key
                yield from leaves(each)
        case list():
            for each in value:
                yield from leaves(each)
        case _:
            yield value


def is_secret(leaf: Any) -> bool:
    """Whether it may be an id or a name: any long number, and any text that is one."""
    if isinstance(leaf, bool) or leaf is None:
        return False
    if isinstance(leaf, int):
        return abs(leaf) > LARGEST
    if isinstance(leaf, str):
        return bool(re.fullmatch(r"\d{15,}", leaf)) or "@" in leaf or "secret" in leaf
    return False


def other(value: Any, names: Pseudonyms, field: str = "") -> Any:
    """Say what a value is with other ids and names, and people without any."""
    if is_dataclass(value):
        nameless = {"name": ""} if isinstance(value, Voice) else {}
        return {f.name: other(getattr(value, f.name), names, f.name)
                for f in fields(value)} | nameless  # fmt: skip
    if isinstance(value, frozenset):
        return {other(each, names) for each in value}
    if isinstance(value, tuple):
        return [other(each, names) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        if field in PLAIN:
            return max(-LARGEST, min(value, LARGEST))
        return names.id(int(value))
    if isinstance(value, str):
        if field in INSTEAD:
            return INSTEAD[field]
        return names.name(value) if value else ""
    return value


def reading(message: bytes) -> Any:
    try:
        return wire.decode(message, 3)
    except ProtocolError:
        return "not a message"


def alike(message: bytes) -> bytes:
    """Check that a message and what is told of it are read alike; return that."""
    names = Pseudonyms(4)
    told = bytes(redact(message, names))
    was, now = reading(message), reading(told)
    assert type(was) is type(now)
    if isinstance(was, wire.Dispatch):
        assert other(was.seq, names, "seq") == now.seq
        assert (was.fault is None) == (now.fault is None)
        assert type(was.body) is type(now.body)
        if was.body is not None:
            assert was.name == now.name
        assert other(was.body, names) == plain(now.body)
    elif not isinstance(was, str):
        assert other(was, names) == plain(now)
    return told


def plain(value: Any) -> Any:
    """Take values apart as `other` does, and leave them as they are."""
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, frozenset):
        return {plain(each) for each in value}
    return [plain(each) for each in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_no_id_and_no_name_of_a_real_message_is_told(path: Path):
    message = json.loads(path.read_text())
    told = alike(json.dumps(message, separators=(",", ":")).encode())
    said = set(leaves(json.loads(told)))
    names = {leaf for leaf in leaves(message.get("d")) if isinstance(leaf, str)}
    structure = {"session_id", "resume_gateway_url", *_keys(message)}
    assert not (names - structure) & said
    assert not [leaf for leaf in leaves(message) if is_secret(leaf) and leaf in said]


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from _keys(each)
    elif isinstance(value, list):
        for each in value:
            yield from _keys(each)


def test_what_the_wire_reads_is_told_and_nothing_else():
    assert EVENTS.keys() == wire._READERS.keys()


KEYS = sorted(
    {
        "id", "guild_id", "channel_id", "user_id", "user", "member", "members", "roles",
        "bot", "name", "nick", "session_id", "resume_gateway_url", "guilds", "channels",
        "voice_states", "parent_id", "afk_channel_id", "position", "type", "flags",
        "unavailable", "deaf", "mute", "self_stream", "request_to_speak_timestamp",
        "heartbeat_interval", "username", "avatar", "email", "topic", "content",
        "secret-key",
    }
)  # fmt: skip
snowflakes = st.integers(1 << 50, (1 << 63) - 1)
scalars = st.one_of(
    snowflakes,
    snowflakes.map(str),
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["", "null", "true", "0", "1", "12", "secret name", "a@secret.org"]
    ),
    st.text(max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    ),
    max_leaves=25,
)
user = st.fixed_dictionaries({"id": snowflakes.map(str)}, optional={"bot": values})
member = st.fixed_dictionaries(
    {"user": user}, optional={"roles": st.lists(snowflakes.map(str)), "nick": values}
)
voice = st.fixed_dictionaries(
    {"user_id": st.one_of(snowflakes, values), "channel_id": snowflakes.map(str)},
    optional={"guild_id": snowflakes, "member": st.one_of(member, values),
              "session_id": st.just("secret"), "self_stream": values},
)  # fmt: skip
channel = st.fixed_dictionaries(
    {"id": snowflakes.map(str), "type": st.one_of(st.integers(0, 15), values)},
    optional={"guild_id": snowflakes, "name": values, "position": values,
              "flags": st.integers(0, 1 << 20), "topic": st.just("secret")},
)  # fmt: skip
guild = st.fixed_dictionaries(
    {"id": st.one_of(snowflakes.map(str), values)},
    optional={"name": values, "channels": st.lists(channel, max_size=3),
              "voice_states": st.lists(voice, max_size=3), "unavailable": values,
              "members": st.lists(member, max_size=3), "afk_channel_id": snowflakes},
)  # fmt: skip
ready = st.fixed_dictionaries(
    {"session_id": st.just("secret"), "resume_gateway_url": st.just("wss://secret"),
     "user": user, "guilds": st.lists(guild, max_size=3)},
)  # fmt: skip
bodies = st.one_of(values, voice, channel, guild, ready, member)
messages = st.fixed_dictionaries(
    {
        "t": st.one_of(st.sampled_from([*EVENTS, "SECRET_EVENT", None]), values),
        "s": st.one_of(st.integers(0, LARGEST), st.none(), st.text(max_size=3)),
        "op": st.one_of(st.sampled_from([0, 0, 0, 0, 1, 7, 9, 10, 11]), scalars),
        "d": bodies,
    }
)


@given(messages)
@example({"t": "GUILD_CREATE", "s": 1, "op": 0, "d": {"id": {}, "name": 5}})
def test_whatever_is_received_no_id_or_name_survives(message: dict[str, Any]):
    told = json.loads(bytes(redact(json.dumps(message).encode(), Pseudonyms())))
    secret = {leaf for leaf in leaves(message) if is_secret(leaf)}
    assert not secret & set(leaves(told))


@given(messages, st.booleans())
def test_what_is_told_is_read_as_the_message_itself_is(
    message: dict[str, Any], compact: bool
):
    alike(json.dumps(message, separators=(",", ":") if compact else None).encode())


@given(st.binary(max_size=60))
def test_garbage_stays_garbage(message: bytes):
    told = redact(message, Pseudonyms())
    was, now = reading(message), reading(bytes(told))
    assert type(was) is type(now)


def test_a_deep_message_is_none():
    deep = b'{"op":0,"t":"GUILD_CREATE","d":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    told = bytes(redact(deep, Pseudonyms()))
    assert type(reading(deep)) is type(reading(told))


@given(st.lists(snowflakes, unique=True, min_size=1), st.integers(1, 64))
def test_ids_stay_apart_and_guilds_with_their_shard(ids: list[int], shards: int):
    names = Pseudonyms(shards)
    others = [names.id(id_) for id_ in ids]
    assert others == [names.id(id_) for id_ in ids]
    assert len(set(others)) == len(ids)
    assert not set(others) & set(ids)
    for id_, another in zip(ids, others, strict=True):
        assert (id_ >> 22) % shards == (another >> 22) % shards


def test_everybodys_role_still_has_the_guilds_id():
    message = json.dumps(
        {
            "t": "VOICE_STATE_UPDATE",
            "s": 1,
            "op": 0,
            "d": {
                "guild_id": "1187000000000000001",
                "user_id": "1187000000000000002",
                "channel_id": "1187000000000000003",
                "member": {
                    "user": {"id": "1187000000000000002"},
                    "roles": ["1187000000000000001"],
                },
            },
        }
    ).encode()
    told = wire.decode(bytes(redact(message, Pseudonyms())))
    assert isinstance(told, wire.Dispatch)
    event: Any = told.body
    assert event.voice.roles == {event.guild}
    assert event.voice.user == event.user


def test_a_picture_holds_no_id_and_no_name():
    names, presence = Pseudonyms(), Presence()
    presence.apply(SessionBegan(0, 1187000000000000009, frozenset()))  # type: ignore[arg-type] # ids
    path = next(path for path in SAMPLES if path.stem == "guild_create")
    arrived: Any = wire.decode(path.read_bytes())
    presence.apply(arrived.body)
    (guild,) = presence.guilds.values()
    picture, voices = names.picture(guild)
    text = msgspec.json.encode([picture, voices]).decode()
    assert voices
    assert not re.search(r"\d{17,}", text)
    assert guild.name not in text
    for one in guild.channels.values():
        assert json.dumps(one.name) not in text
