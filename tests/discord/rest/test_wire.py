"""What the API answers, as values; the samples are Discord's."""

import json

import pytest

from voicestatus.core.errors import ProtocolError
from voicestatus.core.permissions import Overwrite
from voicestatus.discord.rest import wire
from voicestatus.discord.rest.wire import Application, OwnUser

GUILD = 1187000000000000001
BOT = 1187000000000000100


@pytest.fixture
def body(sample):
    return lambda name: json.dumps(sample(f"rest/{name}")["body"]).encode()


def test_the_bot_learns_its_name(body):
    assert wire.own_user(body("users_me_bot")) == OwnUser(BOT, "voicestatus")


def test_an_application_without_flags_has_none():
    assert wire.application(b'{"id":"7"}') == Application(7, 0)


def test_guilds_are_read_by_their_ids(body):
    found = wire.own_guilds(body("users_me_guilds"))
    assert found == (GUILD, 1187000000000000009)


def test_a_guild_has_its_owner_and_roles(body):
    guild = wire.guild(GUILD, body("guild"))
    assert (guild.name, guild.owner) == ("Harbour Radio", 1187000000000000201)
    assert guild.afk_channel == 1187000000000000404
    own = next(role for role in guild.roles if role.bot is not None)
    assert (own.name, own.bot, own.permissions) == (
        "voicestatus",
        BOT,
        17601045548033,
    )


def test_channels_have_their_overwrites(body):
    channels = {c.name: c for c in wire.channels(GUILD, body("guild_channels"))}
    assert [name for name, c in channels.items() if c.voice] == [
        "Lounge",
        "Games",
        "AFK",
        "Town Hall",
    ]
    assert channels["Lounge"].overwrites == (Overwrite(GUILD, 0, 512),)
    assert not channels["Lounge"].hidden


def test_a_channel_behind_a_placeholder_is_hidden(sample):
    shown = [sample("gateway/channel_update_became_hidden")["d"]]
    (channel,) = wire.channels(GUILD, json.dumps(shown).encode())
    assert channel.hidden


def test_a_members_roles_are_read(body):
    assert wire.member_roles(GUILD, BOT, body("guild_member")) == (1187000000000000303,)


def test_permissions_beyond_64_bits_are_read():
    role = {"id": "1", "name": "r", "permissions": str(1 << 70)}
    guild = {"id": "1", "name": "g", "owner_id": "2", "roles": [role]}
    read = wire.guild(1, json.dumps(guild).encode())
    assert read.roles[0].permissions == 1 << 70


@pytest.mark.parametrize(
    "read",
    [
        wire.own_user,
        wire.application,
        wire.own_guilds,
        lambda body: wire.guild(1, body),
        lambda body: wire.channels(1, body),
        lambda body: wire.member_roles(1, 2, body),
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b'{"id":"x"}', b"\xff", b"[" * 9999]
)
def test_what_is_something_else_is_a_protocol_error(read, body):
    with pytest.raises(ProtocolError):
        read(body)
