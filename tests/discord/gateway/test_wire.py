"""Bytes of the Gateway to values and back."""

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestatus.core.errors import ProtocolError
from voicestatus.core.guild import Channel, Voice
from voicestatus.core.guild_news import InviteDeleted, MemberJoined
from voicestatus.core.presence import (
    ChannelDeleted,
    ChannelUpserted,
    GuildArrived,
    GuildRemoved,
    GuildUnavailable,
    GuildUpdated,
    MemberRemoved,
    VoiceUpdated,
)
from voicestatus.discord.gateway import wire
from voicestatus.discord.gateway.wire import (
    Dispatch,
    Heartbeat,
    HeartbeatAck,
    Hello,
    InvalidSession,
    Login,
    Ready,
    Reconnect,
    Resumed,
    Unknown,
    Verdict,
    decode,
)

CDN = "https://cdn.discordapp.com"
ADA, BEN = 1187000000000000201, 1187000000000000202
OF_BEN = "a_5f4dcc3b5aa765d61d8327deb882cf99"
GUILD, DORA, LOUNGE = 1187000000000000001, 1187000000000000204, 1187000000000000403
JOINED = VoiceUpdated(GUILD, DORA, Voice(DORA, LOUNGE, name="dora"), bot=False)


def body(data):
    message = decode(data)
    assert isinstance(message, Dispatch)
    return message.body


def dispatch(name, data, **more):
    return json.dumps({"t": name, "s": 7, "op": 0, "d": data} | more).encode()


def test_control_messages_are_read(sent):
    assert decode(sent("hello")) == Hello(41.25)
    assert decode(sent("heartbeat_request")) == Heartbeat()
    assert decode(sent("heartbeat_ack")) == HeartbeatAck()
    assert decode(sent("reconnect")) == Reconnect()
    assert decode(sent("invalid_session_true")) == InvalidSession(resumable=True)
    assert decode(sent("invalid_session_false")) == InvalidSession(resumable=False)


def test_ready_and_resumed_are_read(sent):
    assert decode(sent("ready")) == Dispatch(
        1,
        "READY",
        Ready(
            1187000000000000100,
            frozenset({1187000000000000001, 1187000000000000002}),
            "8b6f1c2e9d7a4c50b3f2e1d0c9b8a7f6",
            "wss://gateway-us-east1-b.discord.gg",
        ),
    )
    assert decode(sent("resumed")) == Dispatch(1342, "RESUMED", Resumed())


def test_an_acknowledgement_needs_no_fields():
    assert decode(b'{"op":11}') == HeartbeatAck()


def test_an_unknown_opcode_is_no_error():
    assert decode(b'{"op":99,"d":{"x":[1]},"s":null,"t":null}') == Unknown(99)


def test_an_unknown_event_is_skipped_and_its_sequence_is_kept():
    assert decode(dispatch("NEVER_HEARD_OF", [1])) == Dispatch(
        7, "NEVER_HEARD_OF", None
    )


def test_every_sample_is_read_and_none_is_malformed(gateway_samples, sent):
    assert len(gateway_samples) > 50
    for name in gateway_samples:
        message = decode(sent(name))
        if isinstance(message, Dispatch):
            assert message.fault is None, name
            assert message.seq == json.loads(sent(name))["s"], name


def test_what_is_not_used_is_not_decoded(gateway_samples, sent):
    used = {
        message.name
        for message in map(decode, map(sent, gateway_samples))
        if isinstance(message, Dispatch) and message.body is not None
    }
    assert used == {
        "CHANNEL_CREATE",
        "CHANNEL_DELETE",
        "CHANNEL_UPDATE",
        "GUILD_CREATE",
        "GUILD_DELETE",
        "GUILD_MEMBER_ADD",
        "GUILD_MEMBER_REMOVE",
        "GUILD_UPDATE",
        "READY",
        "RESUMED",
        "VOICE_STATE_UPDATE",
    }


# ---- voice states ------------------------------------------------------------------


def test_a_join_is_read(sent):
    assert body(sent("voice_state_update_join")) == JOINED


def test_a_leave_has_no_voice(sent):
    left = body(sent("voice_state_update_leave"))
    assert left == VoiceUpdated(GUILD, DORA, None, bot=False)


FLAGS = (
    "mute",
    "deaf",
    "self_mute",
    "self_deaf",
    "streaming",
    "video",
    "suppress",
    "hand_raised",
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("self_mute", {"self_mute"}),
        ("self_unmute", set()),
        ("self_deaf", {"self_deaf", "self_mute"}),
        ("server_mute", {"mute"}),
        ("server_deaf", {"deaf"}),
        ("stream_on", {"streaming"}),
        ("video_on", {"video"}),
        ("stage_audience", {"suppress"}),
        ("stage_request_to_speak", {"suppress", "hand_raised"}),
        ("stage_speaker", set()),
        ("without_self_stream", set()),
        ("guest_member", set()),
    ],
)
def test_each_flag_of_a_voice_state_lands_where_it_belongs(sent, name, expected):
    voice = body(sent(f"voice_state_update_{name}")).voice
    assert {flag for flag in FLAGS if getattr(voice, flag)} == expected


def test_a_bot_is_known_by_its_member(sent):
    assert body(sent("voice_state_update_own_bot_join")).bot is True
    assert body(sent("voice_state_update_own_bot_join")).voice.bot is True
    assert body(sent("voice_state_update_own_bot_disconnected")).voice is None


def test_roles_are_those_of_the_member(sent):
    voice = body(sent("voice_state_update_own_bot_join")).voice
    assert voice.roles == {1187000000000000302}
    assert body(sent("voice_state_update_join")).voice.roles == frozenset()


def test_people_have_the_names_and_pictures_that_the_guild_shows(sample, sent):
    arrived = body(sent("guild_create"))
    assert [(voice.name, voice.avatar_url) for voice in arrived.voices] == [
        ("Ada (ops)", f"{CDN}/avatars/{ADA}/a_3c9e1f0a7b5d4e2f8c6a1b0d9e8f7a65.png"),
        (
            "Ben",
            f"{CDN}/guilds/{GUILD}/users/{BEN}/avatars/{OF_BEN}.png",
        ),
        ("cy_legacy", None),
    ]
    for case in sample("derived/display_name_cases"):
        assert speaks(case, nick=case["nick"]).name == case["expect"]


@pytest.mark.parametrize("wrong", [5, "", [], {"nick": "x"}, True, None])
def test_no_voice_state_is_lost_because_a_name_is_none(wrong):
    account = {"username": wrong, "global_name": wrong, "avatar": wrong}
    assert speaks(account, nick=wrong, avatar=wrong) == Voice(1, 2)


def speaks(account, **member):
    """Return the voice of user 1 in channel 2 of guild 3 with such a member."""
    member["user"] = {"id": "1"} | account
    state = {"user_id": "1", "channel_id": "2", "guild_id": "3", "member": member}
    return body(dispatch("VOICE_STATE_UPDATE", state)).voice


def test_equal_roles_are_one_set_in_whatever_order_they_come():
    sets = []
    for roles in (["7", "8"], ["8", "7"], ["7", "8"]):
        member = {"user": {"id": "1"}, "roles": roles}
        state = {"user_id": "1", "channel_id": "2", "guild_id": "3", "member": member}
        sets.append(body(dispatch("VOICE_STATE_UPDATE", state)).voice.roles)
    assert sets[0] == {7, 8}
    assert sets[0] is sets[1] is sets[2]


def test_a_voice_state_whose_roles_are_malformed_is_no_event():
    member = {"user": {"id": "1"}, "roles": "admin"}
    state = {"user_id": "1", "channel_id": "2", "guild_id": "3", "member": member}
    message = decode(dispatch("VOICE_STATE_UPDATE", state))
    assert message.body is None
    assert message.fault


def test_without_a_member_nothing_is_said_about_being_a_bot(sent):
    update = body(sent("voice_state_update_without_member"))
    assert update == VoiceUpdated(GUILD, DORA, Voice(DORA, LOUNGE), bot=None)


def test_a_call_between_users_is_not_an_event():
    assert body(dispatch("VOICE_STATE_UPDATE", {"user_id": "1"})) is None


def test_ids_may_be_integers_and_are_never_floats():
    ids = {"user_id": DORA, "channel_id": LOUNGE, "guild_id": GUILD}
    assert body(dispatch("VOICE_STATE_UPDATE", ids)).voice == Voice(DORA, LOUNGE)
    for wrong in ("-1", "", " 1", "abc", 1.5, True, [], {}):
        ids["user_id"] = wrong
        message = decode(dispatch("VOICE_STATE_UPDATE", ids))
        assert message.body is None
        assert message.fault


def test_an_id_may_have_twenty_digits():
    removed = body(dispatch("GUILD_DELETE", {"id": "18446744073709551615"}))
    assert removed == GuildRemoved(2**64 - 1)


def test_the_order_of_keys_is_of_no_matter(sent):
    message = json.loads(sent("voice_state_update_join"))
    for order in (("op", "d", "s", "t"), ("s", "t", "d", "op"), ("d", "t", "op", "s")):
        turned = json.dumps({key: message[key] for key in order}).encode()
        assert decode(turned) == Dispatch(20, "VOICE_STATE_UPDATE", JOINED)


# ---- guilds and channels -----------------------------------------------------------


def test_a_guild_arrives_whole(sent):
    guild = decode(sent("guild_create"), shard=3).body
    assert isinstance(guild, GuildArrived)
    assert (guild.shard, guild.guild, guild.name) == (3, GUILD, "Harbour Radio")
    assert guild.afk_channel == 1187000000000000404
    assert [channel.kind for channel in guild.channels] == [4, 0, 2, 2, 2, 13, 15, 2]
    lounge = guild.channels[2]
    assert lounge == Channel(LOUNGE, "Lounge", 2, 1187000000000000401, 2)
    assert [channel.hidden for channel in guild.channels] == [False] * 7 + [True]
    assert [
        (v.user, v.channel, v.streaming, v.self_mute, v.hand_raised)
        for v in guild.voices
    ] == [
        (1187000000000000201, LOUNGE, False, True, False),
        (1187000000000000202, LOUNGE, True, False, False),
        (80351110224678912, 1187000000000000405, False, False, True),
    ]


def test_a_guilds_voices_learn_from_its_members_who_is_a_bot():
    guild = {
        "id": "1",
        "members": [
            {"user": {"id": "10", "bot": True}},
            {"user": {"id": "11"}},
            {"nick": "no user at all"},
        ],
        "voice_states": [
            {"user_id": user, "channel_id": "5"} for user in ("10", "11", "12")
        ],
    }
    arrived = body(dispatch("GUILD_CREATE", guild))
    assert [(v.user, v.bot) for v in arrived.voices] == [
        (10, True),
        (11, False),
        (12, False),
    ]


def test_a_guilds_voices_have_the_roles_of_their_members(sent):
    arrived = body(sent("guild_create"))
    assert [sorted(voice.roles) for voice in arrived.voices] == [
        [1187000000000000301],
        [1187000000000000303],
        [],
    ]
    assert arrived.memberless == frozenset()


def test_whose_member_was_not_told_is_named():
    guild = {
        "id": "1",
        "members": [
            {"user": {"id": "10"}, "roles": ["7", "8"]},
            {"user": {"id": "11"}, "roles": {"of": "a strange kind"}},
        ],
        "voice_states": [
            {"user_id": user, "channel_id": "5"} for user in ("10", "11", "12")
        ],
    }
    message = decode(dispatch("GUILD_CREATE", guild))
    assert message.fault
    assert [voice.roles for voice in message.body.voices] == [{7, 8}, set(), set()]
    assert message.body.memberless == {11, 12}


def test_a_guild_where_nobody_is_in_voice(sent):
    assert body(sent("guild_create_no_voice")).voices == ()


def test_a_guild_may_arrive_unavailable(sent):
    assert body(sent("guild_create_unavailable")) == GuildUnavailable(
        1187000000000000002
    )


def test_an_outage_is_not_a_removal(sent):
    assert body(sent("guild_delete_outage")) == GuildUnavailable(GUILD)
    assert body(sent("guild_delete_removed")) == GuildRemoved(GUILD)
    for not_an_outage in (False, None):
        gone = {"id": "5", "unavailable": not_an_outage}
        assert body(dispatch("GUILD_DELETE", gone)) == GuildRemoved(5)


def test_a_guilds_settings_change_without_its_people(sent):
    assert body(sent("guild_update")) == GuildUpdated(
        GUILD, "Harbour Radio FM", 1187000000000000404
    )


def test_channels_come_change_and_go(sent):
    created = body(sent("channel_create_voice"))
    assert isinstance(created, ChannelUpserted)
    assert created.channel.is_voice
    renamed = body(sent("channel_update_renamed"))
    assert renamed.guild == GUILD
    deleted = body(sent("channel_delete_voice"))
    assert deleted == ChannelDeleted(GUILD, renamed.channel.id)


def test_who_joins_and_which_invite_is_gone_are_news(sent):
    assert body(sent("guild_member_add")) == MemberJoined(GUILD, 1187000000000000204)
    gone = {"guild_id": "1", "channel_id": "2", "code": "abc"}
    assert body(dispatch("INVITE_DELETE", gone)) == InviteDeleted(1, 2, "abc")
    del gone["guild_id"]
    assert body(dispatch("INVITE_DELETE", gone)) is None


def test_a_hidden_channel_is_known_by_its_flag(sent):
    assert body(sent("channel_update_became_hidden")).channel.hidden
    assert not body(sent("channel_update_became_visible")).channel.hidden


def test_a_hidden_channels_fields_may_be_null():
    channel = {"id": "1", "guild_id": "2", "type": 2, "flags": 1 << 17}
    nulled = dict.fromkeys(("name", "position", "parent_id", "topic"))
    assert body(dispatch("CHANNEL_UPDATE", channel | nulled)).channel == Channel(
        1, "", 2, hidden=True
    )


def test_who_leaves_a_guild_leaves_voice(sent):
    assert body(sent("guild_member_remove")) == MemberRemoved(GUILD, DORA)
    ban = {"guild_id": "1", "user": {"id": "2"}}
    assert body(dispatch("GUILD_BAN_ADD", ban)) == MemberRemoved(1, 2)


@pytest.mark.parametrize("name", ["CHANNEL_CREATE", "CHANNEL_UPDATE", "CHANNEL_DELETE"])
def test_a_channel_of_no_guild_is_not_an_event(name):
    read = decode(dispatch(name, {"id": "1", "type": 1}))
    assert (read.body, read.fault) == (None, None)


# ---- what is wrong -----------------------------------------------------------------


@pytest.mark.parametrize("data", [None, 5, [], "text", {}, {"user_id": None}])
@pytest.mark.parametrize(
    "name", ["VOICE_STATE_UPDATE", "GUILD_CREATE", "CHANNEL_UPDATE", "READY"]
)
def test_a_malformed_dispatch_keeps_its_sequence(name, data):
    message = decode(dispatch(name, data))
    assert isinstance(message, Dispatch)
    assert (message.seq, message.name, message.body) == (7, name, None)
    assert message.fault


def test_one_broken_part_does_not_cost_the_guild(sent):
    message = json.loads(sent("guild_create"))
    message["d"]["voice_states"][0]["channel_id"] = {"secret": 1}
    message["d"]["members"].append("nobody")
    message["d"]["channels"].append({"id": "not-a-snowflake"})
    whole = body(sent("guild_create"))
    read = decode(json.dumps(message).encode())
    assert read.fault
    arrived = read.body
    assert isinstance(arrived, GuildArrived)
    assert arrived.channels == whole.channels
    assert arrived.voices == whole.voices[1:]


@given(st.text(min_size=4), st.sampled_from(["user_id", "guild_id", "self_mute"]))
def test_what_is_said_about_a_malformed_dispatch_holds_nothing_of_it(value, field):
    state = {"user_id": "1", "guild_id": "2", field: [f"<{value}>"], f"<{value}>": 1}
    fault = decode(dispatch("VOICE_STATE_UPDATE", state)).fault
    assert fault
    assert f"<{value}>" not in fault


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{",
        b'{"op":"x"}',
        b'{"op":null}',
        b'{"op":0,"s":"x"}',
        b'{"op":10}',
        b'{"op":10,"d":{"heartbeat_interval":0}}',
        b'{"op":10,"d":{"heartbeat_interval":-41250}}',
        b'{"op":10,"d":{"heartbeat_interval":"nan"}}',
        b'{"op":10,"d":{"heartbeat_interval":1e300}}',
        b'{"op":0,"d":' + b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_message_is_a_protocol_error(data):
    with pytest.raises(ProtocolError):
        decode(data)


@given(st.binary())
def test_any_bytes_are_a_message_or_a_protocol_error(data):
    with suppress(ProtocolError):
        decode(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = ("id", "user_id", "guild_id", "channel_id", "voice_states", "members", "user")
NAMES = [
    "READY",
    "RESUMED",
    "GUILD_CREATE",
    "GUILD_DELETE",
    "CHANNEL_UPDATE",
    "VOICE_STATE_UPDATE",
    "GUILD_MEMBER_REMOVE",
]


@given(st.sampled_from(NAMES), JSON | st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_body_is_a_dispatch(name, data):
    message = decode(msgspec.json.encode({"t": name, "s": 7, "op": 0, "d": data}))
    assert isinstance(message, Dispatch)
    assert message.seq == 7


# ---- what we send ------------------------------------------------------------------

LOGIN = Login("a.bot.token", 129, (0, 1))


def test_identify_says_who_we_are(sample):
    said = json.loads(wire.identify(Login("<bot token>", 66177)))
    wanted = sample("gateway/identify_send")
    del wanted["d"]["presence"], wanted["d"]["large_threshold"]
    assert said == wanted


def test_resume_and_heartbeat_are_written_as_discord_reads_them(sample):
    resume = wire.resume(
        Login("<bot token>", 1), "8b6f1c2e9d7a4c50b3f2e1d0c9b8a7f6", 1337
    )
    assert json.loads(resume) == sample("gateway/resume_send")
    assert json.loads(wire.heartbeat(251)) == sample("gateway/heartbeat_send")
    assert json.loads(wire.heartbeat(None)) == sample("gateway/heartbeat_send_null")


def test_nothing_longer_than_4096_bytes_is_sent():
    with pytest.raises(ProtocolError, match="op 2") as caught:
        wire.identify(Login("x" * 5000, 129))
    assert "xx" not in str(caught.value)


def test_the_token_is_in_no_repr():
    assert "a.bot.token" not in repr(LOGIN)


@pytest.mark.parametrize(
    ("url", "compress", "expected"),
    [
        (
            "wss://gateway.discord.gg",
            None,
            "wss://gateway.discord.gg/?v=10&encoding=json",
        ),
        (
            "wss://gateway-us-east1-b.discord.gg/",
            "zlib-stream",
            "wss://gateway-us-east1-b.discord.gg/?v=10&encoding=json&compress=zlib-stream",
        ),
        (
            "ws://127.0.0.1:8081/gateway",
            None,
            "ws://127.0.0.1:8081/gateway?v=10&encoding=json",
        ),
    ],
)
def test_every_address_gets_our_query(url, compress, expected):
    assert wire.address(url, compress) == expected


@pytest.mark.parametrize(
    "url", ["", "https://discord.gg", "wss://", "wss://[::1", "wss://host:99999"]
)
def test_what_is_no_websocket_address_is_refused(url):
    with pytest.raises(ProtocolError):
        wire.address(url, None)


# ---- close codes -------------------------------------------------------------------


def test_close_codes_mean_what_the_table_says(sample):
    for row in sample("gateway/close_codes"):
        action = row["action"].replace("resume_if_remote_else_done", "resume")
        assert wire.verdict(row["code"]) is Verdict(action), row


def test_a_lost_connection_and_a_strange_code_are_worth_a_resume():
    for code in (None, 1002, 1011, 1015, 3000, 4006, 4999):
        assert wire.verdict(code) is Verdict.RESUME


def test_each_fatal_close_tells_the_owner_what_to_change():
    wanted = {
        4004: ("DISCORD_TOKEN", "Reset Token"),
        4010: ("too many servers",),
        4011: ("too many servers",),
        4012: ("update voicestatus",),
        4013: ("update voicestatus",),
        4014: ("129", "update"),
    }
    for code, words in wanted.items():
        assert wire.verdict(code) is Verdict.STOP
        for word in words:
            assert word in wire.advice(code, 129)


def test_advice_never_leaves_the_owner_without_a_word():
    assert "4999" in wire.advice(4999, 129)
