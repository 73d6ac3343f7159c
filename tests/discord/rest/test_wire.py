"""What the API answers, as values; the samples are Discord's."""

import json
from datetime import UTC, datetime

import pytest

from voicestatus.core.errors import ProtocolError
from voicestatus.core.permissions import Overwrite
from voicestatus.discord.rest import wire
from voicestatus.discord.rest.invites import Invite
from voicestatus.discord.rest.messages import (
    Button,
    Embed,
    EmbedField,
    Message,
    draft,
)
from voicestatus.discord.rest.oauth import Grant
from voicestatus.discord.rest.route import Route
from voicestatus.discord.rest.scheduled_events import (
    EventDraft,
    EventStatus,
    Place,
    ScheduledEvent,
)
from voicestatus.discord.rest.scheduled_events import body as body_of_event
from voicestatus.discord.rest.wire import Application, Member, OwnGuild, OwnUser

ANY = Route.to("GET", "/any")
GUILD = 1187000000000000001
BOT = 1187000000000000100


@pytest.fixture
def body(sample):
    return lambda name: json.dumps(sample(f"rest/{name}")["body"]).encode()


def test_the_bot_learns_its_name(body):
    assert wire.own_user(ANY, body("users_me_bot")) == OwnUser(BOT, "voicestatus")


def test_an_application_without_flags_has_none():
    assert wire.application(ANY, b'{"id":"7"}') == Application(7, 0)


def test_guilds_are_read_by_their_ids(body):
    found = wire.own_guilds(ANY, body("users_me_guilds"))
    assert found == (GUILD, 1187000000000000009)


def test_a_guild_has_its_owner_and_roles(body):
    guild = wire.guild(ANY, body("guild"))
    assert (guild.name, guild.owner) == ("Harbour Radio", 1187000000000000201)
    assert guild.afk_channel == 1187000000000000404
    own = next(role for role in guild.roles if role.bot is not None)
    assert (own.name, own.bot, own.permissions) == (
        "voicestatus",
        BOT,
        17601045548033,
    )


def test_channels_have_their_overwrites(body):
    channels = {c.name: c for c in wire.channels(ANY, body("guild_channels"))}
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
    (channel,) = wire.channels(ANY, json.dumps(shown).encode())
    assert channel.hidden


def test_a_channel_has_its_place_in_the_list(body):
    lounge = next(
        c for c in wire.channels(ANY, body("guild_channels")) if c.name == "Lounge"
    )
    place = (lounge.kind, lounge.parent, lounge.position, lounge.last_message)
    assert place == (2, 1187000000000000401, 2, None)


def test_roles_have_what_the_page_shows(body):
    roles = {role.name: role for role in wire.roles(ANY, body("guild_roles"))}
    own = roles["voicestatus"]
    assert (own.managed, own.bot) == (True, BOT)
    assert not roles["DJ"].managed
    assert [role.position for role in roles.values()] == sorted(
        role.position for role in roles.values()
    )


def test_a_member_is_read(body):
    member = wire.read(ANY, body("guild_member"), Member)
    assert member.roles == (1187000000000000303,)
    assert (member.user.name, member.user.global_name) == ("ben", "Ben")
    assert member.avatar == "a_5f4dcc3b5aa765d61d8327deb882cf99"
    assert member.timed_out_until is None
    until = b'"communication_disabled_until": "2026-11-22T07:00:00.125000+00:00"'
    timed_out = b'{"user": {"id": "9", "username": "a"}, "roles": [], ' + until + b"}"
    member = wire.read(ANY, timed_out, Member)
    assert member.timed_out_until == datetime(2026, 11, 22, 7, 0, 0, 125_000, UTC)


def test_guilds_of_a_person_tell_what_they_may_do(body):
    ours, elsewhere = wire.read(ANY, body("users_me_guilds"), tuple[OwnGuild, ...])
    assert (ours.owner, ours.permissions) == (True, (1 << 53) - 1)
    assert (elsewhere.name, elsewhere.permissions) == ("Elsewhere", 36785153)


def test_messages_are_read_newest_first(body):
    newest, older = wire.read(ANY, body("messages_list"), tuple[Message, ...])
    assert newest.id > older.id
    assert newest.author.name == "ada"
    assert newest.at == datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert (newest.edited_at, newest.attachments) == (None, ())


def test_an_edited_message_tells_when(body):
    message = wire.read(ANY, body("message_edit"), Message)
    assert message.edited_at == datetime(2026, 11, 21, 10, 1, tzinfo=UTC)


def test_an_invite_tells_its_address_and_end(body):
    invite = wire.read(ANY, body("invite_create"), Invite)
    assert invite.url == "https://discord.gg/Vx9kQ2pT"
    assert invite.expires_at == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert (invite.channel, invite.guild) == (1187000000000000403, GUILD)


def test_scheduled_events_are_read(body):
    party, meetup = wire.read(
        ANY, body("scheduled_events_list"), tuple[ScheduledEvent, ...]
    )
    assert (party.place, party.channel) == (Place.VOICE, 1187000000000000403)
    assert (party.status, party.location) == (EventStatus.SCHEDULED, None)
    assert (meetup.place, meetup.location) == (Place.EXTERNAL, "Pier 7")
    assert meetup.ends_at == datetime(2027, 2, 1, 21, tzinfo=UTC)


def test_permissions_beyond_64_bits_are_read():
    role = {"id": "1", "name": "r", "permissions": str(1 << 70)}
    guild = {"id": "1", "name": "g", "owner_id": "2", "roles": [role]}
    read = wire.guild(ANY, json.dumps(guild).encode())
    assert read.roles[0].permissions == 1 << 70


@pytest.mark.parametrize(
    "read",
    [
        wire.own_user,
        wire.application,
        wire.own_guilds,
        wire.gateway_bot,
        wire.guild,
        wire.roles,
        wire.channels,
        wire.reading(Member),
        wire.reading(Message),
        wire.reading(Invite),
        wire.reading(ScheduledEvent),
        wire.reading(Grant),
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b'{"id":"x"}', b"\xff", b"[" * 9999]
)
def test_what_is_something_else_is_a_protocol_error(read, body):
    with pytest.raises(ProtocolError, match="GET /any answered something else"):
        read(ANY, body)


# -- what is sent ------------------------------------------------------------------


def test_a_message_is_written_as_discord_wants_it(sample):
    theirs = sample("rest/message_create")["request"]["json"]
    embed = Embed(
        title="Lounge",
        description="3 people",
        colour=5763719,
        at=datetime(2026, 11, 21, 10, tzinfo=UTC),
        footer="voicestatus",
        fields=(EmbedField("Ada (ops)", "muted", inline=True),),
    )
    join = Button("Join", url="https://discord.gg/abc123")
    ours = json.loads(draft("", [embed], [[join]], nonce="vs-msg-1"))
    theirs["embeds"][0]["timestamp"] = "2026-11-21T10:00:00Z"
    assert ours == theirs


def test_a_change_leaves_out_what_stays_and_pings_nobody():
    mentions = {"allowed_mentions": {"parse": []}}
    assert json.loads(draft("@everyone")) == {"content": "@everyone"} | mentions
    assert json.loads(draft(embeds=[])) == {"embeds": []} | mentions


def test_a_button_whose_presses_are_heard_has_an_id():
    row = json.loads(draft(rows=[[Button("In", custom_id="in:7", disabled=True)]]))
    assert row["components"][0]["components"] == [
        {"type": 2, "style": 2, "label": "In", "custom_id": "in:7", "disabled": True}
    ]


@pytest.mark.parametrize("name", ["voice", "external"])
def test_an_event_is_written_as_discord_wants_it(sample, name):
    theirs = sample(f"rest/scheduled_event_create_{name}")["request"]["json"]
    starts = datetime.fromisoformat(theirs["scheduled_start_time"])
    made = (
        EventDraft(
            name=theirs["name"],
            description="Bring headphones",
            place=Place.VOICE,
            channel=1187000000000000403,
            starts_at=starts,
        )
        if name == "voice"
        else EventDraft(
            name=theirs["name"],
            place=Place.EXTERNAL,
            location="Pier 7",
            starts_at=starts,
            ends_at=datetime.fromisoformat(theirs["scheduled_end_time"]),
        )
    )
    ours = json.loads(body_of_event(made, new=True))
    for body in (ours, theirs):
        for key in ("scheduled_start_time", "scheduled_end_time"):
            if key in body:
                body[key] = datetime.fromisoformat(body[key])
    assert ours == theirs


def test_a_change_of_an_event_holds_nothing_else(sample):
    change = EventDraft(status=EventStatus.ACTIVE)
    assert json.loads(body_of_event(change, new=False)) == {"status": 2}
